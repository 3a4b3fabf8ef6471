"""Checks that every message in tests is short: at most 300 characters for what happened and what to do.

The session's outcome, a command to type and the path of a file are not counted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from target_sprinto.push.errors import SprintoError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONGEST = 300
_COMMAND = re.compile(r"(sprintoctl|target-sprinto) [a-z].*")
_LONG_PATH = re.compile(r"'[^']*/[^']{60,}'")


def size(error: SprintoError) -> int:
    """The number of characters, without the session's outcome and a final command."""
    text = _COMMAND.sub("", f"{error.message} {error.hint}".strip())
    return len(_LONG_PATH.sub("'a path'", text))


def note_long_messages(report: Path) -> None:
    """From now on, write every shown message that is too long to this file."""
    shown: Callable[[SprintoError], str] = SprintoError.__str__

    def measured(error: SprintoError) -> str:
        text = shown(error)
        if size(error) > LONGEST:
            with report.open("a", encoding="utf-8") as file:
                file.write(f"{size(error)} {text}\n")
        return text

    SprintoError.__str__ = measured  # type: ignore[method-assign] # for tests
