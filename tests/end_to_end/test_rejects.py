"""Records that the target or Sprinto rejects: diverted to a file, or listed by a dry run."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import stat
import sys
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import pytest

from target_sprinto.sandbox import EntityRules, Readings
from tests.support import closing
from tests.support.front_door import (
    SCHEMA,
    SECRET,
    STATE,
    FrontDoor,
    people,
    record,
    state_line,
    would_be_refused,
)
from tests.support.sandbox import Delay, Edit, Fault, Hang, Respond

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.support.front_door import Finished

DIVERT: dict[str, Any] = {"on_invalid_record": "divert"}
NAME = {"type": ["string", "null"], "maxLength": 20}
RULES = {"people": EntityRules(schema={"properties": {"name": NAME}})}
LONG = f"{SECRET} {'y' * 30}"
TEAMS = SCHEMA | {"stream": "teams"}


def bad(number: int, stream: str = "people", **fields: object) -> dict[str, Any]:
    """A record that passes the target's checks and that Sprinto rejects."""
    return record(number, stream, name=f"{LONG} {number}", **fields)


def strict(door: FrontDoor, *types: str, **readings: Any) -> None:  # noqa: ANN401 - any reading
    rules = dict.fromkeys(types or ("people",), RULES["people"])
    chosen = Readings(**{"apply": "append", **readings})
    door.sandbox.configure(door.integration_id, readings=chosen, entities=rules)


def file_of(door: FrontDoor) -> Path:
    (only,) = (door.folder / "rejects").iterdir()
    return only


def kept(path: Path) -> list[dict[str, Any]]:
    """The RECORD messages of a rejects file."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["type"] == "SCHEMA"
    return [line for line in lines if line["type"] == "RECORD"]


def ids(door: FrontDoor, entity_type: str = "people") -> list[int]:
    return [entity["id"] for entity in door.applied().get(entity_type, [])]


def text(finished: Finished) -> str:
    """The warning that contains the count and the file."""
    (line,) = [line for line in finished.stderr.splitlines() if " rejected (" in line]
    assert "| WARNING" in line
    return line


ERROR_READINGS = [
    {"errors_in": place, "index_within": within, "index_base": base, "all_errors": everything}
    for place, within, base, everything in product(
        ("details", "validation_errors"), ("type", "page"), (0, 1), (True, False)
    )
]


# Enough by default to cover every pair of readings.
BY_DEFAULT = (0, 3, 5, 6, 9, 10, 12, 15)


@pytest.mark.parametrize(
    "readings",
    [
        pytest.param(
            readings,
            id=",".join(map(str, readings.values())),
            marks=[] if number in BY_DEFAULT else pytest.mark.slow,
        )
        for number, readings in enumerate(ERROR_READINGS)
    ],
)
def test_rejected_records_are_diverted_under_every_error_reading(
    door: FrontDoor, readings: dict[str, Any]
) -> None:
    strict(door, "people", "teams", **readings)
    wrong = {3, 4, 60, 61, 119, 150, 151, 240}
    messages = [
        (bad if number in wrong else record)(number, "people" if number % 2 else "teams")
        for number in range(250)
    ]
    finished = door.run([SCHEMA, TEAMS, *messages, STATE], **DIVERT)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert ids(door) == [number for number in range(250) if number % 2 and number not in wrong]
    assert ids(door, "teams") == [number for number in range(250) if not number % 2 and number not in wrong]
    rejects = kept(file_of(door))
    assert [reject["record"] for reject in rejects] == [
        messages[number]["record"] for number in sorted(wrong)
    ]
    assert {reject["reject"]["code"] for reject in rejects} == {"page-refused"}
    assert {reject["reject"]["field"] for reject in rejects} == {"name"}
    # Sprinto's own text quotes the value: it is in this file only.
    assert all(LONG in reject["reject"].pop("response")["issue"] for reject in rejects)
    assert SECRET not in json.dumps([reject["reject"] for reject in rejects])
    line = text(finished)
    assert "8 records rejected (" in line
    assert "4 people, field 'name', page-refused" in line
    assert f"rejects/{file_of(door).name}" in line
    # The records that Sprinto names are used, so few requests are needed.
    assert len(door.pages()) <= (35 if readings["all_errors"] else 80)


def test_a_rejects_file_is_private_and_can_be_reloaded(door: FrontDoor) -> None:
    strict(door)
    first = door.run([SCHEMA, *(record(n) for n in range(5)), bad(5), bad(6), STATE], **DIVERT)
    assert first.code == 0
    path = file_of(door)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text(path.read_text().replace(LONG, "fixed"))
    again = door.run(b"", "--config", str(door.config(**DIVERT)), "--input", str(path))
    assert again.code == 0
    assert ids(door) == [0, 1, 2, 3, 4, 5, 6]


REJECTED_BY_THE_TARGET: dict[str, tuple[Any, str, str | None]] = {
    "its schema": (record(5, name=5), "invalid-record", "name"),
    "its key": (
        b'{"type":"RECORD","stream":"people","record":{"name":"s3cr3t"}}',
        "missing-key-property",
        "id",
    ),
    "NaN": (b'{"type":"RECORD","stream":"people","record":{"id":5,"n":NaN}}', "invalid-record", None),
    "a number too large": (
        b'{"type":"RECORD","stream":"people","record":{"id":5,"n":1e99999999999999999999}}',
        "invalid-record",
        None,
    ),
    "not an object": (b'{"type":"RECORD","stream":"people","record":["s3cr3t"]}', "invalid-record", None),
    "its size": (record(5, name="s" * 5_000_000), "record-too-large", None),
}


@pytest.mark.parametrize("why", REJECTED_BY_THE_TARGET)
def test_records_that_the_target_rejects_are_diverted_too(door: FrontDoor, why: str) -> None:
    message, code, field = REJECTED_BY_THE_TARGET[why]
    finished = door.run([SCHEMA, record(1), message, record(2), STATE], **DIVERT)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert ids(door) == [1, 2]
    line = file_of(door).read_bytes().splitlines()[1]
    as_it_came = message if isinstance(message, bytes) else json.dumps(message["record"]).encode()
    record_bytes = as_it_came.partition(b'"record":')[2][:-1] or as_it_came
    assert b'"record":' + record_bytes + b',"reject":{' in line
    reason = json.loads(b"{" + line[line.index(b'"reject":') :])["reject"]
    assert (reason["code"], reason.get("field")) == (code, field)
    assert text(finished)


@pytest.mark.parametrize("form", ["records", "batch"])
def test_a_diverted_record_that_the_last_state_covers_needs_no_newer_one(door: FrontDoor, form: str) -> None:
    """An SDK tap that finds nothing new sends the boundary rows again, and no STATE after them."""
    schema = SCHEMA | {"bookmark_properties": ["id"]}
    bookmark = {"replication_key": "id", "replication_key_value": 2}
    state = {"type": "STATE", "value": {"bookmarks": {"people": bookmark}}}
    bodies = [b'{"id":2,"name":"a"}', b'{"id":2,"n":NaN}']
    messages: list[Any] = [b'{"type":"RECORD","stream":"people","record":%s}' % body for body in bodies]
    if form == "batch":
        file = door.folder / "batch.jsonl"
        file.write_bytes(b"\n".join(bodies))
        encoding = {"format": "jsonl"}
        messages = [{"type": "BATCH", "stream": "people", "encoding": encoding, "manifest": [file.as_uri()]}]
    finished = door.run([state, schema, *messages], **DIVERT)
    assert finished.code == 0, finished.error
    assert len(file_of(door).read_bytes().splitlines()) == 2


def test_an_invalid_line_still_fails_the_run(door: FrontDoor) -> None:
    for line in (b"s3cr3t", b'{"type":"STATE","value":{"a":NaN}}', record(1, "unknown")):
        finished = door.run([SCHEMA, record(1), line, STATE], **DIVERT)
        assert (finished.code, finished.stdout) == (1, "")


def test_a_record_too_large_for_sprinto_is_diverted(door: FrontDoor) -> None:
    def too_large(nth: int) -> Fault:
        return Fault("push", nth=nth, integration_id=door.integration_id, effect=Respond(413))

    # The page, its first half, and the first record of that half.
    for nth in (1, 2, 3):
        door.sandbox.inject(too_large(nth))
    finished = door.run(people(4), **DIVERT)
    assert finished.code == 0
    assert ids(door) == [1, 2, 3]
    (reject,) = kept(file_of(door))
    assert (reject["record"]["id"], reject["reject"]["code"]) == (0, "page-too-large")


def test_an_unnamed_rejected_record_is_found_by_bisection(door: FrontDoor) -> None:
    strict(door)
    body = {"error": {"code": "x", "message": "no", "details": []}}
    door.sandbox.inject(Fault("push", integration_id=door.integration_id, effect=Respond(400, body=body)))
    finished = door.run([SCHEMA, *(record(n) for n in range(50)), bad(50), STATE], compress=False, **DIVERT)
    assert finished.code == 0
    assert ids(door) == list(range(50))
    assert [reject["record"]["id"] for reject in kept(file_of(door))] == [50]


def test_a_rejection_that_names_the_wrong_records_is_not_trusted(door: FrontDoor) -> None:
    strict(door)

    def name_the_first(body: dict[str, Any]) -> dict[str, Any]:
        for fault in body["error"]["details"]:
            fault["index"] = 0
        return body

    misleading = Fault("push", times=99, integration_id=door.integration_id, effect=Edit(name_the_first))
    door.sandbox.inject(misleading)
    finished = door.run([SCHEMA, *(record(n) for n in range(50)), bad(50), record(51), STATE], **DIVERT)
    assert finished.code == 0
    assert sorted(ids(door)) == [*range(50), 51]
    assert [reject["record"]["id"] for reject in kept(file_of(door))] == [50]


def test_each_run_writes_its_own_file(door: FrontDoor) -> None:
    strict(door)
    folder = door.folder / "rejects"
    contents: dict[str, bytes] = {}
    for number in (1, 2):
        assert door.run([SCHEMA, bad(number), record(3), STATE], **DIVERT).code == 0
        run = (door.sessions()[-1].client_reference_id or "").rpartition("/")[2]
        contents[f"{run}.singer"] = (folder / f"{run}.singer").read_bytes()
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents


def test_rejects_are_on_disk_before_the_rest_is_resent(door: FrontDoor) -> None:
    strict(door)
    door.sandbox.inject(Fault("push", nth=2, integration_id=door.integration_id, effect=Hang()))
    process = door.fed([SCHEMA, *(record(n) for n in range(99)), bad(99)], **DIVERT)
    door.wait_for_operation("push", 2)
    assert [reject["record"]["id"] for reject in kept(file_of(door))] == [99]
    process.terminate()
    assert door.finish(process, None).code == 143


def test_a_later_version_of_the_entity_supersedes_the_rejected_one(door: FrontDoor) -> None:
    strict(door)
    messages = [SCHEMA, bad(1), record(2), bad(3), record(1), *(record(n) for n in range(10, 110)), record(4)]
    finished = door.run([*messages, bad(4), record(3), bad(3), STATE], **DIVERT)
    assert finished.code == 0
    rejects = kept(file_of(door))
    # A later version of 1 and of the first 3 was accepted; the second 3 is the latest; 4 was accepted before.
    assert [reject["record"]["id"] for reject in rejects] == [4, 3]
    line = text(finished)
    assert "4 records rejected" in line
    assert "2 of them are superseded" in line
    assert "Sprinto may still have an older version of " in line


def test_no_file_is_left_if_all_rejects_are_superseded(door: FrontDoor) -> None:
    strict(door)
    finished = door.run([SCHEMA, bad(1), record(1), STATE], **DIVERT)
    assert finished.code == 0
    assert "superseded" in text(finished)
    assert list((door.folder / "rejects").iterdir()) == []


def test_a_run_without_rejects_writes_no_file(door: FrontDoor) -> None:
    assert door.run(people(3), **DIVERT).code == 0
    assert not (door.folder / "rejects").exists()


@pytest.mark.parametrize(("limit", "code"), [(3, 0), (2, 1), (0, 1)])
def test_too_many_rejects_fail_the_run(door: FrontDoor, limit: int, code: int) -> None:
    strict(door)
    messages = [
        SCHEMA,
        record(0),
        bad(1),
        record(2, name=5),
        bad(3),
        *(record(n) for n in range(4, 90)),
        STATE,
    ]
    finished = door.run(messages, max_rejects=limit, **DIVERT)
    assert finished.code == code
    if code:
        assert "[too-many-rejects]" in finished.error
        assert door.applied() == {}
        assert file_of(door).name.endswith(".singer.not-applied")
        assert str(file_of(door).relative_to(door.folder)) in finished.error
        assert stat.S_IMODE(file_of(door).stat().st_mode) == 0o600
    else:
        assert file_of(door).suffix == ".singer"


@pytest.mark.parametrize("count", [1, 2, 30])
def test_a_type_without_accepted_records_fails_the_run(door: FrontDoor, count: int) -> None:
    strict(door, "teams")
    messages = [*(bad(n, "teams") for n in range(count)), *(record(n) for n in range(20))]
    finished = door.run([SCHEMA, TEAMS, *messages, STATE], **DIVERT)
    assert (finished.code, finished.stdout) == (1, "")
    of_teams = f"All {count} records" if count > 1 else "The only record"
    assert f"{of_teams} of entity type 'teams' " in finished.error
    assert "[nothing-accepted]" in finished.error
    assert door.session().state == "cancelled"
    assert door.applied() == {}


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("others", [0, 3])
def test_a_type_whose_only_record_is_rejected_fails_the_run(
    door: FrontDoor, others: int, *, dry_run: bool
) -> None:
    messages = [record(5, "teams", name=5), *(record(n) for n in range(others))]
    finished = door.run([SCHEMA, TEAMS, *messages, STATE], dry_run=dry_run, **DIVERT)
    assert (finished.code, finished.stdout) == (1, "")
    assert "The only record of entity type 'teams' was rejected: 1 teams, field 'name'" in finished.error
    assert "[nothing-accepted]" in finished.error
    assert [session.state for session in door.sessions()] == ["cancelled"] * bool(others)
    assert ("Would be rejected" in finished.stderr) is dry_run
    assert "the list is not complete" not in finished.stderr


def test_one_accepted_record_from_any_stream_is_enough(door: FrontDoor) -> None:
    strict(door)
    types = {"people": "people", "teams": "people"}
    messages = [SCHEMA, TEAMS, bad(1, "teams"), record(2), STATE]
    finished = door.run(messages, entity_types=types, **DIVERT)
    assert finished.code == 0
    assert ids(door) == [2]


def test_a_later_failure_names_the_rejects_file(door: FrontDoor) -> None:
    strict(door)
    process = door.fed([SCHEMA, bad(1), *(record(n) for n in range(2, 101))], **DIVERT)
    door.wait_for_operation("push", 2, responded=True)
    finished = door.finish(process, [b"{", STATE])
    assert finished.code == 1
    assert file_of(door).name.endswith(".not-applied")
    assert file_of(door).name in finished.error


def test_failed_processing_names_the_rejects_file(door: FrontDoor) -> None:
    strict(door)
    door.sandbox.configure(door.integration_id, processing_outcomes=["failed", "failed"])
    finished = door.run([SCHEMA, bad(1), *(record(n) for n in range(2, 9)), STATE], **DIVERT)
    assert finished.code == 1
    assert "[processing-failed]" in finished.error
    assert "may still be applied" in finished.error
    # The session may still be applied, and would then lack these records.
    assert file_of(door).suffix == ".singer"
    assert str(file_of(door).name) in text(finished)


def test_an_applied_run_that_fails_keeps_loadable_rejects(door: FrontDoor) -> None:
    strict(door)

    def one_more(response: dict[str, Any]) -> dict[str, Any]:
        counts = response["accepted_records_by_entity"]
        return (
            response | {"accepted_records_by_entity": {name: n + 1 for name, n in counts.items()}}
            if (response["state"] == "processed")
            else response
        )

    door.sandbox.inject(Fault("status", times=99, integration_id=door.integration_id, effect=Edit(one_more)))
    finished = door.run([SCHEMA, bad(1), record(2), STATE], **DIVERT)
    assert (finished.code, door.session().state) == (1, "processed")
    assert "[count-mismatch]" in finished.error
    assert file_of(door).suffix == ".singer"
    assert file_of(door).name in text(finished)


def test_a_response_after_the_discard_writes_no_file(door: FrontDoor) -> None:
    strict(door)
    abandoned = Fault("push", moment="after", integration_id=door.integration_id, effect=Hang())
    # Meanwhile the receipt waits for the activity log.
    reading = Fault("activity", times=9, integration_id=door.integration_id, effect=Delay(1.0))
    for fault in (abandoned, reading):
        door.sandbox.inject(fault)
    process = door.fed([SCHEMA, bad(1), record(2)], page_size=2, report_path="receipt.json", **DIVERT)
    door.sandbox.wait_for(lambda box: bool(box.fired(door.integration_id)))
    process.send_signal(signal.SIGTERM)
    door.wait_for_operation("activity")
    door.sandbox.release(abandoned)
    finished = door.finish(process, None)
    assert (finished.code, door.session().state) == (143, "cancelled")
    assert not (door.folder / "rejects").exists()


def test_a_record_rejected_by_two_maps_is_written_once(door: FrontDoor) -> None:
    maps = {"people": {"id": "id"}, "copy": {"__source__": "people", "name": "name"}}
    types = {"people": "User", "copy": "Person"}
    settings: dict[str, Any] = {"entity_types": types, "stream_maps": maps, **DIVERT}
    finished = door.run(
        [SCHEMA, record(1), record(2) | {"record": {"id": "x", "name": "n"}}, STATE], **settings
    )
    assert finished.code == 0
    assert "2 records rejected" in text(finished)
    assert " 1 was written to " in text(finished)
    assert len(kept(file_of(door))) == 1


def test_an_unusable_rejects_folder_fails_the_run(door: FrontDoor) -> None:
    strict(door)
    (door.folder / "rejects").write_text("a file")
    finished = door.run([SCHEMA, bad(1), STATE], **DIVERT)
    assert finished.code == 1
    assert "[rejects-not-written]" in finished.error
    assert door.session().state == "cancelled"


@pytest.mark.parametrize("parallel", [2, 8])
def test_rejections_in_parallel_pages_keep_entity_order(door: FrontDoor, parallel: int) -> None:
    strict(door, index_base=1, all_errors=False)
    door.sandbox.configure(door.integration_id, processing_seconds=0.01)
    messages = []
    for number in range(600):
        key = number % 97
        make = bad if number % 41 == 7 else record
        messages.append(make(key, nr=number))
    finished = door.run([SCHEMA, *messages, STATE], page_size=40, max_parallel_pages=parallel, **DIVERT)
    assert finished.code == 0
    applied = door.applied()["people"]
    wrong = {number for number in range(600) if number % 41 == 7}
    assert {entity["nr"] for entity in applied} == set(range(600)) - wrong
    for key in range(97):
        order = [entity["nr"] for entity in applied if entity["id"] == key]
        assert order == sorted(order)


def test_rejects_keep_the_record_before_its_stream_map(door: FrontDoor) -> None:
    maps = {"people": {"nr": "id", "name": "name", "__key_properties__": ["nr"], "__else__": None}}
    strict(door)
    finished = door.run([SCHEMA, record(1), bad(2, extra="x"), STATE], stream_maps=maps, **DIVERT)
    assert finished.code == 0
    (reject,) = kept(file_of(door))
    assert reject["record"] == bad(2, extra="x")["record"]
    assert door.applied()["people"] == [{"nr": 1, "name": f"{SECRET} 1"}]


RENAMED_KEY = {"nr": "id", "name": "name", "__key_properties__": ["nr"], "__else__": None}
COMPUTED_KEY = {"id": "id + 1000"}
KEY_MAPS: dict[str, dict[str, Any]] = {
    "renamed": RENAMED_KEY,
    "computed": COMPUTED_KEY,
    "renamed, with another field of its name": {"nr": "id", "id": "id % 2", "__key_properties__": ["nr"]},
}


NOT_DECODED: dict[str, tuple[dict[str, Any] | None, str]] = {
    "NaN": (None, "NaN"),
    "a number that cannot be held": (None, "1e99999999999999999999"),
    "NaN, renamed": (RENAMED_KEY, "-Infinity"),
    "NaN, computed": (COMPUTED_KEY, "[1, NaN]"),
    "too many values, renamed": (RENAMED_KEY, f"[{'1,' * 100_000}1]"),
    "too many values, computed": (COMPUTED_KEY, f"[{'1,' * 100_000}1]"),
}


@pytest.mark.parametrize("why", NOT_DECODED)
def test_a_record_that_cannot_be_decoded_has_that_key_too(door: FrontDoor, why: str) -> None:
    stream_map, value = NOT_DECODED[why]
    schema = SCHEMA | {"schema": {"properties": {"id": {"type": "integer"}, "name": {}, "n": {}}}}
    wrong = b'{"type":"RECORD","stream":"people","record":{"id":1,"name":"\\"NaN","n":%s}}' % value.encode()
    maps = {"people": stream_map} if stream_map else {}
    finished = door.run([schema, wrong, record(1, n=1), STATE], stream_maps=maps, **DIVERT)
    assert finished.code == 0
    assert "superseded" in text(finished)
    assert list((door.folder / "rejects").iterdir()) == []


@pytest.mark.parametrize("parallel", [1, 4])
@pytest.mark.parametrize("keys", KEY_MAPS)
def test_a_rejected_record_has_the_key_of_its_mapped_version(
    door: FrontDoor, keys: str, parallel: int
) -> None:
    """Rejected by the target, before and after the later version, and by Sprinto."""
    strict(door)
    wrong = [record(1, name=5), bad(2), record(3), record(4, name=5)]
    right = [record(1), record(2), bad(3), record(5)]
    settings = {"stream_maps": {"people": KEY_MAPS[keys]}, "max_parallel_pages": parallel, "page_size": 2}
    finished = door.run([SCHEMA, *wrong, *right, STATE], **settings, **DIVERT)
    assert finished.code == 0
    assert [reject["record"]["id"] for reject in kept(file_of(door))] == [4, 3]
    assert "4 records rejected" in text(finished)
    assert "2 of them are superseded" in text(finished)


def test_a_record_mapped_to_nan_is_superseded_too(door: FrontDoor) -> None:
    maps = {"people": RENAMED_KEY | {"score": "float(name)"}}
    messages = [SCHEMA, record(1, name="nan"), record(2, name="inf"), record(1, name="1"), STATE]
    finished = door.run(messages, stream_maps=maps, **DIVERT)
    assert finished.code == 0
    assert [reject["record"]["id"] for reject in kept(file_of(door))] == [2]
    assert "1 of them is superseded" in text(finished)


def test_a_record_too_large_after_mapping_is_superseded_too(door: FrontDoor) -> None:
    messages = [SCHEMA, record(1, name="s" * 5_000_000), record(2), record(1), STATE]
    finished = door.run(messages, stream_maps={"people": RENAMED_KEY}, **DIVERT)
    assert finished.code == 0
    assert "superseded" in text(finished)
    assert list((door.folder / "rejects").iterdir()) == []


# Dry runs


def test_a_dry_run_applies_nothing_and_writes_no_state(door: FrontDoor) -> None:
    finished = door.run(people(250), dry_run=True)
    assert (finished.code, finished.stdout) == (0, "")
    assert door.pages() == [100, 100, 50]
    assert door.session().state == "cancelled"
    assert door.applied() == {}
    assert "Dry run: Sprinto accepted 250 people, in 3 pages" in finished.stderr


@pytest.mark.parametrize("setting", ["fail", "divert"])
def test_a_dry_run_lists_records_that_would_be_rejected(
    door: FrontDoor, setting: Literal["fail", "divert"]
) -> None:
    strict(door)
    messages = [
        SCHEMA,
        *(record(n) for n in range(50)),
        bad(50),
        record(51, name=7),
        bad(52),
        record(53),
        STATE,
    ]
    finished = door.run(messages, dry_run=True, on_invalid_record=setting)
    assert (finished.code, finished.stdout) == (1, "")
    # Sprinto rejects two for one reason, the target rejects one.
    assert would_be_refused(finished.stderr) == [(2, [52, 54]), (1, [53])]
    assert finished.stderr.count("field 'name'") >= 2
    assert (
        "3 records would be rejected: the log's warnings say why. Sprinto's response is in " in finished.error
    )
    assert "Fix them at their source" in finished.error
    assert "[would-be-refused]" in finished.error
    assert door.session().state == "cancelled"
    (words,) = (door.folder / "rejects").iterdir()
    assert words.name.endswith(".response.json")
    # Only Sprinto's responses; the target itself rejects the record on line 53.
    assert [entry["about"].rpartition(" ")[2] for entry in json.loads(words.read_bytes())] == ["52", "54"]


def test_a_dry_run_groups_rejects(door: FrontDoor) -> None:
    """A wrong mapping is one line, however many records it affects."""
    messages = [SCHEMA, record(1), *(record(number, name=number) for number in range(300)), STATE]
    finished = door.run(messages, dry_run=True, max_rejects=1000)
    assert finished.code == 1
    (line,) = [line for line in finished.stderr.splitlines() if "Would be rejected" in line]
    assert "300 records of entity type 'people': field 'name' " in line
    assert line.endswith("[invalid-record], input lines 3, 4, 5, 6, 7 and 295 more")
    assert "300 records would be rejected: the log's warnings say why." in finished.error


def test_a_dry_run_uses_the_singular_for_one_record(door: FrontDoor) -> None:
    strict(door)
    finished = door.run([SCHEMA, record(1), bad(2), STATE], dry_run=True)
    assert (
        "1 record would be rejected: the log's warnings say why. Sprinto's response is in " in finished.error
    )
    assert "Fix it at its source or with a stream map" in finished.error


@pytest.mark.parametrize("setting", ["fail", "divert"])
def test_a_dry_run_with_too_few_records_lists_its_rejects(door: FrontDoor, setting: str) -> None:
    strict(door)
    messages = [SCHEMA, record(1), bad(2), {"type": "RECORD", "stream": "people", "record": {}}, STATE]
    settings: dict[str, Any] = {"dry_run": True, "on_invalid_record": setting}
    finished = door.run(messages, **settings, expect={"people": {"min_records": 3}})
    assert finished.code == 1
    assert would_be_refused(finished.stderr) == [(1, [3]), (1, [4])]
    assert "field 'id' is missing [missing-key-property]" in finished.stderr
    assert "The records listed above would be rejected. Sprinto's response is in " in finished.error
    assert finished.error.endswith("[too-few-records]")
    # Without `expect`, the hint suggests no setting that is already set.
    finished = door.run(messages, **settings)
    assert ("or set `on_invalid_record` to `divert`" in finished.error) is (setting == "fail")


def test_a_dry_run_stops_at_max_rejects(door: FrontDoor) -> None:
    strict(door)
    messages = [SCHEMA, *(bad(n) if n % 3 == 0 else record(n) for n in range(60)), STATE]
    finished = door.run(messages, dry_run=True, max_rejects=5)
    assert finished.code == 1
    assert sum(count for count, _ in would_be_refused(finished.stderr)) == 6
    assert "the list is not complete" in finished.error
    assert door.session().state == "cancelled"


def test_a_dry_run_without_records_opens_no_session(door: FrontDoor) -> None:
    finished = door.run(people(0), dry_run=True)
    assert (finished.code, finished.stdout) == (0, "")
    assert door.sessions() == []


@pytest.mark.parametrize(("status", "rejects", "code"), [(401, 0, 1), (503, 0, 75), (503, 2, 1)])
def test_a_dry_run_reports_an_unconfirmed_discard(
    door: FrontDoor, status: int, rejects: int, code: int
) -> None:
    door.pace["shutdown_timeout"] = 3
    fault = Fault("close", times=1000, integration_id=door.integration_id, effect=Respond(status))
    door.sandbox.inject(fault)
    messages = [SCHEMA, record(1), *(record(number, name=number) for number in range(rejects)), STATE]
    finished = door.run(messages, dry_run=True)
    assert (finished.code, finished.stdout) == (code, "")
    assert "[not-discarded]" in finished.error
    assert f"sprintoctl discard {door.session().id}" in finished.error
    assert would_be_refused(finished.stderr) == ([(2, [3, 4])] if rejects else [])
    assert ("Everything else succeeded." in finished.error) is (not rejects)
    assert ("The records listed above would be rejected. Fix them at" in finished.error) is bool(rejects)


@pytest.mark.parametrize("state", ["expired", "processed"])
def test_a_dry_run_with_an_ended_session_suggests_no_command(door: FrontDoor, state: str) -> None:
    effect = Edit(lambda status: status | {"state": state})
    door.sandbox.inject(Fault("status", 2, integration_id=door.integration_id, effect=effect))
    finished = door.run(people(3), dry_run=True)
    assert "[not-discarded]" in finished.error
    assert f"Session {door.session().id} was not discarded" in finished.error
    assert "sprintoctl discard" not in finished.error


def limit_file_size(process: subprocess.Popen[bytes], size: int) -> None:
    """Simulate a full disk: a write beyond the limit is cut off, the next one fails."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def many_invalid(first: int, last: int) -> list[dict[str, Any]]:
    return [record(number, name=number) for number in range(first, last)]


@pytest.mark.parametrize("room", [0, 1, 300, 777, 1024])
def test_a_reject_is_written_completely_or_the_run_fails(door: FrontDoor, room: int) -> None:
    process = door.start(**DIVERT)
    limit_file_size(process, room)
    finished = door.finish(process, [SCHEMA, record(0), *many_invalid(1, 50), STATE])
    assert (finished.code, finished.stdout) == (1, "")
    assert "[rejects-not-written]" in finished.error
    assert door.applied() == {}
    rejected = kept(file_of(door)) if file_of(door).stat().st_size else []
    assert [one["record"]["id"] for one in rejected] == list(range(1, len(rejected) + 1))
    assert len(rejected) < 49
    assert (room > 300) == bool(rejected)


def test_an_unwritable_final_file_names_what_the_file_contains(door: FrontDoor) -> None:
    strict(door, all_errors=False)
    process = door.midway(messages=[SCHEMA, *many_invalid(0, 3), *people(102)[3:-1]], **DIVERT)
    # The final file would hold two of the three records; the disk is full before it is written.
    limit_file_size(process, 100)
    finished = door.finish(process, [STATE])
    assert (finished.code, finished.stdout) == (0, state_line())
    assert f"{file_of(door).name} is unfinished: it holds 3 records" in text(finished)
    assert "Compare it with Sprinto before you load it." in text(finished)
    assert [one["record"]["id"] for one in kept(file_of(door))] == [0, 1, 2]


@pytest.mark.parametrize("end", [STATE, b"not a message"], ids=["applied", "failed"])
def test_a_file_that_is_as_it_should_be_is_not_written_again(
    door: FrontDoor, end: dict[str, Any] | bytes
) -> None:
    """It may have hundreds of megabytes, and a run that ends has seconds."""
    process = door.midway(messages=[SCHEMA, *many_invalid(0, 3), *people(103)[4:-1]], **DIVERT)
    limit_file_size(process, 100)
    finished = door.finish(process, [end])
    assert finished.code == (0 if end == STATE else 1)
    assert file_of(door).name.endswith(".singer" if end == STATE else ".singer.not-applied")
    assert file_of(door).name in finished.stderr
    assert "unfinished" not in finished.stderr
    assert [one["record"]["id"] for one in kept(file_of(door))] == [0, 1, 2]


WITH_LIMIT = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize("room", [0, 100])
def test_a_run_does_not_start_if_its_receipt_does_not_fit(door: FrontDoor, room: int) -> None:
    # The limit is set before the run starts.
    process = door.start(
        cold=True, through=[sys.executable, "-c", WITH_LIMIT, str(room)], report_path="receipt.json"
    )
    finished = door.finish(process, people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert "[receipt-not-written]" in finished.error
    assert not (door.folder / "receipt.json").exists()
    assert door.operations() == []


def test_a_rejects_folder_that_is_removed_during_the_run_is_made_again(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, entities=RULES)
    messages = [SCHEMA, record(1), bad(2), record(3), STATE]
    remove = partial(shutil.rmtree, door.folder / "rejects")
    finished = closing.run_with(door, messages, remove, on_invalid_record="divert")
    assert (finished.code, finished.stdout) == (0, state_line())
    (kept,) = (door.folder / "rejects").iterdir()
    assert str(kept.relative_to(door.folder)) in finished.stderr
    assert len(kept.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("kind", "first", "second", "superseded"),
    [
        ({"type": "number"}, "1.50", "1.5", True),
        ({"type": "number"}, "1", "1.0", True),
        ({}, "1", "true", False),
        ({"type": ["string", "null"]}, "null", "null", False),
        ({}, '{"a":1,"b":2}', '{"b":2,"a":1.0}', True),
    ],
)
def test_only_a_later_record_of_an_equal_key_supersedes_a_reject(
    door: FrontDoor, kind: dict[str, Any], first: str, second: str, *, superseded: bool
) -> None:
    schema = SCHEMA | {"schema": {"properties": {"id": kind, "name": {"type": "string"}}}}
    lines = [
        f'{{"type":"RECORD","stream":"people","record":{{"id":{key},"name":{name}}}}}'.encode()
        for key, name in ((first, "5"), (second, '"new"'))
    ]
    finished = door.run([schema, *lines, STATE], on_invalid_record="divert")
    assert (finished.code, finished.stdout) == (0, state_line()), finished.stderr
    assert ("is superseded" in finished.stderr) is superseded
    assert bool(list((door.folder / "rejects").glob("*.singer"))) is not superseded
