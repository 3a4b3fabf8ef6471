"""Whether the applied records are a complete input. Pure."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_id, _number = itemgetter("id"), itemgetter("number")


def is_whole(
    applied: Mapping[str, list[Any]],
    sent: Mapping[str, list[Any]],
    diverted: set[int] | None,
    *,
    in_order: bool,
) -> bool:
    """Whether all sent records were applied, once and in order: ``{entity_type: [record]}``.

    `diverted` are the numbers of records that may be missing, None if none may. A diverted record
    is dropped if a later one with its key was applied. Without `in_order`, order matters only per key.
    """
    return applied.keys() <= sent.keys() and all(
        _is_whole(applied.get(name, []), records, diverted, in_order=in_order)
        for name, records in sent.items()
    )


def _is_whole(applied: list[Any], sent: list[Any], diverted: set[int] | None, *, in_order: bool) -> bool:
    numbers = set(map(_number, applied))
    latest = {_id(record): _number(record) for record in applied}
    there = [record for record in sent if _number(record) in numbers]
    for record in sent:
        superseded = latest.get(_id(record), 0) > _number(record)
        if _number(record) not in numbers and (
            diverted is None or not (_number(record) in diverted or superseded)
        ):
            return False
    if in_order:
        return applied == there
    # A stable sort keeps the order of each key.
    return sorted(applied, key=_id) == sorted(there, key=_id)
