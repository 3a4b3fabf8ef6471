"""What a JSON Schema says of fields and types; nothing for what is not a schema. Pure."""

from __future__ import annotations

from typing import Any


def properties_of(schema: object) -> dict[str, Any]:
    """``{field: JSON Schema}``."""
    found = schema.get("properties") if isinstance(schema, dict) else None
    return found if isinstance(found, dict) else {}


def types_of(schema: object) -> set[str]:
    """The types that a value may have. A number may be an integer."""
    found = schema.get("type") if isinstance(schema, dict) else None
    kinds = {kind for kind in (found if isinstance(found, list) else [found]) if isinstance(kind, str)}
    return kinds | {"integer"} if "number" in kinds else kinds
