"""Checks of the Python API's arguments: an invalid one is an error, never replaced by a default. Pure."""

from __future__ import annotations

import enum
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from target_sprinto.push.errors import ConfigError
from target_sprinto.push.text import LONGEST_NAME, short

RUN_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
"""A run's random UUID, as in its session's reference."""

_E = TypeVar("_E", bound=enum.Enum)
_T = TypeVar("_T")

_WEEK = 7 * 24 * 3600
"""The longest timeout, in seconds."""


def choice(name: str, kind: type[_E], value: object) -> _E:
    """A member of an enum, given as such or by its value. Raises ConfigError."""
    try:
        return kind(value)
    except ValueError:
        words = ", ".join(repr(member.value) for member in kind)
        raise ConfigError(f"`{name}` must be one of {words}.") from None


def whole_number(name: str, value: object, minimum: int, maximum: int) -> int:
    """An integer within bounds. Raises ConfigError."""
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
        raise ConfigError(f"`{name}` must be an integer from {minimum} to {maximum}.")
    return value


def seconds(name: str, value: object, *, may_be_zero: bool = True) -> float:
    """A number of seconds, at most a week. Raises ConfigError."""
    # NaN fails every comparison.
    if isinstance(value, bool) or not isinstance(value, int | float):
        value = -1
    if 0 <= value <= _WEEK and (value or may_be_zero):
        return float(value)
    minimum = "at least 0" if may_be_zero else "more than 0"
    raise ConfigError(f"`{name}` must be a number of seconds, {minimum} and at most {_WEEK}.")


def limit(name: str, value: object) -> float:
    """A number of seconds, or infinity. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        value = -1
    # NaN fails every comparison, and a larger integer does not fit into a float.
    if 0 <= value <= sys.float_info.max or value == math.inf:
        return float(value)
    raise ConfigError(f"`{name}` must be a number of seconds, at least 0.")


def run_uuid(name: str, value: object) -> str:
    """A run's random UUID. Raises ConfigError."""
    if not isinstance(value, str) or not re.fullmatch(RUN_UUID, value):
        raise ConfigError(f"`{name}` must be a random UUID in lower case: str(uuid.uuid4()).")
    return str.__str__(value)


def instance(name: str, kind: type[_T], value: object) -> _T:
    """An object of a class. Raises ConfigError."""
    if not isinstance(value, kind):
        raise ConfigError(f"`{name}` must be an instance of {kind.__name__}.")
    return value


def methods(name: str, protocol: object, value: _T) -> _T:
    """An object that has the public methods of a protocol. Raises ConfigError."""
    wanted = [method for method in vars(protocol) if not method.startswith("_")]
    if isinstance(value, type) or not all(callable(getattr(value, method, None)) for method in wanted):
        raise ConfigError(f"`{name}` must have a method {' and '.join(wanted)}.")
    return value


def check(name: str, value: Callable[[], object]) -> Callable[[], None]:
    """A function that is called often, and has an effect only by raising. Raises ConfigError."""
    checked = function(name, value)

    def call() -> None:
        if checked() is not None:
            raise ConfigError(
                f"`{name}` returned a value, which has no effect.",
                "To end the run, raise an exception in it.",
            )

    return call


def function(name: str, value: _T) -> _T:
    """A callable. Raises ConfigError."""
    if not callable(value):
        raise ConfigError(f"`{name}` must be a function.")
    return value


def entity_type(name: str, value: object) -> str:
    """The name of an entity type. Raises ConfigError."""
    if (
        not isinstance(value, str)
        or not value.strip()
        or len(value) > LONGEST_NAME
        # An unpaired surrogate.
        or value.encode(errors="ignore").decode() != value
    ):
        raise ConfigError(f"`{name}` must be text of 1 to {LONGEST_NAME} characters.")
    # Not a subclass, which may format itself differently: `class Kind(str, Enum)`.
    return str.__str__(value)


def key_fields(value: object) -> tuple[str, ...]:
    """The fields of `key`: one name, or several in order. Raises ConfigError."""
    fields = (value,) if isinstance(value, str) else value
    if not isinstance(fields, Sequence) or not all(isinstance(field, str) and field for field in fields):
        raise ConfigError("`key` must be the name of a field, or a sequence of names.")
    return tuple(fields)


def records(value: Iterable[_T]) -> Iterable[_T]:
    """Several records, not one. Raises ConfigError."""
    if not isinstance(value, Iterable) or isinstance(value, Mapping | str | bytes | bytearray):
        raise ConfigError("`records` must be an iterable of mappings: a list, a generator, …")
    return value


def json_object(body: object) -> None:
    """Bytes that look like one JSON object; they are not decoded. Raises ConfigError."""
    if not isinstance(body, bytes) or body[:1] != b"{" or body[-1:] != b"}":
        raise ConfigError("`body` must be the bytes of one JSON object, without surrounding whitespace.")


def entity_key(key: object) -> None:
    """A value that can be compared with other keys. Raises ConfigError."""
    try:
        hash(key)
    except TypeError:
        raise ConfigError("`key` must be hashable: text, a number, a tuple of such values, …") from None


def minimums(name: str, value: object) -> dict[str, int]:
    """``{entity_type: int}``; None means no minimums. Raises ConfigError."""
    found = {} if value is None else value
    if not isinstance(found, Mapping):
        raise ConfigError(f"`{name}` must map entity types to integers.")
    return {
        entity_type(f"{name}: an entity type", kind): whole_number(
            f"{name}[{short(str(kind))!r}]", minimum, 0, sys.maxsize
        )
        for kind, minimum in found.items()
    }
