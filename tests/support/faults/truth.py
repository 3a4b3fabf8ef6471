"""Checks the receipt of a cell's run against the sandbox's record and the input."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.support.faults.expectation import Ending
from tests.support.faults.stage import is_push
from tests.support.faults.traffic import stream_of
from tests.support.faults.wire import is_by_the_target, is_close, page_of
from tests.support.front_door import SIGNALS
from tests.support.receipts import digest, receipt_at
from tests.support.sandbox import Edit

if TYPE_CHECKING:
    from target_sprinto.sandbox import Session
    from tests.support.faults.stage import Stage
    from tests.support.front_door import Finished
    from tests.support.sandbox import RequestSeen

Receipt = dict[str, Any]

TO_THE_END = {Ending.PROCESSED: "processed", Ending.DRY_RUN: "cancelled"}
"""Runs that read the complete input, and the session state in their receipts, from a status they read."""

PASSED = {
    "active": {"active"},
    "expired": {"active", "expired"},
    "cancelled": {"active", "expired", "cancelled"},
    "processing": {"active", "expired", "processing"},
    "processed": {"active", "expired", "processing", "failed", "processed"},
    "failed": {"active", "expired", "processing", "failed"},
}
"""The states that a session may have had before its current one."""


def check_receipt(stage: Stage, finished: Finished) -> None:
    for path in stage.others_receipts:
        check_unfinished(stage, receipt_at(path))
    (path,) = stage.own_receipts()
    receipt = receipt_at(path)
    sessions = stage.own_sessions()
    check_end(stage, receipt, finished)
    check_session(stage, receipt, sessions)
    check_phases(stage, receipt, requests_of(stage, sessions))
    check_entities(stage, receipt, sessions)
    check_pages(stage, receipt, [seen for seen in requests_of(stage, sessions) if is_push(seen)])
    check_rejects_listed(stage, receipt)
    check_events(stage, receipt, sessions)


def check_unfinished(stage: Stage, receipt: Receipt) -> None:
    """A killed run has left the receipt that it wrote before it read anything."""
    assert (receipt["outcome"], receipt["exit_code"], receipt["ended_at"]) == ("unfinished", None, None)
    assert (receipt["session"], receipt["pages"], receipt["state_went_to"]) == (None, [], "nowhere")
    references = {session.client_reference_id for session in stage.door.sessions()}
    assert not stage.others or receipt["reference"] in references


def requests_of(stage: Stage, sessions: list[Session]) -> list[RequestSeen]:
    """The target's own requests about the run's sessions."""
    own = {session.id for session in sessions}
    seen = stage.door.sandbox.requests(stage.door.integration_id)
    return [one for one in seen if one.session_id in own and is_by_the_target(one)]


def check_end(stage: Stage, receipt: Receipt, finished: Finished) -> None:
    # A signal during the discard of a failed run determines the exit code, but not the recorded error.
    stopped = receipt["error"] == "interrupted"
    assert not stopped or finished.code in SIGNALS.values()
    outcome = {Ending.PROCESSED: "applied", Ending.DRY_RUN: "dry-run"}.get(
        stage.cell.expected.ending, "interrupted" if stopped else "failed"
    )
    went_to = "stdout" if finished.stdout else "nowhere"
    text = (receipt["outcome"], receipt["exit_code"], receipt["state_went_to"], receipt["state"])
    assert text == (outcome, finished.code, went_to, None)
    if finished.code == 0:
        assert receipt["error"] is None
    else:
        assert finished.error.endswith(f"[{receipt['error']}]")


def check_session(stage: Stage, receipt: Receipt, sessions: list[Session]) -> None:
    text, ending = receipt["session"], stage.cell.expected.ending
    assert all(receipt["reference"] == session.client_reference_id for session in sessions)
    if text is None:
        # The response to create was lost, or there was no create.
        assert ending not in TO_THE_END
        assert [session.accepted_total for session in sessions if session.accepted_total] == []
        return
    (session,) = sessions
    assert text["id"] == session.id
    if not is_edited(stage):
        assert text["state"] in PASSED[session.state] | {"unknown"}
    if ending is Ending.DISCARDED:
        assert text["state"] == "cancelled"
    if ending in TO_THE_END:
        assert text["state"] == TO_THE_END[ending]
    if ending in TO_THE_END and not is_edited(stage):
        assert text["accepted_records"] == session.accepted_by_entity
        assert text["accepted_others"] == 0


def is_edited(stage: Stage) -> bool:
    """Whether the run was shown statuses that differ from the sandbox's."""
    if stage.cell.readings.processed_counts_lag_seconds > 10:
        return True
    return any(isinstance(fault.effect, Edit) for fault in stage.faults if fault.operation == "status")


def check_phases(stage: Stage, receipt: Receipt, requests: list[RequestSeen]) -> None:
    """The receipt says whether an apply request was sent, and the run's last phase."""
    phases = [step["phase"] for step in receipt["phases"]]
    was_requested = any(is_close(seen, "apply") for seen in requests)
    assert "applying" in phases if was_requested else "applying" not in phases
    if stage.cell.expected.ending is Ending.MAY_BE_APPLIED:
        assert phases[-2:] == ["applying", "ended"]
    if stage.cell.expected.ending is Ending.DISCARDED:
        assert phases[-2:] == ["discarding", "ended"]


def check_entities(stage: Stage, receipt: Receipt, sessions: list[Session]) -> None:
    """Paged records are the start of the input, or all of it; no more count as accepted than were."""
    messages, to_the_end = stage.traffic.records(), stage.cell.expected.ending in TO_THE_END
    read = {one["stream"]: one["records"] for one in receipt["streams"]}
    whole = Counter(message["stream"] for message in messages)
    staged = sessions[-1].accepted_by_entity if sessions else {}
    assert len(receipt["entity_types"]) == len({one["entity_type"] for one in receipt["entity_types"]})
    for one in receipt["entity_types"]:
        name, count = one["entity_type"], one["entities"]
        of_the_stream = [message for message in messages if message["stream"] == name]
        assert one["streams"] == {name: count}
        assert count <= read[name] <= whole[name]
        assert one["sha256"] == digest(of_the_stream[:count])
        assert one["accepted"] <= staged.get(name, 0)
    if to_the_end:
        assert read == whole
        assert {one["entity_type"]: one["entities"] for one in receipt["entity_types"]} == whole
        accepted = {one["entity_type"]: one["accepted"] for one in receipt["entity_types"]}
        assert +Counter(accepted) == +stage.traffic.counts


def check_pages(stage: Stage, receipt: Receipt, pushes: list[RequestSeen]) -> None:
    pages, to_the_end = receipt["pages"], stage.cell.expected.ending in TO_THE_END
    bodies = Counter(hashlib.sha256(page_of(seen)).hexdigest() for seen in pushes)
    sizes = {hashlib.sha256(page_of(seen)).hexdigest(): seen.size for seen in pushes}
    items = {hashlib.sha256(page_of(seen)).hexdigest(): seen.items for seen in pushes}
    start = never_whole = 0
    for number, page in enumerate(pages, 1):
        numbers = range(start, start + page["entities"])
        start = numbers.stop
        lines = [stage.line(numbers[0]), stage.line(numbers[-1])]
        assert (page["number"], [page["first_line"], page["last_line"]]) == (number, lines)
        # An aborted request may not have reached the server.
        assert page["requests"] >= bodies[page["sha256"]]
        if page["sha256"] in bodies:
            assert page["bytes"] == sizes[page["sha256"]]
        else:
            never_whole += page["entities"]
    requests = sum(page["requests"] for page in pages)
    cut_short = 0 if to_the_end else stage.traffic.parallel
    assert len(pushes) <= requests <= len(pushes) + cut_short
    if not any(seen.status in {400, 413} for seen in pushes):
        # A page was sent in halves only if another page of the same size was resent.
        parts = set(bodies) - {page["sha256"] for page in pages}
        assert not parts or max(bodies.values()) > 1
        if to_the_end:
            assert never_whole == sum(items[part] for part in parts)
    elif to_the_end:
        assert not never_whole
    for field in ("entities", "accepted"):
        of_types = sum(one[field] for one in receipt["entity_types"])
        assert sum(page[field] for page in pages) == of_types


def check_rejects_listed(stage: Stage, receipt: Receipt) -> None:
    text, bad = receipt["rejects"], stage.traffic.bad
    places = sorted((one["line"], one["stream"], one["entity_type"]) for one in text)
    refused = [(stage.line(number), stream_of(number), stream_of(number)) for number in sorted(bad)]
    settings = stage.cell.settings
    diverts = settings.get("on_invalid_record") == "divert" or bool(settings.get("dry_run"))
    if stage.cell.expected.ending in TO_THE_END:
        assert places == refused
    else:
        assert set(places) <= (set(refused) if diverts else set())
        assert len(places) == len(set(places))
    assert {one["rejected_by"] for one in text} <= {"sprinto"}


def check_events(stage: Stage, receipt: Receipt, sessions: list[Session]) -> None:
    """The session's events up to the run's request; null if the log was not shown."""
    text = receipt["events"]
    if any(fault.operation == "activity" for fault in stage.faults):
        return
    if text is None:
        requests = stage.door.sandbox.requests(stage.door.integration_id)
        # The receipt reads the log once: a rate limit may reject that.
        limited = [seen.status for seen in requests if seen.operation == "activity"][-1:] == [429]
        shown = stage.cell.readings.log_ends == "yes" and not limited
        assert stage.cell.expected.ending not in TO_THE_END or not shown
        return
    own = {session.id for session in sessions} if receipt["session"] else set()
    events = [one for one in stage.door.sandbox.events(stage.door.integration_id) if one["session_id"] in own]
    assert {(one["id"], one["type"]) for one in text} == {
        (one["id"], one["type"]) for one in events[: len(text)]
    }
    assert [one["at"] for one in text] == sorted(one["at"] for one in text)
