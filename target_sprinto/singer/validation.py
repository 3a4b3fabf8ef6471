"""Verdicts on records by their stream's JSON Schema, compiled.

jsonschema-rs takes exact decimals and big integers as they are. What it cannot compile (draft-4 keywords in a
schema that names no draft, a draft that it does not know) is tried as draft 4, or as draft 7, the SDK's own.
There is no other validator to fall back to: one in Python has regular expressions without a limit, and may
fetch documents.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import jsonschema_rs
from singer_sdk.sinks.core import BaseJSONSchemaValidator

from target_sprinto.errors import InvalidRecord, InvalidSchema
from target_sprinto.push.protocol.field_paths import field_path
from target_sprinto.push.text import quoted, shown
from target_sprinto.singer import schema_limits

_ADVICE = "Fix the tap's catalog or discovery; `validate_records: false` sends records unchecked."

_PATTERNS = jsonschema_rs.RegexOptions(size_limit=schema_limits.PATTERN_BYTES)
_BACKTRACKING = jsonschema_rs.FancyRegexOptions(
    backtrack_limit=schema_limits.BACKTRACK_LIMIT, size_limit=schema_limits.PATTERN_BYTES
)


class _Compiled(Protocol):
    def is_valid(self, instance: Any) -> bool: ...  # noqa: ANN401 - any JSON

    def validate(self, instance: Any) -> None: ...  # noqa: ANN401 - any JSON


class RecordValidator(BaseJSONSchemaValidator):
    """Says whether a record is as its stream's schema wants it. Formats are not asserted, as in the SDK."""

    def __init__(self, stream: str, schema: dict[str, Any]) -> None:
        """Compile the schema. Raises InvalidSchema for one that is not a JSON Schema, or costs too much."""
        super().__init__(schema)
        self._stream = stream
        self._raw = schema
        try:
            self._cost = schema_limits.cost_of(schema)
        except schema_limits.TooCostly as problem:
            raise InvalidSchema(
                f"the schema of stream {quoted(stream)} cannot be used: {problem}.", _ADVICE
            ) from None
        self._compiled, self._backtracking = _compile(stream, schema)

    def validate(self, record: dict[str, Any], body: bytes = b"") -> None:
        """Raise InvalidRecord, naming stream, field path and rule, for a record that is not as wanted.

        `body` is its JSON. Raises InvalidSchema where the schema shows only now that it cannot be used.
        """
        if not self._cost.allows(body, backtracking=self._backtracking):
            raise InvalidRecord(
                f"a record of stream {quoted(self._stream)} is too large for the rules of its schema.",
                "Simplify the schema's lists, patterns and alternatives, or send records unchecked with"
                " `validate_records: false`.",
                issue="it is too large for the rules of its schema",
            )
        try:
            if self._compiled.is_valid(record):
                return
            # The first error alone: a list of alternatives may have a million.
            self._compiled.validate(record)
        except jsonschema_rs.ValidationError as error:
            where, issue = describe_mismatch(self._raw, error)
            raise InvalidRecord(
                f"a record of stream {quoted(self._stream)} is invalid:"
                f" {f'field {quoted(where)}' if where else 'it'} {issue}.",
                "Fix it or the tap's schema; `validate_records: false` sends records unchecked.",
                field=where or None,
                issue=issue,
            ) from None
        except Exception as problem:  # noqa: BLE001 - whatever a schema from anywhere brings about
            raise InvalidSchema(
                f"the schema of stream {quoted(self._stream)} cannot be applied to its records"
                f" ({type(problem).__name__}).",
                _ADVICE,
            ) from None
        raise AssertionError("a record that is not valid has an error")


def describe_mismatch(schema: dict[str, Any], error: jsonschema_rs.ValidationError) -> tuple[str, str]:
    """The field path, "" for the record itself, and what the schema requires there; never the value."""
    rule, facts = error.kind.name, error.kind.as_dict()
    where = field_path(schema, error.instance_path)
    if rule == "required":
        return shown(".".join(filter(None, (where, facts["property"])))), "is missing"
    return (
        where,
        f"must be {' or '.join(facts['types'])}" if rule == "type" else f"violates the rule {rule!r}",
    )


def _place(path: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _compile(stream: str, schema: dict[str, Any]) -> tuple[_Compiled, bool]:
    """The compiled schema, and whether it has patterns that step back. Raises InvalidSchema."""
    where = ""
    compilers = [jsonschema_rs.validator_for, jsonschema_rs.Draft7Validator]
    if "$schema" not in schema:
        compilers[1] = jsonschema_rs.Draft4Validator
    for patterns in (_PATTERNS, _BACKTRACKING):
        for compiler in compilers:
            try:
                compiled = compiler(schema, validate_formats=False, offline=True, pattern_options=patterns)
            except jsonschema_rs.ValidationError as problem:
                where = where or _place(problem.instance_path)
            except ValueError:
                continue
            else:
                return compiled, patterns is _BACKTRACKING
    raise InvalidSchema(
        f"the schema of stream {quoted(stream)} is not a JSON Schema that can be used"
        f"{f', in {quoted(where)}' if where else ''}.",
        _ADVICE,
    )
