"""Pages that Sprinto rejects because of a record, wherever the response names it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from target_sprinto.sandbox import EntityRules, Readings
from tests.support.faults.cells import CONTRARY, READINGS, Cell
from tests.support.faults.expectation import DISCARDED, PAGES
from tests.support.faults.traffic import stream_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.faults.traffic import Traffic

RULES = {
    name: EntityRules(schema={"properties": {"name": {"type": "string", "maxLength": 20}}})
    for name in ("people", "teams")
}


def rejected_pages(traffic: Traffic) -> Iterator[Cell]:
    for moment in PAGES:
        bad = a_team_in(traffic, moment)
        for name, readings in READ.items():
            # It is undocumented how records are counted: the input line is named only if it is certain.
            message = [f"line {traffic.line(bad)} "] if readings.index_within == "type" else []
            yield Cell(
                f"{moment}: has a bad record, {name}",
                DISCARDED.saying("'teams'", "field 'name'", "[page-refused]", *message),
                readings=readings,
                server={"entities": RULES},
                traffic=traffic.with_bad(bad),
            )


def a_team_in(traffic: Traffic, moment: str) -> int:
    """The number of a record in the middle of a page."""
    numbers = traffic.pages[traffic.moments[moment] - 1]
    return next(number for number in numbers[2:] if stream_of(number) == "teams")


READ: dict[str, Readings] = {
    "errors in details": READINGS,
    "errors in validation_errors": replace(READINGS, errors_in="validation_errors"),
    "index over the page": replace(READINGS, index_within="page"),
    "contrary readings": CONTRARY,
}
