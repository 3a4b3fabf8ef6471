"""Peak memory by the size of the input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contestants import ours
from measuring import Input, Turn
from sections import Plot, Section
from tables import Target, table, targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from measuring import Bench, Measured
    from sections import Size

IN_FLIGHT = (1, 8)
MOST_MB = 90.0
MOST_GROWTH = 1.1


def memory(bench: Bench, size: Size) -> Section:
    """One run for each point."""
    records = [size.records // 10, size.records, size.records * 3, size.records * 10]
    contestants = [ours(parallel) for parallel in IN_FLIGHT]
    taken: dict[int, list[Measured]] = {}
    for count in records:
        turns = [Turn(contestant, Input.employees(count)) for contestant in contestants]
        taken[count] = [runs[0] for runs in bench.rounds(turns)]
    figures = [
        (
            f"{count:,}",
            *(f"{run.peak_mb:.1f}" for run in runs),
            *(f"{run.process.wall:.1f}" for run in runs),
        )
        for count, runs in taken.items()
    ]
    head = [f"{figure}, {number} in flight" for figure in ("peak (MB)", "wall (s)") for number in IN_FLIGHT]
    lines = {
        contestant.name: [(count, runs[index].peak_mb) for count, runs in taken.items()]
        for index, contestant in enumerate(contestants)
    }
    plot = Plot(
        "memory.svg", "One run for each point", "records", "peak memory (MB)", lines, logarithmic=True
    )
    found = targets(_targets(taken, size.records, size.records * 10))
    return Section("\n\n".join([table(("records", *head), figures), found]), [plot])


def _targets(taken: Mapping[int, Sequence[Measured]], few: int, many: int) -> Iterator[Target]:
    for number, less, more in zip(IN_FLIGHT, taken[few], taken[many], strict=True):
        aim = f"{many:,} records, {number} in flight: at most"
        yield Target.at_most(f"{aim} {MOST_MB:g} MB", MOST_MB, [more.peak_mb], "MB")
        growth = [more.peak_mb / less.peak_mb]
        yield Target.at_most(f"{aim} {MOST_GROWTH:g} times the peak at {few:,}", MOST_GROWTH, growth, "times")
