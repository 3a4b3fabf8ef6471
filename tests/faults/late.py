"""Requests that the server acts on only after the client has given up waiting for an answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from answers import MOMENTS
from cells import CONTRARY, INPUT, READINGS, Cell, read_as
from expectation import APPLIED_DIFFERS, DISCARDED, PAGES, PROCESSED, lost_create
from stage import end_of_input

from target_sprinto.sandbox import Fault, Hang, Late

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from front_door import Finished
    from stage import Stage

    from target_sprinto.sandbox.faults import Operation

SETTINGS = {"request_timeout_seconds": 0.6}
PACE = {"settle": 0.5}


def late() -> Iterator[Cell]:
    yield from late_creates()
    yield from late_pages()
    yield from late_closes()


def late_creates() -> Iterator[Cell]:
    # One that acts after the run has ended is left out: nobody could have seen it.
    unseen = replace(READINGS, log_shows_reference=False)
    for readings in (READINGS, CONTRARY, unseen):
        yield Cell(
            f"create: late, before it is tried again{read_as(readings)}",
            lost_create(readings),
            (Fault("create", effect=Late(0.1)),),
            readings,
            settings=SETTINGS,
        )
        yield Cell(
            f"create: late, after it was tried again{read_as(readings)}",
            PROCESSED,
            (Fault("create", effect=Late()),),
            readings,
            settings=SETTINGS,
            script=released_while_reading,
        )


def late_pages() -> Iterator[Cell]:
    for moment in PAGES:
        operation, nth = MOMENTS[moment]
        for readings in (READINGS, CONTRARY):
            words = read_as(readings)
            yield Cell(
                f"{moment}: late, while it is found out{words}",
                PROCESSED,
                (Fault(operation, nth=nth, effect=Late(0.0)),),
                readings,
                settings=SETTINGS,
                pace=PACE,
            )
            fault = (Fault(operation, nth=nth, effect=Late()),)
            yield Cell(
                f"{moment}: late, after it was sent again{words}",
                DISCARDED,
                fault,
                readings,
                settings=SETTINGS,
                script=released_by("push", nth + 1),
            )
            yield Cell(
                f"{moment}: late, after the close{words}",
                PROCESSED,
                fault,
                readings,
                settings=SETTINGS,
                script=released_by("close", 1),
            )
            yield Cell(
                f"{moment}: late, between the last status and the close{words}",
                # The stated limit: what is applied then is the input and that page once more.
                replace(APPLIED_DIFFERS, inputs=None),
                (*fault, Fault("close", effect=Hang())),
                readings,
                settings={"request_timeout_seconds": 1},
                script=slips_in,
            )


def late_closes() -> Iterator[Cell]:
    for readings in (READINGS, CONTRARY):
        for name, effect in {"at once": Late(0.0), "soon": Late(0.4)}.items():
            yield Cell(
                f"close: late, {name}{read_as(readings)}",
                PROCESSED,
                (Fault("close", effect=effect),),
                readings,
                settings=SETTINGS,
            )
        yield Cell(
            f"close: late, after it was sent again{read_as(readings)}",
            PROCESSED,
            (Fault("close", effect=Late()),),
            readings,
            settings=SETTINGS,
            script=released_by("close", 2),
        )


def released_by(operation: Operation, nth: int) -> Callable[[Stage], Finished]:
    """The late request goes on as soon as another one was answered."""

    def script(stage: Stage) -> Finished:
        process = stage.start(INPUT)
        end_of_input(process)
        stage.door.wait_for_operation(operation, nth, answered=True)
        stage.release_and_wait()
        return stage.finish(process)

    return script


def released_while_reading(stage: Stage) -> Finished:
    process = stage.start(INPUT)
    stage.door.wait_for_operation("create", 2, answered=True)
    stage.release_and_wait()
    return stage.finish(process)


def slips_in(stage: Stage) -> Finished:
    process = stage.start(INPUT)
    end_of_input(process)
    stage.wait_for_fault(1)
    before = stage.door.session().accepted_total
    stage.release(0)
    stage.wait_for_session(lambda session: session.accepted_total > before)
    stage.release(1)
    return stage.finish(process)
