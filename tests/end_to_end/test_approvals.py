"""Held sessions, and the person who applies or discards them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from contextlib import closing
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto.sandbox import EntityRules, Readings, SandboxOptions
from tests.support.front_door import (
    PAGE,
    SCHEMA,
    SIGNALS,
    STATE,
    FrontDoor,
    as_input,
    end_of_input,
    feed,
    people,
    record,
    state_line,
)
from tests.support.receipts import change, receipt_of
from tests.support.sandbox import Delay, Drop, Edit, Fault, FaultySandbox, Hang, Reset, Respond

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from target_sprinto.sandbox.operations import Operation
    from tests.support.front_door import Finished
    from tests.support.sandbox import Effect

HOLD: dict[str, Any] = {"finish": "hold", "report_path": "receipt.json"}
SPELLED = b'{"bookmarks":  {"people": 1.10, "n": 12345678901234567890}}'
RECEIPT = ("--receipt", "receipt.json")


def fault(door: FrontDoor, operation: Operation, effect: Effect, **options: Any) -> Fault:  # noqa: ANN401 - any field
    made = Fault(operation, integration_id=door.integration_id, effect=effect, **options)
    door.sandbox.inject(made)
    return made


def hold(door: FrontDoor, **settings: object) -> str:
    """Run, and return the id of the held session."""
    state = b'{"type":"STATE","value":' + SPELLED + b"}"
    finished = door.run([*people(250)[:-1], state], **(HOLD | settings))
    assert (finished.code, finished.stdout) == (0, ""), finished.stderr
    return door.session().id


def state_of(door: FrontDoor, session: str) -> str:
    (found,) = [one.state for one in door.sessions() if one.id == session]
    return found


def check_applied(door: FrontDoor, finished: Finished) -> None:
    assert (finished.code, finished.stdout) == (0, SPELLED.decode() + "\n"), finished.stderr
    assert len(door.applied()["people"]) == 250
    assert "has processed session" in finished.stderr


def check_not_applied(door: FrontDoor, session: str, finished: Finished, *message: str) -> None:
    assert (finished.code, finished.stdout) == (1, ""), finished.stderr
    (line,) = [line for line in finished.stderr.splitlines() if line.startswith("sprintoctl: ")]
    for words in message:
        assert words in line
    assert state_of(door, session) in {"active", "expired", "cancelled"}
    assert door.applied() == {}


def feed_all(process: subprocess.Popen[bytes], messages: list[Any]) -> None:
    """Write all of the input and close the pipe."""
    feed(process, messages)
    end_of_input(process)


# The run


def test_a_run_that_holds_leaves_its_session_and_names_the_next_steps(door: FrontDoor) -> None:
    finished = door.run(people(250), **HOLD)
    assert (finished.code, finished.stdout) == (0, "")
    session = door.session()
    assert session.state == "active"
    assert (session.client_reference_id or "").endswith("/hold")
    (line,) = [line for line in finished.stderr.splitlines() if "is held" in line]
    for message in (
        f"Session {session.id} is held: 250 people, in 3 pages, in ",
        ". It expires 20",
        f"sprintoctl apply {session.id} --receipt receipt.json --config {door.folder}/",
        f"sprintoctl discard {session.id} --config {door.folder}/",
    ):
        assert message in line
    receipt = receipt_of(door)
    shown = {name: receipt[name] for name in ("outcome", "exit_code", "finish", "state_went_to", "state")}
    assert shown == {
        "outcome": "held",
        "exit_code": 0,
        "finish": "hold",
        "state_went_to": "receipt",
        "state": STATE["value"],
    }
    assert receipt["session"]["state"] == "active"
    assert receipt["session"]["expires_at"][:16] in line
    assert "close" not in door.operations()


def test_a_piped_config_is_not_part_of_a_suggested_command(door: FrontDoor) -> None:
    (door.folder / "input.singer").write_bytes(as_input(people(3)))
    config = door.config(**HOLD).read_bytes()
    finished = door.run(config, "--config", "/dev/stdin", "--input", "input.singer")
    assert finished.code == 0
    assert f"sprintoctl discard {door.session().id} --config FILE." in finished.stderr


def test_a_conflict_with_a_held_session_suggests_apply_or_discard(door: FrontDoor) -> None:
    session, config = hold(door), str(door.config())
    finished = door.run(people(1), "--config", config)
    assert finished.code == 75
    assert "If it waits for approval: " in finished.error
    assert f"sprintoctl apply {session} --receipt FILE --config {config}; or: " in finished.error
    assert f"or: sprintoctl discard {session} --config {config}." in finished.error
    assert "died" not in finished.error


def test_a_held_session_is_never_taken_over(door: FrontDoor) -> None:
    session = hold(door)
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=0)
    assert (finished.code, finished.stdout) == (75, "")
    assert "a session under `finish: hold` is never taken over" in finished.error
    assert f"sprintoctl apply {session}" in finished.error
    assert door.session().state == "active"


def test_a_held_session_without_an_expiry_has_the_documented_one(door: FrontDoor) -> None:
    fault(door, "status", Edit(lambda body: body | {"expires_at": None}), times=99)
    finished = door.run(people(3), **HOLD)
    assert finished.code == 0
    (held,) = [line for line in finished.stderr.splitlines() if " is held: " in line]
    assert re.search(r"expires \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \(in 60 min\)", held)


def test_a_run_without_records_holds_nothing(door: FrontDoor) -> None:
    finished = door.run(people(0), **HOLD)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert door.sessions() == []
    receipt = receipt_of(door)
    assert (receipt["outcome"], receipt["state_went_to"], receipt["state"]) == (
        "nothing-to-send",
        "stdout",
        None,
    )


def test_a_run_that_holds_may_divert(door: FrontDoor) -> None:
    rules = EntityRules(schema={"properties": {"name": {"maxLength": 20}}})
    door.sandbox.configure(door.integration_id, entities={"people": rules})
    messages = [SCHEMA, *(record(n) for n in range(20)), record(20, name="s" * 30), STATE]
    finished = door.run(messages, on_invalid_record="divert", **HOLD)
    assert finished.code == 0
    command = "once the session is applied, if no later run has sent it: target-sprinto --input"
    assert f"to load it after a fix, {command}" in finished.stderr
    applied = door.sprintoctl("apply", door.session().id, *RECEIPT)
    assert applied.code == 0
    assert len(door.applied()["people"]) == 20
    assert len(list((door.folder / "rejects").iterdir())) == 1


def break_input(door: FrontDoor) -> Finished:
    return door.run([*people(150)[:-1], b"{"], **HOLD)


def break_counts(door: FrontDoor) -> Finished:
    fault(door, "status", Edit(lambda body: body | {"accepted_records_by_entity": {"people": 9}}), times=999)
    return door.run(people(3), **HOLD)


def expire(door: FrontDoor) -> Finished:
    fault(door, "status", Edit(lambda body: body | {"state": "expired"}))
    return door.run(people(3), **HOLD)


def remove_the_folder(door: FrontDoor) -> Finished:
    hang = fault(door, "activity", Hang())
    process = door.start(**(HOLD | {"report_path": "receipts/receipt.json"}))
    feed_all(process, people(3))
    door.wait_for_operation("activity")
    for path in (door.folder / "receipts").iterdir():
        path.unlink()
    (door.folder / "receipts").rmdir()
    door.sandbox.release(hang)
    return door.finish(process, None)


def interrupt(door: FrontDoor) -> Finished:
    fault(door, "activity", Hang())
    process = door.start(**HOLD)
    feed_all(process, people(3))
    door.wait_for_operation("activity")
    process.send_signal(signal.SIGTERM)
    return door.finish(process, None)


@pytest.mark.parametrize(
    ("broken", "code", "error"),
    [
        (break_input, 1, "invalid-line"),
        (break_counts, 1, "count-mismatch"),
        (expire, 75, "session-ended"),
        (remove_the_folder, 1, "receipt-not-written"),
        (interrupt, 143, "interrupted"),
    ],
)
def test_a_run_that_cannot_hold_its_session_discards_it(
    door: FrontDoor, broken: Callable[[FrontDoor], Finished], code: int, error: str
) -> None:
    finished = broken(door)
    assert (finished.code, finished.stdout) == (code, "")
    assert f"[{error}]" in finished.error
    assert door.session().state == "cancelled"
    if error != "receipt-not-written":
        receipt = receipt_of(door)
        assert (receipt["error"], receipt["state"], receipt["state_went_to"]) == (error, None, "nowhere")


def test_the_receipt_of_a_held_session_shows_the_status_that_decided(door: FrontDoor) -> None:
    """A keep-alive that is sent while the run waits for it shows fewer counts: those of another replica."""
    door.pace["keep_alive"] = 1.0
    fault(door, "status", Delay(1.5))
    lagging = Edit(lambda status: status | {"accepted_records_by_entity": {"people": 200}})
    fault(door, "status", lagging, nth=2, times=50)
    hold(door)
    assert len(door.sandbox.fired(door.integration_id)) >= 2
    assert receipt_of(door)["session"]["accepted_records"] == {"people": 250}


def test_a_held_session_is_not_taken_over_by_the_next_run(door: FrontDoor) -> None:
    session = hold(door)
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=0)
    assert finished.code == 75
    assert "[session-conflict]" in finished.error
    assert session in finished.error
    assert state_of(door, session) == "active"


# Applied with a receipt


def test_apply_applies_and_prints_the_state_unchanged(door: FrontDoor) -> None:
    session = hold(door)
    check_applied(door, door.sprintoctl("apply", session, *RECEIPT))
    assert state_of(door, session) == "processed"


@pytest.mark.parametrize("operation", ["status", "integration_status", "close"])
def test_apply_waits_as_long_as_sprinto_asks(door: FrontDoor, operation: Operation) -> None:
    session = hold(door)
    door.pace["keep_alive"] = 0.2
    busy = Respond(429, {"Retry-After": "0.9"})
    fault(door, operation, busy, nth=1 + door.operations().count(operation))
    seen = len(door.operations())
    check_applied(door, door.sprintoctl("apply", session, *RECEIPT, retry_timeout_seconds=0.1))
    if operation != "status":
        first, second = [
            index for index, name in enumerate(door.operations()[seen:], seen) if name == operation
        ][:2]
        assert door.operations()[first:second].count("status") >= 2


@pytest.mark.parametrize("close_counts", ["exact", "stale", "empty"])
def test_apply_waits_for_counts_that_lag_after_the_close(door: FrontDoor, close_counts: Any) -> None:  # noqa: ANN401 - one of the reading's words
    session = hold(door)
    readings = Readings(close_response_counts=close_counts, processed_counts_lag_seconds=2.0)
    door.pace["max_count_lag"] = 10.0
    door.sandbox.configure(door.integration_id, readings=readings)
    check_applied(door, door.sprintoctl("apply", session, *RECEIPT))
    assert door.operations()[door.operations().index("close") :].count("status") >= 3


def test_apply_can_be_repeated(door: FrontDoor) -> None:
    session = hold(door)
    for already in (False, True):
        finished = door.sprintoctl("apply", session, *RECEIPT)
        check_applied(door, finished)
        assert ("is already processed: no apply request is sent" in finished.stderr) is already
    assert door.operations().count("close") == 1


def test_a_run_without_a_state_is_applied_without_one(door: FrontDoor) -> None:
    assert door.run(people(3)[:-1], require_final_state=False, **HOLD).code == 0
    finished = door.sprintoctl("apply", door.session().id, *RECEIPT)
    assert (finished.code, finished.stdout) == (0, "")
    assert "had no STATE: none is printed" in finished.stderr
    assert len(door.applied()["people"]) == 3


@pytest.mark.parametrize(("operation", "nth"), [("integration_status", 1), ("status", 2)])
def test_concurrent_applies_both_print_the_state(door: FrontDoor, operation: Operation, nth: int) -> None:
    session = hold(door)
    nth += door.operations().count(operation)
    hang = fault(door, operation, Hang(), nth=nth, moment="before")
    second = start_apply(door, session, *RECEIPT)
    door.wait_for_operation(operation, nth)
    check_applied(door, door.sprintoctl("apply", session, *RECEIPT))
    door.sandbox.release(hang)
    check_applied(door, door.finish(second))
    assert door.operations().count("close") == 1


def test_discard_ends_a_held_session(door: FrontDoor) -> None:
    session = hold(door)
    assert door.sprintoctl("discard", session).code == 0
    assert state_of(door, session) == "cancelled"
    check_not_applied(
        door, session, door.sprintoctl("apply", session, *RECEIPT), "'cancelled'", "[session-ended]"
    )


def hold_and_expire(door: FrontDoor) -> str:
    session = hold(door)
    door.sandbox.expire(door.integration_id)
    assert state_of(door, session) == "expired"
    return session


@pytest.mark.parametrize("latest", [True, False])
def test_an_expired_session_is_applied_only_if_it_is_the_latest(door: FrontDoor, *, latest: bool) -> None:
    session = hold_and_expire(door)
    discarded = door.sprintoctl("discard", session)
    assert discarded.code == 1
    assert "Until another session is opened, `sprintoctl apply` can still apply it." in discarded.stderr
    if latest:
        check_applied(door, door.sprintoctl("apply", session, *RECEIPT))
    else:
        assert door.run(people(3), dry_run=True).code == 0
        check_not_applied(
            door, session, door.sprintoctl("apply", session, *RECEIPT), "'expired'", "[session-ended]"
        )


@pytest.mark.parametrize(("days", "applied"), [(2.6, True), (31, False)])
def test_a_session_held_before_the_weekend_is_applied_after_it(
    tmp_path: Path, warm: str, days: float, *, applied: bool
) -> None:
    passed = [0.0]
    with (
        FaultySandbox(SandboxOptions(), clock=lambda: time.time() + passed[0]) as sandbox,
        closing(FrontDoor(sandbox, "demo", tmp_path, warm)) as door,
    ):
        session = hold(door)
        passed[0] = days * 86_400
        finished = door.sprintoctl("apply", session, *RECEIPT)
        if applied:
            check_applied(door, finished)
        else:
            check_not_applied(door, session, finished, "'expired'", "[session-ended]")


@pytest.mark.parametrize("shown_by", ["last_activity_at", "active"])
@pytest.mark.parametrize("readings", [1, 99])
def test_an_expired_session_is_not_applied_while_the_log_lags(
    door: FrontDoor, readings: int, shown_by: str
) -> None:
    session = hold_and_expire(door)
    if shown_by == "active":
        pages = len(door.pages())
        door.fed(PAGE)
        door.wait_for_operation("push", pages + 1, responded=True)
        without_time = Edit(lambda body: body | {"last_activity_at": None})
        fault(door, "integration_status", without_time, times=99)
    else:
        assert door.run(people(3), dry_run=True).code == 0
    lagging = Edit(
        lambda body: body | {"items": [one for one in body["items"] if one["session_id"] == session]}
    )
    fault(door, "activity", lagging, nth=1 + door.operations().count("activity"), times=readings)
    door.pace["max_count_lag"] = 0.2 if readings > 1 else 20.0
    finished = door.sprintoctl("apply", session, *RECEIPT)
    check_not_applied(door, session, finished, "'expired'", "[session-ended]")
    assert "which the activity log does not show yet" in finished.stderr


def test_an_expired_session_is_applied_once_it_is_not_counted_as_active(door: FrontDoor) -> None:
    session = hold_and_expire(door)
    seen = door.operations().count("integration_status")
    active = Edit(lambda body: body | {"sessions": body["sessions"] | {"active": 1}})
    fault(door, "integration_status", active, nth=seen + 1, times=3)
    door.pace["max_count_lag"] = 1.0
    finished = door.sprintoctl("apply", session, *RECEIPT)
    check_applied(door, finished)
    assert "status counts an active session, which the activity log does not show yet" in finished.stderr


def test_a_throttled_look_does_not_take_the_time_of_the_next_one(door: FrontDoor) -> None:
    session = hold_and_expire(door)
    seen = door.operations()
    active = Edit(lambda body: body | {"sessions": body["sessions"] | {"active": 1}})
    fault(door, "integration_status", active, nth=seen.count("integration_status") + 1, times=2)
    fault(door, "activity", Respond(429, {"Retry-After": "1"}), nth=seen.count("activity") + 1)
    door.pace["max_count_lag"] = 0.5
    check_applied(door, door.sprintoctl("apply", session, *RECEIPT))


@pytest.mark.parametrize("activity", [lambda: None, lambda: datetime.now(timezone.utc).isoformat()])
def test_a_missing_or_own_last_activity_does_not_prevent_apply(
    door: FrontDoor, activity: Callable[[], str | None]
) -> None:
    session = hold_and_expire(door)
    door.pace["max_count_lag"] = 0.2
    edit_body = Edit(lambda body: body | {"last_activity_at": activity()})
    fault(door, "integration_status", edit_body, times=999)
    check_applied(door, door.sprintoctl("apply", session, *RECEIPT))


def test_a_log_that_is_throttled_does_not_prevent_apply(door: FrontDoor) -> None:
    session = hold_and_expire(door)
    door.pace["log_read_timeout"] = 0.5
    first = 1 + door.operations().count("activity")
    fault(door, "activity", Respond(429, {"Retry-After": "1"}), nth=first + 1)
    fault(door, "activity", Edit(lambda body: body | {"next_page": body["page"] + 1}), nth=first, times=3)
    check_applied(door, door.sprintoctl("apply", session, *RECEIPT))


def test_an_expired_session_missing_from_the_log_is_not_applied(door: FrontDoor) -> None:
    session = hold_and_expire(door)
    seen = door.operations().count("activity")
    fault(door, "activity", Edit(lambda body: body | {"items": []}), nth=seen + 1, times=99)
    check_not_applied(
        door, session, door.sprintoctl("apply", session, *RECEIPT), "'expired'", "[session-ended]"
    )
    assert "close" not in door.operations()


INVALID: dict[str, tuple[Callable[[FrontDoor, str], object], tuple[str, ...]]] = {
    "counts in one place": (
        lambda door, _: change(door.folder / "receipt.json", '"accepted":250', '"accepted":251'),
        ("contradicts itself", "[receipt-counts]"),
    ),
    "counts everywhere": (
        lambda door, _: add_one(door),
        (
            "250 people, but this run sent 251 people. Session",
            "was not changed: no apply request took effect. To discard it: sprintoctl discard ",
            ". Then run the pipeline again; if it persists, ask Sprinto's support. [count-mismatch]",
        ),
    ),
    "another session's": (
        lambda door, session: change(door.folder / "receipt.json", session, session[::-1]),
        ("This receipt belongs to session", "[receipt]"),
    ),
    "another integration's": (
        lambda door, _: change(door.folder / "receipt.json", door.integration_id, "elsewhere"),
        ("This receipt belongs to integration 'elsewhere'", "[receipt]"),
    ),
    "another host's": (
        lambda door, _: change(door.folder / "receipt.json", door.sandbox.base_url, "https://x.example"),
        ("at https://x.example", "[receipt]"),
    ),
    "a run that holds nothing": (
        lambda door, _: change(door.folder / "receipt.json", '"outcome": "held"', '"outcome": "dry-run"'),
        ("holds no session", "'dry-run'", "[receipt]"),
    ),
    "an unfinished run": (
        lambda door, _: change(
            door.folder / "receipt.json",
            '"outcome": "held",\n  "exit_code": 0',
            '"outcome": "unfinished",\n  "exit_code": null',
        ),
        ("'unfinished'", "in progress or was killed", "discard it if it was killed. [receipt]"),
    ),
    "edited": (lambda door, _: edit(door, lambda content: content.replace(b"1.10", b"9.10")), ("[receipt]",)),
    "cut": (lambda door, _: edit(door, lambda content: content[: len(content) // 2]), ("[receipt]",)),
    "cut by a byte": (lambda door, _: edit(door, lambda content: content[:-1]), ("[receipt]",)),
    "empty": (lambda door, _: edit(door, lambda _: b""), ("[receipt]",)),
    "of another format": (
        lambda door, _: change(door.folder / "receipt.json", "receipt 1", "receipt 2"),
        ("has the receipt format 2", "[receipt-format]"),
    ),
    "gone": (lambda door, _: (door.folder / "receipt.json").unlink(), ("No such file", "[receipt]")),
}


def add_one(door: FrontDoor) -> None:
    for old, new in (('":250', '":251'), ('"entities":50', '"entities":51'), ('ed":50', 'ed":51')):
        change(door.folder / "receipt.json", old, new)


def edit(door: FrontDoor, change_bytes: Callable[[bytes], bytes]) -> None:
    path = door.folder / "receipt.json"
    path.write_bytes(change_bytes(path.read_bytes()))


def test_apply_rejects_an_invalid_receipt(door: FrontDoor, subtests: pytest.Subtests) -> None:
    session = hold(door)
    whole = (door.folder / "receipt.json").read_bytes()
    for how, (corrupt, message) in INVALID.items():
        with subtests.test(how):
            (door.folder / "receipt.json").write_bytes(whole)
            corrupt(door, session)
            check_not_applied(door, session, door.sprintoctl("apply", session, *RECEIPT), *message)
            assert state_of(door, session) == "active"
    assert "close" not in door.operations()
    (door.folder / "receipt.json").write_bytes(whole)
    check_applied(door, door.sprintoctl("apply", session, *RECEIPT))


def test_apply_rejects_a_session_with_extra_records(door: FrontDoor) -> None:
    session = hold(door)
    grown = Edit(lambda body: body | {"accepted_records_by_entity": {"people": 251}})
    fault(door, "status", grown, times=999, nth=1 + door.operations().count("status"))
    check_not_applied(door, session, door.sprintoctl("apply", session, *RECEIPT), "[count-mismatch]")
    assert state_of(door, session) == "active"


@pytest.mark.parametrize(
    ("effect", "moment"),
    [(Drop(), "after"), (Reset(), "before"), (Respond(500), "after"), (Respond(503), "before")],
)
def test_a_lost_close_response_is_resolved(door: FrontDoor, effect: Effect, moment: str) -> None:
    session = hold(door)
    fault(door, "close", effect, moment=moment)
    check_applied(door, door.sprintoctl("apply", session, *RECEIPT))


def test_a_rejected_close_leaves_the_session(door: FrontDoor) -> None:
    session = hold(door)
    fault(door, "close", Respond(401))
    finished = door.sprintoctl("apply", session, *RECEIPT)
    check_not_applied(
        door, session, finished, "[unauthorized]", "was not changed: no apply request took effect"
    )
    check_applied(door, door.sprintoctl("apply", session, *RECEIPT))


def test_failed_processing_prints_no_state(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, processing_outcomes=["failed", "failed"])
    session = hold(door)
    finished = door.sprintoctl("apply", session, *RECEIPT)
    assert (finished.code, finished.stdout) == (1, "")
    assert "may still be applied" in finished.stderr
    assert "[processing-failed]" in finished.stderr


def test_a_tolerated_mismatch_shows_the_count_of_sprinto(door: FrontDoor) -> None:
    door.pace["max_count_lag"] = 0.3
    session = hold(door)
    wrong = Edit(lambda body: body | {"accepted_records_by_entity": {"people": 2}})
    fault(door, "status", wrong, times=99, nth=1 + door.operations().count("status"))
    applied = door.sprintoctl("apply", session, *RECEIPT, on_count_mismatch="apply")
    assert applied.code == 0, applied.stderr
    assert f"Sprinto has processed session {session}: 2 people." in applied.stderr


def test_another_session_in_processing_is_waited_for(door: FrontDoor) -> None:
    session = hold(door)
    busy = Edit(lambda body: body | {"sessions": body["sessions"] | {"processing": 1}})
    fault(door, "integration_status", busy, times=2, nth=1 + door.operations().count("integration_status"))
    check_applied(door, door.sprintoctl("apply", session, *RECEIPT))
    assert door.operations().count("integration_status") >= 3


def start_apply(door: FrontDoor, *words: str) -> subprocess.Popen[bytes]:
    config = str(door.config())
    return door.start("apply", *words, "--config", config, program="sprintoctl")


@pytest.mark.parametrize(("effect", "code"), [(Drop(), 75), (Respond(404), 1)])
@pytest.mark.parametrize("words", [RECEIPT, ("--unverified",)])
def test_apply_claims_nothing_about_a_session_whose_state_it_cannot_read(
    door: FrontDoor, effect: Effect, code: int, words: tuple[str, ...]
) -> None:
    """An earlier `apply` was cut off after its close, or Sprinto no longer shows old sessions."""
    session = hold(door)
    check_applied(door, door.sprintoctl("apply", session, *RECEIPT))
    read_before = words != RECEIPT
    fault(door, "status", effect, nth=1 + read_before + door.operations().count("status"), times=99)
    again = door.sprintoctl("apply", session, *words, typed=f"{session}\n", processing_timeout_seconds=0.2)
    assert (again.code, again.stdout) == (code, "")
    assert "no apply request took effect" not in again.stderr
    assert ("may still be applied" if read_before else "is unknown: an earlier `apply` may") in again.stderr


def test_apply_claims_nothing_about_a_session_that_it_read_only_before_the_prompt(door: FrontDoor) -> None:
    session = hold(door)
    fault(door, "status", Respond(503), nth=2 + door.operations().count("status"), times=99)
    words = ("--unverified", session)
    failed = door.sprintoctl("apply", *words, typed=f"{session}\n", processing_timeout_seconds=0.2)
    assert (failed.code, failed.stdout) == (75, "")
    assert "is unknown: an earlier `apply` may" in failed.stderr


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_before_the_close_leaves_the_session(door: FrontDoor, number: signal.Signals) -> None:
    session = hold(door)
    requests_before = door.operations().count("status")
    fault(door, "status", Hang(), nth=requests_before + 2)
    process = start_apply(door, session, *RECEIPT)
    door.wait_for_operation("status", requests_before + 2)
    process.send_signal(number)
    finished = door.finish(process)
    assert (finished.code, finished.stdout) == (SIGNALS[number], "")
    assert "was not changed" in finished.stderr
    assert state_of(door, session) == "active"


def test_apply_resumes_after_a_signal_that_followed_the_close(door: FrontDoor) -> None:
    session = hold(door)
    door.pace["signal_shutdown_timeout"] = 0.5
    # Processing outlasts the command, even if it is slow to exit.
    door.sandbox.configure(door.integration_id, processing_seconds=6.0)
    process = start_apply(door, session, *RECEIPT)
    door.wait_for_operation("close", responded=True)
    process.send_signal(signal.SIGINT)
    finished = door.finish(process)
    assert (finished.code, finished.stdout) == (130, "")
    assert f"Session {session} was sent an apply request, and may still be applied" in finished.stderr
    assert "Run the same command again: it resumes" in finished.stderr
    timed_out = door.sprintoctl("apply", session, *RECEIPT, processing_timeout_seconds=0.1)
    assert (timed_out.code, timed_out.stdout) == (75, "")
    assert "Run the same command again: it resumes" in timed_out.stderr
    assert "Raise `processing_timeout_seconds`" in timed_out.stderr
    check_applied(door, door.sprintoctl("apply", session, *RECEIPT))
    assert door.operations().count("close") == 1


def test_broken_stdout_writes_the_state_to_stderr(door: FrontDoor) -> None:
    session = hold(door)
    process = start_apply(door, session, *RECEIPT)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    finished = door.finish(process)
    assert finished.code == 1
    assert f"[state-not-written] {SPELLED.decode()}" in finished.stderr
    assert len(door.applied()["people"]) == 250


# Applied without a receipt


def test_unverified_asks_for_the_id_and_prints_no_state(door: FrontDoor) -> None:
    session = hold(door)
    finished = door.sprintoctl("apply", session, "--unverified", typed=f"{session}\n")
    assert (finished.code, finished.stdout) == (0, "")
    assert f"Session {session} is active and holds 250 people." in finished.stderr
    assert len(door.applied()["people"]) == 250


@pytest.mark.parametrize("typed", ["", "\n", "yes\n"])
def test_unverified_does_nothing_without_the_id(door: FrontDoor, typed: str) -> None:
    session = hold(door)
    finished = door.sprintoctl("apply", session, "--unverified", typed=typed)
    check_not_applied(door, session, finished, "nothing was done")
    assert "close" not in door.operations()


@pytest.mark.slow
def test_unverified_does_nothing_with_closed_stdin(door: FrontDoor) -> None:
    words = ("apply", hold(door), "--unverified", "--config", str(door.config()))
    through = ["sh", "-c", 'exec "$@" <&-', "sh"]
    finished = door.finish(door.start(*words, program="sprintoctl", through=through, cold=True))
    check_not_applied(door, words[1], finished, "nothing was done", "[settings]")


def test_a_signal_ends_the_prompt_for_the_id(door: FrontDoor) -> None:
    session = hold(door)
    requests_before = door.operations().count("status")
    process = start_apply(door, session, "--unverified")
    door.wait_for_operation("status", requests_before + 1, responded=True)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=10)
    assert door.finish(process, None).code == 130
    assert state_of(door, session) == "active"


@pytest.mark.parametrize("words", [(), (*RECEIPT, "--unverified")])
def test_apply_requires_a_receipt_or_unverified(door: FrontDoor, words: tuple[str, ...]) -> None:
    session = hold(door)
    requests_before = door.operations()
    finished = door.sprintoctl("apply", session, *words)
    assert (finished.code, finished.stdout) == (2, "")
    assert "--receipt FILE" in finished.stderr
    assert door.operations() == requests_before


def test_the_installed_command_applies(door: FrontDoor) -> None:
    """A real start, without the tests' warm server."""
    session = hold(door)
    command = [
        sys.executable,
        "-c",
        "from target_sprinto.__main__ import sprintoctl; sprintoctl()",
        "apply",
        session,
    ]
    command += ["--receipt", "receipt.json", "--config", str(door.config())]
    applied = subprocess.run(command, capture_output=True, check=False, cwd=door.folder, timeout=60)
    assert (applied.returncode, applied.stdout) == (0, SPELLED + b"\n"), applied.stderr
    assert applied.stderr.startswith(b"Sprinto has processed session")


def test_invalid_settings_that_apply_does_not_need_are_ignored(door: FrontDoor) -> None:
    session = hold(door)
    broken: dict[str, Any] = {"stream_maps": {"people": {"name": "no such ("}}, "entity_types": 5}
    check_applied(door, door.sprintoctl("apply", session, *RECEIPT, **broken))


def test_a_misspelled_setting_that_apply_needs_is_reported(door: FrontDoor) -> None:
    session = hold(door)
    check_not_applied(
        door, session, door.sprintoctl("apply", session, *RECEIPT, processing_timeout_second=1), "[settings]"
    )
