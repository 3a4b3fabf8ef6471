"""Records become pages: gathered in the order of arrival, cut by items and by bytes. Pure.

A page's body is ``{"entities": {entity_type: [object, …]}}`` (Sprinto: Pushing Entities Data). Its items are
the records' own JSON bytes, so nothing is decoded or encoded again on the way, and the size of the body is
known before it exists.
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
"""Most items in a page, over all entity types (Sprinto: Custom Integrations, Batching)."""

MAX_BYTES = 5_000_000
"""Most bytes of a page's JSON before compression: the smaller reading of "e.g. 5 MB"."""

_SIZE_OFFSETS = (0, 1, 2, 4, 7, 13, 24, 44)
"""By how much smaller each of eight pages is, so that no two choices of equally many add up to the same."""

MAX_DISTINGUISHABLE = len(_SIZE_OFFSETS)
"""So many pages in flight at once can be distinguished by their sizes."""

_IN_TURN_AFTER_A_LOSS = 4
"""So many sizes are used in turn once a page was sent again, also where pages go one at a time."""

_GZIP_LEVEL = 1
"""Fast, and small enough: evidence is repetitive JSON."""

_ENVELOPE_BYTES = len(b'{"entities":{}}')
_BRACKETS_BYTES = len(b"[]")


class Item(msgspec.Struct, frozen=True, gc=False):
    """One record on its way: its JSON bytes, and an opaque origin that a rejection hands back.

    `key` identifies the entity within its type: any hashable value, or None if it is not known.
    """

    entity_type: str
    body: bytes
    origin: object
    key: object = None


@dataclass(frozen=True)
class Page:
    """Items that travel, and are accepted or rejected, together. `number` counts from 1 within the run."""

    number: int
    items: tuple[Item, ...]

    @cached_property
    def counts(self) -> Counter[str]:
        """Items by entity type: ``{entity_type: int}``."""
        return Counter({entity_type: len(items) for entity_type, items in self.by_entity_type.items()})

    @cached_property
    def record_bytes(self) -> int:
        """Bytes of its records' JSON; its size is how many there are."""
        return sum([len(item.body) for item in self.items])

    @cached_property
    def _key_hashes(self) -> frozenset[int]:
        # Quicker to compare than keys; where two are equal by chance, the pages go one after the other.
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
    """The same page is the same bytes whenever it is sent: the header's time is fixed."""
    return gzip.compress(body, compresslevel=_GZIP_LEVEL, mtime=0)


def page_sizes(max_items: int) -> tuple[int, ...]:
    """Sizes by which a growth of Sprinto's counts shows which pages have landed; the largest first."""
    return tuple(max_items - less for less in _SIZE_OFFSETS if less <= max_items // 2)


def too_large(body: bytes, origin: object, entity_type: str, max_bytes: int = MAX_BYTES) -> RecordTooLarge:
    """What to raise for a record that fits no page even alone."""
    return RecordTooLarge(
        f"A record of {len(body):,} bytes is larger than a page, {max_bytes:,} bytes of JSON"
        f" ({origin}, entity type {quoted(entity_type)})."
    )


class PageBuilder:
    """Gathers the records of all streams in the order of arrival into pages.

    One builder serves a whole run, so the left-over records of many small streams share a page. Pages take as
    many items as they may; where several are in flight at once they take distinguishable sizes, in turn.
    `added` counts the records taken.
    """

    def __init__(
        self, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES, *, pages_in_flight: int = 1
    ) -> None:
        self.added = 0
        self._max_items = max_items
        self._left_sizes = page_sizes(max_items)
        self._in_turn = 1 if pages_in_flight == 1 else MAX_DISTINGUISHABLE
        self._size = max_items
        self._max_bytes = max_bytes
        self._number = 0
        self._items: list[Item] = []
        self._entity_types: set[str] = set()
        self._bytes = _ENVELOPE_BYTES

    def retire_sizes(self, sizes: Collection[int]) -> None:
        """Make no pages of these sizes, while there are others: one of them may still land a second time.

        As many sizes are used as before: those of `page_sizes`, then any others of more than half a page.
        """
        best = page_sizes(self._max_items)
        others = (size for size in range(self._max_items, self._max_items // 2, -1) if size not in best)
        self._left_sizes = tuple(size for size in (*best, *others) if size not in sizes)[: len(best)] or best
        # Pages that are made already have the size of the lost one; the next are to differ from each other.
        self._in_turn = max(self._in_turn, _IN_TURN_AFTER_A_LOSS)
        self._choose_size()

    def _choose_size(self) -> None:
        sizes = self._left_sizes[: self._in_turn]
        self._size = sizes[self._number % len(sizes)]

    def add(self, entity_type: str, body: bytes, origin: object = None, key: object = None) -> Page | None:
        """Take one record; return the page that is now complete, if one is.

        Raises RecordTooLarge for a record that fits no page even alone; the builder is then as before.
        """
        complete = None
        comma = 1 if self._items else 0
        growth = comma + len(body)
        if entity_type not in self._entity_types:
            growth += _type_bytes(entity_type)
        if self._bytes + growth > self._max_bytes:
            growth = _type_bytes(entity_type) + len(body)
            if _ENVELOPE_BYTES + growth > self._max_bytes:
                raise too_large(body, origin, entity_type, self._max_bytes)
            complete = self.flush()
        self._bytes += growth
        self._entity_types.add(entity_type)
        self._items.append(Item(entity_type, body, origin, key))
        self.added += 1
        if len(self._items) >= self._size and complete is None:
            return self.flush()
        return complete

    @property
    def holds_records(self) -> bool:
        """Whether there are records that no page has taken yet."""
        return bool(self._items)

    def flush(self) -> Page | None:
        """The page gathered so far, if there is any item in it."""
        if not self._items:
            return None
        self._number += 1
        self._choose_size()
        page = Page(self._number, tuple(self._items))
        self._items = []
        self._entity_types = set()
        self._bytes = _ENVELOPE_BYTES
        return page


def _key(entity_type: str) -> bytes:
    return msgspec.json.encode(entity_type) + b":"


def _type_bytes(entity_type: str) -> int:
    """Bytes of an entity type in a page, without its records."""
    return len(_key(entity_type)) + _BRACKETS_BYTES
