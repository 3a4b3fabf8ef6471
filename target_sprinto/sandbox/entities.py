"""Records of a page: validated when it arrives, stored when it is applied."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import jsonschema_rs
import msgspec

from target_sprinto.sandbox.options import EntityRules, SandboxOptions
from target_sprinto.sandbox.refusal import Refused
from target_sprinto.sandbox.state import Entities

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode
_NO_RULES = EntityRules()
_ANY_OBJECT = jsonschema_rs.validator_for({"type": "object"})
_UNKNOWN = jsonschema_rs.validator_for(False)  # noqa: FBT003 - the schema that allows nothing


def find_errors(entities: Entities, options: SandboxOptions) -> list[tuple[dict[str, Any], str]]:
    """List the errors, `{entity_type, index, field, issue}` (Sprinto: Pushing Entities Data).

    Each is returned with the rule that is broken. An unknown type accepts any object or nothing, depending on
    the reading.
    """
    rules, readings = options.entities, options.readings
    others = _ANY_OBJECT if readings.unknown_entity_types == "accepted" else _UNKNOWN
    found: list[tuple[dict[str, Any], str]] = []
    before = 0
    for entity_type, records in entities.items():
        schema = rules[entity_type].validator if entity_type in rules else others
        known = schema is not _UNKNOWN
        offset = readings.index_base + (before if readings.index_within == "page" else 0)
        for position, record in enumerate(records):
            entity = _entity(record)
            for error in (schema if isinstance(entity, dict) else _ANY_OBJECT).iter_errors(entity):
                shown = {
                    "entity_type": entity_type,
                    "index": position + offset,
                    "field": _field(error),
                    "issue": error.message if known else f"Unknown entity type {entity_type!r}",
                }
                found.append((shown, error.kind.name if known else "unknown entity type"))
        before += len(records)
    return found if readings.all_errors else found[:1]


def _entity(record: msgspec.Raw) -> object:
    try:
        return _decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, f"Malformed body: {error}") from None


def _field(error: jsonschema_rs.ValidationError) -> str:
    # A missing field is not in the error's path: it is a property of the rule.
    missing = error.kind.as_dict().get("property") if error.kind.name == "required" else None
    return ".".join(map(str, [*error.instance_path, *([missing] if missing else [])]))


def put_in_place(
    applied: dict[str, dict[str, msgspec.Raw]], pages: list[Entities], options: SandboxOptions
) -> None:
    """Apply pages, in order, to `applied`, according to the reading `apply`."""
    how = options.readings.apply
    if how == "replace":
        applied.update({entity_type: {} for page in pages for entity_type in page})
    for page in pages:
        for entity_type, records in page.items():
            table = applied.setdefault(entity_type, {})
            fields = options.entities.get(entity_type, _NO_RULES).key or ("id",)
            for record in records:
                key = f"#{len(table)}" if how != "upsert" else _key(record, fields)
                table[key] = record


def _key(record: msgspec.Raw, fields: tuple[str, ...]) -> str:
    entity = _decode(record)
    if all(name in entity for name in fields):
        return _encode([entity[name] for name in fields]).decode()
    return bytes(record).decode()
