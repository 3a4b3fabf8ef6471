from __future__ import annotations

import time
from collections import Counter
from itertools import chain, combinations, product
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.push.api_calls import RetryPolicy
from target_sprinto.push.errors import CountMismatch, RunEnded
from target_sprinto.push.protocol.in_doubt import committed_pages
from target_sprinto.push.protocol.lifecycle import OnCountMismatch
from target_sprinto.push.protocol.responses import SessionStatus
from target_sprinto.push.run.staged_pages import StagedPages
from target_sprinto.push.timing import Timings

if TYPE_CHECKING:
    from target_sprinto.push.api_calls import ApiClient

COUNTS = st.dictionaries(st.sampled_from(["User", "Device"]), st.integers(1, 4), min_size=1)


def total(counts: list[dict[str, int]]) -> dict[str, int]:
    added: Counter[str] = Counter()
    for one in counts:
        added.update(one)
    return dict(added)


@given(before=COUNTS | st.just({}), pages=st.lists(COUNTS, max_size=4), data=st.data())
def test_a_subset_is_found_exactly_if_its_sum_is_unique(
    before: dict[str, int], pages: list[dict[str, int]], data: st.DataObject
) -> None:
    indexes = range(len(pages))
    subsets = list(chain.from_iterable(combinations(indexes, size) for size in range(len(pages) + 1)))
    landed = data.draw(st.sampled_from(subsets))
    now = total([before, *(pages[index] for index in landed)])
    same = [subset for subset in subsets if total([before, *(pages[index] for index in subset)]) == now]
    assert committed_pages(before, now, pages) == (frozenset(landed) if len(same) == 1 else None)


def test_one_page_landed_or_not() -> None:
    assert committed_pages({"User": 5}, {"User": 5}, [{"User": 3}]) == frozenset()
    assert committed_pages({"User": 5}, {"User": 8}, [{"User": 3}]) == frozenset({0})
    assert committed_pages({"User": 5}, {"User": 7}, [{"User": 3}]) is None
    assert committed_pages({"User": 5}, {"User": 11}, [{"User": 3}]) is None
    assert committed_pages({"User": 5}, {"User": 4}, [{"User": 3}]) is None
    assert committed_pages({"User": 5}, {"User": 5, "Device": 3}, [{"User": 3}]) is None
    assert committed_pages({}, {"User": 0}, [{"User": 3}]) == frozenset()


def test_one_page_or_two_others_is_ambiguous() -> None:
    assert committed_pages({}, {"User": 3}, [{"User": 3}, {"User": 2}, {"User": 1}]) is None


def test_sizes_with_distinct_sums_identify_any_subset_of_eight() -> None:
    pages = [{"User": size} for size in (100, 99, 98, 96, 93, 87, 76, 56)]
    for size in range(9):
        for subset in combinations(range(8), size):
            grown = {"User": sum(pages[index]["User"] for index in subset)}
            assert committed_pages({}, grown, pages) == frozenset(subset)


@given(pages=st.lists(COUNTS, max_size=3), resent=st.lists(COUNTS, max_size=3), data=st.data())
def test_pages_that_may_have_landed_twice_are_never_guessed(
    pages: list[dict[str, int]], resent: list[dict[str, int]], data: st.DataObject
) -> None:
    landed = data.draw(st.sets(st.sampled_from(range(len(pages))))) if pages else set()
    twice = data.draw(st.sets(st.sampled_from(range(len(resent))))) if resent else set()
    now = total([*(pages[index] for index in landed), *(resent[index] for index in twice)])
    found = committed_pages({}, now, pages, resent=resent)
    # A result is correct: none of the resent pages has landed twice.
    assert found is None or (found == landed and not twice)


def test_either_try_of_a_page_may_land() -> None:
    pages = [{"User": 3}, {"User": 2}]
    assert committed_pages({}, {"User": 3}, pages, tries=[2, 1]) == frozenset({0})
    assert committed_pages({}, {"User": 5}, pages, tries=[2, 1]) == frozenset({0, 1})
    # It must not land twice.
    assert committed_pages({}, {"User": 6}, pages, tries=[2, 1]) is None


def test_both_tries_of_one_page_may_look_like_two_other_pages() -> None:
    pages = [{"User": 100}, {"User": 98}, {"User": 96}]
    assert committed_pages({}, {"User": 196}, pages, tries=[1, 1, 1]) == frozenset({0, 2})
    assert committed_pages({}, {"User": 196}, pages, tries=[1, 2, 1]) is None


@given(
    tries=st.lists(st.tuples(COUNTS, st.integers(1, 2)), max_size=4),
    resent=st.lists(COUNTS, max_size=3),
    data=st.data(),
)
def test_each_try_may_land(
    tries: list[tuple[dict[str, int], int]], resent: list[dict[str, int]], data: st.DataObject
) -> None:
    may_land = [*tries, *((page, 1) for page in resent)]
    ways = list(product(*(range(most + 1) for _, most in may_land)))

    def grown(way: tuple[int, ...]) -> dict[str, int]:
        return total([page for (page, _), times in zip(may_land, way, strict=True) for _ in range(times)])

    landed = data.draw(st.sampled_from(ways))
    same = [way for way in ways if grown(way) == grown(landed)]
    pages, others = landed[: len(tries)], landed[len(tries) :]
    message = len(same) == 1 and not any(others) and max(pages, default=0) <= 1
    expected = frozenset(index for index, times in enumerate(pages) if times) if message else None
    open_pages, most = [page for page, _ in tries], [times for _, times in tries]
    assert committed_pages({}, grown(landed), open_pages, resent=resent, tries=most) == expected


def test_too_many_combinations_are_ambiguous() -> None:
    many = [{"User": 2**number} for number in range(40)]
    assert committed_pages({}, {"User": 9}, many) == frozenset({0, 3})
    assert committed_pages({}, {"User": 2**40 - 1}, many) is None


def test_many_resent_pages_are_resolved_quickly() -> None:
    resent = [{"User": 100}] * 500
    assert committed_pages({}, {"User": 100}, [{"User": 100}], resent=resent) is None
    assert committed_pages({}, {"User": 99}, [{"User": 99}], resent=resent) == frozenset({0})
    assert committed_pages({}, {}, [{"User": 100}], resent=resent) == frozenset()


class Counts:
    """A client whose status shows each of these counts in turn, and the last one from then on."""

    timings = Timings(recheck_interval=0.01)

    def __init__(self, *counts: int) -> None:
        self.left = list(counts)

    def session_status(self, session_id: str, _: RetryPolicy) -> SessionStatus:
        count = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        return SessionStatus(session_id, "active", accepted_records_by_entity={"User": count})


def staged(*counts: int, on_count_mismatch: OnCountMismatch = OnCountMismatch.DISCARD) -> StagedPages:
    client = cast("ApiClient", Counts(*counts))
    return StagedPages(
        client,
        "session",
        Counter(User=4),
        RetryPolicy(),
        lambda: None,
        on_count_mismatch,
        resent_at=0.0,
        retire_sizes=lambda _: None,
    )


@pytest.mark.parametrize("counts", [(4,), (3, 4), (0, 3, 4)])
def test_a_resent_page_is_confirmed_by_two_equal_counts(counts: tuple[int, ...]) -> None:
    pages = staged(*counts, 4, 4)
    pages.confirm_resent(time.monotonic())
    assert not pages.late_copy_possible
    assert len(cast("Counts", pages.client).left) == 1


@pytest.mark.parametrize("counts", [(8,), (4, 8), (3, 8), (4, 3)])
def test_counts_that_a_resent_page_cannot_have_are_a_mismatch(counts: tuple[int, ...]) -> None:
    with pytest.raises(CountMismatch, match="but this run sent 4 User") as caught:
        staged(*counts).confirm_resent(time.monotonic())
    assert caught.value.temporary


@pytest.mark.parametrize("counts", [(8,), (4, 8)])
def test_a_mismatch_that_the_user_applies_is_left_to_the_check_before_the_close(
    counts: tuple[int, ...],
) -> None:
    pages = staged(*counts, on_count_mismatch=OnCountMismatch.APPLY)
    pages.confirm_resent(time.monotonic())
    assert pages.late_copy_possible


def test_counts_that_stay_below_are_left_to_the_check_before_the_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Counts, "timings", Timings(recheck_interval=0.01, max_count_lag=0.0))
    pages = staged(3)
    pages.confirm_resent(time.monotonic())
    assert pages.late_copy_possible


def test_a_run_that_ends_confirms_nothing_more() -> None:
    pages = staged(3)
    pages.retry_policy.cancelled.set()
    with pytest.raises(RunEnded):
        pages.confirm_resent(time.monotonic())


def test_a_resent_page_may_land_only_once_more() -> None:
    assert committed_pages({}, {"User": 6}, [{"User": 6}], resent=[{"User": 3}]) == frozenset({0})
