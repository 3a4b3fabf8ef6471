"""How a rejection names its records: where, and by which way of counting. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from target_sprinto.probe.examples import InvalidPage
from target_sprinto.push.protocol.bisection import INDEX_CONVENTIONS, Fault, IndexConvention, named_by
from target_sprinto.push.protocol.pages import Item

Place = Literal["details", "validation_errors", "both", "neither"]


@dataclass(frozen=True)
class Faults:
    """What one rejection names. `ways` are those of counting that lead to invalid records alone.

    `names_all`: whether every invalid record is named; None if that is not clear.
    """

    place: Place
    ways: tuple[IndexConvention, ...]
    names_all: bool | None


def read_faults(body: object, sent: InvalidPage) -> Faults:
    """What the response to a rejected page names."""
    error = _get(body, "error")
    details, listed = _objects(_get(error, "details")), _objects(_get(body, "validation_errors"))
    place: Place = "neither"
    if details and listed:
        place = "both"
    elif details or listed:
        place = "details" if details else "validation_errors"
    faults = details or listed
    own = [fault for fault in faults if fault.get("entity_type") == sent.invalid[0].entity_type] or faults
    invalid = _ids(sent.invalid)
    found = {way: _ids(item for item, _ in named_by(way, sent.page, own)) for way in INDEX_CONVENTIONS}
    fitting = {way: ids for way, ids in found.items() if ids and ids <= invalid}
    names_all = next((ids == invalid for ids in fitting.values()), None)
    return Faults(place, tuple(fitting), False if len(faults) == 1 else names_all)


def _ids(items: Iterable[Item]) -> set[int]:
    return {id(item) for item in items}


def _objects(value: object) -> list[Fault]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _get(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None
