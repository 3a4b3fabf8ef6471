"""The loader's own config files: who else may read them, and that no tap has them read as records."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path, PurePath

log = logging.getLogger(__name__)


def identity(status: os.stat_result) -> tuple[int, int]:
    """What a file has in common with all its names, links among them."""
    return status.st_dev, status.st_ino


def identities(names: tuple[str, ...]) -> frozenset[tuple[int, int]]:
    """Those of the files that are there."""
    return frozenset(identity(os.stat(name)) for name in names if os.path.exists(name))  # noqa: PTH110, PTH116 - a name may be any text


def lasting(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names as a later command can be given them; none where Meltano removes a file after the run."""
    return () if any(".meltano" in PurePath(name).parts for name in names) else names


def warn_if_exposed(name: str) -> None:
    """Warn of a config file with a key that every user of this machine can read."""
    mode = Path(name).stat().st_mode
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        log.warning(
            "Config file %r holds the API key, and every user can read it: run `chmod o-r` on it.", name
        )
