"""Processing that does not go as it should, and sessions that end before their run closes them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import stranger
from cells import CONTRARY, INPUT, PAGE_SIZE, READINGS, SCHEMAS, Cell, read_as, records
from expectation import ENDED, NOT_APPLIED_YET, PROCESSED, Expected
from front_door import STATE, feed
from stage import end_of_input

from target_sprinto.sandbox import Answer, Edit, Fault, Hang, Readings, Reset

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from front_door import Finished
    from stage import Stage

# Processing

NEVER = 1000.0
CLOSES: dict[str, tuple[Fault, ...]] = {
    "": (),
    ", the close's answer lost": (Fault("close", moment="after", effect=Reset()),),
    ", the close lost": (Fault("close", effect=Reset()),),
}


def processing() -> Iterator[Cell]:
    for readings in (READINGS, CONTRARY):
        for closed, faults in CLOSES.items():
            for name, (expected, server, more) in outcomes().items():
                yield Cell(
                    f"processing: {name}{closed}{read_as(readings)}",
                    expected,
                    (*faults, *more),
                    readings,
                    settings={"processing_timeout_seconds": 4},
                    server=server,
                    pace={"failed": 1.5},
                )


def outcomes() -> dict[str, tuple[Expected, dict[str, Any], tuple[Fault, ...]]]:
    uncounted = Edit(lambda body: body | {"state": "failed", "retry_count": 0})
    untold = Edit(lambda body: {k: v for k, v in body.items() if k != "retry_count"} | {"state": "failed"})
    sleepy = Edit(lambda body: body | {"state": "active"})
    failed = NOT_APPLIED_YET.saying("failed")
    # From the second status on at the latest the close has been sent; a close found out has one more before.
    return {
        "slow": (PROCESSED, {"processing_seconds": 1.5}, ()),
        "fails": (failed, {"processing_seconds": 0.3, "processing_outcomes": ["failed", "failed"]}, ()),
        "fails, then succeeds": (
            PROCESSED,
            {"processing_seconds": 0.3, "processing_outcomes": ["failed"]},
            (),
        ),
        "never ends": (NOT_APPLIED_YET, {"processing_seconds": NEVER}, ()),
        "stays failed with no retry counted": (
            failed,
            {"processing_seconds": NEVER},
            (Fault("status", nth=3, times=9999, effect=uncounted),),
        ),
        "stays failed with no retry told": (
            failed,
            {"processing_seconds": NEVER},
            (Fault("status", nth=3, times=9999, effect=untold),),
        ),
        "still shows active": (
            PROCESSED,
            {"processing_seconds": 1},
            (Fault("status", nth=3, times=3, effect=sleepy),),
        ),
    }


# Expiry, and other people

EXPIRES = {"inactivity_timeout_seconds": 1.0}
"""The session's own answer rounds to seconds, so it cannot be less."""

TWO_PAGES = records()[: 2 * PAGE_SIZE]
NO_POSTPONING = replace(READINGS, status_postpones_expiry=False)
NEWEST_FIRST = replace(NO_POSTPONING, activity_order="newest_first")
EXPIRED = ENDED.saying("expired, nothing was applied")
BY_EVERY_READING = {
    "": NO_POSTPONING,
    ", newest first": NEWEST_FIRST,
    ", log shows no reference": replace(NO_POSTPONING, log_shows_reference=False),
}


def session_ended() -> Iterator[Cell]:
    yield from silent_taps()
    yield from expired_before_the_close()
    yield from closed_by_somebody()


def silent_taps() -> Iterator[Cell]:
    yield Cell(
        "silent tap: status calls keep the session",
        PROCESSED,
        readings=READINGS,
        server=EXPIRES,
        script=partial(silent, until=lambda stage: stage.door.wait_for_operation("status", 6)),
    )
    for sent, name in ((PAGE_SIZE, "whole pages"), (PAGE_SIZE + 3, "a part-filled page")):
        for discards_expired in (False, True):
            readings = replace(NO_POSTPONING, discard_from_expired=discards_expired)
            words = ", may be discarded" if discards_expired else ""
            yield Cell(
                f"silent tap: expired in mid-run after {name}{words}",
                # Where it may be, an expired session is discarded: cancelled, nothing applied either.
                ENDED.saying("nothing was applied"),
                readings=readings,
                server=EXPIRES,
                script=partial(silent, sent=sent, until=until_expired),
            )
    yield Cell(
        "silent tap: it is told that the session will expire",
        ENDED.logging("Reading the status does not put off the session's expiry"),
        readings=NO_POSTPONING,
        server={"inactivity_timeout_seconds": 2.0},
        script=partial(silent, until=until_expired),
    )


def until_expired(stage: Stage) -> None:
    stage.wait_for_session(lambda session: session.state == "expired")


def silent(stage: Stage, until: Callable[[Stage], object], sent: int = PAGE_SIZE) -> Finished:
    """Some records, silence, the rest."""
    process = stage.start([*SCHEMAS, *records()[:sent]])
    stage.door.wait_for_operation("push", answered=True)
    until(stage)
    feed(process, [*records()[sent:], STATE])
    return stage.finish(process)


def expired_before_the_close() -> Iterator[Cell]:
    for words, readings in BY_EVERY_READING.items():
        for name, (expected, faults, meanwhile) in while_expired().items():
            yield Cell(
                f"expired before the close: {name}{words}",
                expected,
                faults,
                readings,
                settings={"page_size": 5},
                server=EXPIRES,
                script=partial(expire, meanwhile=meanwhile),
            )
        yield Cell(
            f"expired between the last status and the close{words}",
            PROCESSED,
            (Fault("close", effect=Hang()),),
            readings,
            server=EXPIRES,
            script=expire_while_closing,
        )


def while_expired() -> dict[str, tuple[Expected, tuple[Fault, ...], Callable[[Stage], None]]]:
    uncreated = Edit(
        lambda body: body | {"items": [item for item in body["items"] if item["type"] != "session_created"]}
    )
    wrong = Edit(lambda body: body | {"accepted_records_by_entity": {"people": 1, "teams": 12}})
    return {
        "it is the latest": (PROCESSED, (), lambda _: None),
        "a later one was discarded": (EXPIRED, (), later_session("discard")),
        "a later one was applied": (replace(EXPIRED, others="processed"), (), later_session("apply")),
        "a later one is active": (replace(EXPIRED, others="active"), (), later_session(None)),
        "the log shows no creation": (
            EXPIRED,
            (Fault("activity", times=99, effect=uncreated),),
            lambda _: None,
        ),
        "its counts are wrong": (
            EXPIRED,
            (Fault("status", nth=1, times=9999, effect=wrong),),
            lambda _: None,
        ),
        "the log gives no answer": (
            EXPIRED,
            (Fault("activity", times=99, effect=Answer(403)),),
            lambda _: None,
        ),
    }


def later_session(closed: str | None) -> Callable[[Stage], None]:
    def meanwhile(stage: Stage) -> None:
        session_id = stranger.open_session(stage.door)
        stage.others = {session_id}
        if closed:
            stranger.close_session(stage.door, session_id, closed)
            stage.wait_for_session(lambda s: s.id == session_id and s.state in {"processed", "cancelled"})

    return meanwhile


def expire(stage: Stage, meanwhile: Callable[[Stage], None]) -> Finished:
    """Every page is accepted, then the tap is silent for too long, then it ends."""
    process = stage.start([*SCHEMAS, *records()])
    stage.door.wait_for_operation("push", 5, answered=True)
    until_expired(stage)
    meanwhile(stage)
    feed(process, [STATE])
    return stage.finish(process)


def expire_while_closing(stage: Stage) -> Finished:
    process = closing(stage)
    until_expired(stage)
    stage.release()
    return stage.finish(process)


def closing(stage: Stage) -> subprocess.Popen[bytes]:
    """A run whose close hangs."""
    process = stage.start(INPUT)
    end_of_input(process)
    stage.wait_for_fault()
    return process


def closed_by_somebody() -> Iterator[Cell]:
    told = ENDED.saying("nothing was applied")
    applied = replace(ENDED, inputs=None)
    readings: Readings
    for readings in (READINGS, CONTRARY):
        words = read_as(readings)
        yield Cell(
            f"somebody discards it in mid-run{words}",
            told,
            readings=readings,
            script=partial(taken, status="discard"),
        )
        yield Cell(
            # Somebody else applied a part: no loader can undo that, so what is applied is not looked at.
            f"somebody applies it in mid-run{words}",
            applied,
            readings=readings,
            script=partial(taken, status="apply"),
        )
        hang = (Fault("close", effect=Hang()),)
        yield Cell(
            f"somebody discards it just before the close{words}",
            told,
            hang,
            readings,
            script=partial(closed_while_closing, status="discard"),
        )
        yield Cell(
            f"somebody applies it just before the close{words}",
            PROCESSED,
            hang,
            readings,
            script=partial(closed_while_closing, status="apply"),
        )


def taken(stage: Stage, status: str) -> Finished:
    process = stage.start([*SCHEMAS, *TWO_PAGES])
    stage.door.wait_for_operation("push", 2, answered=True)
    stranger.close_session(stage.door, stage.door.session().id, status)
    feed(process, [*records()[len(TWO_PAGES) :], STATE])
    return stage.finish(process)


def closed_while_closing(stage: Stage, status: str) -> Finished:
    process = closing(stage)
    stranger.close_session(stage.door, stage.door.session().id, status)
    stage.release()
    return stage.finish(process)
