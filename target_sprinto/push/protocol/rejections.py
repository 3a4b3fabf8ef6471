"""A rejected page, described in our own words. Pure.

The text of a response may quote values, of this page or of any other, in any spelling. So none of it is
shown: only an entity type, an index and a field that the run knows itself, and a rule of JSON Schema by its
name. The response itself goes into a file that its owner alone can read.
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
from target_sprinto.push.text import fitting, listed, pluralize, quoted

KnownField = Callable[[str, str], "str | None"]
"""The schema's own path of a field, from an entity type and a response's spelling; None if it has none."""

_ROOM = 120
"""Characters of a message for the records that a response names."""

_FIELDS = 3
_FIELDS_ROOM = 180
"""So many fields of one record are named, if they fit into so many characters."""

_RULES = {
    "required": "is missing",
    "type": "is of another type",
    "enum": "is not one of the allowed values",
    "const": "is not the allowed value",
    "format": "has another format",
    "pattern": "does not match the pattern",
    "minLength": "is too short",
    "maxLength": "is too long",
    "minimum": "is too small",
    "maximum": "is too large",
    "multipleOf": "is not a multiple",
    "minItems": "has too few items",
    "maxItems": "has too many items",
    "uniqueItems": "has an item twice",
    "additionalProperties": "is not allowed",
}
"""JSON Schema's rules, and what a field that breaks one of them is."""

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RULE_BY_SPELLING = {rule.lower(): rule for rule in _RULES}
_LONGEST_RULE = 40


_UNNAMED = "Check with Sprinto what this entity type must look like, and how its fields are mapped."


def no_field(_entity_type: str, _spelt: str) -> str | None:
    """For a run that has no schema: no name in a response can be recognised as a field's."""
    return None


def describe_rejection(page: Page, refusal: PageRefused, known_field: KnownField) -> PageRefused:
    """The rejection as a user can act on it: where the page came from, and what is known of its records."""
    span = f"Sprinto rejected page {page.number}"
    if page.items[0].origin is not None:
        span += f" ({places(page)})"
    if known_field is no_field:
        known_field = _fields_of(page)
    message, hint = f"{span} and named no record.", _UNNAMED
    if refusal.details:
        message, hint = f"{span}: {describe_details(page, refusal.details, known_field)}.", ""
    described = PageRefused(message, hint, refusal.details, refusal.response)
    described.status = refusal.status
    return described


def _fields_of(page: Page) -> KnownField:
    """The names that the page's own records have: all that is known of a run without schemas."""
    names: dict[str, set[str]] = {}
    for item in page.items:
        # What `Run.add` was given may not be JSON, and be rejected for it.
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
    """Where a record came from, without what it shares with the page's first record: its stream."""
    stream, comma, _ = str(page.items[0].origin).rpartition(", ")
    return str(origin).removeprefix(stream + comma)


def describe_details(page: Page, details: tuple[Mapping[str, object], ...], known_field: KnownField) -> str:
    """The first of the records that a response names, in a clause."""
    by_record = groupby(details, lambda detail: (detail.get("entity_type"), detail.get("index")))
    return listed([_describe(page, list(of_one), known_field) for _, of_one in by_record], _ROOM)


def read_detail(entity_type: str, detail: Mapping[str, object], known_field: KnownField) -> FieldProblem:
    """What may be shown of what a response says of a record of this entity type."""
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
            # How records are counted is not documented, so this is a hint and says so.
            parts.append(
                f"which is {_within(page, items[index].origin)} if Sprinto counts within the type from 0"
            )
    shown = details[:_FIELDS]
    known = [read_detail(items[0].entity_type, detail, known_field) for detail in shown if items]
    fields = [str(one) if one.field else f"a field {one.issue}" for one in known if one.field or one.issue]
    fitted = fitting(fields, _FIELDS_ROOM, ", ")
    parts += fitted
    if more := len(details) - len(shown) + len(fields) - len(fitted):
        parts.append(f"and {pluralize(more, 'problem')} more")
    return ", ".join(parts)


def _rule(value: object) -> str | None:
    if not isinstance(value, str) or len(value) > _LONGEST_RULE:
        return None
    return _RULE_BY_SPELLING.get(value.lower().replace("_", "").replace("-", ""))
