"""Reads the files and variables that `--config` names. Later ones win; `.env` has the lowest priority.

`sprintoctl` reads only the settings that a command needs, so that an invalid other one cannot stop it.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from singer_sdk.plugin_base import JSONSchemaValidator

from target_sprinto import strict_json
from target_sprinto.errors import SettingsError
from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.text import listed
from target_sprinto.singer.settings import environment, settings_checks
from target_sprinto.singer.settings.settings import SCHEMA, Settings

OF_THE_CLIENT = ("api_key", "api_key_file", "integration_id", "region", "api_url")
"""The settings that are needed to reach Sprinto."""

_INSTEAD_OF = {"api_key": "api_key_file", "api_key_file": "api_key", "region": "api_url", "api_url": "region"}
"""Settings of which one is set instead of the other."""

_ROOM = 200
"""Characters of a warning that list variables."""

log = logging.getLogger(__name__)


def read(names: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by name; `known` is ``{setting: its JSON Schema}``. Raises SettingsError."""
    settings_checks.require_log_level()
    merged: dict[str, Any] = {}
    for number, name in enumerate(names, 1):
        if name == "ENV":
            merged |= environment.from_environment(known, os.environ)
        else:
            merged |= read_config_file(name, number)
    if "ENV" in names:
        return with_dotenv(merged, known)
    # Not under Meltano, which sets variables as well as a file.
    if not names or lasting(names):
        unread = list(environment.unread(merged, known, os.environ))
        if unread:
            log.warning(
                "These environment variables are set but not read: %s. Add `--config ENV` to read them.",
                listed(unread, _ROOM),
            )
    return merged


def with_dotenv(given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are `given`, and those of `.env` that they leave open. Raises SettingsError."""
    decided = [other for name, other in _INSTEAD_OF.items() if given.get(name) is not None]
    return {**environment.from_dotenv(known, decided), **given}


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
