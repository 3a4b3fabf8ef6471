"""A message fits into 300 characters, also where it lists problems."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.errors import SettingsError
from target_sprinto.push.errors import PageRefused, SprintoError
from target_sprinto.push.protocol.pages import Item, Page
from target_sprinto.push.protocol.refusals import describe_refusal
from target_sprinto.push.text import listed
from tests.support.message_size import LONGEST, size

parts = st.lists(st.text("abc", min_size=1, max_size=30), min_size=1, max_size=20)


@given(parts, st.integers(0, 200))
def test_a_list_shows_as_many_as_fit_and_counts_the_others(named: list[str], room: int) -> None:
    text = listed(named, room)
    shown, _, more = text.partition("; and ")
    count = len(shown.split("; "))
    assert shown == "; ".join(named[:count])
    assert more == (f"{len(named) - count} more" if count < len(named) else "")
    assert count == 1 or len(shown) <= room
    assert count == len(named) or len("; ".join(named[: count + 1])) > room


def test_many_problems_with_settings_are_cut_and_kept() -> None:
    problems = [f"`setting_{number}` must be a number of seconds" for number in range(30)]
    error = SettingsError(*problems)
    assert size(error) <= LONGEST
    assert error.errors == problems


def test_a_page_of_which_every_record_is_named_is_described_in_short() -> None:
    items = tuple(Item("User", b"{}", f"stream 'employees', input line {number}") for number in range(100))
    faults = tuple(
        {"entity_type": "User", "index": number, "field": "workEmail", "issue": "required"}
        for number in range(100)
    )
    error = describe_refusal(Page(1, items), PageRefused("", faults=faults), lambda _, field: field)
    assert "; and 99 more." in error.message
    assert size(error) <= LONGEST


def test_a_command_to_type_is_not_counted() -> None:
    short = SprintoError("x" * 100, "If its run died: sprintoctl discard SESSION --config FILE.")
    assert size(short) == len("x" * 100 + " If its run died: ")
