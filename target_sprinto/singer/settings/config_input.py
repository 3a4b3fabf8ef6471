"""Reads the settings that `--config` names: config files, variables `TARGET_SPRINTO_*`, and those in `.env`.

Later ones win; `.env`, which is read from the working folder only, has the lowest priority. The environment
of the process does not change: a line of `.env` cannot set a proxy or certificates. `sprintoctl` reads only
the settings that a command needs, so that an invalid other one cannot stop it.
"""

from __future__ import annotations

import io
import logging
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from dotenv.parser import parse_stream
from singer_sdk.plugin_base import JSONSchemaValidator

from target_sprinto import strict_json
from target_sprinto.errors import SettingsError
from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.text import listed
from target_sprinto.singer.settings import settings_checks
from target_sprinto.singer.settings.settings import SCHEMA, Settings

OF_THE_CLIENT = ("api_key", "api_key_file", "integration_id", "region", "api_url")
"""The settings that are needed to reach Sprinto."""

PREFIX = "TARGET_SPRINTO_"

_INSTEAD_OF = {"api_key": "api_key_file", "api_key_file": "api_key", "region": "api_url", "api_url": "region"}
"""Settings of which one is set instead of the other."""

_MAX_DOTENV_BYTES = 1_000_000
_BOOLEANS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(
    ("false", "0", "no", "off"), False
)
_ROOM = 200
"""Characters of a warning that list variables."""

log = logging.getLogger(__name__)


def read(names: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by name; `known` is ``{setting: its JSON Schema}``. Raises SettingsError."""
    settings_checks.require_log_level()
    merged: dict[str, Any] = {}
    for number, name in enumerate(names, 1):
        if name == "ENV":
            merged |= from_environment(known)
        else:
            merged |= read_config_file(name, number)
    if "ENV" in names:
        return with_dotenv(merged, known)
    # Not under Meltano, which sets variables as well as a file.
    if (not names or lasting(names)) and (unread := list(_unread(merged, known))):
        log.warning(
            "These environment variables are set but not read: %s. Add `--config ENV` to read them.",
            listed(unread, _ROOM),
        )
    return merged


def _unread(settings: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    """The variables that would change these settings if they were read."""
    for name, schema in known.items():
        variable = _variable(name)
        if text := os.environ.get(variable):
            try:
                value = _value(text, schema["type"], variable)
            except (ValueError, KeyError, SettingsError):
                value = ...
            if value != settings.get(name, schema.get("default")):
                yield variable


def with_dotenv(given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are `given`, and those of `.env` that they leave open. Raises SettingsError."""
    decided = [other for name, other in _INSTEAD_OF.items() if given.get(name) is not None]
    return {**_from_dotenv(known, decided), **given}


def read_needed(names: Sequence[str], needed: Sequence[str]) -> Settings:
    """The settings that are `needed`, and the defaults of the others. Raises SettingsError."""
    known = {name: SCHEMA["properties"][name] for name in needed}
    given = read(names, known)
    own = {name: given[name] for name in needed if given.get(name) is not None}
    problems = settings_checks.misspelt_settings(set(given) - set(SCHEMA["properties"]), known)
    schema = {"type": "object", "properties": known, "required": ["integration_id"]}
    problems += settings_checks.schema_problems(own, JSONSchemaValidator(schema))
    if problems:
        raise SettingsError(*problems)
    return Settings.from_config(own)


def client_of(own: Settings) -> ApiClient:
    """A client. Raises ConfigError."""
    return ApiClient(api_key=own.api_key, integration_id=own.integration_id, api_url=own.base_url)


def lasting(names: Sequence[str]) -> tuple[str, ...]:
    """The names as a later command can use them; none if Meltano removes a file after the run.

    A pipe such as `<(…)` is gone by then, and becomes FILE.
    """
    if any(".meltano" in PurePath(name).parts for name in names):
        return ()
    return tuple("FILE" if name.startswith(("/dev/fd/", "/dev/stdin", "/proc/")) else name for name in names)


def read_config_file(path: str, number: int) -> dict[str, Any]:
    """One config file's settings. Raises SettingsError; `number` is its place in the command, from 1.

    Text that is not a path (inline settings, for example) is not quoted: it may hold the API key.
    """
    shown = f"no. {number}" if set(path) & set('{}":\n') else repr(path)
    what = f"config file {shown}"
    try:
        with Path(path).open("rb") as file:
            text, mode = strict_json.read(file, what), os.fstat(file.fileno()).st_mode
    except OSError as problem:
        raise SettingsError(
            f"{what} cannot be read ({problem.strerror})", hint="Check what --config names."
        ) from None
    content = strict_json.decode(text, what)
    if not isinstance(content, dict):
        raise SettingsError(f"{what} does not hold a JSON object")
    if content.get("api_key") and stat.S_ISREG(mode) and mode & stat.S_IROTH:
        # Meltano writes a new file for each run.
        advice = "set `umask 077`" if "/.meltano/" in str(Path(path).absolute()) else "run `chmod o-r` on it"
        log.warning("Config file %r holds the API key, and every user can read it: %s.", path, advice)
    return content


def from_environment(known: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The settings that variables name; `known` is ``{setting: its JSON Schema}``. Raises SettingsError."""
    unsupported = {name: {"type": ["string"]} for name in settings_checks.NOT_FOR_SPRINTO}
    variables = {_variable(name) for name in (*known, *unsupported)}
    given = {name[len(PREFIX) :]: name for name in environ.keys() - variables if _is_own(name)}
    if near := settings_checks.misspelt(given, known):
        raise SettingsError(
            *(
                f"unknown environment variable {given[name]} (did you mean {_variable(meant)}?)"
                for name, meant in near.items()
            )
        )
    found: dict[str, Any] = {}
    for name, schema in {**unsupported, **known}.items():
        variable = _variable(name)
        what = f"the environment variable {variable}"
        if variable in environ:
            try:
                found[name] = _value(environ[variable], schema["type"], what)
            except (ValueError, KeyError):
                wanted = " or ".join(kind for kind in schema["type"] if kind != "null")
                raise SettingsError(f"{what} is not a valid {wanted}") from None
    return {name: value for name, value in found.items() if value is not None}


def _from_dotenv(known: Mapping[str, Any], decided: Iterable[str]) -> dict[str, Any]:
    """The settings of `.env` in the working folder, if there is one, except those that are `decided`.

    Raises SettingsError. No other user may have write access to it: it decides where the records go.
    """
    path = Path.cwd() / ".env"
    ignored = {_variable(name) for name in decided}
    own: dict[str, str] = {}
    # Values are taken literally: references to other variables are not expanded.
    for name, value, (text, line), invalid in parse_stream(io.StringIO(_read_dotenv(path))):
        if not (_is_own(name) if name else invalid and PREFIX in text.upper()):
            continue
        if not name or value is None:
            number = line + text[: -len(text.lstrip())].count("\n")
            raise SettingsError(f"{path}, line {number} is not NAME=value, or its quote is not closed")
        if name not in ignored:
            own[name] = value
    if used := own.keys() & {_variable(name) for name in known}:
        log.info("Settings are read from %s: %s.", path, ", ".join(sorted(used)))
    return from_environment(known, own)


def _variable(setting: str) -> str:
    return f"{PREFIX}{setting.upper()}"


def _is_own(name: str) -> bool:
    return name.upper().startswith(PREFIX)


def _read_dotenv(path: Path) -> str:
    try:
        # Does not wait for a named pipe.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            # Checked on the open file, so that it is the file that is read.
            if distrust := _distrusted(os.fstat(file.fileno())):
                raise SettingsError(f"{path} {distrust}")
            return strict_json.read(file, str(path), _MAX_DOTENV_BYTES)
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
