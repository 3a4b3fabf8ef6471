"""Many runs with random faults: every run must keep the contract's promises.

SOAK_REPORT=docs/reliability.md pytest -n 0 tests/soak           writes the figures into that page
SOAK_RUN=17 pytest -n 0 tests/soak -k one_run                    plays one run alone
SOAK_SEED=another SOAK_RATE=0.1 pytest -n 0 tests/soak -k runs   draws other runs
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.front_door import SECRET, state_line
from tests.support.soak import figures
from tests.support.soak.courses import LEAST_PAGES, SEED, Course
from tests.support.soak.plays import play
from tests.support.soak.strikes import RATE
from tests.support.soak.verdicts import Broken, Ending, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.soak.plays import Evidence
    from tests.support.soak.verdicts import Verdict

RUNS = 300
MIN_SHARE = 0.95
STORM_RATE, STORM_RUNS = 0.25, 100
SIDE_BY_SIDE = 6
QUICK = 7
"""A run without faults."""

HELD = 20
"""A run that is held and then applied."""

FEW = [22, 46, 33]
"""Runs for the default suite: resolved pages, a resolved create, a dry run."""

MAX_SECONDS = 900

seed = os.environ.get("SOAK_SEED", SEED)
rate = float(os.environ.get("SOAK_RATE", RATE))
chosen = [int(os.environ["SOAK_RUN"])] if "SOAK_RUN" in os.environ else FEW


@pytest.mark.parametrize("number", chosen, ids="run-{}".format)
def test_one_run(number: int, warm: str) -> None:
    verdict = judge(play(Course(seed, number, rate), warm))
    assert not verdict.broken, verdict.story
    # Only a reported run is repeated.
    assert not verdict.missed or "SOAK_RUN" not in os.environ, verdict.story


def test_broken_promises_are_detected(warm: str) -> None:
    evidence = play(Course(SEED, QUICK), warm)
    assert not judge(evidence).broken
    assert judge(evidence).ending is Ending.PROCESSED
    for kind, invalid in INVALID.items():
        assert kind in judge(invalid(evidence)).broken


def test_broken_promises_of_a_held_run_are_detected(warm: str) -> None:
    evidence = play(Course(SEED, HELD), warm)
    assert not judge(evidence).broken
    assert judge(evidence).ending is Ending.APPROVED
    early = with_run(evidence, stdout=state_line(), states_at_output=["active"])
    assert {Broken.EARLY, Broken.UNTRUE} <= judge(early).broken.keys()
    silent = replace(evidence, persons=[replace(evidence.last, stdout="")])
    assert Broken.UNTRUE in judge(silent).broken
    discarding = replace(evidence, persons=[replace(evidence.last, words="discard")])
    assert {Broken.EARLY, Broken.UNTRUE} <= judge(discarding).broken.keys()
    unsaid = with_run(evidence, stderr="")
    assert Broken.UNTRUE in judge(unsaid).broken


def left_active(evidence: Evidence) -> Evidence:
    sessions = [replace(session, state="active") for session in evidence.sessions]
    run = replace(evidence.run, code=1, stdout="", stderr="| ERROR | It failed.")
    return replace(evidence, run=run, sessions=sessions)


def with_run(evidence: Evidence, **changes: Any) -> Evidence:  # noqa: ANN401 - an output's fields
    return replace(evidence, run=replace(evidence.run, **changes))


def discards_at_last(evidence: Evidence) -> Evidence:
    close = next(seen for seen in evidence.requests if seen.operation == "close")
    later = replace(close, nth=2, body=b'{"status":"discard"}', at=close.at + 1)
    return replace(evidence, requests=[*evidence.requests, later])


INVALID: dict[Broken, Callable[[Evidence], Evidence]] = {
    Broken.PARTIAL: lambda seen: replace(seen, applied={name: r[:-1] for name, r in seen.applied.items()}),
    Broken.EARLY: lambda seen: with_run(seen, states_at_output=["processing"]),
    Broken.LEFT: left_active,
    Broken.DISCARD_AFTER_CLOSE: discards_at_last,
    Broken.LEAK: lambda seen: with_run(seen, stderr=f"{seen.stderr}{SECRET}"),
    Broken.UNTRUE: lambda seen: with_run(seen, stdout=""),
    Broken.UNDRAWN: lambda seen: replace(
        seen, requests=[replace(request, nth=999) for request in seen.requests]
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(MAX_SECONDS)
def test_300_runs(warm: str) -> None:
    verdicts, seconds = soaked(RUNS, rate, warm)
    text = figures.tables(verdicts, seconds)
    report("soak", text)
    assert all(verdict.pages >= LEAST_PAGES for verdict in verdicts)
    assert not any(verdict.broken for verdict in verdicts), message(verdicts, text)
    processed, promised = figures.share(verdicts)
    assert processed >= MIN_SHARE * promised, message(verdicts, text)


@pytest.mark.slow
@pytest.mark.timeout(MAX_SECONDS)
def test_a_storm_of_100_runs(warm: str) -> None:
    """Faults so dense that they coincide: the number of recovered runs does not matter here."""
    verdicts, seconds = soaked(STORM_RUNS, STORM_RATE, warm)
    text = figures.short_tables(verdicts, seconds)
    report("storm", text)
    assert not any(verdict.broken for verdict in verdicts), message(verdicts, text)


def soaked(runs: int, rate: float, warm: str) -> tuple[list[Verdict], float]:
    """Return the verdicts, and how many seconds the runs took."""
    began = time.monotonic()
    with ThreadPoolExecutor(SIDE_BY_SIDE) as side_by_side:
        verdicts = side_by_side.map(lambda number: judge(play(Course(seed, number, rate), warm)), range(runs))
        return list(verdicts), time.monotonic() - began


def report(name: str, text: str) -> None:
    if path := os.environ.get("SOAK_REPORT"):
        figures.write(Path(path), name, text)


def message(verdicts: list[Verdict], text: str) -> str:
    return "\n\n".join([*(v.story for v in verdicts if v.broken or v.missed), text])
