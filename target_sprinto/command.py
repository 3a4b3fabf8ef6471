"""The command line's part of a run: signals, exit codes, and one line for each failure."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from target_sprinto.errors import InternalError, StateNotWritten
from target_sprinto.push.errors import Interrupted, SprintoError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from typing_extensions import Self


class Signals:
    """Notes the first SIGINT, SIGTERM or SIGHUP; `check` raises it wherever a run can be ended.

    A handler that raised by itself could do so anywhere, also between an answer and its being noted.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self._before: dict[int, Any] = {}

    def check(self) -> None:
        """Raise Interrupted once a signal has come."""
        if self.first is not None:
            raise Interrupted(self.first)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)
                # Under nohup a hang-up is meant to be ignored.
                if number is not None and (name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.first is None:
            self.first = number


def told_in_one_line(run: Callable[[], Any], say: Callable[[str], None], signals: Signals) -> Any:  # noqa: ANN401 - what `run` returns
    """Call `run`; an error becomes one line, given to `say`, and the exit code of the contract."""
    with signals:
        try:
            return run()
        except SprintoError as failure:
            error = failure
        except Exception as bug:  # noqa: BLE001 - told as a bug, without its text
            error = InternalError(bug)
        say(" ".join(str(error).split()))
        if isinstance(error, StateNotWritten):
            _give_up_stdout()
        sys.exit(error.exit_code if signals.first is None else 128 + signals.first)


class SprintoCommand(click.Command):
    """The target's command: failures are logged as one line, never a traceback."""

    def __init__(self, *args: Any, logger: logging.Logger, signals: Signals, **kwargs: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*args, **kwargs)
        self._logger = logger
        self._signals = signals

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click's own
        """Run, and leave with the exit code of the contract."""
        logging.captureWarnings(capture=True)
        warnings.filterwarnings("once", category=DeprecationWarning)
        run = partial(super().main, *args, **kwargs)
        return told_in_one_line(run, lambda line: self._logger.error("%s", line), self._signals)


def _give_up_stdout() -> None:
    """Keep the interpreter from writing to a broken stdout once more while it ends."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
