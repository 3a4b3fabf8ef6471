"""Runs that fail, and whose discard goes wrong too."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.support.faults.cells import Cell
from tests.support.faults.expectation import DISCARDED, LEFT_ACTIVE, UNCONFIRMED, Expected, failed
from tests.support.faults.invalid_responses import MISHAPS
from tests.support.faults.traffic import SCHEMAS
from tests.support.sandbox import Fault, Respond

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.faults.stage import Stage
    from tests.support.faults.traffic import Traffic
    from tests.support.front_door import Finished
    from tests.support.sandbox import Effect

PACE = {"shutdown_timeout": 4.0, "signal_shutdown_timeout": 4.0, "shutdown_request_timeout": 2.0}
FOR_GOOD = 9999

ONCE = ("reset", "drop", "hang", "cut off", "500", "503", "408", "a proxy's page with 200", "an empty body")
NOT_YET = ("429 with Retry-After", "503 with Retry-After", "409", "401", "404")
FOR_GOOD_LOST = ("reset", "hang", "500", "429", "403", "409")


def discards(traffic: Traffic) -> Iterator[Cell]:
    # In the middle: other pages are in flight, and act before or after the discard.
    the_error = traffic.strike("middle page", effect=Respond(403))
    for ended, code in (("an error", 1), ("SIGTERM", 143)):
        for name, expected, faults in (*closes(), *statuses()):
            by_signal = ended == "SIGTERM"
            yield Cell(
                f"discard after {ended}: {name}",
                expected.ending_with(code),
                faults if by_signal else (*the_error, *faults),
                # If a response arrives or the connection ends, no such limit is needed on a slow machine.
                settings={"request_timeout_seconds": 1} if "hang" in name else {},
                pace=PACE,
                script=stopped if by_signal else with_more_to_come,
                traffic=traffic,
            )


def closes() -> Iterator[tuple[str, Expected, tuple[Fault, ...]]]:
    for name in ONCE:
        if not MISHAPS[name].always_acts:
            yield f"{name}, not acted", DISCARDED, (Fault("close", effect=effect(name)),)
        yield f"{name}, acted", DISCARDED, (Fault("close", moment="after", effect=effect(name)),)
    for name in NOT_YET:
        yield name, DISCARDED, (Fault("close", effect=effect(name)),)
    for name in FOR_GOOD_LOST:
        left = failed(LEFT_ACTIVE, MISHAPS[name].kind)
        yield f"{name} permanently", left, (Fault("close", times=FOR_GOOD, effect=effect(name)),)
    lost = Fault("close", moment="after", times=FOR_GOOD, effect=effect("reset"))
    yield "the responses are lost permanently", DISCARDED, (lost,)


def statuses() -> Iterator[tuple[str, Expected, tuple[Fault, ...]]]:
    for name in ("reset", "500", "429 with Retry-After", "an empty body"):
        yield f"its status: {name}", DISCARDED, (Fault("status", effect=effect(name, "status")),)
    for name in ("reset", "hang", "403", "no fields"):
        fault = Fault("status", times=FOR_GOOD, effect=effect(name, "status"))
        unconfirmed = failed(UNCONFIRMED, MISHAPS[name].kind)
        yield f"its status: {name} permanently", unconfirmed, (fault,)


def effect(name: str, operation: str = "close") -> Effect:
    return MISHAPS[name].effect(operation)  # type: ignore[arg-type] # a sandbox literal


def with_more_to_come(stage: Stage) -> Finished:
    """The pipe stays open: a failed run does not wait for the end of the input."""
    process = stage.start([*SCHEMAS, *stage.traffic.records()])
    process.wait(timeout=40)
    return stage.finish(process)


def stopped(stage: Stage) -> Finished:
    process = stage.start([*SCHEMAS, *stage.traffic.records()[: stage.traffic.volley]])
    stage.wait_until_accepted(stage.traffic.together)
    return stage.stop(process, signal.SIGTERM)
