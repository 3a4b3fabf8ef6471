"""Corrects the schema that the SDK's mapper derives for a mapped record. Pure.

The mapper assumes that an expression returns text, or the field's previous type, unless it begins with
`int(` or the like. It drops definitions that a copied field refers to, and the null that it adds to
alternatives is not a schema.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from target_sprinto.singer.mapping.map_rules import NOT_FIELDS, MapRule, nodes_of, parsed, step_of
from target_sprinto.singer.schemas.schema_parts import properties_of, types_of

_TEXT = {"type": ["string", "null"]}
_CONVERSIONS = {"int": "integer", "float": "number", "bool": "boolean"}
_DEFINITIONS = ("definitions", "$defs")
_TEXT_METHODS = re.compile(
    "capitalize|casefold|dumps|isoformat|join|ljust|lower|lstrip|removeprefix|removesuffix|replace|rjust|rstrip"
    "|strip|title|upper|zfill"
)


def mapped_schema(made: dict[str, Any], rule: MapRule, stream: Mapping[str, Any]) -> dict[str, Any]:
    """The mapper's schema, `made`, with field types from the `stream`'s schema and the map.

    A field whose type neither of them shows may be of any type.
    """
    fields, properties = properties_of(stream), dict(made["properties"])
    for target, expression in rule.fields.items():
        node = parsed(expression) if expression is not None else None
        if node is not None and target in properties:
            properties[target] = _made_by(node, fields, properties[target])
    definitions = {name: stream[name] for name in _DEFINITIONS if name in stream}
    return {**definitions, **made, "properties": properties}


def _made_by(node: ast.expr, fields: Mapping[str, Any], as_mapped: dict[str, Any]) -> dict[str, Any]:
    match node:
        case ast.IfExp(body=inner, orelse=ast.Constant(None)):
            return _made_by(inner, fields, as_mapped)
        case ast.Call(ast.Name(name)) if name in _CONVERSIONS:
            return {"type": [_CONVERSIONS[name], "null"]}
        case ast.Name("record"):
            return as_mapped
    if _is_text(node):
        # Without the other rules of the field: its value is replaced.
        return _TEXT
    found = read_at(node, fields)
    return _or_null(found) if isinstance(found, dict) else {}


def _is_text(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value):
            return isinstance(value, str)
        case ast.JoinedStr() | ast.Call(ast.Name("str")):
            return True
        case ast.Call(ast.Attribute(_, name)):
            return _TEXT_METHODS.fullmatch(name) is not None
        case ast.BinOp(left, ast.Add(), right):
            return _is_text(left) or _is_text(right)
    return False


def read_at(node: ast.expr, fields: Mapping[str, Any]) -> object:
    """The schema of the part of a record that an expression reads; None for any other expression."""
    match node:
        case ast.Name("record" | "_"):
            return {"properties": fields}
        case ast.Name(name):
            return None if name in NOT_FIELDS else fields.get(name)
        case ast.BoolOp(ast.Or(), [inner, ast.Dict(keys=[])]):
            return read_at(inner, fields)
        case ast.Call(_, [_, _]):
            # The default of `get` may be of another type.
            return None
    if (step := step_of(node)) is None:
        return None
    inner, name = step
    return properties_of(read_at(inner, fields)).get(name)


def items_of(schema: object) -> dict[str, Any]:
    """The schema of a list's items; empty if it is not known, or if the value need not be a list."""
    found = schema.get("items") if isinstance(schema, dict) else None
    return found if isinstance(found, dict) and types_of(schema) <= {"array", "null"} else {}


def readable(expression: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schemas of the names in an expression: a comprehension's variable hides the field of its name.

    The parts of such a variable are unknown: elsewhere in the expression, its name may mean the field.
    """
    found = fields
    for node in nodes_of(expression):
        if isinstance(node, ast.comprehension):
            item = items_of(read_at(node.iter, found))
            names = [part.id for part in ast.walk(node.target) if isinstance(part, ast.Name)]
            found = {**found, **dict.fromkeys(names, {} if properties_of(item) or len(names) > 1 else item)}
    return found


def may_be_null(node: ast.expr, fields: Mapping[str, Any]) -> bool:
    """Whether the part of a record that an expression reads may be null: by its schema, or if it lacks it."""
    by_get = isinstance(node, ast.Call) and step_of(node) is not None and len(node.args) == 1
    return by_get or "null" in types_of(read_at(node, fields))


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    kinds = schema.get("type")
    if not schema or "null" in types_of(schema):
        return schema
    if kinds is None or not {"enum", "const"}.isdisjoint(schema):
        return {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "type": [*(kinds if isinstance(kinds, list) else [kinds]), "null"]}
