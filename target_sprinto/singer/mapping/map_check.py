"""Checks a stream map against the stream's SCHEMA and its entity schema, when the SCHEMA arrives. Pure.

This finds a misspelled name before a session is opened. Every error names the stream, the target field, the
missing name, the nearest names, and the likely cause.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from target_sprinto.errors import MapFailed
from target_sprinto.push.text import in_json, listed, quoted, short
from target_sprinto.similar_names import by_nearness, nearest_first
from target_sprinto.singer.input.messages import DELETED_AT
from target_sprinto.singer.mapping.map_pitfalls import (
    inexact_comparisons,
    is_calculation,
    mistaken_parts,
    null_as_text,
    text_as_bool,
)
from target_sprinto.singer.mapping.map_rules import (
    NOT_FIELDS,
    MapRule,
    called_names,
    names_in,
    nodes_of,
    parsed,
    reading,
    step_of,
    unless_null,
)
from target_sprinto.singer.mapping.map_schema import read_at, readable
from target_sprinto.singer.schemas.entity_schemas import EntitySchema
from target_sprinto.singer.schemas.schema_parts import properties_of, types_of

_CONSTANT = 'To send that text: a constant needs inner quotes: "{}".'
_OPTIONAL = "Correct it. `record.get('x')` reads a field that may be missing; a constant needs inner quotes."
_ONE_EXPRESSION = "Write it on one line; or put parentheses around its lines, or `>` instead of `|` in YAML."
_CONDITION = "Correct it. A comparison has two `=`, as in `status == 'ACTIVE'`."
_NULL = "`get` returns null if it is missing: correct the name, unless the tap may leave the field out."
_PYTHON = {"true": "True", "false": "False", "null": "None", "none": "None"}
_EXAMPLES = "Correct it: `record['Work Email']` reads a field, `a + ' ' + b` joins two, `'x'` is a constant."
_OPERATORS = re.compile(r"[|?=<>+*%$!]")
_LONGEST_HINT = 130
_LONGEST_KEYS = 60


def require_expressions(stream_maps: Mapping[str, Any]) -> None:
    """Raise MapFailed for an invalid expression in the map of any stream."""
    for name, options in stream_maps.items():
        if isinstance(options, dict):
            _require_expressions(MapRule(name, name, options), name)


def _require_expressions(rule: MapRule, stream: str, fields: Sequence[str] = ()) -> None:
    for target, expression in rule.expressions.items():
        if (tree := parsed(expression)) is None or is_calculation(tree):
            why = "only calculates with constants" if tree else "is not an expression"
            raise MapFailed(
                f"{_in(stream, target)} is {quoted(expression)}, which {why}.",
                _expression_hint(target, expression, fields),
            )


def _expression_hint(target: str, expression: str, fields: Iterable[str]) -> str:
    """The hint for text that is not an expression, or that names no field."""
    text = expression.strip()
    if text in fields:
        return _as_typed(f"Write `{reading(text)}`.", _EXAMPLES)
    odd = [name for name in fields if reading(name) != name]
    if read := [name for name in odd if re.search(rf"(record\.|\[){re.escape(name)}(?!\w)", text)]:
        return _as_typed(f"Read the field by `{reading(max(read, key=len))}`.", _EXAMPLES)
    if "\n" in text or ";" in text:
        return _ONE_EXPRESSION
    if target == "__filter__":
        return _CONDITION
    names_field = not {"record", *fields}.isdisjoint(re.findall(r"\w+", text))
    is_constant = {"'", '"', "\\"}.isdisjoint(text) and not names_field and not _OPERATORS.search(text)
    return _as_typed(_CONSTANT.format(f"'{text}'"), _EXAMPLES) if is_constant else _EXAMPLES


def require_map(rule: MapRule, stream: str, fields: Sequence[str], keys: Sequence[str] | None) -> None:
    """Raise MapFailed for an invalid expression, and for a key property that the map drops.

    `fields` and `keys` are those of the tap's SCHEMA. If `fields` is empty, the fields are unknown.
    """
    _require_expressions(rule, stream, fields)
    named = rule.options.get("__key_properties__", keys) or []
    outputs = rule.outputs(fields)
    for key in named if outputs or rule.drops_others else []:
        if key in outputs:
            continue
        if "__key_properties__" in rule.options:
            raise MapFailed(
                f"`__key_properties__` of stream {quoted(stream)} names {quoted(key)}, which its map does"
                f" not make{nearest_first(key, outputs, limit=3)}.",
                "Name the target fields that identify an entity.",
            )
        made = [target for target, expression in rule.fields.items() if expression == key]
        made += [target for target, expression in rule.fields.items() if key in names_in(expression or "")]
        made.append("…")
        raise _failure(
            stream,
            f"drops its key property {quoted(key)}.",
            f'Add "__key_properties__": [{in_json(made[0])}] to it: the field that identifies an entity.',
        )


def require_known_names(
    rule: MapRule, stream: str, fields: Mapping[str, Any], functions: Collection[str]
) -> None:
    """Raise MapFailed if the rule names a field that the stream's schema lacks.

    `fields` is ``{field: JSON Schema}``; if it is empty, nothing is checked. A pattern may remove a field
    that only some of its streams have.
    """
    if not fields:
        return
    for target, name in rule.unknown_names(fields, functions):
        if name in called_names(rule.expressions[target]):
            raise _failure(
                stream,
                f"calls {quoted(name)} for {_place(target)}, and there is no such"
                f" function{nearest_first(name, functions, limit=len(functions))}.",
                "Use one of those, or a method of text such as `x.upper()`; or compute it at the tap.",
            )
        raise _no_such_field(
            stream, target, name, fields, _cause(target, name, rule.expressions[target], fields)
        )
    for target, expression in rule.expressions.items():
        for _, by_get, problem in _missing_parts(stream, target, expression, fields):
            if not by_get:
                raise problem
    for name in rule.removed:
        if name not in fields and rule.source == stream:
            raise _failure(
                stream,
                f"removes field {quoted(name)}, and the stream's schema has no such"
                f" field{nearest_first(name, fields, limit=3)}.",
                "Correct the name, so that no other field is sent unintentionally; or remove the rule.",
            )


def require_working_comparisons(rule: MapRule, stream: str, fields: Mapping[str, Any]) -> None:
    """Raise MapFailed if the rule compares a number that may be a decimal with a float, or other types."""
    for target, expression in rule.expressions.items():
        known = readable(expression, fields)
        for part, hint in mistaken_parts(expression, known):
            what = f"has `{short(part)}` for {_place(target)}, which cannot give the intended result."
            raise _failure(stream, what, hint)
        for decimal, number, corrected in inexact_comparisons(expression, known):
            raise _failure(
                stream,
                f"compares {quoted(short(decimal))} with {quoted(short(number))} for"
                f" {_place(target)}: a float, which differs slightly from the decimal of the same digits.",
                _as_typed(f"Write `{corrected}`.", "Convert the decimal: `float(x) < 8.3`."),
            )


def doubts(rule: MapRule, stream: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, MapFailed]]:
    """Rules that may be correct but probably are not, each with the name in question.

    A name that is read by `get`, and that the stream's schema lacks, may be in a later SCHEMA.
    """
    condition = rule.expressions.get("__filter__", "record")
    if not any(isinstance(node, ast.Name) for node in nodes_of(condition)):
        what = "has a `__filter__` that reads no field: it keeps all records, or none."
        yield "__filter__", _failure(stream, what, _CONDITION)
    for target, expression in rule.expressions.items():
        known = readable(expression, fields)
        if target != "__filter__" and (text := text_as_bool(expression, known)) is not None:
            what = f"`bool({short(text)})` for {_in(stream, target)} is true for any text, even 'false'."
            hint = "Write `x == 'true' if x is not None else None`; to test for text: `(x or '') != ''`."
            yield target, MapFailed(what, hint)
        if (null := null_as_text(expression, known)) is not None:
            what = f"makes the text 'None' for {_place(target)} if {quoted(null)} is null."
            hint = "Write `str(x) if x is not None else None`, or a text for null."
            yield target, _failure(stream, what, hint)
        for name, by_get, problem in _missing_parts(stream, target, expression, fields):
            if by_get and name != DELETED_AT:
                yield name, problem


def require_entity(  # noqa: PLR0913, PLR0917 - a stream before and after its map
    entity: EntitySchema,
    stream: str,
    rule: MapRule,
    fields: Mapping[str, Any],
    sent: Sequence[str],
    keys: Collection[str],
) -> None:
    """Raise MapFailed if the fields `sent` of a stream cannot fit its entity schema.

    `fields` is ``{field: JSON Schema}`` of the tap's SCHEMA; `sent` and `keys` are the fields and the key
    properties after the stream map.
    """
    name = quoted(entity.entity_type)
    rules = rule.fields
    for field in sent:
        if field not in entity.fields and (entity.closed or (rules.get(field) and entity.names_all)):
            raise MapFailed(
                f"stream {quoted(stream)} sends field {quoted(field)}, and entity type {name} has no"
                f" such field (`entity_schemas`){nearest_first(field, entity.fields, limit=3)}.",
                'Correct the name; or leave it out: "__else__": null drops what the map does not name.',
            )
        source = rules.get(field) or field
        found, wanted = types_of(fields.get(source)), types_of(entity.fields.get(field))
        if found - {"null"} and wanted and found.isdisjoint(wanted) and rules.get(field) not in NOT_FIELDS:
            raise MapFailed(
                f"{_in(stream, field)} is {_alternatives(found - {'null'})}, but entity type {name} requires"
                f" {_alternatives(wanted)} (`entity_schemas`).",
                _conversion(reading(source), found, wanted),
            )
    for field in entity.required:
        if field not in sent and (fields or rule.name is not None):
            raise MapFailed(
                f"stream {quoted(stream)} does not send field {quoted(field)}, which entity type {name}"
                f" requires (`entity_schemas`). Fields of the stream{nearest_first(field, fields, limit=3)}.",
                f'Map it in `stream_maps`: {{{in_json(stream)}: {{{in_json(field)}: "…"}}}}.',
            )
    # The order of an entity's records is kept by its key properties. A stream may have none.
    if keys and entity.key and set(keys) != set(entity.key):
        given, meant = (listed([quoted(one) for one in those], _LONGEST_KEYS) for those in (keys, entity.key))
        named = f'"__key_properties__": [{", ".join(map(in_json, entity.key))}]'
        raise MapFailed(
            f"stream {quoted(stream)} identifies an entity by {given}, and entity type {name} by {meant}"
            " (`entity_schemas`).",
            _as_typed(
                f"Write {named} in its stream map, or correct `key`.", "Correct the one that is wrong."
            ),
        )


def _failure(stream: str, what: str, hint: str) -> MapFailed:
    return MapFailed(f"the stream map of stream {quoted(stream)} {what}", hint)


def _conversion(read: str, found: Collection[str], wanted: Collection[str]) -> str:
    """The hint for a field of the types `found`, none of which is `wanted`."""
    convert, may_be_null = "Convert it in the stream map", "null" in found
    if "string" in wanted:
        if not {"array", "object"}.isdisjoint(found):
            return "Map an item or a part of it, such as `x[0]` or `x.get('part')`."
        text = unless_null(f"str({read})", read, may_be_null=may_be_null)
        return _as_typed(f'{convert}: "{text}".', f"{convert}.")
    if "string" not in found or {"boolean", "integer"}.isdisjoint(wanted):
        return "Map another field."
    if "boolean" in wanted:
        truth = unless_null(f"{read} == 'true'", read, may_be_null=may_be_null)
        return _as_typed(f'{convert}: "{truth}", with the text that means true.', f"{convert}.")
    number = "float" if "number" in wanted else "int"
    return _as_typed(f'{convert}: "{number}({read}) if {read} else None".', f"{convert}.")


def _no_such_field(stream: str, target: str, name: str, known: Iterable[str], hint: str) -> MapFailed:
    return _failure(
        stream,
        f"reads {quoted(name)} for {_place(target)}, and the stream's schema has no such"
        f" field{nearest_first(name, known, limit=3)}.",
        hint,
    )


def _cause(target: str, name: str, expression: str, fields: Mapping[str, Any]) -> str:
    """The hint for a name that is not a field."""
    if word := _PYTHON.get(name.lower()):
        return f"Write `{word}`, as Python does."
    if expression.strip() in fields or (expression.strip() == name and name.isupper()):
        return _expression_hint(target, expression, fields)
    for field, schema in fields.items():
        inner = properties_of(schema)
        part = name.removeprefix(f"{field}__")
        if part in inner:
            why = "Flattening comes after the map. " if part != name else ""
            inside = f"{why}It is inside {quoted(field)}"
            return _as_typed(f"{inside}: write `{_safe_read(reading(field), part, fields)}`.", f"{inside}.")
    return _OPTIONAL


def _missing_parts(
    stream: str, target: str, expression: str, fields: Mapping[str, Any]
) -> Iterator[tuple[str, bool, MapFailed]]:
    """Parts that an object's schema lacks, as in `profile.email`: name, whether `get` reads it, the error."""
    known = readable(expression, fields)
    for node in nodes_of(expression):
        if (step := step_of(node)) is None:
            continue
        base, name = step
        inner = properties_of(read_at(base, known))
        if not inner or name in inner:
            continue
        by_get, hint = isinstance(node, ast.Call), _NULL
        if not by_get:
            nearest = by_nearness(name, inner)[0]
            meant = f"Did you mean {quoted(nearest)}? If it may be missing, write"
            hint = _as_typed(f"{meant} `{_safe_read(ast.unparse(base), name, fields)}`.", _OPTIONAL)
        yield name, by_get, _no_such_field(stream, target, name, inner, hint)


def _safe_read(base: str, name: str, fields: Mapping[str, Any]) -> str:
    """An expression that reads a part of an object, which may be null or lack the part."""
    node = parsed(base)
    if isinstance(node, ast.BoolOp):
        base = f"({base})"
    elif node is not None and "null" in types_of(read_at(node, fields)):
        base = f"({base} or {{}})"
    return f"{base}.get({name!r})"


def _as_typed(hint: str, otherwise: str) -> str:
    """The hint, which contains text to type, unless it is too long for a message."""
    return hint if len(hint) <= _LONGEST_HINT and hint.isprintable() else otherwise


def _alternatives(kinds: Iterable[str]) -> str:
    return " or ".join(sorted(kinds))


def _place(target: str) -> str:
    return "`__filter__`" if target == "__filter__" else f"field {quoted(target)}"


def _in(stream: str, target: str) -> str:
    return f"field {quoted(target)} of stream {quoted(stream)}"
