"""Compiles stream map expressions to Python functions: a small subset without side effects. Pure.

The results are those of the SDK's mapper, by the operators and functions of its evaluator (simpleeval). A
function raises if the mapper would, and also if it cannot be sure: the record then goes to the mapper.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from operator import getitem
from typing import Any

import msgspec
from msgspec import UNSET, Raw
from singer_sdk.mapper import CustomStreamMap

from target_sprinto.singer.input.messages import encode, is_finite
from target_sprinto.singer.mapping.map_rules import NOT_FIELDS, MapRule, nodes_of, step_of

_FUNCTIONS = frozenset({"bool", "float", "int", "md5", "sha256", "str"})
_OF_TEXT = (
    *("capitalize", "casefold", "endswith", "lower", "lstrip", "removeprefix", "removesuffix", "replace"),
    *("rstrip", "split", "startswith", "strip", "title", "upper"),
)
_METHODS: dict[str, Callable[..., Any]] = {"get": dict.get, **{name: getattr(str, name) for name in _OF_TEXT}}
_MAX_LENGTH = 100_000
"""For a string in an expression or its result (simpleeval: MAX_STRING_LENGTH)."""

_MAX_DIGITS = 4300
"""Of an integer that is converted to text (Python: sys.int_info).

No expression reads a decimal with more on either side of its point: converting or formatting the ten
characters of `1e99999999` takes hours, and cannot be interrupted.
"""


def is_too_long(number: Decimal) -> bool:
    """Whether a decimal has too many digits for an expression to read it."""
    return abs(number.adjusted()) >= _MAX_DIGITS


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    if is_too_long(number):
        raise ValueError
    return number


decode_operand = msgspec.json.Decoder(float_hook=_decimal).decode
"""JSON bytes as a value that an expression reads. Raises ValueError, or what the decoder makes of it."""

NULL = Raw(b"null")
_NONE = ast.Constant(None)
_RECORD = ast.Name("record", ast.Load())
_FINITE = frozenset({str, int, bool, type(None)})


class Compiler:
    """Compiles the expressions of a stream map to a function of the record.

    A record has an attribute for each field: its JSON as `Raw`, or UNSET if it lacks the field. `attributes`
    names them by field. `read` collects the fields that are read, `required` those that must be present.
    """

    def __init__(self, stream_map: CustomStreamMap, rule: MapRule, fields: Sequence[str]) -> None:
        """`fields` are the stream's."""
        self.attributes = {name: f"field_{number}" for number, name in enumerate(fields)}
        self.read: set[str] = set()
        self.required: set[str] = set()
        self._fields = fields
        # An expression that calls `record.get` also works without the field.
        nodes = [node for expression in rule.expressions.values() for node in nodes_of(expression)]
        self._optional = {field_of_record(node) for node in nodes if isinstance(node, ast.Call)}
        operators = stream_map.expr_evaluator.operators
        self._operators = {**operators, ast.Add: partial(_added, operators[ast.Add])}
        self._functions = stream_map.functions
        self._given: dict[str, Any] = {}
        self._parameters: dict[str, ast.expr] = {}

    def compiled(self, body: ast.expr) -> Callable[[Any], Any]:
        """`body` as a function of the record; the fields that it uses are decoded once, and first."""
        inner = _lambda(self._parameters, body)
        outer = ast.Expression(_lambda(["record"], ast.Call(inner, [*self._parameters.values()], [])))
        code = compile(ast.fix_missing_locations(outer), "<stream map>", "eval")
        # The code can only reach what `computed` lets through.
        made: Callable[[Any], Any] = eval(code, {"__builtins__": {}, **self._given})  # noqa: S307
        return made

    def part(self, name: str) -> ast.Attribute:
        """A field's JSON in the record, not its value."""
        self.read.add(name)
        attribute = self.attributes.setdefault(name, f"field_{len(self.attributes)}")
        return ast.Attribute(_RECORD, attribute, ast.Load())

    def called(self, function: Callable[..., Any], arguments: Iterable[ast.expr]) -> ast.Call:
        """A call of any function."""
        return ast.Call(self._given_as(function), [*arguments], [])

    def with_rest(self, function: Callable[[Any], Any], body: ast.expr) -> ast.expr:
        """`body`, in which `rest` is the result of `function` for the record; None if the result is None."""
        rest = ast.NamedExpr(ast.Name("rest", ast.Store()), self.called(function, [_RECORD]))
        return ast.IfExp(ast.Compare(rest, [ast.IsNot()], [_NONE]), body, _NONE)

    def target(self, tree: ast.AST | None) -> ast.expr:
        """The value of a target field: a constant, the unchanged bytes of a field, or a computed value.

        Raises ValueError or KeyError for an expression outside the subset.
        """
        match tree:
            case ast.Constant(value) if _is_constant(tree):
                return self._given_as(Raw(encode(value)))
            case ast.Name(name) if self._is_field(name):
                self.required.add(name)
                return self.part(name)
            case ast.Subscript() if (source := field_of_record(tree)) is not None:
                self.required.add(source)
                return self.part(source)
            case ast.Call(_, [_]) if (source := field_of_record(tree)) is not None:
                return self._unless_missing(self.part(source), self._given_as(NULL))
        return self.called(finite, [self.computed(tree)])

    def computed(self, node: ast.AST | None) -> ast.expr:  # noqa: C901, PLR0911, PLR0912 - one case for each kind of node
        """The expression in Python. Raises ValueError or KeyError if it is outside the subset."""
        if (name := field_of_record(node)) is not None:
            return self._of_record(node, name)
        match node:
            case ast.Constant() if _is_constant(node):
                return node
            case ast.Name(name) if self._is_field(name):
                return self._value(name)
            case ast.BinOp(left, operator, right) | ast.Compare(left, [operator], [right]):
                return self._call(self._operators[type(operator)], [left, right])
            case ast.UnaryOp(operator, operand):
                return self._call(self._operators[type(operator)], [operand])
            case ast.Call(ast.Name(name), arguments, []) if name in _FUNCTIONS:
                return self._call(self._functions[name], arguments)
            case ast.Call(ast.Attribute(value, name), arguments, []) if name in _METHODS:
                # A value of another type may have another method of this name: this one raises for it.
                return self._call(_METHODS[name], [value, *arguments])
            case ast.Subscript(value, ast.Constant() as key):
                return self._call(getitem, [value, key])
            case ast.Dict([], []):
                return node
            case ast.BoolOp(operator, parts):
                return ast.BoolOp(operator, [self.computed(part) for part in parts])
            case ast.IfExp(condition, yes, no):
                return ast.IfExp(*map(self.computed, (condition, yes, no)))
            case ast.JoinedStr(parts):
                return self._call(_joined, parts)
            case ast.FormattedValue(value, _, None):
                return self.computed(value)
        raise ValueError(type(node).__name__)

    def _of_record(self, node: ast.AST | None, name: str) -> ast.expr:
        match node:
            case ast.Call(_, [_]):
                return self._unless_missing(self._parameter(name), _NONE)
            case ast.Call(_, [_, ast.Constant() as default]):
                return self._unless_missing(self._parameter(name), default)
            case ast.Subscript():
                return self._value(name)
        raise ValueError(name)

    def _is_field(self, name: str) -> bool:
        return name in self._fields and name not in NOT_FIELDS

    def _value(self, name: str) -> ast.expr:
        value = self._parameter(name)
        return self.called(_present, [value]) if name in self._optional else value

    def _parameter(self, name: str) -> ast.Name:
        """The field's value; UNSET if it is optional and missing."""
        part = self.part(name)
        parameter = f"in_{part.attr}"
        # `decode_operand` raises TypeError for UNSET.
        value = _optional_value if name in self._optional else decode_operand
        self._parameters.setdefault(parameter, self.called(value, [part]))
        return ast.Name(parameter, ast.Load())

    def _unless_missing(self, value: ast.expr, otherwise: ast.expr) -> ast.IfExp:
        return ast.IfExp(ast.Compare(value, [ast.Is()], [self._given_as(UNSET)]), otherwise, value)

    def _call(self, function: Callable[..., Any], arguments: Sequence[ast.expr]) -> ast.Call:
        return self.called(function, map(self.computed, arguments))

    def _given_as(self, value: object) -> ast.Name:
        """Any object, as an expression."""
        name = f"given_{len(self._given)}"
        self._given[name] = value
        return ast.Name(name, ast.Load())


def of_rest(target: str) -> ast.expr:
    """A target field that is in `rest`."""
    return ast.Subscript(ast.Name("rest", ast.Load()), ast.Constant(target), ast.Load())


def _lambda(parameters: Iterable[str], body: ast.expr) -> ast.Lambda:
    names = [ast.arg(name) for name in parameters]
    return ast.Lambda(ast.arguments([], names, None, [], [], None, []), body)


def _optional_value(part: Any) -> Any:  # noqa: ANN401 - any value
    return part if part is UNSET else decode_operand(part)


def _present(value: object) -> object:
    if value is UNSET:
        raise KeyError
    return value


def finite(value: object) -> object:
    """The value. Raises ValueError or TypeError if JSON cannot represent it."""
    if type(value) not in _FINITE and not is_finite(value):
        raise ValueError
    return value


def _added(add: Callable[[Any, Any], Any], left: object, right: object) -> Any:  # noqa: ANN401 - any sum
    """The result of the evaluator's `+`, which checks its operands first: adding two strings is faster."""
    if type(left) is str and type(right) is str and len(left) + len(right) <= _MAX_LENGTH:
        return left + right
    return add(left, right)


def _joined(*parts: object) -> str:
    text = "".join(map(str, parts))
    if len(text) > _MAX_LENGTH:
        raise ValueError
    return text


def _is_constant(node: ast.AST | None) -> bool:
    """Whether it is a constant that JSON can represent."""
    match node:
        case ast.Constant(str(value)):
            return len(value) <= _MAX_LENGTH
        case ast.Constant(value):
            return value is None or isinstance(value, int)
    return False


def field_of_record(node: ast.AST | None) -> str | None:
    """The field in `record.x`, `record['x']` or `record.get('x')`, or the same with `_`; otherwise None."""
    match step_of(node):
        case (ast.Name("record" | "_"), name):
            return name
    return None


def fields_read(expressions: Mapping[str, str]) -> set[str]:
    """The fields that these expressions, by target field, may read; `self` is the target field itself.

    Raises ValueError if a text does not show them: a name is computed, or the record is read as a whole.
    """
    found: set[str] = set()
    for target, expression in expressions.items():
        nodes = nodes_of(expression)
        names = [node.id for node in nodes if isinstance(node, ast.Name)]
        read = [name for node in nodes if (name := field_of_record(node)) is not None]
        if len(read) != len([name for name in names if name in {"record", "_"}]):
            raise ValueError(expression)
        found.update(read, names, [target] if "self" in names else [])
    return found


def map_of(stream_map: CustomStreamMap, expressions: Mapping[str, str]) -> CustomStreamMap:
    """The SDK's mapper for some of a map's fields only."""
    return CustomStreamMap(
        stream_alias=stream_map.stream_alias,
        stream_name=stream_map.stream_name,
        map_config=stream_map.map_config,
        faker_config=stream_map.faker_config,
        # Not the stream's: each map keeps a copy, and none of these expressions needs it.
        raw_schema={"properties": {}},
        key_properties=None,
        map_transform={**expressions, "__else__": None},
        flattening_options=None,
    )
