"""Dry runs with faults: nothing is applied, no STATE is written, rejections are listed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.support.faults.cells import READINGS, Acts, Cell
from tests.support.faults.counts import ABOVE, BELOW, lasting
from tests.support.faults.discards import PACE, closes, statuses
from tests.support.faults.diverting import in_each_page, signalled, unnamed
from tests.support.faults.ends import NO_POSTPONING, NOTHING_APPLIED, end_by, ended, let_expire
from tests.support.faults.expectation import (
    APPLIED_IN_PART,
    DISCARDED,
    DRY_RUN,
    PAGES,
    PROCESSED,
    WOULD_BE_REFUSED,
    Kind,
    after_one,
)
from tests.support.faults.invalid_responses import MISHAPS, why_not
from tests.support.faults.rejections import READ, RULES
from tests.support.front_door import SIGNALS
from tests.support.sandbox import Fault, Hang, Reset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.faults.expectation import Expected
    from tests.support.faults.traffic import Traffic


def dry_runs(traffic: Traffic) -> Iterator[Cell]:
    yield from with_bad_records(traffic)
    yield from invalid_pages(traffic)
    yield from at_the_end(traffic)
    yield from discarding(traffic)
    yield from stopped(traffic)


def cell(name: str, expected: Expected, traffic: Traffic, *faults: Fault, **more: Any) -> Cell:  # noqa: ANN401
    """A cell of a dry run; `more` are its other fields."""
    return Cell(
        f"dry run: {name}",
        expected,
        faults,
        more.pop("readings", READINGS),
        settings={"dry_run": True} | more.pop("settings", {}),
        server={"entities": RULES} | more.pop("server", {}),
        traffic=traffic,
        **more,
    )


def with_bad_records(traffic: Traffic) -> Iterator[Cell]:
    bad = in_each_page(traffic)
    yield cell("all is well", DRY_RUN, traffic)
    for name, readings in READ.items():
        for policy in ("fail", "divert"):
            yield cell(
                f"a bad record in three pages, {policy}, {name}",
                WOULD_BE_REFUSED,
                bad,
                readings=readings,
                settings={"on_invalid_record": policy},
            )
    yield cell("a bad record, named nowhere", WOULD_BE_REFUSED, bad, unnamed(traffic))
    for acted in (False, True):
        lost = traffic.page(1, nth=2, moment="after" if acted else "before", effect=Reset())
        words = "acted" if acted else "not acted"
        yield cell(f"a bad record, the rest lost, {words}", WOULD_BE_REFUSED, bad, lost)
        yield cell(
            f"a bad record, a half lost, {words}",
            WOULD_BE_REFUSED,
            bad,
            lost,
            unnamed(traffic),
            settings={"compress": False},
        )
    busy = traffic.page(1, nth=2, effect=MISHAPS["429 with Retry-After"].effect("push"))
    yield cell("a bad record, the rest: 429", WOULD_BE_REFUSED, bad, busy)
    refused = traffic.page(1, nth=2, effect=MISHAPS["403"].effect("push"))
    yield cell("a bad record, the rest: 403", DISCARDED, bad, refused)
    yield cell(
        "one more bad record than `max_rejects`",
        DISCARDED.saying("[too-many-rejects]", "the list is not complete"),
        bad,
        settings={"max_rejects": 2},
    )


INVALID = (
    "reset",
    "hang",
    "500",
    "cut off",
    "an empty body",
    "429 with Retry-After",
    "503 for too long",
    "409",
    "413",
    "403",
    "404",
    "202 with a rejected count",
)


def invalid_pages(traffic: Traffic) -> Iterator[Cell]:
    for moment in PAGES:
        for name in INVALID:
            mishap = MISHAPS[name]
            acts: Acts
            for acts in ("not acted", "acted"):
                if why_not(moment, mishap, acts) is None:
                    suffix = f", {acts}" if mishap.kind is Kind.LOST else ""
                    yield cell(
                        f"{moment}: {name}{suffix}",
                        in_a_dry_run(after_one(moment, mishap.kind, READINGS, acted=acts == "acted")),
                        traffic,
                        *traffic.strike(
                            moment,
                            moment="after" if acts == "acted" else "before",
                            effect=mishap.effect("push"),
                        ),
                        settings={"request_timeout_seconds": traffic.timeout} if name == "hang" else {},
                    )


def in_a_dry_run(expected: Expected) -> Expected:
    """The outcome of a dry run: a run that recovers becomes a complete dry run."""
    return DRY_RUN if expected is PROCESSED else expected


def at_the_end(traffic: Traffic) -> Iterator[Cell]:
    sent = traffic.format_counts("people")
    yield cell("counts lag for three looks", DRY_RUN, traffic, Fault("status", times=3, effect=BELOW))
    yield cell(
        "counts fall short permanently",
        DISCARDED.saying(sent),
        traffic,
        lasting(BELOW),
        pace={"max_count_lag": 1.5},
    )
    yield cell("counts go over", DISCARDED.saying(sent), traffic, lasting(ABOVE))
    for name in ("reset", "500", "429 with Retry-After"):
        fault = Fault("status", effect=MISHAPS[name].effect("status"))
        yield cell(f"status: {name}", DRY_RUN, traffic, fault)
    for name in ("403", "no fields"):
        fault = Fault("status", effect=MISHAPS[name].effect("status"))
        yield cell(f"status: {name}", DISCARDED, traffic, fault)
    held = Fault("close", effect=Hang())
    yield cell(
        "expired before the discard",
        NOTHING_APPLIED,
        traffic,
        held,
        readings=NO_POSTPONING,
        script=partial(ended, end=let_expire),
    )
    yield cell(
        "another client discards it before",
        DRY_RUN,
        traffic,
        held,
        script=partial(ended, end=partial(end_by, status="discard")),
    )
    yield cell(
        "another client applies it before",
        APPLIED_IN_PART,
        traffic,
        held,
        script=partial(ended, end=partial(end_by, status="apply")),
    )


def discarding(traffic: Traffic) -> Iterator[Cell]:
    """The final discard fails, and so does the dry run unless it recovers."""
    for name, expected, faults in (*closes(), *of_the_discard()):
        yield cell(
            f"its discard: {name}",
            DRY_RUN if expected is DISCARDED else expected,
            traffic,
            *faults,
            settings={"request_timeout_seconds": traffic.timeout},
            pace=PACE,
        )


def of_the_discard() -> Iterator[tuple[str, Expected, tuple[Fault, ...]]]:
    """The number of a status after the discard; the first one reconciles."""
    for name, expected, faults in statuses():
        yield name, expected, tuple(replace(fault, nth=2) for fault in faults)


def stopped(traffic: Traffic) -> Iterator[Cell]:
    bad = in_each_page(traffic)
    for number, code in SIGNALS.items():
        for name, faults in {
            "a page hangs": (traffic.page(1, effect=Hang()),),
            "the rest of a page hangs": (traffic.page(1, nth=2, effect=Hang()),),
            "reconciling": (Fault("status", effect=Hang()),),
        }.items():
            yield cell(
                f"{number.name} while {name}",
                DISCARDED.ending_with(code),
                bad,
                *faults,
                pace={"signal_shutdown_timeout": 4.0},
                script=partial(signalled, number=number),
            )
