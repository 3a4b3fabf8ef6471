"""The file of a run's rejected records: a Singer file that this target can load again.

During the run, records are appended as they are rejected. Memory holds their positions in the file, not their
bytes. The finished file has the remaining records, in the order of the input.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from target_sprinto import private_files
from target_sprinto.errors import RejectsNotWritten

_READ_BYTES = 1_000_000


class Original(msgspec.Struct, frozen=True, gc=False):
    """A record as the tap sent it, and its stream's SCHEMA at that time.

    `record` is the record's JSON or, with `is_message`, that of the whole RECORD message.
    """

    record: bytes
    schema: bytes
    key_properties: list[str] | None
    is_message: bool = False


class _Span(NamedTuple):
    start: int
    length: int


class Position(NamedTuple):
    """Where in the file a record is, and the SCHEMA that must precede it."""

    stream: str
    schema: _Span
    record: _Span


class RejectsFile:
    """Created with the first record. `written` counts records. Writing raises RejectsNotWritten."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = 0
        self._descriptor: int | None = None
        self._end = 0
        self._schemas: dict[str, tuple[object, _Span]] = {}

    def append(self, stream: str, original: Original, reason: Mapping[str, Any]) -> Position:
        """Write a record completely or not at all; `reason` is added to its message as ``"reject"``."""
        name = msgspec.json.encode(stream)
        message: tuple[bytes | memoryview, ...]
        if original.is_message:
            message = (memoryview(original.record)[:-1],)
        else:
            message = (b'{"type":"RECORD","stream":', name, b',"record":', original.record)
        record = (*message, b',"reject":', msgspec.json.encode(reason), b"}\n")
        schema: tuple[bytes, ...] = ()
        own = original.schema, original.key_properties
        known, span = self._schemas.get(stream, (None, _Span(0, 0)))
        if known != own:
            schema = (
                *(b'{"type":"SCHEMA","stream":', name, b',"schema":', original.schema),
                *(b',"key_properties":', msgspec.json.encode(original.key_properties or []), b"}\n"),
            )
            span = _Span(self._end, sum(map(len, schema)))
        with self._writing():
            if self._descriptor is None:
                private_files.make_folder(self.path.parent)
                self._descriptor = private_files.create(self.path)
            private_files.append(self._descriptor, (*schema, *record))
        place = Position(stream, span, _Span(self._end + sum(map(len, schema)), sum(map(len, record))))
        self._schemas[stream] = own, span
        self._end = place.record.start + place.record.length
        self.written += 1
        return place

    def sync(self) -> None:
        """Ensure that the appended records are on disk."""
        if self._descriptor is not None:
            with self._writing():
                os.fsync(self._descriptor)

    def finish(self, places: Sequence[Position]) -> None:
        """Rewrite the file with only these records, in this order, unless that is what it holds."""
        if self._descriptor is not None and not self._holds(self._descriptor, places):
            with self._writing():
                # The folder may have been removed; the records are still there, through the descriptor.
                private_files.make_folder(self.path.parent)
                private_files.replace(self.path, self._content(self._descriptor, places))
        self._close()

    def remove(self) -> None:
        """Delete the file. Raises OSError."""
        if self._descriptor is not None:
            self.path.unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _holds(self, descriptor: int, places: Sequence[Position]) -> bool:
        # Rewriting hundreds of megabytes takes seconds, and a run that is ending has few of them.
        starts = [place.record.start for place in places]
        try:
            in_place = os.path.samestat(self.path.stat(), os.fstat(descriptor))
        except OSError:
            return False
        return in_place and len(starts) == self.written and starts == sorted(starts)

    @staticmethod
    def _content(descriptor: int, places: Iterable[Position]) -> Iterator[bytes]:
        """Each stream's SCHEMA precedes its records, and is repeated if it has changed."""
        known: dict[str, _Span] = {}
        for place in places:
            if known.get(place.stream) != place.schema:
                known[place.stream] = place.schema
                yield from _read(descriptor, place.schema)
            yield from _read(descriptor, place.record)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise RejectsNotWritten(
                f"The rejected records cannot be written to {self.path} ({private_files.reason(problem)}).",
                "Set `rejects_dir` to a folder that this target can write to.",
            ) from None


def _read(descriptor: int, span: _Span) -> Iterator[bytes]:
    for start in range(span.start, span.start + span.length, _READ_BYTES):
        yield os.pread(descriptor, min(_READ_BYTES, span.start + span.length - start), start)
