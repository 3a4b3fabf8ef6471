"""Expressions of stream maps as Python functions: a small subset without side effects. Pure.

They come to what the SDK's mapper comes to, by the operators and functions of its evaluator (simpleeval). A
function raises if the mapper would, and also where it cannot be sure: then the mapper has the record.
"""

from __future__ import annotations

import ast
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from singer_sdk.mapper import CustomStreamMap

from target_sprinto.singer.map_rules import GIVEN, parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    Compiled = Callable[[Mapping[str, Any]], Any]

_FUNCTIONS = frozenset({"bool", "float", "int", "md5", "sha256", "str"})
_METHODS: dict[str, Callable[..., Any]] = {
    "get": dict.get,
    "capitalize": str.capitalize,
    "casefold": str.casefold,
    "endswith": str.endswith,
    "lower": str.lower,
    "lstrip": str.lstrip,
    "removeprefix": str.removeprefix,
    "removesuffix": str.removesuffix,
    "replace": str.replace,
    "rstrip": str.rstrip,
    "split": str.split,
    "startswith": str.startswith,
    "strip": str.strip,
    "title": str.title,
    "upper": str.upper,
}
_MAX_LENGTH = 100_000
"""Of a text that an expression holds or makes (simpleeval: MAX_STRING_LENGTH)."""


class Compiler:
    """Compiles expressions over ``{field: value}`` of a record.

    `fields` are those that a bare name reads; `operators` and `functions` the evaluator's own.
    """

    def __init__(
        self,
        fields: Collection[str],
        operators: Mapping[type[ast.AST], Callable[..., Any]],
        functions: Mapping[str, Callable[..., Any]],
    ) -> None:
        self._fields = fields
        self._operators = operators
        self._functions = functions

    def compile(self, node: ast.AST) -> Compiled:  # noqa: C901, PLR0911, PLR0912 - one case for each kind of node
        """An expression as a function of the record. Raises ValueError for what is not in the subset."""
        if (name := field_of_record(node)) is not None:
            return self._read(node, name)
        match node:
            case ast.Constant(value) if is_constant(node):
                return lambda _: value
            case ast.Name(name) if name in self._fields and name not in GIVEN:
                return itemgetter(name)
            case ast.BinOp(left, operator, right) | ast.Compare(left, [operator], [right]):
                return self._applied(self._operators[type(operator)], [left, right])
            case ast.UnaryOp(operator, operand):
                return self._applied(self._operators[type(operator)], [operand])
            case ast.Call(ast.Name(name), arguments, []) if name in _FUNCTIONS:
                return self._applied(self._functions[name], arguments)
            case ast.Call(ast.Attribute(value, name), arguments, []) if name in _METHODS:
                # Of another type it may be another method; then this one raises.
                return self._applied(_METHODS[name], [value, *arguments])
            case ast.Subscript(value, ast.Constant(key)):
                container = self.compile(value)
                return lambda record: container(record)[key]
            case ast.Dict([], []):
                return lambda _: {}
            case ast.BoolOp(operator, parts):
                return self._bool(parts, until=isinstance(operator, ast.Or))
            case ast.IfExp(condition, yes, no):
                test, then, other = self.compile(condition), self.compile(yes), self.compile(no)
                return lambda record: then(record) if test(record) else other(record)
            case ast.JoinedStr(parts):
                return self._joined(parts)
            case ast.FormattedValue(value, _, None):
                return self.compile(value)
        raise ValueError(type(node).__name__)

    @staticmethod
    def _read(node: ast.AST, name: str) -> Compiled:
        match node:
            case ast.Call(_, [_]):
                return lambda record: record.get(name)
            case ast.Call(_, [_, ast.Constant(default)]):
                return lambda record: record.get(name, default)
            case ast.Subscript():
                return itemgetter(name)
        raise ValueError(name)

    def _applied(self, function: Callable[..., Any], arguments: Sequence[ast.expr]) -> Compiled:
        parts = [self.compile(argument) for argument in arguments]
        if len(parts) == 1:
            (only,) = parts
            return lambda record: function(only(record))
        if len(parts) == 2:  # noqa: PLR2004 - an operator's two sides
            first, second = parts
            return lambda record: function(first(record), second(record))
        return lambda record: function(*[part(record) for part in parts])

    def _bool(self, nodes: Sequence[ast.expr], *, until: bool) -> Compiled:
        parts = [self.compile(node) for node in nodes]

        def evaluate(record: Mapping[str, Any]) -> object:
            result: object = False
            for part in parts:
                result = part(record)
                if bool(result) is until:
                    break
            return result

        return evaluate

    def _joined(self, nodes: Sequence[ast.expr]) -> Compiled:
        parts = [self.compile(node) for node in nodes]

        def evaluate(record: Mapping[str, Any]) -> str:
            text = "".join([str(part(record)) for part in parts])
            if len(text) > _MAX_LENGTH:
                raise ValueError
            return text

        return evaluate


def is_constant(node: ast.AST) -> bool:
    """Whether it is a constant that JSON can hold."""
    match node:
        case ast.Constant(str(value)):
            return len(value) <= _MAX_LENGTH
        case ast.Constant(value):
            return value is None or isinstance(value, int)
    return False


def field_of_record(node: ast.AST) -> str | None:
    """The field in `record.x`, `record['x']` or `record.get('x')`, also of `_`; else None."""
    match node:
        case ast.Subscript(ast.Name("record" | "_"), ast.Constant(str(name))):
            return name
        case ast.Call(ast.Attribute(ast.Name("record" | "_"), "get"), [ast.Constant(str(name)), *_], []):
            return name
        case ast.Attribute(ast.Name("record" | "_"), name) if not hasattr(dict, name):
            return name
        case _:
            return None


def optional_field(node: ast.AST) -> str | None:
    """The field in `record.get('x')`, which is null if it is missing; else None."""
    name = field_of_record(node)
    return name if isinstance(node, ast.Call) and len(node.args) == 1 else None


def fields_read(expression: str) -> set[str]:
    """The fields that an expression may read. Raises ValueError if its text does not show them."""
    nodes = list(ast.walk(tree_of(expression)))
    records = [node for node in nodes if isinstance(node, ast.Name) and node.id in {"record", "_"}]
    read = [name for node in nodes if (name := field_of_record(node)) is not None]
    if len(read) != len(records):
        raise ValueError(expression)
    return {*read, *(node.id for node in nodes if isinstance(node, ast.Name))}


def tree_of(expression: str) -> ast.expr:
    """Its syntax tree. Raises ValueError."""
    tree = parsed(expression)
    if tree is None:
        raise ValueError(expression)
    return cast("ast.Expr", tree.body[0]).value


def map_of(stream_map: CustomStreamMap, expressions: Mapping[str, str]) -> CustomStreamMap:
    """The SDK's mapper for some of a map's fields alone."""
    return CustomStreamMap(
        stream_alias=stream_map.stream_alias,
        stream_name=stream_map.stream_name,
        map_config=stream_map.map_config,
        faker_config=stream_map.faker_config,
        raw_schema=stream_map.raw_schema,
        key_properties=None,
        map_transform={**expressions, "__else__": None},
        flattening_options=None,
    )
