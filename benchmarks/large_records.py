"""Records of 200 kB: pages end by bytes, and memory does not grow with their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contestants import ours
from measuring import Input, Turn
from sections import Section
from tables import Target, table, targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from measuring import Bench, Measured
    from sections import Size

FEW, MANY = 250, 1000
IN_FLIGHT = (1, 8)
MOST_BYTES = 5_000_000
MOST_GROWTH = 1.1


def large_records(bench: Bench, _size: Size) -> Section:
    """One run each; the sizes are the same whatever was asked for: it takes seconds."""
    turns = [Turn(ours(parallel), Input.large(count)) for parallel in IN_FLIGHT for count in (FEW, MANY)]
    taken = [runs[0] for runs in bench.rounds(turns)]
    rows = [
        (
            turn.contestant.name,
            f"{turn.given.records:,}",
            f"{run.counted.pages:,}",
            f"{run.counted.most_records:,}",
            f"{run.counted.most_bytes:,}",
            f"{run.peak_mb:.1f}",
            f"{run.process.wall:.2f}",
        )
        for turn, run in zip(turns, taken, strict=True)
    ]
    head = (
        "",
        "records",
        "pages",
        "most records in one",
        "most bytes in one",
        "peak memory (MB)",
        "wall (s)",
    )
    return Section(f"{table(head, rows)}\n\n{targets(_targets(taken))}")


def _targets(taken: Sequence[Measured]) -> Iterator[Target]:
    most = max(run.counted.most_bytes for run in taken)
    yield Target(f"no page above {MOST_BYTES:,} bytes", f"{most:,} bytes", most <= MOST_BYTES)
    for number, few, many in zip(IN_FLIGHT, taken[::2], taken[1::2], strict=True):
        aim = f"{MANY:,} records, {number} in flight: at most {MOST_GROWTH:g} times the peak at {FEW}"
        yield Target.at_most(aim, MOST_GROWTH, [many.peak_mb / few.peak_mb], "times")
