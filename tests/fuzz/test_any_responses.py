"""Whatever Sprinto returns, a run ends properly and in time, leaks nothing, and applies all or nothing."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.push.text import pluralize
from target_sprinto.sandbox import SandboxOptions
from tests.support.front_door import API_KEY, SCHEMA, SECRET, STATE, as_input, state_line
from tests.support.fuzz.amounts import at_random, same_each_time, unshrunk
from tests.support.fuzz.invalid_responses import CASES, Case
from tests.support.fuzz.running import SECRET_NUMBER, Place, check_end, check_receipt
from tests.support.sandbox import FaultySandbox

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis import settings

    from target_sprinto.sandbox import Session
    from tests.support.fuzz.running import Ran

AT_A_TIME = 8
"""Runs in parallel: most of a run's time is spent waiting."""

BY_DEFAULT = 2
SHARDS = 8
IN_A_SHARD = 50
"""In groups of `AT_A_TIME`."""

IMPATIENT = {
    "retry_timeout_seconds": 0.8,
    "request_timeout_seconds": 1,
    "processing_timeout_seconds": 1.5,
    "wait_timeout_seconds": 0.5,
}
PACE = {
    "recheck_interval": 0.05,
    "quiet_period": 0.1,
    "max_count_lag": 0.3,
    "max_replica_lag": 1.0,
    "failed_final_after": 0.3,
    "shutdown_timeout": 2.0,
    "first_retry_delay": 0.2,
    "status_poll_interval": 0.05,
    "create_retry_delay": 0.1,
    "conflict_poll_interval": 0.2,
    "shutdown_request_timeout": 1.0,
}
ENOUGH_SECONDS = 20
"""All of these waits, one after another, on a busy machine."""

Record = dict[str, Any]


def records(case: Case) -> list[tuple[str, Record]]:
    """Records of alternating streams, each with its stream. No key occurs twice."""
    streams = ["people", "teams"] * case.records
    return [
        (stream, {"id": number, "name": SECRET, "amount": SECRET_NUMBER})
        for number, stream in zip(range(case.records), streams, strict=False)
    ]


def play(place: Place, case: Case) -> tuple[str, Ran]:
    integration_id = place.new_integration()
    place.sandbox.configure(integration_id, readings=case.readings)
    for fault in case.faults:
        place.sandbox.inject(replace(fault, integration_id=integration_id))
    messages = [{"type": "RECORD", "stream": stream, "record": record} for stream, record in records(case)]
    stdin = as_input([SCHEMA, SCHEMA | {"stream": "teams"}, *messages, STATE])
    return integration_id, place.run(integration_id, stdin, IMPATIENT | case.settings)


def check(place: Place, integration_id: str, case: Case, ran: Ran) -> None:
    check_end(ran)
    assert ran.seconds < ENOUGH_SECONDS, ran
    receipt = place.receipt(integration_id)
    assert (receipt is not None) == ("report_path" in case.settings), ran
    if receipt is not None:
        check_receipt(receipt, ran)
    sessions = place.sessions(integration_id)
    is_applied = check_applied(place, integration_id, case, ran)
    if ran.code != 0:
        check_line(sessions, ran.error, is_applied=is_applied)
        return
    state = expected_end(case)
    assert [session.state for session in sessions] == [state], ran
    assert sessions[0].id in ran.stderr, ran
    assert ran.stdout == (state_line().encode() if state == "processed" else b""), ran
    if receipt is not None:
        assert receipt["state"] == (STATE["value"] if state == "active" else None), receipt


def expected_end(case: Case) -> str:
    """The session's final state if nothing goes wrong."""
    if case.settings.get("dry_run"):
        return "cancelled"
    return "active" if case.settings.get("finish") == "hold" else "processed"


def check_applied(place: Place, integration_id: str, case: Case, ran: Ran) -> bool:
    """Check that all but diverted records were applied, once and in order, or none; return which."""
    lines = place.rejected(integration_id)
    assert not any(API_KEY.encode() in line for line in lines), ran
    rejected = [(message["stream"], message["record"]) for message in map(json.loads, lines)]
    wanted: dict[str, list[Record]] = {}
    for stream, record in records(case):
        if (stream, record) not in rejected:
            wanted.setdefault(stream, []).append(record)
    applied = {name: list(map(json.loads, found)) for name, found in place.applied(integration_id).items()}
    if case.settings.get("max_parallel_pages", 1) > 1:
        # Only records with the same key keep their order then.
        applied = {name: sorted(found, key=lambda record: record["id"]) for name, found in applied.items()}
    may_be_applied = expected_end(case) == "processed"
    assert applied in ([{}, wanted] if may_be_applied else [{}]), ran
    if ran.code == 0 and may_be_applied:
        assert applied == wanted, ran
        sentence = f"{pluralize(len(rejected), 'record')} rejected" in ran.stderr
        assert sentence is bool(rejected), ran
    return bool(applied)


def check_line(sessions: list[Session], error: str, *, is_applied: bool) -> None:
    """Check that the line about the run's sessions is true, and that it names every open session."""
    if "nothing was applied" in error:
        assert not is_applied, (sessions, error)
    if "No session was opened" in error:
        assert sessions == [], (sessions, error)
    for session in sessions:
        named = session.id in error
        if session.state == "active":
            # Its discard was not confirmed; or a close may be in progress; or its
            # id never became known, so that only its reference is named.
            by_id = named and ("sprintoctl discard" in error or "may still be applied" in error)
            by_reference = (session.client_reference_id or "-") in error and "may be open until 20" in error
            assert by_id or by_reference, (sessions, error)
        elif session.state != "cancelled":
            assert named, (sessions, error)
            assert "applied" in error, (sessions, error)


def fuzz(warm: str, folder: Path, amount: settings) -> None:
    options = SandboxOptions(integrations=None, processing_seconds=0.02)
    with FaultySandbox(options) as sandbox, ThreadPoolExecutor(AT_A_TIME) as pool:
        place = Place(sandbox, warm, folder, PACE)
        endings: Counter[str] = Counter()

        @unshrunk(amount)
        @given(st.lists(CASES, min_size=AT_A_TIME, max_size=AT_A_TIME))
        def each(cases: list[Case]) -> None:
            played = list(pool.map(lambda case: play(place, case), cases))
            for case, (integration_id, ran) in zip(cases, played, strict=True):
                endings[ran.ending] += 1
                try:
                    check(place, integration_id, case, ran)
                except AssertionError as failure:
                    seen = [(one.operation, one.status) for one in place.sandbox.requests(integration_id)]
                    raise AssertionError(f"{case}\ngot {seen}\nand ended with {ran}") from failure

                place.forget(integration_id)

        each()
    print(place.runs, "runs:", dict(endings))  # noqa: T201 - pytest shows it on request
    assert place.runs >= amount.max_examples * AT_A_TIME


def test_any_responses_end_properly(warm: str, tmp_path: Path) -> None:
    fuzz(warm, tmp_path, same_each_time(BY_DEFAULT))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_any_responses_end_properly_in_many_examples(shard: int, warm: str, tmp_path: Path) -> None:  # noqa: ARG001 - each shard draws its own examples
    fuzz(warm, tmp_path, at_random(IN_A_SHARD))
