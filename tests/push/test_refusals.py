from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.push.errors import PageRefused
from target_sprinto.push.pages import Item, Page
from target_sprinto.push.refusals import MASK, describe_refusal


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


def test_values_are_masked_however_they_are_quoted() -> None:
    held = page({"name": 'Zoë "Z" Ö', "deep": [{"mail": "zoe@example.com"}], "number": 4711, "price": 12.50})
    issue = 'got Zoë "Z" Ö or ZOË \\"Z\\" Ö, ZOE@example.com, 4711 and 12.50'
    text = told(held, entity_type="User", field="zoe@example.com", issue=issue)
    for value in ["Zoë", "zoe@example.com", "4711", "12.5"]:
        assert value.lower() not in text.lower()
    assert MASK in text


def test_an_entity_type_that_the_page_does_not_hold_is_not_repeated() -> None:
    assert "secret" not in told(page({"a": 1}), entity_type="secret", index=10**30, field=5, issue=["x"])


def test_many_faults_are_counted() -> None:
    faults = tuple({"entity_type": "User", "index": number} for number in range(9))
    assert "and 4 more" in str(describe_refusal(page({"a": 1}), PageRefused("x", faults=faults)))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=3, max_size=20)


@given(
    values=st.lists(TEXT, min_size=1, max_size=5), before=st.text(max_size=5), number=st.integers(10, 10**20)
)
def test_no_value_of_three_characters_or_more_is_shown(values: list[str], before: str, number: int) -> None:
    held = Page(1, (Item("User", msgspec.json.encode({"v": values, "n": number}), "line 1"),))
    text = told(held, entity_type="User", issue=f"{before}{values[0]}—{number}")
    shown = text.partition("“")[2].partition("”")[0]
    assert str(number) not in shown or str(number) in before + MASK
    assert values[0] not in shown or values[0] in before + MASK + "—"
