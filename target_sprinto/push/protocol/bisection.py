"""Which records made Sprinto reject a page. Pure.

Sprinto rejects a page as a whole and names the records in it, but its documentation does not say whether an
index counts within the entity type or within the page, from 0 or from 1, and whether all are named (Sprinto:
Pushing Entities Data). So what it names is never trusted: the named records are taken out and the rest is
sent. If the rest is accepted, the named records were exactly the invalid ones: otherwise an invalid one would
still be in the rest. If not, the page is halved, and each half is sent as a page of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import msgspec

from target_sprinto.push.errors import PageRefused, PageTooLarge
from target_sprinto.push.protocol.pages import Item, Page
from target_sprinto.push.protocol.refusals import KnownField, read_fault

Fault = dict[str, object]
"""``{entity_type, index, field, issue}`` as an answer named it."""


MAX_KEPT_BYTES = 10_000
"""Of what a response says of one record, so much is kept beside it."""


class Reject(NamedTuple):
    """A record that Sprinto rejected.

    `field` and `issue` are safe to show. `response` is what Sprinto said of it, as JSON, for a file alone.
    """

    item: Item
    code: str
    field: str | None
    issue: str | None
    response: bytes = b""


class IndexConvention(NamedTuple):
    """One way of counting records in an answer."""

    within: Literal["type", "page"]
    base: Literal[0, 1]


INDEX_CONVENTIONS = (
    IndexConvention("type", 0),
    IndexConvention("type", 1),
    IndexConvention("page", 0),
    IndexConvention("page", 1),
)
"""All ways, in the order in which they are tried."""


class Naming:
    """How Sprinto's indexes are to be read, as far as its own answers have shown it."""

    def __init__(self) -> None:
        self._countings = list(INDEX_CONVENTIONS)

    def named(self, page: Page, faults: Sequence[Fault]) -> list[tuple[Item, Fault]]:
        """The records of the page that are named; none if they cannot be determined, or all of them are."""
        for counting in self._countings:
            named = named_by(counting, page, faults)
            if named and len(named) < len(page.items):
                return named
        return []

    def learn(self, first: FirstRefusal, accepted: Page) -> None:
        """Drop the ways of counting by which a record was named that was accepted after all."""
        innocent = {id(item) for item in accepted.items}
        fitting = [
            counting
            for counting in self._countings
            if innocent.isdisjoint(id(item) for item, _ in named_by(counting, first.page, first.faults))
        ]
        self._countings = fitting or self._countings


class FirstRefusal(NamedTuple):
    """A whole page that was refused, and what the response named."""

    page: Page
    faults: Sequence[Fault]


@dataclass(eq=False)
class Part:
    """A rejected page without its `suspects`: if it is accepted, they were the invalid records."""

    page: Page
    first: FirstRefusal
    suspects: list[Reject] = field(default_factory=list)
    whole: Page | None = None


class Division(NamedTuple):
    """What to send instead, and who is definitely to blame: a record that stood alone."""

    parts: list[Part]
    blamed: list[Reject]


def divide(
    page: Page, part: Part, refusal: PageRefused | PageTooLarge, naming: Naming, known_field: KnownField
) -> Division:
    """What to send instead of a refused page. `part` is what it was of the first refusal."""
    whole = part.whole or page
    code, faults = refusal.code, refusal.faults
    if len(whole.items) == 1:
        fault = faults[0] if faults else {}
        alone = _reject(whole.items[0], code, fault, known_field)
        return Division([], [alone if fault else alone._replace(response=_kept(refusal.response))])
    named = [] if part.suspects else naming.named(page, faults)
    if named:
        blamed = {id(item) for item, _ in named}
        rest = Page(page.number, tuple(item for item in page.items if id(item) not in blamed))
        suspects = [_reject(item, code, fault, known_field) for item, fault in named]
        return Division([Part(rest, part.first, suspects, whole)], [])
    return Division([Part(half, part.first) for half in whole.halves()], [])


def named_by(counting: IndexConvention, page: Page, faults: Sequence[Fault]) -> list[tuple[Item, Fault]]:
    """The records that the faults name by one way of counting, each once.

    None where one of them names nothing in the page.
    """
    groups = page.by_entity_type
    everything = [item for items in groups.values() for item in items]
    found: dict[int, tuple[Item, Fault]] = {}
    for fault in faults:
        entity_type, index = fault.get("entity_type"), fault.get("index")
        if not isinstance(index, int) or isinstance(index, bool):
            return []
        if counting.within == "page":
            items = everything
        elif isinstance(entity_type, str) and entity_type in groups:
            items = groups[entity_type]
        elif entity_type is None and len(groups) == 1:
            items = everything
        else:
            return []
        position = index - counting.base
        if not 0 <= position < len(items):
            return []
        item = items[position]
        if isinstance(entity_type, str) and item.entity_type != entity_type:
            return []
        found.setdefault(id(item), (item, fault))
    return list(found.values())


def _reject(item: Item, code: str, fault: Fault, known_field: KnownField) -> Reject:
    known = read_fault(item.entity_type, fault, known_field)
    return Reject(item, code, known.field, known.issue, _kept(msgspec.json.encode(fault)) if fault else b"")


def _kept(response: bytes) -> bytes:
    """A response's words as JSON, in one line; cut, or not JSON, as a string."""
    if len(response) <= MAX_KEPT_BYTES:
        try:
            return msgspec.json.encode(msgspec.json.decode(response))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    return msgspec.json.encode(response[:MAX_KEPT_BYTES].decode(errors="replace"))
