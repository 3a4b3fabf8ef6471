"""Schemas that say no more than types, as types: a record that can be read as one needs no second look.

msgspec checks types while it reads, which takes less than half the time of reading first and validating then.
What it takes is as the schema wants it; what it does not take says nothing, and is read and validated in full
(`validation.py`). So this decides no verdict, it only spares work: in doubt a schema is not plain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NewType, Union, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

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


TypedRecord = NewType("TypedRecord", object)
"""What its own `TypedDecoder` has read."""


class _NotPlainError(Exception):
    """There is more in the schema than types."""


class TypedDecoder:
    """Reads records of one stream whose schema is plain."""

    def __init__(
        self, decoder: msgspec.json.Decoder[Any], key_fields: Sequence[str], mark_field: str | None
    ) -> None:
        self._decode = decoder.decode
        self._key_fields = key_fields
        self._mark_field = mark_field

    def read(self, raw: bytes) -> TypedRecord | None:
        """A record that is as its schema wants it; None where it has to be looked at in full."""
        try:
            return cast("TypedRecord", self._decode(raw))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def key(self, record: TypedRecord) -> tuple[object, ...]:
        """The values of its key properties."""
        return tuple([getattr(record, field) for field in self._key_fields])

    def is_marked(self, record: TypedRecord) -> bool:
        """Whether the field `mark` has a value. A record with a field that its schema lacks is not plain."""
        return self._mark_field is not None and getattr(record, self._mark_field) is not None


def plain_records(
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
    except (_NotPlainError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        # Whatever else a schema from anywhere may hold.
        return None
    names = list(properties)
    mark_field = _field(names.index(mark)) if mark in names else None
    return TypedDecoder(decoder, [_field(names.index(name)) for name in key_properties], mark_field)


def _kinds(schema: dict[str, Any]) -> frozenset[str]:
    kinds = schema["type"]
    return frozenset([kinds] if isinstance(kinds, str) else kinds)


def _type_of(schema: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made from data
    if schema.keys() - _SUPPORTED_KEYWORDS:
        raise _NotPlainError
    return Union[tuple(_type_of_kind(kind, schema) for kind in sorted(_kinds(schema)))]  # noqa: UP007 - made from data


def _type_of_kind(kind: str, schema: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made from data
    if kind == "object":
        return _type_of_object(schema) if schema.get("properties") else _any_object(schema)
    if kind == "array":
        return list[_type_of(schema["items"])] if "items" in schema else list[Any]  # type: ignore[misc] # made from data
    return _SCALARS[kind]


def _any_object(schema: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made from data
    if schema.get("required") or schema.get("additionalProperties", True) is not True:
        raise _NotPlainError
    return dict[str, Any]


def _type_of_object(schema: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made from data
    """A field that is not named, whether the schema allows it or not, is for the full look to judge."""
    properties, required = schema["properties"], schema.get("required", [])
    if set(required) - set(properties):
        raise _NotPlainError
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
