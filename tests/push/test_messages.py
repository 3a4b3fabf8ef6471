"""Messages fit into 300 characters, even if they list problems."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.errors import SettingsError
from target_sprinto.push.errors import PageRefused, SprintoError, Throttled
from target_sprinto.push.protocol.pages import Item, Page
from target_sprinto.push.protocol.rejections import describe_rejection
from target_sprinto.push.protocol.retries import Backoff
from target_sprinto.push.text import format_difference, listed
from target_sprinto.push.timing import Timings
from tests.support.message_size import LONGEST, size

parts = st.lists(st.text("abc", min_size=1, max_size=30), min_size=1, max_size=20)


@given(parts, st.integers(0, 200))
def test_a_list_shows_what_fits_and_counts_the_rest(named: list[str], room: int) -> None:
    text = listed(named, room)
    shown, _, more = text.partition("; and ")
    count = len(shown.split("; "))
    assert shown == "; ".join(named[:count])
    assert more == (f"{len(named) - count} more" if count < len(named) else "")
    assert count == 1 or len(shown) <= room
    assert count == len(named) or len("; ".join(named[: count + 1])) > room


def test_many_settings_problems_are_cut_but_kept() -> None:
    problems = [f"`setting_{number}` must be a number of seconds" for number in range(30)]
    error = SettingsError(*problems)
    assert size(error) <= LONGEST
    assert error.errors == problems


def test_a_rejection_that_names_every_record_is_short() -> None:
    items = tuple(Item("User", b"{}", f"stream 'employees', input line {number}") for number in range(100))
    faults = tuple(
        {"entity_type": "User", "index": number, "field": "workEmail", "issue": "required"}
        for number in range(100)
    )
    error = describe_rejection(Page(1, items), PageRefused("", details=faults), lambda _, field: field)
    assert "; and 99 more." in error.message
    assert size(error) <= LONGEST


def test_a_suggested_command_is_not_counted() -> None:
    short = SprintoError("x" * 100, "If its run crashed: sprintoctl discard SESSION --config FILE.")
    assert size(short) == len("x" * 100 + " If its run crashed: ")


MANY = {f"EntityTypeWithALongName{number}": 100 for number in range(9)}
OF_TWO = "100 EntityTypeWithALongName0, 100 EntityTypeWithALongName1, 7 more types"


def test_a_difference_among_many_types_shows_both_counts() -> None:
    assert format_difference(MANY, {**MANY, "User": 5}) == ("0 User", "5 User")
    assert format_difference({**MANY, "User": 5}, {**MANY, "User": 7}) == ("5 User", "7 User")
    assert format_difference({**MANY, "User": 5}, MANY, {*MANY, "User"}) == ("5 User", "0 User")


def test_many_types_without_a_named_difference_are_shown() -> None:
    assert format_difference(MANY, MANY) == (OF_TWO, OF_TWO)
    unnamed = format_difference({**MANY, "Unknown": 5}, MANY)
    assert unnamed == (f"{OF_TWO}, 5 of types that were not sent", OF_TWO)


@pytest.mark.parametrize("seconds", [400, 2_592_000, 1e9])
def test_a_wait_beyond_the_budget_is_added_within_the_limit(seconds: float) -> None:
    what = f"To open a session of '{'x' * 100}' and '{'y' * 100}' was refused."
    failure = Throttled(what, retry_after=seconds)
    with pytest.raises(Throttled, match=f"It asks to wait {int(seconds)} s") as raised:
        Backoff(300, Timings()).next_delay(failure)
    assert size(raised.value) <= LONGEST


def test_a_shorter_hint_restores_the_cut_text() -> None:
    name = "x" * 200
    error = SprintoError(f"Session of '{name}' failed.", "y" * 150)
    assert name not in error.message
    error.advise("")
    assert name in error.message
