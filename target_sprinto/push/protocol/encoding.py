"""Encodes Python records as JSON bytes, digit for digit. Pure.

Strings, numbers, booleans, None, mappings with string keys, lists and tuples have a counterpart in JSON.
Decimals keep their digits; dates, times and UUIDs become strings (ISO 8601, RFC 9562). Any other value raises
an error that names its field: the caller has to decide how to convert it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from target_sprinto.push.errors import UnserializableRecord
from target_sprinto.push.protocol.entity_keys import entity_key
from target_sprinto.push.text import quoted, short

_JSON_NATIVE_TYPES = frozenset({int, bool, type(None), datetime, date, time, UUID})
"""Exactly these types: a subclass of `datetime` may not be a time at all, such as pandas' `NaT`."""


class _NotSerializable(Exception):
    """`path` leads to the value that JSON cannot represent, and `issue` says why."""

    def __init__(self, path: str, issue: str) -> None:
        super().__init__(issue)
        self.path = path
        self.issue = issue


def encoded(
    records: Iterable[Mapping[str, object]], push: int, key_fields: tuple[str, ...]
) -> Iterator[tuple[bytes, str, object]]:
    """Each record's JSON bytes, place and entity key. `records` is read lazily.

    The place is for messages: the record's index, from 0, and the push's number, from 1. The key is None if
    it is not known. Raises UnserializableRecord.
    """
    for index, record in enumerate(records):
        try:
            body, key = _encoded(record, key_fields)
        except _NotSerializable as problem:
            where = f"field {quoted(problem.path)} of the record" if problem.path else "the record"
            raise UnserializableRecord(
                f"In push {push}, {where} at index {index} cannot be sent: {problem.issue}.",
                "Fix it before it is pushed.",
                index=index,
                field=problem.path,
            ) from None
        yield body, f"index {index} of push {push}", key


FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
"""Any other key may be a value, as in a mapping from email addresses."""


def _encoded(record: object, key_fields: tuple[str, ...]) -> tuple[bytes, object]:
    """A record's JSON bytes and its key, from a copy of plain types: exactly what is checked is sent."""
    if not isinstance(record, Mapping):
        raise _NotSerializable("", f"it is not a mapping but of type {_named(type(record))}")
    try:
        plain = _plain_mapping(record, "")
        return _encode(plain), _key(plain, key_fields)
    except RecursionError:
        raise _NotSerializable("", "it is nested too deeply") from None


def _plain(value: object, path: str) -> object:
    kind = type(value)
    if kind in _JSON_NATIVE_TYPES:
        if isinstance(value, datetime | time):
            _require_offset(value, path)
        return value
    # A subclass may show a different value from the one it holds; the one it holds is sent.
    if isinstance(value, str):
        return _utf8(str.__str__(value), path)
    if isinstance(value, float | Decimal):
        number = float.__float__(value) if isinstance(value, float) else Decimal(value)
        # `math.isfinite` raises on a signalling NaN.
        if not (math.isfinite(number) if isinstance(number, float) else number.is_finite()):
            raise _NotSerializable(path, "JSON cannot represent NaN or Infinity")
        return number
    if isinstance(value, Mapping):
        return _plain_mapping(value, path)
    if isinstance(value, list | tuple):
        return [_plain(inner, f"{path}[{index}]") for index, inner in enumerate(value)]
    if isinstance(value, int):
        return int.__int__(value)
    raise _NotSerializable(path, f"JSON cannot represent {_named(kind)}")


def _require_offset(value: datetime | time, path: str) -> None:
    try:
        offset = value.utcoffset()
    except Exception:  # noqa: BLE001 - a time zone of the caller's own
        raise _NotSerializable(path, "its time zone has no valid UTC offset") from None
    if offset is None and value.tzinfo is not None:
        raise _NotSerializable(path, "its UTC offset depends on a date")
    if offset and offset % timedelta(minutes=1):
        raise _NotSerializable(path, "its UTC offset has seconds")


def _plain_mapping(value: Mapping[Any, object], path: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, inner in value.items():
        if not isinstance(name, str):
            raise _NotSerializable(path, f"one of its keys is not a string but of type {_named(type(name))}")
        key = _utf8(str.__str__(name), path)
        if key in made:
            raise _NotSerializable(path, "one of its keys occurs twice")
        shown = key if FIELD_NAME.fullmatch(key) else "*"
        made[key] = _plain(inner, f"{path}.{shown}" if path else shown)
    return made


def _utf8(text: str, path: str) -> str:
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        raise _NotSerializable(path, "it contains an unpaired surrogate") from None
    return text


_encoder = msgspec.json.Encoder(decimal_format="number")


def _encode(record: dict[str, Any]) -> bytes:
    try:
        return _encoder.encode(record)
    except (TypeError, ValueError):
        raise _NotSerializable("", "it has a number that is too long") from None


def _named(kind: type) -> str:
    return short(kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}")


def _key(record: Mapping[str, Any], fields: tuple[str, ...]) -> object:
    missing = [name for name in fields if name not in record]
    if missing:
        raise _NotSerializable(missing[0], "it is missing, but the push names it as a key")
    # As in JSON: a UUID and its text are the same key.
    values = msgspec.to_builtins(tuple(record[name] for name in fields), builtin_types=(Decimal,))
    return entity_key(values)
