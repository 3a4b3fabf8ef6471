"""Parses a line of the input as a Singer message, with exact numbers and the record's own bytes. Pure.

Errors do not quote a line: it may contain personal data. Sizes are limited before decoding, because decoded
small values take up to thirty times their bytes.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Sequence
from datetime import date, time
from decimal import Decimal, DecimalException
from functools import lru_cache
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from target_sprinto.errors import InputError, InvalidLine, InvalidRecord
from target_sprinto.push.text import LONGEST_NAME

DELETED_AT = "_sdc_deleted_at"
"""The field that marks a row as deleted at its source (singer-sdk: `add_record_metadata`, log-based taps)."""

MAX_LINE_BYTES = 20_000_000
"""A longer line is not a message."""

MAX_RECORD_BYTES = 6_000_000
"""As the tap sends it: a stream map may shrink it to fit a page, of at most 5,000,000 bytes."""

MAX_RECORD_VALUES = 100_000
MAX_STATE_VALUES = 250_000
"""A value counts once with its name. Limited because a stream map makes several copies of a record."""

_LARGEST = {
    "key_properties": 100_000,
    "bookmark_properties": 100_000,
    "encoding": 100_000,
    "manifest": 1_000_000,
}
"""Maximum bytes of a part of a message. SCHEMA and STATE have separate limits."""

_LARGEST_KEY = 100_000

_TOO_DEEP = "the line is nested too deeply."

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
"""An unterminated string extends to the end of the text, so it is searched once, not from each quote."""

_NOT_FINITE = re.compile(rb"(" + _STRING.pattern + rb")|-?Infinity|NaN", re.DOTALL)
_NOT_HELD = b"1e99999999999999999999"
"""A number in JSON that no decoder can hold."""


class Message(msgspec.Struct, gc=False):
    """The parts of a Singer message that this target reads; a `Raw` is undecoded JSON."""

    type: str | UnsetType = UNSET
    stream: Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)] | UnsetType = UNSET
    record: msgspec.Raw | UnsetType = UNSET
    time_extracted: msgspec.Raw = msgspec.Raw()
    schema: msgspec.Raw | UnsetType = UNSET
    key_properties: msgspec.Raw | UnsetType = UNSET
    bookmark_properties: msgspec.Raw | UnsetType = UNSET
    value: msgspec.Raw | UnsetType = UNSET
    encoding: msgspec.Raw | UnsetType = UNSET
    manifest: msgspec.Raw | UnsetType = UNSET


_REQUIRED: dict[str, tuple[str, ...]] = {
    "RECORD": ("stream", "record"),
    "SCHEMA": ("stream", "schema"),
    "STATE": ("value",),
    "ACTIVATE_VERSION": ("stream",),
    "BATCH": ("stream", "encoding", "manifest"),
}

_message_decoder = msgspec.json.Decoder(Message)
_names_decoder = msgspec.json.Decoder(list[str] | None)
_object_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)

encode = msgspec.json.Encoder(decimal_format="number").encode
"""A value as JSON bytes, with exact numbers."""

decode_value = msgspec.json.Decoder(float_hook=Decimal).decode
"""JSON bytes as a value: decimals as Decimal, integers of any size."""

decode_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
"""A JSON object as its fields, each of them undecoded."""


def parse_message(line: bytes) -> dict[str, Any]:
    """A line as a message: ``{"type": …, "stream": …, "record": Raw, "time_extracted": Raw}``.

    Raises InvalidLine, or InvalidRecord for a number that JSON cannot represent.
    """
    try:
        if not line.isascii():
            line.decode()
        message = _message_decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise _not_a_message(line, problem) from None
    kind, stream, record = message.type, message.stream, message.record
    if kind == "RECORD" and stream is not UNSET and record is not UNSET:
        return {
            "type": kind,
            "stream": stream,
            "record": record,
            "time_extracted": message.time_extracted,
        }
    found = {
        name: value for name in message.__struct_fields__ if (value := getattr(message, name)) is not UNSET
    }
    if kind not in _REQUIRED:
        raise invalid_line("the message has no type." if kind is UNSET else _why_unknown(kind))
    _require_parts(kind, found)
    if "key_properties" in found:
        try:
            found["key_properties"] = _names_decoder.decode(found["key_properties"])
        except msgspec.DecodeError:
            raise invalid_line("the `key_properties` are not a list of names.") from None
    return found


def _not_a_message(line: bytes, problem: Exception) -> InputError:
    if isinstance(problem, UnicodeDecodeError):
        return invalid_line("the line is not UTF-8.")
    if isinstance(problem, RecursionError):
        return invalid_line(_TOO_DEEP)
    if line.startswith(codecs.BOM_UTF8):
        return invalid_line("the line begins with a byte order mark, which is not JSON.")
    if isinstance(problem, msgspec.ValidationError):
        # msgspec's messages name types and our own field names, never values.
        return invalid_line(f"not a valid Singer message: {problem}.")
    surrogate = "it has a lone surrogate (\\ud800 to \\udfff), which is not a character."
    return diagnose_line(line) or invalid_line(surrogate)


def _why_unknown(kind: str) -> str:
    if kind.upper() in _REQUIRED:
        return f"its message type must be in capitals: {kind.upper()}."
    # Not quoted: it may be a value.
    return "its `type` is not a Singer message type; it may be a record without the message around it."


def _require_parts(kind: str, found: dict[str, Any]) -> None:
    missing = [name for name in _REQUIRED[kind] if name not in found]
    if missing:
        raise invalid_line(f"a {kind} message lacks {' and '.join(map(repr, missing))}.")
    for name, limit in _LARGEST.items():
        if len(found.get(name, b"")) > limit:
            raise invalid_line(f"the `{name}` of a {kind} message has more than {limit:,} bytes.")


def diagnose_line(line: bytes) -> InputError | None:
    """Why a line is not JSON; None if Python's parser, which is laxer, accepts it."""
    not_finite: list[str] = []
    ending = "" if line.endswith(b"\n") else " The input ends within this line: the tap probably crashed."
    invalid = invalid_line(f"the line is not valid JSON.{ending}")
    if len(line) > MAX_RECORD_BYTES or has_more_values(line, MAX_STATE_VALUES):
        return invalid
    try:
        json.loads(line.decode(), parse_constant=not_finite.append, parse_int=str)
    except RecursionError:
        return invalid_line(_TOO_DEEP)
    except ValueError:
        return invalid
    if not_finite:
        return InvalidRecord(
            "it has NaN or Infinity, which JSON cannot represent and which is not usable as evidence.",
            "Make the tap send null, or leave the field out.",
        )
    return None


def invalid_line(what: str, line: int | None = None) -> InvalidLine:
    """The error for an input line, if its number is already known."""
    return InvalidLine(what, "Look at what the tap printed in this line.", line=line)


def count_marks(text: bytes) -> int:
    """The number of commas, objects and lists in a JSON text: it has at most one more value than that."""
    return sum(map(text.count, (b",", b"{", b"[")))


def has_more_values(raw: msgspec.Raw | bytes, limit: int) -> bool:
    """Whether a JSON text has more than `limit` commas, objects and lists, outside of strings."""
    if len(raw) <= limit:
        return False
    text = bytes(raw)
    marks = count_marks(text)
    if marks > limit:
        marks -= sum(count_marks(string[0]) for string in _STRING.finditer(text))
    return marks > limit


def without_nan(text: bytes) -> bytes:
    """The text with a number that cannot be held in place of each NaN and Infinity.

    So its other values can be decoded, and decoding one of these fails.
    """
    if b"NaN" not in text and b"Infinity" not in text:
        return text
    return _NOT_FINITE.sub(lambda found: found[1] or _NOT_HELD, text)


@lru_cache(maxsize=100)
def _fields_decoder(names: tuple[str, ...]) -> msgspec.json.Decoder[msgspec.Struct]:
    """Raises ValueError for a name with a quote, a backslash or a control character."""
    spelled = {f"field_{number}": name for number, name in enumerate(dict.fromkeys(names))}
    fields = [(field, msgspec.Raw, UNSET) for field in spelled]
    return msgspec.json.Decoder(msgspec.defstruct("Fields", fields, rename=spelled))


def fields_of(raw: bytes, names: Sequence[str]) -> bytes:
    """An object with only these fields, however large the others are; {} if they are too large or invalid."""
    try:
        read = _fields_decoder(tuple(names)).decode(without_nan(raw))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return b"{}"
    parts = [part for field in read.__struct_fields__ if (part := getattr(read, field)) is not UNSET]
    return encode(read) if sum(map(len, parts)) <= _LARGEST_KEY else b"{}"


_ENCODED = (str, int, type(None), Decimal, date, time, UUID, msgspec.Raw)
"""Types that are JSON, or have a usual JSON form. `encode` also accepts bytes, sets and durations."""


def is_finite(value: object) -> bool:
    """Whether all floats in a value are finite. Raises TypeError for a value that is not JSON."""
    if isinstance(value, dict):
        return all(map(is_finite, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return all(map(is_finite, value))
    if isinstance(value, float):
        return math.isfinite(value)
    if not isinstance(value, _ENCODED):
        raise TypeError
    return True


def decode_object(raw: msgspec.Raw | bytes) -> dict[str, Any]:
    """A JSON object with exact numbers: decimals as Decimal, integers of any size.

    Raises ValueError for anything else, and for numbers that Python cannot represent.
    """
    try:
        return _object_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, DecimalException, RecursionError):
        raise ValueError("not a JSON object that can be held exactly") from None
