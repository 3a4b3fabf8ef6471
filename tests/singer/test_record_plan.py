"""The fast path of a record plan: it takes only valid records, and writes the same as the SDK's mapper."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml
from hypothesis import event, given
from hypothesis import strategies as st
from singer_sdk.exceptions import MappingError
from singer_sdk.mapper import PluginMapper

from target_sprinto.push.protocol.entity_keys import entity_key
from target_sprinto.singer.input.messages import DELETED_AT, decode_object, is_finite
from target_sprinto.singer.mapping.map_compiler import fields_read
from target_sprinto.singer.mapping.map_rules import MapRule
from target_sprinto.singer.mapping.record_plan import LEFT_OUT, record_writer
from target_sprinto.singer.schemas.typed_decoder import typed_decoder
from target_sprinto.singer.schemas.validation import RecordValidator
from tests.support.commands import PAGES, ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.mapper import StreamMap

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
    """JSON text of an object; names may occur twice."""
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
    """JSON text that is likely to match a plain schema."""
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


def require_same_verdict(data: st.DataObject, schema: dict[str, Any]) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(schema["properties"])), max_size=2, unique=True))
    decoder = typed_decoder(schema, names)
    if decoder is None:
        event("not plain")
        return
    raw = data.draw(st.one_of(fitting(schema), RECORDS)).encode()
    read = decoder.read(raw)
    if read is None:
        event("checked in full")
        return
    event("taken")
    key = decoder.key(read)
    record = decode_object(raw)
    RecordValidator("people", schema).validate(record)
    expected = entity_key([record[name] for name in names])
    assert key == expected
    assert hash(key) == hash(expected)


@given(st.data(), STREAMS)
def test_records_on_the_fast_path_are_valid_and_have_the_same_key(
    data: st.DataObject, schema: dict[str, Any]
) -> None:
    require_same_verdict(data, schema)


def test_typical_sdk_tap_schemas_are_plain() -> None:
    decoder = typed_decoder(TYPICAL, ["id", "count"])
    assert decoder is not None
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
        read = decoder.read(raw)
        assert read is not None
        assert decoder.key(read) == key


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
def test_other_records_are_checked_in_full(raw: bytes) -> None:
    decoder = typed_decoder(TYPICAL, ["id", "count"])
    assert decoder is not None
    assert decoder.read(raw) is None


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
def test_a_schema_with_more_rules_is_not_plain(said: dict[str, Any]) -> None:
    field = {"type": "array"} | said
    assert typed_decoder({"properties": {"id": {"type": "string"}, "x": field}}, ["id"]) is None


def test_a_key_that_may_be_a_decimal_is_not_plain() -> None:
    assert typed_decoder({"properties": {"id": {"type": ["number", "null"]}}}, ["id"]) is None
    assert typed_decoder({"properties": {"id": {"type": ["number", "null"]}}}, []) is not None


# Stream maps

FIELDS = {
    "id": {"type": "string"},
    "first": {"type": ["string", "null"]},
    "amount": {"type": ["number", "null"]},
    "office": {"type": ["object", "null"]},
    "tags": {"type": ["array", "null"]},
    "é b": {"type": ["string", "null"]},
    "self": {"type": ["string", "null"]},
    "_sdc_deleted_at": {"type": ["string", "null"]},
}
EXPRESSIONS = st.sampled_from(
    [
        *("id", "first", "amount", "office", "tags", "_sdc_deleted_at", "self", "record", "_", "md5"),
        *("'EMPLOYEE'", "''", "7", "-7", "1.5", "1e999", "None", "True", "'\\ud800'", "'é\"'"),
        *("record.get('first')", "record.get('nowhere', 'x')", "record['é b']", "record.first", "_['id']"),
        *("record.get('_sdc_deleted_at')", "record.get(id)", "record.keys()", "record.get('amount', 0)"),
        *("record.get('unknown')", "record.get('x', id)", "'a' if record.get('t') else 'b'", "str(id)[:1]"),
        *(
            "id + ' ' + first",
            "amount + 1",
            "amount * 2",
            "amount / 3",
            "-amount",
            "id + amount",
            "tags + tags",
        ),
        *("first.upper()", "(id + first).strip()", "id.upper", "first.split(' ')", "first.split()[0]"),
        *(
            "office.city",
            "office['city']",
            "tags[0]",
            "office.items()",
            "id.format()",
            "id.replace('a', 'b')",
        ),
        *("'a' if first else 'b'", "first or id", "first and id", "not first", "amount > 1.5", "'a' in id"),
        *("first == None", "id == first == 'a'", "1 < amount", "id if record.get('first') else None"),
        *("f'{id} {first}'", "f'{amount:.1f}'", "str(amount)", "int(amount)", "float(amount)", "bool(first)"),
        *("md5(id)", "sha256(first)", "float('nan')", "[id, amount]", "{'a': id}", "[t for t in tags]"),
        *(
            "(office or {}).get('city')",
            "office.get('a')",
            "first.get('a')",
            "office['a'] if office else None",
        ),
        *("self.lower()", "record['self']", "record.get('self')", "self + id"),
        *("'abc'[1]", "'abc'['x']", "5[0]", "record['first'] if id else 'x'"),
        *("tags[0]['a']", "id[0]", "record['office']['city']", "{}", "{}['a']", "office.get('a', id)"),
        *(
            "record['first'].upper() if record.get('first') else None",
            "str(first) + record.get('first', 'x')",
        ),
        *("config['x']", "__stream_name__", "datetime.date.fromisoformat(first)", "nowhere", "rand"),
    ]
)
TARGETS = st.sampled_from(
    ["id", "first", "amount", "office", "new", "other", "é b", 'quo"te', "_sdc_deleted_at"]
)
MAPS = st.dictionaries(TARGETS, EXPRESSIONS | st.none(), max_size=5)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "__else__": st.none(),
        "__filter__": st.sampled_from(
            ["first", "amount", "id == 'a'", "True", "record.get('x')", "office.a"]
        ),
        "__key_properties__": st.sampled_from([["id"], ["new"], [], [], []]),
    },
)
VALUES = st.sampled_from(
    ['"a"', '"b c"', '""', '"\\u00e9\\ud83d\\ude00"', "null", '{"city": "x"}', '["a", 1.0]']
)
UNDECLARED = ["unknown", "nowhere", "x", "t", "config"]
"""Names that the schema lacks; some expressions read them."""

PAIRS = st.lists(st.tuples(st.sampled_from([*FIELDS, *UNDECLARED]), VALUES | NUMBERS | TEXTS), max_size=9)
TEXT = st.sampled_from(['"a"', '"b c"', '""', '"\\u00e9"', "null"])
FITTING: dict[str, st.SearchStrategy[str]] = {
    "id": st.sampled_from(['"a"', '"b"', '"é"', '"\\u00e9"', '"\\ud83d\\ude00"']),
    "first": TEXT,
    "amount": st.sampled_from(["0", "1", "1.50", "-0.0", "1e2", "1e9999", "9" * 30, "null"]),
    "office": st.sampled_from(['{"city": "x", "a": 1.0}', "{}", "null"]),
    "tags": st.sampled_from(['["t", 1.0]', "[]", "null"]),
    "é b": TEXT,
    "self": TEXT,
    "_sdc_deleted_at": st.sampled_from(["null", "null", "null", '"2026-01-01"']),
}
WHOLE = st.tuples(*(st.tuples(st.just(name), value) for name, value in FITTING.items())).flatmap(
    st.permutations
)
MORE = st.tuples(WHOLE, st.tuples(st.sampled_from(UNDECLARED), TEXT)).map(lambda drawn: [*drawn[0], drawn[1]])


def maps_of(rule: dict[str, Any], fields: dict[str, Any] = FIELDS) -> tuple[StreamMap, MapRule]:
    """The SDK's map for a rule, and the rule as the plan reads it."""
    mapper = PluginMapper({"stream_maps": {"people": rule}}, logging.getLogger("test"))
    mapper.register_raw_stream_schema("people", {"type": "object", "properties": fields}, ["id"])
    (stream_map,) = mapper.stream_maps["people"]
    return stream_map, MapRule("people", "people", rule)


def mapped_by_the_sdk(stream_map: StreamMap, rule: MapRule, raw: bytes) -> bytes | None:
    """The SDK mapper's result for a record; None if it, or a step before or after it, fails."""
    try:
        record = decode_object(raw)
        if record.get(DELETED_AT) is not None and not rule.reads(DELETED_AT):
            return None
        mapped = stream_map.transform(dict(record))
        if mapped is None:
            return LEFT_OUT
        assert is_finite(mapped)
        return msgspec.json.Encoder(decimal_format="number").encode(mapped)
    except Exception:  # noqa: BLE001 - an expression may raise anything
        return None


def meaning(body: bytes) -> str:
    """A record's exact names and values, regardless of the order of its names."""
    return repr(sorted(decode_object(body).items()))


def require_equal(stream_map: StreamMap, rule: MapRule, raw: bytes) -> str:
    """Check that both results are equal; return which path the record took."""
    writer = record_writer(stream_map, rule, list(FIELDS))
    written = writer.write(raw) if writer else None
    if written is None:
        return "left to the SDK's mapper"
    try:
        decode_object(raw)
    except ValueError:
        return "a field that is not read cannot be represented exactly"
    expected = mapped_by_the_sdk(stream_map, rule, raw)
    assert expected is not None
    if written == LEFT_OUT:
        assert expected == LEFT_OUT
        return "left out"
    assert meaning(written) == meaning(expected)
    return "written"


def require_same_record(rule: dict[str, Any], pairs: list[tuple[str, str]]) -> None:
    try:
        stream_map, read = maps_of(rule)
    except (MappingError, KeyError):
        event("not a map")
        return
    event(require_equal(stream_map, read, _as_object(pairs).encode()))


@given(MAPS, OPTIONS, WHOLE | MORE | PAIRS)
def test_a_plan_writes_the_same_as_the_sdks_mapper(
    rule: dict[str, Any], options: dict[str, Any], pairs: list[tuple[str, str]]
) -> None:
    require_same_record(rule | options, pairs)


@pytest.mark.parametrize("others", [{}, {"__else__": None, "__key_properties__": []}])
def test_each_expression_has_the_same_result(subtests: pytest.Subtests, others: dict[str, Any]) -> None:
    whole = {"id": "a", "first": "b c", "amount": 2.50, "office": {"city": "x"}, "tags": ["t"], "é b": None}
    whole |= {"new": "N", "self": "https://example.com/a"}
    records = [whole, whole | {"first": None, "amount": None}, {"id": "a"}]
    declared = {name: value for name, value in whole.items() if name in FIELDS}
    records += [declared | {name: 1} for name in UNDECLARED]
    for expression in EXPRESSIONS.elements:  # type: ignore[attr-defined] # the sampled values
        with subtests.test(expression):
            stream_map, rule = maps_of({"new": expression} | others)
            for record in records:
                require_equal(stream_map, rule, json.dumps(record).encode())


SAMPLE = json.loads((ROOT / "sample_config.json").read_text(encoding="utf-8"))
EMPLOYEE = {
    "employee_id": "E-1",
    "first_name": "Zoë",
    "last_name": "Ito",
    "start_date": "2022-01-15T09:00:00Z",
    "end_date": None,
    "work_email": "z@example.com",
    "manager_id": None,
    "job_title": "Engineer",
    "job_description": "Builds",
    "contract_type": "employee",
    "salary": 12345678901234567890.5,
}


def test_the_sample_user_map_takes_the_fast_path_and_keeps_bytes() -> None:
    stream_map, rule = maps_of(SAMPLE["stream_maps"]["employees"], {name: {} for name in EMPLOYEE})
    writer = record_writer(stream_map, rule, list(EMPLOYEE))
    assert writer is not None
    raw = json.dumps(EMPLOYEE).encode()
    written = writer.write(raw)
    assert written is not None
    assert b'"firstName":"Zo\\u00eb"' in written
    assert list(decode_object(written)) == [*SAMPLE["stream_maps"]["employees"]][:-2]
    expected = mapped_by_the_sdk(stream_map, rule, raw)
    assert expected is not None
    assert meaning(written) == meaning(expected)


def documented_maps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every stream map in JSON or YAML in the guides, their recipes and the README, with its location."""
    for page in PAGES:
        for block in blocks(page):
            if block.language in {"json", "yaml"} and "stream_maps" in block.text:
                # JSON is valid YAML.
                for stream, rule in stream_maps_in(yaml.safe_load(block.text)):
                    yield f"{page.name}: {stream}", rule


def stream_maps_in(node: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """The maps of all streams, wherever `stream_maps` is nested in a document."""
    for name, inner in node.items() if isinstance(node, dict) else ():
        if name == "stream_maps":
            yield from ((stream, rule) for stream, rule in inner.items() if isinstance(rule, dict))
        else:
            yield from stream_maps_in(inner)


DOCUMENTED = list(documented_maps())
NOT_EXPRESSIONS = {"__key_properties__", "__else__"}


@pytest.mark.parametrize("rule", [rule for _, rule in DOCUMENTED], ids=[where for where, _ in DOCUMENTED])
def test_documented_maps_take_the_fast_path(rule: dict[str, Any]) -> None:
    expressions = {name: text for name, text in rule.items() if text and name not in NOT_EXPRESSIONS}
    names = sorted(fields_read(expressions) - {"record", "str"} | {"id"})
    stream_map, read = maps_of(rule, {name: {} for name in names})
    writer = record_writer(stream_map, read, names)
    assert writer is not None
    nested = {"boss": {"id": 7}, "contact": {"email": "a@example.com"}, "_sdc_deleted_at": None}
    raw = json.dumps({name: nested.get(name, f"{name} é") for name in names}).encode()
    written, expected = writer.write(raw), mapped_by_the_sdk(stream_map, read, raw)
    assert written
    assert expected
    assert meaning(written) == meaning(expected)


def test_a_renamed_number_keeps_its_digits() -> None:
    stream_map, rule = maps_of({"new": "amount", "__else__": None, "__key_properties__": []})
    writer = record_writer(stream_map, rule, list(FIELDS))
    assert writer is not None
    for digits in ("1.50", "1E5", "-0", "9" * 400, "0.10000000000000000000000000000000000000000000001"):
        assert (
            writer.write(b'{"id": "a", "amount": %b }' % digits.encode()) == b'{"new":%b}' % digits.encode()
        )


@pytest.mark.parametrize(
    "raw",
    [
        b'{"first": "a"}',
        b'{"id": "a", "first": 1}',
        b'{"id": "a", "first": "a", "_sdc_deleted_at": "2026-01-01"}',
        b'{"id": "a", "first": "\\ud800"}',
        b'{"id": "a", "first": "a", "tags": "\\ud800"}',
        b"[]",
    ],
)
def test_unusual_records_are_left_to_the_sdks_mapper(raw: bytes) -> None:
    stream_map, rule = maps_of({"id": "id", "new": "first.upper()", "__else__": None})
    writer = record_writer(stream_map, rule, list(FIELDS))
    assert writer is not None
    assert writer.write(b'{"id": "a", "first": "b", "_sdc_deleted_at": null}') == b'{"id":"a","new":"B"}'
    assert writer.write(raw) is None


def test_a_text_too_long_for_the_sdks_mapper_is_left_to_it() -> None:
    """It then fails as with the mapper alone, whether or not the record takes the fast path."""
    stream_map, rule = maps_of({"new": "f'{first}'"})
    writer = record_writer(stream_map, rule, list(FIELDS))
    assert writer is not None
    fits, too_long = (b'{"id": "a", "first": "%b"}' % (b"b" * count) for count in (100_000, 100_001))
    assert meaning(writer.write(fits) or b"") == meaning(mapped_by_the_sdk(stream_map, rule, fits) or b"")
    assert mapped_by_the_sdk(stream_map, rule, too_long) is None
    assert writer.write(too_long) is None


def test_a_missing_field_is_null_only_for_record_get() -> None:
    stream_map, rule = maps_of({"new": "record.get('first')", "other": "str(record['first'])"})
    writer = record_writer(stream_map, rule, list(FIELDS))
    assert writer is not None
    assert writer.write(b'{"id": "a"}') is None
    assert writer.write(b'{"id": "a", "first": null}') == b'{"id":"a","first":null,"new":null,"other":"None"}'


@pytest.mark.parametrize("expression", ["self", "self.lower()"])
def test_self_is_the_target_field_even_if_a_field_is_named_self(expression: str) -> None:
    stream_map, rule = maps_of({"first": expression})
    raw = b'{"id": "a", "first": "B", "self": "https://example.com/1"}'
    writer = record_writer(stream_map, rule, list(FIELDS))
    written = writer.write(raw) if writer else None
    assert written is None or meaning(written) == meaning(mapped_by_the_sdk(stream_map, rule, raw) or b"")
