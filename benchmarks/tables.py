"""Figures as Markdown: medians with their spread, tables, and whether a target was met."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from measuring import Measured


@dataclass(frozen=True)
class Target:
    """What was aimed at, what came of it, and whether that is enough."""

    aim: str
    result: str
    met: bool

    @classmethod
    def at_least(cls, aim: str, wanted: float, figures: Sequence[float], unit: str) -> Target:
        """Judged by the median."""
        return cls(aim, f"{statistics.median(figures):.2f} {unit}", statistics.median(figures) >= wanted)

    @classmethod
    def at_most(cls, aim: str, wanted: float, figures: Sequence[float], unit: str) -> Target:
        """Judged by the median."""
        return cls(aim, f"{statistics.median(figures):.2f} {unit}", statistics.median(figures) <= wanted)


def by_round(
    figure: Callable[[Measured], float], runs: Sequence[Measured], others: Sequence[Measured]
) -> list[float]:
    """The ratio of a figure, round by round, so that a machine that slows down meanwhile slows both."""
    return [figure(run) / figure(other) for run, other in zip(runs, others, strict=True)]


def rates(runs: Sequence[Measured], others: Sequence[Measured]) -> list[float]:
    """How many times as many records per second, round by round."""
    return by_round(lambda run: run.rate, runs, others)


def spread(values: Iterable[float], form: str) -> str:
    """Median (min to max); one value stands alone."""
    found = sorted(values)
    middle, least, most = (format(value, form) for value in (statistics.median(found), found[0], found[-1]))
    return f"{middle} ({least} to {most})" if len(found) > 1 else middle


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def targets(found: Iterable[Target]) -> str:
    """A table of targets."""
    rows = [(target.aim, target.result, "yes" if target.met else "no") for target in found]
    return table(("target", "result", "met"), rows)
