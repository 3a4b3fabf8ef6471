from __future__ import annotations

from typing import Any

import msgspec
import pytest

from target_sprinto.push.errors import PageRefused
from target_sprinto.push.protocol.field_paths import FieldPaths
from target_sprinto.push.protocol.pages import Item, Page
from target_sprinto.push.protocol.rejections import describe_rejection, no_field

SCHEMA = {
    "properties": {
        "a": {"type": "integer"},
        "a.b": {},
        "tags": {"type": "array", "items": {"properties": {"name": {}}}},
        "by_mail": {"additionalProperties": {"properties": {"role": {}}}},
        "either": {"anyOf": [{"type": "null"}, {"properties": {"inner": {}}}]},
    }
}
FIELDS = FieldPaths()
FIELDS.add("User", "users", SCHEMA)


def page(*records: dict[str, Any]) -> Page:
    items = (Item("User", msgspec.json.encode(one), f"line {n}") for n, one in enumerate(records, 10))
    return Page(3, tuple(items))


def described(held: Page, **detail: object) -> str:
    return str(describe_rejection(held, PageRefused("x", details=(detail,)), FIELDS.find))


def test_a_record_is_identified_by_type_index_field_and_rule() -> None:
    text = described(page({"a": 1}, {"a": 2}), entity_type="User", index=1, field="a", code="max_length")
    assert "page 3 (line 10 to line 11)" in text
    assert "entity type 'User', index 1, which is line 11 if Sprinto counts from 0 within the type" in text
    assert "field 'a' is too long (rule 'maxLength')" in text


def test_a_page_with_one_line_names_it_once() -> None:
    assert "Sprinto rejected page 3 (line 10): " in described(page({"a": 1}), entity_type="User")


def test_an_index_outside_the_page_is_not_shown() -> None:
    held = page({"a": 4711}, {"a": 2})
    assert "4711" not in described(held, entity_type="User", index=4711)
    assert "index 2" in described(held, entity_type="User", index=2)
    assert "index" not in described(held, entity_type="User", index=3)


@pytest.mark.parametrize(
    ("spelt", "path"),
    [
        ("a", "a"),
        ("a.b", "a.b"),
        ("/tags/0/name", "tags[].name"),
        ("$.tags[17].name", "tags[].name"),
        ("tags[0].alice@example.com", "tags[].*"),
        ("by_mail.alice@example.com", "by_mail.*"),
        ("by_mail/alice", "by_mail.*"),
        ("either.inner", "either.inner"),
        ("alice", None),
        ("alice.a", None),
        ("0.a", None),
        ("", None),
        ("///", None),
        ("a.4711", "a.*"),
    ],
)
def test_only_fields_in_the_schema_are_shown(spelt: str, path: str | None) -> None:
    assert FIELDS.find("User", spelt) == path
    assert FIELDS.find("Device", spelt) is None


@pytest.mark.parametrize(("field", "known"), [("alice", True), ("", False), (None, False), (7, False)])
def test_a_field_is_called_unknown_only_if_the_response_names_one(field: object, *, known: bool) -> None:
    details = ({"entity_type": "User", "index": 0, "field": field, "issue": "x"},)
    error = describe_rejection(page({"a": 1}), PageRefused("x", details=details), FIELDS.find)
    assert ("a field that the run does not know" in str(error)) is known


@pytest.mark.parametrize(
    ("record", "spelt", "shown"),
    [
        ({"badge": 1}, "badge", True),
        ({"badge": "Zoe"}, "Zoe", False),
        ({"zoe@example.com": 1}, "zoe@example.com", False),
        ({"b" * 41: 1}, "b" * 41, False),
    ],
)
def test_without_a_schema_only_names_of_the_records_own_fields_are_shown(
    record: dict[str, Any], spelt: str, *, shown: bool
) -> None:
    """Any other text may be a value, and so may the key of a mapping from email addresses."""
    details = ({"entity_type": "User", "index": 0, "field": spelt, "rule": "type"},)
    error = describe_rejection(page(record), PageRefused("x", details=details), no_field)
    assert (spelt in str(error)) is shown
    assert "has the wrong type (rule 'type')" in str(error)


def test_the_problems_of_a_record_that_are_not_shown_are_counted() -> None:
    details = tuple(
        {"entity_type": "User", "index": 0, "field": field, "rule": "type"} for field in ["a"] * 5
    )
    error = describe_rejection(page({"a": 1}), PageRefused("x", details=details), FIELDS.find)
    assert str(error).count("'a' has the wrong type") == 3
    assert ", and 2 problems more." in str(error)


def test_the_response_is_attached_but_not_in_the_text() -> None:
    refusal = PageRefused("x", details=({"issue": "Zoë"},), response=b'{"message": "Zo\xc3\xab"}')
    error = describe_rejection(page({"a": 1}), refusal, FIELDS.find)
    assert error.response == refusal.response
    assert "Zo" not in str(error)
