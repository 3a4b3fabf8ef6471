"""Start-up beside the template's: `--version` of each, without a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contestants import ours, peer
from measuring import say
from sections import Section
from tables import Target, spread, table, targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from measuring import Bench, Process
    from sections import Size

STARTS = 8
"""So many for each round of the other parts: a start is short, and the machine's noise is not."""

MOST_TIMES = 1.3


def startup(bench: Bench, size: Size) -> Section:
    pair = ours(), peer()
    count = size.rounds * STARTS
    for contestant in pair:
        bench.run([*contestant.arguments, "--version"])
    taken = [[bench.run([*contestant.arguments, "--version"]) for contestant in pair] for _ in range(count)]
    say(f"{count} starts of each")
    figures: list[tuple[str, Callable[[Process], float]]] = [
        ("wall (ms)", lambda start: start.wall * 1000),
        ("processor (ms)", lambda start: start.cpu * 1000),
    ]
    ratios = {name: [figure(own) / figure(their) for own, their in taken] for name, figure in figures}
    rows = [
        (
            name,
            *(spread((figure(starts[side]) for starts in taken), ".0f") for side in (0, 1)),
            spread(ratios[name], ".2f"),
        )
        for name, figure in figures
    ]
    head = (f"`--version`, {count} starts", "target-sprinto", "template + POST", "ratio, by pair")
    aim = f"at most {MOST_TIMES:g} times the template's start"
    found = targets([Target.at_most(aim, MOST_TIMES, ratios["wall (ms)"], "times")])
    return Section(f"{table(head, rows)}\n\n{found}")
