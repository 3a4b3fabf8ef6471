from __future__ import annotations

from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.push.errors import PageRefused
from target_sprinto.push.protocol.find_rejects import (
    FirstRejection,
    IndexConventions,
    Reject,
    SubPage,
    split_rejected,
)
from target_sprinto.push.protocol.pages import Item, Page
from target_sprinto.push.protocol.rejections import no_field

TYPES = ("User", "Device", "Vendor")


class Refusing:
    """A Sprinto that rejects pages: with one index convention, naming all records, the first, or none."""

    def __init__(self, bad: set[int], within: str, base: int, *, names: str) -> None:
        self.bad = bad
        self.within = within
        self.base = base
        self.names = names
        self.requests = 0

    def details(self, page: Page) -> list[dict[str, Any]] | None:
        self.requests += 1
        found: list[dict[str, Any]] = []
        position = 0
        for entity_type, items in page.by_entity_type.items():
            for index, item in enumerate(items):
                if item.origin in self.bad:
                    counted = index if self.within == "type" else position
                    found.append({"entity_type": entity_type, "index": counted + self.base, "field": "f"})
                position += 1
        if not found:
            return None
        return {"all": found, "first": found[:1], "none": [], "nonsense": [{"index": "x"}]}[self.names]


def settle(page: Page, sprinto: Refusing, conventions: IndexConventions) -> tuple[list[object], list[object]]:
    """Return the numbers of accepted and rejected records, in order."""
    accepted: list[object] = []
    rejected: list[Reject] = []
    first = sprinto.details(page)
    if first is None:
        return [item.origin for item in page.items], []
    waiting = [SubPage(page, FirstRejection(page, first))]
    while waiting:
        part = waiting.pop(0)
        details = first if part.page is page else sprinto.details(part.page)
        if details is None:
            accepted += [item.origin for item in part.page.items]
            rejected += part.suspects
            if part.first is not None:
                conventions.rule_out(part.first, part.page)
            continue
        division = split_rejected(part, PageRefused("", details=tuple(details)), conventions, no_field)
        rejected += division.blamed
        waiting = [*division.parts, *waiting]
    return accepted, [reject.item.origin for reject in rejected]


PAGES = st.lists(st.tuples(st.sampled_from(TYPES), st.booleans()), min_size=1, max_size=40)


@given(
    st.lists(PAGES, min_size=1, max_size=4),
    st.sampled_from(["type", "page"]),
    st.sampled_from([0, 1]),
    st.sampled_from(["all", "first", "none", "nonsense"]),
)
def test_exactly_the_invalid_records_are_rejected(
    pages: list[list[tuple[str, bool]]], within: str, base: int, names: str
) -> None:
    conventions = IndexConventions()
    for drawn in pages:
        body = msgspec.json.encode({})
        page = Page(1, tuple(Item(entity_type, body, n) for n, (entity_type, _) in enumerate(drawn)))
        bad = {number for number, (_, is_bad) in enumerate(drawn) if is_bad}
        accepted, rejected = settle(page, Refusing(bad, within, base, names=names), conventions)
        assert sorted(map(str, accepted)) == sorted(str(n) for n in range(len(drawn)) if n not in bad)
        assert sorted(map(str, rejected)) == sorted(map(str, bad))


@pytest.mark.parametrize(("within", "base"), list(product(["type", "page"], [0, 1])))
def test_learned_index_conventions_save_requests(within: str, base: int) -> None:
    conventions = IndexConventions()
    requests = []
    for number in range(6):
        items = tuple(Item(TYPES[n % 2], b"{}", n) for n in range(100))
        sprinto = Refusing({(7 * number + 3) % 100, 50}, within, base, names="all")
        settle(Page(number, items), sprinto, conventions)
        requests.append(sprinto.requests)
    # The page, and the page without the named records.
    assert requests[-3:] == [2, 2, 2]


def page_of(*entity_types: str) -> Page:
    return Page(1, tuple(Item(name, b"{}", number) for number, name in enumerate(entity_types)))


def test_a_response_that_names_every_record_leaves_no_empty_page_to_send() -> None:
    page = page_of("User", "User", "User")
    details: tuple[dict[str, object], ...] = tuple({"entity_type": "User", "index": at} for at in range(3))
    assert IndexConventions().match(page, details) == []
    split = split_rejected(
        SubPage(page, FirstRejection(page, details)),
        PageRefused("", details=details),
        IndexConventions(),
        no_field,
    )
    assert [len(part.page.items) for part in split.parts] == [1, 2]


@pytest.mark.parametrize("index", [True, False, "1", 1.0, None, -1, 99])
def test_an_invalid_index_names_no_record(index: object) -> None:
    details = [{"entity_type": "User", "index": index}]
    assert IndexConventions().match(page_of("User", "User", "User"), details) == []


def test_an_index_without_a_type_is_the_pages_if_it_has_several_types() -> None:
    found = IndexConventions().match(page_of("User", "Device", "User"), [{"index": 2}])
    assert [item.origin for item, _ in found] == [1]
    # By type, the page's third item is the Device.
    found = IndexConventions().match(page_of("User", "User", "User"), [{"index": 2}])
    assert [item.origin for item, _ in found] == [2]


def test_the_first_record_can_be_named() -> None:
    found = IndexConventions().match(page_of("User", "User"), [{"entity_type": "User", "index": 0}])
    assert [item.origin for item, _ in found] == [0]


def test_conventions_that_all_contradict_the_responses_are_kept() -> None:
    conventions = IndexConventions()
    page = page_of("User", "User", "User")
    details = [{"entity_type": "User", "index": 1}]
    conventions.rule_out(FirstRejection(page, details), page)
    assert conventions.match(page, details)
