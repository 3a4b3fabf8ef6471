"""A mapped record has the types that its map produces, and is validated against those only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.front_door import STATE, as_input, state_line

if TYPE_CHECKING:
    from tests.support.front_door import Finished, FrontDoor

FIELDS: dict[str, Any] = {
    "id": {"type": "integer"},
    "name": {"type": "string"},
    "extra": {"type": "boolean"},
    "pay": {"type": ["number", "null"]},
    "any": {},
    "ids": {"type": "array", "items": {"type": "integer"}},
    "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    "number": {"anyOf": [{"type": "integer"}, {"type": "number"}]},
    "one": {"oneOf": [{"type": "integer"}, {"type": "string"}]},
    "kind": {"$ref": "#/definitions/kind"},
    "level": {"type": "string", "enum": ["a", "b"]},
    "inner": {"type": "object", "properties": {"flag": {"type": "boolean"}, "Int Col": {"type": "integer"}}},
}
DEFINITIONS = {"kind": {"type": ["integer", "string"]}}
RECORD: dict[str, Any] = {
    "id": 7,
    "name": "Ada",
    "extra": True,
    "pay": 1.5,
    "any": [1],
    "ids": [1, 2],
    "either": 3,
    "number": 2,
    "one": 1,
    "kind": 5,
    "level": "a",
    "inner": {"flag": False, "Int Col": 8},
}

MADE: dict[str, Any] = {
    "either": 3,
    "record.get('either')": 3,
    "number": 2,
    "one": 1,
    "kind": 5,
    "level": "a",
    "any": [1],
    "extra": True,
    "record.get('extra')": True,
    "record['extra']": True,
    "extra if extra else None": True,
    "id > 1": True,
    "not extra": False,
    "str(id) == '7'": True,
    "True": True,
    "5": 5,
    "id + 1": 8,
    "[id, name]": [7, "Ada"],
    "{'id': id}": {"id": 7},
    "inner['Int Col']": 8,
    "(inner or {}).get('flag')": False,
    "inner": {"flag": False, "Int Col": 8},
    "record": RECORD,
    "_": RECORD,
    "name.upper()": "ADA",
    "'Dr ' + name": "Dr Ada",
    "'a constant'": "a constant",
    "int(pay)": 1,
    "bool(id)": True,
    "str(id)": "7",
}
"""The results of expressions on that record."""


def run(door: FrontDoor, stream_map: dict[str, Any], record: dict[str, Any]) -> Finished:
    door.sandbox.configure(door.integration_id)
    schema = {"type": "object", "properties": FIELDS, "definitions": DEFINITIONS}
    messages = [
        {"type": "SCHEMA", "stream": "staff", "schema": schema, "key_properties": ["id"]},
        {"type": "RECORD", "stream": "staff", "record": record},
        STATE,
    ]
    return door.run(as_input(messages), stream_maps={"staff": stream_map}, entity_types={"staff": "Staff"})


def test_a_maps_results_are_sent_whatever_their_type(door: FrontDoor) -> None:
    made = {f"made-{number}": expression for number, expression in enumerate(MADE)}
    finished = run(door, {"id": "id", "__else__": None, **made}, RECORD)
    assert (finished.code, finished.stdout) == (0, state_line()), finished.error
    (sent,) = door.applied()["Staff"]
    assert {made[field]: value for field, value in sent.items() if field in made} == MADE


@pytest.mark.parametrize("expression", ["extra", "record.get('extra')", "id > 1", "'a constant'", "either"])
def test_a_mapped_field_may_change_its_type(door: FrontDoor, expression: str) -> None:
    finished = run(door, {"name": expression, "pay": expression}, RECORD)
    assert (finished.code, finished.stdout) == (0, state_line()), finished.error
    assert door.applied()["Staff"] == [RECORD | dict.fromkeys(["name", "pay"], MADE[expression])]


@pytest.mark.parametrize(
    ("field", "expression", "wrong"),
    [
        ("extra", "record.get('extra')", "yes"),
        ("extra", "record['extra']", 1),
        ("either", "either", "x"),
        ("kind", "kind", True),
        ("level", "record.get('level')", "c"),
        ("inner", "(inner or {}).get('flag')", {"flag": 1}),
    ],
)
def test_a_copied_field_keeps_its_type(door: FrontDoor, field: str, expression: str, wrong: object) -> None:
    finished = run(door, {"id": "id", "made": expression, "__else__": None}, RECORD | {field: wrong})
    assert (finished.code, finished.stdout, door.applied()) == (1, "", {})
    assert "invalid-record" in finished.error
    assert "'made'" in finished.error


@pytest.mark.parametrize("expression", ["record.get('level')", "record.get('extra')", "record.get('one')"])
def test_a_missing_field_is_null(door: FrontDoor, expression: str) -> None:
    record = {field: value for field, value in RECORD.items() if field not in {"level", "extra", "one"}}
    finished = run(door, {"id": "id", "made": expression, "__else__": None}, record)
    assert (finished.code, finished.stdout) == (0, state_line()), finished.error
    assert door.applied()["Staff"] == [{"id": 7, "made": None}]


@pytest.mark.parametrize(
    "rules",
    [
        {"senior": "'yes' if record.get('mfa') else 'no'"},
        {"__filter__": "record.get('mfa', True)"},
        {"new": "[mfa for mfa in record['list']]"},
        {"new": "str(id)[:1] + record.get('mfa', '')"},
    ],
    ids=str,
)
def test_a_field_that_only_the_map_knows_is_sent_too(door: FrontDoor, rules: dict[str, str]) -> None:
    """The schema does not name it, and the map keeps other fields."""
    schema = {"properties": {"id": {"type": "integer"}, "list": {}}}
    records = [{"id": 1, "list": [], "mfa": "on"}, {"id": 2, "list": [], "mfa": "on", "other": 1}]
    messages = [
        {"type": "SCHEMA", "stream": "people", "schema": schema, "key_properties": ["id"]},
        *({"type": "RECORD", "stream": "people", "record": one} for one in records),
        STATE,
    ]
    finished = door.run(messages, stream_maps={"people": rules})
    assert finished.code == 0, finished.stderr
    assert [one["mfa"] for one in door.applied()["people"]] == ["on", "on"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("(int(name) if name else None)", 7),
        ("(bool(name))", True),
        ("(float(name))", 7.0),
        ("level.upper()", "A"),
        ("level + '-' + name", "a-7"),
    ],
)
def test_a_conversion_is_known_wherever_it_is_in_the_expression(
    door: FrontDoor, expression: str, value: object
) -> None:
    """Also in place of a field whose schema allows other values."""
    changed = RECORD | {"name": "7"}
    for target in ("new", "level"):
        finished = run(door, {target: expression}, changed)
        assert finished.code == 0, finished.stderr
    assert [one["level"] for one in door.applied()["Staff"]] == [value]


@pytest.mark.parametrize("rules", [{"d": "d"}, {"d": "record.get('d')"}, {"d": "e", "e": "d"}], ids=str)
def test_a_field_with_alternatives_may_be_copied_onto_itself(door: FrontDoor, rules: dict[str, str]) -> None:
    """The SDK's mapper adds a null to the alternatives of the very schema that it was given."""
    either = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": ["string", "null"]}]}
    schema = {"properties": {"id": {"type": "integer"}, "d": either, "e": either}}
    messages = [
        {"type": "SCHEMA", "stream": "people", "schema": schema, "key_properties": ["id"]},
        {"type": "RECORD", "stream": "people", "record": {"id": 1, "d": "2026-01-01T00:00:00Z", "e": None}},
        STATE,
    ]
    finished = door.run(messages, stream_maps={"people": rules})
    assert finished.code == 0, finished.stderr
    assert len(door.applied()["people"]) == 1


@pytest.mark.parametrize(
    ("expression", "advice"),
    [
        ("pay < 8.3", "float(pay) < 8.3"),
        ("8.3 >= inner['flag']", "8.3 >= float(inner['flag'])"),
        ("(any or 0) == -0.1", "float(any or 0) == -0.1"),
        ("record.get('x') in [0.1]", "(record.get('x') is not None and float(record.get('x')) in [0.1])"),
        ("id and pay not in (7.1, 8)", "(pay is None or float(pay) not in (7.1, 8))"),
        ("0 < pay < 8.3", "float(pay) < 8.3"),
        ("0.1 in any", "0.1 in [float(x) for x in any]"),
        ("pay > float(name)", "float(pay) > float(name)"),
        ("pay > id / 100", "float(pay) > id / 100"),
        ("any == [0.1, 8.3]", "[float(x) for x in any] == [0.1, 8.3]"),
        ("[0.1] != inner['flag']", "[0.1] != [float(x) for x in inner['flag']]"),
    ],
)
@pytest.mark.parametrize("target", ["made", "__filter__"])
def test_a_decimal_is_not_compared_with_a_float(
    door: FrontDoor, expression: str, advice: str, target: str
) -> None:
    """Decimal('8.3') < 8.3 is true, and Decimal('0.1') == 0.1 false."""
    finished = run(door, {target: expression}, RECORD)
    assert (finished.code, finished.stdout, door.operations()) == (1, "", [])
    assert finished.error.startswith("Input line 1: the stream map of stream 'staff' compares ")
    assert f"Write `{advice}" in finished.error
    assert finished.error.endswith(" [stream-map]")


@pytest.mark.parametrize(
    ("expression", "problem", "advice"),
    [
        ("'a' if id == '7' else 'b'", "`id == '7'`", "'id' is integer: compare it with"),
        ("not (8 != name)", "`8 != name`", "'name' is string: compare it with"),
        ("extra == 'true'", "`extra == 'true'`", "'extra' is boolean: compare it with"),
        ("id in ['7', '8'] or pay", "`id in ['7', '8']`", "or convert it."),
        ("[one for one in ids if one == '1']", "`one == '1'`", "'one' is integer"),
        ("name == 'a' or 'b'", "`name == 'a' or 'b'`", "Repeat the comparison: `x == 'a' or x == 'b'`."),
        ("name is 'Ada'", "`name is 'Ada'`", "Write `==` or `!=`."),
        ("id is not 7", "`id is not 7`", "Write `==` or `!=`."),
    ],
)
@pytest.mark.parametrize("target", ["made", "__filter__"])
def test_a_result_that_no_record_changes_is_an_error(
    door: FrontDoor, expression: str, problem: str, advice: str, target: str
) -> None:
    finished = run(door, {target: expression}, RECORD)
    assert (finished.code, finished.stdout, door.operations()) == (1, "", [])
    assert finished.error.startswith(f"Input line 1: the stream map of stream 'staff' has {problem} for ")
    assert advice in finished.error


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("id == 7.0 and extra == 1 and name != ''", True),
        ("either == None or either in (None, '3', 3)", True),
        ("name == 'Ada' and 'yes' or 'no'", "yes"),
        ("pay == True", False),
        ("kind == '5'", False),
        ("any == '1'", False),
        ("str(id) == '7'", True),
        ("id == 7 or id == '7'", True),
        ("extra is True or extra == 'true'", True),
        ("id in []", False),
        ("'x' in ids", False),
        ("name or 'none'", "Ada"),
        ("60 * 60 - id", 3593),
        ("id - 1", 6),
        ("ids == [1, '2']", False),
    ],
)
def test_other_comparisons_are_allowed(door: FrontDoor, expression: str, result: object) -> None:
    finished = run(door, {"id": "id", "made": expression, "__else__": None}, RECORD)
    assert (finished.code, finished.stdout) == (0, state_line()), finished.error
    assert door.applied()["Staff"] == [{"id": 7, "made": result}]


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("pay is not None and float(pay) == 0.1", True),
        ("(float(pay) if pay else 0) <= 0.1", True),
        ("pay * 10 < 1.5", True),
        ("pay in [0.5, 1, 2.25]", False),
        ("id < 7.3", True),
        ("int(pay) == 0.1", False),
        ("float(pay) * 2.2 < float(pay) + 0.3", True),
        ("float(pay) == float('0.1')", True),
        ("8.3 < 8.4", True),
        ("float(pay) == id / 70", True),
        ("pay * id / 7 < 1.5", True),
        ("0.1 in [float(x) for x in any]", False),
        ("[0.1] == [float(x) for x in [pay]]", True),
        ("0.1 in ids", False),
        ("datetime.datetime.fromisoformat('2026-01-01').timestamp() > 0.1", True),
        ("(datetime.date(2026, 1, 2) - datetime.date.fromisoformat('2026-01-01')).days / 7 > 0.1", True),
        ("record.get('id', 0) / record.get('either', 1) >= 0.7", True),
        ("json.loads('[8.3]')[0] < 8.3", False),
        ("name.count('a') > 0.3", True),
        ("ids[0] > 0.3", True),
        ("[pay for pay in ids if pay > 0.3]", [1, 2]),
    ],
)
def test_comparisons_of_exact_numbers_and_of_floats_are_allowed(
    door: FrontDoor, expression: str, result: object
) -> None:
    finished = run(door, {"id": "id", "made": expression, "__else__": None}, RECORD | {"pay": 0.1})
    assert (finished.code, finished.stdout) == (0, state_line()), finished.error
    assert door.applied()["Staff"] == [{"id": 7, "made": result}]
