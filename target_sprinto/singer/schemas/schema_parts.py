"""The fields and types in a JSON Schema; none if it is not a schema. Pure."""

from __future__ import annotations

from typing import Any


def properties_of(schema: object) -> dict[str, Any]:
    """``{field: JSON Schema}``."""
    found = schema.get("properties") if isinstance(schema, dict) else None
    return found if isinstance(found, dict) else {}


def types_of(schema: object) -> set[str]:
    """The types that a value may have; none if the schema specifies none. A number may be an integer."""
    if not isinstance(schema, dict):
        return set()
    found = schema.get("type")
    kinds = {kind for kind in (found if isinstance(found, list) else [found]) if isinstance(kind, str)}
    if found is None:
        alternatives = schema.get("anyOf", schema.get("oneOf"))
        each = list(map(types_of, alternatives)) if isinstance(alternatives, list) else []
        kinds = set[str]().union(*each) if all(each) else set()
    return kinds | {"integer"} if "number" in kinds else kinds
