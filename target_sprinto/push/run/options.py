"""Checks of a Python program's arguments: one that is not understood is an error, never a default. Pure."""

from __future__ import annotations

import enum
import sys
from collections.abc import Mapping
from typing import TypeVar

from target_sprinto.push.errors import SettingsProblem

_E = TypeVar("_E", bound=enum.Enum)
_T = TypeVar("_T")

_WEEK = 7 * 24 * 3600
"""The longest timeout, in seconds."""


def choice(name: str, kind: type[_E], value: object) -> _E:
    """The member of an enum, also by its value. Raises SettingsProblem."""
    try:
        return kind(value)
    except ValueError:
        words = ", ".join(repr(member.value) for member in kind)
        raise SettingsProblem(f"`{name}` must be one of {words}.") from None


def whole_number(name: str, value: object, least: int, most: int) -> int:
    """An integer within bounds. Raises SettingsProblem."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise SettingsProblem(f"`{name}` must be an integer from {least} to {most}.")
    return value


def seconds(name: str, value: object, *, may_be_zero: bool = True) -> float:
    """A number of seconds, at most a week. Raises SettingsProblem."""
    # NaN is within no bounds.
    if isinstance(value, bool) or not isinstance(value, int | float):
        value = -1
    if 0 <= value <= _WEEK and (value or may_be_zero):
        return float(value)
    least = "from 0" if may_be_zero else "more than 0"
    raise SettingsProblem(f"`{name}` must be a number of seconds, {least} and at most {_WEEK}.")


def instance(name: str, kind: type[_T], value: object) -> _T:
    """An object of a class. Raises SettingsProblem."""
    if not isinstance(value, kind):
        raise SettingsProblem(f"`{name}` must be a {kind.__name__}.")
    return value


def minimums(name: str, value: object) -> dict[str, int]:
    """``{entity_type: int}``; None is none. Raises SettingsProblem."""
    found = {} if value is None else value
    if not isinstance(found, Mapping) or not all(isinstance(entity_type, str) for entity_type in found):
        raise SettingsProblem(f"`{name}` must map entity types to integers.")
    return {
        entity_type: whole_number(f"{name}[{entity_type!r}]", least, 0, sys.maxsize)
        for entity_type, least in found.items()
    }
