"""A class of settings as the JSON Schema that the SDK, Meltano and `--about` read. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec


def json_schema(settings: type[msgspec.Struct], choices: Iterable[type[enum.Enum]]) -> dict[str, Any]:
    """The schema of the fields that have a title. `choices` are their enums, in the order to be shown."""
    _, types = msgspec.json.schema_components([settings], schema_hook=lambda _: {"type": "string"})
    for choice in choices:
        types[choice.__name__] = {"type": "string", "enum": [one.value for one in choice]}
    own = types[settings.__name__]
    properties = {name: schema for name, schema in own["properties"].items() if "title" in schema}
    required = [name for name in own["required"] if name in properties]
    return {
        "type": "object",
        "properties": {
            name: _plain(schema, types, nullable=name not in required) for name, schema in properties.items()
        },
        "required": required,
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
        # The SDK fills in defaults before it checks: within settings only ours count.
        schema["properties"] = {
            name: {key: value for key, value in _plain(part, types).items() if key != "default"}
            for name, part in schema["properties"].items()
        }
    if isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = _plain(schema["additionalProperties"], types)
    return schema
