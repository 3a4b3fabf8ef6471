"""Finds expressions in a stream map that succeed, and whose results are probably wrong. Pure."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from target_sprinto.push.text import quoted, short
from target_sprinto.singer.mapping.map_rules import nodes_of
from target_sprinto.singer.mapping.map_schema import items_of, may_be_null, read_at
from target_sprinto.singer.schemas.schema_parts import types_of

_OF_NULL = {
    **dict.fromkeys((ast.Eq, ast.In), "is not None and"),
    **dict.fromkeys((ast.NotEq, ast.NotIn), "is None or"),
}
"""The guard that keeps the result of a comparison with null, by operator; `<` fails on null anyway."""

_CONTENTS = frozenset({"get", "list", "pop", "values"})
"""Functions and methods that return what an object or a list holds; no other returns a decimal."""


def inexact_comparisons(expression: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The comparisons of a decimal with a float; `fields` is ``{field: JSON Schema}``.

    Yields what may be a decimal, the float that it is compared with, and the comparison to write instead.
    A record's number with a fraction is an exact decimal, but 8.3 in an expression is a slightly larger
    float: `score < 8.3` is true for a score of 8.3.
    """
    for node in nodes_of(expression):
        if not isinstance(node, ast.Compare):
            continue
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            for decimal, number in ((left, right), (right, left)):
                if not _is_float(number, fields) or _is_never_decimal(decimal, fields):
                    continue
                read = ast.unparse(decimal)
                is_in = isinstance(operator, ast.In | ast.NotIn)
                of_items = decimal is right if is_in else isinstance(number, ast.List | ast.ListComp)
                converted = ast.Name(f"[float(x) for x in {read}]" if of_items else f"float({read})")
                sides = (converted, right) if decimal is left else (left, converted)
                corrected = ast.unparse(ast.Compare(sides[0], [operator], [sides[1]]))
                guard = _OF_NULL.get(type(operator)) if may_be_null(decimal, fields) else None
                corrected = f"({read} {guard} {corrected})" if guard else corrected
                yield read, ast.unparse(number), corrected


def _is_float(node: ast.expr, fields: Mapping[str, Any]) -> bool:
    """Whether it may be a float that is not exactly the decimal of the same digits, as 0.5 is."""
    match node:
        case ast.Constant(float(value)):
            return Decimal(value) != Decimal(repr(value))
        case ast.Call(ast.Name("float")):
            return True
        case ast.BinOp(left, ast.Div(), right) if all(_is_never_decimal(n, fields) for n in (left, right)):
            return True
    return any(_is_float(part, fields) for part in _parts(node))


def _is_never_decimal(node: ast.expr, fields: Mapping[str, Any]) -> bool:
    if parts := _parts(node):
        return all(_is_never_decimal(part, fields) for part in parts)
    schema = read_at(node, fields)
    if kinds := types_of(items_of(schema) or schema) - {"null"}:
        return kinds == {"integer"}
    match node:
        case ast.Constant():
            return True
        case ast.Call(ast.Name(name) | ast.Attribute(_, name)) if name not in _CONTENTS:
            return True
        case ast.Subscript(base) | ast.Attribute(base) | ast.Call(ast.Attribute(base)):
            return _is_never_decimal(base, fields)
    return False


def _parts(node: ast.expr) -> list[ast.expr]:
    """The parts from which an expression's value, or its items, are computed or chosen."""
    match node:
        case ast.UnaryOp(_, operand):
            return [operand]
        case ast.BinOp(left, _, right) | ast.IfExp(_, left, right):
            return [left, right]
        case ast.BoolOp(_, parts) | ast.List(parts) | ast.Tuple(parts) | ast.Set(parts):
            return parts
        case ast.ListComp(item) | ast.SetComp(item) | ast.GeneratorExp(item):
            return [item]
        case ast.Call(ast.Attribute(_, "get"), [key, default], []):
            return [ast.Call(node.func, [key], []), default]
    return []


def is_calculation(tree: ast.expr) -> bool:
    """Whether the whole expression only subtracts or divides constants, as 2024-10-10 without quotes does."""
    parts = (ast.BinOp, ast.Sub, ast.Div, ast.Constant)
    return isinstance(tree, ast.BinOp) and all(isinstance(node, parts) for node in ast.walk(tree))


def mistaken_parts(expression: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Parts of an expression that cannot give the intended result, each with the hint for it."""
    compared_with = defaultdict[str, list[ast.expr]](list)
    for node in nodes_of(expression):
        for read, constants in _compared(node):
            compared_with[ast.unparse(read)] += constants
    for node in nodes_of(expression):
        match node:
            case ast.Compare(_, [ast.Is() | ast.IsNot()], [ast.Constant(value)]) if type(value) in {int, str}:
                yield ast.unparse(node), "Write `==` or `!=`."
            case ast.BoolOp(ast.Or(), parts) if any(isinstance(part, ast.Compare) for part in parts):
                if any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in parts):
                    yield ast.unparse(node), "Repeat the comparison: `x == 'a' or x == 'b'`."
        for read, _ in _compared(node):
            kinds, text = types_of(read_at(read, fields)) - {"null"}, ast.unparse(read)
            # `x == 1 or x == '1'` is a precaution.
            values = compared_with[text]
            if kinds and values and all(_has_other_type(value, kinds) for value in values):
                found = f"{quoted(short(text))} is {' or '.join(sorted(kinds))}"
                yield ast.unparse(node), f"{found}: compare it with such a value, or convert it."


def _compared(node: ast.AST) -> list[tuple[ast.expr, list[ast.expr]]]:
    """The expressions that are compared for equality, each with the values that it may equal."""
    match node:
        case ast.Compare(left, [ast.Eq() | ast.NotEq()], [right]):
            return [(left, [right]), (right, [left])]
        case ast.Compare(left, [ast.Is()], [ast.Constant(bool()) as right]):
            return [(left, [right])]
        case ast.Compare(left, [ast.In() | ast.NotIn()], [ast.List(all_) | ast.Tuple(all_) | ast.Set(all_)]):
            return [(left, all_)]
    return []


def _has_other_type(node: ast.expr, kinds: set[str]) -> bool:
    """Whether it is a constant of none of these types; a comparison with "" may be a precaution."""
    match node:
        case ast.Constant(str(text)):
            return text != "" and "string" not in kinds
        case ast.Constant(int() | float()):
            return kinds.isdisjoint({"boolean", "integer", "number"})
    return False


def null_as_text(expression: str, fields: Mapping[str, Any]) -> str | None:
    """What `str` or formatting reads although it may be null; None if there is a condition.

    A text that is only compared is never sent.
    """
    nodes = nodes_of(expression)
    if any(isinstance(node, ast.IfExp) for node in nodes):
        return None
    # As in `x and str(x)`; but in `x or str(x)` it is evaluated if `x` is null.
    ands = [node for node in nodes if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And)]
    compared = [node for node in nodes if isinstance(node, ast.Compare)]
    apart = [*compared, *(value for node in ands for value in node.values[1:])]
    conditional = {part for node in apart for part in ast.walk(node)}
    for node in nodes:
        if node in conditional:
            continue
        match node:
            case ast.BinOp(ast.Constant(str(form)), ast.Mod()) if not re.search(r"%[-.\d]*[rs]", form):
                # `%d` fails on null, as a format specification does.
                continue
            case (
                ast.Call(ast.Name("str"), [read], [])
                | ast.FormattedValue(read, format_spec=None)
                | ast.BinOp(ast.Constant(str()), ast.Mod(), read)
            ):
                for part in read.elts if isinstance(read, ast.Tuple) else [read]:
                    if may_be_null(part, fields):
                        return ast.unparse(part)
    return None


def text_as_bool(expression: str, fields: Mapping[str, Any]) -> str | None:
    """The text that `bool` reads, if any: every text but an empty one is true.

    Text with a format, such as a date, is never 'false': `bool` tests whether there is one.
    """
    for node in nodes_of(expression):
        match node:
            case ast.Call(ast.Name("bool"), [read], []):
                schema = read_at(read, fields)
                if isinstance(schema, dict) and "string" in types_of(schema) and "format" not in schema:
                    return ast.unparse(read)
    return None
