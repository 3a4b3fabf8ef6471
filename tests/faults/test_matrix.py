"""Fault x moment x reading, with one page in flight or eight: each cell states its expected outcome.

The same invariants are checked for all of them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.faults.adopting import adopting
from tests.support.faults.around_the_close import around
from tests.support.faults.counts import counts
from tests.support.faults.discards import discards
from tests.support.faults.diverting import beside_each_other, diverting
from tests.support.faults.dry_runs import dry_runs
from tests.support.faults.ends import processing, session_ended
from tests.support.faults.invalid_responses import invalid_for_good, invalid_once, invalid_pages
from tests.support.faults.invariants import check
from tests.support.faults.kills import conflicts, kills
from tests.support.faults.late import late, late_pages
from tests.support.faults.rejections import rejected_pages
from tests.support.faults.sample import features_of, sample
from tests.support.faults.several_losses import mistaken, several, two_or_three
from tests.support.faults.signals import signals
from tests.support.faults.stage import Stage
from tests.support.faults.stale_connections import stale
from tests.support.faults.traffic import ALL_DISTINGUISHABLE, EIGHT, IN_TURN, SINGLE
from tests.support.faults.whose_session import looking

if TYPE_CHECKING:
    from tests.support.faults.cells import Cell
    from tests.support.front_door import FrontDoor

EVERYTHING = (
    invalid_once,
    invalid_for_good,
    adopting,
    late,
    counts,
    around,
    rejected_pages,
    processing,
    session_ended,
    discards,
    signals,
    kills,
    conflicts,
    diverting,
    dry_runs,
)

CELLS: list[Cell] = [
    *(cell for traffic in (SINGLE, EIGHT) for cells in EVERYTHING for cell in cells(traffic)),
    *(cell for traffic in (EIGHT, ALL_DISTINGUISHABLE) for cell in several(traffic)),
    *beside_each_other(ALL_DISTINGUISHABLE),
    *mistaken(),
    *looking(SINGLE),
    *stale(SINGLE),
    *two_or_three(),
    *(cell for cells in (invalid_pages, late_pages, rejected_pages) for cell in cells(IN_TURN)),
]

BY_DEFAULT = sample(CELLS)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Omit slow cells if they are not selected: collecting them takes each worker a second."""
    if "cell" in metafunc.fixturenames:
        all_of_them = metafunc.config.getoption("markexpr") != "not slow"
        wanted = [cell for cell in CELLS if all_of_them or cell.id in BY_DEFAULT]
        metafunc.parametrize("cell", [cell.as_parameter(slow=cell.id not in BY_DEFAULT) for cell in wanted])


def test_cell(door: FrontDoor, cell: Cell) -> None:
    stage = Stage(door, cell)
    check(stage, cell.script(stage))


def test_the_matrix_is_complete() -> None:
    names = Counter(cell.id for cell in CELLS)
    assert [name for name, count in names.items() if count > 1] == []
    assert len(CELLS) >= 1600


def test_the_default_suite_covers_each_fault_reading_and_outcome() -> None:
    chosen = [cell for cell in CELLS if cell.id in BY_DEFAULT]
    assert 50 < len(chosen) < 120
    shown = set[tuple[str, ...]]().union(*map(features_of, chosen))
    assert set[tuple[str, ...]]().union(*map(features_of, CELLS)) == shown
    assert {("kind", "Hang", "close"), ("reading", "apply", "'append'")} < shown


def test_every_fault_and_moment_is_checked_with_a_receipt() -> None:
    """Of the two variants of a cell, one page in flight and eight, one is checked with a receipt."""
    cells: dict[str, list[Cell]] = {}
    for cell in CELLS:
        cells.setdefault(cell.name, []).append(cell)
    twice = [
        alike
        for alike in cells.values()
        if {cell.traffic.words for cell in alike} >= {SINGLE.words, EIGHT.words}
    ]
    assert len(twice) >= 600
    assert all({cell.keeps_receipt for cell in alike} == {True, False} for alike in twice)
    of_the_default_suite = [cell.keeps_receipt for cell in CELLS if cell.id in BY_DEFAULT]
    assert set(of_the_default_suite) == {True, False}
