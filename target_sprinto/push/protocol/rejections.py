"""Describes a rejected page in our own words. Pure.

The text of a response may quote values, from this page or any other, in any spelling. So none of it is shown,
only an entity type, an index and a field that the run itself knows, and the name of a JSON Schema rule. The
response itself is written to a file that only its owner can read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from itertools import groupby

import msgspec

from target_sprinto.push.errors import PageRefused
from target_sprinto.push.protocol.encoding import FIELD_NAME
from target_sprinto.push.protocol.field_paths import FieldProblem
from target_sprinto.push.protocol.pages import Page
from target_sprinto.push.protocol.responses import GATEWAY, may_be_from_gateway
from target_sprinto.push.text import fitting, listed, pluralize, quoted

KnownField = Callable[[str, str], "str | None"]
"""From an entity type and a response's spelling of a field to the schema's own path; None if unknown."""

_ROOM = 120
"""Characters of a message for the records that a response names."""

_FIELDS = 3
_FIELDS_ROOM = 180
"""Maximum number of fields named for one record, and of characters for them."""

_RULES = {
    "required": "is missing",
    "type": "has the wrong type",
    "enum": "is not one of the allowed values",
    "const": "is not the allowed value",
    "format": "has the wrong format",
    "pattern": "does not match the pattern",
    "minLength": "is too short",
    "maxLength": "is too long",
    "minimum": "is too small",
    "maximum": "is too large",
    "multipleOf": "is not a multiple",
    "minItems": "has too few items",
    "maxItems": "has too many items",
    "uniqueItems": "has duplicate items",
    "additionalProperties": "is not allowed",
}
"""JSON Schema's rules, and what is wrong with a field that breaks one of them."""

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RULE_BY_SPELLING = {rule.lower(): rule for rule in _RULES}
_LONGEST_RULE = 40

_UNNAMED = "Ask Sprinto for the rules of this entity type, and check how its fields are mapped."


def no_field(_entity_type: str, _spelt: str) -> str | None:
    """For a run without schemas: no name in a response can be recognised as a field."""
    return None


def describe_rejection(page: Page, refusal: PageRefused, known_field: KnownField) -> PageRefused:
    """The rejection in actionable form: where the page came from, and what is known about its records."""
    span = f"rejected page {page.number}"
    if page.items[0].origin is not None:
        span += f" ({places(page)})"
    if known_field is no_field:
        known_field = _fields_of(page)
    message, hint = f"Sprinto {span} and named no record.", _UNNAMED
    if may_be_from_gateway(refusal.response):
        message, hint = f"Sprinto or a gateway {span}: the response is not JSON.", GATEWAY
    if refusal.details:
        message, hint = f"Sprinto {span}: {describe_details(page, refusal.details, known_field)}.", ""
    described = PageRefused(message, hint, details=refusal.details, response=refusal.response)
    described.status = refusal.status
    return described


def _fields_of(page: Page) -> KnownField:
    """The field names in the page's own records: all that is known in a run without schemas."""
    names: dict[str, set[str]] = {}
    for item in page.items:
        # A body given to `Run.add` may not be JSON, which may be why it was rejected.
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            names.setdefault(item.entity_type, set()).update(_fields.decode(item.body))

    def find(entity_type: str, spelt: str) -> str | None:
        return spelt if spelt in names.get(entity_type, ()) and FIELD_NAME.fullmatch(spelt) else None

    return find


def places(page: Page) -> str:
    """Where the page's first and last record came from."""
    first, last = str(page.items[0].origin), str(page.items[-1].origin)
    return first if first == last else f"{first} to {_within(page, last)}"


def _within(page: Page, origin: object) -> str:
    """Where a record came from, without the stream if it is that of the page's first record."""
    stream, comma, _ = str(page.items[0].origin).rpartition(", ")
    return str(origin).removeprefix(stream + comma)


def describe_details(page: Page, details: tuple[Mapping[str, object], ...], known_field: KnownField) -> str:
    """The first records that a response names, as a clause."""
    by_record = groupby(details, lambda detail: (detail.get("entity_type"), detail.get("index")))
    return listed([_describe(page, list(of_one), known_field) for _, of_one in by_record], _ROOM)


def read_detail(entity_type: str, detail: Mapping[str, object], known_field: KnownField) -> FieldProblem:
    """The part of a response's detail about a record that may be shown."""
    spelt = detail.get("field")
    field = known_field(entity_type, spelt) if isinstance(spelt, str) and spelt else None
    rule = next(
        filter(None, (_rule(detail.get(name)) for name in ("rule", "code", "keyword", "issue"))), None
    )
    return FieldProblem(field, f"{_RULES[rule]} (rule {rule!r})" if rule else None)


def _describe(page: Page, details: list[Mapping[str, object]], known_field: KnownField) -> str:
    """What is wrong with one record."""
    entity_type, index = details[0].get("entity_type"), details[0].get("index")
    items = page.by_entity_type.get(entity_type, []) if isinstance(entity_type, str) else []
    # Any other name may be a value.
    parts = [f"entity type {quoted(items[0].entity_type)}" if items else "a record"]
    # From 0 or from 1. A larger number is not an index in this page, and may be a value.
    if isinstance(index, int) and not isinstance(index, bool) and 0 <= index <= len(page.items):
        parts.append(f"index {index}")
        if index < len(items) and items[index].origin is not None:
            # How records are counted is not documented, so this is a hint, and is worded as one.
            parts.append(
                f"which is {_within(page, items[index].origin)} if Sprinto counts from 0 within the type"
            )
    shown = details[:_FIELDS]
    known = [read_detail(items[0].entity_type, detail, known_field) for detail in shown if items]
    fields = [str(one) if one.field else f"a field {one.issue}" for one in known if one.field or one.issue]
    fitted = fitting(fields, _FIELDS_ROOM, ", ")
    if not fields and any(isinstance(name := detail.get("field"), str) and name for detail in shown):
        fitted = fields = ["a field that the run does not know"]
    parts += fitted
    if more := len(details) - len(shown) + len(fields) - len(fitted):
        parts.append(f"and {pluralize(more, 'problem')} more")
    return ", ".join(parts)


def _rule(value: object) -> str | None:
    if not isinstance(value, str) or len(value) > _LONGEST_RULE:
        return None
    return _RULE_BY_SPELLING.get(value.lower().replace("_", "").replace("-", ""))
