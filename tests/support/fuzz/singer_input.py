"""Inputs: complete and well-formed ones, and the many ways in which an input can be invalid."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.support.fuzz.json_text import (
    ANY_TEXT,
    LEAVES,
    NAMES,
    OBJECTS,
    ODD_LEAVES,
    ODD_VALUES,
    SECRET_NUMBERS,
    SECRET_TEXT,
    VALUES,
    Pairs,
    Verbatim,
    as_text,
    nested,
)
from tests.support.fuzz.variants import VARIANTS, Variant

if TYPE_CHECKING:
    from collections.abc import Callable

Message = dict[str, Any]
BATCH_URL = "file:///batch-of-this-input"
"""A placeholder for the real URL, which differs for each run."""


@dataclass(frozen=True)
class Input:
    """One run's input: `taken` shows whether the target must accept it; None if that is unknown."""

    stdin: bytes
    variant: Variant
    taken: bool | None = None
    piece: int = 0
    """The number of bytes written at a time; 0 for all at once."""
    batch: bytes = b""
    """The content of the file that BATCH messages refer to as `BATCH_URL`."""


# Well-formed

_ID = {"id": {"type": "integer"}, "name": {"type": ["string", "null"]}}
_SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": _ID},
    {"properties": _ID, "additionalProperties": True, "required": ["id"]},
    {"properties": _ID | {"at": {"type": "string", "format": "date-time"}}},
    {"properties": _ID | {"a": {"type": ["object", "null"], "properties": {"b": {}}}, "c": {"items": {}}}},
    {"$schema": "http://json-schema.org/draft-07/schema#", "properties": _ID | {"c": {"multipleOf": 1}}},
    {"properties": _ID | {"c": {"$ref": "#/definitions/c"}}, "definitions": {"c": {}}},
    {"properties": _ID | {"id": {"type": "integer", "minimum": 0, "exclusiveMinimum": True}}},
    {"properties": _ID | {"name": {"type": "string", "pattern": "s3cr3t", "maxLength": 100}}},
]
"""Each allows the fields that `_RECORDS` draws."""

_RECORDS = st.builds(
    lambda number, name, more: more | {"id": number, "name": name},
    SECRET_NUMBERS,
    SECRET_TEXT,
    st.dictionaries(ANY_TEXT.map(lambda text: f"x {text}"), VALUES, max_size=3),
)
_STREAMS = st.sampled_from(["people", "people", "teams", "Zoë 株式会社", "a.b/c d", "people_2"])
_MORE: st.SearchStrategy[Message] = st.sampled_from(
    [{}, {}, {"time_extracted": "2026-11-21T00:00:00Z"}, {"version": 1}]
)
_KEYS = st.sampled_from([["id"], ["id", "name"], [], None, "absent"])


_ENCODINGS = st.sampled_from(
    [
        {"format": "jsonl"},
        {"format": "jsonl", "compression": "none"},
        {"format": "jsonl", "compression": None},
    ]
)
_BATCHES = st.fixed_dictionaries(
    {"encoding": _ENCODINGS, "manifest": st.sampled_from([[], [BATCH_URL], [BATCH_URL] * 2])}
)
_FILES = st.lists(_RECORDS, max_size=3).map(lambda records: joined(as_lines(records)))
_FILES |= _FILES.map(gzip.compress)
"""Compressed or not, independent of the message, as SDK taps write them."""


def schema_message(stream: str, schema: Any, keys: Any) -> Message:  # noqa: ANN401 - well-formed or not
    message: Message = {"type": "SCHEMA", "stream": stream, "schema": schema}
    return message if keys == "absent" else message | {"key_properties": keys}


@st.composite
def messages_of(  # noqa: PLR0913, PLR0917 - one for each part of a message
    draw: st.DrawFn,
    streams: st.SearchStrategy[Any],
    schemas: st.SearchStrategy[Any],
    keys: st.SearchStrategy[Any],
    records: st.SearchStrategy[Any],
    batches: st.SearchStrategy[Message],
) -> list[Message]:
    """Messages in the order in which a tap sends them, a STATE at the end."""
    messages: list[Message] = []
    known: set[str] = set()
    kinds = st.sampled_from(["RECORD"] * 8 + ["STATE", "SCHEMA", "ACTIVATE_VERSION", "BATCH"])
    for kind in draw(st.lists(kinds, max_size=12)):
        stream = draw(streams)
        if kind == "STATE":
            messages.append({"type": "STATE", "value": draw(OBJECTS)})
            continue
        if kind == "SCHEMA" or stream not in known:
            messages.append(schema_message(stream, draw(schemas), draw(keys)))
            known.add(stream)
        if kind == "RECORD":
            message: Message = {"type": "RECORD", "stream": stream, "record": draw(records)}
            messages.append(message | draw(_MORE))
        elif kind == "ACTIVATE_VERSION":
            messages.append({"type": "ACTIVATE_VERSION", "stream": stream, "version": 1})
        elif kind == "BATCH":
            messages.append({"type": "BATCH", "stream": stream} | draw(batches))
    # An empty STATE after records means that the tap was stopped.
    return [*messages, {"type": "STATE", "value": draw(OBJECTS.filter(bool))}]


def well_formed() -> st.SearchStrategy[list[Message]]:
    return messages_of(_STREAMS, st.sampled_from(_SCHEMAS), _KEYS, _RECORDS, _BATCHES)


def as_lines(messages: list[Message], *, ascii_only: bool = False, spaced: bool = False) -> list[bytes]:
    return [as_text(message, ascii_only=ascii_only, spaced=spaced).encode() for message in messages]


def joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


PIECES = st.sampled_from([0, 0, 0, 1, 7, 4096])


@st.composite
def whole_inputs(draw: st.DrawFn) -> Input:
    """Inputs that must be accepted, under settings that accept all of them."""
    variant = draw(st.sampled_from([variant for variant in VARIANTS if variant.takes_all_streams]))
    messages = draw(well_formed())
    if not variant.needs_final_state and draw(st.booleans()):
        messages.pop()
    lines = as_lines(messages, ascii_only=draw(st.booleans()), spaced=draw(st.booleans()))
    stdin = joined(lines)
    taken = variant.takes_streams({message["stream"] for message in messages if message["type"] == "SCHEMA"})
    if draw(st.booleans()):
        stdin = stdin.rstrip(b"\n")
    return Input(stdin, variant, taken=taken or None, piece=draw(PIECES), batch=draw(_FILES))


# Nearly so

HOSTILE_SCHEMAS: list[Any] = [
    True,
    False,
    None,
    [],
    "s3cr3t",
    {"properties": None},
    {"properties": {"id": None}},
    {"properties": {"id": 5, "name": "string"}},
    {"properties": {"id": {"type": "wat"}}},
    {"properties": {"id": {"type": []}}},
    {"properties": {"id": {"type": [[], {}]}}},
    {"properties": {"id": {"type": {"a": 1}}}},
    {"properties": {"id": {"anyOf": []}}},
    {"properties": {"id": {"anyOf": [{"type": "object", "properties": {"x": {}}}, {"type": "null"}]}}},
    {"properties": {"id": {"oneOf": "x", "allOf": 5}}},
    {"properties": {"id": {"enum": "s3cr3t"}}},
    {"properties": {"name": {"pattern": "("}}},
    {"properties": {"name": {"pattern": "(?P<a>x)(?P=a)"}}},
    {"properties": {"name": {"pattern": "^(s+)+$"}}},
    {"properties": {"name": {"pattern": "^(?=(.*)*x)(.|.)*y$"}}},
    {"properties": {"name": {"pattern": "(a{1000}){1000}"}}},
    {"patternProperties": {"[": {}}},
    {"patternProperties": {"^(n+)+$": {"type": "integer"}}},
    {"propertyNames": {"pattern": "\\p{L}+\\Z"}},
    {"properties": {"id": {"$ref": "http://127.0.0.1:9/schema"}}},
    {"properties": {"id": {"$ref": "file:///etc/passwd"}}},
    {"properties": {"id": {"$ref": "#/definitions/nowhere"}}},
    {"properties": {"id": {"$ref": "#"}}},
    {"properties": {"id": {"$ref": 5}}},
    {"$ref": "#"},
    {"$ref": "#/properties/id", "properties": {"id": {"$ref": "#"}}},
    {"$id": "http://127.0.0.1:9/", "properties": {"id": {"$ref": "other.json"}}},
    {"$id": "not a uri \x00", "properties": {}},
    {"$schema": "http://127.0.0.1:9/meta", "properties": {"id": {}}},
    {"$schema": 5, "properties": {}},
    {"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"id": {"exclusiveMinimum": 5}}},
    {"$dynamicRef": "#a", "$dynamicAnchor": "a"},
    {"properties": {"id": {"multipleOf": 0}}},
    {"properties": {"id": {"multipleOf": Verbatim("1e-300")}}},
    {"properties": {"id": {"multipleOf": Verbatim("0.00000001")}}},
    {"properties": {"id": {"maximum": Verbatim("1e400")}}},
    {"properties": {"id": {"maximum": Verbatim("9" * 4000)}}},
    {"properties": {"name": {"minLength": -1}}},
    {"properties": {"name": {"maxLength": Verbatim("1" * 40)}}},
    {"minProperties": Verbatim("1e9")},
    {"required": "id"},
    {"required": [5]},
    {"required": ["id", "id"]},
    {"dependencies": {"id": 5}},
    {"additionalProperties": False, "properties": {}},
    {"additionalProperties": {"$ref": "#"}, "properties": {}},
    {"items": {"$ref": "#/items"}, "properties": {}},
    {"not": {}},
    {"if": {"$ref": "#/then"}, "then": {"$ref": "#/if"}, "properties": {}},
    {"const": "s3cr3t", "properties": {}},
    {"type": "array", "properties": {}},
    {"properties": {"": {"type": "string"}}},
    {"properties": {"id": {"format": "regex", "contentEncoding": "base64"}}},
    *(Verbatim('{"properties":{"a":' * depth + "{}" + "}}" * depth) for depth in (20, 120, 300, 900, 4_000)),
    *(Verbatim('{"not":' * depth + "{}" + "}" * depth) for depth in (120, 300, 900, 4_000)),
    *(Verbatim('{"properties":{"a":{"anyOf":[' * depth + "{}" + "]}}}" * depth) for depth in (120, 500)),
    *(Verbatim('{"properties":{"id":{"enum":[' + "[" * depth + "]" * depth + "]}}}") for depth in (120, 900)),
]
ODD_SCHEMAS = st.sampled_from(HOSTILE_SCHEMAS) | st.fixed_dictionaries(
    {"properties": st.dictionaries(NAMES, nested(LEAVES | st.sampled_from(["string", "object", "array"])))}
)
ODD_KEYS = st.sampled_from(
    [["id", "id"], ["nowhere"], [""], "id", {}, 5, [5], [None], [["id"]], ["a.b"], ["id"] * 300, False]
)
ODD_STREAMS = st.sampled_from(
    ["", " ", "\n", "%s %d", "a" * 5_000, "\x00", "__x__", "people", "/", "{}", "é"]
)
ODD_STREAM_VALUES: st.SearchStrategy[Any] = ODD_STREAMS | st.sampled_from([5, None, [], {}, True])
_TYPES = st.sampled_from(
    ["RECORD", "SCHEMA", "STATE", "ACTIVATE_VERSION", "BATCH", "METRIC", "record", "", None, 5]
)


@st.composite
def odd_messages(draw: st.DrawFn) -> Message | Pairs:
    """A message of any type, each part well-formed or not, and missing, present or duplicated."""
    odd_objects = st.dictionaries(NAMES, ODD_VALUES, max_size=4)
    parts: dict[str, st.SearchStrategy[Any]] = {
        "type": _TYPES,
        "stream": _STREAMS | ODD_STREAM_VALUES,
        "schema": st.sampled_from(_SCHEMAS) | ODD_SCHEMAS,
        "record": _RECORDS | odd_objects | ODD_VALUES,
        "key_properties": _KEYS | ODD_KEYS,
        "value": OBJECTS | odd_objects | ODD_VALUES,
        "version": st.integers() | ODD_LEAVES,
        "time_extracted": st.sampled_from(["2026-11-21T00:00:00Z", "never", 5]),
        "bookmark_properties": st.sampled_from([["id"], 5]),
        "encoding": _ENCODINGS | ODD_VALUES,
        "manifest": st.sampled_from([[BATCH_URL], [], ["file:///nowhere"]]) | ODD_VALUES,
    }
    names = draw(st.lists(st.sampled_from(sorted(parts)), max_size=8))
    return Pairs(tuple((name, draw(parts[name])) for name in ["type", *names]))


_ODD_RECORDS = st.builds(lambda record, name, value: record | {name: value}, _RECORDS, NAMES, ODD_VALUES)


_ODD_BATCHES = st.fixed_dictionaries(
    {
        "encoding": _ENCODINGS
        | st.sampled_from([{"format": "parquet"}, {"format": "jsonl", "compression": "gzip"}, {}, 5, None]),
        "manifest": st.lists(
            st.sampled_from(
                [
                    BATCH_URL,
                    BATCH_URL + "-not",
                    "file:///",
                    "file:///dev/zero",
                    "file:///proc/self/mem",
                    "file://elsewhere/etc/passwd",
                    "file:///%00",
                    "file:///" + "a" * 5_000,
                    "http://127.0.0.1:9/",
                    "",
                    5,
                    None,
                ]
            ),
            max_size=3,
        )
        | st.sampled_from(["file:///", {}, None]),
    }
)
_ODD_FILES = (
    st.lists(_ODD_RECORDS | ODD_VALUES, max_size=3).map(
        lambda records: joined([as_text(one).encode() for one in records])
    )
    | st.binary(max_size=60)
    | st.builds(lambda whole, at: gzip.compress(whole)[:at], _FILES, st.integers(0, 80))
    | st.binary(max_size=20).map(lambda tail: gzip.compress(b'{"id": 1}\n') + tail)
)


@st.composite
def odd_parts(draw: st.DrawFn) -> Input:
    """Messages of the right shape and order, with hostile schemas and odd keys, streams and values."""

    def some_odd(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return draw(st.sampled_from([usual, usual | odd]))

    messages = draw(
        messages_of(
            some_odd(_STREAMS, ODD_STREAMS),
            some_odd(st.sampled_from(_SCHEMAS), ODD_SCHEMAS),
            some_odd(_KEYS, ODD_KEYS),
            some_odd(_RECORDS, _ODD_RECORDS),
            some_odd(_BATCHES, _ODD_BATCHES),
        )
    )
    stdin = joined(as_lines(messages))
    return Input(stdin, draw(st.sampled_from(VARIANTS)), None, draw(PIECES), draw(_FILES | _ODD_FILES))


ODD_LINES = st.one_of(
    odd_messages().map(as_text).map(str.encode),
    st.builds(
        lambda stream, schema, keys: as_text(schema_message(stream, schema, keys)).encode(),
        _STREAMS,
        ODD_SCHEMAS,
        _KEYS | ODD_KEYS,
    ),
    st.builds(
        lambda stream, record: as_text({"type": "RECORD", "stream": stream, "record": record}).encode(),
        _STREAMS,
        _ODD_RECORDS,
    ),
    st.binary(max_size=30),
    st.sampled_from(
        [b"", b" ", b"\r", b"\x0b", b"null", b"{}", b"\xef\xbb\xbf{}", b'{"type":"BATCH","stream":"people"}']
    ),
)


def _delete(lines: list[bytes], at: int, _line: bytes) -> list[bytes]:
    return lines[:at] + lines[at + 1 :]


def _insert(lines: list[bytes], at: int, line: bytes) -> list[bytes]:
    return [*lines[:at], line, *lines[at:]]


def _replace(lines: list[bytes], at: int, line: bytes) -> list[bytes]:
    return [*lines[:at], line, *lines[at + 1 :]]


def _repeat(lines: list[bytes], at: int, _line: bytes) -> list[bytes]:
    return lines[:at] + lines[at : at + 1] + lines[at:]


def _to_the_end(lines: list[bytes], at: int, _line: bytes) -> list[bytes]:
    return [*lines[:at], *lines[at + 1 :], *lines[at : at + 1]]


_CHANGES: list[Callable[[list[bytes], int, bytes], list[bytes]]] = [
    _insert,
    _insert,
    _replace,
    _delete,
    _repeat,
    _to_the_end,
]


@st.composite
def nearly_whole_inputs(draw: st.DrawFn) -> Input:
    """Well-formed messages of which one to three were changed, moved, removed or joined by odd ones."""
    lines = as_lines(draw(well_formed()))
    for _ in range(draw(st.integers(1, 3))):
        change = draw(st.sampled_from(_CHANGES))
        lines = change(lines, draw(st.integers(0, len(lines))), draw(ODD_LINES))
    return Input(joined(lines), draw(st.sampled_from(VARIANTS)), None, draw(PIECES), draw(_FILES))


@st.composite
def json_lines(draw: st.DrawFn) -> Input:
    """Lines of JSON, rarely Singer messages."""
    values = st.lists(VALUES | OBJECTS | odd_messages() | ODD_VALUES, max_size=6)
    return Input(joined([as_text(value).encode() for value in draw(values)]), draw(st.sampled_from(VARIANTS)))


# Bytes

_RAW = st.binary(max_size=40) | st.sampled_from(
    [
        b"\n",
        b"\n\n",
        b"\xff",
        b"\x00",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"}",
        b'"',
        b"\\u",
        b"NaN",
        b"{" * 200,
    ]
)


@st.composite
def invalid_bytes(draw: st.DrawFn) -> Input:
    """A well-formed input's bytes with parts removed, doubled, moved or overwritten; or any bytes."""
    variant = draw(st.sampled_from(VARIANTS))
    if draw(st.integers(0, 5)) == 0:
        return Input(draw(st.binary(max_size=300)), variant, None, draw(PIECES))
    data = joined(as_lines(draw(well_formed())))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        how = draw(st.sampled_from(["cut out", "truncate", "overwrite", "insert", "double", "move"]))
        if how == "truncate":
            data = data[:start]
        elif how == "double":
            data = data[:end] + data[start:]
        elif how == "move":
            rest = data[:start] + data[end:]
            at = draw(st.integers(0, len(rest)))
            data = rest[:at] + data[start:end] + rest[at:]
        else:
            put = b"" if how == "cut out" else draw(_RAW)
            data = data[:start] + put + data[start if how == "insert" else end :]
    return Input(data, variant, None, draw(PIECES))


KINDS: dict[str, st.SearchStrategy[Input]] = {
    "whole": whole_inputs(),
    "odd parts": odd_parts(),
    "nearly whole": nearly_whole_inputs(),
    "JSON lines": json_lines(),
    "invalid bytes": invalid_bytes(),
}
