from __future__ import annotations

from collections import Counter
from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.push.finding import which_landed

COUNTS = st.dictionaries(st.sampled_from(["User", "Device"]), st.integers(1, 4), min_size=1)


def total(counts: list[dict[str, int]]) -> dict[str, int]:
    added: Counter[str] = Counter()
    for one in counts:
        added.update(one)
    return dict(added)


@given(before=COUNTS | st.just({}), pages=st.lists(COUNTS, max_size=4), data=st.data())
def test_the_subset_is_named_exactly_where_no_other_adds_up_to_the_same(
    before: dict[str, int], pages: list[dict[str, int]], data: st.DataObject
) -> None:
    indexes = range(len(pages))
    subsets = list(chain.from_iterable(combinations(indexes, size) for size in range(len(pages) + 1)))
    landed = data.draw(st.sampled_from(subsets))
    now = total([before, *(pages[index] for index in landed)])
    same = [subset for subset in subsets if total([before, *(pages[index] for index in subset)]) == now]
    assert which_landed(before, now, pages) == (frozenset(landed) if len(same) == 1 else None)


def test_one_page_landed_or_did_not() -> None:
    assert which_landed({"User": 5}, {"User": 5}, [{"User": 3}]) == frozenset()
    assert which_landed({"User": 5}, {"User": 8}, [{"User": 3}]) == frozenset({0})
    assert which_landed({"User": 5}, {"User": 7}, [{"User": 3}]) is None
    assert which_landed({"User": 5}, {"User": 11}, [{"User": 3}]) is None
    assert which_landed({"User": 5}, {"User": 4}, [{"User": 3}]) is None
    assert which_landed({"User": 5}, {"User": 5, "Device": 3}, [{"User": 3}]) is None
    assert which_landed({}, {"User": 0}, [{"User": 3}]) == frozenset()


def test_batches_tell_apart_what_counts_cannot() -> None:
    pages = [{"User": 3}, {"User": 2}, {"User": 1}]
    assert which_landed({}, {"User": 3}, pages) is None
    assert which_landed({}, {"User": 3}, pages, batches=1) == frozenset({0})
    assert which_landed({}, {"User": 3}, pages, batches=2) == frozenset({1, 2})
    assert which_landed({}, {"User": 3}, pages, batches=3) is None


@pytest.mark.parametrize("batches", [-1, 4, 10**30])
def test_batches_that_no_subset_has_name_none(batches: int) -> None:
    assert which_landed({}, {"User": 3}, [{"User": 3}, {"User": 2}, {"User": 1}], batches) is None


def test_sizes_with_distinct_sums_name_any_subset_of_eight() -> None:
    pages = [{"User": size} for size in (100, 99, 98, 96, 93, 87, 76, 56)]
    for size in range(9):
        for subset in combinations(range(8), size):
            grown = {"User": sum(pages[index]["User"] for index in subset)}
            assert which_landed({}, grown, pages, batches=size) == frozenset(subset)


@given(pages=st.lists(COUNTS, max_size=3), resent=st.lists(COUNTS, max_size=3), data=st.data())
def test_a_page_that_may_have_landed_twice_leaves_no_doubt_unsaid(
    pages: list[dict[str, int]], resent: list[dict[str, int]], data: st.DataObject
) -> None:
    landed = data.draw(st.sets(st.sampled_from(range(len(pages))))) if pages else set()
    twice = data.draw(st.sets(st.sampled_from(range(len(resent))))) if resent else set()
    now = total([*(pages[index] for index in landed), *(resent[index] for index in twice)])
    found = which_landed({}, now, pages, resent=resent)
    # What is told is true: nothing of what was sent again has landed as well.
    assert found is None or (found == landed and not twice)


def test_many_pages_sent_again_are_no_labour() -> None:
    resent = [{"User": 100}] * 500
    assert which_landed({}, {"User": 100}, [{"User": 100}], resent=resent) is None
    assert which_landed({}, {"User": 99}, [{"User": 99}], resent=resent) == frozenset({0})
    assert which_landed({}, {}, [{"User": 100}], resent=resent) == frozenset()
