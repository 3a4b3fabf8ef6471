"""Rejected records: kept as a Singer file that this target can load again, or only told of.

A reject is named by stream, entity type, input line, field and code. Its values stand in the file alone,
which its owner alone can read; the reason stands beside the record.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from target_sprinto import private_files
from target_sprinto.errors import NothingAccepted, RejectsNotWritten, TooManyRejects
from target_sprinto.push.text import counted, quoted, suggested

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from target_sprinto.errors import FieldProblem
    from target_sprinto.push.protocol.bisection import Reject
    from target_sprinto.push.protocol.pages import Item, Page

log = logging.getLogger("target_sprinto")


_MAX_KEPT_BYTES = 50_000_000
"""Of all records that a run sets aside."""


class Source(msgspec.Struct, frozen=True, gc=False):
    """Where a record came from: what a message names instead of its values.

    The rest is there where rejects are kept: the how manieth record it was, its bytes as they came in (under
    `whole` its message's), and its stream's SCHEMA then.
    """

    stream: str
    line: int
    batch_place: str = ""
    number: int = 0
    record: bytes = b""
    whole: bool = False
    schema: bytes = b"{}"
    key_properties: list[str] | None = None

    def __str__(self) -> str:
        place = f"stream {quoted(self.stream)}, input line {self.line}"
        return f"{place}, {self.batch_place}" if self.batch_place else place


@dataclass(frozen=True, eq=False)
class Rejected:
    """A record that was not sent, or that Sprinto refused, and why, without a value of it.

    `key` tells the entity among those of its type; None where nothing does. `response` is what Sprinto said
    of it, as JSON, and may quote values: it is for files alone.
    """

    source: Source
    entity_type: str
    key: object
    code: str
    field: str | None = None
    issue: str | None = None
    by_sprinto: bool = False
    response: bytes = b""
    problems: tuple[FieldProblem, ...] = ()

    @property
    def by(self) -> str:
        """Whose verdict it is."""
        return "sprinto" if self.by_sprinto else "entity-schema" if self.problems else "target"

    def __str__(self) -> str:
        said = " ".join(
            part for part in (f"field {quoted(self.field)}" if self.field else "", self.issue) if part
        )
        return (
            f"{self.source}, entity type {quoted(self.entity_type)}: {said or 'no field named'} [{self.code}]"
        )


class RejectedRecords:
    """What was rejected in this run. `path` is its file, made with the first reject; None to keep none.

    A rejected record of which a later version was accepted is superseded: its evidence is at Sprinto.
    """

    def __init__(self, path: Path | None, most: int, config_files: tuple[str, ...] = ()) -> None:
        self._config_files = config_files
        self.path = path
        self._most = most
        self._lock = threading.Lock()
        self._kept: dict[int, Rejected] = {}
        self._confirmed: list[Rejected] = []
        self._latest: dict[tuple[str, object], int] = {}
        self._rejected_entities: set[tuple[str, object]] = set()
        self._file: int | None = None
        self._written = 0
        self._bytes = 0

    # What a run at Sprinto tells (push/run/sender.py: Rejects)

    def keep(self, rejects: Sequence[Reject]) -> None:
        """On disk, if anywhere, when this returns. Raises RejectsNotWritten."""
        with self._lock:
            for reject in rejects:
                self._kept[id(reject.item)] = self._write(_rejected(reject))
            self._sync()

    def withdraw(self, rejects: Sequence[Reject]) -> None:
        """They are left out of the finished file."""
        with self._lock:
            for reject in rejects:
                del self._kept[id(reject.item)]

    def confirm(self, rejects: Sequence[Reject]) -> None:
        """Count them. Raises TooManyRejects."""
        with self._lock:
            for reject in rejects:
                self._count(self._kept.pop(id(reject.item)))

    def accepted(self, page: Page) -> None:
        """Note which version of each entity Sprinto has now."""
        with self._lock:
            for item in page.items:
                entity = (item.entity_type, item.key)
                # Of those that were rejected: those of the whole run are as many as its records.
                if entity in self._rejected_entities:
                    self._latest[entity] = max(source_of(item).number, self._latest.get(entity, 0))

    def require_evidence(self, accepted: Mapping[str, int]) -> None:
        """Raise NothingAccepted for an entity type all of whose records, however few, were rejected."""
        came = Counter(rejected.entity_type for rejected in self._confirmed)
        for entity_type, count in came.items():
            if not accepted.get(entity_type):
                all_of_them = f"All {count} records" if count > 1 else "The only record"
                raise NothingAccepted(
                    f"{all_of_them} of entity type {quoted(entity_type)}"
                    f" {'were' if count > 1 else 'was'} rejected: {self._summary(entity_type)}.",
                    "Check `entity_types` and `stream_maps`: this is a wrong mapping, not a bad record.",
                )

    # What the target finds by itself, before anything is sent

    def add(self, rejected: Rejected) -> None:
        """Keep and count a record that may not be sent. Raises RejectsNotWritten or TooManyRejects."""
        with self._lock:
            self._write(rejected)
            self._sync()
            self._count(rejected)

    # The end

    @property
    def rejected(self) -> list[Rejected]:
        """All of them, in the order of the input."""
        return sorted(self._confirmed, key=lambda rejected: rejected.source.number)

    def finish(self) -> str:
        """Write the finished file, and say in sentences what was rejected; nothing if nothing was.

        For a run that was applied.
        """
        standing = [rejected for rejected in self.rejected if not self._is_superseded(rejected)]
        superseded = len(self._confirmed) - len(standing)
        if not self._confirmed:
            self._drop_file()
            return ""
        told = f"{counted(len(self._confirmed), 'record')} rejected ({self._summary()})."
        if superseded:
            told += f" {superseded} of them are superseded: a later record of the same key was accepted."
        if not standing:
            self._drop_file()
            return told
        try:
            self._rewrite(standing)
        except RejectsNotWritten as problem:
            return f"{told} {self._describe_unfinished(problem)}"
        told += (
            f" {len(standing)} stand in {self.path}; after a fix:"
            f" {suggested('target-sprinto', '--input', str(self.path), config=self._config_files)}."
        )
        if any(rejected.key is not None for rejected in standing):
            told += " Of these Sprinto may keep an older version."
        return told

    def give_up(self) -> str:
        """For a run that was not applied: the tap will send those records again. Says where the file is."""
        if self._file is None or self.path is None:
            return ""
        finished = self.path.with_name(f"{self.path.name}.not-applied")
        try:
            self.path.rename(finished)
            self.path = finished
        except OSError:
            log.warning("%s could not be renamed to %s.", self.path, finished.name)
        try:
            self._rewrite(self.rejected)
        except RejectsNotWritten as problem:
            return self._describe_unfinished(problem)
        return f"What was rejected until then stands in {self.path}."

    def _describe_unfinished(self, problem: RejectsNotWritten) -> str:
        """What the file holds when its final content could not be written."""
        return (
            f"{problem.what} {self.path} stays as it was during the run: it holds"
            f" {counted(self._written, 'record')}, also any that Sprinto accepted later."
            " Compare it with Sprinto before you load it."
        )

    def _summary(self, entity_type: str | None = None) -> str:
        counts = Counter(
            (rejected.entity_type, rejected.field, rejected.code)
            for rejected in self._confirmed
            if entity_type in {None, rejected.entity_type}
        )
        return "; ".join(
            f"{count} {name}{f', field {quoted(field)}' if field else ''}, {code}"
            for (name, field, code), count in counts.most_common()
        )

    def _is_superseded(self, rejected: Rejected) -> bool:
        if rejected.key is None:
            return False
        return self._latest.get((rejected.entity_type, rejected.key), 0) > rejected.source.number

    def _count(self, rejected: Rejected) -> None:
        self._confirmed.append(rejected)
        log.debug("Rejected: %s", rejected)
        if len(self._confirmed) > self._most:
            raise TooManyRejects(
                f"More records were rejected than `max_rejects` ({self._most}) allows: {self._summary()}.",
                "Mend them at their source or with a stream map; or raise `max_rejects`.",
            )

    # The file

    def _write(self, rejected: Rejected) -> Rejected:
        if rejected.key is not None:
            # A later version of it leaves only after this one is resolved, so it is noted in time.
            self._rejected_entities.add((rejected.entity_type, rejected.key))
        self._bytes += len(rejected.source.record)
        if self._bytes > _MAX_KEPT_BYTES:
            raise TooManyRejects(
                f"The rejected records come to more than {_MAX_KEPT_BYTES:,} bytes: {self._summary()}.",
                "Fix them at their source or with a stream map.",
            )
        if self.path is not None:
            try:
                if self._file is None:
                    private_files.make_folder(self.path.parent)
                    self._file = private_files.create(self.path)
                private_files.append(self._file, b"".join(_lines([rejected])))
            except OSError as problem:
                raise _not_written(self.path, problem) from None
            self._written += 1
        return rejected

    def _sync(self) -> None:
        if self._file is not None and self.path is not None:
            try:
                os.fsync(self._file)
            except OSError as problem:
                raise _not_written(self.path, problem) from None

    def _rewrite(self, rejects: Sequence[Rejected]) -> None:
        if self.path is None:
            return
        try:
            private_files.replace(self.path, _lines(rejects))
        except OSError as problem:
            raise _not_written(self.path, problem) from None
        self._close()

    def _drop_file(self) -> None:
        if self._file is not None and self.path is not None:
            self.path.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _lines(rejects: Sequence[Rejected]) -> Iterator[bytes]:
    """Lines of a Singer file: each stream's SCHEMA before its records, and again where it has changed."""
    known: dict[str, bytes] = {}
    for rejected in rejects:
        source = rejected.source
        stream = msgspec.json.encode(source.stream)
        schema = b'{"type":"SCHEMA","stream":%b,"schema":%b,"key_properties":%b}' % (
            stream,
            source.schema,
            msgspec.json.encode(source.key_properties or []),
        )
        if known.get(source.stream) != schema:
            known[source.stream] = schema
            yield schema + b"\n"
        reason: dict[str, object] = {"entity_type": rejected.entity_type, "code": rejected.code}
        reason["by"] = rejected.by
        reason |= {"field": rejected.field} if rejected.field else {}
        reason |= {"issue": rejected.issue} if rejected.issue else {}
        reason |= {"response": msgspec.Raw(rejected.response)} if rejected.response else {}
        message = b'{"type":"RECORD","stream":%b,"record":%b}' % (stream, source.record)
        if source.whole:
            message = source.record.rstrip()
        yield b'%b,"reject":%b}\n' % (message[:-1], msgspec.json.encode(reason))


def _not_written(path: Path, problem: OSError) -> RejectsNotWritten:
    return RejectsNotWritten(
        f"The rejected records cannot be written to {path} ({private_files.reason(problem)}).",
        "Let `rejects_dir` be a folder that this target can write to.",
    )


def source_of(item: Item) -> Source:
    """Where the item of a page came from."""
    source = item.origin
    assert isinstance(source, Source)  # noqa: S101 - `push` hands back what it was given
    return source


def _rejected(reject: Reject) -> Rejected:
    item = reject.item
    return Rejected(
        source_of(item),
        item.entity_type,
        item.key,
        reject.code,
        reject.field,
        reject.issue,
        by_sprinto=True,
        response=reject.response,
    )
