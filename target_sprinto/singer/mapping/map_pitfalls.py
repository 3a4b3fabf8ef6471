"""Finds expressions in a stream map that succeed, and whose results are probably wrong. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from target_sprinto.singer.mapping.map_rules import nodes_of
from target_sprinto.singer.mapping.map_schema import may_be_null, read_at
from target_sprinto.singer.schemas.schema_parts import types_of

_OF_NULL = {
    **dict.fromkeys((ast.Eq, ast.In), "is not None and"),
    **dict.fromkeys((ast.NotEq, ast.NotIn), "is None or"),
}
"""What keeps the result of a comparison with null, by operator; `<` fails on null in any case."""


class InexactComparison(NamedTuple):
    """What may be a decimal, the float that it is compared with, and the comparison to write instead."""

    decimal: str
    number: str
    corrected: str


def inexact_comparisons(expression: str, fields: Mapping[str, Any]) -> Iterator[InexactComparison]:
    """The comparisons of a decimal with a float; `fields` is ``{field: JSON Schema}``.

    A record's number with a fraction is an exact decimal, and 8.3 in an expression a float that is slightly
    more: `score < 8.3` is true for a score of 8.3.
    """
    for node in nodes_of(expression):
        if not isinstance(node, ast.Compare):
            continue
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            for decimal, number in ((left, right), (right, left)):
                if not _is_float(number) or _is_never_decimal(decimal, fields):
                    continue
                read = ast.unparse(decimal)
                of_items = decimal is right and isinstance(operator, ast.In | ast.NotIn)
                converted = ast.Name(f"[float(x) for x in {read}]" if of_items else f"float({read})")
                sides = (converted, right) if decimal is left else (left, converted)
                corrected = ast.unparse(ast.Compare(sides[0], [operator], [sides[1]]))
                guard = _OF_NULL.get(type(operator)) if may_be_null(decimal, fields) else None
                corrected = f"({read} {guard} {corrected})" if guard else corrected
                yield InexactComparison(read, ast.unparse(number), corrected)


def _is_float(node: ast.expr) -> bool:
    """Whether it may be a float that is not exactly the decimal of the same digits, as 0.5 is."""
    match node:
        case ast.Constant(float(value)):
            return Decimal(value) != Decimal(repr(value))
        case ast.Call(ast.Name("float")):
            return True
    return any(map(_is_float, _parts(node)))


def _is_never_decimal(node: ast.expr, fields: Mapping[str, Any]) -> bool:
    match node:
        case ast.Constant() | ast.Call(ast.Name("float" | "int")):
            return True
        case ast.BinOp() if _is_float(node):
            # A decimal in it would be an error.
            return True
    if parts := _parts(node):
        return all(_is_never_decimal(part, fields) for part in parts)
    return types_of(read_at(node, fields)) - {"null"} == {"integer"}


def _parts(node: ast.expr) -> list[ast.expr]:
    """The expressions that an expression's value, or its items, are made of or chosen from."""
    match node:
        case ast.UnaryOp(_, operand):
            return [operand]
        case ast.BinOp(left, _, right) | ast.IfExp(_, left, right):
            return [left, right]
        case ast.BoolOp(_, parts) | ast.List(parts) | ast.Tuple(parts) | ast.Set(parts):
            return parts
    return []


def null_as_text(expression: str, fields: Mapping[str, Any]) -> str | None:
    """What `str` or formatting reads although it may be null; None if there is a condition."""
    nodes = nodes_of(expression)
    if any(isinstance(node, ast.IfExp) for node in nodes):
        return None
    # As in `x and str(x)`; but in `x or str(x)` it is evaluated if `x` is null.
    ands = [node for node in nodes if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And)]
    conditional = {part for node in ands for value in node.values[1:] for part in ast.walk(value)}
    for node in nodes:
        if node in conditional:
            continue
        match node:
            case (
                ast.Call(ast.Name("str"), [read], [])
                | ast.FormattedValue(read)
                | ast.BinOp(ast.Constant(str()), ast.Mod(), read)
            ):
                for part in read.elts if isinstance(read, ast.Tuple) else [read]:
                    if may_be_null(part, fields):
                        return ast.unparse(part)
    return None


def text_as_bool(expression: str, fields: Mapping[str, Any]) -> str | None:
    """The text that `bool` reads, if any: every text but an empty one is true."""
    for node in nodes_of(expression):
        match node:
            case ast.Call(ast.Name("bool"), [read], []) if "string" in types_of(read_at(read, fields)):
                return ast.unparse(read)
    return None
