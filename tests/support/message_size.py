"""Every message that a test makes is short: what happened and what to do, in 300 characters at most.

What became of the session, a command to type and the path of a file come on top.
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
    """In characters, without the session's outcome and a command at the end."""
    text = _COMMAND.sub("", f"{error.message} {error.hint}".strip())
    return len(_LONG_PATH.sub("'a path'", text))


def note_long_messages(report: Path) -> None:
    """From here on, a message that is too long is written to this file wherever it is shown."""
    shown: Callable[[SprintoError], str] = SprintoError.__str__

    def measured(error: SprintoError) -> str:
        text = shown(error)
        if size(error) > LONGEST:
            with report.open("a", encoding="utf-8") as file:
                file.write(f"{size(error)} {text}\n")
        return text

    SprintoError.__str__ = measured  # type: ignore[method-assign] # for tests
