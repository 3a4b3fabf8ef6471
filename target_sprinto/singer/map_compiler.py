"""Expressions of stream maps as Python functions: a small subset without side effects. Pure.

They come to what the SDK's mapper comes to, by the operators and functions of its evaluator (simpleeval). A
function raises if the mapper would, and also where it cannot be sure: then the mapper has the record.
"""

from __future__ import annotations

import ast
import itertools
from functools import partial
from operator import getitem
from typing import TYPE_CHECKING, Any

from singer_sdk.mapper import CustomStreamMap

from target_sprinto.singer.map_rules import NOT_FIELDS, parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

_FUNCTIONS = frozenset({"bool", "float", "int", "md5", "sha256", "str"})
_OF_TEXT = (
    *("capitalize", "casefold", "endswith", "lower", "lstrip", "removeprefix", "removesuffix", "replace"),
    *("rstrip", "split", "startswith", "strip", "title", "upper"),
)
_METHODS: dict[str, Callable[..., Any]] = {"get": dict.get, **{name: getattr(str, name) for name in _OF_TEXT}}
_MAX_LENGTH = 100_000
"""Of a text that an expression holds or makes (simpleeval: MAX_STRING_LENGTH)."""


MISSING = object()
"""The value of an optional field that a record lacks."""


class Compiler:
    """Makes a function of a record from expressions; a record is an object with an attribute for each field.

    `fields` are those that a bare name reads, and `attributes` says where each field of a record is. `value`
    makes a field's value of what is there, and raises for a field that is not there; `optional_value` is for
    the `optional` fields, and returns MISSING. `operators` and `functions` are the evaluator's own.
    """

    def __init__(  # noqa: PLR0913 - what an expression may read and call
        self,
        *,
        fields: Collection[str],
        attributes: Mapping[str, str],
        optional: Collection[str],
        value: Callable[[Any], Any],
        optional_value: Callable[[Any], Any],
        operators: Mapping[type[ast.AST], Callable[..., Any]],
        functions: Mapping[str, Callable[..., Any]],
    ) -> None:
        self._fields = fields
        self._attributes = attributes
        self._optional = optional
        self._value = value
        self._optional_value = optional_value
        self._operators = dict(operators)
        self._operators[ast.Add] = partial(_added, operators[ast.Add])
        self._functions = functions
        self._given: dict[str, Any] = {}
        self._parameters: dict[str, ast.expr] = {}

    def compiled(self, body: ast.expr) -> Callable[[Any], Any]:
        """A function of the record: `body`, whose values are each made once, and before it."""
        inner = _lambda(self._parameters, body)
        outer = ast.Expression(_lambda(["record"], ast.Call(inner, [*self._parameters.values()], [])))
        code = compile(ast.fix_missing_locations(outer), "<stream map>", "eval")
        # Nothing can be reached but what `translated` lets through.
        made: Callable[[Any], Any] = eval(code, {"__builtins__": {}, **self._given})  # noqa: S307
        return made

    def part(self, name: str) -> ast.expr:
        """A field as it is in the record, not its value."""
        return ast.Attribute(_RECORD, self._attributes[name], ast.Load())

    def given(self, value: object) -> ast.Name:
        """Any object, as an expression."""
        name = f"given_{len(self._given)}"
        self._given[name] = value
        return ast.Name(name, ast.Load())

    def called(self, function: Callable[..., Any], arguments: Iterable[ast.expr]) -> ast.Call:
        """A call of `function`."""
        return ast.Call(self.given(function), [*arguments], [])

    def given_rest(self, function: Callable[[Any], Any], body: ast.expr) -> ast.Call:
        """`body`, in which REST is what `function` makes of the record; None if that is None."""
        none = ast.Constant(None)
        body = ast.IfExp(ast.Compare(REST, [ast.IsNot()], [none]), body, none)
        return ast.Call(_lambda([REST.id], body), [self.called(function, [_RECORD])], [])

    def translated(self, node: ast.AST) -> ast.expr:  # noqa: C901, PLR0911, PLR0912 - one case for each kind of node
        """An expression as one of Python's. Raises ValueError or KeyError for what is not in the subset."""
        if (name := field_of_record(node)) is not None:
            return self._read(node, name)
        match node:
            case ast.Constant() if is_constant(node):
                return node
            case ast.Name(name) if name in self._fields and name not in NOT_FIELDS:
                return self._field(name)
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
            case ast.Call(_, [_]):
                return self._or_default(name, ast.Constant(None))
            case ast.Call(_, [_, ast.Constant() as default]):
                return self._or_default(name, default)
            case ast.Subscript():
                return self._field(name)
        raise ValueError(name)

    def _or_default(self, name: str, default: ast.Constant) -> ast.expr:
        value = self._any_field(name)
        return ast.IfExp(ast.Compare(value, [ast.Is()], [self.given(MISSING)]), default, value)

    def _field(self, name: str) -> ast.expr:
        value = self._any_field(name)
        return self.called(_present, [value]) if name in self._optional else value

    def _any_field(self, name: str) -> ast.Name:
        parameter = f"in_{self._attributes[name]}"
        value = self._optional_value if name in self._optional else self._value
        self._parameters.setdefault(parameter, self.called(value, [self.part(name)]))
        return ast.Name(parameter, ast.Load())

    def _call(self, function: Callable[..., Any], arguments: Sequence[ast.expr]) -> ast.Call:
        return self.called(function, map(self.translated, arguments))


_RECORD = ast.Name("record", ast.Load())
REST = ast.Name("rest", ast.Load())


def _lambda(parameters: Iterable[str], body: ast.expr) -> ast.Lambda:
    names = [ast.arg(name) for name in parameters]
    return ast.Lambda(ast.arguments([], names, None, [], [], None, []), body)


def _present(value: object) -> object:
    if value is MISSING:
        raise KeyError
    return value


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


def optional_fields(expressions: Iterable[str]) -> set[str]:
    """The fields that any of the expressions reads by `record.get`. Raises ValueError."""
    nodes = itertools.chain.from_iterable(ast.walk(tree_of(text)) for text in expressions)
    return {name for node in nodes if isinstance(node, ast.Call) and (name := field_of_record(node))}


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
