"""The cells that the default suite runs: a few that together cover each part of the matrix."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from tests.support.faults.cells import lot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_sprinto.sandbox import Readings
    from tests.support.faults.cells import Cell


def sample(cells: Iterable[Cell]) -> set[str]:
    """The ids of cells that together cover every feature; rare features are chosen first."""
    features = {cell.id: features_of(cell) for cell in cells}
    by_lot = sorted(features, key=lot)
    having: dict[Any, list[str]] = {}
    for name in by_lot:
        for feature in features[name]:
            having.setdefault(feature, []).append(name)
    shown: set[Any] = set()
    chosen: set[str] = set()
    for feature in sorted(having, key=lambda one: (len(having[one]), repr(one))):
        if feature not in shown:
            best = max(having[feature], key=lambda name: len(features[name] - shown))
            chosen.add(best)
            shown |= features[best]
    return chosen


def features_of(cell: Cell) -> set[tuple[str, ...]]:
    """A cell's features: faults and where they strike, readings, settings, outcome, script."""
    script: Any = cell.script
    driven_by = script.func if isinstance(script, partial) else script
    found = {
        ("ending", cell.expected.ending.name, str(cell.expected.code)),
        ("script", driven_by.__qualname__),
        ("traffic", cell.traffic.words),
        *_of_readings(cell.readings),
        *(("setting", name, repr(value)) for name, value in cell.settings.items()),
        *(("server", name) for name in cell.server),
    }
    for fault in cell.faults:
        kind = type(fault.effect).__name__
        found |= {
            ("effect", kind, str(getattr(fault.effect, "status", ""))),
            ("kind", kind, fault.operation),
            ("moment", fault.operation, fault.moment),
        }
    return found


@cache
def _of_readings(readings: Readings) -> frozenset[tuple[str, ...]]:
    return frozenset(("reading", name, repr(value)) for name, value in vars(readings).items())
