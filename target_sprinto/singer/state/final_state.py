"""Holds the last STATE until the end of the run, and checks that it covers the records of the input. Pure.

As found in singer-sdk 0.8 to 0.54 (`helpers/_state.py`, `streams/core.py`, `tap_base.py`):

* A tap prints the STATE that it was given before its first record, then resends the rows that are equal
  to the bookmark, and since 0.48 leaves out a STATE that has not changed.
* While a stream is read, its bookmark holds one of `MARKERS`; the end of the stream removes them. If
  `state_partitioning_keys` are not the whole context, 0.23 to 0.30 (also 0.8, 0.10) never write that STATE.
* A full table has no replication key, and so no `bookmark_properties` in its SCHEMA; its bookmark is `{}`, or
  has a partition without a value for each context, such as the parent record of a child stream.
* On SIGTERM a tap writes the STATE that it has, `{}` if it has none, and exits with 0. Since 0.50, that of a
  full table may look finished.

Other taps write a STATE at the end of each stream, changed or not. Nearly all of them name the stream that
they read in one of `CURRENT`, and clear it at the end. Some then end with `{}`. Few have `{}` as their first
STATE after records, as an SDK tap that was stopped has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from target_sprinto.errors import FinalStateUnfinished, InputError, MissingFinalState
from target_sprinto.push.protocol.pages import MAX_BYTES
from target_sprinto.push.text import pluralize, quoted
from target_sprinto.singer.input.messages import (
    MAX_STATE_VALUES,
    decode_object,
    decode_parts,
    decode_value,
    encode,
    has_more_values,
    without_nan,
)
from target_sprinto.singer.state.bookmark_comparison import is_covered

_SDK_MARKERS = ("progress_markers", "replication_key_signpost", "starting_replication_value")
MARKERS = (*_SDK_MARKERS, "max_pk_values", "last_pk_fetched")
"""In a bookmark while its stream is read; the last two are tap-mysql's, for a full table."""

CURRENT = (
    "currently_syncing",
    "current_stream",
    "currently_syncing_repo",
    "currently_sync_stream",
    "last_list_id",
)
"""In a STATE while a tap reads: the names of singer-python, tap-salesforce and its relatives, tap-github,
tap-shopify (among the bookmarks, like tap-asana's), tap-listrak."""

_names = msgspec.json.Decoder(list[str])

_CRASHED = "The tap probably crashed: check its log."
_STOPPED = "The tap was stopped, or crashed: check its log and run again."
_BY_CHOICE = "set `expect`, then `require_final_state: false`."
_NO_STATE = f"If this tap never sends a STATE, {_BY_CHOICE}"
_ALWAYS = f"If this tap always ends this way, {_BY_CHOICE}"
_FULL_TABLE = (
    f"{_CRASHED} SDK full tables over 10,000 rows or with child streams also end this way: {_BY_CHOICE}"
)
_PARTITIONED_TABLE = (
    f"{_CRASHED} Partitioned SDK full tables end this way if given a STATE: set `expect`, then run without"
    " it, or with `require_final_state: false`."
)
_MARKED = "If it persists: select a child stream's parent; `state_partitioning_keys` need SDK 0.31."
_NAMED_DIFFERENTLY = (
    "If the tap crashed, check its log. If it finished, its records name their partition differently"
    " from its STATE: with tap-jsonl, give `path` in full."
)
_NO_LONGER_INCREMENTAL = (
    f"{_CRASHED} If it is a full table now, clear the tap's state; if a mapper dropped the key, use"
    " `stream_maps`."
)


class FinalState:
    """The last STATE of an input, which is passed message by message; `value` is its JSON, if there is one.

    `require_complete` checks at the end of the input whether it is complete.

    Each record is compared with the STATE before it. Once a record is not covered, no more are decoded
    until the next STATE. Streams and bookmarks have the tap's names.
    """

    def __init__(self) -> None:
        self.value: bytes | None = None
        self._keys: dict[str, str | None] = {}
        self._with_versions: set[str] = set()
        self._saw_records = False
        self._trailing = 0
        self._uncovered: tuple[str, str, str] | None = None
        self._state: dict[str, Any] | None = None
        self._initial_state = b"{}"
        self._always_empty = True
        self._partitions: dict[str, tuple[set[tuple[str, ...]], dict[bytes, dict[str, Any]]]] = {}

    def add_schema(self, stream: str, bookmark_properties: bytes = b"") -> None:
        """Note a stream and the replication key that its SCHEMA names, as JSON: ``["updated_at"]``."""
        try:
            (self._keys[stream],) = _names.decode(bookmark_properties)
        except (ValueError, RecursionError):
            self._keys[stream] = None

    def add_version(self, stream: str) -> None:
        """Note an ACTIVATE_VERSION message: SDK taps send one only for a full table."""
        if stream in self._keys:
            self._keys[stream] = None
            self._with_versions.add(stream)

    def add_state(self, value: bytes) -> None:
        """Replace the STATE by a new one's `value`, given as JSON. Raises InputError."""
        if len(value) > MAX_BYTES or has_more_values(value, MAX_STATE_VALUES):
            raise InputError(
                f"the `value` of a STATE message has more than {MAX_BYTES:,} bytes or {MAX_STATE_VALUES:,}"
                " values.",
                "Fix the tap.",
            )
        self._saw_records = self._saw_records or self._trailing > 0
        self._trailing, self._uncovered = 0, None
        # Only one is held decoded at a time.
        self._state = None
        self._partitions.clear()
        try:
            self._state = decode_object(value)
        except ValueError:
            raise InputError(
                "the `value` of a STATE message is not an object, is nested too deeply, or has a number that"
                " cannot be held exactly.",
                "Fix the tap.",
            ) from None
        self.value = value
        self._always_empty = self._always_empty and not self._state
        if not self._saw_records:
            self._initial_state = value

    def add_record(self, stream: str, record: bytes) -> None:
        """Count a record, given as JSON, of a stream that has a SCHEMA."""
        self._trailing += 1
        if self._uncovered is None and (why := self._why_uncovered(stream, record)) is not None:
            self._uncovered = (stream, *why)

    def require_complete(self) -> None:
        """Raise MissingFinalState or FinalStateUnfinished for an input that is not complete."""
        records = pluralize(self._trailing, "record")
        if self._uncovered is not None and self._state is None:
            raise MissingFinalState(f"Input ended with {records} and no STATE.", f"{_CRASHED} {_NO_STATE}")
        if self._uncovered is not None:
            stream, why, hint = self._uncovered
            raise MissingFinalState(
                f"Input ended with {records} that the last STATE does not cover:"
                f" stream {quoted(stream)} {why}.",
                hint,
            )
        if self._state is None or not (self._saw_records or self._trailing):
            return
        if self._always_empty:
            raise FinalStateUnfinished(
                "The STATE after the last record is empty: SDK taps end this way when they are stopped.",
                f"{_STOPPED} {_ALWAYS}",
            )
        if unfinished := self._unfinished():
            stream, marker = unfinished
            raise FinalStateUnfinished(
                f"The last STATE says that stream {quoted(stream)} is unfinished (`{marker}`).",
                f"{_STOPPED} {_MARKED}" if marker in _SDK_MARKERS else _STOPPED,
            )
        bookmarks = _bookmarks_of(self._state)
        for name in CURRENT:
            if self._state.get(name) or isinstance(bookmarks.get(name), str):
                # Not quoted: it need not be a stream's name.
                raise FinalStateUnfinished(
                    f"The last STATE says that the tap was still reading a stream (`{name}`).",
                    f"{_STOPPED} {_ALWAYS}",
                )

    def _why_uncovered(self, stream: str, record: bytes) -> tuple[str, str] | None:
        """Why the last STATE does not cover a record after it, and a hint; None if it does."""
        bookmark = _bookmarks_of(self._state).get(stream)
        if not isinstance(bookmark, dict):
            return "has no bookmark in it", f"{_CRASHED} {_ALWAYS}"
        key = self._keys.get(stream)
        if key is None:
            versions = stream in self._with_versions
            why = "sent ACTIVATE_VERSION, as full tables do" if versions else "has no replication key"
            return why, _hint_for_table(bookmark, given=not self._saw_records)
        try:
            return self._why_beyond(stream, bookmark, key, decode_parts(without_nan(record)))
        except (msgspec.DecodeError, ArithmeticError, UnicodeError, RecursionError, KeyError):
            return "has a record without a value of its replication key", f"{_CRASHED} {_ALWAYS}"

    def _why_beyond(
        self, stream: str, bookmark: dict[str, Any], key: str, fields: dict[str, msgspec.Raw]
    ) -> tuple[str, str] | None:
        if bookmark.get("partitions"):
            partition = self._partition(stream, bookmark, fields)
            if partition is None:
                return "has a record of a partition without a bookmark", _NAMED_DIFFERENTLY
            bookmark = partition
        if any(marker in bookmark for marker in MARKERS):
            return "is unfinished", f"{_CRASHED} {_MARKED}"
        if bookmark.get("replication_key") != key or "replication_key_value" not in bookmark:
            return "has no value of its replication key in its bookmark", f"{_CRASHED} {_ALWAYS}"
        if (value := decode_value(fields[key])) is None:
            return "has a record whose replication key is null", f"{_CRASHED} {_ALWAYS}"
        if is_covered(value, bookmark["replication_key_value"]):
            return None
        return "is beyond its bookmark", f"{_CRASHED} {_ALWAYS}"

    def _partition(
        self, stream: str, bookmark: dict[str, Any], fields: dict[str, msgspec.Raw]
    ) -> dict[str, Any] | None:
        """The only partition whose whole context is in the record."""
        if stream not in self._partitions:
            index = _by_context(bookmark)
            self._partitions[stream] = {tuple(part["context"]) for part in index.values()}, index
        contexts, index = self._partitions[stream]
        keys = [
            _context_key({name: decode_value(fields[name]) for name in names})
            for names in contexts
            if all(name in fields for name in names)
        ]
        found = [index[key] for key in keys if key in index]
        return found[0] if len(found) == 1 else None

    def _unfinished(self) -> tuple[str, str] | None:
        """A stream of this run whose bookmark holds a marker, and the marker."""
        bookmarks = _bookmarks_of(self._state)
        # A tap with its own stream maps may send a stream under another name than its bookmark's.
        renamed = any(stream not in bookmarks for stream in self._keys)
        before = _bookmarks_of(decode_object(self._initial_state))
        for stream, bookmark in bookmarks.items():
            old = before.get(stream)
            of_this_run = stream in self._keys or (renamed and bookmark != old)
            if not of_this_run or not isinstance(bookmark, dict):
                continue
            for part in _new_parts(bookmark, old if isinstance(old, dict) else {}):
                for marker in MARKERS:
                    if marker in part:
                        return stream, marker
        return None


def _hint_for_table(bookmark: dict[str, Any], *, given: bool) -> str:
    """`given`: the last STATE may be the one that the tap was given."""
    partitions = _by_context(bookmark).values()
    if partitions and all(part.keys() == {"context"} for part in partitions):
        return _PARTITIONED_TABLE if given else _FULL_TABLE
    return _NO_LONGER_INCREMENTAL if bookmark else _FULL_TABLE


def _bookmarks_of(state: dict[str, Any] | None) -> dict[str, Any]:
    bookmarks = (state or {}).get("bookmarks")
    return bookmarks if isinstance(bookmarks, dict) else {}


def _new_parts(bookmark: dict[str, Any], old: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The bookmark and its partitions; if it has partitions, only the parts that this run has changed.

    A partition that the source no longer has keeps the markers of the run that was stopped in it.
    """
    whole = {name: value for name, value in bookmark.items() if name != "partitions"}
    if not bookmark.get("partitions"):
        yield whole
        return
    if any(whole[name] != old.get(name) for name in whole):
        yield whole
    before = _by_context(old)
    for context, part in _by_context(bookmark).items():
        if before.get(context) != part:
            yield part


def _by_context(bookmark: dict[str, Any]) -> dict[bytes, dict[str, Any]]:
    """The partitions of a stream, as SDK taps write them: ``{encoded context: partition}``."""
    partitions = bookmark.get("partitions")
    return {
        _context_key(part["context"]): part
        for part in (partitions if isinstance(partitions, list) else ())
        if isinstance(part, dict) and isinstance(part.get("context"), dict)
    }


def _context_key(context: dict[str, Any]) -> bytes:
    return encode(sorted(context.items()))
