"""Maps the records of a stream without decoding them in full.

A field that the stream map copies or renames keeps its bytes; a constant is encoded once; common expressions
are compiled; the SDK's mapper evaluates any others, and only the fields that they read are decoded for it.

This is an optimisation only: in doubt, a record goes to the SDK's mapper (`sdk_mapping.py`). A field that is
neither sent nor read is not checked.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, cast

import msgspec
from msgspec import UNSET, Raw
from singer_sdk.exceptions import MappingError
from singer_sdk.mapper import CustomStreamMap, StreamMap

from target_sprinto.singer.input.messages import DELETED_AT, encode
from target_sprinto.singer.mapping.map_compiler import (
    NULL,
    Compiler,
    decode_operand,
    fields_read,
    finite,
    map_of,
    of_rest,
)
from target_sprinto.singer.mapping.map_rules import MapRule, parsed

LEFT_OUT = b""
"""The result of a map for a record that it filters out."""

_UNSUITABLE = (KeyError, TypeError, ValueError, AttributeError, RecursionError)
"""Errors that an arbitrary map may cause while a plan is made."""


class RecordWriter:
    """Writes the mapped records of one stream. `reads` are the fields that it sends or reads by name."""

    def __init__(self, stream_map: CustomStreamMap, rule: MapRule, fields: Sequence[str]) -> None:
        """`fields` are the stream's. Raises one of _UNSUITABLE if no plan fits the map."""
        compiler = Compiler(stream_map, rule, fields)
        self._make = _maker(compiler, stream_map, rule, fields)
        self.reads = sorted(compiler.read)
        self._mark = None
        if (rule.drops_others or DELETED_AT in fields) and not rule.reads(DELETED_AT):
            self._mark = attrgetter(compiler.part(DELETED_AT).attr)
        parts = [
            (attribute, Raw, *(() if name in compiler.required else (UNSET,)))
            for name, attribute in compiler.attributes.items()
            if name in compiler.read or not rule.drops_others
        ]
        read = msgspec.defstruct(
            "Read",
            cast("Any", parts),
            rename={attribute: name for name, attribute in compiler.attributes.items()},
            kw_only=True,
            forbid_unknown_fields=not rule.drops_others,
            gc=False,
        )
        # A field that the map reads and the schema lacks is sent as well: such a record is in doubt.
        self._undeclared = [
            attribute
            for name, attribute in compiler.attributes.items()
            if name not in fields and not rule.drops_others
        ]
        # Checks skipped fields too, even for lone surrogates.
        self._decode = msgspec.json.Decoder(read).decode

    def write(self, raw: bytes) -> bytes | None:
        """The mapped record as JSON, LEFT_OUT, or None in doubt."""
        try:
            read = self._decode(raw)
            if self._mark is not None and (mark := self._mark(read)) is not UNSET and mark != NULL:
                return None
            if self._undeclared and any(getattr(read, name) is not UNSET for name in self._undeclared):
                return None
            if (made := self._make(read)) is None:
                return LEFT_OUT
            body = encode(made)
        except Exception:  # noqa: BLE001 - a user's expression may raise anything: the full path reports it
            return None
        # The SDK's mapper leaves out an empty record.
        return body if len(body) > len(b"{}") else LEFT_OUT


def _maker(
    compiler: Compiler, stream_map: CustomStreamMap, rule: MapRule, fields: Sequence[str]
) -> Callable[[msgspec.Struct], msgspec.Struct | None]:
    """A function that maps a decoded record, or returns None to leave it out. It may raise anything."""
    kept = (stream_map.transformed_key_properties or []) if rule.drops_others else fields
    # In the same order as the SDK's mapper.
    values: dict[str, ast.expr] = {name: compiler.part(name) for name in kept if name not in rule.fields}
    rest: dict[str, str] = {}
    for target, text in rule.expressions.items():
        compiled = compiler.computed if target == "__filter__" else compiler.target
        try:
            values[target] = compiled(parsed(text))
        except (KeyError, ValueError):
            rest[target], values[target] = text, of_rest(target)
    condition = values.pop("__filter__", None)
    made = msgspec.defstruct(
        "Made",
        [(f"field_{at}", Any, UNSET) for at in range(len(values))],
        rename={f"field_{at}": name for at, name in enumerate(values)},
        gc=False,
    )
    body: ast.expr = compiler.called(made, values.values())
    if rest:
        attributes = {name: compiler.part(name).attr for name in sorted(fields_read(rest))}
        body = compiler.with_rest(_evaluated_by(map_of(stream_map, rest), attributes), body)
    if condition is not None and "__filter__" not in rest:
        body = ast.IfExp(condition, body, ast.Constant(None))
    return compiler.compiled(body)


def _evaluated_by(
    mapper: CustomStreamMap, attributes: Mapping[str, str]
) -> Callable[[msgspec.Struct], dict[str, Any] | None]:
    """A function for expressions that only the SDK's mapper can evaluate, given the fields that they read.

    It returns the values by target field, or None to leave out the record. It may raise anything.
    """

    def values(read: msgspec.Struct) -> dict[str, Any] | None:
        parts = {name: getattr(read, attribute) for name, attribute in attributes.items()}
        record = {name: decode_operand(part) for name, part in parts.items() if part is not UNSET}
        if not mapper.get_filter_result(record):
            return None
        return {name: finite(value) for name, value in (mapper.transform(record) or {}).items()}

    return values


def record_writer(stream_map: StreamMap, rule: MapRule, fields: Sequence[str]) -> RecordWriter | None:
    """A writer for a stream with these `fields`; None if only the SDK's mapper can apply the map."""
    if not isinstance(stream_map, CustomStreamMap) or stream_map.flattening_enabled:
        return None
    try:
        return RecordWriter(stream_map, rule, fields)
    except (*_UNSUITABLE, MappingError):
        return None
