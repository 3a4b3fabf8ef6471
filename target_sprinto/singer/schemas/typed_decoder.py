"""Checks a record while msgspec decodes it, if its schema specifies only types.

This is an optimisation only: in doubt, a record goes to full validation (`validation.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Union

import msgspec

from target_sprinto.push.protocol.entity_keys import entity_key

_UNSUITABLE = (KeyError, TypeError, ValueError, AttributeError, RecursionError)
"""Errors that an arbitrary schema may cause while a decoder is made."""

_ANNOTATION_KEYWORDS = frozenset(
    {"$schema", "title", "description", "default", "examples", "$comment", "format"}
)
"""Keywords that no record violates; formats are not asserted."""

_SUPPORTED_KEYWORDS = _ANNOTATION_KEYWORDS | {
    "type",
    "properties",
    "required",
    "items",
    "additionalProperties",
}

_KEYS: dict[str, Any] = {"string": str, "integer": int, "boolean": bool, "null": None}
_SCALARS: dict[str, Any] = {**_KEYS, "number": float}


class TypedDecoder:
    """Decodes the records of one stream whose schema specifies only types."""

    def __init__(self, schema: dict[str, Any], key_properties: Sequence[str], mark: str | None) -> None:
        """Raises one of _UNSUITABLE if the schema specifies more, or if a key may be a decimal."""
        properties = schema.get("properties", {})
        if any(not _kinds(properties[name]) <= _KEYS.keys() for name in key_properties):
            # A decimal decoded as a float would not equal the same key decoded exactly.
            raise ValueError
        if schema.get("type", "object") != "object":
            raise ValueError
        wanted = {**schema, "type": "object", "required": [*schema.get("required", []), *key_properties]}
        self._decode = msgspec.json.Decoder(_type_of(wanted)).decode
        names = list(properties)
        self._key_fields = [_field(names.index(name)) for name in key_properties]
        self._mark_field = _field(names.index(mark)) if mark in names else None

    def read(self, raw: bytes) -> msgspec.Struct | None:
        """Decode a valid record; None for one that needs full validation.

        That includes one whose field `mark` has a value, and one with a field that its schema lacks.
        """
        try:
            record: msgspec.Struct = self._decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if self._mark_field is not None and getattr(record, self._mark_field) is not None:
            return None
        return record

    def key(self, record: msgspec.Struct) -> tuple[object, ...] | None:
        """Its entity key; None if all key properties are null."""
        return entity_key([getattr(record, field) for field in self._key_fields])


def typed_decoder(
    schema: dict[str, Any], key_properties: Sequence[str], mark: str | None = None
) -> TypedDecoder | None:
    """A decoder for the stream's records; None if the schema specifies more, or a key may be a decimal."""
    try:
        return TypedDecoder(schema, key_properties, mark)
    except _UNSUITABLE:
        return None


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
        return _type_of_object(schema)
    if kind == "array":
        return list[_type_of(schema["items"])] if "items" in schema else list[Any]  # type: ignore[misc] # made from data
    return _SCALARS[kind]


def _type_of_object(schema: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made from data
    """A field that is not named, whether the schema allows it or not, is left to full validation."""
    properties, required = schema.get("properties") or {}, schema.get("required", [])
    others = schema.get("additionalProperties", True)
    if set(required) - set(properties) or not (properties or others is True):
        raise ValueError
    if not properties:
        return dict[str, Any]
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
