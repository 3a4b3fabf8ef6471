"""Reads the JSON of settings strictly. Errors quote only keys: a value may be the API key. Pure."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import IO, Any

from target_sprinto.errors import SettingsError
from target_sprinto.push.text import quoted

_HINT = "Check it with `python -m json.tool`: JSON has no comments, and no comma before `}` or `]`."


def read(file: IO[bytes], what: str, limit: int = 5_000_000) -> str:
    """The whole text of a file. Raises SettingsError, which begins with `what`, or OSError."""
    content = file.read(limit + 1)
    if len(content) > limit:
        raise SettingsError(f"{what} has more than {limit:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(f"{what} is not UTF-8", hint="Save it as UTF-8.") from None


def decode(text: str, what: str, wanted: str = "JSON") -> Any:  # noqa: ANN401 - any JSON
    """Decode JSON. Raises SettingsError, which begins with `what`, if it is not `wanted` or repeats a key."""
    if not text.strip():
        raise SettingsError(f"{what} is empty")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in pairs:
            # The last one would win, and fields that the first one drops would be sent.
            if key in made:
                raise SettingsError(
                    f"{what} has {quoted(key)} twice in one object", hint="Remove one of the two."
                )
            made[key] = value
        return made

    try:
        return json.loads(
            text, parse_float=Decimal, parse_constant=_reject_constant, object_pairs_hook=unique
        )
    except json.JSONDecodeError as problem:
        place = f"line {problem.lineno}, column {problem.colno}"
        raise SettingsError(f"{what} is not {wanted} ({place})", hint=_HINT) from None
    except (ValueError, RecursionError, ArithmeticError):
        raise SettingsError(f"{what} is not {wanted}", hint=_HINT) from None


def exact(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """The value with each float as the Decimal that `decode` would return, for objects made in Python."""
    if isinstance(value, dict):
        return {name: exact(part) for name, part in value.items()}
    if isinstance(value, list):
        return list(map(exact, value))
    return Decimal(float.__repr__(value)) if isinstance(value, float) else value


def _reject_constant(name: str) -> None:
    raise ValueError(name)
