"""Validates records by their stream's compiled JSON Schema.

jsonschema-rs accepts exact decimals and big integers. A schema that it cannot compile (draft-4 keywords in a
schema without a draft, an unknown draft) is tried as draft 4, or as draft 7, the SDK's default. There is no
other validator to fall back to: one in Python has unlimited regular expressions, and may fetch documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jsonschema_rs
from singer_sdk.sinks.core import BaseJSONSchemaValidator

from target_sprinto.errors import InvalidRecord, InvalidSchema
from target_sprinto.push.text import quoted
from target_sprinto.singer.schemas import schema_limits
from target_sprinto.singer.schemas.compiled_schema import BACKTRACKING, CompiledSchema

_HINT = "Fix the tap's catalog or discovery; `validate_records: false` sends records unchecked."

_PATTERNS = jsonschema_rs.RegexOptions(size_limit=schema_limits.PATTERN_BYTES)


class RecordValidator(BaseJSONSchemaValidator):
    """Checks records against their stream's schema. Formats are not asserted, as in the SDK."""

    def __init__(self, stream: str, schema: dict[str, Any]) -> None:
        """Compile the schema. Raises InvalidSchema if it is not a JSON Schema, or costs too much."""
        super().__init__(schema)
        self._stream = stream
        try:
            self._compiled = _compile(stream, schema)
        except schema_limits.TooCostly as problem:
            raise InvalidSchema(
                f"the schema of stream {quoted(stream)} cannot be used: {problem}.", _HINT
            ) from None

    def validate(self, record: dict[str, Any], body: bytes = b"") -> None:
        """Raise InvalidRecord, naming stream, field path and rule, for an invalid record.

        `body` is its JSON. Raises InvalidSchema if the schema turns out to be unusable.
        """
        if not self._compiled.allows(body):
            raise InvalidRecord(
                f"a record of stream {quoted(self._stream)} is too large for the rules of its schema.",
                "Simplify the schema's lists, patterns and alternatives, or send records unchecked with"
                " `validate_records: false`.",
                issue="it is too large for the rules of its schema",
            )
        try:
            if self._compiled.is_valid(record):
                return
            error = self._compiled.first(record)
        except Exception as problem:  # noqa: BLE001 - an arbitrary schema may cause anything
            raise InvalidSchema(
                f"the schema of stream {quoted(self._stream)} cannot be applied to its records"
                f" ({type(problem).__name__}).",
                _HINT,
            ) from None
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
    """Compile by the first draft that accepts the schema. Raises InvalidSchema or TooCostly."""
    where = ""
    drafts: tuple[Callable[..., jsonschema_rs.Validator], ...] = (
        jsonschema_rs.validator_for,
        jsonschema_rs.Draft7Validator if "$schema" in schema else jsonschema_rs.Draft4Validator,
    )
    for patterns in (_PATTERNS, BACKTRACKING):
        for draft in drafts:
            try:
                return CompiledSchema(schema, draft, patterns)
            except jsonschema_rs.ValidationError as problem:
                where = where or _place(problem.instance_path)
            except ValueError:
                continue
    raise InvalidSchema(
        f"the schema of stream {quoted(stream)} is not a JSON Schema that can be used"
        f"{f', in {quoted(where)}' if where else ''}.",
        _HINT,
    )
