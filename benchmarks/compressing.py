"""gzip on against off, of target-sprinto and of the bare loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contestants import bare_loop, ours
from measuring import Input, Turn
from sections import Section
from tables import rates, spread, table

if TYPE_CHECKING:
    from measuring import Bench
    from sections import Size

LATENCIES = (0, 20)
IN_FLIGHT = 8


def compressing(bench: Bench, size: Size) -> Section:
    pairs = [
        (ours(IN_FLIGHT, compress=True), ours(IN_FLIGHT, compress=False)),
        (bare_loop(IN_FLIGHT, compress=True), bare_loop(IN_FLIGHT)),
    ]
    turns = [Turn(contestant, Input.employees(size.records)) for pair in pairs for contestant in pair]
    rows = []
    for late in LATENCIES:
        taken = bench.rounds(turns, latency=late, count=size.rounds)
        for (with_gzip, _), on, off in zip(pairs, taken[::2], taken[1::2], strict=True):
            rows.append(
                (
                    with_gzip.name,
                    str(late),
                    f"{size.records:,}",
                    *(spread((run.rate for run in runs), ",.0f") for runs in (on, off)),
                    spread(rates(on, off), ".2f"),
                    *(spread((run.process.cpu for run in runs), ".2f") for runs in (on, off)),
                    *(f"{runs[0].counted.sent_bytes / 1e6:.1f}" for runs in (on, off)),
                )
            )
    head = (
        "",
        "latency (ms)",
        "records",
        "gzip (records/s)",
        "plain (records/s)",
        "gzip / plain, by round",
        "processor, gzip (s)",
        "plain (s)",
        "sent, gzip (MB)",
        "plain (MB)",
    )
    return Section(table(head, rows))
