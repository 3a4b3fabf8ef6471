"""Pages that Sprinto refuses for a record in them, wherever it says so."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from cells import CONTRARY, INPUT, PAGE_SIZE, READINGS, SCHEMAS, Cell, records
from expectation import DISCARDED, PAGES
from front_door import SECRET, STATE

from target_sprinto.sandbox import EntityRules, Readings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from front_door import Finished
    from stage import Stage

RULES = {
    name: EntityRules(schema={"properties": {"name": {"type": "string", "maxLength": 20}}})
    for name in ("people", "teams")
}


def refused_pages() -> Iterator[Cell]:
    for index, moment in enumerate(PAGES):
        bad = index * PAGE_SIZE + 3
        for name, readings in READ.items():
            # The documents leave open how records are counted: the line is told where it can be.
            told = [f"line {len(SCHEMAS) + bad + 1} "] if readings.index_within == "type" else []
            yield Cell(
                f"{moment}: has a bad record, {name}",
                DISCARDED.saying("'teams'", "field 'name'", "[page-refused]", *told),
                readings=readings,
                server={"entities": RULES},
                script=partial(with_bad_record, bad=bad),
            )


READ: dict[str, Readings] = {
    "errors in details": READINGS,
    "errors in validation_errors": replace(READINGS, errors_in="validation_errors"),
    "index over the page": replace(READINGS, index_within="page"),
    "contrary readings": CONTRARY,
}


def with_bad_record(stage: Stage, bad: int) -> Finished:
    assert len(INPUT) > bad
    messages = records()
    messages[bad]["record"]["name"] = SECRET * 5
    return stage.run([*SCHEMAS, *messages, STATE])
