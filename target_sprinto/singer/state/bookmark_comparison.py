"""Whether a bookmark covers a record: its replication key's value is compared with the bookmark's. Pure."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal


def is_covered(value: object, bookmark: object) -> bool:
    """Whether it is certain that a replication key's value is not beyond a bookmark.

    It is certain for numbers (int or Decimal), dates, date-times that both have a zone or both have none, and
    equal values. Other strings are in the order of the source's collation, which is unknown.
    """
    if isinstance(bookmark, int | Decimal) and not isinstance(bookmark, bool):
        if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value, re.ASCII):
            # A `singer.decimal` in the record is a number in the bookmark.
            value = Decimal(value)
        return isinstance(value, int | Decimal) and not isinstance(value, bool) and value <= bookmark
    if not isinstance(value, str) or not isinstance(bookmark, str):
        return False
    if value == bookmark:
        return True
    mine, other = _moment(value), _moment(bookmark)
    return mine is not None and other is not None and mine[0] == other[0] and mine[1:] <= other[1:]


def _moment(text: str) -> tuple[str, date, str] | None:
    """A date or date-time as its kind, whole seconds and digits after them; None for any other text."""
    found = re.fullmatch(
        r"(\d{4}-\d\d-\d\d)(?:[T ]((?:[01]\d|2[0-3]):\d\d:\d\d)(?:\.(\d{1,12}))?(Z|[+-]\d\d:?\d\d)?)?",
        text,
        re.ASCII,
    )
    if found is None:
        return None
    day, time, fraction, zone = found.groups()
    try:
        if time is None:
            return "date", date.fromisoformat(day), ""
        offset = "" if zone is None else "+00:00" if zone == "Z" else f"{zone[:3]}:{zone[-2:]}"
        kind = "local" if zone is None else "zoned"
        return kind, datetime.fromisoformat(f"{day}T{time}{offset}"), (fraction or "").ljust(12, "0")
    except ValueError:
        return None
