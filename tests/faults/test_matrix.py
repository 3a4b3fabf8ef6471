"""Fault x moment x reading: each cell says beforehand what must come of it; all hold the same invariants."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from adopting import adopting
from answers import spoilt_for_good, spoilt_once
from cells import Cell, in_default_suite
from counts import counts
from discards import discards
from ends import processing, session_ended
from invariants import check
from kills import conflicts, kills
from late import late
from refusals import refused_pages
from signals import signals
from stage import Stage

if TYPE_CHECKING:
    from front_door import FrontDoor

CELLS: list[Cell] = [
    *spoilt_once(),
    *spoilt_for_good(),
    *adopting(),
    *late(),
    *counts(),
    *refused_pages(),
    *processing(),
    *session_ended(),
    *discards(),
    *signals(),
    *kills(),
    *conflicts(),
]


@pytest.mark.parametrize("cell", [cell.as_parameter() for cell in CELLS])
def test_cell(door: FrontDoor, cell: Cell) -> None:
    stage = Stage(door, cell)
    check(stage, cell.script(stage))


def test_the_matrix_is_whole() -> None:
    names = Counter(cell.name for cell in CELLS)
    assert [name for name, count in names.items() if count > 1] == []
    assert len(CELLS) >= 200
    tenth = sum(in_default_suite(cell.name) for cell in CELLS)
    assert 0.05 < tenth / len(CELLS) < 0.15
