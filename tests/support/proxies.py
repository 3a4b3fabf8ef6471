"""This machine's proxies. Tests set their own; only uv needs these.

They stay in the environment under other names, because xdist's workers inherit it.
"""

from __future__ import annotations

import os

NAMES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
ASIDE = "SET_ASIDE_"


def set_aside() -> None:
    """Hide them from the tests and from every process that tests start."""
    for name in [*os.environ]:
        if name.lower() in NAMES:
            os.environ[ASIDE + name] = os.environ.pop(name)


def of_this_machine() -> dict[str, str]:
    """The hidden variables, with their original names."""
    return {name.removeprefix(ASIDE): value for name, value in os.environ.items() if name.startswith(ASIDE)}
