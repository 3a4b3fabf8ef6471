"""Eight pages in flight, with several responses lost or otherwise wrong at once."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any

from tests.support.faults.cells import CONTRARY, READINGS, Cell, read_as
from tests.support.faults.expectation import DISCARDED, PROCESSED, Kind, after_losses, after_one
from tests.support.faults.invalid_responses import HTML, MISHAPS
from tests.support.faults.late import released_after, released_while_resolving
from tests.support.faults.traffic import ALL_DISTINGUISHABLE, EIGHT, SINGLE, marker, stream_of
from tests.support.sandbox import CutOff, Delay, Drop, Fault, Hang, Late, Reset, Respond

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.support.faults.expectation import Expected
    from tests.support.faults.stage import Stage
    from tests.support.faults.traffic import Traffic
    from tests.support.front_door import Finished
    from tests.support.sandbox import Effect

FOR_GOOD = 9999
ALL = (1, 2, 3, 4, 5, 6, 7, 8)
LOSSES: tuple[Effect, ...] = (
    Reset(),
    Respond(500),
    Drop(),
    Respond(503),
    Respond(408),
    Respond(202, body=HTML),
)
"""Responses lost at the same time are lost in different ways."""

LANDINGS: tuple[Effect, ...] = (*LOSSES, CutOff(10))


def several(traffic: Traffic) -> Iterator[Cell]:
    """`traffic` has eight pages in flight."""
    yield from subsets(traffic)
    yield from with_timeouts(traffic)
    yield from landing_late(traffic)
    yield from lost_again(traffic)
    yield from failing_status(traffic)
    yield from halves(traffic)
    yield from beside(traffic)
    yield from volleys(traffic)
    yield from mixtures(traffic)


def struck(traffic: Traffic, lost: Iterable[int], landed: Iterable[int]) -> tuple[Fault, ...]:
    """Some pages whose responses are lost; some of them have landed."""
    losses, landings = cycle(LOSSES), cycle(LANDINGS)
    return tuple(
        traffic.page(number, moment="after", effect=next(landings))
        if number in set(landed)
        else traffic.page(number, effect=next(losses))
        for number in lost
    )


def named(numbers: Iterable[int]) -> str:
    return " ".join(map(str, sorted(numbers))) or "none"


def from_losses(traffic: Traffic, lost: Iterable[int], landed: Iterable[int]) -> Expected | None:
    lost = sorted(lost)
    pages = [traffic.counts_of(number) for number in lost]
    return after_losses(pages, [number in set(landed) for number in lost])


# Which of the lost have landed

CHOSEN: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    (ALL, ()),
    (ALL, ALL),
    (ALL, (1,)),
    (ALL, (2, 4, 6, 8)),
    ((1, 2), (2,)),
    # With at most ten records per page: two of the same size,
    ((1, 5), ()),
    ((1, 5), (5,)),
    ((1, 5), (1, 5)),
    # two that differ by entity type,
    ((2, 6), (6,)),
    # and two pairs with the same sum.
    ((1, 2, 3, 6), (1, 3)),
    ((1, 2, 3, 6), (1, 3, 6)),
)


def subsets(traffic: Traffic) -> Iterator[Cell]:
    chosen = random.Random(traffic.page_size)  # noqa: S311 - a matrix that is the same each time
    drawn: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    while len(drawn) < 12:
        lost = tuple(sorted(chosen.sample(ALL, chosen.randint(2, 8))))
        landed = tuple(number for number in lost if chosen.random() < 0.5)
        if (lost, landed) not in {*CHOSEN, *drawn} and from_losses(traffic, lost, landed):
            drawn.append((lost, landed))
    for lost, landed in (*CHOSEN, *drawn):
        expected = from_losses(traffic, lost, landed)
        assert expected is not None
        for readings in (READINGS, CONTRARY) if lost == ALL else (READINGS,):
            yield Cell(
                f"lost at once: {named(lost)}, landed: {named(landed)}{read_as(readings)}",
                expected,
                struck(traffic, lost, landed),
                readings,
                traffic=traffic,
            )


def with_timeouts(traffic: Traffic) -> Iterator[Cell]:
    """Lost at different times: resolving waits for the last one."""
    settings = {"request_timeout_seconds": traffic.timeout}
    for name, faults, landed in (
        ("all", [traffic.page(number, effect=Hang()) for number in ALL], ()),
        ("all, acted", [traffic.page(number, moment="after", effect=Hang()) for number in ALL], ALL),
        (
            "some, others lost before",
            [
                traffic.page(1, effect=Hang()),
                traffic.page(2, moment="after", effect=Hang()),
                traffic.page(3, effect=Reset()),
                traffic.page(4, moment="after", effect=Reset()),
            ],
            (2, 4),
        ),
    ):
        lost = ALL[: len(faults)]
        yield Cell(
            f"timeouts at once: {name}",
            from_losses(traffic, lost, landed) or PROCESSED,
            tuple(faults),
            settings=settings,
            traffic=traffic,
        )


# Late

PACE = {"recheck_interval": 0.5}


def landing_late(traffic: Traffic) -> Iterator[Cell]:
    settings = {"request_timeout_seconds": traffic.timeout}
    late, lost, landed = (3, 4), (1, 2, 3, 4), (2, 3, 4)
    expected = from_losses(traffic, lost, landed)
    assert expected is not None
    yield Cell(
        "late at once: two land while they and others are being resolved",
        expected,
        (*struck(traffic, (1, 2), (2,)), *(traffic.page(number, effect=Late(0.0)) for number in late)),
        settings=settings,
        pace=PACE,
        traffic=traffic,
    )
    yield Cell(
        "late at once: all land while they are being resolved",
        PROCESSED,
        tuple(traffic.page(number, effect=Late(0.0)) for number in ALL),
        settings=settings,
        pace=PACE,
        traffic=traffic,
    )
    for numbers in ((2,), (1, 3), ALL):
        faults = tuple(traffic.page(number, effect=Late()) for number in numbers)
        others = struck(traffic, (5, 8), ()) if numbers != ALL else ()
        yield Cell(
            f"late at once: {named(numbers)} after they were resent",
            DISCARDED.temporary,
            (*faults, *others),
            settings=settings,
            pace={"quiet_period": 1.5},
            script=partial(let_go, pages=numbers, how_many=len(numbers)),
            traffic=traffic,
        )
        if len(numbers) == 1:
            continue
        yield Cell(
            f"late at once: one of {named(numbers)} after they were resent",
            DISCARDED.temporary,
            (*faults, *others),
            settings=settings,
            pace={"quiet_period": 1.5},
            script=partial(let_go, pages=numbers, how_many=1),
            traffic=traffic,
        )


def let_go(stage: Stage, pages: tuple[int, ...], how_many: int) -> Finished:
    process = stage.start_whole()
    for page in pages:
        stage.wait_until_sent_again(page)
    for index in range(how_many):
        stage.release_and_wait(index)
    finished = stage.finish(process)
    for index in range(how_many, len(pages)):
        stage.release_and_wait(index)
    return finished


# Lost again


def lost_again(traffic: Traffic) -> Iterator[Cell]:
    lost = struck(traffic, (2, 4, 7), ())
    for name, second in (
        ("not acted", {"effect": Reset()}),
        ("acted", {"moment": "after", "effect": Reset()}),
    ):
        again = tuple(traffic.page(number, nth=2, **second) for number in (2, 4, 7))
        yield Cell(f"lost again: all, {name}", PROCESSED, (*lost, *again), traffic=traffic)
        yield Cell(f"lost again: one, {name}", PROCESSED, (*lost, again[1]), traffic=traffic)
    settings = {"request_timeout_seconds": traffic.timeout}
    for name, second, expected in (
        # The first try has landed, the second has not: one copy, and either try may be the one that landed.
        ("the first lands while the second is being resolved", {"effect": Reset()}, PROCESSED),
        ("both land", {"moment": "after", "effect": Reset()}, DISCARDED.temporary),
    ):
        yield Cell(
            f"lost again: {name}",
            expected,
            (
                traffic.page(4, effect=Late()),
                traffic.page(4, nth=2, **second),
                # Two status reads came before the resend; this one is the first for the second loss.
                Fault("status", nth=3, effect=Hang()),
            ),
            settings=settings,
            pace={"recheck_interval": 0.5, "quiet_period": 1.5},
            script=released_while_resolving(2),
            traffic=traffic,
        )


def mistaken() -> Iterator[Cell]:
    """A resent page lands late when another of its size is lost: it must not be mistaken for that one."""
    for traffic, other in ((SINGLE, 2), (EIGHT, 9), (ALL_DISTINGUISHABLE, 9)):
        assert traffic.counts_of(1) == traffic.counts_of(other)
        late = traffic.page(1, effect=Late())
        for name, second in (("not acted", {}), ("acted", {"moment": "after"})):
            # The counts are the same whether it acted or not, so this cannot be decided.
            yield Cell(
                f"late, when another page of the same size is lost, {name}",
                DISCARDED.temporary,
                (late, traffic.page(other, effect=Reset(), **second)),
                settings={"request_timeout_seconds": traffic.timeout},
                pace={"recheck_interval": 0.5, "quiet_period": 3.0},
                script=released_after(lambda stage: stage.wait_for_fault(1))
                if name == "not acted"
                else released_at_the_end,
                traffic=traffic,
            )


def released_at_the_end(stage: Stage) -> Finished:
    finished = stage.run(stage.traffic.input)
    stage.release_and_wait()
    return finished


# Resolving


def failing_status(traffic: Traffic) -> Iterator[Cell]:
    """The status that would resolve the losses fails too."""
    for lost, landed in (((1, 2, 3), (1, 3)),):
        faults = struck(traffic, lost, landed)
        found = from_losses(traffic, lost, landed)
        assert found is not None
        for name in ("reset", "500", "cut off", "429 with Retry-After", "a proxy's page with 200"):
            look = Fault("status", times=2, effect=MISHAPS[name].effect("status"))
            yield Cell(f"lost at once, its status: {name}", found, (*faults, look), traffic=traffic)
        look = Fault("status", effect=MISHAPS["404"].effect("status"))
        yield Cell("lost at once, its status: 404", found, (*faults, look), traffic=traffic)
        for name in ("403", "no fields", "unknown state"):
            look = Fault("status", effect=MISHAPS[name].effect("status"))
            yield Cell(f"lost at once, its status: {name}", DISCARDED, (*faults, look), traffic=traffic)


def halves(traffic: Traffic) -> Iterator[Cell]:
    """A page too large among the others, and the responses to its halves are lost."""
    numbers = traffic.pages[2]
    middle = numbers.start + len(numbers) // 2
    parts = [
        Counter(stream_of(number) for number in part)
        for part in (range(numbers.start, middle), range(middle, numbers.stop))
    ]
    second = partial(Fault, "push", contains=marker(middle), nth=2, company=10)
    first = partial(traffic.page, 3, nth=2, company=10)
    for name, landed in (
        ("neither", (False, False)),
        ("the first", (True, False)),
        ("the second", (False, True)),
        ("both", (True, True)),
    ):
        yield Cell(
            f"too large, both halves lost, landed: {name}",
            after_losses(parts, landed) or PROCESSED,
            (
                traffic.page(3, effect=Respond(413)),
                *(
                    half(moment="after" if acted else "before", effect=Reset())
                    for half, acted in zip((first, second), landed, strict=True)
                ),
            ),
            traffic=traffic,
        )


# Other responses beside

BESIDE = (
    "429 with Retry-After",
    "429",
    "425",
    "503 with Retry-After",
    "503 for too long",
    "413",
    "409",
    "400",
    "415",
    "401",
    "403",
    "404",
    "407",
    "302",
    "202 with a rejected count",
)


def beside(traffic: Traffic) -> Iterator[Cell]:
    """Some responses are lost, one is invalid in another way, before or after the others."""
    lost, landed = (2, 3, 6), (3,)
    for lost_too in ((), (5,)):
        assert from_losses(traffic, (*lost, *lost_too), landed) is PROCESSED
    for name in BESIDE:
        mishap = MISHAPS[name]
        moment: Any = "after" if mishap.always_acts else "before"
        for when, where, pause in (("before", "first page", 0.0), ("after", "middle page", 0.2)):
            expected = after_one(where, mishap.kind, READINGS, acted=False)
            if mishap.kind is Kind.NOT_NOW_AT_ALL:
                expected = expected.saying("retry_timeout_seconds")
            yield Cell(
                f"lost at once, and {when} that: {name}",
                expected,
                (
                    traffic.page(5, moment=moment, effect=mishap.effect("push"), pause=pause),
                    *(replace(fault, pause=0.1) for fault in struck(traffic, lost, landed)),
                    traffic.gathered(0.1),
                ),
                traffic=traffic,
            )


def volleys(traffic: Traffic) -> Iterator[Cell]:
    """All eight get the same response."""
    for name in ("429 with Retry-After", "429", "503 with Retry-After", "413", "409", "415"):
        for times in (1, 2):
            if (name, times) == ("415", 2):
                continue  # a second rejection is about the records
            faults = tuple(
                traffic.page(number, nth=nth, effect=MISHAPS[name].effect("push"))
                for number in ALL
                for nth in range(1, times + 1)
            )
            # Sixteen responses that each request a second would exceed the tests' retry budget.
            patient = {"retry_timeout_seconds": 30}
            yield Cell(
                f"all at once: {name}, {times} times", PROCESSED, faults, settings=patient, traffic=traffic
            )


def mixtures(traffic: Traffic) -> Iterator[Cell]:
    """Each page gets a different response."""
    if traffic is not ALL_DISTINGUISHABLE:
        return
    outcomes: tuple[dict[str, Any], ...] = (
        {"effect": Delay(0.1)},
        {"effect": Reset()},
        {"effect": Reset(), "moment": "after"},
        {"effect": CutOff(10)},
        {"effect": Respond(429, {"Retry-After": "1"})},
        {"effect": Respond(413)},
        {"effect": Respond(409)},
        {"effect": Hang()},
        {"effect": Hang(), "moment": "after"},
    )
    for seed in range(12):
        chosen = random.Random(seed)  # noqa: S311 - a matrix that is the same each time
        drawn = [chosen.choice(outcomes) | {"pause": chosen.choice((0.0, 0.05, 0.1))} for _ in ALL]
        yield Cell(
            f"all at once, each with a different response: {seed}",
            PROCESSED,
            tuple(traffic.page(number, **fate) for number, fate in zip(ALL, drawn, strict=True)),
            settings={"request_timeout_seconds": 1.5},
            traffic=traffic,
        )


# How many batches

LONGER = replace(EIGHT, words="8 in flight, twice", count=4 * EIGHT.pages[3].stop)
"""Two volleys of eight."""


def two_or_three() -> Iterator[Cell]:
    """Two pages with the same sum as three others, whatever `accepted_batches` says, which may lag."""
    lost, landed = (9, 11, 12, 13, 16), (9, 13)
    assert LONGER.counts_of(9, 13) == LONGER.counts_of(11, 12, 16)
    second = tuple(replace(fault, company=16) for fault in struck(LONGER, lost, landed))
    gathered = replace(LONGER.gathered(), nth=9, company=16)
    first = LONGER.page(4, moment="after", effect=Reset())
    for readings in (READINGS, CONTRARY):
        yield Cell(
            f"two pages landed that are as many records as three others{read_as(readings)}",
            DISCARDED.temporary,
            (first, *second, gathered, LONGER.gathered(0.3)),
            readings,
            traffic=LONGER,
        )
