"""A signal at every moment of a run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import stranger
from cells import INPUT, PAGE_SIZE, READINGS, SCHEMAS, Cell, read_as, records
from expectation import (
    DISCARDED,
    NOT_APPLIED_YET,
    NOTHING_OPENED,
    PROCESSED,
    UNSEEN,
    Expected,
)
from front_door import SIGNALS
from stage import end_of_input
from test_signals import wait_until_reading

from target_sprinto.sandbox import Answer, Edit, Fault, Hang, Late, Readings, Reset

if TYPE_CHECKING:
    import subprocess

    from front_door import Finished
    from stage import Stage

BUSY = Answer(429, {"Retry-After": "200"})
NEVER = {"processing_seconds": 1000.0}
FOR_GOOD = 9999
ONE_PAGE = [*SCHEMAS, *records()[:PAGE_SIZE]]
UNSEEN_READINGS = replace(READINGS, log_shows_reference=False)
SHORT = Edit(lambda body: body | {"accepted_records_by_entity": {"people": 1}})
ANOTHER = Edit(lambda body: body | {"sessions": body["sessions"] | {"processing": 1}})

Until = Callable[["Stage", "subprocess.Popen[bytes]"], object]


@dataclass(frozen=True)
class When:
    """`until` waits for the moment; `whole` inputs end, others leave the pipe open. `late` comes after it."""

    expected: Expected
    until: Until
    faults: tuple[Fault, ...] = ()
    readings: Readings = READINGS
    whole: bool = False
    messages: list[Any] = field(default_factory=lambda: ONE_PAGE)
    settings: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)
    first: Callable[[Stage], None] = lambda _: None


def struck(index: int = 0) -> Until:
    return lambda stage, _: stage.wait_for_fault(index)


def answered(operation: str, nth: int = 1) -> Until:
    return lambda stage, _: stage.door.wait_for_operation(operation, nth, answered=True)


def reading(_: Stage, process: subprocess.Popen[bytes]) -> None:
    wait_until_reading(process)


def creating() -> dict[str, When]:
    hang = (Fault("create", moment="after", effect=Hang()),)
    again = {"request_timeout_seconds": 0.5}
    return {
        "creating, answered in time": When(
            DISCARDED, struck(), (Fault("create", moment="after", effect=Hang(0.7)),)
        ),
        "creating, acted, never answered": When(DISCARDED, struck(), hang),
        "creating, acted, never answered, unseen": When(UNSEEN, struck(), hang, UNSEEN_READINGS),
        "creating, not acted, never answered": When(
            NOTHING_OPENED.saying("may be open until"), struck(), (Fault("create", effect=Hang()),)
        ),
        "creating, in Retry-After": When(
            NOTHING_OPENED, answered("create"), (Fault("create", times=FOR_GOOD, effect=BUSY),)
        ),
        "adopting": When(
            DISCARDED,
            struck(1),
            (Fault("create", moment="after", effect=Reset()), Fault("activity", effect=Hang())),
        ),
        "creating again": When(
            DISCARDED,
            struck(1),
            (*hang, Fault("create", nth=2, effect=Hang())),
            settings=again,
        ),
        "waiting for another session": When(
            replace(NOTHING_OPENED, others="active"),
            answered("activity"),
            settings={"on_active_session": "wait"},
            first=blocked,
        ),
    }


def blocked(stage: Stage) -> None:
    stranger.open_session(stage.door)
    stage.others_are_all()


def pushing() -> dict[str, When]:
    return {
        "before the first page": When(NOTHING_OPENED, reading, messages=[*SCHEMAS, *records()[:1]]),
        "reading": When(DISCARDED, answered("push")),
        "pushing, acted": When(DISCARDED, struck(), (Fault("push", moment="after", effect=Hang()),)),
        "pushing, not acted": When(DISCARDED, struck(), (Fault("push", effect=Hang()),)),
        "pushing, it acts after the end": When(DISCARDED, struck(), (Fault("push", effect=Late()),)),
        "pushing, in Retry-After": When(
            DISCARDED, answered("push"), (Fault("push", times=FOR_GOOD, effect=BUSY),)
        ),
        "finding out": When(
            DISCARDED, struck(1), (Fault("push", effect=Reset()), Fault("status", effect=Hang()))
        ),
        "discarding": When(
            DISCARDED, struck(1), (Fault("push", effect=Answer(403)), Fault("close", effect=Hang(0.5)))
        ),
    }


def closing() -> dict[str, When]:
    return {
        "reconciling": When(DISCARDED, struck(), (Fault("status", effect=Hang()),), whole=True),
        "reconciling, counts fall short": When(
            DISCARDED,
            answered("status", 2),
            (Fault("status", times=FOR_GOOD, effect=SHORT),),
            whole=True,
        ),
        "reconciling, in Retry-After": When(
            DISCARDED, answered("status"), (Fault("status", effect=BUSY),), whole=True
        ),
        "waiting for what others process": When(
            DISCARDED,
            answered("integration_status"),
            (Fault("integration_status", times=FOR_GOOD, effect=ANOTHER),),
            whole=True,
        ),
        "closing, not acted": When(NOT_APPLIED_YET, struck(), (Fault("close", effect=Hang()),), whole=True),
        "closing, acted": When(
            NOT_APPLIED_YET,
            struck(),
            (Fault("close", moment="after", effect=Hang()),),
            whole=True,
            server=NEVER,
        ),
        "closing, answered in time": When(
            PROCESSED, struck(), (Fault("close", moment="after", effect=Hang(0.5)),), whole=True
        ),
        **closing_lost(),
        "closing, in Retry-After": When(
            DISCARDED, answered("close"), (Fault("close", effect=BUSY),), whole=True
        ),
        "polling": When(NOT_APPLIED_YET, answered("status", 2), whole=True, server=NEVER),
        "polling, processed in time": When(
            PROCESSED, answered("status", 2), whole=True, server={"processing_seconds": 1.0}
        ),
        "polling, in Retry-After": When(
            NOT_APPLIED_YET,
            answered("status", 2),
            (Fault("status", nth=2, times=FOR_GOOD, effect=BUSY),),
            whole=True,
            server=NEVER,
        ),
    }


def closing_lost() -> dict[str, When]:
    """The signal comes while the close hangs, which is then lost: the time left is for finding out."""
    soon = {"request_timeout_seconds": 0.5}
    acts: dict[str, Fault] = {
        "acted": Fault("close", moment="after", effect=Hang()),
        "not acted": Fault("close", effect=Hang()),
    }
    looks: dict[str, tuple[Fault, ...]] = {
        "": (),
        ", a look lost": (Fault("status", nth=2, effect=Reset()),),
        ", a look put off": (Fault("status", nth=2, effect=Answer(429, {"Retry-After": "1"})),),
    }
    return {
        f"closing, {words}, lost{lost}": When(
            PROCESSED, struck(), (close, *faults), whole=True, settings=soon
        )
        for words, close in acts.items()
        for lost, faults in looks.items()
    }


def signals() -> Iterator[Cell]:
    for number, code in SIGNALS.items():
        for name, when in {**creating(), **pushing(), **closing()}.items():
            failed = when.expected.code != 0
            expected = when.expected.ending_with(code) if failed else when.expected
            yield Cell(
                f"{number.name} while {name}{read_as(when.readings)}",
                expected,
                when.faults,
                when.readings,
                {"retry_timeout_seconds": 300, **when.settings},
                when.server,
                pace={"end_after_signal": 4.0, "lag": 20.0},
                script=partial(at, when=when, numbers=(number,)),
            )
    several = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
    yield Cell(
        "several signals while reading: the first decides",
        DISCARDED.ending_with(SIGNALS[signal.SIGHUP]),
        script=partial(at, when=pushing()["reading"], numbers=several),
    )


def at(stage: Stage, when: When, numbers: tuple[signal.Signals, ...]) -> Finished:
    when.first(stage)
    process = stage.start(INPUT if when.whole else when.messages)
    if when.whole:
        end_of_input(process)
    when.until(stage, process)
    if len(numbers) > 1:
        # Signals that come together have no order: the second waits until the first was heard.
        process.send_signal(numbers[0])
        stage.door.wait_for_operation("close")
        numbers = numbers[1:]
    finished = stage.stop(process, *numbers)
    for index, fault in enumerate(stage.faults):
        if isinstance(fault.effect, Late):
            stage.release_and_wait(index)
    return finished
