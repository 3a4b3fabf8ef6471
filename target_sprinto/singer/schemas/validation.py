"""Validates records by their stream's compiled JSON Schema, and describes what is wrong with one. Pure.

jsonschema-rs accepts exact decimals and big integers. A schema that it cannot compile (an unknown
draft; without a draft, what 2020-12 does not allow) is tried as draft 7, and then, if it names no draft, as
draft 4. There is no other validator to fall back to: one in Python has unlimited regular expressions, and may
fetch documents.

The library's error for `anyOf` and `oneOf` holds the errors of every alternative, each with a copy of its
value: gigabytes for a list of a few thousand values. If a schema has alternatives, errors therefore come from
a copy of it, made on first use, with its alternatives behind `not: {not: …}`. It is as strict, but an error
says only that none fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jsonschema_rs
from singer_sdk.sinks.core import BaseJSONSchemaValidator

from target_sprinto.errors import InvalidRecord, InvalidSchema
from target_sprinto.push.protocol.field_paths import field_path
from target_sprinto.push.text import quoted, shown
from target_sprinto.singer.schemas.schema_limits import (
    BACKTRACK_LIMIT,
    PATTERN_BYTES,
    SCHEMAS_BY_NAME,
    TooCostly,
    cost_of,
)

_HINT = "Fix the tap's catalog or discovery; `validate_records: false` sends records unchecked."

_MAX_SUBSCHEMAS = 5_000
"""Of a schema that is compiled a second time: about 1,500 fields with two alternatives each."""

_PATTERNS = jsonschema_rs.RegexOptions(size_limit=PATTERN_BYTES)
_BACKTRACKING = jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACK_LIMIT, size_limit=PATTERN_BYTES)
_ALTERNATIVES = ("anyOf", "oneOf")
_UNEVALUATED = ("unevaluatedProperties", "unevaluatedItems")
_VALUES = ("enum", "const")
_BY_NAME = (*SCHEMAS_BY_NAME, "definitions", "$defs")


class SchemaError(NamedTuple):
    """The field path, "" for the record itself, and what the schema requires there; never the value."""

    where: str
    issue: str
    rule: str
    facts: dict[str, Any]


class CompiledSchema:
    """A schema, compiled by one of the library's drafts. Raises TooCostly, or ValueError if it is invalid."""

    def __init__(
        self, schema: dict[str, Any], draft: Callable[..., jsonschema_rs.Validator], *, formats: bool = False
    ) -> None:
        self.schema = schema
        checks = {"validate_formats": formats, "ignore_unknown_formats": not formats}
        compile_by = partial(draft, **checks, offline=True)
        self.cost = cost_of(schema, backtracking=False)
        self.compile = partial(compile_by, pattern_options=_PATTERNS)
        try:
            self.compiled = self.compile(schema)
        except ValueError:
            # It may have look-around or backreferences.
            self.cost = cost_of(schema, backtracking=True)
            self.compile = partial(compile_by, pattern_options=_BACKTRACKING)
            self.compiled = self.compile(schema)
        self.is_valid = self.compiled.is_valid
        self.allows = self.cost.allows
        """Whether a record, given as JSON, may be validated within the limits."""
        self._has_alternatives = _has_alternatives(schema)

    def first(self, record: object) -> SchemaError | None:
        """The first error, or None if it cannot be determined."""
        explaining = self._explaining()
        if explaining is None:
            return None
        try:
            explaining.validate(record)
        except jsonschema_rs.ValidationError as error:
            return self._described(error)
        return None

    def every(self, record: object, body: bytes) -> Iterator[SchemaError]:
        """All errors, or the first if all would take too much memory; `body` is the record's JSON."""
        if not self.cost.allows_all_errors(body):
            error = self.first(record)
            yield from [] if error is None else [error]
        elif (explaining := self._explaining()) is not None:
            yield from map(self._described, explaining.iter_errors(record))

    def _explaining(self) -> jsonschema_rs.Validator | None:
        return _silenced_validator(self) if self._has_alternatives else self.compiled

    def _described(self, error: jsonschema_rs.ValidationError) -> SchemaError:
        rule, facts = error.kind.name, error.kind.as_dict()
        where = field_path(self.schema, error.instance_path)
        if rule == "required":
            return SchemaError(
                shown(".".join(filter(None, (where, facts["property"])))), "is missing", rule, facts
            )
        if rule == "not":
            rule = _silenced_rule(facts["schema"]) or rule
        issue = f"must be {' or '.join(facts['types'])}" if rule == "type" else f"violates the rule {rule!r}"
        return SchemaError(where, issue, rule, facts)


class RecordValidator(BaseJSONSchemaValidator):
    """Checks records against their stream's schema. Formats are not asserted, as in the SDK."""

    def __init__(self, stream: str, schema: dict[str, Any]) -> None:
        """Compile the schema. Raises InvalidSchema if it is not a JSON Schema, or costs too much."""
        super().__init__(schema)
        self._stream = stream
        self._compiled = _compile(stream, schema)

    def validate(self, record: dict[str, Any], body: bytes = b"") -> None:
        """Raise InvalidRecord, naming stream, field path and rule, for an invalid record.

        `body` is its JSON.
        """
        if not self._compiled.allows(body):
            raise InvalidRecord(
                f"a record of stream {quoted(self._stream)} is too large for the rules of its schema.",
                "Simplify the schema's lists, patterns and alternatives, or send records unchecked with"
                " `validate_records: false`.",
                issue="it is too large for the rules of its schema",
            )
        if self._compiled.is_valid(record):
            return
        error = self._compiled.first(record)
        where, issue = error[:2] if error else ("", "does not fit its schema")
        raise InvalidRecord(
            f"a record of stream {quoted(self._stream)} is invalid:"
            f" {f'field {quoted(where)}' if where else 'it'} {issue}.",
            "Fix it or the tap's schema; `validate_records: false` sends records unchecked.",
            field=where or None,
            issue=issue,
        )


def _place(path: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _compile(stream: str, schema: dict[str, Any]) -> CompiledSchema:
    """Compile by the first draft that accepts the schema. Raises InvalidSchema."""
    where = ""
    drafts: tuple[Callable[..., jsonschema_rs.Validator], ...] = (
        jsonschema_rs.validator_for,
        jsonschema_rs.Draft7Validator,
        *(() if "$schema" in schema else (jsonschema_rs.Draft4Validator,)),
    )
    for draft in drafts:
        try:
            return CompiledSchema(schema, draft)
        except TooCostly as problem:
            raise InvalidSchema(
                f"the schema of stream {quoted(stream)} cannot be used: {problem}.", _HINT
            ) from None
        except jsonschema_rs.ValidationError as problem:
            where = where or _place(problem.instance_path)
        except ValueError:
            continue
    raise InvalidSchema(
        f"the schema of stream {quoted(stream)} is not a JSON Schema that can be used"
        f"{f', in {quoted(where)}' if where else ''}.",
        _HINT,
    )


@lru_cache(maxsize=4)
def _silenced_validator(own: CompiledSchema) -> jsonschema_rs.Validator | None:
    """A validator for the schema with its alternatives silenced; None if that is not possible.

    The last few are kept, because streams may alternate: all of them would take too much memory.
    """
    if own.cost.total > _MAX_SUBSCHEMAS:
        return None
    try:
        return own.compile(_silenced(own.schema))
    except ValueError:
        # A reference points into one of the alternatives, which have moved.
        return None


def _silenced(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    """The schema with its alternatives behind a double negation.

    Raises ValueError if that would change what it allows, because `unevaluated…` no longer sees what the
    alternatives evaluate, or if a value may be used as a schema with alternatives.
    """
    if isinstance(schema, list):
        return [_silenced(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    negated = []
    for keyword, value in schema.items():
        if keyword in _UNEVALUATED or (keyword in _VALUES and _has_alternatives(value)):
            raise ValueError(keyword)
        if keyword in _BY_NAME and isinstance(value, dict):
            found[keyword] = {name: _silenced(part) for name, part in value.items()}
        elif keyword in _ALTERNATIVES:
            negated.append({"not": {"not": {keyword: _silenced(value)}}})
        else:
            found[keyword] = value if keyword in _VALUES else _silenced(value)
    if negated:
        found["allOf"] = [*found.get("allOf", ()), *negated]
    return found


def _silenced_rule(negated: object) -> str | None:
    inner = negated.get("not") if isinstance(negated, dict) else None
    return next((name for name in _ALTERNATIVES if isinstance(inner, dict) and name in inner), None)


def _has_alternatives(value: object) -> bool:
    if isinstance(value, dict):
        return not value.keys().isdisjoint(_ALTERNATIVES) or any(map(_has_alternatives, value.values()))
    return isinstance(value, list) and any(map(_has_alternatives, value))
