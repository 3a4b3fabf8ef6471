"""Applied records are exactly what the tap sent: digit for digit, and in order."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from target_sprinto.sandbox import Readings
from tests.support.front_door import SCHEMA, SECRET, STATE, FrontDoor, as_input, record

OPEN_SCHEMA = {
    "type": "SCHEMA",
    "stream": "things",
    "schema": {"type": "object", "properties": {}},
    "key_properties": [],
}

NASTY = [
    '{"id": 9007199254740993, "big": 123456789012345678901234567890, "neg": -9223372036854775808}',
    '{"a": 1.50, "b": 0.10, "c": 1e5, "d": 1E+400, "e": 0.00000001, "f": -0.0, "g": -0, "h": 1.0}',
    '{"long": 3.14159265358979323846264338327950288419716939937510}',
    '{"date": "2022-01-15T09:00:00Z", "odd": "2022-01-15 09:00:00.000+05:30", "day": "2022-1-5"}',
    '{"none": null, "empty": "", "list": [], "object": {}, "nested": {"a": [{"b": [null, true, false]}]}}',
    '{"name": "Zoë 株式会社 אבג 👩‍💻 é", "escaped": "\\u00e9\\n\\t\\"\\\\\\/ \\ud83d\\ude00"}',
    '{  "spaced" :\t[ 1 ,  2 ]  }',
    '{"_sdc_batched_at": "2022-01-15T09:00:00Z", "_sdc_sequence": 1}',
    '{"": 1, "a.b": 2, "__proto__": {}}',
]


def things(*bodies: str) -> bytes:
    lines = [f'{{"type": "RECORD", "stream": "things", "record": {body}}}'.encode() for body in bodies]
    return as_input([OPEN_SCHEMA, *lines, STATE])


def applied_text(door: FrontDoor, entity_type: str = "things") -> list[str]:
    return [body.decode() for body in door.sandbox.applied(door.integration_id)[entity_type]]


def test_records_are_applied_byte_for_byte(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, readings=Readings(apply="append"))
    assert door.run(things(*NASTY)).code == 0
    assert applied_text(door) == NASTY


def test_date_formats_leave_strings_unchanged(door: FrontDoor) -> None:
    schema = OPEN_SCHEMA | {
        "schema": {
            "properties": {
                "at": {"type": "string", "format": "date-time"},
                "day": {"type": "string", "format": "date"},
            }
        }
    }
    line = b'{"type":"RECORD","stream":"things","record":{"at":"2022-01-15 09:00:00+02","day":"not a day"}}'
    assert door.run([schema, line, STATE]).code == 0
    assert applied_text(door) == ['{"at":"2022-01-15 09:00:00+02","day":"not a day"}']


def test_renamed_fields_keep_their_digits(door: FrontDoor) -> None:
    schema = OPEN_SCHEMA | {
        "schema": {
            "properties": {
                "amount": {"type": "number"},
                "count": {"type": "integer"},
                "when": {"type": "string"},
            }
        }
    }
    body = '{"amount":61.40,"count":123456789012345678901234567890,"when":"2022-01-15T09:00:00Z"}'
    line = f'{{"type":"RECORD","stream":"things","record":{body}}}'.encode()
    maps = {"things": {"money": "amount", "number": "count", "at": "when", "__else__": None}}
    assert door.run([schema, line, STATE], stream_maps=maps).code == 0
    assert applied_text(door) == [
        '{"money":61.40,"number":123456789012345678901234567890,"at":"2022-01-15T09:00:00Z"}'
    ]


PART = '"\\u00e9\\/"', '[1.0e2, 1E-7, {"a" : -0}]'
DROPS: dict[str, Any] = {"a": "name", "b": "record['x']", "__else__": None}
KEEPS = {"a": "name", "b": "x", "x": None}
COPIES: dict[str, dict[str, Any]] = {
    "one map": {"things": DROPS},
    "two maps": {"things": DROPS, "others": {"__source__": "things", **KEEPS}},
    "a field that the SCHEMA lacks": {"things": KEEPS},
    "a record marked as deleted": {"things": DROPS},
}


@pytest.mark.parametrize("how", COPIES)
def test_a_field_that_a_stream_map_copies_keeps_its_bytes(door: FrontDoor, how: str) -> None:
    name, x = PART
    more = {
        "a field that the SCHEMA lacks": '"new":1E2,',
        "a record marked as deleted": '"_sdc_deleted_at":1,',
    }
    body = f'{{{more.get(how, "")}"name": {name},"x":{x} }}'
    schema = OPEN_SCHEMA | {"schema": {"properties": {"name": {}, "x": {}}}}
    line = f'{{"type":"RECORD","stream":"things","record":{body}}}'.encode()
    finished = door.run([schema, line, STATE], stream_maps=COPIES[how], on_deleted_record="send")
    assert finished.code == 0, finished.error
    for stream in COPIES[how]:
        (sent,) = applied_text(door, stream)
        assert f'"a":{name},"b":{x}' in sent
        assert ('"new":1E2' in sent) == (how == "a field that the SCHEMA lacks")


def test_a_mapped_stream_keeps_draft_4_semantics(door: FrontDoor) -> None:
    """The SDK's mapper declares draft 2020-12, although a tap's schema without a draft may be draft 4."""
    amount = {"type": "integer", "minimum": 0, "exclusiveMinimum": True}
    schema = {**SCHEMA, "schema": {"properties": {"id": {"type": "integer"}, "amount": amount}}}
    maps = {
        "people": {"number": "id", "amount": "amount", "__else__": None, "__key_properties__": ["number"]}
    }
    finished = door.run([schema, record(1, amount=1), STATE], stream_maps=maps)
    assert finished.code == 0
    assert door.applied() == {"people": [{"number": 1, "amount": 1}]}
    assert "field 'amount'" in door.run([schema, record(1, amount=0), STATE], stream_maps=maps).error


def test_flattening_works_like_the_sdks(door: FrontDoor) -> None:
    schema = OPEN_SCHEMA | {
        "schema": {
            "properties": {
                "a": {"type": "object", "properties": {"b": {"type": "number"}, "c": {"type": "string"}}}
            }
        }
    }
    line = b'{"type":"RECORD","stream":"things","record":{"a":{"b":1.10,"c":"x"}}}'
    assert door.run([schema, line, STATE], flattening_enabled=True, flattening_max_depth=2).code == 0
    assert applied_text(door) == ['{"a__b":1.10,"a__c":"x"}']


def test_a_schema_may_describe_no_fields(door: FrontDoor) -> None:
    schema = OPEN_SCHEMA | {"schema": {"type": "object", "properties": {}}}
    line = b'{"type":"RECORD","stream":"things","record":{"_id":"a","n":1.10}}'
    assert door.run([schema, line, STATE]).code == 0
    assert applied_text(door) == ['{"_id":"a","n":1.10}']


def test_flattening_sends_a_null_object_as_no_field(door: FrontDoor) -> None:
    inner = {"type": ["object", "null"], "properties": {"c": {"type": "string"}}}
    outer = {"type": ["object", "null"], "properties": {"b": inner, "d__e": {"type": "null"}}}
    schema = OPEN_SCHEMA | {"schema": {"properties": {"a": outer, "x__y": {"type": ["string", "null"]}}}}
    records = [
        {"a": None, "x__y": None},
        {"a": {"b": None, "d__e": None}, "x": None},
        {"a": {"b": {"c": "1"}}, "unknown": None},
    ]
    lines = [{"type": "RECORD", "stream": "things", "record": one} for one in records]
    assert door.run([schema, *lines, STATE], flattening_enabled=True, flattening_max_depth=3).code == 0
    assert applied_text(door) == ['{"x__y":null}', '{"a__d__e":null}', '{"a__b__c":"1","unknown":null}']


NESTED = {"type": "object", "properties": {"id": {}, "b": {"type": "object", "properties": {"c": {}}}}}
FLAT_NAMES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "declared": (
        {"a_id": SECRET, "a": {"id": SECRET}},
        {"flattening_separator": "_"},
        " one name: 'a_id'.",
    ),
    "nested": ({"x": {"b__c": SECRET, "b": {"c": "2"}}}, {}, " one name: 'x__b__c'."),
    "undeclared": ({"u": {"v": SECRET}, "u__v": "2"}, {}, " one name. No session"),
    "shortened": (
        {"x": {"forename_native": SECRET, "family_name": "2"}},
        {"flattening_max_key_length": 10},
        " one name. No session",
    ),
    "made by a stream map": (
        {"r": SECRET, "a": {"id": "3"}},
        {"flattening_separator": "_", "stream_maps": {"things": {"a_id": "r", "r": None}}},
        " one name: 'a_id'.",
    ),
}


@pytest.mark.parametrize("what", FLAT_NAMES)
def test_flattening_never_replaces_one_field_by_another(door: FrontDoor, what: str) -> None:
    fields, settings, text = FLAT_NAMES[what]
    # By the SDK, an object in an alternative is flattened in records and not in the schema.
    either = {"anyOf": [{"type": "null"}, NESTED]}
    schema = OPEN_SCHEMA | {"schema": {"properties": {"a_id": {}, "a": either, "x": NESTED, "r": {}}}}
    lines = [{"type": "RECORD", "stream": "things", "record": one} for one in ({"r": "1"}, fields)]
    flat: dict[str, Any] = {"flattening_enabled": True, "flattening_max_depth": 2, **settings}
    finished = door.run([schema, *lines, STATE], **flat)
    assert (finished.code, finished.stdout, door.applied()) == (1, "", {})
    assert f"flattening gives two fields of a record of stream 'things'{text}" in finished.error
    assert "[invalid-record]" in finished.error
    finished = door.run([schema, *lines, STATE], **flat, on_invalid_record="divert")
    assert (finished.code, len(door.applied()["things"])) == (0, 1)


def test_one_stream_may_go_to_two_entity_types(door: FrontDoor) -> None:
    maps = {"contacts": {"__source__": "people", "mail": "name", "__else__": None, "id": "id"}}
    finished = door.run([SCHEMA, record(1), STATE], stream_maps=maps, entity_types={"contacts": "Contact"})
    assert finished.code == 0
    assert set(door.applied()) == {"people", "Contact"}


def test_order_is_kept_across_a_schema_change(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, readings=Readings(apply="append"))
    changed = SCHEMA | {"schema": {"type": "object", "properties": {"id": {"type": "integer"}, "name": {}}}}
    messages: list[Any] = []
    for block in range(6):
        messages.append(changed if block % 2 else SCHEMA)
        messages.extend(record(number) for number in range(block * 30, block * 30 + 30))
    assert door.run([*messages, STATE]).code == 0
    assert [entity["id"] for entity in door.applied()["people"]] == list(range(180))


def test_a_later_record_of_the_same_key_wins(door: FrontDoor) -> None:
    messages = [SCHEMA, *(record(number % 7, name=f"s3cr3t {number}") for number in range(350)), STATE]
    assert door.run(messages).code == 0
    assert {entity["id"]: entity["name"] for entity in door.applied()["people"]} == {
        number % 7: f"s3cr3t {number}" for number in range(343, 350)
    }


def test_a_state_is_written_unchanged(door: FrontDoor) -> None:
    state = '{"a": 1.50, "big": 123456789012345678901234567890, "name": "é", "nothing": null}'
    finished = door.run([SCHEMA, record(1), f'{{"type": "STATE", "value": {state}}}'.encode()])
    assert finished.stdout == state + "\n"
    env = {"PYTHONIOENCODING": "ascii"}
    finished = door.run(
        [SCHEMA, record(1), f'{{"type": "STATE", "value": {state}}}'.encode()], env=env, cold=True
    )
    assert finished.stdout == state + "\n"


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
_encoder = msgspec.json.Encoder(decimal_format="number")


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.dictionaries(TEXT, JSON, max_size=5),
        min_size=1,
        max_size=30,
    )
)
def test_any_json_is_applied_unchanged(door: FrontDoor, values: list[dict[str, Any]]) -> None:
    door.sandbox.configure(door.integration_id, readings=Readings(apply="replace"))
    bodies = [_encoder.encode(value).decode() for value in values]
    assert door.run(things(*bodies)).code == 0
    assert applied_text(door) == bodies


def test_the_demo_input_is_applied_completely(door: FrontDoor) -> None:
    from importlib import resources  # noqa: PLC0415 - used once

    bundled = resources.files("target_sprinto.cli") / "demo_data"
    config = json.loads((bundled / "config.json").read_bytes())
    messages = (bundled / "input.singer").read_bytes()
    door.sandbox.configure(door.integration_id, readings=Readings(apply="append"))
    assert door.run(messages, **config).code == 0
    sent: dict[str, list[str]] = {}
    for line in messages.splitlines():
        message = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        if bytes(message["type"]) == b'"RECORD"':
            stream = msgspec.json.decode(message["stream"])
            sent.setdefault(stream, []).append(bytes(message["record"]).decode())
    assert applied_text(door, "Repository") == sent["repositories"]
    assert applied_text(door, "Vendor") == sent["vendors"]
    users = [json.loads(user) for user in applied_text(door, "User")]
    employees = [json.loads(employee) for employee in sent["employees"]]
    assert [user["employeeId"] for user in users] == [employee["employee_id"] for employee in employees]
    assert [user["employmentEndDate"] for user in users] == [employee["end_date"] for employee in employees]
    assert not any("salary" in user for user in users)
