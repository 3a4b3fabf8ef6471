"""Counts rejected records, and under `divert` keeps them in a file.

A reject is identified by stream, entity type, input line, field and code. Its values are only in the file,
which only its owner can read.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from target_sprinto.errors import NothingAccepted, RejectsNotWritten, TooManyRejects
from target_sprinto.push.errors import RunEnded
from target_sprinto.push.protocol.entity_keys import in_few_bytes
from target_sprinto.push.protocol.field_paths import FieldProblem
from target_sprinto.push.protocol.find_rejects import Reject
from target_sprinto.push.protocol.pages import Item, Page
from target_sprinto.push.text import fitting, pluralize, quoted, short, suggested
from target_sprinto.receipts import document as receipt
from target_sprinto.singer.rejects.rejects_file import Original, Position, RejectsFile

log = logging.getLogger("target_sprinto")

MAX_RESPONSE_BYTES = 1_000_000
"""For all responses that a run keeps outside the rejects file; the rest is left out."""

_MAX_PROBLEMS = 100_000
"""Of all records, each counted once; after that, only the first one of a record is kept."""

_KINDS_SHOWN = 3
_ROOM = 120
"""Characters of a message that list them."""


class Source(msgspec.Struct, frozen=True, gc=False):
    """Where a record came from: messages name this instead of its values.

    `number` is the record's ordinal number in the input, set if rejects are counted; `original` is set if
    they are kept. `map` is the name of the stream map, if the stream has several.
    """

    stream: str
    line: int
    batch_place: str = ""
    number: int = 0
    original: Original | None = None
    map: str = ""

    def __str__(self) -> str:
        place = f"stream {quoted(self.stream)}, input line {self.line}"
        return f"{place}, {self.batch_place}" if self.batch_place else place


class Rejected(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A record that was not sent, or that Sprinto rejected, and why; without its values.

    `key` identifies the entity among those of its type; None if nothing does. `response` is Sprinto's
    response about it, as JSON. It may quote values, so it is only written to files.
    """

    source: Source
    entity_type: str
    key: object
    code: str
    problem: FieldProblem = FieldProblem(None, None)
    by_sprinto: bool = False
    response: bytes = b""
    problems: tuple[FieldProblem, ...] = ()
    place: Position | None = None

    def __str__(self) -> str:
        return f"{self.source}, entity type {quoted(self.entity_type)}: {self.problem} [{self.code}]"


class RejectedRecords:
    """The rejects of this run. `path` is their file, created with the first one; None to keep none.

    A rejected record is superseded once a later version of its entity was accepted.
    """

    def __init__(self, path: Path | None, limit: int, config_files: tuple[str, ...] = ()) -> None:
        self._config_files = config_files
        self._file = RejectsFile(path) if path is not None else None
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: dict[int, Rejected] = {}
        self._confirmed: list[Rejected] = []
        self._rejected_entities: set[object] = set()
        self._latest: dict[object, int] = {}
        self._response_bytes = 0
        self._problems: dict[FieldProblem, FieldProblem] = {}
        self._ended = False

    @property
    def keeps_originals(self) -> bool:
        """Whether records are kept as the tap sent them."""
        return self._file is not None

    # Called by a run at Sprinto (push/run/observer.py: Rejects)

    def keep(self, rejects: Sequence[Reject]) -> None:
        """Keep them, on disk if there is a file. Raises RejectsNotWritten."""
        with self._lock:
            if self._ended:
                raise RunEnded("The run has ended; what was in flight is abandoned.")
            for reject in rejects:
                self._kept[id(reject.item)] = self._write(_rejected(reject))
            self._sync()

    def withdraw(self, rejects: Sequence[Reject]) -> None:
        """Leave them out of the finished file."""
        with self._lock:
            for reject in rejects:
                del self._kept[id(reject.item)]

    def confirm(self, rejects: Sequence[Reject]) -> None:
        """Count them. Raises TooManyRejects."""
        with self._lock:
            for reject in rejects:
                self._count(self._kept.pop(id(reject.item)))

    def accepted(self, page: Page) -> None:
        """Note which version of each rejected entity Sprinto has now."""
        with self._lock:
            if not self._rejected_entities:
                return
            for item in page.items:
                # Only rejected entities are noted: a run may have as many entities as records.
                if (entity := _entity(item.entity_type, item.key)) in self._rejected_entities:
                    self._latest[entity] = max(_source_of(item).number, self._latest.get(entity, 0))

    def raise_if_none_accepted(self, accepted: Mapping[str, int]) -> None:
        """Raise NothingAccepted if all records of an entity type, however few, were rejected."""
        counts = Counter(rejected.entity_type for rejected in self._confirmed)
        for entity_type, count in counts.items():
            if not accepted.get(entity_type):
                all_of_them = f"All {count} records" if count > 1 else "The only record"
                raise NothingAccepted(
                    f"{all_of_them} of entity type {quoted(entity_type)}"
                    f" {'were' if count > 1 else 'was'} rejected: {self._summary(entity_type)}.",
                    "Check `entity_types` and `stream_maps`; if they are right, fix the source.",
                )

    def raise_if_more_than(self, limit: int) -> None:
        """Raise TooManyRejects."""
        if len(self._confirmed) > limit:
            raise TooManyRejects(
                f"More records were rejected than `max_rejects` ({limit}) allows: {self._summary()}.",
                "Fix them at the source or with a stream map; or raise `max_rejects`.",
            )

    # Called by the target, for records that it does not send

    def add(self, rejected: Rejected) -> None:
        """Keep and count a record that must not be sent. Raises RejectsNotWritten or TooManyRejects."""
        with self._lock:
            kept = self._write(rejected)
            self._sync()
            self._count(kept)

    # The end

    @property
    def rejected(self) -> list[Rejected]:
        """All rejects, in the order of the input."""
        return sorted(self._confirmed, key=lambda rejected: rejected.source.number)

    def in_receipt(self) -> list[receipt.Reject]:
        """The same, as a receipt lists them."""
        return [
            receipt.Reject(
                one.source.line,
                one.source.batch_place,
                one.source.stream,
                one.entity_type,
                one.code,
                "sprinto" if one.by_sprinto else "target",
            )
            for one in self.rejected
        ]

    def finish(self, *, held: bool) -> str:
        """Finish the file of a run that was applied or is held; describe the rejects, if there are any."""
        left = [
            one
            for one in self.rejected
            if self._latest.get(_entity(one.entity_type, one.key), 0) <= one.source.number
        ]
        superseded = len(self._confirmed) - len(left)
        if not left and self._file is not None:
            self._file.remove()
        if not self._confirmed:
            return ""
        text = f"{pluralize(len(self._confirmed), 'record')} rejected ({self._summary()})."
        if superseded:
            are = "is" if superseded == 1 else "are"
            text += f" {superseded} of them {are} superseded: a later record of the same key was accepted."
        if not left or self._file is None:
            return text
        if problem := self._finish_file(self._file, left):
            return f"{text} {problem}"
        written = len(_places(left))
        were, them = ("was", "it") if written == 1 else ("were", "them")
        when = "after a fix, once the session is applied" if held else "after a fix"
        # Otherwise an older version would replace a newer one.
        when += f", if no later run has sent {them}"
        text += (
            f" {written} {were} written to {self._file.path}; to load {them} {when}:"
            f" {suggested('target-sprinto', '--input', str(self._file.path), config=self._config_files)}."
        )
        if any(rejected.key is not None for rejected in left):
            text += f" Sprinto may still have an older version of {them}."
        return text

    def finish_unapplied(self) -> str:
        """Finish the file of an unapplied run, whose records the tap will resend; describe where it is."""
        with self._lock:
            # The response to an abandoned page may still arrive.
            self._ended = True
        file = self._file
        if file is None or not file.written:
            return ""
        finished = file.path.with_name(f"{file.path.name}.not-applied")
        try:
            file.path = file.path.rename(finished)
        except FileNotFoundError:
            # It was removed, and is written again, under the name that says that it was not applied.
            file.path = finished
        except OSError:
            log.warning("%s could not be renamed to %s.", file.path, finished.name)
        return (
            self._finish_file(file, self.rejected) or f"The records rejected up to then are in {file.path}."
        )

    @staticmethod
    def _finish_file(file: RejectsFile, rejects: Sequence[Rejected]) -> str:
        """Finish the file; if that fails, return a sentence on what it holds."""
        try:
            file.finish(_places(rejects))
        except RejectsNotWritten as problem:
            return (
                f"{problem.message} {file.path} is unfinished: it holds"
                f" {pluralize(file.written, 'record')}, including any that Sprinto accepted later."
                " Compare it with Sprinto before you load it."
            )
        return ""

    def _summary(self, entity_type: str | None = None) -> str:
        kinds = Counter(
            (rejected.entity_type, rejected.problem.field, rejected.code)
            for rejected in self._confirmed
            if entity_type in {None, rejected.entity_type}
        ).most_common()
        named = [
            f"{count} {short(name)}{f', field {quoted(field)}' if field else ''}, {code}"
            for (name, field, code), count in kinds[:_KINDS_SHOWN]
        ]
        named = fitting(named, _ROOM)
        if more := sum(count for _, count in kinds[len(named) :]):
            named.append(f"{more} for other reasons")
        return "; ".join(named)

    def _count(self, rejected: Rejected) -> None:
        self._confirmed.append(rejected)
        log.debug("Rejected: %s", rejected)
        self.raise_if_more_than(self._limit)

    def _write(self, rejected: Rejected) -> Rejected:
        """Write it to the file; return what is kept in memory: no bytes of the record, each string once."""
        key = rejected.key
        if key is not None:
            entity = _entity(rejected.entity_type, key)
            # A later version is sent only after this one is resolved, so it is noted in time.
            self._rejected_entities.add(entity)
            key = entity[1]
        source, place = rejected.source, None
        if self._file is not None and source.original is not None:
            place = self._file.append(source.stream, source.original, _reason(rejected))
        self._response_bytes += len(rejected.response)
        problems = rejected.problems[: 1 if len(self._problems) > _MAX_PROBLEMS else None]
        return msgspec.structs.replace(
            rejected,
            source=msgspec.structs.replace(source, stream=sys.intern(source.stream), original=None),
            key=key,
            problem=FieldProblem(*(text and sys.intern(text) for text in rejected.problem)),
            response=rejected.response if self._response_bytes <= MAX_RESPONSE_BYTES else b"",
            problems=tuple(self._problems.setdefault(one, one) for one in problems),
            place=place,
        )

    def _sync(self) -> None:
        if self._file is not None:
            self._file.sync()


def _entity(entity_type: str, key: object) -> tuple[str, object]:
    """What identifies an entity."""
    return entity_type, in_few_bytes(key)


def _places(rejects: Sequence[Rejected]) -> list[Position]:
    """Where the records are. A record that several stream maps rejected is loaded once."""
    return list({one.source.number or one.place: one.place for one in rejects if one.place}.values())


def _reason(rejected: Rejected) -> dict[str, Any]:
    by = "sprinto" if rejected.by_sprinto else "entity-schema" if rejected.problems else "target"
    reason: dict[str, Any] = {"entity_type": rejected.entity_type, "code": rejected.code, "by": by}
    reason |= {part: text for part, text in rejected.problem._asdict().items() if text}
    return reason | ({"response": msgspec.Raw(rejected.response)} if rejected.response else {})


def _source_of(item: Item) -> Source:
    # `push` returns the origin that it was given.
    return cast("Source", item.origin)


def _rejected(reject: Reject) -> Rejected:
    item = reject.item
    return Rejected(
        _source_of(item),
        item.entity_type,
        item.key,
        reject.code,
        reject.problem,
        by_sprinto=True,
        response=reject.response,
    )
