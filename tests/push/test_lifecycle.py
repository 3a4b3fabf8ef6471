from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.push.errors import RunEnded
from target_sprinto.push.protocol.lifecycle import (
    TRANSITIONS,
    Comparison,
    Phase,
    ProcessingWatch,
    compare_counts,
    describe_end,
    keep_alive_interval,
)
from target_sprinto.push.protocol.responses import SessionStatus
from target_sprinto.push.run.run_phase import RunPhase
from target_sprinto.push.text import format_counts

COUNTS = st.dictionaries(st.sampled_from("abc"), st.integers(1, 5))


def test_counts_show_no_unknown_entity_types() -> None:
    sent = {"User": 3, "Cloud Account": 1}
    assert format_counts(sent) == "1 Cloud Account, 3 User"
    assert format_counts({"User": 3, "Cloud Account": 0}, sent) == "3 User"
    assert format_counts({}, sent) == "nothing"
    assert format_counts({"User": 3, "devices": 1}, sent) == "3 User, 1 of types that were not sent"
    assert (
        format_counts({"User": 3, "k3y of": 2, "Zoe@x": 5}, sent) == "3 User, 7 of types that were not sent"
    )


def test_every_phase_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(Phase)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("after", Phase)
def test_a_transition_not_in_the_table_raises(phase: Phase, after: Phase) -> None:
    run_phase = RunPhase(threading.Event())
    run_phase.current = phase
    if after in TRANSITIONS[phase] and phase is not Phase.ENDED:
        run_phase.move(after)
        assert run_phase.current is after
    else:
        with pytest.raises(LookupError):
            run_phase.move(after)
        assert run_phase.current is phase


def test_every_phase_is_reachable() -> None:
    reached = {Phase.UNOPENED}
    while new := {after for before in reached for after in TRANSITIONS[before]} - reached:
        reached |= new
    assert reached == set(Phase)


def test_applying_leads_to_discarding_only_through_open() -> None:
    assert set(TRANSITIONS[Phase.APPLYING]) == {Phase.OPEN, Phase.ENDED}


def test_only_a_close_that_did_not_happen_leads_out_of_the_end() -> None:
    assert TRANSITIONS[Phase.ENDED] == (Phase.OPEN,)
    for close_sent in (True, False):
        run_phase = RunPhase(threading.Event())
        for phase in (Phase.OPENING, Phase.OPEN, *([Phase.APPLYING] if close_sent else []), Phase.ENDED):
            run_phase.move(phase)
        if not close_sent:
            with pytest.raises(LookupError):
                run_phase.move(Phase.OPEN)
        else:
            run_phase.move(Phase.OPEN)
            run_phase.move(Phase.ENDED)
            with pytest.raises(LookupError):
                run_phase.move(Phase.OPEN)


def test_an_aborted_run_begins_neither_a_session_nor_a_close() -> None:
    run_phase = RunPhase(threading.Event())
    run_phase.abort()
    with pytest.raises(RunEnded):
        run_phase.move(Phase.OPENING)
    run_phase.current = Phase.OPENING
    run_phase.move(Phase.OPEN)
    with pytest.raises(RunEnded):
        run_phase.move(Phase.APPLYING)
    run_phase.move(Phase.DISCARDING)
    with pytest.raises(RunEnded):
        run_phase.move(Phase.OPEN)


@given(sent=COUNTS, accepted=COUNTS)
def test_compare_counts(sent: dict[str, int], accepted: dict[str, int]) -> None:
    verdict = compare_counts(sent, accepted)
    assert (verdict is Comparison.EQUAL) == (sent == accepted)
    if verdict is Comparison.BELOW:
        assert all(sent.get(name, 0) >= count for name, count in accepted.items())
    if verdict is Comparison.DIFFERENT:
        assert any(count > sent.get(name, 0) for name, count in accepted.items())


def status(state: str, retry_count: int | None = None) -> SessionStatus:
    return SessionStatus(id="s", state=state, retry_count=retry_count)


@pytest.mark.parametrize(
    ("state", "is_pending"),
    [
        ("processing", True),
        ("active", True),
        ("failed", True),
        ("cancelled", False),
        ("expired", True),
        ("paused", False),
        ("", False),
    ],
)
def test_meaning_of_a_status_after_the_close(state: str, *, is_pending: bool) -> None:
    assert ProcessingWatch(60).is_pending(status(state), 0) is is_pending


def test_failed_is_final_once_a_retry_is_counted() -> None:
    watch = ProcessingWatch(60)
    assert watch.is_pending(status("failed", 0), 0)
    assert not watch.is_pending(status("failed", 1), 1)


def test_failed_is_final_after_a_minute() -> None:
    watch = ProcessingWatch(60)
    assert watch.is_pending(status("failed"), 0)
    assert watch.is_pending(status("failed"), 59.9)
    assert watch.is_pending(status("processing"), 59.95)
    assert watch.is_pending(status("failed"), 60)
    assert not watch.is_pending(status("failed"), 120)


@pytest.mark.parametrize("state", ["expired", "cancelled", "processed", "processing", "failed", "paused"])
def test_nothing_applied_is_reported_only_if_documented(state: str) -> None:
    assert ("nothing was applied" in describe_end(state)) == (state in {"expired", "cancelled"})


@pytest.mark.parametrize(
    ("timeout", "interval"),
    [
        (3600, 240),
        (60, 20),
        (1.5, 0.5),
        (10**400, 240),
        (0, 240),
        (-5, 240),
        ("60", 240),
        (True, 240),
        (None, 240),
    ],
)
def test_keep_alive_interval(timeout: object, interval: float) -> None:
    session = SessionStatus("s", "active", inactivity_timeout_seconds=timeout)
    assert keep_alive_interval(session, 240) == interval


@pytest.mark.parametrize(
    ("accepted", "verdict"),
    [
        ({"User": 3, "Device": 1}, Comparison.EQUAL),
        ({"User": 2, "Device": 1}, Comparison.BELOW),
        ({"User": 3}, Comparison.BELOW),
        ({}, Comparison.BELOW),
        ({"User": 4}, Comparison.DIFFERENT),
        ({"User": 2, "Vendor": 1}, Comparison.DIFFERENT),
    ],
)
def test_each_comparison(accepted: dict[str, int], verdict: Comparison) -> None:
    assert compare_counts({"User": 3, "Device": 1}, accepted) is verdict


def test_a_third_of_the_inactivity_timeout_is_the_interval_just_below_the_limit() -> None:
    for timeout, interval in [(719, 719 / 3), (720, 240), (721, 240), (1, 1 / 3)]:
        status = SessionStatus("s", "active", inactivity_timeout_seconds=timeout)
        assert keep_alive_interval(status, 240) == interval
