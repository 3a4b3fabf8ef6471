"""A stream map of ten renames, beside the template's way with the same map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contestants import ours, peer
from measuring import Input, Turn
from sections import Section
from tables import Target, rates, spread, table, targets

if TYPE_CHECKING:
    from measuring import Bench
    from sections import Size

IN_FLIGHT = (1, 8)
RENAMED = {
    "fullName": "name",
    "workEmail": "email",
    "managerId": "manager",
    "role": "title",
    "badge": "badgeNumber",
    "hoursPerWeek": "hours",
    "isActive": "active",
    "employmentStartDate": "start",
    "employmentEndDate": "end",
    "office": "location",
}
TIMES_THE_PEER = 3.0

# As the SDK's stream maps rename: a new property from the old one, and the old one taken out.
STREAM_MAPS = {
    "employees": {
        **{new: old for old, new in RENAMED.items()},
        **dict.fromkeys(RENAMED, "__NULL__"),
    }
}


def renames(bench: Bench, size: Size) -> Section:
    contestants = [*(ours(parallel, stream_maps=STREAM_MAPS) for parallel in IN_FLIGHT)]
    turns = [
        Turn(contestant, Input.employees(size.records))
        for contestant in (peer(stream_maps=STREAM_MAPS), *contestants)
    ]
    beside, *taken = bench.rounds(turns, count=size.rounds)
    rows = [
        (
            contestant.name,
            f"{size.records:,}",
            *(spread((run.rate for run in each), ",.0f") for each in (runs, beside)),
            spread(rates(runs, beside), ".2f"),
        )
        for contestant, runs in zip(contestants, taken, strict=True)
    ]
    head = ("", "records", "records/s", "template + POST (records/s)", "times the template, by round")
    found = targets(
        Target.at_least(
            f"{number} in flight: at least {TIMES_THE_PEER:g} times the template",
            TIMES_THE_PEER,
            rates(runs, beside),
            "times",
        )
        for number, runs in zip(IN_FLIGHT, taken, strict=True)
    )
    return Section(f"{table(head, rows)}\n\n{found}")
