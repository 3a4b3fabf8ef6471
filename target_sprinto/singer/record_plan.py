"""How the records of a stream are mapped and checked without being taken apart: one plan for schema and map.

A field that the stream map copies or renames keeps its very bytes; a constant is encoded once; common
expressions are compiled, and any other is the SDK's mapper's, which is given the fields that it reads. What
comes out is checked while msgspec reads it, if its schema says no more than types.

This is an optimisation only, and decides no verdict: in doubt, the SDK's mapper and the full validation
(`validation.py`) have the record. A field that is neither sent nor read is not looked at.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter, itemgetter
from typing import Any, Union, cast

import msgspec
from msgspec import UNSET, Raw
from singer_sdk.exceptions import MappingError
from singer_sdk.mapper import CustomStreamMap, StreamMap

from target_sprinto.singer.intake import DELETED_AT
from target_sprinto.singer.map_compiler import (
    Compiler,
    fields_read,
    is_constant,
    map_of,
    optional_field,
    tree_of,
)
from target_sprinto.singer.map_rules import NOT_FIELDS, MapRule
from target_sprinto.singer.messages import encode, is_finite

LEFT_OUT = b""
"""What a map makes of a record that it filters out."""

_UNSUITABLE = (KeyError, TypeError, ValueError, AttributeError, RecursionError)
"""What a schema or a map from anywhere may bring about while a plan is made."""

_decode_value = msgspec.json.Decoder(float_hook=Decimal).decode
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NULL = Raw(b"null")
"""In the place of an optional field that is missing: this object, and no other null."""

_FINITE = frozenset({str, int, bool, type(None)})

_ANNOTATION_KEYWORDS = frozenset(
    {"$schema", "title", "description", "default", "examples", "$comment", "format"}
)
"""Keywords that no record breaks; formats are not asserted."""

_SUPPORTED_KEYWORDS = _ANNOTATION_KEYWORDS | {
    "type",
    "properties",
    "required",
    "items",
    "additionalProperties",
}

_KEYS: dict[str, Any] = {"string": str, "integer": int, "boolean": bool, "null": None}
_SCALARS: dict[str, Any] = {**_KEYS, "number": float}


class RecordWriter:
    """Writes the records of one stream as its stream map makes them."""

    def __init__(self, stream_map: CustomStreamMap, rule: MapRule, fields: Sequence[str]) -> None:
        """`fields` are the stream's. Raises one of _UNSUITABLE for a map that a plan cannot follow."""
        kept = list(stream_map.transformed_key_properties or []) if rule.drops_others else list(fields)
        copies = {name: name for name in kept if name not in rule.fields}
        passed = list(copies)
        # By source field what stands for one that is missing; without a default it may not be.
        defaults: dict[str, tuple[Any, ...]] = dict.fromkeys(copies, (UNSET,))
        if rule.drops_others or DELETED_AT in fields:
            defaults[DELETED_AT] = (UNSET,)
        null = (_NULL,)
        constants, computed = dict[str, Raw](), dict[str, str]()
        for target, text in rule.expressions.items():
            tree = tree_of(text)
            if target == "__filter__":
                continue
            if is_constant(tree):
                constants[target] = Raw(encode(ast.literal_eval(tree)))
            elif isinstance(tree, ast.Name) and tree.id in fields and tree.id not in NOT_FIELDS:
                copies[target], defaults[tree.id] = tree.id, ()
            elif (source := optional_field(tree)) is not None and defaults.setdefault(source, null) == null:
                copies[target] = source
            else:
                computed[target] = text
        self._computed: _Computed | None = None
        if computed or "__filter__" in rule.expressions:
            self._computed = _Computed(stream_map, rule, computed, fields)
            defaults = dict.fromkeys(self._computed.fields, (UNSET,)) | defaults
        if not rule.drops_others:
            defaults = dict.fromkeys(fields, (UNSET,)) | defaults
        number = {name: _field(at) for at, name in enumerate(defaults)}
        self._decode = msgspec.json.Decoder(
            msgspec.defstruct(
                "Read",
                cast("Any", [(number[name], Raw, *default) for name, default in defaults.items()]),
                rename={field: name for name, field in number.items()},
                kw_only=True,
                forbid_unknown_fields=not rule.drops_others,
                gc=False,
            )
        ).decode
        self._copied = _getter([number[source] for source in copies.values()])
        watches = DELETED_AT in number and not rule.reads(DELETED_AT)
        self._mark = attrgetter(number[DELETED_AT]) if watches else None
        self._skips = rule.drops_others or bool(rule.removed)
        self._constants = tuple(constants.values())
        targets = [*copies, *constants]
        if self._computed is not None:
            self._computes_from = _getter([number[name] for name in self._computed.fields])
            targets += self._computed.targets
        # In the order of the map, as the SDK's mapper makes them.
        ordered = sorted(targets, key=[*passed, *rule.fields].index)
        self._ordered = None if ordered == targets else itemgetter(*map(targets.index, ordered))
        self._made = msgspec.defstruct(
            "Made",
            [(_field(at), Any, UNSET) for at in range(len(ordered))],
            rename={_field(at): name for at, name in enumerate(ordered)},
            gc=False,
        )

    def write(self, raw: bytes) -> bytes | None:
        """The mapped record, LEFT_OUT, or None in doubt; both records are JSON."""
        if self._skips and _SURROGATE.search(raw):
            # What is skipped may hold one that is not a character.
            return None
        try:
            read = self._decode(raw)
            if self._mark is not None and (mark := self._mark(read)) is not UNSET and mark != _NULL:
                return None
            computed = self._computed.of(self._computes_from(read)) if self._computed is not None else ()
            if computed is None:
                return LEFT_OUT
            values = (*self._copied(read), *self._constants, *computed)
            if self._ordered is not None:
                values = self._ordered(values)
            body = encode(self._made(*values))
        except Exception:  # noqa: BLE001 - an expression of the user's may raise anything: the full way reports it
            return None
        # An empty record is left out by the SDK's mapper.
        return body if len(body) > len(b"{}") else LEFT_OUT


class _Computed:
    """The fields of a mapped record that are neither copies nor constants, and the map's filter.

    Expressions that are not compiled are the SDK's mapper's, given the fields that they read.
    """

    def __init__(
        self, stream_map: CustomStreamMap, rule: MapRule, computed: Mapping[str, str], fields: Sequence[str]
    ) -> None:
        compiler = Compiler(fields, stream_map.expr_evaluator.operators, stream_map.functions)
        condition = rule.options.get("__filter__")
        translated: dict[str, ast.expr] = {}
        self._mapped, names = dict[str, str](), set[str]()
        for target, text in {**computed, **({} if condition is None else {"__filter__": condition})}.items():
            read = fields_read(text)
            names |= read | ({target} if "self" in read else set())
            try:
                translated[target] = compiler.translated(tree_of(text))
            except (KeyError, ValueError):
                self._mapped[target] = text
        tested = translated.pop("__filter__", None)
        self._filter = None if tested is None else compiler.compiled([tested])
        self._compute = compiler.compiled(list(translated.values()))
        self._mapper = None if not self._mapped else map_of(stream_map, self._mapped)
        self._maps_filter = self._mapped.pop("__filter__", None) is not None
        self.targets = [*translated, *self._mapped]
        self.fields = sorted(names)

    def of(self, parts: Sequence[Any]) -> Sequence[object] | None:
        """The values of `targets`, from those of `fields`; None if the map leaves the record out.

        May raise anything.
        """
        record = {
            name: _decode_value(part)
            for name, part in zip(self.fields, parts, strict=True)
            if part is not UNSET and part is not _NULL
        }
        if self._filter is not None and not self._filter(record)[0]:
            return None
        if self._maps_filter and self._mapper is not None and not self._mapper.get_filter_result(record):
            return None
        values = self._compute(record)
        if self._mapped and self._mapper is not None:
            made = self._mapper.transform(record) or {}
            values += [made[target] for target in self._mapped]
        for value in values:
            if type(value) not in _FINITE and not is_finite(value):
                raise ValueError
        return values


def _getter(names: Sequence[str]) -> Callable[[object], tuple[object, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda read: tuple([getattr(read, name) for name in names])


def record_writer(stream_map: StreamMap, rule: MapRule | None, fields: Sequence[str]) -> RecordWriter | None:
    """A writer for a stream with these `fields`; None for a map that only the SDK's mapper can follow."""
    if rule is None or not isinstance(stream_map, CustomStreamMap) or stream_map.flattening_enabled:
        return None
    try:
        return RecordWriter(stream_map, rule, fields)
    except (*_UNSUITABLE, MappingError):
        return None


class TypedDecoder:
    """Reads records of one stream whose schema says no more than types."""

    def __init__(
        self, decoder: msgspec.json.Decoder[Any], key_fields: Sequence[str], mark_field: str | None
    ) -> None:
        self._decode = decoder.decode
        self._key_fields = key_fields
        self._mark_field = mark_field

    def read(self, raw: bytes) -> msgspec.Struct | None:
        """A record that is as its schema wants it; None where it has to be looked at in full.

        So has one whose field `mark` has a value. A record with a field that its schema lacks is not plain.
        """
        try:
            record: msgspec.Struct = self._decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if self._mark_field is not None and getattr(record, self._mark_field) is not None:
            return None
        return record

    def key(self, record: msgspec.Struct) -> tuple[object, ...]:
        """The values of its key properties."""
        return tuple([getattr(record, field) for field in self._key_fields])


def typed_decoder(
    schema: dict[str, Any], key_properties: Sequence[str], mark: str | None = None
) -> TypedDecoder | None:
    """A reader for the stream's records; None where the schema is not plain, or a key may be a decimal."""
    properties = schema.get("properties", {})
    try:
        if any(not _kinds(properties[name]) <= _KEYS.keys() for name in key_properties):
            # A decimal read as a float is another key than the same one read in full.
            return None
        wanted = {**schema, "type": "object", "required": [*schema.get("required", []), *key_properties]}
        if schema.get("type", "object") != "object":
            return None
        decoder = msgspec.json.Decoder(_type_of(wanted))
    except _UNSUITABLE:
        return None
    names = list(properties)
    mark_field = _field(names.index(mark)) if mark in names else None
    return TypedDecoder(decoder, [_field(names.index(name)) for name in key_properties], mark_field)


def _kinds(schema: dict[str, Any]) -> frozenset[str]:
    kinds = schema["type"]
    return frozenset([kinds] if isinstance(kinds, str) else kinds)


def _type_of(schema: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made from data
    if schema.keys() - _SUPPORTED_KEYWORDS:
        raise ValueError
    if not schema:
        return Any
    return Union[tuple(_type_of_kind(kind, schema) for kind in sorted(_kinds(schema)))]  # noqa: UP007 - made from data


def _type_of_kind(kind: str, schema: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made from data
    if kind == "object":
        return _type_of_object(schema) if schema.get("properties") else _any_object(schema)
    if kind == "array":
        return list[_type_of(schema["items"])] if "items" in schema else list[Any]  # type: ignore[misc] # made from data
    return _SCALARS[kind]


def _any_object(schema: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made from data
    if schema.get("required") or schema.get("additionalProperties", True) is not True:
        raise ValueError
    return dict[str, Any]


def _type_of_object(schema: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made from data
    """A field that is not named, whether the schema allows it or not, is for the full look to judge."""
    properties, required = schema["properties"], schema.get("required", [])
    if set(required) - set(properties):
        raise ValueError
    fields = [
        (_field(number), _type_of(wanted), *(() if name in required else (None,)))
        for number, (name, wanted) in enumerate(properties.items())
    ]
    names = {_field(number): name for number, name in enumerate(properties)}
    return msgspec.defstruct(
        "Record", fields, rename=names, kw_only=True, forbid_unknown_fields=True, gc=False
    )


def _field(number: int) -> str:
    return f"field_{number}"
