"""Reproduces the table in docs/full-or-incremental.md of the records that remain at Sprinto."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from target_sprinto.sandbox import Readings
from tests.support.front_door import SCHEMA, STATE

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor

DOCS = Path(__file__).parents[2] / "docs" / "full-or-incremental.md"
PEOPLE = {1: "Ada", 2: "Bob", 3: "Cy"}


def person(number: int, role: str = "") -> dict[str, Any]:
    return {"type": "RECORD", "stream": "people", "record": {"id": number, "role": role}}


def shown(entity: dict[str, Any]) -> str:
    return PEOPLE[entity["id"]] + (f" ({entity['role']})" if entity["role"] else "")


def documented(reading: str) -> list[str]:
    table = DOCS.read_text(encoding="utf-8").partition("<!-- what-is-left -->")[2]
    (row,) = re.findall(rf"^\| {reading}s \| (.*) \| (.*) \|$", table, re.MULTILINE)
    return list(row)


@pytest.mark.parametrize("reading", ["upsert", "append", "replace"])
def test_remaining_records_after_two_runs(
    door: FrontDoor, reading: Literal["upsert", "append", "replace"]
) -> None:
    left = []
    first = [person(1, "old"), person(2), person(3)]
    for number, second in enumerate(([person(1, "new"), person(3)], [person(1, "new")])):
        door.integration_id += f"-{number}"
        door.sandbox.configure(door.integration_id, readings=Readings(apply=reading))
        for records in (first, second):
            assert door.run([SCHEMA, *records, STATE]).code == 0
        left.append(", ".join(map(shown, door.applied()["people"])))
    assert left == documented(reading)
