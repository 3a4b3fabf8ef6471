"""Processing that goes wrong, and sessions that end before their run closes them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from target_sprinto.sandbox import Readings
from tests.support import another_client
from tests.support.faults.cells import CONTRARY, READINGS, Cell, read_as
from tests.support.faults.expectation import APPLIED_IN_PART, ENDED, NOT_APPLIED_YET, PROCESSED, Expected
from tests.support.faults.traffic import SCHEMAS
from tests.support.front_door import STATE, feed
from tests.support.sandbox import Edit, Fault, Hang, Reset, Respond

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from tests.support.faults.stage import Stage
    from tests.support.faults.traffic import Traffic
    from tests.support.front_door import Finished

# Processing

NEVER = 1000.0
CLOSES: dict[str, tuple[Fault, ...]] = {
    "": (),
    ", the close's response lost": (Fault("close", moment="after", effect=Reset()),),
    ", the close lost": (Fault("close", effect=Reset()),),
}


def processing(traffic: Traffic) -> Iterator[Cell]:
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
                    pace={"failed_final_after": 1.5},
                    traffic=traffic,
                )


def outcomes() -> dict[str, tuple[Expected, dict[str, Any], tuple[Fault, ...]]]:
    uncounted = Edit(lambda body: body | {"state": "failed", "retry_count": 0})
    untold = Edit(lambda body: {k: v for k, v in body.items() if k != "retry_count"} | {"state": "failed"})
    sleepy = Edit(lambda body: body | {"state": "active"})
    failed = NOT_APPLIED_YET.saying("failed")
    # The close is sent before the second status at the latest; resolving a close takes one status more.
    return {
        "slow": (PROCESSED, {"processing_seconds": 1.5}, ()),
        "fails": (failed, {"processing_seconds": 0.3, "processing_outcomes": ["failed", "failed"]}, ()),
        "fails, then succeeds": (
            PROCESSED,
            {"processing_seconds": 0.3, "processing_outcomes": ["failed"]},
            (),
        ),
        "never ends": (NOT_APPLIED_YET.temporary, {"processing_seconds": NEVER}, ()),
        "stays failed with no retry counted": (
            failed,
            {"processing_seconds": NEVER},
            (Fault("status", nth=3, times=9999, effect=uncounted),),
        ),
        "stays failed with no retry reported": (
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


# Expiry, and other clients

EXPIRES = {"inactivity_timeout_seconds": 1.0}
"""A session's response rounds to seconds, so this is the minimum."""

NO_POSTPONING = replace(READINGS, status_postpones_expiry=False)
NEWEST_FIRST = replace(NO_POSTPONING, activity_order="newest_first")
EXPIRED = ENDED.saying("expired; nothing was applied")
BY_EVERY_READING = {
    "": NO_POSTPONING,
    ", newest first": NEWEST_FIRST,
    ", log shows no reference": replace(NO_POSTPONING, log_shows_reference=False),
}


def session_ended(traffic: Traffic) -> Iterator[Cell]:
    yield from silent_taps(traffic)
    yield from expired_before_the_close(traffic)
    yield from closed_by_another_client(traffic)
    yield from ended_in_flight(traffic)


def silent_taps(traffic: Traffic) -> Iterator[Cell]:
    yield Cell(
        "silent tap: status calls keep the session",
        PROCESSED,
        readings=READINGS,
        server=EXPIRES,
        script=partial(silent, until=lambda stage: stage.door.wait_for_operation("status", 6)),
        traffic=traffic,
    )
    for more, name in ((0, "whole pages"), (3, "a part-filled page")):
        for discards_expired in (False, True):
            readings = replace(NO_POSTPONING, discard_from_expired=discards_expired)
            words = ", may be discarded" if discards_expired else ""
            yield Cell(
                f"silent tap: expired in mid-run after {name}{words}",
                # If possible, an expired session is discarded: cancelled, so nothing is applied either.
                ENDED.saying("nothing was applied"),
                readings=readings,
                server=EXPIRES,
                script=partial(silent, more=more, until=until_expired),
                traffic=traffic,
            )
    yield Cell(
        "silent tap: the log says that the session will expire",
        ENDED.logging("Reading the status does not extend the session's expiry"),
        readings=NO_POSTPONING,
        server={"inactivity_timeout_seconds": 2.0},
        script=partial(silent, until=until_expired),
        traffic=traffic,
    )


def until_expired(stage: Stage) -> None:
    stage.wait_for_session(lambda session: session.state == "expired")


def let_expire(stage: Stage) -> None:
    """Let the session expire now: a short timeout could end too soon on a slow machine."""
    stage.door.sandbox.expire(stage.door.integration_id)
    until_expired(stage)


def silent(stage: Stage, until: Callable[[Stage], object], more: int = 0) -> Finished:
    """Send some records, pause, send the rest."""
    records, sent = stage.traffic.records(), stage.traffic.volley + more
    process = stage.start([*SCHEMAS, *records[:sent]])
    stage.wait_until_accepted(stage.traffic.together)
    until(stage)
    feed(process, [*records[sent:], STATE])
    return stage.finish(process)


def expired_before_the_close(traffic: Traffic) -> Iterator[Cell]:
    # So that no page is left part-filled.
    even = replace(traffic, sizes=(5,)) if traffic.together == 1 else traffic
    for words, readings in BY_EVERY_READING.items():
        for name, (expected, faults, meanwhile) in while_expired().items():
            yield Cell(
                f"expired before the close: {name}{words}",
                expected,
                faults,
                readings,
                script=partial(expire, meanwhile=meanwhile),
                traffic=even,
            )
        yield Cell(
            f"expired between the last status and the close{words}",
            PROCESSED,
            (Fault("close", effect=Hang()),),
            readings,
            script=expire_while_closing,
            traffic=traffic,
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
            EXPIRED.ending_with(1),
            (Fault("status", nth=1, times=9999, effect=wrong),),
            lambda _: None,
        ),
        "the log gives no response": (
            EXPIRED.ending_with(1),
            (Fault("activity", times=99, effect=Respond(403)),),
            lambda _: None,
        ),
    }


def later_session(closed: str | None) -> Callable[[Stage], None]:
    def meanwhile(stage: Stage) -> None:
        session_id = another_client.open_session(stage.door)
        stage.others = {session_id}
        if closed:
            another_client.close_session(stage.door, session_id, closed)
            stage.wait_for_session(lambda s: s.id == session_id and s.state in {"processed", "cancelled"})

    return meanwhile


def expire(stage: Stage, meanwhile: Callable[[Stage], None]) -> Finished:
    """Every page is accepted, then the tap is silent for too long and ends."""
    process = stage.start([*SCHEMAS, *stage.traffic.records()])
    stage.wait_until_accepted(len(stage.traffic.pages))
    let_expire(stage)
    meanwhile(stage)
    feed(process, [STATE])
    return stage.finish(process)


def expire_while_closing(stage: Stage) -> Finished:
    process = closing(stage)
    let_expire(stage)
    stage.release()
    return stage.finish(process)


def closing(stage: Stage) -> subprocess.Popen[bytes]:
    """Start a run whose close hangs."""
    process = stage.start_whole()
    stage.wait_for_fault()
    return process


NOTHING_APPLIED = ENDED.saying("nothing was applied")


def closed_by_another_client(traffic: Traffic) -> Iterator[Cell]:
    readings: Readings
    for readings in (READINGS, CONTRARY):
        words = read_as(readings)
        yield Cell(
            f"another client discards it in mid-run{words}",
            NOTHING_APPLIED,
            readings=readings,
            script=partial(taken, status="discard"),
            traffic=traffic,
        )
        yield Cell(
            f"another client applies it in mid-run{words}",
            APPLIED_IN_PART,
            readings=readings,
            script=partial(taken, status="apply"),
            traffic=traffic,
        )
        hang = (Fault("close", effect=Hang()),)
        yield Cell(
            f"another client discards it just before the close{words}",
            NOTHING_APPLIED,
            hang,
            readings,
            script=partial(closed_while_closing, status="discard"),
            traffic=traffic,
        )
        yield Cell(
            f"another client applies it just before the close{words}",
            PROCESSED,
            hang,
            readings,
            script=partial(closed_while_closing, status="apply"),
            traffic=traffic,
        )


def taken(stage: Stage, status: str) -> Finished:
    pages = max(2, stage.traffic.together)
    records, sent = stage.traffic.records(), stage.traffic.pages[pages - 1].stop
    process = stage.start([*SCHEMAS, *records[:sent]])
    stage.wait_until_accepted(pages)
    another_client.close_session(stage.door, stage.door.session().id, status)
    feed(process, [*records[sent:], STATE])
    return stage.finish(process)


def closed_while_closing(stage: Stage, status: str) -> Finished:
    process = closing(stage)
    another_client.close_session(stage.door, stage.door.session().id, status)
    stage.release()
    return stage.finish(process)


# While pages are in flight


def ended_in_flight(traffic: Traffic) -> Iterator[Cell]:
    """The session ends while pages are held: all, some or none are staged, the others rejected."""
    for name, faults in in_flight(traffic).items():
        for words, readings in {"": NO_POSTPONING, ", contrary readings": CONTRARY}.items():
            yield Cell(
                f"expired with pages in flight, {name}{words}",
                NOTHING_APPLIED,
                faults,
                readings,
                script=partial(ended, end=let_expire, until=all_in_flight),
                traffic=traffic,
            )
            for status, expected in {"discard": NOTHING_APPLIED, "apply": APPLIED_IN_PART}.items():
                yield Cell(
                    f"another client ends it by {status} with pages in flight, {name}{words}",
                    expected,
                    faults,
                    readings,
                    script=partial(ended, end=partial(end_by, status=status), until=all_in_flight),
                    traffic=traffic,
                )


def in_flight(traffic: Traffic) -> dict[str, tuple[Fault, ...]]:
    held = Fault("push", times=traffic.together, company=traffic.together, effect=Hang())
    cases: dict[str, tuple[Fault, ...]] = {
        "nothing staged": (held,),
        "staged and not answered": (replace(held, moment="after"),),
    }
    if traffic.together > 1:
        half = traffic.together // 2
        cases["some accepted"] = (
            replace(held, nth=half + 1, times=traffic.together - half),
            replace(traffic.gathered(), times=half),
        )
        cases["some lost"] = (
            replace(held, nth=half + 1, times=traffic.together - half),
            replace(held, times=half, effect=Reset()),
        )
    return cases


def end_by(stage: Stage, status: str) -> None:
    another_client.close_session(stage.door, stage.door.session().id, status)


def all_in_flight(stage: Stage) -> None:
    stage.wait_for_volley()
    if stage.faults[0].moment == "after":
        stage.wait_for_acts(stage.traffic.together)


def ended(
    stage: Stage,
    end: Callable[[Stage], None],
    until: Callable[[Stage], None] = lambda stage: stage.wait_for_fault(),
) -> Finished:
    """`until` waits for the moment at which another client or expiry ends the session."""
    process = stage.start_whole()
    until(stage)
    end(stage)
    stage.release()
    return stage.finish(process)
