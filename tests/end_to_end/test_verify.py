"""`sprintoctl verify`: replay a run's input and compare it with the receipt."""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto.push.text import pluralize
from target_sprinto.sandbox import EntityRules
from tests.support.front_door import SCHEMA, SECRET, STATE, FrontDoor, as_input, people, record
from tests.support.receipts import change, receipt_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.front_door import Finished

JSON: dict[str, Any] = {"report_path": "receipt.json"}
MAPS = {
    "people": {
        "nr": "id",
        "name": "name.upper()",
        "__filter__": "id % 7 != 0",
        "__key_properties__": ["nr"],
        "__else__": None,
    }
}


def run(door: FrontDoor, messages: list[Any], *, code: int = 0, **settings: object) -> None:
    (door.folder / "tap.singer").write_bytes(as_input(messages))
    finished = door.run(messages, **(JSON | settings))
    assert finished.code == code, finished.stderr


def verify(door: FrontDoor, **settings: object) -> Finished:
    """Replay the input; nothing is sent, and nothing is written."""
    config = str(door.config(**(JSON | settings)))
    before = door.operations(), sorted(path.name for path in door.folder.rglob("*"))
    finished = door.finish(
        door.start(
            "verify",
            "receipt.json",
            "--input",
            "tap.singer",
            "--config",
            config,
            program="sprintoctl",
        )
    )
    assert before == (door.operations(), sorted(path.name for path in door.folder.rglob("*")))
    assert SECRET not in finished.stdout
    return finished


def test_a_check_that_needs_no_settings_does_not_look_for_them(door: FrontDoor) -> None:
    run(door, people(3))
    env = {"TARGET_SPRINTO_API_KEY": "k3yk3yk3y", "TARGET_SPRINTO_REGION": "eu"}
    finished = door.finish(door.start("verify", "receipt.json", program="sprintoctl", env=env))
    assert (finished.code, finished.stderr) == (0, "")


def check_ok(finished: Finished, message: str) -> None:
    assert (finished.code, finished.stderr) == (0, "")
    assert finished.stdout.startswith(message)


def check_differs(finished: Finished, *message: str, code: str = "receipt-differs") -> None:
    assert (finished.code, finished.stdout) == (1, "")
    (line,) = finished.stderr.splitlines()
    for words in (*message, f"[{code}]"):
        assert words in line


def replace(door: FrontDoor, old: bytes, new: bytes) -> None:
    path = door.folder / "tap.singer"
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_parallel_pages": 8, "page_size": 40},
        {"dry_run": True},
        {"finish": "hold"},
        {"entity_types": {"people": "User"}, "compress": False},
        {"stream_maps": MAPS},
    ],
    ids=lambda settings: ",".join(settings) or "plain",
)
def test_the_same_input_produces_the_same_pages(door: FrontDoor, settings: dict[str, Any]) -> None:
    run(door, people(350), **settings)
    count = 300 if "stream_maps" in settings else 350
    pages = len(receipt_of(door)["pages"])
    name = "User" if "entity_types" in settings else "people"
    finished = verify(door, **settings)
    check_ok(finished, f"OK: the same {pages} pages, {count} {name}, as in the receipt.")
    outcome, address, message = finished.stdout.splitlines()[1:]
    assert outcome == f"OK: the receipt is intact; the run's outcome is {receipt_of(door)['outcome']}."
    assert address == f"The run was against {door.sandbox.base_url}, which is not Sprinto's own address."
    assert message.startswith("It is unsigned")


def test_pages_cut_short_by_a_silent_tap_are_cut_the_same_way(door: FrontDoor) -> None:
    door.pace["keep_alive"] = 0.3
    messages = people(150)
    (door.folder / "tap.singer").write_bytes(as_input(messages))
    process = door.fed(messages[:131], **JSON)
    door.wait_for_operation("push", 2, responded=True)
    assert door.finish(process, messages[131:]).code == 0
    assert [page["entities"] for page in receipt_of(door)["pages"]] == [100, 30, 20]
    check_ok(verify(door), "OK: the same 3 pages, 150 people")


@pytest.mark.parametrize(("kept", "sizes"), [("divert", [2, 1]), ("fail", [3])])
def test_pages_cut_because_of_the_originals_in_memory_are_cut_so_again(
    door: FrontDoor, kept: str, sizes: list[int]
) -> None:
    """An original is kept until Sprinto has accepted what a map sends of it."""
    settings: dict[str, Any] = {"stream_maps": {"people": {"id": "id", "__else__": None}}}
    settings |= {"on_invalid_record": kept}
    run(door, [SCHEMA, *(record(n, name="x" * 2_000_000) for n in range(3)), STATE], **settings)
    assert door.pages() == sizes
    check_ok(verify(door, **settings), f"OK: the same {pluralize(len(sizes), 'page')}, 3 people")


def bad(number: int) -> dict[str, Any]:
    return record(number, name=f"{SECRET} {'y' * 30}")


REJECTS = [SCHEMA, *(record(n) for n in range(120)), bad(120), record(121, name=7), record(122), STATE]


def divert(door: FrontDoor) -> None:
    rules = EntityRules(schema={"properties": {"name": {"maxLength": 20}}})
    door.sandbox.configure(door.integration_id, entities={"people": rules})
    run(door, REJECTS, on_invalid_record="divert")


def test_the_same_rejects_are_accepted_and_counted(door: FrontDoor) -> None:
    divert(door)
    finished = verify(door, on_invalid_record="divert")
    check_ok(finished, "OK: the same 2 pages, 122 people")
    outcome = (
        "\nOK: the receipt is intact; the run's outcome is applied."
        "\nAccepted: 121 of 123 records; rejected: 2.\n"
    )
    assert outcome in finished.stdout


def test_the_first_of_several_additional_rejected_records_is_reported(door: FrontDoor) -> None:
    divert(door)
    with (door.folder / "tap.singer").open("ab") as tap:
        tap.write(as_input([record(123, name=8), record(124, name=8)]))
    finished = verify(door, on_invalid_record="divert")
    check_differs(
        finished, "reject 3 records here and rejected 1 in the run", "input line 126 [invalid-record]"
    )


def test_batch_files_are_read_again(door: FrontDoor) -> None:
    path = door.folder / "batch.jsonl.gz"
    rows = [json.dumps(record(n)["record"]).encode() + b"\n" for n in range(130)]
    path.write_bytes(gzip.compress(b"".join(rows)))
    encoding = {"format": "jsonl", "compression": "gzip"}
    batch = {"type": "BATCH", "stream": "people", "encoding": encoding, "manifest": [path.as_uri()]}
    run(door, [SCHEMA, record(130), batch, STATE])
    first, _ = receipt_of(door)["pages"]
    assert (first["first_line"], first["first_place"]) == (2, "")
    assert (first["last_line"], first["last_place"]) == (3, f"batch file '{path}', line 99")
    check_ok(verify(door), "OK: the same 2 pages, 131 people")
    path.write_bytes(gzip.compress(b"".join([*rows[:110], rows[0], *rows[111:]])))
    check_differs(verify(door), "Page 2 differs", f"input lines 3 (batch file '{path}', line 100) to 3 (")


CHANGES: dict[str, tuple[Callable[[FrontDoor], object], tuple[str, ...]]] = {
    "a value": (
        lambda door: replace(door, b'"name": "s3cr3t 170"', b'"name": "s3cr3t 171"'),
        ("Page 2 differs: here it holds 100 records of input lines 102 to 201, in the run 100",),
    ),
    "its spelling": (lambda door: replace(door, b'"id": 17,', b'"id":17,'), ("Page 1 differs",)),
    "a record fewer": (
        lambda door: replace(door, json.dumps(record(349)).encode() + b"\n", b""),
        ("Page 4 differs: here it holds 49 records of input lines 302 to 350, in the run 50 of input",),
    ),
    "a page fewer": (
        lambda door: replace(door, as_input([record(n) for n in range(300, 350)]), b""),
        ("The input ends before page 4, which spanned input lines 302 to 351",),
    ),
    "a record more": (
        lambda door: replace(door, as_input([STATE]), as_input([record(350), STATE])),
        ("The input has records that the run did not send: input line 352.",),
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_first_differing_page_is_reported(door: FrontDoor, what: str) -> None:
    change_input, message = CHANGES[what]
    run(door, people(350))
    change_input(door)
    check_differs(verify(door), *message)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (json.dumps(STATE["value"]).encode(), b"{}"),
        (as_input([STATE]), b""),
        (b'"id": 14, "name": "s3cr3t 14"', b'"id": 14, "name": "s3cr3t 15"'),
        (b'"id": 15, "name": "s3cr3t 15"', b'"id": 15, "other": 1, "name": "s3cr3t 15"'),
    ],
    ids=["another STATE", "no STATE", "a filtered record", "a dropped field"],
)
def test_input_that_is_not_sent_is_compared_too(door: FrontDoor, old: bytes, new: bytes) -> None:
    run(door, people(150), stream_maps=MAPS)
    check_ok(verify(door, stream_maps=MAPS), "OK: the same 2 pages, 128 people, as in the receipt.")
    replace(door, old, new)
    differs = verify(door, stream_maps=MAPS, retry_timeout_seconds=7)
    check_differs(differs, "All pages are the same, but the input is not the run's")
    # Settings cannot change the input's digest.
    assert "settings differ" not in differs.stderr


def test_an_unreadable_line_is_reported(door: FrontDoor) -> None:
    run(door, people(150))
    replace(door, b'{"type": "RECORD"', b"{")
    check_differs(verify(door), "Input line 2:", code="invalid-line")


def test_other_settings_are_reported_if_they_matter(door: FrontDoor) -> None:
    run(door, people(150))
    check_differs(
        verify(door, entity_types={"people": "User"}), "Page 1 differs", "The settings differ from the run's"
    )
    finished = verify(door, retry_timeout_seconds=7, page_size=20)
    check_ok(
        finished, "OK: the same 2 pages, 150 people, as in the receipt.\nThe settings differ from the run's"
    )


def test_a_failed_run_is_compared_up_to_its_last_page(door: FrontDoor) -> None:
    run(door, [*people(250)[:-1], b"{", *people(10)], code=1)
    assert len(receipt_of(door)["pages"]) == 2
    finished = verify(door)
    check_ok(
        finished,
        "OK: the same 2 pages, 200 people, as in the receipt.\n"
        "The run failed; the input after its last page was not compared.\n"
        "OK: the receipt is intact; the run's outcome is failed.\n",
    )
    replace(door, b'"id": 170,', b'"id": 171,')
    check_differs(verify(door), "Page 2 differs")


def test_a_run_without_records_has_no_pages(door: FrontDoor) -> None:
    run(door, people(0))
    check_ok(verify(door), "OK: the same 0 pages, nothing")
    (door.folder / "tap.singer").write_bytes(as_input(people(1)))
    check_differs(verify(door), "The input has records that the run did not send")


def test_edited_counts_or_digests_contradict_the_receipt(door: FrontDoor) -> None:
    run(door, people(150))
    path = door.folder / "receipt.json"
    whole = path.read_bytes()
    change(path, '"entities":150', '"entities":151')
    check_differs(verify(door), "contradicts itself", code="receipt-counts")
    path.write_bytes(whole)
    change(path, '"entities":150,"sha256":"', '"entities":150,"sha256":"0')
    check_differs(verify(door), "is not a receipt that this version reads", code="receipt")
    path.write_bytes(whole)
    digest = re.search(rb'"entities":150,"sha256":"([0-9a-f]+)', whole)
    assert digest
    change(path, digest[1].decode(), "0" * 64)
    check_differs(verify(door), "The receipt contradicts itself")


def test_an_edited_digest_contradicts_the_receipt_of_a_failed_run(door: FrontDoor) -> None:
    run(door, [*people(250)[:-1], b"{"], code=1)
    path = door.folder / "receipt.json"
    digest = re.search(rb'"entities":200,"sha256":"([0-9a-f]+)', path.read_bytes())
    assert digest
    change(path, digest[1].decode(), "0" * 64)
    check_differs(verify(door), "The receipt contradicts itself")


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (
            lambda door: (door.folder / "receipt.json").write_bytes(b"{}"),
            "is not an intact receipt",
        ),
        (
            lambda door: change(
                door.folder / "receipt.json",
                '"outcome": "applied",\n  "exit_code": 0',
                '"outcome": "unfinished",\n  "exit_code": null',
            ),
            "made no page to compare an input with",
        ),
    ],
)
def test_an_incomplete_receipt_is_rejected(
    door: FrontDoor, corrupt: Callable[[FrontDoor], object], message: str
) -> None:
    run(door, people(3))
    corrupt(door)
    check_differs(verify(door), message, code="receipt")


def test_a_receipt_of_another_pipeline_is_rejected(door: FrontDoor) -> None:
    run(door, people(3))
    for other in ({"integration_id": "another"}, {"client_reference_prefix": "another"}):
        check_differs(verify(door, **other), "This receipt belongs to another pipeline", code="receipt")


def test_verify_needs_no_api_key(door: FrontDoor) -> None:
    run(door, people(3))
    check_ok(verify(door, api_key=None), "OK: the same 1 page, 3 people")
    # Another machine's secret, which is not mounted here.
    check_ok(verify(door, api_key=None, api_key_file="/run/secrets/none"), "OK: the same 1 page, 3 people")
