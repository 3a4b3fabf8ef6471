"""Converts a class of settings to the JSON Schema that the SDK, Meltano and `--about` read. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

import msgspec


def json_schema(settings: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema of the fields whose annotation holds a description, after a title if the name makes none."""
    _, types = msgspec.json.schema_components([settings], schema_hook=lambda _: {"type": "string"})
    own = types[settings.__name__]
    properties = {}
    for name, hint in get_type_hints(settings, include_extras=True).items():
        texts = [part for part in getattr(hint, "__metadata__", ()) if isinstance(part, str)]
        if texts:
            kind = hint.__origin__
            if isinstance(kind, enum.EnumMeta):
                choices: Iterable[enum.Enum] = kind
                # In the order of the class: msgspec sorts them.
                types[kind.__name__] = {"type": "string", "enum": [one.value for one in choices]}
            title = name.removesuffix("_seconds").replace("_", " ").capitalize()
            schema = {"title": texts[-2] if len(texts) > 1 else title, "description": texts[-1]}
            schema |= own["properties"][name]
            properties[name] = _plain(schema, types, nullable=name not in own["required"])
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in own["required"] if name in properties],
        "$schema": "https://json-schema.org/draft/2020-12/schema",
    }


def _plain(schema: dict[str, Any], types: Mapping[str, Any], *, nullable: bool = False) -> dict[str, Any]:
    """A part of the schema without references and alternatives, as the SDK writes it."""
    schema = dict(schema)
    if "anyOf" in schema:
        schema = schema.pop("anyOf")[0] | schema
    if "$ref" in schema:
        named = types[schema.pop("$ref").rpartition("/")[2]]
        schema = {key: value for key, value in named.items() if key not in {"title", "description"}} | schema
    if schema.get("default", "") in (None, ""):
        schema.pop("default", None)
    if schema.get("secret"):
        schema["writeOnly"] = True
    if isinstance(schema["type"], str):
        schema["type"] = [schema["type"], *(["null"] if nullable else [])]
    if "properties" in schema:
        # The SDK would fill in nested defaults before it checks; only those of the class count.
        schema["properties"] = {
            name: {key: value for key, value in _plain(part, types).items() if key != "default"}
            for name, part in schema["properties"].items()
        }
    if isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = _plain(schema["additionalProperties"], types)
    return schema
