"""SIGKILL followed by another run, and runs that meet another client's session."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from target_sprinto.sandbox import Readings
from tests.support import another_client
from tests.support.faults.cells import CONTRARY, READINGS, Cell, read_as
from tests.support.faults.expectation import NOTHING_OPENED, PROCESSED, Ending, Expected
from tests.support.faults.traffic import SCHEMAS
from tests.support.front_door import end_of_input
from tests.support.sandbox import Fault, Hang, Late, Reset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.faults.stage import Stage
    from tests.support.faults.traffic import Traffic
    from tests.support.front_door import Finished

UNSEEN = replace(READINGS, log_shows_reference=False)
REFUSED = replace(NOTHING_OPENED.temporary, others="active")


@dataclass(frozen=True)
class Moment:
    """A moment that leaves a session active. `until` waits for it; `only` limits the next run's policies.

    Late acts of the server happen once the run has been killed, or, with `meanwhile`, during the next run.
    """

    faults: tuple[Fault, ...]
    until: Callable[[Stage], None] = lambda stage: stage.wait_for_fault()
    only: tuple[str, ...] = ()
    meanwhile: bool = False


def moments(traffic: Traffic) -> dict[str, Moment]:
    # With one page in flight, the second page; otherwise all that are in flight together.
    nth = 1 if traffic.together > 1 else 2
    pushes = Fault("push", nth=nth, times=traffic.together, company=traffic.together)
    acted, late = replace(pushes, moment="after", effect=Hang()), replace(pushes, effect=Late())
    last = nth + traffic.together - 1
    return {
        "creating": Moment((Fault("create", moment="after", effect=Hang()),), opened),
        "pushing": Moment((acted,), lambda stage: stage.wait_for_acts(last)),
        "pushing, nothing acted": Moment((replace(pushes, effect=Hang()),), struck, LEFT),
        "pushing, it acts after the end": Moment((late,), struck, LEFT),
        "pushing, it acts during the next run": Moment((late,), struck, ("discard",), meanwhile=True),
        "reconciling": Moment((Fault("status", effect=Hang()),)),
        "closing": Moment((Fault("close", effect=Hang()),)),
    }


LEFT = ("fail", "discard", "discard, not stale yet")


def struck(stage: Stage) -> None:
    """Wait until all pages in flight together were struck."""
    stage.wait_for_fault(times=stage.traffic.together)


def opened(stage: Stage) -> None:
    """Wait for the session: a fault with moment "after" is recorded before the server acts."""
    stage.wait_for_session(lambda _: True)


def policies() -> Iterator[tuple[str, Expected, dict[str, Any], dict[str, Any], Readings]]:
    """The next run's policies: name, expected, settings, server, readings."""
    named = REFUSED.saying("reference 'target-sprinto/", "opened ", "last event ", "sprintoctl discard")
    taken = replace(PROCESSED, others="cancelled")
    stale = {"on_active_session": "discard", "stale_session_seconds": 0}
    yield "fail", named, {"on_active_session": "fail"}, {}, READINGS
    yield "wait, too short", REFUSED, {"on_active_session": "wait", "wait_timeout_seconds": 1}, {}, READINGS
    yield (
        "wait until it expires",
        replace(PROCESSED, others="expired"),
        {"on_active_session": "wait", "wait_timeout_seconds": 20},
        {"inactivity_timeout_seconds": 3.0},
        READINGS,
    )
    for readings in (READINGS, CONTRARY):
        yield "discard", taken, stale, {}, readings
    for readings in (READINGS, CONTRARY):
        yield "discard, not stale yet", taken, stale | {"stale_session_seconds": 3}, {}, readings
    yield "discard, reference not shown", REFUSED, stale, {}, UNSEEN
    yield "discard, another prefix", REFUSED, stale | {"client_reference_prefix": "other"}, {}, READINGS


def kills(traffic: Traffic) -> Iterator[Cell]:
    for when, moment in moments(traffic).items():
        for name, expected, settings, server, readings in policies():
            if not moment.only or name in moment.only:
                sends_nothing = when == "creating" and expected.ending is Ending.NOTHING_OPENED
                yield Cell(
                    f"SIGKILL while {when}, next run: {name}{read_as(readings)}",
                    expected,
                    moment.faults,
                    readings,
                    settings,
                    server,
                    script=partial(killed, until=moment.until, meanwhile=moment.meanwhile),
                    traffic=traffic,
                    in_flight=0 if sends_nothing else None,
                )
    for policy in ("fail", "wait", "discard"):
        settings = {"on_active_session": policy, "stale_session_seconds": 0}
        yield Cell(
            f"SIGKILL before the first page, next run: {policy}",
            PROCESSED,
            settings=settings,
            script=partial(killed, records=1, until=lambda _: None),
            traffic=traffic,
        )
        yield Cell(
            f"SIGKILL while polling, next run: {policy}",
            # The first run's session is processed too, before the second's.
            replace(PROCESSED, inputs=2, others="processed"),
            settings=settings,
            server={"processing_seconds": 1.5},
            script=partial(
                killed, until=lambda stage: stage.door.wait_for_operation("close", responded=True)
            ),
            traffic=traffic,
        )


def killed(
    stage: Stage, until: Callable[[Stage], object], records: int | None = None, *, meanwhile: bool = False
) -> Finished:
    """Kill a run, then play the next one. Without `records`, the first run has its complete input."""
    whole = stage.traffic.input
    messages = whole if records is None else [*SCHEMAS, *stage.traffic.records()[:records]]
    process = stage.start(messages, on_active_session="fail", client_reference_prefix=None)
    if records is None:
        end_of_input(process)
    until(stage)
    process.kill()
    process.communicate()
    late = [index for index, fault in enumerate(stage.faults) if isinstance(fault.effect, Late)]
    if not meanwhile:
        release(stage, late)
    stage.others_are_all()
    if records is None:
        assert len(stage.others_receipts) == int(stage.cell.keeps_receipt)
    following = stage.start(whole)
    end_of_input(following)
    if meanwhile:
        stage.wait_for_session(lambda session: session.id not in stage.others and session.accepted_total > 0)
        release(stage, late)
    return stage.finish(following)


def release(stage: Stage, faults: list[int]) -> None:
    for index in faults:
        stage.release_and_wait(index)


def conflicts(traffic: Traffic) -> Iterator[Cell]:
    """Another client's session, or a held one: nothing may touch it."""
    blockers = {
        "of another pipeline": ("other-pipeline", ""),
        "of a longer prefix": ("target-sprinto/other", ""),
        "of a prefix that starts alike": ("target-sprinto-2", ""),
        "that is held": ("target-sprinto", "/hold"),
    }
    for blocker, (prefix, suffix) in blockers.items():
        for policy in ("fail", "wait", "discard"):
            for readings in (READINGS, CONTRARY) if policy == "discard" else (READINGS,):
                for name, faults in LOSSES.items():
                    yield Cell(
                        f"a session {blocker} is active: {policy}{name}{read_as(readings)}",
                        REFUSED,
                        faults,
                        readings,
                        {
                            "on_active_session": policy,
                            "stale_session_seconds": 0,
                            "wait_timeout_seconds": 1,
                        },
                        script=partial(meets, prefix=prefix, suffix=suffix),
                        traffic=traffic,
                        in_flight=0,
                    )


LOSSES: dict[str, tuple[Fault, ...]] = {"": (), ", a create lost": (Fault("create", nth=2, effect=Reset()),)}
"""The first create is the blocking session's."""


def meets(stage: Stage, prefix: str, suffix: str) -> Finished:
    another_client.open_session(stage.door, prefix, suffix)
    stage.others_are_all()
    return stage.run(stage.traffic.input)


def _until_closed(stage: Stage) -> None:
    stage.door.wait_for_operation("close", responded=True)
