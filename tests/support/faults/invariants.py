"""Invariants that hold after every cell, whatever went wrong."""

from __future__ import annotations

import json
import stat
import time
from itertools import combinations
from typing import TYPE_CHECKING, Any

from tests.support.faults.expectation import NEVER_PERFORMED, Ending
from tests.support.faults.stage import is_push
from tests.support.faults.truth import check_receipt
from tests.support.faults.wire import is_by_the_target, is_close, keys_of, most_in_flight, were_together
from tests.support.front_door import state_line, would_be_refused
from tests.support.sandbox import Fault, Late, RequestSeen, Respond

if TYPE_CHECKING:
    from pathlib import Path

    from target_sprinto.sandbox import Session
    from tests.support.faults.stage import Stage
    from tests.support.front_door import Finished

SLACK_SECONDS = 3.0
"""How much starting and ending a process may add to the contract's limits, if a cell shortens them."""


def check(stage: Stage, finished: Finished) -> None:
    fired = stage.door.sandbox.fired(stage.door.integration_id)
    missing = [fault for fault in stage.faults if not any(struck.fault is fault for struck in fired)]
    assert not missing, (missing, stage.door.operations(), finished.stderr)
    expected = stage.cell.expected
    # Only the last lines, which explain the failure: a full report might be cut before them.
    assert finished.code == expected.code, finished.stderr[-2_000:]
    assert finished.stdout == (state_line() if expected.writes_state else ""), finished.stderr
    if expected.code == 0:
        assert "| ERROR" not in finished.stderr
    else:
        check_words(finished.error, expected.says)
    check_words(finished.stderr, expected.logs)
    check_time(stage, fired[-1].at if fired else None)
    check_applied(stage)
    check_sessions(stage, finished)
    check_in_flight(stage)
    check_closes(stage)
    if stage.cell.settings.get("dry_run"):
        check_dry_run(stage, finished)
    else:
        check_rejects(stage, finished)
    if stage.cell.keeps_receipt:
        check_receipt(stage, finished)


def check_words(text: str, words: tuple[str, ...]) -> None:
    for word in words:
        assert word in text, text


def check_time(stage: Stage, fired_at: float | None) -> None:
    """At most 10 s after a signal, and 30 s after an error, measured from the last fault."""
    if stage.ended_after_signal is not None:
        shortened = stage.cell.pace.get("signal_shutdown_timeout", 10.0)
        assert stage.ended_after_signal < min(10.0, shortened + SLACK_SECONDS)
    elif fired_at is not None and stage.cell.expected.code != 0:
        assert time.time() - fired_at < 30


def check_applied(stage: Stage) -> None:
    """The complete input or nothing is applied, in order for each key, without duplicates or additions."""
    expected, traffic = stage.cell.expected, stage.traffic
    if expected.ending is Ending.MAY_BE_APPLIED and expected.inputs:
        # The run has ended without waiting for processing.
        stage.wait_for_session(lambda session: session.state == "processed")
    if expected.inputs is None:
        return
    applied, whole = stage.door.applied(), traffic.entities(expected.inputs)
    if traffic.parallel == 1:
        assert applied == whole
    else:
        # The halves of a page that was too large have different keys, so they may be in flight at once.
        assert by_key(applied) == by_key(whole)


def by_key(entities: dict[str, list[Any]]) -> dict[tuple[str, object], list[Any]]:
    """The versions of each entity, in order."""
    keyed: dict[tuple[str, object], list[Any]] = {}
    for name, listed in entities.items():
        for entity in listed:
            keyed.setdefault((name, entity["id"]), []).append(entity)
    return keyed


def check_in_flight(stage: Stage) -> None:
    """The cell's number of pages are in flight at once; in one session, never two with the same entity."""
    pushes = [seen for seen in stage.door.sandbox.requests(stage.door.integration_id) if is_push(seen)]
    assert most_in_flight(pushes) >= stage.in_flight
    late = {nth for nth, fault in faults_by_number(stage, "push").items() if isinstance(fault.effect, Late)}
    # The client has long abandoned the requests on which the server acts late.
    present = [(seen, keys_of(seen)) for seen in pushes if seen.nth not in late]
    for (one, keys), (other, other_keys) in combinations(present, 2):
        if one.session_id == other.session_id and were_together(one, other):
            assert keys.isdisjoint(other_keys), (one.nth, other.nth)


def check_closes(stage: Stage) -> None:
    """No page is sent after `close(apply)`; if it may have reached Sprinto, nothing is discarded."""
    own = {session.id for session in stage.own_sessions()}
    requests = stage.door.sandbox.requests(stage.door.integration_id)
    seen = [one for one in requests if one.session_id in own and is_by_the_target(one)]
    fault_of = faults_by_number(stage, "close")
    applies = [one for one in seen if is_close(one, "apply")]
    assert not applies or not stage.cell.settings.get("dry_run")
    for apply in applies:
        later = [one for one in seen if one.at > apply.at]
        assert not [one for one in later if is_push(one)]
        if not was_not_performed(apply, fault_of.get(apply.nth)):
            assert not [one for one in later if is_close(one, "discard")]


CLOSED = frozenset({"processing", "processed", "failed"})
"""States of a session that was or may still be applied."""


def check_rejects(stage: Stage, finished: Finished) -> None:
    """Rejected records are in their own file; its name shows if the run is not applied."""
    files, bad = stage.own_rejects(), stage.traffic.bad
    diverts = stage.cell.settings.get("on_invalid_record") == "divert"
    records = stage.traffic.records()
    if stage.cell.expected.ending is Ending.PROCESSED and diverts and bad:
        (path,) = files
        assert path.suffix == ".singer"
        # Accepted records have already been compared with the rest of the input.
        assert rejected_in(path) == [records[number]["record"] for number in bad]
        (message,) = [line for line in finished.stderr.splitlines() if " rejected (" in line]
        assert "| WARNING" in message
        check_words(message, (f" {len(bad)} record", path.name))
        return
    # Next to them, Sprinto's responses are kept for the user.
    files = [path for path in files if not path.name.endswith(".response.json")]
    to_load = stage.own_sessions() and stage.own_sessions()[-1].state in CLOSED
    ending = ".singer" if to_load else ".singer.not-applied"
    assert [path for path in files if not path.name.endswith(ending)] == []
    assert len(files) <= int(diverts)
    for path in files:
        until_then = rejected_in(path)
        assert until_then == [
            records[number]["record"] for number in bad if records[number]["record"] in until_then
        ]
        # A file to load is named as after a successful run.
        check_words(finished.stderr if to_load else finished.error, (path.name,))


def rejected_in(path: Path) -> list[Any]:
    """The records of a rejects file."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    records = [line for line in lines if line["type"] == "RECORD"]
    assert all(line["reject"].get("field") in {None, "name"} for line in records)
    return [line["record"] for line in records]


def check_dry_run(stage: Stage, finished: Finished) -> None:
    """No file is written; a complete dry run lists all rejected records, and all others were accepted."""
    files = [path for path in stage.own_rejects() if not path.name.endswith(".response.json")]
    assert files == []
    if stage.cell.expected.ending is not Ending.DRY_RUN:
        return
    listed = would_be_refused(finished.stderr)
    bad = [stage.traffic.line(number) for number in stage.traffic.bad]
    assert sum(count for count, _ in listed) == len(bad)
    assert sorted(line for _, lines in listed for line in lines)[:5] == bad[:5]
    (session,) = stage.own_sessions()
    assert session.accepted_by_entity == dict(stage.traffic.counts)
    check_words(finished.stderr, (f"Dry run: Sprinto accepted {stage.traffic.format_counts()}, in ",))


def was_not_performed(close: RequestSeen, fault: Fault | None) -> bool:
    headers = fault.effect.headers if fault and isinstance(fault.effect, Respond) else {}
    return close.status in NEVER_PERFORMED or (close.status == 503 and "Retry-After" in headers)


def faults_by_number(stage: Stage, operation: str) -> dict[int, Fault]:
    """The faults that struck requests of this operation, by request number."""
    fired = stage.door.sandbox.fired(stage.door.integration_id)
    return {one.nth: one.fault for one in fired if one.operation == operation}


def check_sessions(stage: Stage, finished: Finished) -> None:
    expected, own = stage.cell.expected, stage.own_sessions()
    states = [session.state for session in own]
    if expected.others is not None:
        others = [session.state for session in stage.door.sessions() if session.id in stage.others]
        assert set(others) == {expected.others}, (stage.others, stage.door.sessions(), finished.stderr)
    if expected.ending is Ending.NOTHING_OPENED:
        assert states == []
        return
    assert len(own) == 1, states
    if expected.ending is Ending.PROCESSED:
        assert states == ["processed"]
    elif expected.ending is Ending.DRY_RUN:
        assert states == ["cancelled"]
    else:
        check_failed(expected.ending, own[0], finished.error)


def check_failed(ending: Ending, session: Session, error: str) -> None:
    """The session is in the expected state, and the error line reports it."""
    allowed, words = {
        Ending.DISCARDED: ({"cancelled"}, (session.id, "was discarded; nothing was applied")),
        Ending.UNCONFIRMED: ({"cancelled"}, (session.id, "sprintoctl discard")),
        Ending.ENDED: ({"expired", "cancelled", "processing", "processed"}, (session.id,)),
        Ending.LEFT_ACTIVE: ({"active"}, (session.id, "It expires 20", "sprintoctl discard")),
        Ending.UNSEEN: ({"active"}, ("may be open until 20",)),
        Ending.MAY_BE_APPLIED: (
            {"active", "processing", "processed", "failed"},
            (session.id, "may still be applied"),
        ),
        Ending.APPLIED_DIFFERS: ({"processed"}, (session.id, "applied", "counts")),
    }[ending]
    assert session.state in allowed, error
    check_words(error, words)
