"""Requests that the server acts on only after the client has stopped waiting for a response."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.support.faults.cells import CONTRARY, READINGS, Cell, read_as
from tests.support.faults.expectation import APPLIED_DIFFERS, DISCARDED, PAGES, PROCESSED, lost_create
from tests.support.faults.invalid_responses import in_flight
from tests.support.sandbox import Fault, Hang, Late

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.faults.stage import Stage
    from tests.support.faults.traffic import Traffic
    from tests.support.front_door import Finished

PACE = {"recheck_interval": 0.5}


def late(traffic: Traffic) -> Iterator[Cell]:
    yield from late_creates(traffic)
    yield from late_pages(traffic)
    yield from late_closes(traffic)


def late_creates(traffic: Traffic) -> Iterator[Cell]:
    # A create that acts after the run has ended is omitted: no run could detect it.
    unseen = replace(READINGS, log_shows_reference=False)
    for readings in (READINGS, CONTRARY, unseen):
        yield Cell(
            f"create: late, before it is retried{read_as(readings)}",
            lost_create(readings),
            (Fault("create", effect=Late(0.1)),),
            readings,
            settings={"request_timeout_seconds": traffic.timeout},
            traffic=traffic,
            in_flight=in_flight("create", lost_create(readings)),
        )
        yield Cell(
            f"create: late, after it was retried{read_as(readings)}",
            PROCESSED,
            (Fault("create", effect=Late()),),
            readings,
            settings={"request_timeout_seconds": traffic.timeout},
            traffic=traffic,
            script=released_while_reading,
        )


def late_pages(traffic: Traffic) -> Iterator[Cell]:
    for moment in PAGES:
        for readings in (READINGS, CONTRARY):
            words = read_as(readings)
            yield Cell(
                f"{moment}: late, while it is being resolved{words}",
                PROCESSED,
                traffic.strike(moment, effect=Late(0.0)),
                readings,
                settings={"request_timeout_seconds": traffic.timeout},
                pace=PACE,
                traffic=traffic,
            )
            faults = traffic.strike(moment, effect=Late())
            yield Cell(
                f"{moment}: late, after it was resent{words}",
                DISCARDED.temporary,
                faults,
                readings,
                settings={"request_timeout_seconds": traffic.timeout},
                script=released_when_sent_again(moment),
                traffic=traffic,
            )
            yield Cell(
                f"{moment}: late, after the close{words}",
                PROCESSED,
                faults,
                readings,
                settings={"request_timeout_seconds": traffic.timeout},
                script=released_by("close", 1),
                traffic=traffic,
            )
            yield Cell(
                f"{moment}: late, between the last status and the close{words}",
                # The stated limit: the input and a second copy of that page are applied.
                replace(APPLIED_DIFFERS, inputs=None),
                (*faults, Fault("close", effect=Hang())),
                readings,
                settings={"request_timeout_seconds": max(1, traffic.timeout)},
                script=slips_in,
                traffic=traffic,
            )


def late_closes(traffic: Traffic) -> Iterator[Cell]:
    for readings in (READINGS, CONTRARY):
        for name, effect in {"at once": Late(0.0), "soon": Late(0.4)}.items():
            yield Cell(
                f"close: late, {name}{read_as(readings)}",
                PROCESSED,
                (Fault("close", effect=effect),),
                readings,
                settings={"request_timeout_seconds": traffic.timeout},
                traffic=traffic,
            )
        yield Cell(
            f"close: late, after it was resent{read_as(readings)}",
            PROCESSED,
            (Fault("close", effect=Late()),),
            readings,
            settings={"request_timeout_seconds": traffic.timeout},
            traffic=traffic,
            script=released_by("close", 2),
        )


def released_by(operation: str, nth: int) -> Callable[[Stage], Finished]:
    """Release the late request as soon as another one got its response."""
    return released_after(lambda stage: stage.door.wait_for_operation(operation, nth, responded=True))


def released_when_sent_again(moment: str) -> Callable[[Stage], Finished]:
    return released_after(lambda stage: stage.wait_until_sent_again(stage.traffic.moments[moment]))


def released_while_resolving(look: int) -> Callable[[Stage], Finished]:
    """Release the late request while the fault `look` holds a status read: it lands before the next one."""

    def script(stage: Stage) -> Finished:
        process = stage.start_whole()
        stage.wait_for_fault(look)
        stage.release_and_wait(0)
        stage.release(look)
        return stage.finish(process)

    return script


def released_after(until: Callable[[Stage], None]) -> Callable[[Stage], Finished]:
    def script(stage: Stage) -> Finished:
        process = stage.start_whole()
        until(stage)
        stage.release_and_wait()
        return stage.finish(process)

    return script


def released_while_reading(stage: Stage) -> Finished:
    process = stage.start(stage.traffic.input)
    stage.door.wait_for_operation("create", 2, responded=True)
    stage.release_and_wait()
    return stage.finish(process)


def slips_in(stage: Stage) -> Finished:
    process = stage.start_whole()
    stage.door.wait_for_operation("close")
    before = stage.door.session().accepted_total
    stage.release(0)
    stage.wait_for_session(lambda session: session.accepted_total > before)
    closing = next(index for index, fault in enumerate(stage.faults) if fault.operation == "close")
    stage.release(closing)
    return stage.finish(process)
