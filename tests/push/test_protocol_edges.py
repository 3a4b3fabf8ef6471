"""Decisions of the pure protocol files that no neighbouring test pins down."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest

from target_sprinto.push.errors import PageRefused
from target_sprinto.push.protocol.activity_log import (
    SessionLook,
    created_under,
    is_latest,
    logged_sessions,
    moves_with_each_look,
    shows_life,
)
from target_sprinto.push.protocol.encoding import encoded
from target_sprinto.push.protocol.entity_keys import entity_key
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
from tests.push.test_activity_log import FIRST, NOW, UUID, at, event

CREATED = "session_created"


# The activity log


def test_the_latest_session_has_no_later_one_among_several() -> None:
    """An expired session must not be applied over a newer one, however many older ones there are."""
    log = [event("old", 0, CREATED), event("own", 5, CREATED), event("new", 9, CREATED)]
    assert not is_latest("own", log)
    assert is_latest("new", log)


def test_a_session_created_in_the_same_moment_counts_as_later() -> None:
    assert not is_latest("own", [event("own", 5, CREATED), event("other", 5, CREATED)])


def test_a_creation_that_is_listed_twice_counts_from_the_first_time() -> None:
    log = [event("own", 0, CREATED), event("other", 5, CREATED), event("own", 9, CREATED)]
    assert not is_latest("own", log)


def test_an_own_creation_without_a_time_shows_no_order() -> None:
    assert not is_latest("own", [event("own", 0, CREATED) | {"at": None}])


def test_two_looks_show_that_looking_moves_the_activity() -> None:
    assert moves_with_each_look([NOW, NOW + timedelta(minutes=1)])


def test_a_reference_is_found_behind_an_event_without_a_session() -> None:
    reference = f"evidence/{UUID}"
    log = [event(each, 0, CREATED, client_reference_id=reference) for each in (None, "x y", "a")]
    assert created_under(reference, log) == "a"


def test_sessions_without_a_creation_are_sorted_by_their_first_event() -> None:
    log = [event("a", 5), event("a", 99), event("b", 10), event("b", 20)]
    assert [one.id for one in logged_sessions(log)] == ["b", "a"]


@pytest.mark.parametrize("shown", [{"reference": f"evidence/{UUID}"}, {"any": [f"evidence/{UUID}"]}])
def test_a_reference_is_recognised_by_its_form_in_any_field(shown: dict[str, Any]) -> None:
    (session,) = logged_sessions([event("a", 0, CREATED, **shown)])
    assert session.reference == f"evidence/{UUID}"


def test_an_empty_reference_is_none() -> None:
    (session,) = logged_sessions([event("a", 0, CREATED, client_reference_id="")])
    assert session.reference is None


def test_silence_is_measured_without_an_event() -> None:
    assert FIRST._replace(event_at=None).silence_seconds == 700


def test_a_sign_of_life_in_the_future_means_no_silence() -> None:
    assert FIRST._replace(event_at=at(50)).silence_seconds == 0


@pytest.mark.parametrize("which", [0, 1])
def test_request_times_are_not_compared_if_one_look_has_no_time(which: int) -> None:
    looks = [FIRST, FIRST._replace(at=at(600), requested_at=at(300))]
    looks[which] = looks[which]._replace(at=None, updated_at=None, requested_at=None)
    assert not shows_life(*looks)


def test_a_request_time_that_only_the_expiry_showed_shows_no_life() -> None:
    first = SessionLook(at(0), {"User": 1}, None, at(-700), at(-100))
    assert not shows_life(first, first._replace(at=at(600), updated_at=at(-100)))


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


# Entity keys


def test_a_fraction_is_part_of_a_key() -> None:
    assert entity_key([Decimal("1.5")]) != entity_key([1])
    assert entity_key([1.5]) == entity_key([Decimal("1.50")])


def test_a_huge_number_is_compared_without_writing_it_out() -> None:
    (value,) = entity_key([Decimal("1e999999")]) or ()
    assert isinstance(value, Decimal)
    assert entity_key([10**40]) == entity_key([Decimal("1e40")])
    assert entity_key([10**39]) == entity_key([Decimal("1e39")]) == entity_key([Decimal(10) ** 39])


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
