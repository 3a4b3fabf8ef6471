"""Speed beside the template's way and the bare loop, by how late Sprinto's responses are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from contestants import bare_loop, ours, peer
from measuring import Input, Turn
from sandbox_process import RunFailedError
from sections import Section
from tables import Target, rates, spread, table, targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from measuring import Bench, Measured
    from sections import Size

CASES = ((0, (1, 8)), (20, (8,)), (50, (8,)))
"""Milliseconds, and pages in flight."""

TIMES_THE_PEER = {0: 7.0, 20: 8.5, 50: 7.0}
PART_OF_THE_BARE_LOOP = 0.5


class Case(NamedTuple):
    """The runs of the three at one latency and so many in flight, round by round."""

    latency: int
    in_flight: int
    ours: Sequence[Measured]
    peer: Sequence[Measured]
    bare: Sequence[Measured]


def latency(bench: Bench, size: Size) -> Section:
    given = Input.employees(size.records)
    cases: list[Case] = []
    for late, parallel in CASES:
        three = [maker(number) for number in parallel for maker in (ours, bare_loop)]
        turns = [Turn(contestant, given) for contestant in (peer(), *three)]
        beside, *taken = bench.rounds(turns, latency=late, count=size.rounds)
        pairs = zip(parallel, taken[::2], taken[1::2], strict=True)
        cases += [Case(late, number, own, beside, bare) for number, own, bare in pairs]
    for case in cases:
        _require_equal_pages(case)
    return Section("\n\n".join([_speed(cases), _cost(cases), targets(_targets(cases))]))


def _require_equal_pages(case: Case) -> None:
    """The bare loop is a limit only if it sends as many pages."""
    own, bare = case.ours[0].counted.pages, case.bare[0].counted.pages
    if own != bare:
        raise RunFailedError(f"the bare loop sent {bare:,} pages, target-sprinto {own:,}")


def _speed(cases: Sequence[Case]) -> str:
    head = (
        "latency (ms)",
        "in flight",
        "records",
        "target-sprinto (records/s)",
        "template + POST (records/s)",
        "bare loop (records/s)",
        "times the template, by round",
        "part of the bare loop, by round",
    )
    rows = [
        (
            str(case.latency),
            str(case.in_flight),
            f"{case.ours[0].counted.records:,}",
            *(spread((run.rate for run in runs), ",.0f") for runs in (case.ours, case.peer, case.bare)),
            spread(rates(case.ours, case.peer), ".2f"),
            spread(rates(case.ours, case.bare), ".0%"),
        )
        for case in cases
    ]
    return table(head, rows)


def _cost(cases: Sequence[Case]) -> str:
    none = [case for case in cases if case.latency == 0]
    named = [("template + POST", none[0].peer)]
    for case in none:
        named.append((f"target-sprinto, {case.in_flight} in flight", case.ours))
        named.append((f"bare loop, {case.in_flight} in flight", case.bare))
    rows = [
        (
            name,
            spread((run.process.wall for run in runs), ".2f"),
            spread((run.process.cpu for run in runs), ".2f"),
            spread((run.peak_mb for run in runs), ".1f"),
            f"{runs[0].counted.pages:,}",
        )
        for name, runs in named
    ]
    return table(("no latency", "wall (s)", "processor (s)", "peak memory (MB)", "pages"), rows)


def _targets(cases: Sequence[Case]) -> Iterator[Target]:
    for case in cases:
        at = f"{case.latency} ms, {case.in_flight} in flight"
        wanted = TIMES_THE_PEER[case.latency]
        aim = f"{at}: at least {wanted:g} times the template"
        yield Target.at_least(aim, wanted, rates(case.ours, case.peer), "times")
        if case.latency == 0:
            part = rates(case.ours, case.bare)
            aim = f"{at}: at least {PART_OF_THE_BARE_LOOP:.0%} of the bare loop"
            yield Target.at_least(aim, PART_OF_THE_BARE_LOOP, part, "of it")
