"""Many small streams beside one stream of as many records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contestants import ours
from measuring import Input, Turn
from sections import Section
from tables import Target, by_round, spread, table, targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from measuring import Bench, Measured
    from sections import Size

STREAMS, OF_EACH = 500, 10
IN_FLIGHT = (1, 8)
MOST_REQUESTS = 66
MOST_TIMES = 2.0


def many_streams(bench: Bench, size: Size) -> Section:
    """The sizes are the same whatever was asked for: it takes seconds."""
    contestants = [ours(parallel) for parallel in IN_FLIGHT]
    inputs = Input.many_streams(STREAMS, OF_EACH), Input.employees(STREAMS * OF_EACH)
    turns = [Turn(contestant, given) for contestant in contestants for given in inputs]
    runs = bench.rounds(turns, count=size.rounds)
    taken = list(zip(runs[::2], runs[1::2], strict=True))
    rows = [
        (
            contestant.name,
            *(spread((run.counted.requests for run in runs), ".0f") for runs in (many, one)),
            *(spread((run.process.wall for run in runs), ".2f") for runs in (many, one)),
            spread(_times(many, one), ".2f"),
        )
        for contestant, (many, one) in zip(contestants, taken, strict=True)
    ]
    head = (
        "",
        f"requests, {STREAMS} streams",
        "one stream",
        f"wall (s), {STREAMS} streams",
        "one stream",
        "ratio, by round",
    )
    return Section("\n\n".join([table(head, rows), targets(_targets(taken))]))


def _times(many: list[Measured], one: list[Measured]) -> list[float]:
    return by_round(lambda run: run.process.wall, many, one)


def _targets(taken: Sequence[tuple[list[Measured], list[Measured]]]) -> Iterator[Target]:
    for number, (many, one) in zip(IN_FLIGHT, taken, strict=True):
        most = max(run.counted.requests for run in many)
        aim = f"{STREAMS} streams of {OF_EACH} records, {number} in flight: at most"
        yield Target(f"{aim} {MOST_REQUESTS} requests", str(most), most <= MOST_REQUESTS)
        times = _times(many, one)
        yield Target.at_most(f"{aim} {MOST_TIMES:g} times one stream's time", MOST_TIMES, times, "times")
