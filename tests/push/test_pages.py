from __future__ import annotations

import json
import uuid
from datetime import date, datetime, timezone
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.push.errors import RecordTooLarge
from target_sprinto.push.protocol.encoding import encoded
from target_sprinto.push.protocol.pages import Item, Page, PageBuilder, page_sizes

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = st.sampled_from(["User", "Device", "Zürich ✓", 'quo"te', ""])
RECORDS = st.lists(st.tuples(NAMES, st.text(max_size=60)), max_size=80)


def body(text: str) -> bytes:
    return json.dumps({"text": text}, ensure_ascii=False).encode()


def build(records: Iterable[tuple[str, str]], max_items: int, max_bytes: int) -> list[Page]:
    builder = PageBuilder(max_items, max_bytes)
    pages = [page for name, text in records if (page := builder.add(name, body(text)))]
    if last := builder.flush():
        pages.append(last)
    return pages


@given(records=RECORDS, max_items=st.integers(1, 100), max_bytes=st.integers(400, 3000))
def test_no_record_is_lost_added_or_moved(
    records: list[tuple[str, str]], max_items: int, max_bytes: int
) -> None:
    pages = build(records, max_items, max_bytes)
    items = [(item.entity_type, item.body) for page in pages for item in page.items]
    assert items == [(name, body(text)) for name, text in records]


@given(records=RECORDS, max_items=st.integers(1, 100), max_bytes=st.integers(400, 3000))
def test_both_limits_hold_for_the_encoded_body(
    records: list[tuple[str, str]], max_items: int, max_bytes: int
) -> None:
    for page in build(records, max_items, max_bytes):
        assert 1 <= len(page.items) <= max_items
        assert len(page.encode()) <= max_bytes


@given(records=RECORDS, max_items=st.integers(1, 100), max_bytes=st.integers(400, 3000))
def test_no_page_is_closed_early(records: list[tuple[str, str]], max_items: int, max_bytes: int) -> None:
    pages = build(records, max_items, max_bytes)
    for page, following in pairwise(pages):
        grown = Page(0, (*page.items, following.items[0]))
        assert len(page.items) == max_items or len(grown.encode()) > max_bytes


@given(records=RECORDS)
def test_a_body_has_the_documented_format(records: list[tuple[str, str]]) -> None:
    for page in build(records, 100, 5_000_000):
        sent = json.loads(page.encode())
        assert list(sent) == ["entities"]
        for entity_type, entities in sent["entities"].items():
            expected = [json.loads(item.body) for item in page.items if item.entity_type == entity_type]
            assert entities == expected
        assert {name: len(entities) for name, entities in sent["entities"].items()} == dict(page.counts)


@given(records=RECORDS.filter(lambda records: len(records) > 1))
def test_halves_contain_the_same_items_in_order(records: list[tuple[str, str]]) -> None:
    for page in build(records, 100, 5_000_000):
        if len(page.items) > 1:
            first, second = page.halves()
            assert first.items + second.items == page.items
            assert abs(len(first.items) - len(second.items)) <= 1


def test_pages_are_numbered_from_one() -> None:
    assert [page.number for page in build([("User", "x")] * 5, 2, 1000)] == [1, 2, 3]


def test_a_record_that_fits_exactly_is_added() -> None:
    alone = Page(1, tuple(build([("User", "x" * 50)], 1, 1000)[0].items))
    assert len(build([("User", "x" * 50)] * 3, 100, len(alone.encode()))) == 3


def test_a_record_too_large_leaves_the_builder_unchanged() -> None:
    builder = PageBuilder(100, 200)
    builder.add("User", body("small"))
    with pytest.raises(RecordTooLarge, match="stream 'people', line 2"):
        builder.add("User", body("x" * 300), "stream 'people', line 2")
    page = builder.flush()
    assert page is not None
    assert [item.body for item in page.items] == [body("small")]


@pytest.mark.parametrize(("kept", "sizes"), [(0, [4]), (40, [2, 2]), (300, [1, 1, 1, 1])])
def test_the_origins_of_a_page_keep_no_more_bytes_than_its_json(kept: int, sizes: list[int]) -> None:
    builder = PageBuilder(100, 100)
    pages = [builder.add("User", b"{}", origin_bytes=kept) for _ in range(4)]
    assert [len(page.items) for page in (*pages, builder.flush()) if page] == sizes


def test_an_empty_builder_has_no_page() -> None:
    builder = PageBuilder()
    assert builder.flush() is None
    held = [builder.holds_records]
    builder.add("User", b"{}")
    held.append(builder.holds_records)
    assert builder.flush()
    held.append(builder.holds_records)
    assert held == [False, True, False]


@pytest.mark.parametrize("limit", [1, 2, 10, 45, 100])
def test_sizes_of_pages_in_flight_are_distinguishable(limit: int) -> None:
    sizes = page_sizes(limit)
    assert max(sizes) == sizes[0] == limit
    assert min(sizes) >= limit / 2
    assert len(set(sizes)) == len(sizes)
    for count in range(len(sizes)):
        sums = [sum(chosen) for chosen in combinations(sizes, count)]
        assert len(set(sums)) == len(sums)
    assert len(sizes) == 8 or limit < 88


def sizes_made(builder: PageBuilder, records: int) -> list[int]:
    made = (builder.add("User", b"{}") for _ in range(records))
    return [len(page.items) for page in made if page]


def test_retired_sizes_are_not_reused_while_others_remain() -> None:
    alone, together = PageBuilder(100), PageBuilder(100, pages_in_flight=2)
    assert sizes_made(alone, 200) == [100, 100]
    assert sizes_made(together, 705) == list(page_sizes(100))
    for builder in (alone, together):
        builder.retire_sizes({100, 98})
    others = [56, 76, 87, 93, 95, 96, 97, 99]
    assert sorted(sizes_made(together, sum(others))) == others
    # From then on, consecutive pages have different sizes even with one page in flight.
    assert sorted(sizes_made(alone, 99 + 96 + 93 + 87)) == [87, 93, 96, 99]
    alone.retire_sizes(range(51, 101))
    assert sorted(sizes_made(alone, 100 + 99 + 98 + 96)) == [96, 98, 99, 100]


def page(*items: tuple[str, object]) -> Page:
    return Page(1, tuple(Item(entity_type, b"{}", None, key) for entity_type, key in items))


@pytest.mark.parametrize(
    ("one", "other", "may"),
    [
        (page(("User", 1), ("User", 2)), page(("User", 3)), False),
        (page(("User", 1), ("User", 2)), page(("User", 2)), True),
        (page(("User", 1)), page(("Device", 1)), False),
        (page(("User", None)), page(("User", 2)), True),
        (page(("User", None)), page(("User", None)), True),
        (page(("User", None), ("Device", 1)), page(("Device", 2)), False),
        (page(("User", "1")), page(("User", 1)), False),
    ],
)
def test_pages_that_may_share_an_entity(one: Page, other: Page, *, may: bool) -> None:
    assert one.may_overlap(other) is may
    assert other.may_overlap(one) is may


@pytest.mark.parametrize(
    "value",
    [uuid.UUID(int=1), date(2026, 1, 1), datetime(2026, 1, 1, 9, tzinfo=timezone.utc)],
    ids=lambda value: type(value).__name__,
)
def test_keys_with_the_same_json_are_equal(value: object) -> None:
    text = json.loads(msgspec.json.encode(value))
    (body, _, one), (other_body, _, other) = (
        next(encoded([{"id": key}], 1, ("id",))) for key in (value, text)
    )
    assert body == other_body
    assert page(("User", one)).may_overlap(page(("User", other)))
