"""What `--config` names: files and environment variables, later ones over earlier ones; `.env` is below them.

`sprintoctl` takes from it only the settings that a command needs, so that no other one can be in its way.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from singer_sdk.plugin_base import JSONSchemaValidator

from target_sprinto.errors import SettingsError
from target_sprinto.push.client import SprintoClient
from target_sprinto.singer import config_files, environment, settings
from target_sprinto.singer.settings import SCHEMA, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OF_THE_CLIENT = ("api_key", "api_key_file", "integration_id", "region", "api_url")
"""The settings that it takes to reach Sprinto."""


def read(names: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by name; `known` is ``{setting: its JSON Schema}``. Raises SettingsError."""
    merged = environment.from_dotenv(known) if "ENV" in names else {}
    for number, name in enumerate(names, 1):
        if name == "ENV":
            merged |= environment.from_environment(known, os.environ)
        else:
            merged |= settings.read_config_file(name, number)
    return merged


def read_only(names: Sequence[str], needed: Sequence[str]) -> Settings:
    """The settings that are `needed`, and the defaults of all others. Raises SettingsError."""
    settings.require_log_level(os.environ)
    known = {name: SCHEMA["properties"][name] for name in needed}
    given = read(names, known)
    own = {name: given[name] for name in needed if given.get(name) is not None}
    problems = [
        f"`{name}` is not known: `{meant}` is probably meant"
        for name, meant in settings.misspelt(set(given) - set(SCHEMA["properties"]), known).items()
    ]
    if not {"api_key", "api_key_file"} & set(own):
        problems.append("`api_key` is missing")
    schema = {"type": "object", "properties": known, "required": ["integration_id"]}
    problems += settings.describe_schema_errors(JSONSchemaValidator(schema).iter_errors(own))
    if problems:
        raise SettingsError(problems)
    return Settings.from_config(own)


def client_of(own: Settings, names: Sequence[str]) -> SprintoClient:
    """A client; `names` are what `--config` was given. Raises SettingsProblem."""
    client = SprintoClient(api_key=own.api_key, integration_id=own.integration_id, api_url=own.base_url)
    client.config_files = config_files.lasting(tuple(names))
    return client
