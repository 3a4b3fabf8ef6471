"""Bad input: one clear line that names the input line, exit 1, a discarded session, no STATE."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.support.front_door import PAGE, SCHEMA, SECRET, STATE, FrontDoor, record

"""Before each bad line, which is line 102, a session is open and a page has been sent."""


RECORD = '{"type":"RECORD","stream":"people","record":%s}'

NESTED = "[" * 45_000 + "]" * 45_000


def raw(text: str) -> bytes:
    return text.encode()


BAD_LINES: dict[str, tuple[Any, str]] = {
    "unparsable": (raw("s3cr3t{"), "invalid-line"),
    "a bare value": (raw('"s3cr3t"'), "invalid-line"),
    "an array": (raw('["s3cr3t"]'), "invalid-line"),
    "not UTF-8": (
        b'{"type":"RECORD","stream":"people","record":{"id":1,"name":"s3cr3t \xff"}}',
        "invalid-line",
    ),
    "UTF-8 of a surrogate": (
        b'{"type":"RECORD","stream":"people","record":{"id":1,"name":"\xed\xa0\x80"}}',
        "invalid-line",
    ),
    "an escaped lone surrogate": (
        raw(r'{"type":"RECORD","stream":"people","record":{"id":1,"name":"s3cr3t \ud800"}}'),
        "invalid-line",
    ),
    "NaN": (raw(RECORD % '{"id":1,"name":NaN}'), "invalid-record"),
    "Infinity": (
        raw(RECORD % '{"id":1,"n":-Infinity}'),
        "invalid-record",
    ),
    "NaN in invalid JSON": (raw('NaN{"type":"STATE","value":{}}'), "invalid-line"),
    "NaN before endless nesting": (raw(RECORD[:-3] + '{"id":NaN,"n":' + "[" * 100_000), "invalid-line"),
    "a byte order mark": (b'\xef\xbb\xbf{"type":"STATE","value":{}}', "invalid-line"),
    "no type": (raw('{"stream":"people"}'), "invalid-line"),
    "an unknown type": ({"type": "MESSAGE", "stream": "people"}, "invalid-line"),
    "a type that is a number": (raw('{"type":1}'), "invalid-line"),
    "a record without stream": (raw('{"type":"RECORD","record":{"id":1}}'), "invalid-line"),
    "a record without record": (raw('{"type":"RECORD","stream":"people"}'), "invalid-line"),
    "a record that is a list": (
        raw(RECORD % '["s3cr3t"]'),
        "invalid-record",
    ),
    "a record that is null": (raw(RECORD % "null"), "invalid-record"),
    "a record before its schema": (record(1, "others"), "record-before-schema"),
    "a record that fails its schema": (record(1, name=5), "invalid-record"),
    "a missing key property": (
        raw(RECORD % '{"name":"s3cr3t"}'),
        "missing-key-property",
    ),
    "a number out of range": (
        raw(RECORD % '{"id":1,"n":1e99999999999999999999}'),
        "invalid-record",
    ),
    "an integer of 5000 digits": (
        raw(RECORD % f'{{"id":1{"0" * 5000}}}'),
        "invalid-record",
    ),
    "endless nesting": (
        raw(RECORD[:-3] + "[" * 100_000),
        "invalid-line",
    ),
    "deep but closed nesting": (
        raw(RECORD % f'{{"id":1,"n":{NESTED}}}'),
        # Python 3.14 decodes more levels of the line than of the record.
        "invalid-record" if sys.version_info >= (3, 14) else "invalid-line",
    ),
    "a schema that is not a JSON Schema": (
        SCHEMA | {"schema": {"type": "wat", "properties": {}}},
        "invalid-schema",
    ),
    "a schema that is a list": (SCHEMA | {"schema": []}, "invalid-schema"),
    "a schema without properties": (SCHEMA | {"schema": {"type": "object"}}, "invalid-schema"),
    "properties that are a list": (SCHEMA | {"schema": {"properties": []}}, "invalid-schema"),
    "a schema that refers elsewhere": (
        SCHEMA | {"schema": {"properties": {"id": {"$ref": "http://127.0.0.1:9/schema"}}}},
        "invalid-schema",
    ),
    "an id that is a number": (SCHEMA | {"schema": {"properties": {"id": {"$id": 1}}}}, "invalid-schema"),
    "an id that is not a URI": (
        SCHEMA | {"schema": {"$id": "http://[x", "properties": {}}},
        "invalid-schema",
    ),
    "a schema nested too deeply to be checked": (
        raw('{"type":"SCHEMA","stream":"people","schema":' + '{"not":' * 900 + "{}" + "}" * 900 + "}"),
        "invalid-schema",
    ),
    "a schema nested too deeply for its draft": (
        raw('{"type":"SCHEMA","stream":"people","schema":' + '{"not":' * 300 + "{}" + "}" * 300 + "}"),
        "invalid-schema",
    ),
    "key properties that are a string": (SCHEMA | {"key_properties": "id"}, "invalid-line"),
    "a STATE without value": (raw('{"type":"STATE"}'), "invalid-line"),
    "a STATE of null": (raw('{"type":"STATE","value":null}'), "input"),
    "a BATCH without encoding": ({"type": "BATCH", "stream": "people", "manifest": []}, "invalid-line"),
    "a BATCH without manifest": (
        {"type": "BATCH", "stream": "people", "encoding": {"format": "jsonl"}},
        "invalid-line",
    ),
}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            raw('{"id":1,"type":"SMITH"}'),
            "its `type` is not a Singer message type; it may be a record without",
        ),
        (
            raw('{"type":"Record","stream":"people","record":{}}'),
            "its message type must be in capitals: RECORD.",
        ),
        (raw("\ufeff" + RECORD % '{"id":1}'), "the line begins with a byte order mark"),
    ],
)
def test_hard_to_see_problems_in_a_line_are_described(door: FrontDoor, line: bytes, said: str) -> None:
    finished = door.run([SCHEMA, line, STATE])
    assert (finished.code, finished.stdout) == (1, "")
    assert finished.error.startswith(f"Input line 2: {said}")
    assert "SMITH" not in finished.stderr


@pytest.mark.parametrize(
    "messages",
    [
        [SCHEMA, raw(RECORD % f'{{"id":1,"n":{NESTED}}}'), STATE],
        [raw(f'{{"type":"SCHEMA","stream":"people","schema":{{"not":{NESTED}}},"key_properties":[]}}')],
        [SCHEMA, raw(f'{{"type":"STATE","value":{{"bookmarks":{NESTED}}}}}')],
    ],
    ids=["record", "schema", "state"],
)
def test_what_is_nested_too_deeply_is_described(door: FrontDoor, messages: list[Any]) -> None:
    finished = door.run(messages)
    assert (finished.code, finished.stdout, door.sessions()) == (1, "", [])
    assert finished.error.startswith(f"Input line {min(len(messages), 2)}: ")
    assert "nested too deeply" in finished.error


@pytest.mark.parametrize("what", BAD_LINES)
def test_a_bad_line_discards_the_run(door: FrontDoor, what: str) -> None:
    line, code = BAD_LINES[what]
    finished = door.run([*PAGE, line, STATE])
    assert (finished.code, finished.stdout) == (1, "")
    assert finished.error.startswith("Input line 102: ")
    assert finished.error.endswith(f"[{code}]")
    if code == "invalid-record":
        assert "stream 'people'" in finished.error or "stream is 'people'" in finished.error
    assert f"Session {door.session().id} was discarded; nothing was applied." in finished.error
    assert door.session().state == "cancelled"
    assert door.applied() == {}


def test_a_truncated_last_line_suggests_that_the_tap_crashed(door: FrontDoor) -> None:
    whole = b"".join(__import__("json").dumps(message).encode() + b"\n" for message in [*PAGE, STATE])
    finished = door.run(whole + b'{"type":"RECORD","stream":"people","rec')
    assert (finished.code, finished.stdout) == (1, "")
    assert finished.error.startswith("Input line 103: ")
    assert "the tap probably crashed" in finished.error


def test_a_last_line_without_a_newline_is_read(door: FrontDoor) -> None:
    from tests.support.front_door import as_input, state_line  # noqa: PLC0415 - used once

    finished = door.run(as_input([SCHEMA, record(1), STATE]).rstrip(b"\n"))
    assert (finished.code, finished.stdout) == (0, state_line())


def test_blank_lines_are_ignored(door: FrontDoor) -> None:
    finished = door.run([b"", SCHEMA, b"  ", record(1), b"\r", STATE, b""])
    assert finished.code == 0
    assert len(door.applied()["people"]) == 1


def test_bad_input_before_the_first_page_opens_nothing(door: FrontDoor) -> None:
    finished = door.run([SCHEMA, record(1), b"x"])
    assert finished.code == 1
    assert finished.error.startswith("Input line 3: ")
    assert door.operations() == []


MISMATCHES: dict[str, tuple[dict[str, Any], str]] = {
    "one type": ({"name": {"type": "string"}}, "field 'name' must be string"),
    "several types": ({"name": {"type": ["string", "null"]}}, "field 'name' must be null or string"),
    "nested": (
        {"name": {"properties": {"of": {"items": {"type": "string"}}}}},
        "field 'name.of[1]' must be string",
    ),
    "missing": ({"name": {"type": "object", "required": ["family"]}}, "field 'name.family' is missing"),
    "another rule": ({"name": {"maxProperties": 0}}, "field 'name' violates the rule 'maxProperties'"),
}


@pytest.mark.parametrize("what", MISMATCHES)
def test_a_schema_mismatch_is_explained_without_the_value(door: FrontDoor, what: str) -> None:
    properties, issue = MISMATCHES[what]
    schema = {**SCHEMA, "schema": {"properties": {"id": {"type": "integer"}, **properties}}}
    finished = door.run([schema, record(1, name={"of": [SECRET, 5]}), STATE])
    assert f"Input line 2: a record of stream 'people' is invalid: {issue}. " in finished.error
    assert SECRET not in finished.stderr
    assert len(finished.error) < 300


def test_unvalidated_records_are_sent_unchanged(door: FrontDoor) -> None:
    assert door.run([SCHEMA, record(1, name=5), STATE], validate_records=False).code == 0
    assert door.applied()["people"] == [{"id": 1, "name": 5}]


def test_a_stream_map_that_fails_on_a_record_names_stream_and_line(door: FrontDoor) -> None:
    maps = {"people": {"number": "int(name)"}}
    finished = door.run([SCHEMA, record(1), STATE], stream_maps=maps)
    assert (finished.code, finished.stdout) == (1, "")
    assert finished.error.startswith(
        "Input line 2: the stream map of stream 'people' failed on a record: field 'number' = 'int(name)'"
        " (ValueError)"
    )
    assert "[stream-map]" in finished.error


@pytest.mark.parametrize(
    "expression",
    ["int(x)", "int([x][0])", "'%d' % x", "f'{x:.0f}'", "str(int(x))"],
    ids=["compiled", "by the SDK's mapper", "by the operator %", "in an f-string", "nested"],
)
def test_an_expression_reads_no_number_of_a_billion_digits(door: FrontDoor, expression: str) -> None:
    schema = SCHEMA | {"schema": {"properties": {"id": {}, "x": {}, "y": {}}}}
    maps = {"people": {"x": expression, "z": "y", "y": None}}
    usable, long = '{"id":1,"x":1e99,"y":1e999999999}', '{"id":2,"x":1e999999999,"y":1}'
    # A field that is only renamed may have any number.
    assert door.run([schema, raw(RECORD % usable), STATE], stream_maps=maps).code == 0
    (sent,) = door.sandbox.applied(door.integration_id)["people"]
    assert b'"z":1e999999999' in sent.replace(b" ", b"")
    finished = door.run([schema, raw(RECORD % long), STATE], stream_maps=maps)
    assert (finished.code, finished.stdout) == (1, "")
    assert "too many digits for the expression that reads it, in field 'x'" in finished.error


@pytest.mark.parametrize(
    ("expression", "number"),
    [
        ("int(record.get(config['read']))", "1e99999999"),
        ("f'{x:f}'", "1e-99999999"),
        ("int(x)", "1e4300"),
    ],
    ids=["a field named in the settings", "a tiny number", "the first too long"],
)
def test_no_other_expression_reads_a_number_with_too_many_digits(
    door: FrontDoor, expression: str, number: str
) -> None:
    schema = SCHEMA | {"schema": {"properties": {"id": {}, "x": {}}}}
    maps = {"people": {"id": "id", "n": expression, "__else__": None}}
    line = raw(RECORD % f'{{"id":1,"x":{number}}}')
    finished = door.run([schema, line, STATE], stream_maps=maps, stream_map_config={"read": "x"})
    assert (finished.code, finished.stdout) == (1, "")
    assert "too many digits for the expression that reads it, in field 'x'" in finished.error


@pytest.mark.parametrize("ref", ["#/definitions/nowhere", "#nowhere"])
def test_a_schema_with_an_unresolvable_reference_is_reported(door: FrontDoor, ref: str) -> None:
    finished = door.run([SCHEMA | {"schema": {"properties": {"id": {"$ref": ref}}}}, record(1), STATE])
    assert (finished.code, finished.stdout) == (1, "")
    assert finished.error.startswith("Input line 1: ")
    assert "[invalid-schema]" in finished.error


# Beyond Python's own limit but within that of compiled code; since 3.13 the two are far apart.
DEEP = 900 if sys.version_info < (3, 13) else 3000


@pytest.mark.parametrize(
    "nested", ['{"a":' * DEEP + "1" + "}" * DEEP, "[" * DEEP + "]" * DEEP], ids=["objects", "lists"]
)
def test_a_record_nested_too_deeply_for_a_stream_map_is_invalid(door: FrontDoor, nested: str) -> None:
    line = raw(RECORD % f'{{"id":1,"n":{nested}}}')
    finished = door.run([SCHEMA, line, STATE], stream_maps={"people": {"m": "record.get('n') or 1"}})
    assert (finished.code, finished.stdout) == (1, "")
    assert "nested too deeply" in finished.error
    assert "[invalid-record]" in finished.error
    for copying in ({}, {"people": {"__alias__": "persons"}}):
        assert door.run([SCHEMA, line, STATE], stream_maps=copying).code == 0


def test_an_invalid_schema_is_reported_with_the_place(door: FrontDoor) -> None:
    wrong = SCHEMA | {"schema": {"properties": {"id": {"type": "integer"}, "name": {"type": "strin"}}}}
    finished = door.run([wrong, record(1), STATE])
    assert (finished.code, finished.stdout) == (1, "")
    assert "is not a JSON Schema that can be used, in 'properties.name.type'." in finished.error


def test_a_stream_map_that_fails_names_its_expression(door: FrontDoor) -> None:
    finished = door.run([SCHEMA, record(1), STATE], stream_maps={"people": {"short": "name.nothing()"}})
    assert (finished.code, finished.stdout) == (1, "")
    assert "name.nothing()" in finished.error
    assert "[stream-map]" in finished.error


def test_a_stream_map_must_not_produce_nan(door: FrontDoor) -> None:
    finished = door.run([SCHEMA, record(1), STATE], stream_maps={"people": {"number": "float('nan')"}})
    assert (finished.code, finished.stdout) == (1, "")
    assert "NaN or Infinity" in finished.error


@pytest.mark.parametrize(
    "made", ["name.encode()", "[{name, id}]", "datetime.timedelta(days=2)", "{name.encode(): 1}"]
)
def test_a_stream_map_must_produce_json(door: FrontDoor, made: str) -> None:
    finished = door.run([SCHEMA, record(1), STATE], stream_maps={"people": {"made": made}})
    assert (finished.code, finished.stdout, door.applied()) == (1, "", {})
    assert "of stream 'people' made a value that is not JSON for field 'made'. " in finished.error
    assert "[stream-map]" in finished.error


@pytest.mark.parametrize(
    "stream_map", [{"x": ""}, {"x": "1 +"}, {"id": None}, {"__key_properties__": ["nowhere"]}]
)
def test_an_invalid_stream_map_is_reported_at_the_schema(door: FrontDoor, stream_map: dict[str, Any]) -> None:
    finished = door.run([SCHEMA, record(1), STATE], stream_maps={"people": stream_map})
    assert (finished.code, finished.stdout) == (1, "")
    assert finished.error.startswith("Input line 1: ")
    assert "[stream-map]" in finished.error


def test_a_filter_logs_no_record_values(door: FrontDoor) -> None:
    maps = {"people": {"__filter__": "name"}}
    assert door.run([SCHEMA, record(1), STATE], stream_maps=maps).code == 0


def test_unmapped_streams_are_kept(door: FrontDoor) -> None:
    other = SCHEMA | {"stream": "others"}
    messages = [SCHEMA, other, record(1), record(2, "others"), STATE]
    assert door.run(messages, entity_types={"people": "User"}).code == 0
    assert {name: len(entities) for name, entities in door.applied().items()} == {"User": 1, "others": 1}


def test_unmapped_streams_are_ignored_under_ignore(door: FrontDoor) -> None:
    other = SCHEMA | {"stream": "others"}
    messages = [SCHEMA, other, record(1), record(2, "others"), STATE]
    finished = door.run(messages, entity_types={"people": "User"}, unmapped_streams="ignore")
    assert finished.code == 0
    assert "Stream 'others' is not sent" in finished.stderr
    assert list(door.applied()) == ["User"]


def test_unmapped_streams_fail_the_run_under_fail(door: FrontDoor) -> None:
    messages = [SCHEMA, SCHEMA | {"stream": "others"}, STATE]
    finished = door.run(messages, entity_types={"people": "User"}, unmapped_streams="fail")
    assert (finished.code, finished.stdout) == (1, "")
    assert finished.error.startswith("Input line 2: stream 'others' has no entity type")


def test_a_stream_removed_by_stream_maps_is_not_unmapped(door: FrontDoor) -> None:
    messages = [SCHEMA, SCHEMA | {"stream": "others"}, record(1), record(2, "others"), STATE]
    finished = door.run(
        messages, entity_types={"people": "User"}, unmapped_streams="fail", stream_maps={"others": None}
    )
    assert finished.code == 0
    assert list(door.applied()) == ["User"]


def test_meltanos_test_stream_is_not_sent(door: FrontDoor) -> None:
    messages = [SCHEMA | {"stream": "meltano_test_stream"}, record(1, "meltano_test_stream"), STATE]
    finished = door.run(messages)
    assert (finished.code, finished.stdout, door.operations()) == (1, "", [])
    assert "`meltano invoke target-sprinto:check`" in finished.error
    assert "[meltano-test-stream]" in finished.error
