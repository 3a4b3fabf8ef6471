"""The corrections that stream map errors suggest work when typed."""

from __future__ import annotations

from typing import Any

import pytest

from target_sprinto.errors import MapFailed
from target_sprinto.singer.mapping.map_check import (
    doubts,
    require_entity,
    require_known_names,
    require_map,
    require_working_comparisons,
)
from target_sprinto.singer.mapping.map_rules import MapRule, parsed
from target_sprinto.singer.schemas.entity_schemas import EntitySchema

TEXT = {"type": "string"}
FIELDS: dict[str, Any] = {
    "id": {"type": ["integer", "null"]},
    "No": {"type": "integer"},
    "First Name": TEXT,
    "Last Working Day": TEXT,
    "First-Name": TEXT,
    "class": TEXT,
    "joined": TEXT | {"format": "date"},
    "from": {"type": ["integer", "null"]},
    "contact": {
        "type": ["object", "null"],
        "properties": {"email": TEXT, "codes": {"type": "array", "items": {"type": "integer"}}},
    },
    "home address": {"type": "object", "properties": {"city": TEXT}},
    "people": {"type": "array", "items": {"type": "object", "properties": {"mail": TEXT}}},
    "roles": {"type": "array", "items": TEXT},
}
ENTITY = EntitySchema("T", {"schema": {"properties": {"name": TEXT}}})


def check(rule: MapRule) -> None:
    require_map(rule, "people", list(FIELDS), None)
    require_known_names(rule, "people", FIELDS, ["md5"])
    require_working_comparisons(rule, "people", FIELDS)
    require_entity(ENTITY, "people", rule, FIELDS, ["name"], [])


def failure(expression: str, target: str = "name") -> MapFailed:
    with pytest.raises(MapFailed) as caught:
        check(MapRule("people", "people", {target: expression, "__else__": None}))
    return caught.value


@pytest.mark.parametrize(
    ("expression", "suggested"),
    [
        ("First Name", "Write `record['First Name']`."),
        ("First-Name", "Write `record['First-Name']`."),
        ("class", "Write `record['class']`."),
        ("from", "Write `record['from']`."),
        ("Team Lead", "\"'Team Lead'\""),
        ("record.First Name", "Read the field by `record['First Name']`."),
        ("record[First Name] + '!'", "Read the field by `record['First Name']`."),
        ("record.class", "Read the field by `record['class']`."),
        ("R&D team", "\"'R&D team'\""),
        ("2024-10-10", "\"'2024-10-10'\""),
        ("10/10/2024", "\"'10/10/2024'\""),
        ("true", "Write `True`"),
        ("null", "Write `None`"),
        ("NULL", "Write `None`"),
        ("'a' if id else null", "Write `None`"),
        ("email", "write `(contact or {}).get('email')`"),
        ("contact__email", "write `(contact or {}).get('email')`"),
        ("city", "write `record['home address'].get('city')`"),
        (
            "contact.mail",
            "Did you mean 'email'? If it may be missing, write `(contact or {}).get('mail')`.",
        ),
        ("(contact or {}).mail", "write `(contact or {}).get('mail')`."),
        (
            "record['Last Day']",
            "Did you mean 'Last Working Day'? If it may be missing, write `record.get('Last Day')`.",
        ),
        ("ACTIVE or No", "reads a field that may be missing"),
        ("No", '"str(No)"'),
        ("id", '"str(id) if id is not None else None"'),
    ],
)
def test_a_hint_shows_what_to_write(expression: str, suggested: str) -> None:
    assert suggested in failure(expression).hint


@pytest.mark.parametrize(
    ("kinds", "wanted", "hint"),
    [
        (["string"], "boolean", "Convert it in the stream map: \"name == 'true'\", with the text that"),
        (["integer"], "boolean", "Map another field."),
        (["array"], "boolean", "Map another field."),
        (["string"], "integer", 'Convert it in the stream map: "int(name) if name else None".'),
        (["string", "null"], "number", 'Convert it in the stream map: "float(name) if name else None".'),
        (["boolean"], "integer", "Map another field."),
    ],
)
def test_only_text_is_converted_to_another_type(kinds: list[str], wanted: str, hint: str) -> None:
    entity = EntitySchema("T", {"schema": {"properties": {"name": {"type": wanted}}}})
    with pytest.raises(MapFailed) as caught:
        require_entity(entity, "people", MapRule(None, "people", {}), {"name": {"type": kinds}}, ["name"], [])
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("expression", "suggested"),
    [
        ("active = True", "two `=`"),
        ("active = 'Y'", "two `=`"),
        ("ACTIVE", "two `=`"),
        ("is active", "two `=`"),
        ("true", "Write `True`"),
    ],
)
def test_a_filter_is_not_a_constant(expression: str, suggested: str) -> None:
    hint = failure(expression, "__filter__").hint
    assert suggested in hint
    assert "quotes" not in hint


@pytest.mark.parametrize(("expression", "target"), [("No", "name"), ("str(No)", "name"), ("id", "…")])
def test_a_hint_names_the_target_of_a_renamed_key(expression: str, target: str) -> None:
    with pytest.raises(MapFailed) as caught:
        require_map(
            MapRule("people", "people", {"name": expression, "__else__": None}), "people", ["No"], ["No"]
        )
    assert f'"__key_properties__": ["{target}"]' in caught.value.hint


@pytest.mark.parametrize(
    "expression",
    [
        *("active = 'Y'", 'the "best"', "it's", "a\x1b b", "a < b c", "a || b"),
        *("No || id", "contact?.email", "id.0", "$.name", "record.No.0", "CONCAT(No, id"),
    ],
)
def test_quotes_are_suggested_only_if_they_suffice(expression: str) -> None:
    assert failure(expression).hint.startswith("Correct it: `record['Work Email']` reads a field")


@pytest.mark.parametrize("expression", ["id; No", "No\n+ ' ' + No\n", "No\nNo", "'a'\nif id else 'b'"])
def test_several_expressions_are_rejected(expression: str) -> None:
    error = failure(expression)
    assert "which is not an expression" in error.message
    assert "parentheses around its lines" in error.hint


@pytest.mark.parametrize("expression", ["id\n", "id  # the number", "(id\n+ No)\n", "id;"])
def test_line_ends_and_comments_are_allowed(expression: str) -> None:
    assert parsed(expression) is not None


@pytest.mark.parametrize(
    ("target", "expression", "doubted"),
    [
        ("name", "bool(record['First Name'])", True),
        ("__filter__", "bool(record['First Name'])", False),
        ("name", "bool(joined)", False),
        ("name", "'%4s' % id", True),
        ("name", "'%d of %r' % (No, id)", True),
        ("name", "'%d' % id", False),
        ("name", "f'{id:05d}'", False),
        ("name", "[str(id) for id in roles]", False),
        ("name", "str(id).lower() == 'true'", False),
        ("__filter__", "str(id) in ['1', '2']", False),
        ("name", "str(id) + str(No == 1)", True),
    ],
)
def test_a_text_is_doubted_only_if_it_may_be_wrong(target: str, expression: str, *, doubted: bool) -> None:
    assert any(doubts(MapRule("people", "people", {target: expression}), "people", FIELDS)) == doubted


@pytest.mark.parametrize(
    "expression",
    [
        "[contact['mail'] for contact in people]",
        "[record['contact'] for contact in people]",
        "[code for contact in people for code in contact['codes'] if code == 'a']",
    ],
)
def test_a_variable_hides_the_field_of_its_name(expression: str) -> None:
    check(MapRule("people", "people", {"name": expression, "__else__": None}))
