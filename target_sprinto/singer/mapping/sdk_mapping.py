"""One record through the SDK's mapper, and what went wrong if an expression fails on it."""

from __future__ import annotations

import ast
import contextlib
import copy
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from singer_sdk.exceptions import MapExpressionError
from singer_sdk.mapper import CustomStreamMap, StreamMap

from target_sprinto.errors import InvalidRecord, MapFailed
from target_sprinto.push.text import quoted, shown
from target_sprinto.singer.input.messages import decode_parts
from target_sprinto.singer.mapping.map_compiler import field_of_record, fields_read, is_too_long, map_of
from target_sprinto.singer.mapping.map_rules import NOT_FIELDS, MapRule, nodes_of, parsed

_MISSING = {"NameNotDefined": "name", "AttributeDoesNotExist": "attr"}
"""Errors of simpleeval, which the SDK's mapper uses, and their attribute with the missing name."""

_OPTIONAL = (
    "Read a field that may be missing with `record.get('x')`, and one that may be null with"
    " `x.upper() if x else None`."
)
_NULL = "Guard a value that may be null: `x.upper() if x else None`."
_TOO_LARGE = "Its result is too large for a stream map: compute it at the tap."
_HINTS = {
    "AttributeDoesNotExist": _OPTIONAL,
    "FeatureNotAvailable": (
        "Only a part of Python is available: no lambda, no `.format()`, no name that begins with `_`."
    ),
    "FunctionNotDefined": "There is no such function; text has methods, such as `x.upper()`.",
    "IterableTooLong": _TOO_LARGE,
    "KeyError": (
        "Read a field that may be missing with `record.get('x')`; `config` holds `stream_map_config`."
    ),
    "NameNotDefined": _OPTIONAL,
    "NumberTooHigh": _TOO_LARGE,
}
"""By the type of the error."""

_BY_TEXT = {
    "NoneType": _OPTIONAL,
    "'fake'": "Faker is not installed, and made-up values are not evidence: map a field, or leave it out.",
    "'encode'": "`md5` and `sha256` take text: `md5(str(x))`.",
    "JSON serializable": "`json.dumps` does not accept decimals: convert the number with `float(x)` first.",
}
"""By a part of the error's text."""


class SdkMapping:
    """One stream map of a stream, for records that are decoded in full."""

    def __init__(self, stream_map: StreamMap, rule: MapRule) -> None:
        self._map, self._rule = stream_map, rule
        self._stream = quoted(stream_map.stream_alias)
        self._flattens = stream_map.flattening_enabled
        self._unflattened = copy.copy(stream_map)
        self._unflattened.flattening_options = None
        self._copied = {target: _copied(parsed(text or "")) for target, text in rule.fields.items()}
        """By target field: the field that it copies, if the record has that; None if it copies no field."""
        computed = {one: text for one, text in rule.expressions.items() if not self._copied.get(one)}
        self._operands: set[str] | None = None
        """The fields that the filter reads, or an expression that is more than a copy; None for any."""
        with contextlib.suppress(ValueError):
            self._operands = fields_read(computed)

    def map(self, record: dict[str, Any], raw: bytes) -> dict[str, Any] | None:
        """The mapped record, given its JSON as well; None if the stream map leaves it out.

        Fields that no map changes are `Raw`. Raises InvalidRecord or MapFailed.
        """
        mapped = self._mapped(record)
        if mapped is not None and not self._flattens:
            parts = decode_parts(raw)
            sources = {name: self._copied.get(name, name) for name in mapped}
            mapped |= {name: parts[field] for name, field in sources.items() if field in parts}
        return mapped

    def _mapped(self, record: dict[str, Any]) -> dict[str, Any] | None:
        try:
            self._require_usable(record)
            mapped = self._unflattened.transform(dict(record))
            return self._flattened(mapped) if mapped and self._flattens else mapped
        except InvalidRecord:
            raise
        except RecursionError:
            raise InvalidRecord(
                f"a record of stream {self._stream} is nested too deeply for its stream map."
            ) from None
        except Exception as problem:  # noqa: BLE001 - a user's expression may raise anything
            failing = self._failing_field(record)
            # The mapper's own error hides the missing name; the text of any other may quote a value.
            raised = problem.__cause__ if isinstance(problem, MapExpressionError) else problem
            cause = type(raised).__name__
            hint = _hint(raised)
            # A name in the expression, never a value.
            if (null := self._null_part(raised, record)) is not None:
                cause, hint = f"{shown(null)} is null", _NULL
            elif isinstance(missing := getattr(raised, _MISSING.get(cause, ""), None), str):
                cause = f"{quoted(missing)} is missing"
                text = str(getattr(raised, "expression", ""))
                if f"datetime.{missing}" in text and hasattr(datetime, missing):
                    hint = f"Write `datetime.datetime.{missing}`: `datetime` is Python's module."
            raise MapFailed(
                f"the stream map of stream {self._stream} failed on a record:"
                f" {f'{failing} ({cause})' if failing else cause}.",
                hint,
            ) from None

    def _require_usable(self, record: dict[str, Any]) -> None:
        for field in record if self._operands is None else record.keys() & self._operands:
            if _has_long_number(record[field]):
                raise InvalidRecord(
                    f"a record of stream {self._stream} has a number with too many digits for the expression"
                    f" that reads it, in field {quoted(field)}.",
                    "Correct it at its source, or only rename the field.",
                    field=field,
                    issue="has too many digits for an expression",
                )

    def _flattened(self, record: dict[str, Any]) -> dict[str, Any]:
        """The flattened record, without objects that are null, which the SDK keeps.

        Raises InvalidRecord if two fields get one name: the SDK would keep only the last.
        """
        flat = self._map.flatten_record(record)
        names = list(_flat_names(self._map, record, ()))
        if len(flat) == len(names):
            return {name: flat[name] for name in flat if name not in self._objects or flat[name] is not None}
        ((name, _),) = Counter(names).most_common(1)
        declared = name in self._map.transformed_schema["properties"]
        raise InvalidRecord(
            f"flattening gives two fields of a record of stream {self._stream} one name"
            f"{f': {quoted(name)}' if declared else ''}.",
            "Choose another `flattening_separator` or a larger `flattening_max_key_length`, or rename a field"
            " in the stream map.",
            field=name if declared else None,
            issue="is the name of two fields after flattening",
        )

    @cached_property
    def _objects(self) -> set[str]:
        """The objects that flattening replaces by their fields."""
        options: Any = self._map.flattening_options
        names = self._map.transformed_schema["properties"]
        parts = [name.split(options.separator) for name in names]
        objects = {options.separator.join(part[:depth]) for part in parts for depth in range(1, len(part))}
        return objects.difference(names)

    def _null_part(self, raised: object, record: dict[str, Any]) -> str | None:
        """The part of the failing expression that is null and has a method called on it."""
        if not isinstance(self._map, CustomStreamMap):
            return None
        attribute = getattr(raised, "attr", None)
        for node in nodes_of(getattr(raised, "expression", "")):
            if isinstance(node, ast.Attribute) and node.attr == attribute:
                part = ast.unparse(node.value)
                # If it fails itself, or needs the rest of the expression, it was not the null part.
                with contextlib.suppress(Exception):
                    if map_of(self._map, {"part": part}).transform(dict(record)) == {"part": None}:
                        return part
        return None

    def _failing_field(self, record: dict[str, Any]) -> str:
        """The field and its expression, found by trying each alone: the SDK's mapper does not name it."""
        if isinstance(self._map, CustomStreamMap):
            for target, expression in self._rule.expressions.items():
                try:
                    map_of(self._map, {target: expression}).transform(dict(record))
                except Exception:  # noqa: BLE001 - the same failure as before
                    return f"field {quoted(target)} = {shown(expression)!r}"
        return ""


def _has_long_number(value: object) -> bool:
    if isinstance(value, Decimal):
        return is_too_long(value)
    if isinstance(value, dict | list):
        return any(map(_has_long_number, value.values() if isinstance(value, dict) else value))
    return False


def _flat_names(stream_map: StreamMap, node: dict[str, Any], parents: tuple[str, ...]) -> Iterator[str]:
    """The flattened name of each field, in the order of the SDK's mapper."""
    options: Any = stream_map.flattening_options
    for field, value in node.items():
        path = (*parents, field)
        name = options.separator.join(path)
        if len(name) >= options.max_key_length:
            # Only the SDK knows how it shortens a name.
            nested: dict[str, Any] | None = None
            for part in reversed(path):
                nested = {part: nested}
            (name,) = stream_map.flatten_record(nested or {})
        below = isinstance(value, dict) and len(parents) < options.max_level
        if below and name not in stream_map.transformed_schema["properties"]:
            yield from _flat_names(stream_map, value, path)
        else:
            yield name


def _copied(tree: ast.expr | None) -> str | None:
    match tree:
        case ast.Name(name) if name not in NOT_FIELDS:
            return name
    return field_of_record(tree)


def _hint(raised: BaseException | None) -> str:
    """The hint for an expression's error. The error's text is not shown: it may quote a value."""
    text = str(raised)
    for part, hint in _BY_TEXT.items():
        if part in text:
            return hint
    if not isinstance(raised, TypeError):
        return _HINTS.get(type(raised).__name__, "Correct the expression, or the value at its source.")
    if "Decimal" in text and "float" in text:
        return "A number with a fraction is a decimal: `float(x) * 1.1`."
    return "Convert the values to one type: `str(x)`, `int(x)` or `float(x)`."
