"""Stream maps, beside the template's way with the same maps, and beside a bare loop that renames the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from contestants import bare_loop, ours, peer
from measuring import Input, Turn
from sections import Section
from tables import Target, rates, spread, table, targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from measuring import Bench
    from sections import Size

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
# As the SDK's stream maps rename: a new property from the old one, and the old one taken out.
TEN_RENAMES: dict[str, Any] = {
    "employees": {
        **{new: old for old, new in RENAMED.items()},
        **dict.fromkeys(RENAMED, "__NULL__"),
    }
}
SAMPLE = Path(__file__).resolve().parent.parent / "sample_config.json"
USER: dict[str, Any] = {
    "employees": json.loads(SAMPLE.read_text(encoding="utf-8"))["stream_maps"]["employees"]
}
# The bare loop copies where the map computes.
PLAIN_USER = {
    field: {"fullName": "first_name", "employmentType": "contract_type"}.get(field, expression)
    for field, expression in USER["employees"].items()
    if not field.startswith("__")
}
LATENCY, IN_FLIGHT = 20, 8
PART_OF_THE_BARE_LOOP = 0.85


class Case(NamedTuple):
    """A map, its input, and how many times the template's speed is wanted."""

    name: str
    given: Callable[[int], Input]
    settings: dict[str, Any]
    wanted: float


CASES = (
    Case("no stream map", Input.employees, {}, 9.0),
    Case("ten renames", Input.employees, {"stream_maps": TEN_RENAMES}, 7.0),
    Case("the README's `User` map", Input.staff, {"stream_maps": USER}, 6.0),
)


def renames(bench: Bench, size: Size) -> Section:
    rows, found = [], []
    for case in CASES:
        given = case.given(size.records)
        turns = [Turn(peer(**case.settings), given), Turn(ours(**case.settings), given)]
        beside, runs = bench.rounds(turns, count=size.rounds)
        times = rates(runs, beside)
        speeds = (spread((run.rate for run in each), ",.0f") for each in (runs, beside))
        rows.append((case.name, *speeds, spread(times, ".2f")))
        aim = f"{case.name}, 1 in flight: at least {case.wanted:g} times the template"
        found.append(Target.at_least(aim, case.wanted, times, "times"))
    found.append(_beside_the_bare_loop(bench, size))
    head = ("stream map", "records/s", "template + POST (records/s)", "times the template, by round")
    return Section(f"{table(head, rows)}\n\n{targets(found)}")


def _beside_the_bare_loop(bench: Bench, size: Size) -> Target:
    given = Input.staff(size.records)
    both = (bare_loop(IN_FLIGHT, fields=PLAIN_USER), ours(IN_FLIGHT, stream_maps=USER))
    turns = [Turn(contestant, given) for contestant in both]
    bare, runs = bench.rounds(turns, latency=LATENCY, count=size.rounds)
    aim = f"{LATENCY} ms, {IN_FLIGHT} in flight, `User` map: at least 85% of a bare loop that renames"
    return Target.at_least(aim, PART_OF_THE_BARE_LOOP, rates(runs, bare), "of it")
