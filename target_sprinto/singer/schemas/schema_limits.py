"""Limits what a schema may cost, before it is compiled. Pure.

A native validator cannot be interrupted: while it works, no other Python thread runs, not even the one that
ends the run after a signal. So its work is limited in advance, by the schema's expanded size: its subschemas,
with each reference counted as all that it refers to. A record costs at most that much for each of its values.

References are followed within the schema and into the drafts' own metaschemas, never elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, specification_with

from target_sprinto.singer.input.messages import count_marks

if TYPE_CHECKING:  # A private name, which only its type needs.
    from referencing._core import Resolver

MAX_SUBSCHEMAS = 20_000
"""Expanded size of one schema."""

MAX_WORK = 100_000_000
"""Steps for one record, of about 5 ns each."""

MAX_MEMORY = 120_000_000
"""Bytes for all schemas and maps of a run, by `memory_of`: about 30,000 fields with a type each."""

MAP_BYTES = 100
"""For each character of a stream map's expressions, compiled. Renames take hardly any."""

BACKTRACK_LIMIT = 1_000
PATTERN_BYTES = 1_000_000
"""For one regular expression: backtracking steps, and bytes when compiled."""

MAX_ERRORS = 50_000
MAX_COPIED = 100_000_000
"""For one record: errors, of about 1.5 kB each, and bytes of the values that are copied into them."""

_UNEVALUATED_WORK = 4
_PATTERN_WORK = 30
_COMPARED_WORK = 10
_NUMBER_WORK = 100
"""Steps for each level of `unevaluated…`, for each byte of a string (and two for each part of its pattern),
and for each value in `enum` or `const`, more for a number.
"""

_PATTERN_PART = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\{(\d{0,9},?\d{0,9})\}|.", re.DOTALL)

_SAME_VALUE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")
_EACH_FIELD = ("patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames")
_EACH_ITEM = ("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
SCHEMAS_BY_NAME = ("properties", "patternProperties", "dependentSchemas", "dependencies")

_ANY_FIELD, _ANY_ITEM = "{}", "[]"
_STEPS: dict[str, str | None] = {
    **dict.fromkeys(_SAME_VALUE),
    **dict.fromkeys(_EACH_FIELD, _ANY_FIELD),
    **dict.fromkeys(_EACH_ITEM, _ANY_ITEM),
}
_Path = tuple[str, ...]


class TooCostly(Exception):
    """The schema cannot be used. The text says why, without quoting a value."""


class Cost(NamedTuple):
    """Steps for one record: `once`, at most `per_value` for each of its values, and `per_byte` for each byte.

    `total` is the schema's expanded size.
    """

    once: int
    per_value: int
    per_byte: int
    total: int

    def allows(self, record: bytes) -> bool:
        """Whether the record's validation stays within the limit."""
        left = MAX_WORK - self.once - self.per_byte * len(record)
        return self.per_value * len(record) <= left or self.per_value * (count_marks(record) + 1) <= left

    def allows_all_errors(self, record: bytes) -> bool:
        """Whether all errors of a record may be collected: each has a copy of its value."""
        errors = self.total + self.per_value * (count_marks(record) + 1)
        return errors <= MAX_ERRORS and self.total * len(record) <= MAX_COPIED


def memory_of(schema: bytes) -> int:
    """The maximum bytes that a schema takes, decoded, copied by the SDK and compiled, as measured."""
    lists_and_values = schema.count(b"[") + schema.count(b",")
    return 10_000 + 2_500 * schema.count(b"{") + 300 * lists_and_values + 6 * len(schema)


def cost_of(schema: dict[str, Any], *, backtracking: bool) -> Cost:
    """The cost of the schema, whose patterns are matched with backtracking or not. Raises TooCostly."""
    try:
        measuring = _Measuring(schema)
        per_byte = measuring.visit(schema, measuring.resolver, (), 1)
    except (AttributeError, TypeError, ValueError):
        # Raised by `referencing`, which does not validate ids.
        raise TooCostly("an `$id` in it is not a URI") from None
    if backtracking:
        per_byte = measuring.patterns * BACKTRACK_LIMIT
    per_value = measuring.once if measuring.recursive else measuring.repeated
    return Cost(measuring.once, per_value, per_byte, measuring.total)


class _Entered(NamedTuple):
    """The target of a reference, while its contents are visited: `at` is the path to it.

    `returns` are the paths that lead from it back to it.
    """

    schema: object
    at: _Path
    returns: list[_Path]


class _Measuring:
    def __init__(self, schema: dict[str, Any]) -> None:
        self.total = self.once = self.repeated = self.patterns = 0
        self.recursive = False
        dialect = schema.get("$schema")
        self._specification = specification_with(dialect if isinstance(dialect, str) else "", DRAFT202012)
        resource = self._specification.create_resource(schema)
        # Without a retriever: nothing is fetched.
        self.resolver: Resolver[Any] = Registry().with_resource("", resource).resolver_with_root(resource)
        self._entered = [_Entered(schema, (), [])]
        self._dynamic: dict[str, list[Any]] | None = None
        self._schema = schema
        self._work: dict[int, tuple[int, list[int]]] = {}

    def visit(self, schema: object, resolver: Resolver[Any], path: _Path, weight: int) -> int:
        """Count the schema's steps. Returns those for each byte of a string."""
        if not isinstance(schema, dict):
            return 0
        if "$id" in schema or "id" in schema:
            resolver = resolver.in_subresource(self._specification.create_resource(schema))
        if "unevaluatedProperties" in schema or "unevaluatedItems" in schema:
            # Its contents are visited again, to see what they have evaluated.
            weight *= _UNEVALUATED_WORK
        # Kept, because references may lead here thousands of times.
        if (work := self._work.get(id(schema))) is None:
            work = self._work[id(schema)] = _options_work(schema), _patterns_work(schema)
        self._count(weight, weight * (1 + work[0]), path)
        self.patterns += weight * len(work[1])
        per_byte, in_one_field = weight * sum(work[1]), 0
        for part, step in _parts(schema):
            steps = self.visit(part, resolver, path if step is None else (*path, step), weight)
            if step is not None and step.startswith("."):
                # A byte is in one of the named fields only.
                in_one_field = max(in_one_field, steps)
            else:
                per_byte += steps
        for keyword in _REFERENCES:
            if isinstance(ref := schema.get(keyword), str):
                for target, inner in self._targets(keyword, ref, resolver):
                    per_byte += self._enter(target, inner, path, weight)
        return per_byte + in_one_field

    def _count(self, weight: int, steps: int, path: _Path) -> None:
        self.total += weight
        self.once += steps
        if _ANY_FIELD in path or _ANY_ITEM in path:
            self.repeated += steps
        if self.total > MAX_SUBSCHEMAS:
            raise TooCostly(f"it has more than {MAX_SUBSCHEMAS:,} subschemas, each reference counted in full")

    def _enter(self, target: object, resolver: Resolver[Any], path: _Path, weight: int) -> int:
        for depth, entered in enumerate(self._entered):
            if entered.schema is target:
                self.recursive = True
                for passed in self._entered[depth:]:
                    _note_return(passed, path[len(passed.at) :])
                return 0
        self._entered.append(_Entered(target, path, []))
        per_byte = self.visit(target, resolver, path, weight)
        self._entered.pop()
        return per_byte

    def _targets(self, keyword: str, ref: str, resolver: Resolver[Any]) -> list[tuple[Any, Resolver[Any]]]:
        try:
            found = resolver.lookup(ref)
        except (Unresolvable, ValueError, KeyError, TypeError, AttributeError):
            # An older draft's `extends` without a schema raises AttributeError there.
            where = (
                "has no target"
                if ref.startswith("#")
                else "refers to another document, and none is ever fetched"
            )
            raise TooCostly(f"a `{keyword}` {where}") from None
        targets = [(found.contents, found.resolver)]
        if keyword != "$ref":
            # The target depends on the path that led here: all of them count.
            if self._dynamic is None:
                self._dynamic = _dynamic_anchors(self._schema)
            name = ref.rpartition("#")[2]
            targets += [
                (schema, resolver) for schema in self._dynamic.get(name, ()) if schema is not found.contents
            ]
        return targets


def _note_return(entered: _Entered, path: _Path) -> None:
    """A schema that leads back to itself twice for the same value doubles the work with each level."""
    if not path:
        raise TooCostly("a reference refers to itself")
    if any(_overlap(path, other) for other in entered.returns):
        raise TooCostly("it refers to itself more than once for the same value")
    entered.returns.append(path)


def _overlap(one: _Path, other: _Path) -> bool:
    return all(
        a == b or (_ANY_FIELD in (a, b) and _ANY_ITEM not in (a, b)) for a, b in zip(one, other, strict=False)
    )


def _parts(schema: dict[str, Any]) -> Iterator[tuple[object, str | None]]:
    """The subschemas that apply, each with the step to the value it applies to; None for the same value."""
    for keyword, value in schema.items():
        if keyword in SCHEMAS_BY_NAME and isinstance(value, dict):
            for name, part in value.items():
                yield part, (f".{name}" if keyword == "properties" else _STEPS[keyword])
        elif keyword in _STEPS:
            for part in value if isinstance(value, list) else [value]:
                yield part, _STEPS[keyword]


def _options_work(schema: dict[str, Any]) -> int:
    """Steps to compare a value with `enum` and `const`: one by one, unless all are strings or null."""
    values = schema.get("enum", ())
    options = [*(values if isinstance(values, list) else ()), schema.get("const")]
    return sum(map(_compared, options)) if any(not isinstance(one, str | None) for one in options) else 0


def _compared(value: object) -> int:
    if isinstance(value, dict | list):
        return _COMPARED_WORK + sum(map(_compared, value.values() if isinstance(value, dict) else value))
    return _COMPARED_WORK if isinstance(value, str | bool | None) else _NUMBER_WORK


def _patterns_work(schema: dict[str, Any]) -> list[int]:
    """Steps for each byte of a string, for each pattern."""
    by_name = schema.get("patternProperties")
    patterns = [schema.get("pattern"), *(by_name if isinstance(by_name, dict) else ())]
    return [_PATTERN_WORK + 2 * _pattern_length(one) for one in patterns if isinstance(one, str)]


def _pattern_length(pattern: str) -> int:
    """The pattern's parts, each as often as braces repeat it."""
    groups, last = [0], 1
    for part in _PATTERN_PART.finditer(pattern):
        if part[0] == "(":
            groups.append(0)
        elif part[0] == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        elif part[1]:
            repeated = min(last * max(int(times or 1) for times in part[1].split(",")), MAX_WORK)
            groups[-1] += repeated - last
            last = repeated
        else:
            last = 1
            groups[-1] += last
    return sum(groups)


def _dynamic_anchors(schema: object) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            name = "" if value.get("$recursiveAnchor") is True else value.get("$dynamicAnchor")
            if isinstance(name, str):
                found.setdefault(name, []).append(value)
    return found
