"""Field paths as a schema names them, and problems found there. Pure.

A name under a schema's `properties` is the schema's own. Any other key of an object may be a value, such as
an email address in a map: it is shown as `*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from target_sprinto.push.text import quoted, shown

Schema = dict[str, Any]

_IN_PLACE = ("allOf", "anyOf", "oneOf", "if", "then", "else")
_ITEMS = ("items", "prefixItems", "additionalItems")
_MAX_NODES = 100
"""Maximum subschemas that apply at one place. Fields that only further ones define are not named."""

_STEP = re.compile(r"[^.\[\]/$#]+")


class FieldProblem(NamedTuple):
    """What is wrong with one field of a record, in our own words; None if unknown or not to be shown.

    `field` is its path, "" for the record itself.
    """

    field: str | None
    issue: str | None

    def __str__(self) -> str:
        field = f"field {quoted(self.field)}" if self.field else ""
        return " ".join(filter(None, (field, self.issue))) or "no field named"


def field_path(schema: object, path: Iterable[str | int]) -> str:
    """The path to a place in a record: ``a.b[2].*``, at most 100 characters."""
    nodes, steps = _expand([schema]), []
    for step in path:
        nodes, name = _step(nodes, step)
        steps.append(f"[{step}]" if isinstance(step, int) else f".{name or '*'}")
    return shown("".join(steps).lstrip("."))


class FieldPaths:
    """The fields of a run's entity types that the schemas of their mapped streams name."""

    def __init__(self) -> None:
        self._schemas: dict[str, dict[str, Schema]] = {}

    def add(self, entity_type: str, stream: str, schema: Schema) -> None:
        """Add the schema of one stream's mapped records, or replace an earlier one."""
        self._schemas.setdefault(entity_type, {})[stream] = schema

    def find(self, entity_type: str, spelt: str) -> str | None:
        """The field that a response refers to: ``a.b[].*``; None if its first name is not a known field."""
        nodes = _expand(self._schemas.get(entity_type, {}).values())
        found: list[str] = []
        is_one_name = any(_has_property(node, spelt) for node in nodes)
        for name in [spelt] if is_one_name else _STEP.findall(spelt):
            items, _ = _step(nodes, 0)
            if found and items and name.isdecimal():
                nodes, step = items, "[]"
            else:
                nodes, known = _step(nodes, name)
                step = f".{known or '*'}"
            found.append(step)
            if found[0] == ".*":
                return None
            if step == ".*":
                break
        return shown("".join(found).lstrip(".")) or None


def _step(nodes: list[Schema], step: str | int) -> tuple[list[Schema], str | None]:
    """The schemas one step down, and the step's name if they define it."""
    if isinstance(step, int):
        return _expand(node.get(keyword) for node in nodes for keyword in _ITEMS), None
    named = [node["properties"][step] for node in nodes if _has_property(node, step)]
    if named:
        return _expand(named), step
    others = [node.get("additionalProperties") for node in nodes]
    for node in nodes:
        if isinstance(patterns := node.get("patternProperties"), dict):
            others += patterns.values()
    return _expand(others), None


def _has_property(node: Schema, name: str) -> bool:
    properties = node.get("properties")
    return isinstance(properties, dict) and name in properties


def _expand(nodes: Iterable[object]) -> list[Schema]:
    """The schemas, including those in lists and those that apply at the same place."""
    waiting, found = list(nodes), list[Schema]()
    while waiting and len(found) < _MAX_NODES:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            found.append(node)
            waiting += [node.get(keyword) for keyword in _IN_PLACE]
    return found
