"""Which records made Sprinto reject a page. Pure.

Sprinto rejects a page as a whole and names the invalid records. Its documentation does not say whether an
index counts within the entity type or within the page, from 0 or from 1, or whether all of them are named
(Sprinto: Pushing Entities Data). So the response is never trusted: the records that it names are taken out,
and the rest is sent. If the rest is accepted, they were exactly the invalid ones: otherwise an invalid one
would still be in the rest. If it is rejected, the page is halved, and each half is sent as a separate page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from target_sprinto.push.errors import ApiError, ErrorDetail
from target_sprinto.push.protocol.field_paths import FieldProblem
from target_sprinto.push.protocol.pages import Item, Page
from target_sprinto.push.protocol.rejections import KnownField, read_detail

MAX_KEPT_BYTES = 10_000
"""How much of a response's text about one record is kept with that record."""


class Reject(NamedTuple):
    """A record that Sprinto rejected.

    `problem` is safe to show; `response`, Sprinto's text as JSON, is only for the rejects file.
    """

    item: Item
    code: str
    problem: FieldProblem
    response: bytes = b""


class IndexConvention(NamedTuple):
    """One way of counting records in a response."""

    within: Literal["type", "page"]
    base: Literal[0, 1]


INDEX_CONVENTIONS = (
    IndexConvention("type", 0),
    IndexConvention("type", 1),
    IndexConvention("page", 0),
    IndexConvention("page", 1),
)
"""All conventions, in the order in which they are tried."""


class IndexConventions:
    """The index conventions that Sprinto's responses have not ruled out so far."""

    def __init__(self) -> None:
        self._conventions = list(INDEX_CONVENTIONS)

    def match(self, page: Page, details: Sequence[ErrorDetail]) -> list[tuple[Item, ErrorDetail]]:
        """The named records of the page; empty if they cannot be determined, or if all records are named."""
        for convention in self._conventions:
            named = items_at(convention, page, details)
            if named and len(named) < len(page.items):
                return named
        return []

    def rule_out(self, first: FirstRejection, accepted: Page) -> None:
        """Drop the conventions under which a record was named that has now been accepted."""
        valid = {id(item) for item in accepted.items}
        possible = [
            convention
            for convention in self._conventions
            if valid.isdisjoint(id(item) for item, _ in items_at(convention, first.page, first.details))
        ]
        self._conventions = possible or self._conventions


class FirstRejection(NamedTuple):
    """A full page that was rejected, and the details in the response."""

    page: Page
    details: Sequence[ErrorDetail]


@dataclass(eq=False)
class SubPage:
    """A `full` page without its `suspects`: if its `page` is accepted, they were the invalid records.

    `first` is the rejection that it goes back to; None for a page that was not rejected.
    """

    full: Page
    first: FirstRejection | None = None
    suspects: Sequence[Reject] = ()

    def __post_init__(self) -> None:
        self.page = self.full
        if self.suspects:
            suspected = {id(suspect.item) for suspect in self.suspects}
            rest = tuple(item for item in self.full.items if id(item) not in suspected)
            self.page = Page(self.full.number, rest)

    def halved(self) -> Split:
        """The full page as two pages."""
        return Split([SubPage(half, self.first) for half in self.full.halves()])


class Split(NamedTuple):
    """What to send instead of a page, and the definitely invalid records: those that were rejected alone."""

    parts: Sequence[SubPage]
    blamed: Sequence[Reject] = ()


def split_rejected(
    part: SubPage, refusal: ApiError, conventions: IndexConventions, known_field: KnownField
) -> Split:
    """What to send instead of a rejected page."""
    full, code, details = part.full, refusal.code, refusal.details
    if len(full.items) == 1:
        detail = details[0] if details else {}
        alone = _reject(full.items[0], code, detail, known_field)
        return Split([], [alone if detail else alone._replace(response=_kept(refusal.response))])
    named = [] if part.suspects else conventions.match(full, details)
    if named:
        suspects = [_reject(item, code, detail, known_field) for item, detail in named]
        return Split([SubPage(full, part.first, suspects)])
    return part.halved()


def items_at(
    convention: IndexConvention, page: Page, details: Sequence[ErrorDetail]
) -> list[tuple[Item, ErrorDetail]]:
    """The records that the details name under one convention, each once; empty if one names no record."""
    groups = page.by_entity_type
    everything = [item for items in groups.values() for item in items]
    found: dict[int, tuple[Item, ErrorDetail]] = {}
    for detail in details:
        entity_type, index = detail.get("entity_type"), detail.get("index")
        if not isinstance(index, int) or isinstance(index, bool):
            return []
        if convention.within == "page" or (entity_type is None and len(groups) == 1):
            items = everything
        else:
            items = groups.get(entity_type, []) if isinstance(entity_type, str) else []
        position = index - convention.base
        if not 0 <= position < len(items):
            return []
        item = items[position]
        if isinstance(entity_type, str) and item.entity_type != entity_type:
            return []
        found.setdefault(id(item), (item, detail))
    return list(found.values())


def _reject(item: Item, code: str, detail: ErrorDetail, known_field: KnownField) -> Reject:
    problem = read_detail(item.entity_type, detail, known_field)
    return Reject(item, code, problem, _kept(msgspec.json.encode(detail)) if detail else b"")


def _kept(response: bytes) -> bytes:
    """A response's text as one line of JSON; if it has to be cut or is not JSON, as a JSON string."""
    if len(response) <= MAX_KEPT_BYTES:
        try:
            return msgspec.json.encode(msgspec.json.decode(response))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    return msgspec.json.encode(response[:MAX_KEPT_BYTES].decode(errors="replace"))
