"""The rules of `stream_maps` for one stream, and the names that their expressions read. Pure."""

from __future__ import annotations

import ast
import keyword
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from target_sprinto.errors import MapFailed
from target_sprinto.push.text import quoted
from target_sprinto.singer.mapping.entity_types import is_named

MAP_OPTIONS = frozenset({"__alias__", "__else__", "__filter__", "__key_properties__", "__source__"})
REMOVED = (None, "__NULL__")
"""The rules of a field that is not sent; Meltano cannot pass null."""

GIVEN = frozenset({"_", "record", "config", "fake", "__stream_name__", "__original_stream_name__"})
"""Names that the SDK defines for every expression, besides the record's fields and its functions."""

NOT_FIELDS = GIVEN | {"self"}
"""Names that need not mean the record's field: `self` is the target field's value, if the record has one."""


@dataclass(frozen=True)
class MapRule:
    """One entry of `stream_maps`, under the key `name`, for the stream or pattern `source`.

    A stream without an entry has a rule without a name, which changes nothing.
    """

    name: str | None
    source: str
    options: Mapping[str, Any]

    @property
    def fields(self) -> dict[str, str | None]:
        """The expression of each target field; None if the field is removed."""
        return {
            field: None if rule in REMOVED else rule
            for field, rule in self.options.items()
            if field not in MAP_OPTIONS
        }

    @property
    def expressions(self) -> dict[str, str]:
        """The expressions of the target fields and of the filter."""
        computed = {field: rule for field, rule in self.fields.items() if rule is not None}
        condition = self.options.get("__filter__")
        return computed | ({"__filter__": condition} if isinstance(condition, str) else {})

    @property
    def removed(self) -> list[str]:
        """The fields that it removes."""
        return [field for field, rule in self.fields.items() if rule is None]

    @property
    def drops_others(self) -> bool:
        """Whether fields that it does not name are dropped: `__else__` can only be null."""
        return "__else__" in self.options

    def outputs(self, fields: Iterable[str]) -> list[str]:
        """The fields of a mapped record, if the stream has these fields."""
        made = [field for field, rule in self.fields.items() if rule is not None]
        return made if self.drops_others else [*made, *(name for name in fields if name not in self.fields)]

    def dropped(self, fields: Collection[str]) -> list[str]:
        """The stream's fields that are neither sent nor read."""
        used = {*self.outputs(fields), *read_by(self.expressions)}
        return [field for field in fields if field not in used]

    def reads(self, field: str) -> bool:
        """Whether an expression or the filter reads the field. Removing a field does not read it."""
        return field in read_by(self.expressions)

    def unknown_names(self, fields: Iterable[str], functions: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Names that are not a field, a value or a function: ``(target field, name)``."""
        known = {*fields, *functions, *GIVEN}
        for target, expression in self.expressions.items():
            own = {"self"} if target in known else set()
            yield from ((target, name) for name in _free_names(expression) if name not in known | own)


def rules_of(stream_maps: Mapping[str, Any], stream: str) -> list[MapRule]:
    """The rules for a stream, in the order of the SDK's maps for it.

    The first is the stream's own: the last entry that matches, if any. The others name it as `__source__`.
    (singer-sdk: `PluginMapper.register_raw_stream_schema`.) Raises MapFailed if a pattern after the entry
    with the stream's name also matches, so that this entry would have no effect.
    """
    rules = [MapRule(None, stream, {})]
    for name, entry in stream_maps.items():
        options = entry if isinstance(entry, dict) else {}
        source = options.get("__source__", name)
        if name == "__else__" or not is_named(stream, source):
            continue
        rule = MapRule(name, source, options)
        if "__source__" in options:
            rules.append(rule)
        elif rules[0].name == stream:
            raise MapFailed(
                f"the `stream_maps` entry of stream {quoted(stream)} has no effect, because the pattern"
                f" {quoted(name)} after it also matches.",
                "Put the pattern before it: the last entry that matches applies.",
            )
        else:
            rules[0] = rule
    return rules


def _free_names(expression: str) -> list[str]:
    names = [node for node in nodes_of(expression) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    # A lambda is not available; the mapper's error says so.
    bound.update(node.arg for node in nodes_of(expression) if isinstance(node, ast.arg))
    return [node.id for node in names if node.id not in bound]


def called_names(expression: str) -> set[str]:
    """The names that the expression calls as functions."""
    calls = [node.func for node in nodes_of(expression) if isinstance(node, ast.Call)]
    return {function.id for function in calls if isinstance(function, ast.Name)}


def names_in(expression: str) -> set[object]:
    """Everything in the expression's text that may be the name of a field that it reads."""
    nodes = nodes_of(expression)
    if not any(isinstance(node, ast.Name) for node in nodes):
        # A constant reads nothing, even if its text is a field's name.
        return set()
    return {getattr(node, part, None) for node in nodes for part in ("id", "attr", "value")}


def read_by(expressions: Mapping[str, str]) -> set[object]:
    """What these expressions, by target field, may read; `self` is the target field itself."""
    found = {target: names_in(expression) for target, expression in expressions.items()}
    return {target for target, names in found.items() if "self" in names}.union(*found.values())


def reading(field: str) -> str:
    """An expression that reads a field that every record has."""
    is_name = field.isidentifier() and not keyword.iskeyword(field) and field not in NOT_FIELDS
    return field if is_name else f"record[{field!r}]"


def unless_null(rule: str, expression: str, *, may_be_null: bool) -> str:
    """An expression that converts another one's value by the `rule`, and keeps null."""
    return f"{rule} if {expression} is not None else None" if may_be_null else rule


def parsed(expression: str) -> ast.expr | None:
    """The syntax tree; None unless it is one expression. Of several, the SDK's mapper uses the first."""
    try:
        statements = ast.parse(expression).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    match statements:
        case [ast.Expr(value)]:
            return value
    return None


def step_of(node: ast.AST | None) -> tuple[ast.expr, str] | None:
    """The base and the name in `x.name`, `x['name']` and `x.get('name')`; None for anything else."""
    match node:
        case ast.Subscript(base, ast.Constant(str(name))) | ast.Call(
            ast.Attribute(base, "get"), [ast.Constant(str(name)), *_], []
        ):
            return base, name
        # A method of a dict is not one of its fields.
        case ast.Attribute(base, name) if not hasattr(dict, name):
            return base, name
    return None


def nodes_of(expression: str) -> list[ast.AST]:
    """The nodes of the syntax tree; none if it is not an expression."""
    tree = parsed(expression)
    return list(ast.walk(tree)) if tree else []
