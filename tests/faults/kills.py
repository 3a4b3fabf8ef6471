"""SIGKILL and then another run, and runs that meet a session of somebody else."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import stranger
from cells import CONTRARY, INPUT, READINGS, SCHEMAS, Cell, read_as, records
from expectation import NOTHING_OPENED, PROCESSED, Expected
from stage import end_of_input

from target_sprinto.sandbox import Fault, Hang, Readings, Reset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from front_door import Finished
    from stage import Stage

UNSEEN = replace(READINGS, log_shows_reference=False)
REFUSED = replace(NOTHING_OPENED, others="active")

KILLED_WHILE: dict[str, tuple[Fault, ...]] = {
    "creating": (Fault("create", moment="after", effect=Hang()),),
    "pushing": (Fault("push", nth=2, moment="after", effect=Hang()),),
    "reconciling": (Fault("status", effect=Hang()),),
    "closing": (Fault("close", effect=Hang()),),
}
"""Moments that leave a session active."""


def policies() -> Iterator[tuple[str, Expected, dict[str, Any], dict[str, Any], Readings]]:
    """What the next run is told to do: name, expected, settings, server, readings."""
    named = REFUSED.saying("reference 'target-sprinto/", "opened ", "expires 20", "sprintoctl discard")
    taken = replace(PROCESSED, others="cancelled")
    stale = {"on_active_session": "discard", "stale_session_seconds": 0}
    yield "fail", named, {"on_active_session": "fail"}, {}, READINGS
    yield "wait, too short", REFUSED, {"on_active_session": "wait", "wait_timeout_seconds": 1}, {}, READINGS
    yield (
        "wait until it expires",
        replace(PROCESSED, others="expired"),
        {"on_active_session": "wait", "wait_timeout_seconds": 20},
        {"inactivity_timeout_seconds": 3.0},
        # Looking at it must not keep it alive.
        replace(READINGS, status_postpones_expiry=False),
    )
    for readings in (READINGS, CONTRARY):
        yield "discard", taken, stale, {}, readings
    fresh = stale | {"stale_session_seconds": 600}
    yield "discard, not stale", named, fresh, {}, READINGS
    yield "discard, reference not shown", REFUSED, stale, {}, UNSEEN
    yield "discard, another prefix", REFUSED, stale | {"client_reference_prefix": "other"}, {}, READINGS


def kills() -> Iterator[Cell]:
    for moment, faults in KILLED_WHILE.items():
        for name, expected, settings, server, readings in policies():
            yield Cell(
                f"SIGKILL while {moment}, next run: {name}{read_as(readings)}",
                expected,
                faults,
                readings,
                settings,
                server,
                script=partial(killed, until=lambda stage: stage.wait_for_fault()),
            )
    for policy in ("fail", "wait", "discard"):
        settings = {"on_active_session": policy, "stale_session_seconds": 0}
        yield Cell(
            f"SIGKILL before the first page, next run: {policy}",
            PROCESSED,
            settings=settings,
            script=partial(killed, messages=[*SCHEMAS, *records()[:1]], until=lambda _: None),
        )
        yield Cell(
            f"SIGKILL while polling, next run: {policy}",
            # The first run's session is processed too, and before the second's.
            replace(PROCESSED, inputs=2, others="processed"),
            settings=settings,
            server={"processing_seconds": 1.5},
            script=partial(killed, until=lambda stage: stage.door.wait_for_operation("close", answered=True)),
        )


def killed(stage: Stage, until: Callable[[Stage], object], messages: list[Any] = INPUT) -> Finished:
    """A run that is killed, and the next one.

    The first starts cold: the process of a warm one is not ours to kill.
    """
    process = stage.start(messages, cold=True, on_active_session="fail", client_reference_prefix=None)
    if messages is INPUT:
        end_of_input(process)
    until(stage)
    process.kill()
    process.communicate()
    stage.others_are_all()
    return stage.run(INPUT)


def conflicts() -> Iterator[Cell]:
    """A session of somebody else, or a held one: nothing may touch it."""
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
                    if faults and policy == "wait":
                        continue  # a 409 after a lost create is a question of whose it is, not of waiting
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
                    )


LOSSES: dict[str, tuple[Fault, ...]] = {"": (), ", a create lost": (Fault("create", nth=2, effect=Reset()),)}
"""The first create is the blocker's own."""


def meets(stage: Stage, prefix: str, suffix: str) -> Finished:
    stranger.open_session(stage.door, prefix, suffix)
    stage.others_are_all()
    return stage.run(INPUT)
