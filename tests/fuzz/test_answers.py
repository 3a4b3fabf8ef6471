"""Whatever Sprinto answers: an orderly end in time, no leak, and all of the run applied or none of it."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from amounts import at_random, same_each_time
from front_door import SCHEMA, SECRET, STATE, as_input, state_line
from hypothesis import given
from hypothesis import strategies as st
from running import SECRET_NUMBER, Place, check_quiet
from spoilt_answers import CASES, Case

from target_sprinto.sandbox import Sandbox, SandboxOptions

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis import settings
    from running import Ran

AT_A_TIME = 8
"""Runs that are under way together: most of a run's time is spent waiting."""

import os

BY_DEFAULT = int(os.environ.get("N", 15))
SHARDS = 8
IN_A_SHARD = 100
"""Of groups of `AT_A_TIME`."""

IMPATIENT = {
    "retry_timeout_seconds": 0.8,
    "request_timeout_seconds": 1,
    "processing_timeout_seconds": 1.5,
    "wait_timeout_seconds": 0.5,
}
PACE = {"settle": 0.05, "still": 0.1, "lag": 0.3, "failed": 0.3, "end_after_error": 2.0}
ENOUGH_SECONDS = 20
"""All of these waits, one after another, on a machine that is busy."""

STATES_APPLIED = {"processing", "processed", "failed"}


def messages(case: Case) -> list[Any]:
    records = [
        # The same values in each: a page's refusal is shown without the values of that page.
        {"type": "RECORD", "stream": stream, "record": {"id": n, "name": SECRET, "amount": SECRET_NUMBER}}
        for n, stream in zip(range(case.records), ["people", "teams"] * case.records, strict=False)
    ]
    return [SCHEMA, SCHEMA | {"stream": "teams"}, *records, STATE]


def whole(case: Case) -> dict[str, list[Any]]:
    sent: dict[str, list[Any]] = {}
    for message in messages(case):
        if message["type"] == "RECORD":
            sent.setdefault(message["stream"], []).append(message["record"])
    return sent


def in_order(applied: dict[str, list[Any]], *, sort: bool) -> dict[str, list[Any]]:
    """With pages in parallel only records of one key have an order, and here no key comes twice."""
    if not sort:
        return applied
    return {name: sorted(found, key=lambda record: record["id"]) for name, found in applied.items()}


def play(place: Place, case: Case) -> tuple[str, Ran]:
    integration_id = place.new_integration()
    place.sandbox.configure(integration_id, readings=case.readings)
    for fault in case.faults:
        place.sandbox.inject(replace(fault, integration_id=integration_id))
    return integration_id, place.run(integration_id, as_input(messages(case)), IMPATIENT | case.settings)


def check(place: Place, integration_id: str, case: Case, ran: Ran) -> None:
    told = (ran, case, [seen.operation for seen in place.sandbox.requests(integration_id)])
    check_quiet(ran)
    assert ran.seconds < ENOUGH_SECONDS, told
    sessions = place.sessions(integration_id)
    applied = {name: list(map(json.loads, found)) for name, found in place.applied(integration_id).items()}
    parallel = case.settings.get("max_parallel_pages", 1) > 1
    assert in_order(applied, sort=parallel) in ({}, in_order(whole(case), sort=parallel)), told
    if ran.code == 0:
        assert ran.stdout == state_line().encode(), told
        assert [session.state for session in sessions] == ["processed"], told
        assert applied, told
        return
    line = ran.error
    if "nothing was applied" in line or "Nothing was opened" in line:
        assert applied == {}, told
    if "Nothing was opened" in line:
        assert sessions == [], told
    for session in sessions:
        if session.state == "active":
            # Left open: named with the command that discards it, or with its reference where its id is not
            # known; or a close is under way, as far as anybody knows.
            by_id = session.id in line and ("sprintoctl discard" in line or "may yet be applied" in line)
            by_reference = f"{session.client_reference_id}" in line and "may be open until 20" in line
            assert by_id or by_reference, told
        elif session.state != "cancelled":
            assert session.id in line, told
            assert "applied" in line, told


def fuzz(warm: str, folder: Path, amount: settings) -> None:
    options = SandboxOptions(integrations=None, processing_seconds=0.02)
    with Sandbox(options) as sandbox, ThreadPoolExecutor(AT_A_TIME) as pool:
        place = Place(sandbox, warm, folder, PACE)
        ends: Counter[str] = Counter()

        @amount
        @given(st.lists(CASES, min_size=AT_A_TIME, max_size=AT_A_TIME))
        def each(cases: list[Case]) -> None:
            for case, (integration_id, ran) in zip(
                cases, pool.map(lambda case: play(place, case), cases), strict=True
            ):
                ends[ran.error_code if ran.code else "processed"] += 1
                check(place, integration_id, case, ran)

        each()
    assert place.runs >= amount.max_examples * AT_A_TIME
    print(place.runs, dict(ends))  # noqa: T201 - shown on request


def test_any_answers_end_in_order(warm: str, tmp_path: Path) -> None:
    fuzz(warm, tmp_path, (at_random if "N" in os.environ else same_each_time)(BY_DEFAULT))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_any_answers_end_in_order_at_length(shard: int, warm: str, tmp_path: Path) -> None:  # noqa: ARG001 - each shard draws anew
    fuzz(warm, tmp_path, at_random(IN_A_SHARD))
