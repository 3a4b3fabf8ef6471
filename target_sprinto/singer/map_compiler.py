"""Expressions of stream maps as Python functions: a small subset without side effects. Pure.

They come to what the SDK's mapper comes to, by the operators and functions of its evaluator (simpleeval). A
function raises if the mapper would, and also where it cannot be sure: then the mapper has the record.
"""

from __future__ import annotations

import ast
from functools import partial
from operator import getitem
from typing import TYPE_CHECKING, Any, cast

from singer_sdk.mapper import CustomStreamMap

from target_sprinto.singer.map_rules import NOT_FIELDS, parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    Compiled = Callable[[Mapping[str, Any]], list[Any]]

_FUNCTIONS = frozenset({"bool", "float", "int", "md5", "sha256", "str"})
_OF_TEXT = (
    *("capitalize", "casefold", "endswith", "lower", "lstrip", "removeprefix", "removesuffix", "replace"),
    *("rstrip", "split", "startswith", "strip", "title", "upper"),
)
_METHODS: dict[str, Callable[..., Any]] = {"get": dict.get, **{name: getattr(str, name) for name in _OF_TEXT}}
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
        self._operators = dict(operators)
        self._operators[ast.Add] = partial(_added, operators[ast.Add])
        self._functions = functions
        self._called: dict[str, Callable[..., Any]] = {}

    def compiled(self, translated: Sequence[ast.expr]) -> Compiled:
        """A function of the record that returns a list: what each expression comes to."""
        body = ast.Expression(_lambda(ast.List([*translated], ast.Load())))
        code = compile(ast.fix_missing_locations(body), "<stream map>", "eval")
        # Nothing can be reached but what `translated` lets through.
        made: Compiled = eval(code, {"__builtins__": {}, **self._called})  # noqa: S307
        return made

    def translated(self, node: ast.AST) -> ast.expr:  # noqa: C901, PLR0911, PLR0912 - one case for each kind of node
        """An expression as one of Python's. Raises ValueError or KeyError for what is not in the subset."""
        if (name := field_of_record(node)) is not None:
            return self._read(node, name)
        match node:
            case ast.Constant() if is_constant(node):
                return node
            case ast.Name(name) if name in self._fields and name not in NOT_FIELDS:
                return _field(name)
            case ast.BinOp(left, operator, right) | ast.Compare(left, [operator], [right]):
                return self._call(self._operators[type(operator)], [left, right])
            case ast.UnaryOp(operator, operand):
                return self._call(self._operators[type(operator)], [operand])
            case ast.Call(ast.Name(name), arguments, []) if name in _FUNCTIONS:
                return self._call(self._functions[name], arguments)
            case ast.Call(ast.Attribute(value, name), arguments, []) if name in _METHODS:
                # Of another type it may be another method; then this one raises.
                return self._call(_METHODS[name], [value, *arguments])
            case ast.Subscript(value, ast.Constant() as key):
                return self._call(getitem, [value, key])
            case ast.Dict([], []):
                return node
            case ast.BoolOp(operator, parts):
                return ast.BoolOp(operator, [self.translated(part) for part in parts])
            case ast.IfExp(condition, yes, no):
                return ast.IfExp(*map(self.translated, (condition, yes, no)))
            case ast.JoinedStr(parts):
                return self._call(_joined, parts)
            case ast.FormattedValue(value, _, None):
                return self.translated(value)
        raise ValueError(type(node).__name__)

    def _read(self, node: ast.AST, name: str) -> ast.expr:
        match node:
            case ast.Call(_, [_, *default]) if all(isinstance(value, ast.Constant) for value in default):
                return ast.Call(self._called_as(dict.get), [_RECORD, ast.Constant(name), *default], [])
            case ast.Subscript():
                return _field(name)
        raise ValueError(name)

    def _call(self, function: Callable[..., Any], arguments: Sequence[ast.expr]) -> ast.Call:
        return ast.Call(self._called_as(function), [self.translated(one) for one in arguments], [])

    def _called_as(self, function: Callable[..., Any]) -> ast.Name:
        name = f"function_{len(self._called)}"
        self._called[name] = function
        return ast.Name(name, ast.Load())


_RECORD = ast.Name("record", ast.Load())


def _lambda(body: ast.expr) -> ast.Lambda:
    (statement,) = ast.parse("lambda record: None").body
    function = cast("ast.Lambda", cast("ast.Expr", statement).value)
    function.body = body
    return function


def _field(name: str) -> ast.Subscript:
    return ast.Subscript(_RECORD, ast.Constant(name), ast.Load())


def _added(add: Callable[[Any, Any], Any], left: object, right: object) -> Any:  # noqa: ANN401 - any sum
    """What the evaluator's `+` makes, which looks up what it was given: two texts are quicker."""
    if type(left) is str and type(right) is str and len(left) + len(right) <= _MAX_LENGTH:
        return left + right
    return add(left, right)


def _joined(*parts: object) -> str:
    text = "".join(map(str, parts))
    if len(text) > _MAX_LENGTH:
        raise ValueError
    return text


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
    if (tree := parsed(expression)) is None:
        raise ValueError(expression)
    return tree


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
