"""The API key from a file: Docker and Kubernetes secrets, systemd credentials, a Vault agent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from target_sprinto import private_files
from target_sprinto.errors import SettingsError
from target_sprinto.push import endpoint

log = logging.getLogger(__name__)


def with_api_key(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the key from `api_key_file`, without a newline at its end.

    Raises SettingsError if the file holds no key, or if `api_key` is set as well.
    """
    given = dict(config)
    path = given.pop("api_key_file", None)
    if path is None:
        return given
    if given.get("api_key") is not None:
        raise SettingsError("`api_key` and `api_key_file` cannot be combined: set one of them")
    try:
        content, is_private = private_files.read_secret(Path(path))
        key = content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as problem:
        raise SettingsError(f"`api_key_file` cannot be read ({private_files.reason(problem)})") from None
    except ValueError:
        raise SettingsError("`api_key_file` does not hold a key") from None
    if problems := list(endpoint.text_problems("api_key_file", key)):
        raise SettingsError(*problems)
    if not is_private:
        log.warning("`api_key_file` can be read by every user of this machine: chmod 600 %s", path)
    return {**given, "api_key": key}
