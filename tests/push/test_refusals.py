from __future__ import annotations

import re
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.push.errors import PageRefused
from target_sprinto.push.protocol.pages import Item, Page
from target_sprinto.push.protocol.refusals import MASK, describe_refusal


def page(*records: dict[str, Any]) -> Page:
    items = (Item("User", msgspec.json.encode(one), f"line {n}") for n, one in enumerate(records, 10))
    return Page(3, tuple(items))


def told(held: Page, **fault: object) -> str:
    return str(describe_refusal(held, PageRefused("x", faults=(fault,))))


def test_a_fault_is_named_by_type_index_field_and_issue() -> None:
    text = told(page({"a": 1}, {"a": 2}), entity_type="User", index=1, field="a", issue="is wrong")
    assert "page 3 (line 10 to line 11)" in text
    assert "entity type 'User', index 1, which is line 11 if Sprinto counts within the type from 0" in text
    assert "field 'a'" in text
    assert "“is wrong”" in text


def test_a_page_from_one_place_names_it_once() -> None:
    assert "Sprinto refused page 3 (line 10): " in told(page({"a": 1}), entity_type="User")


def test_a_number_that_is_no_index_of_the_page_is_not_shown() -> None:
    held = page({"a": 4711}, {"a": 2})
    assert "4711" not in told(held, entity_type="User", index=4711)
    assert "index 2" in told(held, entity_type="User", index=2)
    assert "index" not in told(held, entity_type="User", index=3)


def issue_shown(held: Page, issue: str) -> str:
    return told(held, entity_type="User", issue=issue).partition("“")[2].partition("”")[0]


def test_the_api_key_is_masked_too() -> None:
    fault: dict[str, object] = {"entity_type": "User", "issue": "key 12345-Abc.dEf_9 has no right: abc"}
    text = str(describe_refusal(page({"a": 1}), PageRefused("x", faults=(fault,)), "12345-aBC.dEf_9"))
    assert f"“key {MASK}-{MASK}.{MASK} has no right: {MASK}”" in text


def test_values_are_masked_however_they_are_quoted() -> None:
    held = page(
        {"name": 'Zoë "Z" Müller', "deep": [{"mail": "zoe@example.com"}], "n": 4711, "price": 123456.50},
        {"name": "王伟强", "note": "two   words\tapart"},
    )
    for issue in [
        'got Zoë "Z" Müller',
        'got ZOË \\"Z\\" MÜLLER',
        "got Zo\\u00eb M\\u00fcller",
        "got 'Müller'",
        "got zoe@example.com",
        "got 4711 or 4711.0 or 4.711e3",
        "got 123456.5, 123,456.50",
        "got 伟强",
        "got two words apart",
    ]:
        shown = issue_shown(held, issue)
        assert shown.startswith((f"got {MASK}", f"got '{MASK}")), shown
        for value in [
            "zoë",
            "müller",
            "zoe",
            "example",
            "4711",
            "4.711",
            "123456",
            "456",
            "伟",
            "words",
            "apart",
        ]:
            assert value not in shown.casefold()


def test_what_stands_in_no_record_is_shown() -> None:
    held = page({"name": "Zoë", "age": 41})
    assert issue_shown(held, "must be one of EMPLOYEE, CONTRACTOR; at most 100 characters") == (
        "must be one of EMPLOYEE, CONTRACTOR; at most 100 characters"
    )


def test_a_path_of_field_names_is_shown_although_a_value_reads_the_same() -> None:
    text = told(page({"email": "email", "tags": [{"name": "x"}]}), entity_type="User", field="tags[0].name")
    assert "field 'tags[0].name'" in text


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=3, max_size=20)


@given(st.lists(TEXT, min_size=1, max_size=5), st.integers(10, 10**20))
def test_no_value_of_three_characters_or_more_is_shown(values: list[str], number: int) -> None:
    held = Page(1, (Item("User", msgspec.json.encode({"v": values, "n": number}), "line 1"),))
    shown = issue_shown(held, f"got {values[0]} and {number}")
    assert str(number) not in shown
    words = re.findall(r"\w{3,}", values[0].casefold())
    assert not any(word in re.findall(r"\w+", shown.casefold()) for word in words)
