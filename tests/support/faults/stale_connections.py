"""Connections that are reused after the server, or something in between, has closed them.

Requests in doubt are resolved quickly, and no copy of a page is applied twice.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tests.support.faults.cells import CONTRARY, READINGS, Cell, read_as
from tests.support.faults.expectation import DISCARDED, PAGES, PROCESSED
from tests.support.faults.late import released_by, released_when_sent_again, released_while_resolving
from tests.support.faults.stage import is_push
from tests.support.front_door import feed
from tests.support.sandbox import Drop, Fault, Hang, Late, Reset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.faults.stage import Stage
    from tests.support.faults.traffic import Traffic
    from tests.support.front_door import Finished

PACE = {"recheck_interval": 1.0, "quiet_period": 14.0}
"""With one page in flight, the wait after an ordinary loss would exceed the time of these cells."""

LAGS = (0.0, 0.2, 1.5)
"""Shorter and longer than the interval between two status reads."""


def stale(traffic: Traffic) -> Iterator[Cell]:
    """`traffic` has one page in flight."""
    yield from ended_at_once(traffic)
    yield from received_late(traffic)
    yield from idle(traffic)


def ended_at_once(traffic: Traffic) -> Iterator[Cell]:
    for moment in PAGES:
        for base in (READINGS, CONTRARY):
            for lag in LAGS:
                readings = replace(base, counts_lag_seconds=lag)
                for name, effect in {"reset": Reset(), "closed": Drop()}.items():
                    yield Cell(
                        f"{moment}: a stale connection is {name}{read_as(base)}, counts lag {lag}",
                        PROCESSED,
                        traffic.strike(moment, effect=effect),
                        readings,
                        pace=PACE,
                        script=partial(quick, lag=lag),
                        traffic=traffic,
                    )
                    yield Cell(
                        f"{moment}: {name}, and the page was received{read_as(base)}, counts lag {lag}",
                        # After another page, the counts are read until they show that page.
                        DISCARDED.temporary if lag > 1 and moment == "first page" else PROCESSED,
                        traffic.strike(moment, effect=effect, moment="after"),
                        readings,
                        pace=PACE,
                        traffic=traffic,
                    )


def received_late(traffic: Traffic) -> Iterator[Cell]:
    """Reset, as by a gateway that forwards the page anyway."""
    for moment in PAGES:
        for base in (READINGS, CONTRARY):
            faults = traffic.strike(moment, effect=Late(reset=True))
            words = read_as(base)
            yield Cell(
                f"{moment}: reset and received late, while it is being resolved{words}",
                PROCESSED,
                (*faults, Fault("status", effect=Hang())),
                base,
                script=released_while_resolving(1),
                traffic=traffic,
            )
            yield Cell(
                f"{moment}: reset and received late, after it was resent{words}",
                DISCARDED.temporary,
                faults,
                base,
                pace=PACE | {"recheck_interval": 2.5},
                script=released_when_sent_again(moment),
                traffic=traffic,
            )
            yield Cell(
                f"{moment}: reset and received late, after the close{words}",
                PROCESSED,
                faults,
                base,
                script=released_by("close", 1),
                traffic=traffic,
            )


def idle(traffic: Traffic) -> Iterator[Cell]:
    """The tap pauses for longer than a connection is kept."""
    for kept, after in (("closed", "closes_idle_after"), ("forgotten", "forgets_idle_after")):
        for base in (READINGS, CONTRARY):
            for lag in LAGS:
                yield Cell(
                    f"idle connections are {kept}{read_as(base)}, counts lag {lag}",
                    PROCESSED,
                    readings=replace(base, counts_lag_seconds=lag),
                    server={after: 0.5},
                    pace=PACE,
                    script=partial(with_a_pause, lag=lag, resent=kept == "forgotten"),
                    traffic=traffic,
                )


def quick(stage: Stage, lag: float) -> Finished:
    """An ordinary loss would require unchanged counts for 14 s before the close; here the STATE waits."""
    finished = stage.run(stage.traffic.input)
    check_quick(stage, lag)
    return finished


def check_quick(stage: Stage, lag: float) -> None:
    requests = stage.door.sandbox.requests(stage.door.integration_id)
    closed = next(seen for seen in requests if seen.operation == "close")
    took = closed.at - requests[0].at
    assert took < 12 + 2 * lag, took


def with_a_pause(stage: Stage, lag: float, *, resent: bool) -> Finished:
    first, rest = stage.traffic.input[:15], stage.traffic.input[15:]
    process = stage.start(first)
    stage.wait_until_accepted(1)
    # Wait until the connection is idle, which nothing shows.
    time.sleep(0.7)
    feed(process, rest)
    finished = stage.finish(process)
    requests = stage.door.sandbox.requests(stage.door.integration_id)
    lost = [seen for seen in requests if is_push(seen) and seen.status is None]
    assert len(lost) == int(resent), stage.door.operations()
    check_quick(stage, lag)
    return finished
