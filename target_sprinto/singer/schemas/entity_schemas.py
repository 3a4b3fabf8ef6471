"""Sprinto's entity types as the user describes them in `entity_schemas`, and the check of mapped records."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec

from target_sprinto import strict_json
from target_sprinto.errors import EntityMismatch, SettingsError
from target_sprinto.push.protocol.field_paths import FieldProblem
from target_sprinto.push.text import listed, pluralize, quoted, short, shown
from target_sprinto.singer.schemas.schema_limits import TooCostly
from target_sprinto.singer.schemas.schema_parts import properties_of
from target_sprinto.singer.schemas.validation import CompiledSchema, SchemaError

BUNDLED = "bundled:User"
"""The `User` that Sprinto documents (Sprinto: Custom Integrations, Pushing Entities Data)."""

_MAX_PROBLEMS = 20
"""Maximum problems that are kept of one record."""
_ROOM = 150
"""Characters of a message that list them."""


class _Rules(msgspec.Struct, forbid_unknown_fields=True):
    key: tuple[str, ...] = ()
    schema: dict[str, Any] = {}


_ELSEWHERE = frozenset(
    {
        *("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "then", "else"),
        *("patternProperties", "additionalProperties", "unevaluatedProperties"),
        *("dependencies", "dependentSchemas"),
    }
)
"""Keywords that may name or allow further fields."""


class EntitySchema:
    """One entity type: its `key`, its `fields` as ``{field: JSON Schema}``, and which are `required`.

    A type that is `closed` has no other fields; one that `names_all` of them probably has none. Raises
    SettingsError for an invalid JSON Schema.
    """

    def __init__(self, entity_type: str, rules: object) -> None:
        try:
            given = msgspec.convert(rules, _Rules)
            self._compiled = CompiledSchema(given.schema, jsonschema_rs.validator_for, formats=True)
        except TooCostly as problem:
            raise SettingsError(f"`entity_schemas.{shown(entity_type)}` cannot be used: {problem}") from None
        except ValueError as problem:
            where, named = getattr(problem, "instance_path", [])[-1:], getattr(problem, "instance", None)
            if where == ["format"] and isinstance(named, str):
                raise SettingsError(
                    f"`entity_schemas.{short(entity_type)}` has the unknown `format` {quoted(short(named))}",
                    hint="Use a format of its JSON Schema draft, such as `date-time`, or none.",
                ) from None
            raise SettingsError(
                f'`entity_schemas.{shown(entity_type)}` must be {{"key": [field], "schema": {{JSON Schema}}}}'
                ", the schema valid and without references to other documents"
            ) from None
        self.entity_type = entity_type
        self.schema, self.key = given.schema, given.key
        self.fields = properties_of(self.schema)
        self.required = list(dict.fromkeys([*given.key, *self.schema.get("required", [])]))
        self.closed = (
            self.schema.get("additionalProperties") is False and "patternProperties" not in self.schema
        )
        self.names_all = bool(self.fields) and _ELSEWHERE.isdisjoint(self.schema)

    def check(self, stream: str, record: Mapping[str, Any], body: bytes) -> None:
        """Raise EntityMismatch with every problem of a mapped record; `body` is its JSON."""
        if not self._compiled.allows(body):
            problems = [FieldProblem("", "is too large for the rules of its entity schema")]
        elif self._compiled.is_valid(record):
            return
        else:
            errors = islice(self._compiled.every(record, body), _MAX_PROBLEMS)
            problems = list(map(_describe, errors)) or [FieldProblem("", "does not fit its entity schema")]
        raise EntityMismatch(
            f"a record of stream {quoted(stream)} does not fit entity type {quoted(self.entity_type)}"
            f" (`entity_schemas`): {listed([str(one) for one in problems], _ROOM)}.",
            "`sprintoctl map preview` shows all problems.",
            problems,
        )


def _describe(error: SchemaError) -> FieldProblem:
    """The user wrote this schema, so the values that it allows may be quoted."""
    where, issue, rule, facts = error
    if rule == "additionalProperties":
        issue = f"has {pluralize(len(facts['unexpected']), 'field')} that its schema does not name"
    elif rule == "enum":
        issue = f"must be one of {short(', '.join(map(str, facts['options'])))}"
    elif rule == "format":
        issue = f"must be {'an' if facts['format'][0] in 'aei' else 'a'} {facts['format']}"
    return FieldProblem(where, issue)


def read(setting: object) -> dict[str, Any]:
    """``{entity_type: {"key": [field], "schema": {…}}}`` from an object, a file, or `bundled:User`.

    Raises SettingsError.
    """
    if setting == BUNDLED:
        setting = {"User": BUNDLED}
    elif isinstance(setting, str):
        # An environment variable may hold the object itself.
        text = setting if setting.lstrip().startswith("{") else _read(setting)
        setting = strict_json.decode(text, "`entity_schemas`", "a JSON object, or a file that holds one")
    if not isinstance(setting, dict):
        raise SettingsError("`entity_schemas` must be an object, or a file that holds one")
    return {name: bundled_user() if rules == BUNDLED else rules for name, rules in setting.items()}


def bundled_user() -> dict[str, Any]:
    """Key and JSON Schema of Sprinto's documented `User`."""
    bundled = resources.files("target_sprinto.singer.schemas") / "user_entity_schema.json"
    return msgspec.json.decode(bundled.read_bytes(), type=dict[str, Any])


def _read(path: str) -> str:
    named = f"the file {quoted(path)} of `entity_schemas`"
    try:
        with Path(path).open("rb") as file:
            return strict_json.read(file, named)
    except OSError as problem:
        raise SettingsError(f"{named}: {problem.strerror}") from None
    except ValueError:
        raise SettingsError("`entity_schemas` has a character that is invalid in a path") from None
