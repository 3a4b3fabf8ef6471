"""Identifying a session's owner under different readings of the log, the status and the clock."""

from __future__ import annotations

import signal
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from target_sprinto.sandbox import RateLimit
from tests.support import another_client
from tests.support.faults.cells import CONTRARY, READINGS, Cell
from tests.support.faults.expectation import DISCARDED, PROCESSED, UNSEEN
from tests.support.faults.kills import REFUSED
from tests.support.front_door import SIGNALS
from tests.support.sandbox import Fault, Hang, Reset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_sprinto.sandbox import Readings
    from tests.support.faults.expectation import Expected
    from tests.support.faults.stage import Stage
    from tests.support.faults.traffic import Traffic
    from tests.support.front_door import Finished

OWN = "target-sprinto"
OTHER = "other-pipeline"
BASES = {"": READINGS, ", contrary readings": CONTRARY}
LATELY: dict[str, dict[str, Any]] = {
    "the log shows rejected creates": {"log_shows_refused_creates": True},
    "the log lags": {"log_lag_seconds": 0.5},
    "the log ends with empty pages": {"log_ends": "with empty pages"},
    "the log repeats itself": {"log_ends": "by repeating"},
    "old sessions are purged": {"old_sessions_are_purged": True},
    "Sprinto's clock is 11 minutes ahead": {"clock_offset_seconds": 660.0},
    "Sprinto's clock is 11 minutes behind": {"clock_offset_seconds": -660.0},
    "Sprinto's clock is 20 minutes behind, and no `Date` shows it": {
        "clock_offset_seconds": -1200.0,
        "date_header": "none",
    },
    "all of these at once": {
        "log_shows_refused_creates": True,
        "log_lag_seconds": 0.5,
        "old_sessions_are_purged": True,
        "clock_offset_seconds": -660.0,
    },
}
"""Differences from the usual readings of the log, the status and the clock."""

LOST = Fault("create", moment="after", effect=Reset())
LOST_BESIDE = Fault("create", nth=2, effect=Reset())
"""The first create is that of the other session."""


def looking(traffic: Traffic) -> Iterator[Cell]:
    for name, changed in LATELY.items():
        for words, base in BASES.items():
            readings = replace(base, **changed)
            cell = partial(Cell, readings=readings, traffic=traffic)
            where = f"{name}{words}"
            yield cell(f"{where}: nothing goes wrong", PROCESSED)
            yield cell(f"{where}: a create is lost", PROCESSED, (LOST,))
            yield cell(
                f"{where}: SIGTERM while a create that acted hangs",
                DISCARDED.ending_with(SIGNALS[signal.SIGTERM]),
                (Fault("create", moment="after", effect=Hang()),),
                pace={"signal_shutdown_timeout": 6.0},
                script=stopped_while_creating,
                in_flight=0,
            )
            yield from beside_another(where, cell)
    yield from limited(traffic)


def beside_another(where: str, cell: partial[Cell]) -> Iterator[Cell]:
    """A session of this or another pipeline is active: the API does not show whether its run is alive."""
    ends = cell.keywords["readings"].log_ends == "yes"
    taken = replace(PROCESSED, others="cancelled") if ends else REFUSED.saying("the log was cut off")
    policies: dict[str, tuple[str, Expected, dict[str, Any]]] = {
        "fail": (OWN, REFUSED.saying("reference 'target-sprinto/"), {}),
        "wait": (OWN, REFUSED, {"wait_timeout_seconds": 1}),
        "discard": (OWN, taken, {"stale_session_seconds": 1}),
        "discard, of another pipeline": (OTHER, REFUSED, {"stale_session_seconds": 0}),
        "discard, not stale yet": (OWN, REFUSED, {"stale_session_seconds": 3600}),
    }
    for name, (prefix, expected, limits) in policies.items():
        policy = name.partition(",")[0]
        meets = partial(meet, prefix=prefix)
        settings = {"on_active_session": policy, **limits}
        if name != "discard, not stale yet":
            yield cell(
                f"{where}: another session, {name}",
                expected,
                settings=settings,
                script=meets,
                in_flight=None if expected.code == 0 else 0,
            )
        yield cell(
            f"{where}: another session, a create lost, {name}",
            REFUSED,
            (LOST_BESIDE,),
            settings=settings,
            pace={"max_count_lag": 0.8},
            script=meets,
            in_flight=0,
        )
    yield cell(
        f"{where}: another session, creates lost, SIGTERM",
        REFUSED.ending_with(SIGNALS[signal.SIGTERM]),
        (replace(LOST_BESIDE, moment="after", times=99),),
        pace={"signal_shutdown_timeout": 4.0},
        script=stopped_beside,
        in_flight=0,
    )


def meet(stage: Stage, prefix: str) -> Finished:
    """Start a run against a session that the log already shows."""
    another_client.open_session(stage.door, prefix)
    stage.others_are_all()
    another_client.wait_until_logged(stage.door)
    return stage.run(stage.traffic.input)


def stopped_beside(stage: Stage) -> Finished:
    another_client.open_session(stage.door, OWN)
    stage.others_are_all()
    process = stage.start_whole()
    stage.wait_for_fault()
    return stage.stop(process, signal.SIGTERM)


def stopped_while_creating(stage: Stage) -> Finished:
    process = stage.start_whole()
    stage.wait_for_session(lambda _: True)
    return stage.stop(process, signal.SIGTERM)


def limited(traffic: Traffic) -> Iterator[Cell]:
    """A rate limit: the run takes longer, but has the same outcome."""
    for retry_after in (True, False):
        server = {"rate_limit": RateLimit(4, 1.0, retry_after=retry_after)}
        words = "with" if retry_after else "without"
        for name, expected, faults in (
            ("nothing goes wrong", PROCESSED, ()),
            ("a create is lost", PROCESSED, (LOST,)),
            ("a create is lost that is not visible", UNSEEN, (LOST,)),
        ):
            readings: Readings = replace(READINGS, log_shows_reference=expected is PROCESSED)
            yield Cell(
                f"a rate limit, {words} Retry-After: {name}",
                expected,
                faults,
                readings,
                settings={"retry_timeout_seconds": 20},
                server=server,
                pace={"max_retry_delay": 1.0},
                traffic=traffic,
                in_flight=None if expected.code == 0 else 0,
            )
