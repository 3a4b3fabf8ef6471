"""What both command lines share: exit codes, one line for each failure, examples in the help, colours."""

from __future__ import annotations

import errno
import logging
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from target_sprinto.errors import OutputNotWritten, StateNotWritten, explained
from target_sprinto.push.errors import ConfigError, Interrupted, SprintoError
from target_sprinto.push.run.result import RunOutcome, RunResult
from target_sprinto.push.text import printable, shown
from target_sprinto.signals import process_signals

_WRITING_FAILED = frozenset({errno.ENOSPC, errno.EPIPE, errno.EFBIG, errno.EDQUOT, errno.EIO})
"""Here these can only be about stdout: all other output has its own errors."""


def examples(*lines: str) -> str:
    """The end of a command's `--help`: sample command lines."""
    # click does not wrap a paragraph that begins with a backspace on a line of its own.
    return "\n".join(["\b", "Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)])


def colours() -> bool | None:
    """Whether click uses colours: False, or None if the terminal decides (see https://no-color.org)."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def exit_with_one_line(run: Callable[[], Any], report: Callable[[SprintoError], None]) -> Any:  # noqa: ANN401 - what `run` returns
    """Call `run`. Pass an error to `report`, which writes one line, and exit with the documented code."""
    with process_signals as signals:
        try:
            _require_start()
            return run()
        except OSError as problem:
            error = OutputNotWritten(problem) if problem.errno in _WRITING_FAILED else explained(problem)
        except Exception as bug:  # noqa: BLE001 - reported as a bug, without its text
            error = explained(bug)
        report(error)
        if isinstance(error, StateNotWritten | OutputNotWritten) and sys.stdout is not None:
            # The interpreter would write to the broken stdout again as it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(error.exit_code if signals.first is None else 128 + signals.first)


def interrupted_early(interrupted: Interrupted) -> Interrupted:
    """Add to the error of an early signal that no session was opened."""
    interrupted.session_outcome = "No session was opened."
    return interrupted


def _require_start() -> None:
    """Raise if nothing can start: a signal arrived during the imports, or the folder is gone."""
    if process_signals.first is not None:
        raise interrupted_early(Interrupted(process_signals.first))
    try:
        Path.cwd()
    except OSError:
        raise ConfigError(
            "The working folder no longer exists.", "Start the command in a folder that exists."
        ) from None


class _PrintableRecord(logging.LogRecord):
    """Keeps a name in a log line, such as a stream's, from forging another line or controlling a terminal."""

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - logging's own
        # The SDK names a logger after each stream.
        super().__init__(shown(name), *args, **kwargs)

    def getMessage(self) -> str:  # noqa: N802 - logging's own name
        return printable(super().getMessage())


class SprintoCommand(click.Command):
    """The target's command: failures are logged as one line, never a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click's own
        """Run, and exit with the documented code."""
        logging.setLogRecordFactory(_PrintableRecord)
        logging.captureWarnings(capture=True)
        warnings.filterwarnings("once", category=DeprecationWarning)
        run = partial(super().main, *args, **kwargs)
        return exit_with_one_line(run, partial(log_failure, logging.getLogger(self.name)))


def log_failure(logger: logging.Logger, error: SprintoError) -> None:
    """Log the one line of a run that failed."""
    if not logger.isEnabledFor(logging.ERROR):
        # At CRITICAL, a STATE that could not be written would be lost.
        logger.setLevel(logging.ERROR)
    logger.error("%s", error, extra=log_fields(error.result, error))


def log_fields(result: RunResult | None, error: SprintoError | None = None) -> dict[str, Any]:
    """The contents of the last line of a run, as fields for a structured log."""
    return {
        "code": error.code if error else None,
        "outcome": (result.outcome if result else RunOutcome.NOTHING_SENT).value,
        "session_id": shown(result.session_id) if result and result.session_id else None,
        "records": {shown(name): count for name, count in result.records.items()} if result else {},
        "pages": result.pages if result else 0,
    }
