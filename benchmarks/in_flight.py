"""Records per second by pages in flight and latency: a grid, to be seen as a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contestants import ours, peer
from measuring import Input, Turn
from sections import Plot, Section
from tables import table

if TYPE_CHECKING:
    from measuring import Bench
    from sections import Size

LATENCIES = (0, 20, 50)
IN_FLIGHT = (1, 2, 4, 8)


def in_flight(bench: Bench, size: Size) -> Section:
    """One run for each point."""
    contestants = [*map(ours, reversed(IN_FLIGHT)), peer()]
    turns = [Turn(contestant, Input.employees(size.records)) for contestant in contestants]
    lines: dict[str, list[tuple[float, float]]] = {contestant.name: [] for contestant in contestants}
    for late in LATENCIES:
        for contestant, runs in zip(contestants, bench.rounds(turns, latency=late), strict=True):
            lines[contestant.name].append((late, runs[0].rate))
    rows = [(name, *(f"{rate:,.0f}" for _, rate in points)) for name, points in lines.items()]
    head = ("records per second", *(f"{late} ms" for late in LATENCIES))
    plot = Plot(
        "records-per-second.svg",
        f"{size.records:,} records, one run for each point",
        "latency of Sprinto's responses (ms)",
        "records per second",
        lines,
    )
    return Section(table(head, rows), [plot])
