"""Decisions of the pure protocol files that no neighbouring test pins down."""

from __future__ import annotations

from enum import IntEnum

import pytest

from target_sprinto.push.errors import PageRefused
from target_sprinto.push.protocol.encoding import encoded
from target_sprinto.push.protocol.find_rejects import (
    FirstRejection,
    IndexConventions,
    SubPage,
    split_rejected,
)
from target_sprinto.push.protocol.in_doubt import committed_pages
from target_sprinto.push.protocol.lifecycle import Comparison, compare_counts, keep_alive_interval
from target_sprinto.push.protocol.pages import Item, Page
from target_sprinto.push.protocol.rejections import no_field
from target_sprinto.push.protocol.responses import SessionStatus
from target_sprinto.push.protocol.retry_delay import parse_retry_after

# Counts


@pytest.mark.parametrize(
    ("accepted", "verdict"),
    [
        ({"User": 3, "Device": 1}, Comparison.EQUAL),
        ({"User": 2, "Device": 1}, Comparison.BELOW),
        ({"User": 3}, Comparison.BELOW),
        ({}, Comparison.BELOW),
        ({"User": 4}, Comparison.DIFFERENT),
        ({"User": 2, "Vendor": 1}, Comparison.DIFFERENT),
    ],
)
def test_each_comparison(accepted: dict[str, int], verdict: Comparison) -> None:
    assert compare_counts({"User": 3, "Device": 1}, accepted) is verdict


def test_a_third_of_the_inactivity_timeout_is_the_interval_just_below_the_limit() -> None:
    for timeout, interval in [(719, 719 / 3), (720, 240), (721, 240), (1, 1 / 3)]:
        status = SessionStatus("s", "active", inactivity_timeout_seconds=timeout)
        assert keep_alive_interval(status, 240) == interval


def test_a_resent_page_may_land_only_once_more() -> None:
    assert committed_pages({}, {"User": 6}, [{"User": 6}], resent=[{"User": 3}]) == frozenset({0})


# Rejections


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


# Retries


@pytest.mark.parametrize("value", ["3, 5", "5, 3", "5, soon"])
def test_the_longest_of_several_waits_counts(value: str) -> None:
    assert parse_retry_after(value) == 5


# Encoding


class Level(IntEnum):
    HIGH = 3


def test_a_subclass_of_int_is_sent_as_its_number() -> None:
    assert [body for body, _, _ in encoded([{"level": Level.HIGH}], 1, ())] == [b'{"level":3}']
