"""Records that Sprinto rejects are diverted while something else goes wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.support.faults.cells import CONTRARY, READINGS, Acts, Cell, read_as
from tests.support.faults.counts import ABOVE, BELOW, lasting
from tests.support.faults.ends import NO_POSTPONING, NOTHING_APPLIED, end_by, ended, let_expire
from tests.support.faults.expectation import (
    APPLIED_IN_PART,
    DISCARDED,
    MAY_BE_APPLIED,
    NOT_APPLIED_YET,
    PAGES,
    PROCESSED,
    Kind,
    after_losses,
    while_dividing,
)
from tests.support.faults.invalid_responses import MISHAPS, why_not
from tests.support.faults.kills import killed
from tests.support.faults.rejections import READ, RULES, a_team_in
from tests.support.faults.several_losses import named
from tests.support.faults.signals import BUSY
from tests.support.faults.traffic import marker, stream_of
from tests.support.front_door import SIGNALS
from tests.support.sandbox import Edit, Fault, Hang, Late, Reset, Respond

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator

    from tests.support.faults.expectation import Expected
    from tests.support.faults.stage import Stage
    from tests.support.faults.traffic import Traffic
    from tests.support.front_door import Finished

DIVERT: dict[str, Any] = {"on_invalid_record": "divert"}
SERVER = {"entities": RULES}


def diverting(traffic: Traffic) -> Iterator[Cell]:
    yield from wherever_named(traffic)
    yield from the_rest(traffic)
    yield from the_halves(traffic)
    yield from stopped(traffic)
    yield from too_many(traffic)
    yield from later_on(traffic)
    if traffic.together > 1:
        yield from beside_each_other(traffic)


def cell(name: str, expected: Expected, traffic: Traffic, *faults: Fault, **more: Any) -> Cell:  # noqa: ANN401
    """A cell under `divert`; `more` are its other fields."""
    return Cell(
        f"divert: {name}",
        expected,
        faults,
        more.pop("readings", READINGS),
        settings=DIVERT | more.pop("settings", {}),
        server=SERVER | more.pop("server", {}),
        traffic=traffic,
        **more,
    )


def in_each_page(traffic: Traffic) -> Traffic:
    return traffic.with_bad(*(a_team_in(traffic, moment) for moment in PAGES))


def wherever_named(traffic: Traffic) -> Iterator[Cell]:
    """Rejections only, without other faults."""
    for name, readings in READ.items():
        yield cell(
            f"a bad record in three pages, {name}", PROCESSED, in_each_page(traffic), readings=readings
        )
        every_fourth = traffic.with_bad(*range(1, traffic.count, 4))
        yield cell(f"every fourth record is bad, {name}", PROCESSED, every_fourth, readings=readings)
    yield cell("a bad record, named nowhere", PROCESSED, in_each_page(traffic), unnamed(traffic))


def unnamed(traffic: Traffic) -> Fault:
    """No rejection names the invalid record."""

    def strip(body: dict[str, Any]) -> dict[str, Any]:
        error = body.get("error")
        return body | {"error": error | {"details": []}} if error else body

    return Fault("push", times=9999, effect=Edit(strip), company=traffic.together)


SKIPPED = (Kind.ENCODING,)
"""The contract does not define whether the rest of the first compressed page counts as the first page."""


def mishaps(names: tuple[str, ...] = tuple(MISHAPS)) -> Iterator[tuple[str, Acts, dict[str, Any]]]:
    for name in names:
        mishap = MISHAPS[name]
        acts: Acts
        for acts in ("not acted", "acted"):
            if mishap.kind in SKIPPED or why_not("middle page", mishap, acts) or name == "unknown state":
                continue
            effect = mishap.effect("push")
            moment = "after" if acts == "acted" else "before"
            yield name, acts, {"moment": moment, "effect": effect}


def the_rest(traffic: Traffic) -> Iterator[Cell]:
    """The rest of a rejected page is sent, and its response is invalid."""
    for moment in ("first page", "last page"):
        bad = traffic.with_bad(a_team_in(traffic, moment))
        rest = traffic.moments[moment]
        names = tuple(MISHAPS) if moment == "first page" else FEW
        for name, acts, fault in mishaps(names):
            for readings in (READINGS, CONTRARY) if name in {"reset", "409"} else (READINGS,):
                yield cell(
                    f"{moment} rejected, the rest: {name}, {acts}{read_as(readings)}",
                    while_dividing(MISHAPS[name].kind),
                    bad,
                    traffic.page(rest, nth=2, **fault),
                    readings=readings,
                    settings=retry_policy(traffic, name),
                )


def retry_policy(traffic: Traffic, name: str) -> dict[str, float]:
    return {"request_timeout_seconds": traffic.timeout} if name == "hang" else {}


FEW = ("reset", "hang", "429 with Retry-After", "413", "400", "409", "403", "202 with a rejected count")


def the_halves(traffic: Traffic) -> Iterator[Cell]:
    """A rejected page is halved, and the response to a part of it is invalid."""
    numbers = traffic.pages[0]
    middle = numbers.start + len(numbers) // 2
    bad = traffic.with_bad(a_team_in(traffic, "first page"))
    assert bad.bad[0] < middle
    struck: dict[str, Callable[..., Fault]] = {
        "a half with the bad one": partial(traffic.page, 1, nth=2),
        "the other half": partial(Fault, "push", contains=marker(middle), nth=2),
        "a part of a half": partial(traffic.page, 1, nth=3),
    }
    for words, strike in struck.items():
        for name, acts, fault in mishaps(FEW):
            kind = MISHAPS[name].kind
            if kind is Kind.REJECTED and words == "a half with the bad one":
                continue  # it is rejected anyway
            yield cell(
                f"a page in halves, {words}: {name}, {acts}",
                while_dividing(kind),
                bad,
                strike(**fault),
                unnamed(traffic),
                settings={"compress": False, **retry_policy(traffic, name)},
            )


def stopped(traffic: Traffic) -> Iterator[Cell]:
    bad = in_each_page(traffic)
    rest = partial(traffic.page, 1, nth=2)
    moments: dict[str, tuple[Fault, ...]] = {
        "the rest hangs": (rest(effect=Hang()),),
        "the rest hangs, acted": (rest(moment="after", effect=Hang()),),
        "the rest acts after the end": (rest(effect=Late()),),
        "the rest is waiting for Retry-After": (rest(effect=BUSY),),
        "the rest is being resolved": (rest(effect=Reset()), Fault("status", effect=Hang())),
        "a half hangs": (rest(effect=Hang()), unnamed(traffic)),
    }
    for number, code in SIGNALS.items():
        for name, faults in moments.items():
            yield cell(
                f"{number.name} while {name}",
                DISCARDED.ending_with(code),
                bad,
                *faults,
                settings={"retry_timeout_seconds": 300, "compress": name != "a half hangs"},
                pace={"signal_shutdown_timeout": 4.0},
                script=partial(signalled, number=number),
            )


def signalled(stage: Stage, number: signal.Signals) -> Finished:
    process = stage.start_whole()
    asked = [index for index, fault in enumerate(stage.faults) if fault.operation == "status"]
    stage.wait_for_fault(asked[0] if asked else 0)
    finished = stage.stop(process, number)
    if isinstance(stage.faults[0].effect, Late):
        stage.release_and_wait()
    return finished


def too_many(traffic: Traffic) -> Iterator[Cell]:
    lost = traffic.page(1, nth=2, moment="after", effect=Reset())
    yield cell(
        "one more than `max_rejects`, a rest lost",
        DISCARDED.saying("[too-many-rejects]"),
        in_each_page(traffic),
        lost,
        settings={"max_rejects": 2},
    )
    yield cell(
        "as many as `max_rejects`, a rest lost",
        PROCESSED,
        in_each_page(traffic),
        lost,
        settings={"max_rejects": 3},
    )
    teams = traffic.with_bad(*range(1, traffic.count, 2))
    yield cell(
        "nothing of a type is accepted, a rest lost", DISCARDED.saying("[nothing-accepted]"), teams, lost
    )


def later_on(traffic: Traffic) -> Iterator[Cell]:
    """The pages are split, and a later step goes wrong."""
    bad = in_each_page(traffic)
    yield cell(
        "counts fall short permanently",
        DISCARDED.saying(bad.format_counts("people")),
        bad,
        lasting(BELOW),
        pace={"max_count_lag": 1.5},
    )
    yield cell("counts go over", DISCARDED.saying(bad.format_counts("people")), bad, lasting(ABOVE))
    for name, expected in (
        ("reset", PROCESSED),
        ("429", PROCESSED),
        ("403", DISCARDED),
    ):
        yield cell(f"close: {name}", expected, bad, Fault("close", effect=MISHAPS[name].effect("close")))
    landed = Fault("close", moment="after", effect=Reset())
    yield cell("close: reset, acted", PROCESSED, bad, landed)
    yield cell("poll: 403", MAY_BE_APPLIED, bad, Fault("status", nth=2, effect=Respond(403)))
    failing = {"processing_seconds": 0.3, "processing_outcomes": ["failed", "failed"]}
    yield cell("processing fails", NOT_APPLIED_YET.saying("failed"), bad, server=failing)
    held = traffic.page(1, nth=2, effect=Hang())
    yield cell(
        "expired while the rest hangs",
        NOTHING_APPLIED,
        bad,
        held,
        readings=NO_POSTPONING,
        script=partial(ended, end=let_expire),
    )
    for how, expected in (("discard", NOTHING_APPLIED), ("apply", APPLIED_IN_PART)):
        yield cell(
            f"another client ends it by {how} while the rest hangs",
            expected,
            bad,
            held,
            script=partial(ended, end=partial(end_by, status=how)),
        )
    yield cell(
        "SIGKILL while the rest hangs, next run",
        replace(PROCESSED, others="cancelled"),
        bad,
        held,
        settings={"on_active_session": "discard", "stale_session_seconds": 0},
        script=partial(killed, until=lambda stage: stage.wait_for_fault()),
    )


# Several pages at once


def beside_each_other(traffic: Traffic) -> Iterator[Cell]:
    """All pages in flight are rejected at once; several responses to the remaining records are lost."""
    every = range(1, traffic.together + 1)
    bad = traffic.with_bad(*(page[2] for page in traffic.pages[: traffic.together]))
    yield cell("a bad record in all at once", PROCESSED, bad)
    yield cell("a bad record in all at once, contrary readings", PROCESSED, bad, readings=CONTRARY)
    left = [Counter(stream_of(number) for number in page if number not in bad.bad) for page in traffic.pages]
    for lost, landed in (((1, 2), (2,)), ((1, 5), (5,)), ((2, 4, 7), ()), (tuple(every), tuple(every))):
        expected = after_losses([left[page - 1] for page in lost], [page in landed for page in lost])
        assert expected is not None
        yield cell(
            f"a bad record in all at once, the rests lost: {named(lost)}, landed: {named(landed)}",
            expected,
            bad,
            *(together(traffic, page, acted=page in landed) for page in lost),
        )
    one = traffic.with_bad(traffic.pages[3][2])
    for name, acts, fault in mishaps(("reset", "429 with Retry-After", "413", "409", "cut off")):
        yield cell(
            f"a bad record in one page, beside it: {name}, {acts}", PROCESSED, one, traffic.page(2, **fault)
        )
        yield cell(
            f"a bad record in one page, beside it: {name}, {acts}, and a response lost",
            PROCESSED,
            one,
            traffic.page(5, **fault),
            traffic.page(6, moment="after", effect=Reset()),
        )
    yield cell(
        "a bad record in one page, another rejected permanently",
        DISCARDED,
        one,
        traffic.page(2, effect=Respond(403)),
    )


def together(traffic: Traffic, page: int, *, acted: bool) -> Fault:
    """The remaining records of all pages are in flight at once."""
    moment: Any = "after" if acted else "before"
    return traffic.page(page, nth=2, moment=moment, effect=Reset(), company=2 * traffic.together)
