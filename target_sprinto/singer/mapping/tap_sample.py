"""The streams in a tap's output or catalog: their schemas and the shapes of values, never the values."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from target_sprinto.errors import InvalidLine, MapFailed
from target_sprinto.singer.schemas.schema_parts import properties_of, types_of

MAX_RECORDS = 500
"""Records of a stream whose values are inspected."""

_MAX_DEPTH = 3
_MAX_TEXT = 200
_SHAPES = {
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "date-time": re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)"),
    "local time": re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d.*"),
}
Path = tuple[str, ...]


@dataclass
class StreamSample:
    """One stream."""

    schema: dict[str, Any]
    records: int = 0
    _present: Counter[Path] = field(default_factory=Counter, repr=False)
    _words: defaultdict[Path, set[str]] = field(default_factory=lambda: defaultdict(set), repr=False)

    def add(self, record: dict[str, Any]) -> None:
        """Count a record, and inspect the first MAX_RECORDS."""
        self.records += 1
        if self.records <= MAX_RECORDS:
            self._inspect(record, ())

    def always_has(self, path: Path) -> bool:
        """Whether every record that was inspected has the field; it may be null."""
        return self._present[path] == min(self.records, MAX_RECORDS)

    def shapes(self, path: Path) -> set[str]:
        """The kinds of text that were received: dates, times with or without a time zone, or other text."""
        return {
            next((shape for shape, pattern in _SHAPES.items() if pattern.fullmatch(word)), "text")
            for word in self._words[path]
        }

    def all_within(self, path: Path, allowed: Iterable[str], *, upper: bool) -> bool:
        """Whether every text that was received is in `allowed`, upper-cased or not."""
        words = self._words[path]
        return bool(words) and {word.upper() if upper else word for word in words} <= set(allowed)

    def _inspect(self, value: dict[str, Any], path: Path) -> None:
        for name, inner in value.items():
            here = (*path, name)
            self._present[here] += 1
            if isinstance(inner, dict) and len(here) < _MAX_DEPTH:
                self._inspect(inner, here)
            elif isinstance(inner, str):
                self._words[here].add(inner[:_MAX_TEXT])


class _Message(msgspec.Struct):
    type: str = ""
    stream: str = ""
    schema: dict[str, Any] = {}
    record: dict[str, Any] = {}


class _Entry(msgspec.Struct):
    tap_stream_id: str
    schema: dict[str, Any]
    stream: str | None = None


class _Catalog(msgspec.Struct):
    streams: list[_Entry]


def fields_in(
    schema: object, path: Path = (), *, parent_may_be_null: bool = False
) -> Iterator[tuple[Path, dict[str, Any], bool]]:
    """Every field but objects: its path, its schema, and whether an object around it may be null."""
    for name, inner in properties_of(schema).items():
        here = (*path, name)
        if properties_of(inner) and len(here) < _MAX_DEPTH:
            may_be_null = parent_may_be_null or "null" in types_of(inner)
            yield from fields_in(inner, here, parent_may_be_null=may_be_null)
        elif isinstance(inner, dict):
            yield here, inner, parent_may_be_null


def from_output(lines: Iterable[bytes]) -> dict[str, StreamSample]:
    """The samples of Singer messages, by stream. Raises InvalidLine."""
    found: dict[str, StreamSample] = {}
    for number, line in enumerate(lines, 1):
        try:
            message = msgspec.json.decode(line.strip() or b"{}", type=_Message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidLine(
                "the line is not a Singer message.", "Check what the tap printed.", line=number
            ) from None
        if message.type == "SCHEMA":
            found.setdefault(message.stream, StreamSample({})).schema = message.schema
        elif message.type == "RECORD" and message.stream in found:
            found[message.stream].add(message.record)
    return found


def from_catalog(text: bytes) -> dict[str, StreamSample]:
    """The samples of a tap's catalog, by stream. Raises MapFailed."""
    try:
        entries = msgspec.json.decode(text, type=_Catalog).streams
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MapFailed(
            "this is not a Singer catalog.", "Make one with: TAP --config tap.json --discover"
        ) from None
    return {one.stream or one.tap_stream_id: StreamSample(one.schema) for one in entries}
