"""Gathers records into pages, in the order of arrival, limited by items and by bytes. Pure.

A page's body is ``{"entities": {entity_type: [object, …]}}`` (Sprinto: Pushing Entities Data). Its items are
the records' own JSON bytes, so nothing is decoded or encoded again, and the size of the body is known
before it is built.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import msgspec

from target_sprinto.push.errors import RecordTooLarge
from target_sprinto.push.text import quoted

MAX_ITEMS = 100
"""Maximum items in a page, over all entity types (Sprinto: Custom Integrations, Batching)."""

MAX_BYTES = 5_000_000
"""Maximum bytes of a page's JSON before compression: the smaller reading of "e.g. 5 MB"."""

_SIZE_OFFSETS = (0, 1, 2, 4, 7, 13, 24, 44)
"""How much smaller each of eight pages is: no two sets of equally many pages have the same total size."""

MAX_DISTINGUISHABLE = len(_SIZE_OFFSETS)
"""Maximum pages in flight at once that can be distinguished by their sizes."""

_IN_TURN_AFTER_A_LOSS = 4
"""Number of sizes used in turn once a page was sent again, even if pages are sent one at a time."""

_GZIP_LEVEL = 1
"""Fast, and small enough: evidence is repetitive JSON."""

_ENVELOPE_BYTES = len(b'{"entities":{}}')
_BRACKETS_BYTES = len(b"[]")


class Item(msgspec.Struct, frozen=True, gc=False):
    """One record to send: its JSON bytes, and an opaque origin that a rejection returns.

    `key` identifies the entity within its type: any hashable value, or None if it is not known.
    `origin_bytes` is how much memory the origin keeps, if that depends on the record.
    """

    entity_type: str
    body: bytes
    origin: object
    key: object = None
    origin_bytes: int = 0


@dataclass(frozen=True)
class Page:
    """Items that are sent, and accepted or rejected, together. `number` counts from 1 within the run."""

    number: int
    items: tuple[Item, ...]

    @cached_property
    def counts(self) -> Counter[str]:
        """Items by entity type: ``{entity_type: int}``."""
        return Counter({entity_type: len(items) for entity_type, items in self.by_entity_type.items()})

    @cached_property
    def held_bytes(self) -> int:
        """Bytes that its records keep in memory; elsewhere, a page's size is its number of items."""
        return sum([len(item.body) + item.origin_bytes for item in self.items])

    @cached_property
    def _key_hashes(self) -> frozenset[int]:
        # Faster to compare than keys; after a collision the pages are merely sent one after the other.
        return frozenset([hash((item.entity_type, item.key)) for item in self.items])

    @cached_property
    def _unkeyed(self) -> frozenset[str]:
        return frozenset([item.entity_type for item in self.items if item.key is None])

    def may_overlap(self, other: Page) -> bool:
        """Whether both may hold the same entity, so that their order matters."""
        return (
            not self._key_hashes.isdisjoint(other._key_hashes)
            or not self._unkeyed.isdisjoint(other.counts)
            or not other._unkeyed.isdisjoint(self.counts)
        )

    @cached_property
    def by_entity_type(self) -> dict[str, list[Item]]:
        """``{entity_type: [Item]}``, types in the order of their first item."""
        grouped: dict[str, list[Item]] = {}
        for item in self.items:
            if (items := grouped.get(item.entity_type)) is None:
                items = grouped[item.entity_type] = []
            items.append(item)
        return grouped

    def encode(self) -> bytes:
        """The request's body, uncompressed."""
        groups = (
            _key(entity_type) + b"[" + b",".join([item.body for item in items]) + b"]"
            for entity_type, items in self.by_entity_type.items()
        )
        return b'{"entities":{' + b",".join(groups) + b"}}"

    def halves(self) -> Iterator[Page]:
        """The same items as two pages, in order. Only for pages of two items or more."""
        middle = len(self.items) // 2
        yield Page(self.number, self.items[:middle])
        yield Page(self.number, self.items[middle:])


def compressed(body: bytes) -> bytes:
    """The body as gzip: always the same bytes for the same page, because the header's time is fixed."""
    return gzip.compress(body, compresslevel=_GZIP_LEVEL, mtime=0)


def page_sizes(max_items: int) -> tuple[int, ...]:
    """Sizes by which the growth of Sprinto's counts identifies the pages that landed, largest first."""
    return tuple(max_items - less for less in _SIZE_OFFSETS if less <= max_items // 2)


def too_large(body: bytes, origin: object, entity_type: str, max_bytes: int = MAX_BYTES) -> RecordTooLarge:
    """The error for a record that does not fit into a page even alone."""
    return RecordTooLarge(
        f"A record of {len(body):,} bytes is larger than a page, {max_bytes:,} bytes of JSON"
        f" ({origin}, entity type {quoted(entity_type)})."
    )


class PageBuilder:
    """Gathers the records of all streams into pages, in the order of arrival.

    One builder serves a whole run, so the leftover records of many small streams share a page. Pages have
    as many items as allowed; if several are in flight at once, they have distinguishable sizes, in turn.
    The origins of a page keep at most as many bytes as its JSON may have, unless one alone keeps more.
    `added` counts the records added.
    """

    def __init__(
        self, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES, *, pages_in_flight: int = 1
    ) -> None:
        self.added = 0
        self._max_items = max_items
        self._sizes = page_sizes(max_items)
        self._in_turn = 1 if pages_in_flight == 1 else MAX_DISTINGUISHABLE
        self._size = max_items
        self._max_bytes = max_bytes
        self._number = 0
        self._items: list[Item] = []
        self._entity_types: set[str] = set()
        self._bytes = _ENVELOPE_BYTES
        self._origin_bytes = 0

    def retire_sizes(self, sizes: Collection[int]) -> None:
        """Make no more pages of these sizes while there are others: one may still land a second time.

        As many sizes are used as before: those of `page_sizes`, then any others of more than half a page.
        """
        best = page_sizes(self._max_items)
        others = (size for size in range(self._max_items, self._max_items // 2, -1) if size not in best)
        self._sizes = tuple(size for size in (*best, *others) if size not in sizes)[: len(best)] or best
        # Existing pages have the size of the lost one; the next ones must differ from each other.
        self._in_turn = max(self._in_turn, _IN_TURN_AFTER_A_LOSS)
        self._choose_size()

    def _choose_size(self) -> None:
        sizes = self._sizes[: self._in_turn]
        self._size = sizes[self._number % len(sizes)]

    def add(
        self,
        entity_type: str,
        body: bytes,
        origin: object = None,
        key: object = None,
        origin_bytes: int = 0,
    ) -> Page | None:
        """Add one record; return the page that is now complete, if any.

        Raises RecordTooLarge, and changes nothing, if the record does not fit into a page even alone.
        """
        complete = None
        comma = 1 if self._items else 0
        growth = comma + len(body)
        if entity_type not in self._entity_types:
            growth += _type_bytes(entity_type)
        if self._bytes + growth > self._max_bytes or self._origin_bytes + origin_bytes > self._max_bytes:
            growth = _type_bytes(entity_type) + len(body)
            if _ENVELOPE_BYTES + growth > self._max_bytes:
                raise too_large(body, origin, entity_type, self._max_bytes)
            complete = self.flush()
        self._bytes += growth
        self._origin_bytes += origin_bytes
        self._entity_types.add(entity_type)
        self._items.append(Item(entity_type, body, origin, key, origin_bytes))
        self.added += 1
        if len(self._items) >= self._size and complete is None:
            return self.flush()
        return complete

    @property
    def holds_records(self) -> bool:
        """Whether there are records that are not in a page yet."""
        return bool(self._items)

    def flush(self) -> Page | None:
        """Complete the page gathered so far and return it, if it has any items."""
        if not self._items:
            return None
        self._number += 1
        self._choose_size()
        page = Page(self._number, tuple(self._items))
        self._items = []
        self._entity_types = set()
        self._bytes = _ENVELOPE_BYTES
        self._origin_bytes = 0
        return page


def _key(entity_type: str) -> bytes:
    return msgspec.json.encode(entity_type) + b":"


def _type_bytes(entity_type: str) -> int:
    """Bytes of an entity type in a page, without its records."""
    return len(_key(entity_type)) + _BRACKETS_BYTES
