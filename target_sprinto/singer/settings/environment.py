"""Settings from the environment, and from `.env` in the working folder: only `TARGET_SPRINTO_*`.

The environment of the process does not change: a line of `.env` cannot set a proxy or certificates.
"""

from __future__ import annotations

import io
import logging
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream

from target_sprinto import strict_json
from target_sprinto.errors import SettingsError
from target_sprinto.singer.settings import settings_checks

PREFIX = "TARGET_SPRINTO_"

_MAX_BYTES = 1_000_000
_BOOLEANS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(
    ("false", "0", "no", "off"), False
)

log = logging.getLogger(__name__)


def from_environment(known: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings that variables name; `known` is ``{setting: its JSON Schema}``. Raises SettingsError."""
    unsupported = {name: {"type": ["string"]} for name in settings_checks.NOT_FOR_SPRINTO}
    variables = {f"{PREFIX}{name.upper()}" for name in (*known, *unsupported)}
    given = {name[len(PREFIX) :]: name for name in environ.keys() - variables if _is_own(name)}
    if near := settings_checks.misspelt(given, known):
        raise SettingsError(
            *(
                f"unknown environment variable {given[name]} (did you mean {PREFIX}{meant.upper()}?)"
                for name, meant in near.items()
            )
        )
    found: dict[str, Any] = {}
    for name, schema in {**unsupported, **known}.items():
        variable = f"{PREFIX}{name.upper()}"
        what = f"the environment variable {variable}"
        if variable in environ:
            try:
                found[name] = _value(environ[variable], schema["type"], what)
            except (ValueError, KeyError):
                wanted = " or ".join(kind for kind in schema["type"] if kind != "null")
                raise SettingsError(f"{what} is not a valid {wanted}") from None
    return {name: value for name, value in found.items() if value is not None}


def unread(
    settings: Mapping[str, Any], known: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[str]:
    """The variables that would change these settings if they were read."""
    for name, schema in known.items():
        variable = f"{PREFIX}{name.upper()}"
        if text := environ.get(variable):
            try:
                value = _value(text, schema["type"], variable)
            except (ValueError, KeyError, SettingsError):
                value = ...
            if value != settings.get(name, schema.get("default")):
                yield variable


def from_dotenv(known: Mapping[str, Any], decided: Iterable[str]) -> dict[str, Any]:
    """The settings of `.env` in the working folder, if there is one, but for those that are `decided`.

    Raises SettingsError. No other user may have write access to it, which decides where the records go.
    """
    path = Path.cwd() / ".env"
    ignored = {f"{PREFIX}{name.upper()}" for name in decided}
    own: dict[str, str] = {}
    # Values are taken literally: references to other variables are not expanded.
    for name, value, (text, line), invalid in parse_stream(io.StringIO(_read(path))):
        if not (_is_own(name) if name else invalid and PREFIX in text.upper()):
            continue
        if not name or value is None:
            number = line + text[: -len(text.lstrip())].count("\n")
            raise SettingsError(f"{path}, line {number} is not NAME=value, or its quote is not closed")
        if name not in ignored:
            own[name] = value
    if read := own.keys() & {f"{PREFIX}{name.upper()}" for name in known}:
        log.info("Settings are read from %s: %s.", path, ", ".join(sorted(read)))
    return from_environment(known, own)


def _is_own(name: str) -> bool:
    return name.upper().startswith(PREFIX)


def _read(path: Path) -> str:
    try:
        # Does not wait for a named pipe.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            # Checked on the open file, so that it is the file that is read.
            if distrust := _distrusted(os.fstat(file.fileno())):
                raise SettingsError(f"{path} {distrust}")
            return strict_json.read(file, str(path), _MAX_BYTES)
    except (FileNotFoundError, IsADirectoryError):
        # A folder of this name is often a virtual environment.
        return ""
    except OSError as problem:
        raise SettingsError(f"{path} cannot be read ({problem.strerror})") from None


def _distrusted(status: os.stat_result) -> str:
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_uid != os.geteuid():
        return "belongs to another user: it is not used; remove it or change its owner"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "is writable by others: it is not used; run `chmod go-w .env`"
    return ""


def _value(text: str, kinds: list[str], what: str) -> object:
    if "integer" in kinds:
        return int(text)
    if "number" in kinds:
        if not math.isfinite(number := float(text)):
            raise ValueError(text)
        return number
    if "boolean" in kinds:
        return _BOOLEANS[text.strip().lower()]
    if "object" in kinds and ("string" not in kinds or text.lstrip().startswith("{")):
        value = strict_json.decode(text, what, "a valid object")
        if value is not None and not isinstance(value, dict):
            raise ValueError(text)
        return value
    return text
