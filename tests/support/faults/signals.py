"""A signal at every moment of a run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from target_sprinto.sandbox import Readings
from tests.end_to_end.test_signals import wait_until_reading
from tests.support import another_client
from tests.support.faults.cells import READINGS, Cell, read_as
from tests.support.faults.expectation import (
    DISCARDED,
    NOT_APPLIED_YET,
    NOTHING_OPENED,
    PROCESSED,
    UNSEEN,
    Expected,
)
from tests.support.faults.traffic import SCHEMAS
from tests.support.front_door import SIGNALS, end_of_input
from tests.support.sandbox import Delay, Edit, Fault, Hang, Late, Reset, Respond

if TYPE_CHECKING:
    import subprocess

    from tests.support.faults.stage import Stage
    from tests.support.faults.traffic import Traffic
    from tests.support.front_door import Finished

BUSY = Respond(429, {"Retry-After": "200"})
NEVER = {"processing_seconds": 1000.0}
FOR_GOOD = 9999
UNSEEN_READINGS = replace(READINGS, log_shows_reference=False)
SHORT = Edit(lambda body: body | {"accepted_records_by_entity": {"people": 1}})
ANOTHER = Edit(lambda body: body | {"sessions": body["sessions"] | {"processing": 1}})

Until = Callable[["Stage", "subprocess.Popen[bytes]"], object]


@dataclass(frozen=True)
class When:
    """`until` waits for the moment; `whole` inputs end, others leave the pipe open after `records` records.

    If `records` is None, they fill the pages that are in flight together. `first` is called before the run.
    """

    expected: Expected
    until: Until
    faults: tuple[Fault, ...] = ()
    readings: Readings = READINGS
    whole: bool = False
    records: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)
    first: Callable[[Stage], None] = lambda _: None
    in_flight: int | None = None


def struck(index: int = 0) -> Until:
    return lambda stage, _: stage.wait_for_fault(index)


def responded(operation: str, nth: int = 1) -> Until:
    return lambda stage, _: stage.door.wait_for_operation(operation, nth, responded=True)


def reading(_: Stage, process: subprocess.Popen[bytes]) -> None:
    wait_until_reading(process)


def all_in_flight(stage: Stage, _: subprocess.Popen[bytes]) -> None:
    stage.wait_for_volley()


def all_acted(stage: Stage, _: subprocess.Popen[bytes]) -> None:
    stage.wait_for_acts(stage.traffic.together)


def all_accepted(stage: Stage, _: subprocess.Popen[bytes]) -> None:
    stage.wait_until_accepted(stage.traffic.together)


def creating() -> dict[str, When]:
    hang = (Fault("create", moment="after", effect=Hang()),)
    again = {"request_timeout_seconds": 0.5}
    moments = {
        "creating, response in time": When(
            DISCARDED, struck(), (Fault("create", moment="after", effect=Hang(0.7)),)
        ),
        "creating, acted, no response": When(DISCARDED, struck(), hang),
        "creating, acted, no response, unseen": When(UNSEEN, struck(), hang, UNSEEN_READINGS),
        "creating, not acted, no response": When(
            NOTHING_OPENED.saying("may be open until"), struck(), (Fault("create", effect=Hang()),)
        ),
        "creating, waiting for Retry-After": When(
            NOTHING_OPENED, responded("create"), (Fault("create", times=FOR_GOOD, effect=BUSY),)
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
            responded("integration_status"),
            settings={"on_active_session": "wait"},
            first=blocked,
        ),
    }
    return {name: replace(when, in_flight=0) for name, when in moments.items()}


def blocked(stage: Stage) -> None:
    another_client.open_session(stage.door)
    stage.others_are_all()


def pushing(traffic: Traffic) -> dict[str, When]:
    every = Fault("push", times=traffic.together, company=traffic.together)
    hang, acted = replace(every, effect=Hang()), replace(every, moment="after", effect=Hang())
    reset = replace(every, effect=Reset())
    moments = {
        "before the first page": When(NOTHING_OPENED, reading, records=1, in_flight=0),
        "reading": When(DISCARDED, all_accepted),
        "pushing, acted": When(DISCARDED, all_acted, (acted,)),
        "pushing, not acted": When(DISCARDED, all_in_flight, (hang,)),
        "pushing, it acts after the end": When(DISCARDED, all_in_flight, (replace(every, effect=Late()),)),
        "pushing, waiting for Retry-After": When(
            DISCARDED, responded("push"), (replace(every, times=FOR_GOOD, effect=BUSY),)
        ),
        "resolving": When(DISCARDED, struck(1), (reset, Fault("status", effect=Hang()))),
        "discarding": When(
            DISCARDED,
            struck(1),
            (replace(every, effect=Respond(403)), Fault("close", effect=Hang(0.5))),
        ),
    }
    return moments if traffic.together == 1 else moments | of_each_kind(traffic)


def of_each_kind(traffic: Traffic) -> dict[str, When]:
    """The pages in flight have different outcomes."""
    half = traffic.together // 2
    first = Fault("push", times=half, company=traffic.together)
    others = replace(first, nth=half + 1, times=traffic.together - half)
    hang, accepted = replace(others, effect=Hang()), replace(first, effect=Delay(0))
    acted = replace(first, moment="after", effect=Hang())
    lost, busy = replace(first, effect=Reset()), replace(first, effect=BUSY)
    return {
        "pushing, some accepted": When(DISCARDED, all_accepted_of(half), (hang, accepted)),
        "pushing, some acted": When(DISCARDED, all_acted_of(half), (hang, acted)),
        "pushing, some lost": When(DISCARDED, all_in_flight, (hang, lost)),
        "pushing, some waiting for Retry-After": When(DISCARDED, responded("push"), (hang, busy)),
        "resolving, others waiting for Retry-After": When(
            DISCARDED, struck(2), (replace(others, effect=Reset()), busy, Fault("status", effect=Hang()))
        ),
    }


def all_accepted_of(pages: int) -> Until:
    return lambda stage, _: stage.wait_until_accepted(pages)


def all_acted_of(pages: int) -> Until:
    return lambda stage, _: stage.wait_for_acts(pages)


def closing() -> dict[str, When]:
    return {
        "reconciling": When(DISCARDED, struck(), (Fault("status", effect=Hang()),), whole=True),
        "reconciling, counts fall short": When(
            DISCARDED,
            responded("status", 2),
            (Fault("status", times=FOR_GOOD, effect=SHORT),),
            whole=True,
        ),
        "reconciling, waiting for Retry-After": When(
            DISCARDED, responded("status"), (Fault("status", effect=BUSY),), whole=True
        ),
        "waiting for another session's processing": When(
            DISCARDED,
            responded("integration_status"),
            (Fault("integration_status", times=FOR_GOOD, effect=ANOTHER),),
            whole=True,
        ),
        "closing, not acted": When(PROCESSED, struck(), (Fault("close", effect=Hang()),), whole=True),
        "closing, acted": When(
            NOT_APPLIED_YET,
            struck(),
            (Fault("close", moment="after", effect=Hang()),),
            whole=True,
            server=NEVER,
        ),
        "closing, response in time": When(
            PROCESSED, struck(), (Fault("close", moment="after", effect=Hang(0.5)),), whole=True
        ),
        **closing_lost(),
        "closing, waiting for Retry-After": When(
            DISCARDED, responded("close"), (Fault("close", effect=BUSY),), whole=True
        ),
        "polling": When(NOT_APPLIED_YET, responded("status", 2), whole=True, server=NEVER),
        "polling, processed in time": When(
            PROCESSED, responded("status", 2), whole=True, server={"processing_seconds": 1.0}
        ),
        "polling, waiting for Retry-After": When(
            NOT_APPLIED_YET,
            responded("status", 2),
            (Fault("status", nth=2, times=FOR_GOOD, effect=BUSY),),
            whole=True,
            server=NEVER,
        ),
    }


def closing_lost() -> dict[str, When]:
    """The signal comes while the close hangs; the close is then lost, and resolved in the time left."""
    soon = {"request_timeout_seconds": 0.5}
    acts: dict[str, Fault] = {
        "acted": Fault("close", moment="after", effect=Hang()),
        "not acted": Fault("close", effect=Hang()),
    }
    status_faults: dict[str, tuple[Fault, ...]] = {
        "": (),
        ", a status lost": (Fault("status", nth=2, effect=Reset()),),
        ", a status throttled": (Fault("status", nth=2, effect=Respond(429, {"Retry-After": "1"})),),
    }
    return {
        f"closing, {words}, lost{lost}": When(
            PROCESSED, struck(), (close, *faults), whole=True, settings=soon
        )
        for words, close in acts.items()
        for lost, faults in status_faults.items()
    }


def signals(traffic: Traffic) -> Iterator[Cell]:
    for number, code in SIGNALS.items():
        for name, when in {**creating(), **pushing(traffic), **closing()}.items():
            failed = when.expected.code != 0
            expected = when.expected.ending_with(code) if failed else when.expected
            yield Cell(
                f"{number.name} while {name}{read_as(when.readings)}",
                expected,
                when.faults,
                when.readings,
                {"retry_timeout_seconds": 300, **when.settings, **in_time(when, traffic)},
                when.server,
                pace={"signal_shutdown_timeout": 4.0, "max_count_lag": 20.0},
                script=partial(at, when=when, numbers=(number,)),
                traffic=traffic,
                in_flight=when.in_flight,
            )
    several = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
    yield Cell(
        "several signals while reading: the first wins",
        DISCARDED.ending_with(SIGNALS[signal.SIGHUP]),
        script=partial(at, when=pushing(traffic)["reading"], numbers=several),
        traffic=traffic,
    )


def in_time(when: When, traffic: Traffic) -> dict[str, float]:
    """A timeout meant for the close must leave the pages time to gather."""
    name = "request_timeout_seconds"
    return {name: max(when.settings[name], traffic.timeout)} if name in when.settings else {}


def at(stage: Stage, when: When, numbers: tuple[signal.Signals, ...]) -> Finished:
    when.first(stage)
    records = stage.traffic.volley if when.records is None else when.records
    some = [*SCHEMAS, *stage.traffic.records()[:records]]
    process = stage.start(stage.traffic.input if when.whole else some)
    if when.whole:
        end_of_input(process)
    when.until(stage, process)
    if len(numbers) > 1:
        # Simultaneous signals have no order: send the others once the first was handled.
        process.send_signal(numbers[0])
        stage.door.wait_for_operation("close")
        numbers = numbers[1:]
    finished = stage.stop(process, *numbers)
    for index, fault in enumerate(stage.faults):
        if isinstance(fault.effect, Late):
            stage.release_and_wait(index)
    return finished
