"""The short way of reading a record decides nothing: what it takes, the full look takes as well."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from target_sprinto.singer.messages import decode_object
from target_sprinto.singer.typed_records import plain_records
from target_sprinto.singer.validation import RecordValidator

TYPICAL = {
    "type": "object",
    "properties": {
        "id": {"type": ["string"]},
        "at": {"type": ["string", "null"], "format": "date-time"},
        "amount": {"type": ["number", "null"]},
        "count": {"type": "integer", "description": "how many"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "office": {"type": ["object", "null"], "properties": {"floor": {"type": ["integer", "null"]}}},
        "extra": {"type": "object", "additionalProperties": True},
    },
    "required": ["id"],
    "additionalProperties": False,
    "$schema": "https://json-schema.org/draft/2020-12/schema",
}

NAMES = st.sampled_from(["id", "at", "count", "", "a.b", "field_0"])
TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"]
PLAIN: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(TYPES) | st.lists(st.sampled_from(TYPES), min_size=1, unique=True)},
        optional={"format": st.just("date-time"), "description": st.just("")},
    ),
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["object", ["object", "null"], "array", ["null", "array", "object"]])},
        optional={
            "properties": st.dictionaries(NAMES, inner, max_size=4),
            "items": inner,
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": st.booleans(),
        },
    ),
    max_leaves=6,
)


def _as_object(pairs: list[tuple[str, str]]) -> str:
    """Names may come twice."""
    return "{" + ",".join(f"{json.dumps(name)}: {text}" for name, text in pairs) + "}"


NUMBERS = st.sampled_from(
    ["0", "-0", "1", "1.0", "1e2", "1.5", "-0.0", "1e400", "9" * 30, "9" * 5000, "1e99999999999999999999"]
)
TEXTS = st.sampled_from(['""', '"a"', '"\\u00e9"', '"\\ud800"', "NaN", "null", "true", "false", "x"])
ITEMS = st.recursive(
    NUMBERS | TEXTS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.lists(st.tuples(NAMES, inner), max_size=4).map(_as_object),
    ),
    max_leaves=8,
)


RECORDS = st.lists(st.tuples(NAMES, ITEMS), max_size=6).map(_as_object) | ITEMS
STREAMS = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(NAMES, PLAIN, min_size=1, max_size=4)},
    optional={"required": st.lists(NAMES, max_size=1), "additionalProperties": st.booleans()},
)


def fitting(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    """JSON text that is likely to be as a plain schema says."""
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    ways: dict[str, st.SearchStrategy[str]] = {
        "null": st.just("null"),
        "boolean": st.just("true"),
        "integer": st.sampled_from(["0", "7", "1.0", "9" * 30]),
        "number": st.sampled_from(["0", "7", "1.0", "2.50", "1e400"]),
        "string": st.sampled_from(['""', '"a"']),
        "array": st.lists(fitting(schema["items"]) if "items" in schema else ITEMS, max_size=2).map(
            lambda items: f"[{','.join(items)}]"
        ),
        "object": st.tuples(
            *(st.tuples(st.just(name), fitting(one)) for name, one in schema.get("properties", {}).items())
        ).map(lambda pairs: _as_object(list(pairs))),
    }
    return st.one_of([ways[kind] for kind in kinds])


@settings(max_examples=500)
@given(st.data(), STREAMS)
def test_what_the_short_way_takes_is_valid_and_has_the_same_key(
    data: st.DataObject, schema: dict[str, Any]
) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(schema["properties"])), max_size=2, unique=True))
    short = plain_records(schema, names)
    if short is None:
        event("not plain")
        return
    raw = data.draw(st.one_of(fitting(schema), RECORDS)).encode()
    read = short.read(raw)
    if read is None:
        event("looked at in full")
        return
    event("taken")
    key = short.key(read)
    record = decode_object(raw)
    RecordValidator("people", schema).validate(record)
    assert key == tuple(record[name] for name in names)
    assert hash(key) == hash(tuple(record[name] for name in names))


def test_what_taps_of_the_sdk_send_is_plain() -> None:
    short = plain_records(TYPICAL, ["id", "count"])
    assert short is not None
    whole = {
        "id": "a",
        "at": None,
        "amount": 19.99,
        "count": 3,
        "tags": ["x"],
        "office": {"floor": 10},
        "extra": {"a": [1]},
    }
    for raw, key in (
        (msgspec.json.encode(whole), ("a", 3)),
        (b'{"id": "a", "count": 1, "amount": null}', ("a", 1)),
    ):
        read = short.read(raw)
        assert read is not None
        assert short.key(read) == key


@pytest.mark.parametrize(
    "raw",
    [
        b'{"count": 1}',
        b'{"id": "a"}',
        b'{"id": 1, "count": 1}',
        b'{"id": "a", "count": 1.0}',
        b'{"id": "a", "count": 1, "amount": 1e400}',
        b'{"id": "a", "count": 1, "other": 1}',
        b'{"id": "a", "count": 1, "tags": [1]}',
        b'{"id": "a", "count": 1, "office": {"floor": "x"}}',
        b'["a"]',
        b"NaN",
    ],
)
def test_the_rest_is_looked_at_in_full(raw: bytes) -> None:
    short = plain_records(TYPICAL, ["id", "count"])
    assert short is not None
    assert short.read(raw) is None


@pytest.mark.parametrize(
    "said",
    [
        {"minimum": 1},
        {"enum": [1]},
        {"multipleOf": 0.01},
        {"$ref": "#/x"},
        {"anyOf": [{"type": "string"}]},
        {"type": "any"},
        {"type": []},
        {"items": []},
    ],
)
def test_a_schema_that_says_more_is_not_plain(said: dict[str, Any]) -> None:
    field = {"type": "array"} | said
    assert plain_records({"properties": {"id": {"type": "string"}, "x": field}}, ["id"]) is None


def test_a_key_that_may_be_a_decimal_is_not_plain() -> None:
    assert plain_records({"properties": {"id": {"type": ["number", "null"]}}}, ["id"]) is None
    assert plain_records({"properties": {"id": {"type": ["number", "null"]}}}, []) is not None
