"""Verdicts on records by their stream's JSON Schema, compiled.

jsonschema-rs takes exact decimals and big integers as they are. What it cannot compile (draft-4 keywords in a
schema that names no draft, Python-only regular expressions) is tried as draft 4, then by the SDK's validator.
A `$ref` to another document is never fetched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import jsonschema_rs
from singer_sdk.exceptions import InvalidJSONSchema
from singer_sdk.exceptions import InvalidRecord as SdkInvalidRecord
from singer_sdk.sinks.core import BaseJSONSchemaValidator, JSONSchemaValidator

from target_sprinto.errors import InvalidRecord, InvalidSchema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_ADVICE = "Mend the tap's catalog or discovery."


class _Compiled(Protocol):
    def is_valid(self, instance: Any) -> bool: ...  # noqa: ANN401 - any JSON

    def iter_errors(self, instance: Any) -> Iterator[jsonschema_rs.ValidationError]: ...  # noqa: ANN401 - any JSON


class RecordValidator(BaseJSONSchemaValidator):
    """Says whether a record is as its stream's schema wants it. Formats are not asserted, as in the SDK."""

    def __init__(self, stream: str, schema: dict[str, Any]) -> None:
        """Compile the schema. Raises InvalidSchema for what is no JSON Schema."""
        super().__init__(schema)
        self._stream = stream
        self._compiled, where = _compile(schema)
        self._fallback = None if self._compiled else _fall_back(stream, schema, where)

    def validate(self, record: dict[str, Any]) -> None:
        """Raise InvalidRecord, naming stream, field path and rule, for a record that is not as wanted.

        Raises InvalidSchema where the schema shows only now that it cannot be used.
        """
        try:
            if self._compiled is not None and self._compiled.is_valid(record):
                return
            refusal = self._refusal(record)
        except Exception as problem:  # noqa: BLE001 - whatever a schema from anywhere brings about
            raise InvalidSchema(
                f"the schema of stream {self._stream!r} cannot be applied to its records"
                f" ({type(problem).__name__}).",
                _ADVICE,
            ) from None
        if refusal is not None:
            raise refusal

    def _refusal(self, record: dict[str, Any]) -> InvalidRecord | None:
        if self._compiled is not None:
            error = next(self._compiled.iter_errors(record))
            return self._invalid(error.instance_path, error.kind.name, getattr(error.kind, "property", None))
        if self._fallback is not None:
            try:
                self._fallback.validate(record)
            except SdkInvalidRecord as refusal:
                cause: Any = refusal.__cause__
                return self._invalid(cause.absolute_path, cause.validator, None)
        return None

    def _invalid(self, path: Iterable[str | int], rule: str, missing: str | None) -> InvalidRecord:
        where = _place(path)
        field = f"field {where!r}" if where else "the record"
        told = f"{missing!r} is missing" if rule == "required" and missing else f"it breaks the rule {rule!r}"
        return InvalidRecord(
            f"a record of stream {self._stream!r} is not as its schema says: in {field} {told}.",
            "Mend it or the tap's schema; `validate_records: false` sends records unchecked.",
            field=where or None,
            issue=told,
        )


def _place(path: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _compile(schema: dict[str, Any]) -> tuple[_Compiled | None, str]:
    """The compiled schema; or None, and where in the schema the trouble is, as far as that is known."""
    where = ""
    compilers = [jsonschema_rs.validator_for]
    if "$schema" not in schema:
        compilers.append(jsonschema_rs.Draft4Validator)
    for compiler in compilers:
        try:
            return compiler(schema, validate_formats=False, offline=True), ""
        except jsonschema_rs.ValidationError as problem:
            where = where or _place(problem.instance_path)
        except ValueError:
            continue
    return None, where


def _fall_back(stream: str, schema: dict[str, Any], where: str) -> JSONSchemaValidator:
    problem = f"the schema of stream {stream!r} is no JSON Schema that can be used"
    if _refers_elsewhere(schema):
        raise InvalidSchema(f"{problem}: it refers to another document, which is never fetched.", _ADVICE)
    try:
        return JSONSchemaValidator(schema)
    except InvalidJSONSchema:
        raise InvalidSchema(f"{problem}{f', in {where!r}' if where else ''}.", _ADVICE) from None


def _refers_elsewhere(schema: object) -> bool:
    if isinstance(schema, dict):
        ref = schema.get("$ref")
        if isinstance(ref, str) and not ref.startswith("#"):
            return True
        return any(_refers_elsewhere(value) for value in schema.values())
    return isinstance(schema, list) and any(_refers_elsewhere(value) for value in schema)
