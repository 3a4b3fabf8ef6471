"""The receipt of a run, for every outcome that a run can have."""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from html import escape
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto.receipts import chain
from target_sprinto.receipts.document import published_schema
from target_sprinto.sandbox import EntityRules, Readings
from tests.support import closing
from tests.support.front_door import (
    API_KEY,
    PAGE,
    SCHEMA,
    SECRET,
    STATE,
    FrontDoor,
    as_input,
    people,
    record,
    state_line,
)
from tests.support.receipts import SCHEMA_FILE, digest, receipt_of
from tests.support.sandbox import Edit, Fault, Hang, Late, Reset, Respond

if TYPE_CHECKING:
    from pathlib import Path

    from target_sprinto.sandbox.operations import Operation
    from tests.support.sandbox import Effect

JSON: dict[str, Any] = {"report_path": "receipt.json"}
STRICT = {"people": EntityRules(schema={"properties": {"name": {"maxLength": 20}}})}


def bad(number: int) -> dict[str, Any]:
    """A record that passes the target's checks and that Sprinto rejects."""
    return record(number, name=f"{SECRET} {'y' * 30}")


def fault(door: FrontDoor, operation: Operation, effect: Effect, **options: Any) -> Fault:  # noqa: ANN401 - any field
    made = Fault(operation, integration_id=door.integration_id, effect=effect, **options)
    door.sandbox.inject(made)
    return made


NO_TIMES = {"first_extracted_at": None, "last_extracted_at": None}


def test_the_published_schema_matches_the_code() -> None:
    assert json.loads(SCHEMA_FILE.read_bytes()) == published_schema()
    receipt_schema = published_schema()["$defs"]["Receipt"]
    assert receipt_schema["additionalProperties"] is False
    assert set(receipt_schema["required"]) == set(receipt_schema["properties"])


def test_a_receipt_describes_the_whole_run(door: FrontDoor) -> None:
    teams = SCHEMA | {"stream": "teams"}
    messages = [SCHEMA, teams, *(record(n, "teams" if n % 5 else "people") for n in range(240)), STATE]
    finished = door.run(messages, entity_types={"teams": "Team"}, **JSON)
    assert (finished.code, finished.stdout) == (0, state_line())
    receipt, session = receipt_of(door), door.session()
    records = messages[2:-1]
    message = {name: receipt[name] for name in ("outcome", "exit_code", "error", "state_went_to", "state")}
    assert message == {
        "outcome": "applied",
        "exit_code": 0,
        "error": None,
        "state_went_to": "stdout",
        "state": None,
    }
    assert receipt["reference"] == session.client_reference_id == f"target-sprinto/{receipt['run']}"
    assert (receipt["region"], receipt["target_version"]) == (None, version("target-sprinto"))
    assert (receipt["integration_id"], receipt["api_url"]) == (door.integration_id, door.sandbox.base_url)
    assert receipt["streams"] == [
        {"stream": "people", "records": 48, "skipped": 0, "filtered": 0, "dropped": []} | NO_TIMES,
        {"stream": "teams", "records": 192, "skipped": 0, "filtered": 0, "dropped": []} | NO_TIMES,
    ]
    assert receipt["entity_types"] == [
        {
            "entity_type": entity_type,
            "streams": {stream: len(own)},
            "entities": len(own),
            "sha256": digest(own),
            "accepted": len(own),
        }
        for stream, entity_type in (("people", "people"), ("teams", "Team"))
        if (own := [one for one in records if one["stream"] == stream])
    ]
    pages = receipt["pages"]
    assert [(page["first_line"], page["last_line"]) for page in pages] == [(3, 102), (103, 202), (203, 242)]
    assert [(page["entities"], page["accepted"], page["requests"]) for page in pages] == [
        (100, 100, 1),
        (100, 100, 1),
        (40, 40, 1),
    ]
    sent = [seen for seen in door.sandbox.requests(door.integration_id) if seen.operation == "push"]
    bodies = [gzip.decompress(seen.body) for seen in sent]
    assert [page["sha256"] for page in pages] == [hashlib.sha256(body).hexdigest() for body in bodies]
    assert [page["bytes"] for page in pages] == list(map(len, bodies))
    times = [receipt["started_at"]]
    times += [page[at] for page in pages for at in ("first_sent_at", "last_accepted_at")]
    assert times == sorted(times)
    assert times[-1] <= receipt["ended_at"]
    message = receipt["session"]
    assert (message["id"], message["state"]) == (session.id, "processed")
    assert message["accepted_records"] == {"people": 48, "Team": 192}
    assert message["accepted_batches"] == 3
    assert [step["phase"] for step in receipt["phases"]] == ["opening", "open", "applying", "ended"]
    assert [event["type"] for event in receipt["events"]] == [
        "session_created",
        *(["page_accepted"] * 3),
        "session_closed",
        "session_processed",
    ]
    assert receipt["rejects"] == []
    assert receipt["input_sha256"] == hashlib.sha256(as_input(messages)).hexdigest()
    assert (receipt["number"], receipt["previous"], receipt["signed_by"]) == (1, None, None)


def test_the_region_is_in_the_receipt(door: FrontDoor) -> None:
    # A proxy that does not exist keeps the run from reaching Sprinto's real host.
    env = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
    settings = {"api_url": None, "region": "eu", "retry_timeout_seconds": 1}
    assert door.run(people(3), env=env, **settings, **JSON).code == 75
    receipt = receipt_of(door)
    assert (receipt["outcome"], receipt["error"], receipt["region"]) == ("failed", "not-connected", "eu")
    assert receipt["api_url"].startswith("https://eu.")


def test_the_documented_program_checks_a_digest(door: FrontDoor) -> None:
    message = (SCHEMA_FILE.parents[2] / "docs/receipts.md").read_text(encoding="utf-8")
    program = message.partition("python - tap.singer <<'END'\n")[2].partition("END\n")[0]
    messages = people(120)
    (door.folder / "tap.singer").write_bytes(as_input(messages))
    assert door.run(messages, **JSON).code == 0
    command = [sys.executable, "-", "tap.singer"]
    found = subprocess.run(
        command, input=program, cwd=door.folder, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == receipt_of(door)["entity_types"][0]["sha256"] == digest(messages[1:-1])


def test_without_a_report_path_nothing_is_written_or_requested(door: FrontDoor) -> None:
    assert door.run(people(3)).code == 0
    assert "activity" not in door.operations()
    assert [path.name for path in door.folder.iterdir()] == ["config-0.json"]


@pytest.mark.parametrize("parallel", [2, 8])
def test_digests_follow_input_order_with_parallel_pages(door: FrontDoor, parallel: int) -> None:
    fault(door, "push", Hang(0.3), nth=2)
    fault(door, "push", Respond(503, {"Retry-After": "0"}), nth=4)
    messages = people(1500)
    assert door.run(messages, max_parallel_pages=parallel, **JSON).code == 0
    receipt = receipt_of(door)
    (entity_type,) = receipt["entity_types"]
    assert entity_type["sha256"] == digest(messages[1:-1])
    assert [page["number"] for page in receipt["pages"]] == list(range(1, len(receipt["pages"]) + 1))
    assert sum(page["accepted"] for page in receipt["pages"]) == 1500
    assert (
        sum(page["requests"] for page in receipt["pages"]) == len(door.pages()) == len(receipt["pages"]) + 1
    )


def test_rejects_are_listed_by_line_and_code(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, entities=STRICT)
    messages = [SCHEMA, *(record(n) for n in range(50)), bad(50), record(51, name=7), record(52), STATE]
    finished = door.run(messages, on_invalid_record="divert", **JSON)
    assert finished.code == 0
    receipt = receipt_of(door)
    assert (receipt["outcome"], receipt["state_went_to"]) == ("applied", "stdout")
    shown = [(one["line"], one["code"], one["rejected_by"]) for one in receipt["rejects"]]
    assert shown == [(52, "page-refused", "sprinto"), (53, "invalid-record", "target")]
    assert receipt["streams"] == [
        {"stream": "people", "records": 53, "skipped": 0, "filtered": 0, "dropped": []} | NO_TIMES
    ]
    (entity_type,) = receipt["entity_types"]
    # Records that Sprinto rejected were in a page; records that the target rejected were not.
    assert (entity_type["entities"], entity_type["accepted"]) == (52, 51)
    assert entity_type["sha256"] == digest([*messages[1:52], messages[53]])
    (page,) = receipt["pages"]
    assert (page["entities"], page["accepted"], page["requests"]) == (52, 51, 2)


def test_a_resent_page_counts_its_requests(door: FrontDoor) -> None:
    fault(door, "push", Reset(), nth=2)
    assert door.run(people(250), **JSON).code == 0
    assert [page["requests"] for page in receipt_of(door)["pages"]] == [1, 2, 1]


@dataclass(frozen=True)
class Ends:
    """How a run ends, and the fields of its receipt."""

    code: int
    outcome: str
    error: str | None
    state: str | None
    """The session's state; None if there is no session."""
    messages: list[Any] = field(default_factory=lambda: people(150))
    settings: dict[str, Any] = field(default_factory=dict)
    faults: tuple[tuple[Operation, Effect, dict[str, Any]], ...] = ()
    went_to: str = "nowhere"
    pages: int = 2


ENDS = {
    "no records": Ends(0, "nothing-to-send", None, None, [SCHEMA, STATE], went_to="stdout", pages=0),
    "no STATE": Ends(
        0, "applied", None, "processed", people(150)[:-1], settings={"require_final_state": False}
    ),
    "a dry run": Ends(0, "dry-run", None, "cancelled", settings={"dry_run": True}),
    "a dry run with rejections": Ends(
        1,
        "dry-run",
        "would-be-refused",
        "cancelled",
        [*people(150)[:-1], record(1, name=7), STATE],
        settings={"dry_run": True},
    ),
    "bad input": Ends(1, "failed", "invalid-line", "cancelled", [*PAGE, b"{", STATE], pages=1),
    "bad input before a page": Ends(1, "failed", "invalid-line", None, [SCHEMA, b"{"], pages=0),
    "no final STATE": Ends(1, "failed", "missing-final-state", "cancelled", PAGE, pages=1),
    "a rejected page": Ends(
        1, "failed", "page-refused", "cancelled", faults=(("push", Respond(400), {"nth": 2, "times": 9}),)
    ),
    "an invalid API key": Ends(
        1, "failed", "unauthorized", None, faults=(("create", Respond(401), {}),), pages=1
    ),
    "too few": Ends(
        1, "failed", "too-few-records", "cancelled", settings={"expect": {"people": {"min_records": 151}}}
    ),
    "a count mismatch": Ends(
        1,
        "failed",
        "count-mismatch",
        "cancelled",
        faults=(
            (
                "status",
                Edit(lambda body: body | {"accepted_records_by_entity": {"people": 151}}),
                {"times": 9},
            ),
        ),
    ),
    "a rejected close": Ends(1, "failed", "unauthorized", "cancelled", faults=(("close", Respond(401), {}),)),
    "failed processing": Ends(
        1,
        "failed",
        "processing-failed",
        "failed",
        faults=(("status", Edit(lambda body: body | {"state": "failed", "retry_count": 1}), {"nth": 2}),),
    ),
    "unfinished processing": Ends(
        75,
        "failed",
        "processing-timeout",
        "processing",
        settings={"processing_timeout_seconds": 0.2},
        faults=(("status", Edit(lambda body: body | {"state": "processing"}), {"nth": 2, "times": 999}),),
    ),
    "an unconfirmed discard": Ends(
        1,
        "failed",
        "invalid-line",
        "active",
        [*PAGE, b"{", STATE],
        faults=(("close", Respond(401), {"times": 99}),),
        pages=1,
    ),
}


@pytest.mark.parametrize("how", ENDS)
def test_every_outcome_has_its_receipt(door: FrontDoor, how: str) -> None:
    ends = ENDS[how]
    for operation, effect, options in ends.faults:
        fault(door, operation, effect, **options)
    finished = door.run(ends.messages, **JSON, **ends.settings)
    assert finished.code == ends.code, finished.stderr
    receipt = receipt_of(door)
    message = (receipt["exit_code"], receipt["outcome"], receipt["error"], receipt["state_went_to"])
    assert message == (ends.code, ends.outcome, ends.error, ends.went_to)
    assert (receipt["session"] or {}).get("state") == ends.state
    assert len(receipt["pages"]) == ends.pages
    assert bool(finished.stdout) == (receipt["state_went_to"] == "stdout")
    assert receipt["ended_at"] is not None


def test_the_line_of_bad_input_is_in_the_receipt(door: FrontDoor) -> None:
    assert door.run([*PAGE, b"s3cr3t", STATE], **JSON).code == 1
    assert receipt_of(door)["error_line"] == 102


def test_a_signal_is_recorded_as_interrupted(door: FrontDoor) -> None:
    process = door.midway(**JSON)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)
    assert door.finish(process, None).code == 143
    receipt = receipt_of(door)
    assert (receipt["outcome"], receipt["exit_code"], receipt["error"]) == ("interrupted", 143, "interrupted")
    assert receipt["session"]["state"] == "cancelled"
    assert receipt["events"][-1]["type"] == "session_cancelled"


def test_a_session_missing_from_the_log_is_not_claimed(door: FrontDoor) -> None:
    door.pace["signal_shutdown_timeout"] = 1.0
    door.sandbox.configure(door.integration_id, readings=Readings(log_shows_reference=False))
    fault(door, "create", Late())
    process = door.fed(PAGE, **JSON)
    door.sandbox.wait_for(lambda box: bool(box.fired(door.integration_id)))
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)
    assert door.finish(process, None).code == 130
    receipt = receipt_of(door)
    assert receipt["session"] is None
    assert [step["phase"] for step in receipt["phases"]] == ["opening", "ended"]


def test_a_killed_run_leaves_an_unfinished_receipt(door: FrontDoor) -> None:
    session = door.kill_midway(**JSON)
    receipt = receipt_of(door)
    assert (receipt["outcome"], receipt["exit_code"], receipt["ended_at"]) == ("unfinished", None, None)
    assert receipt["reference"] == session.client_reference_id


def test_a_broken_stdout_is_reported(door: FrontDoor) -> None:
    process = door.start(stdout=subprocess.PIPE, **JSON)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    assert door.finish(process, people(3)).code == 1
    receipt = receipt_of(door)
    message = (receipt["outcome"], receipt["error"], receipt["state_went_to"], receipt["state"])
    assert message == ("applied", "state-not-written", "stderr", None)


# The activity log


@pytest.mark.parametrize(
    ("effect", "reason"),
    [
        (Respond(500), "[response-lost]"),
        (
            Edit(
                lambda body: (
                    body
                    | {"items": [{"message": f"{body['page']}" * 900_000}], "next_page": body["page"] + 1}
                )
            ),
            "longer than is read: reading stopped after 5 events on 5 pages. [log-unending]",
        ),
    ],
)
def test_a_warning_says_why_a_receipt_has_no_events(door: FrontDoor, effect: Effect, reason: str) -> None:
    fault(door, "activity", effect, times=99)
    finished = door.run(people(3), **JSON)
    assert (finished.code, receipt_of(door)["events"]) == (0, None)
    (warning,) = [line for line in finished.stderr.splitlines() if "WARNING" in line]
    assert "The receipt has no events. " in warning
    assert reason in warning


def test_invalid_times_are_left_out(door: FrontDoor) -> None:
    beyond = "0001-01-01T00:00:00+23:59"
    fault(door, "status", Edit(lambda response: response | {"expires_at": beyond}), times=99)
    assert door.run(people(3), report_path="receipt.json").code == 0
    receipt = receipt_of(door)
    assert receipt["outcome"] == "applied"
    assert receipt["session"]["expires_at"] is None


def test_only_the_sessions_own_events_are_kept(door: FrontDoor) -> None:
    assert door.run(people(3)).code == 0
    assert door.run(people(3), **JSON).code == 0
    events = receipt_of(door)["events"]
    assert [event["type"] for event in events].count("session_created") == 1
    own = [event["id"] for event in door.sandbox.events(door.integration_id)[-len(events) :]]
    assert [event["id"] for event in events] == own


def test_free_text_of_events_is_not_kept(door: FrontDoor) -> None:
    def add_free_text(body: dict[str, Any]) -> dict[str, Any]:
        for item in body["items"]:
            item |= {
                "message": SECRET,
                "details": {SECRET: SECRET},
                "type": f"it was {SECRET}",
                "level": SECRET,
            }
        return body

    fault(door, "activity", Edit(add_free_text))
    assert door.run(people(3), **JSON).code == 0
    (kinds,) = {(event["type"], event["level"]) for event in receipt_of(door)["events"]}
    assert kinds == ("", "other")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"people": 3, f"{SECRET}!": 5}, ({"people": 3}, 5)),
        ({"people": 10**300}, (None, None)),
        ({"people": SECRET}, (None, None)),
        (SECRET, (None, None)),
    ],
)
def test_counts_name_only_entity_types_that_were_sent(
    door: FrontDoor, counts: object, message: tuple[object, object]
) -> None:
    edit = Edit(lambda body: body | {"accepted_records_by_entity": counts, "accepted_batches": SECRET})
    fault(door, "status", edit, times=99)
    assert door.run(people(3), **JSON).code == 1
    session = receipt_of(door)["session"]
    assert (session["accepted_records"], session["accepted_others"]) == message
    assert session["accepted_batches"] is None


# The file


def test_the_path_may_contain_the_run_id(door: FrontDoor) -> None:
    assert door.run(people(3), report_path="receipts/of {run}.json").code == 0
    (path,) = (door.folder / "receipts").iterdir()
    receipt = receipt_of(door, f"receipts/{path.name}")
    assert path.name == f"of {receipt['run']}.json"


def test_an_existing_file_is_not_overwritten(door: FrontDoor) -> None:
    (door.folder / "receipt.json").write_text("kept")
    assert door.run(people(3), **JSON).code == 0
    assert (door.folder / "receipt.json").read_text() == "kept"
    (path,) = door.folder.glob("receipt.*.json")
    receipt = receipt_of(door, path.name)
    assert path.name == f"receipt.{receipt['run']}.json"


def test_the_path_may_be_a_folder(door: FrontDoor) -> None:
    for _ in range(2):
        assert door.run(people(3), report_path="receipts").code == 0
    paths = sorted((door.folder / "receipts").iterdir())
    for path in paths:
        receipt = receipt_of(door, f"receipts/{path.name}")
        began = receipt["started_at"].replace(":", "").partition(".")[0]
        assert path.name == f"{began}Z.{receipt['run']}.json"
    assert len(paths) == 2


@pytest.mark.parametrize("messages", [people(3), people(0)], ids=["records", "none"])
def test_an_unusable_path_fails_the_run_before_any_request(door: FrontDoor, messages: list[Any]) -> None:
    (door.folder / "file").touch()
    finished = door.run(messages, report_path="file/receipt.json")
    assert (finished.code, finished.stdout) == (1, "")
    assert "[receipt-not-written]" in finished.error
    assert "No session was opened" in finished.error
    assert door.operations() == []


def test_a_lost_receipt_does_not_lose_the_state(door: FrontDoor) -> None:
    """Everything is applied: the removal of the receipt's folder is logged and has no other effect."""
    remove = partial(shutil.rmtree, door.folder / "receipts")
    finished = closing.run_with(door, people(3), remove, report_path="receipts/receipt.json")
    assert (finished.code, finished.stdout) == (0, state_line())
    (warning,) = [line for line in finished.stderr.splitlines() if "[receipt-not-written]" in line]
    assert "| WARNING" in warning


def test_a_full_disk_does_not_lose_the_state(door: FrontDoor) -> None:
    code, stdout, stderr = fill_the_disk(door)
    assert (code, stdout) == (0, state_line()), stderr
    (warning,) = [line for line in stderr.splitlines() if "[receipt-not-written]" in line]
    assert "| WARNING" in warning
    assert receipt_of(door)["outcome"] == "unfinished"
    assert door.session().state == "processed"


def test_a_run_that_holds_discards_if_the_disk_is_full(door: FrontDoor) -> None:
    code, stdout, stderr = fill_the_disk(door, finish="hold")
    assert (code, stdout) == (1, ""), stderr
    assert stderr.count("[receipt-not-written]") == 1
    assert "The run's outcome does not change" not in stderr
    assert receipt_of(door)["outcome"] == "unfinished"
    assert door.session().state == "cancelled"


def fill_the_disk(door: FrontDoor, **settings: Any) -> tuple[int, str, str]:  # noqa: ANN401 - settings
    """Run with a file size limit equal to the receipt's initial size."""
    process = door.fed(people(200)[:150], page_size=10, **JSON, **settings)
    door.wait_for_operation("push")
    size = (door.folder / "receipt.json").stat().st_size
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
    finished = door.finish(process, people(200)[150:])
    return finished.code, finished.stdout, finished.stderr


def test_a_disk_full_from_the_start_fails_the_run(door: FrontDoor) -> None:
    config = str(door.config(**JSON))
    command = ["sh", "-c", 'ulimit -f 0; exec "$0" -m target_sprinto --config "$1"', sys.executable, config]
    run = subprocess.run(
        command, input=as_input(people(3)), capture_output=True, check=False, cwd=door.folder, timeout=60
    )
    assert (run.returncode, run.stdout) == (1, b"")
    assert b"[receipt-not-written]" in run.stderr
    assert door.operations() == []
    assert not (door.folder / "receipt.json").exists()


def test_a_folder_locked_for_long_is_reported(door: FrontDoor) -> None:
    """Without the lock, two receipts could get the same number, and one of them would look added later."""
    folder = os.open(door.folder, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        finished = door.run(people(3), **JSON)
    finally:
        os.close(folder)
    assert (finished.code, finished.stdout) == (0, state_line()), finished.stderr
    (warning,) = [line for line in finished.stderr.splitlines() if "could not be locked" in line]
    assert "| WARNING" in warning
    assert receipt_of(door)["number"] == 1


def test_a_folder_that_cannot_be_locked_is_reported_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on network file systems without locks: the receipt is written all the same."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with chain.locked(tmp_path, 60):
        assert "could not be locked" in caplog.text


def test_a_receipt_that_cannot_be_read_fails_the_next_run(door: FrontDoor) -> None:
    """It may be the last applied one, with which `max_shrink_percent` compares, and whose number counts."""
    settings: dict[str, Any] = {
        "report_path": "receipts",
        "expect": {"people": {"max_shrink_percent": 10}},
    }
    assert door.run(people(100), **settings).code == 0
    (receipt,) = (door.folder / "receipts").iterdir()
    receipt.rename(door.folder / "kept.json")
    # A file that even root cannot read.
    (door.folder / "receipts" / "kept.json").symlink_to("kept.json")
    before = door.operations()
    finished = door.run(people(3), **settings)
    assert (finished.code, finished.stdout) == (1, "")
    assert "receipts/kept.json, possibly the receipt of the previous run, cannot be read" in finished.error
    assert "[receipt-not-written]" in finished.error
    assert door.operations() == before


def test_a_receipt_that_could_not_be_replaced_fails_the_run_before_any_request(door: FrontDoor) -> None:
    """Its name has room for the file, but not for the temporary one that replaces it at the end."""
    finished = door.run(people(3), report_path=f"{'x' * 245}.json")
    assert (finished.code, finished.stdout) == (1, "")
    assert "[receipt-not-written]" in finished.error
    assert door.operations() == []
    assert list(door.folder.glob("xxx*")) == []


# The HTML report


def page(door: FrontDoor, name: str = "receipt.json") -> str:
    """The HTML report that `sprintoctl receipt` writes."""
    (door.folder / "receipt.html").unlink(missing_ok=True)
    words = ["receipt", name, "--html", "-o", "receipt.html"]
    finished = door.finish(door.start(*words, program="sprintoctl"))
    assert (finished.code, finished.stdout, finished.stderr) == (0, "", "")
    return (door.folder / "receipt.html").read_text()


def test_an_html_report_is_self_contained(door: FrontDoor) -> None:
    stream = "<b>people</b> & 'co'"
    messages = [SCHEMA | {"stream": stream}, *(record(n, stream) for n in range(3)), STATE]
    assert door.run(messages, **JSON).code == 0
    text = page(door)
    assert "<b>" not in text
    assert "&lt;b&gt;people&lt;/b&gt; &amp; &#x27;co&#x27;" in text
    for shown in (
        ">Applied<",
        door.session().id,
        digest(messages[1:-1]),
        door.integration_id,
        ">2 to 4<",
        "unsigned",
    ):
        assert shown in text
    for reach in ("<script", "src=", "href=", "url(", "@import", "<link", "<iframe", " on"):
        assert reach not in text.partition("<body>")[2].replace(" on receipt", "")
    assert API_KEY not in text
    assert SECRET not in text


PAGES = {
    "a rejected page": (
        ("push", Respond(400), {"times": 9}),
        "Failed [page-refused]",
        "was discarded: nothing",
    ),
    "an invalid API key": (("create", Respond(401), {}), "Failed [unauthorized]", "No session was opened."),
    "a lost discard": (
        ("close", Respond(401), {"times": 99}),
        "Failed [unauthorized]",
        "end was not observed",
    ),
    "no processing": (
        ("status", Edit(lambda body: body | {"state": "failed", "retry_count": 1}), {"nth": 2}),
        "Failed [processing-failed]",
        "may still be applied",
    ),
}


@pytest.mark.parametrize("how", PAGES)
def test_an_html_report_shows_the_sessions_outcome(door: FrontDoor, how: str) -> None:
    (operation, effect, options), headline, explained = PAGES[how]
    fault(door, operation, effect, **options)  # type: ignore[arg-type] # an operation by name
    assert door.run(people(3), **JSON).code == 1
    text = page(door)
    assert headline in text
    assert explained in text
    assert f"<p>{escape(receipt_of(door)['error_message'])} " in text


def test_an_html_report_lists_rejects(door: FrontDoor) -> None:
    messages = [*people(5)[:-1], record(5, name=7), STATE]
    assert door.run(messages, on_invalid_record="divert", **JSON).code == 0
    text = page(door)
    assert "the records listed as accepted are applied. Records that were rejected: 1." in text
    assert '<td class="number" data-head="Input line">7</td><td data-head="In batch file">-</td>' in text


def test_an_html_report_of_a_running_run_says_unfinished(door: FrontDoor) -> None:
    process = door.midway(**JSON)
    unfinished = page(door)
    assert ">Unfinished<" in unfinished
    assert door.finish(process, [STATE]).code == 0
    applied = page(door)
    assert ">Applied<" in applied
    # The file was written before the run did anything, so it shows neither a record nor that there was none.
    for unknown in (
        "<dt>STATE went to<",
        "<dt>Input lines<",
        "<dt>Final STATE",
        "<h2>Streams<",
        "<h2>Phases",
    ):
        assert unknown in applied
        assert unknown not in unfinished
    assert "No session was opened" not in unfinished


def test_the_settings_digest_distinguishes_settings_but_not_keys(door: FrontDoor, tmp_path: Path) -> None:
    message = []
    whole, fraction = ({"expect": {"people": {"max_shrink_percent": number}}} for number in (10, 10.0))
    same: list[dict[str, Any]] = [
        {},
        {"page_size": 100},
        {"request_timeout_seconds": 60.0},
        {"api_key": "another"},
    ]
    for settings in (*same, {"page_size": 50}, whole, fraction):
        assert door.run(people(0), report_path="receipts/{run}.json", **settings).code == 0
        (path,) = (tmp_path / "receipts").glob("*.json")
        message.append(json.loads(path.read_bytes())["settings_sha256"])
        path.unlink()
    *equal, smaller, first, second = message
    assert len(set(equal)) == 1
    assert first == second
    assert len({*equal, smaller, first}) == 3


def test_an_html_report_requires_a_verified_receipt(door: FrontDoor) -> None:
    assert door.run(people(3), report_path="receipt.json").code == 0
    receipt, page = door.folder / "receipt.json", door.folder / "page.html"
    content = receipt.read_bytes()
    words = ["receipt", "receipt.json", "--html", "-o"]
    own = door.finish(door.start(*words, "receipt.json", program="sprintoctl"))
    assert (own.code, receipt.read_bytes()) == (2, content)
    assert "-o would overwrite a receipt" in own.stderr
    for name in ("receipt.json.dsse", "another.json"):
        (door.folder / name).write_text("kept")
        other = door.finish(door.start(*words, name, program="sprintoctl"))
        assert (other.code, (door.folder / name).read_text()) == (2, "kept")
    page.write_text("the page of another day")
    receipt.write_bytes(content.replace(b'"exit_code": 0', b'"exit_code": 1'))
    changed = door.finish(door.start(*words, "page.html", program="sprintoctl"))
    assert (changed.code, page.read_text()) == (1, "the page of another day")
    receipt.unlink()
    missing = door.finish(door.start(*words, "page.html", program="sprintoctl"))
    assert (missing.code, page.read_text()) == (1, "the page of another day")
    assert "The receipt cannot be read" in missing.stderr


def test_user_provenance_is_marked_as_given(door: FrontDoor) -> None:
    given = {"Signature": "The receipt is signed with the key abab."}
    assert door.run(people(3), report_path="receipt.json", provenance=given).code == 0
    page = page_of(door)
    assert "<dt>Given: Signature</dt>" in page
    assert page.count("<dt>Signature</dt>") == 1


def test_bidi_controls_in_names_are_escaped(door: FrontDoor) -> None:
    odd = "abc\u202egnp.exe"
    schema = SCHEMA | {"stream": odd}
    messages = [schema, record(1, odd), STATE]
    assert door.run(messages, report_path="receipt.json", require_final_state=False).code == 0
    page = page_of(door)
    assert "\u202e" not in page
    assert "<bdi>\u2068abc\\u202egnp.exe\u2069 1</bdi>" in page


def page_of(door: FrontDoor) -> str:
    return door.finish(door.start("receipt", "receipt.json", "--html", program="sprintoctl")).stdout
