"""Around the close: changes between the last status read and the close, and counts that lag after it."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from target_sprinto.sandbox import Readings
from tests.support import another_client
from tests.support.faults.cells import CONTRARY, READINGS, Cell, read_as
from tests.support.faults.ends import EXPIRES, NO_POSTPONING, NOTHING_APPLIED, later_session, let_expire
from tests.support.faults.expectation import APPLIED_DIFFERS, DISCARDED, ENDED, PROCESSED
from tests.support.faults.invalid_responses import MISHAPS
from tests.support.faults.traffic import SCHEMAS
from tests.support.front_door import feed
from tests.support.sandbox import Edit, Fault, Hang, Late, Respond

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.faults.expectation import Expected
    from tests.support.faults.stage import Stage
    from tests.support.faults.traffic import Traffic
    from tests.support.front_door import Finished

NOT_OVER_A_NEWER_ONE = replace(ENDED.saying("expired; nothing was applied"), others="processed")
BUSY = Edit(lambda body: body | {"sessions": body["sessions"] | {"processing": 1}})
NEWER = later_session("apply")


def around(traffic: Traffic) -> Iterator[Cell]:
    yield from counts_after(traffic)
    yield from changed_before(traffic)
    yield from suspended(traffic)
    yield from noticed(traffic)
    yield from polled(traffic)
    yield from hidden(traffic)
    yield from slow(traffic)


def counts_after(traffic: Traffic) -> Iterator[Cell]:
    """The close's response and the first `processed` statuses show fewer records than were sent."""
    for base in (READINGS, CONTRARY):
        for how in ("stale", "empty", "null", "absent"):
            readings = replace(base, close_response_counts=how)
            yield Cell(
                f"counts in the close's response: {how}{read_as(base)}",
                PROCESSED,
                readings=readings,
                traffic=traffic,
            )
        lagging = replace(base, close_response_counts="stale", processed_counts_lag_seconds=0.5)
        yield Cell(f"counts lag at processed{read_as(base)}", PROCESSED, readings=lagging, traffic=traffic)
        yield Cell(
            f"counts lag at processed, for too long{read_as(base)}",
            APPLIED_DIFFERS.saying(traffic.format_counts()),
            readings=replace(base, processed_counts_lag_seconds=60.0),
            pace={"max_count_lag": 1.0},
            traffic=traffic,
        )
        yield Cell(
            f"counts lag at processed, for too long, on_count_mismatch=apply{read_as(base)}",
            PROCESSED.logging("The difference is ignored", traffic.format_counts()),
            readings=replace(base, processed_counts_lag_seconds=60.0),
            settings={"on_count_mismatch": "apply"},
            pace={"max_count_lag": 1.0},
            traffic=traffic,
        )


# Between the last status read and the close

MEANWHILE: dict[str, tuple[Expected, Readings]] = {
    "it expires, a newer one is applied": (NOT_OVER_A_NEWER_ONE, NO_POSTPONING),
    "it expires": (PROCESSED, NO_POSTPONING),
    "another client discards it": (NOTHING_APPLIED, READINGS),
    "a late copy lands": (DISCARDED.temporary, READINGS),
}


def happen(stage: Stage, what: str) -> None:
    """Make a change at Sprinto between the run's requests."""
    if what.startswith("it expires"):
        let_expire(stage)
        if "newer" in what:
            NEWER(stage)
    elif what == "a late copy lands":
        stage.release_and_wait(1)
    else:
        another_client.close_session(stage.door, stage.door.session().id, "discard")


def changed_before(traffic: Traffic) -> Iterator[Cell]:
    late = traffic.page(traffic.moments["last page"], effect=Late())
    for what, (expected, readings) in MEANWHILE.items():
        copies = (late,) if what == "a late copy lands" else ()
        for where, fault in {
            "other sessions are checked": Fault("integration_status", effect=Hang()),
            "the close gets a 429": Fault("close", effect=Respond(429, {"Retry-After": "3"})),
            "the close conflicts": Fault("close", effect=Respond(409)),
            "the close gets a 503": Fault("close", effect=Respond(503, {"Retry-After": "3"})),
        }.items():
            if where == "the close conflicts" and what != "another client discards it":
                # There is no time for it to happen.
                continue
            yield Cell(
                f"while {where}: {what}",
                expected,
                (fault, *copies),
                readings,
                settings={"request_timeout_seconds": max(1.0, traffic.timeout)},
                script=partial(meanwhile, what=what),
                traffic=traffic,
            )


def meanwhile(stage: Stage, what: str) -> Finished:
    process = stage.start_whole()
    stage.wait_for_fault()
    happen(stage, what)
    stage.release()
    return stage.finish(process)


def suspended(traffic: Traffic) -> Iterator[Cell]:
    """The process is suspended during the last status read."""
    for what, (expected, readings) in MEANWHILE.items():
        if what == "a late copy lands":
            continue
        yield Cell(
            f"suspended during the last status read: {what}",
            expected,
            (Fault("status", effect=Hang()),),
            readings,
            script=partial(stopped, what=what),
            traffic=traffic,
        )


STANDSTILL_SECONDS = 1.0


def stopped(stage: Stage, what: str) -> Finished:
    process = stage.start_whole()
    stage.wait_for_fault()
    process.send_signal(signal.SIGSTOP)
    stage.release()
    stage.wait_for_request(lambda seen: seen.operation == "status" and seen.ended_at)
    happen(stage, what)
    # It reads the status again only if it was suspended for a while, which no event shows.
    time.sleep(STANDSTILL_SECONDS)
    process.send_signal(signal.SIGCONT)
    return stage.finish(process)


# Noticed at once


def noticed(traffic: Traffic) -> Iterator[Cell]:
    yield Cell(
        "another client discards it while others are waited for",
        NOTHING_APPLIED,
        (Fault("integration_status", times=9999, effect=BUSY),),
        script=discarded_while_waiting,
        traffic=traffic,
    )
    yield Cell(
        "another client discards it while the tap is silent",
        NOTHING_APPLIED.saying("cancelled"),
        server=EXPIRES,
        script=discarded_while_silent,
        traffic=traffic,
    )


def discarded_while_waiting(stage: Stage) -> Finished:
    process = stage.start_whole()
    stage.wait_for_fault(times=2)
    another_client.close_session(stage.door, stage.door.session().id, "discard")
    return stage.finish(process)


def discarded_while_silent(stage: Stage) -> Finished:
    """The pipe stays open: the run ends on its own."""
    traffic = stage.traffic
    process = stage.start([*SCHEMAS])
    feed(process, traffic.records()[: traffic.volley])
    stage.wait_until_accepted(traffic.together)
    another_client.close_session(stage.door, stage.door.session().id, "discard")
    process.wait(timeout=40)
    return stage.finish(process)


def polled(traffic: Traffic) -> Iterator[Cell]:
    for name in ("429", "429 with Retry-After", "404", "401", "500"):
        fault = Fault("status", nth=2, times=2, effect=MISHAPS[name].effect("status"))
        yield Cell(f"twice among the polls: {name}", PROCESSED, (fault,), traffic=traffic)
    for name in ("429", "429 with Retry-After"):
        fault = Fault("close", times=3, effect=MISHAPS[name].effect("close"))
        yield Cell(
            f"thrice for the close: {name}",
            PROCESSED,
            (fault,),
            settings={"retry_timeout_seconds": 0.5},
            traffic=traffic,
        )


# Replicas, and slow responses


def hidden(traffic: Traffic) -> Iterator[Cell]:
    for base in (READINGS, CONTRARY):
        readings = replace(base, session_hidden_seconds=0.6)
        yield Cell(
            f"a session that a replica does not know yet{read_as(base)}",
            PROCESSED,
            readings=readings,
            traffic=traffic,
            in_flight=0,
        )
    readings = replace(READINGS, session_hidden_seconds=1.5)
    yield Cell(
        "a session that a replica does not know yet is discarded",
        DISCARDED.ending_with(143),
        readings=readings,
        script=stop_after_create,
        traffic=traffic,
        in_flight=0,
    )


def stop_after_create(stage: Stage) -> Finished:
    process = stage.start([*SCHEMAS, *stage.traffic.records()[: stage.traffic.volley]])
    stage.door.wait_for_operation("push", responded=True)
    return stage.stop(process, signal.SIGTERM)


def slow(traffic: Traffic) -> Iterator[Cell]:
    """Each response takes longer than one try of a discard, and more than half of its total time."""
    yield Cell(
        "slow responses: a discard after SIGTERM",
        DISCARDED.ending_with(143),
        readings=replace(READINGS, response_seconds=2.4),
        pace={"signal_shutdown_timeout": 4.0, "shutdown_request_timeout": 1.5},
        script=stop_after_pages,
        traffic=traffic,
        in_flight=0,
    )


def stop_after_pages(stage: Stage) -> Finished:
    process = stage.start([*SCHEMAS, *stage.traffic.records()[: stage.traffic.volley]])
    stage.wait_until_accepted(stage.traffic.together)
    return stage.stop(process, signal.SIGTERM)
