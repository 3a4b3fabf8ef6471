"""What is wrong with a record that its JSON Schema does not allow. Pure.

The library's error for `anyOf` and `oneOf` holds the errors of every alternative, each with a copy of its
value: gigabytes for a list of some thousand values. So where a schema has any, errors come from a copy of it,
made when the first is wanted, with its alternatives behind `not: {not: …}`: as strict, but an error says only
that none fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import jsonschema_rs

from target_sprinto.push.protocol.field_paths import field_path
from target_sprinto.push.text import shown
from target_sprinto.singer.schemas.schema_limits import BACKTRACK_LIMIT, PATTERN_BYTES, SCHEMAS_BY_NAME, Cost

_MAX_SUBSCHEMAS = 5_000
"""Of a schema that is compiled a second time: some 1,500 fields of two alternatives each."""

BACKTRACKING = jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACK_LIMIT, size_limit=PATTERN_BYTES)
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


@dataclass(frozen=True, eq=False)
class SchemaErrors:
    """The errors of records that are not valid by a schema; `compiler` compiles one as `compiled` was."""

    schema: dict[str, Any]
    compiled: jsonschema_rs.Validator
    cost: Cost
    compiler: Callable[[dict[str, Any]], jsonschema_rs.Validator]

    def first(self, record: object) -> SchemaError | None:
        """The first error, or None where it cannot be said."""
        explaining = self._explaining()
        if explaining is None:
            return None
        try:
            explaining.validate(record)
        except jsonschema_rs.ValidationError as error:
            return self._described(error)
        return None

    def every(self, record: object, body: bytes) -> Iterator[SchemaError]:
        """All errors, or the first where all would take too much memory; `body` is the record's JSON."""
        if not self.cost.allows_all_errors(body):
            error = self.first(record)
            yield from [] if error is None else [error]
        elif (explaining := self._explaining()) is not None:
            yield from map(self._described, explaining.iter_errors(record))

    def _explaining(self) -> jsonschema_rs.Validator | None:
        return _silenced_validator(self) if self._has_alternatives else self.compiled

    @cached_property
    def _has_alternatives(self) -> bool:
        return _has_alternatives(self.schema)

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


@lru_cache(maxsize=1)
def _silenced_validator(errors: SchemaErrors) -> jsonschema_rs.Validator | None:
    """The schema with its alternatives silenced; None where it cannot be.

    Kept is that of the schema whose records were wrong last: all would take as much memory as the schemas.
    """
    if errors.cost.total > _MAX_SUBSCHEMAS:
        return None
    try:
        return errors.compiler(_silenced(errors.schema))
    except ValueError:
        # A reference leads into one of the alternatives, which are elsewhere now.
        return None


def _silenced(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    """The schema with its alternatives behind a double negation.

    Raises ValueError where that would change what it allows, since `unevaluated…` no longer sees what the
    alternatives evaluate, or where a value may be used as a schema with alternatives.
    """
    if isinstance(schema, list):
        return [_silenced(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    negated = []
    for keyword, said in schema.items():
        if keyword in _UNEVALUATED or (keyword in _VALUES and _has_alternatives(said)):
            raise ValueError(keyword)
        if keyword in _BY_NAME and isinstance(said, dict):
            found[keyword] = {name: _silenced(part) for name, part in said.items()}
        elif keyword in _ALTERNATIVES:
            negated.append({"not": {"not": {keyword: _silenced(said)}}})
        else:
            found[keyword] = said if keyword in _VALUES else _silenced(said)
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
