"""A schema's cost is limited before it is compiled: nothing blocks the process for long."""

from __future__ import annotations

import json
import time
from typing import Any

import jsonschema_rs
import pytest

from target_sprinto.errors import InvalidRecord, InvalidSchema
from target_sprinto.singer.schemas.validation import CompiledSchema, RecordValidator


def of_a(rules: dict[str, Any]) -> dict[str, Any]:
    return {"properties": {"a": rules}}


def doubling(levels: int) -> dict[str, Any]:
    names = {f"n{i}": {"allOf": [{"$ref": f"#/$defs/n{i + 1}"}] * 2} for i in range(levels)}
    return {"$defs": {**names, f"n{levels}": {}}, "properties": {"a": {"$ref": "#/$defs/n0"}}}


def unevaluated(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = of_a({"type": "integer"})
    for _ in range(levels):
        schema = {"allOf": [schema], "unevaluatedProperties": False}
    return schema


def recursive(**node: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON Schema
    return {"$defs": {"n": node}, "properties": {"a": {"$ref": "#/$defs/n"}}}


NODE = {"$ref": "#/$defs/n"}
TOO_MANY = "it has more than 20,000 subschemas, each reference counted in full."
TWICE = "it refers to itself more than once for the same value."
NOT_A_SCHEMA = "is not a JSON Schema that can be used, in 'properties.a.pattern'."
REJECTED = {
    "doubled forty times": (doubling(40), TOO_MANY),
    "unevaluated, nested": (unevaluated(20), TOO_MANY),
    "more than 20,000 subschemas": ({"properties": {f"f{i}": {} for i in range(20_001)}}, TOO_MANY),
    "a reference to itself": ({"$ref": "#"}, "a reference refers to itself."),
    "twice for the same value": (
        recursive(anyOf=[{"properties": {"c": NODE}}, {"properties": {"c": NODE}}]),
        TWICE,
    ),
    "by name and by pattern": (recursive(properties={"c": NODE}, patternProperties={"c": NODE}), TWICE),
    "in turn": (
        {
            "$defs": {
                "t": {"properties": {"x": {"$ref": "#/$defs/b"}}},
                "b": {"properties": {"x": {"anyOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/t"}]}}},
            },
            "$ref": "#/$defs/t",
        },
        TWICE,
    ),
    "dynamic": (
        {
            "$dynamicAnchor": "n",
            "anyOf": [
                {"properties": {"c": {"$dynamicRef": "#n"}}},
                {"properties": {"c": {"$dynamicRef": "#n"}}},
            ],
        },
        TWICE,
    ),
    "without a target": (of_a({"$ref": "#/definitions/n"}), "a `$ref` has no target."),
    "to another document": (
        of_a({"$ref": "https://example.com/n.json"}),
        "a `$ref` refers to another document, and none is ever fetched.",
    ),
    "an invalid id": (of_a({"$id": "http://[", "$ref": "#"}), "an `$id` in it is not a URI."),
    "a pattern of many states": (of_a({"pattern": r"(?:x?\p{L}?){500}c"}), NOT_A_SCHEMA),
    "a Python-only pattern": (of_a({"pattern": r"(?(1)a|b)"}), NOT_A_SCHEMA),
}


@pytest.mark.parametrize("what", REJECTED)
def test_a_schema_over_a_limit_is_rejected_quickly(what: str) -> None:
    schema, why = REJECTED[what]
    began = time.monotonic()
    with pytest.raises(InvalidSchema, match="validate_records: false") as raised:
        RecordValidator("people", {"properties": {}, **schema})
    assert time.monotonic() - began < 5
    assert raised.value.message.endswith(why)


ACCEPTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a tree": (recursive(properties={"l": NODE, "r": NODE, "c": {"items": NODE}}), {"a": {"l": {"c": [{}]}}}),
    "doubled eight times": (doubling(8), {"a": 1}),
    "three thousand columns": (
        {"properties": {f"f{i}": {"type": ["null", "string"]} for i in range(3000)}},
        {f"f{i}": "x," * 800 for i in range(3000)},
    ),
    "a list of wide objects": (
        of_a({"items": {"properties": {f"f{i}": {"type": "string"} for i in range(100)}}}),
        {"a": [{f"f{i}": "x" for i in range(100)} for _ in range(1000)]},
    ),
    "200,000 unique objects": (of_a({"uniqueItems": True}), {"a": [{"i": i} for i in range(200_000)]}),
    "a pattern that looks ahead": (of_a({"pattern": "^(?!foo).*$"}), {"a": "bar" * 1000}),
    "a pattern of a megabyte": (
        of_a({"pattern": r"^[\w\s-]{1,64}|[0-9]{4}-[0-9]{2}$"}),
        {"a": "x" * 500_000},
    ),
    "50,000 strings of 50,000": (
        of_a({"items": {"enum": [*map(str, range(50_000)), None]}}),
        {"a": ["49999"] * 50_000},
    ),
    "50 strings with patterns": (
        {"properties": {f"f{i}": {"type": "string", "pattern": "^.{1,255}$"} for i in range(50)}},
        {f"f{i}": "x" * 250 for i in range(50)},
    ),
    "a decimal of 50,000": (of_a({"enum": [i + 0.5 for i in range(50_000)]}), {"a": 1.5, "b": [1] * 90_000}),
    "a draft that is not known": ({"$schema": "http://example.com/x", **of_a({"type": "integer"})}, {"a": 1}),
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_typical_schemas_stay_below_the_limits(what: str) -> None:
    schema, record = ACCEPTED[what]
    RecordValidator("people", schema).validate(record, json.dumps(record).encode())


REJECTED_RECORDS: dict[str, tuple[dict[str, Any], Any]] = {
    "a backtracking pattern": ({"pattern": "(?=a)(a+)+b"}, "a" * 4_000_000),
    "many alternatives": ({"items": {"anyOf": [{"minimum": i} for i in range(5000)]}}, [5000] * 1_000_000),
    "an enum of objects": ({"items": {"enum": [{"k": i} for i in range(20_000)]}}, [1] * 1000),
    "an enum of decimals": ({"items": {"enum": [i + 0.5 for i in range(5000)]}}, [1] * 1000),
    "an enum of strings and a number": ({"items": {"enum": [*map(str, range(50_000)), 1]}}, ["1"] * 1000),
    "a constant of many values": ({"items": {"const": list(range(50_000))}}, [[1]] * 1000),
    "a pattern of many states": ({"pattern": "^[ab]*a[ab]{3000}$"}, "ab" * 50_000),
    "nested repetitions": ({"pattern": "^[ab]*a(?:[ab]{5}[ab]{50,55}){50}$"}, "ab" * 50_000),
    "a pattern written in full": ({"pattern": f"^[ab]*a{'[ab]' * 3000}$"}, "ab" * 50_000),
    "a pattern of names": ({"patternProperties": {"[ab]*a[ab]{3000}$": {}}}, {"ab" * 50_000: 1}),
}


@pytest.mark.parametrize("what", REJECTED_RECORDS)
def test_a_record_that_costs_too_much_is_rejected_quickly(what: str) -> None:
    rules, value = REJECTED_RECORDS[what]
    validator = RecordValidator("people", of_a(rules))
    record = {"a": value}
    body = json.dumps(record).encode()
    began = time.monotonic()
    with pytest.raises(InvalidRecord, match="too large for the rules"):
        validator.validate(record, body)
    assert time.monotonic() - began < 1


def test_the_first_of_a_million_errors_is_enough() -> None:
    validator = RecordValidator(
        "people", of_a({"items": {"anyOf": [{"minimum": i} for i in range(900, 1900)]}})
    )
    record = {"a": [1] * 90_000}
    began = time.monotonic()
    with pytest.raises(InvalidRecord, match="anyOf"):
        validator.validate(record, json.dumps(record).encode())
    assert time.monotonic() - began < 5


def test_alternating_streams_compile_their_alternatives_once() -> None:
    compiled: list[dict[str, Any]] = []

    def compiler(schema: dict[str, Any], **_: object) -> jsonschema_rs.Validator:
        compiled.append(schema)
        return jsonschema_rs.validator_for(schema)

    schemas = [of_a({"anyOf": [{"type": "null"}, {"minimum": number}]}) for number in range(2)]
    streams = [CompiledSchema(one, compiler) for one in schemas]
    for _ in range(3):
        assert all(stream.first({"a": -1}) for stream in streams)
    assert len(compiled) == 2 * len(schemas)
