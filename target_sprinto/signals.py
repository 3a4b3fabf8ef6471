"""The first SIGINT, SIGTERM or SIGHUP of the process. Imports little: it is set up before the rest."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

from target_sprinto.push.errors import Interrupted

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from typing_extensions import Self


class Signals:
    """Notes the first SIGINT, SIGTERM or SIGHUP; `check` raises it wherever a run can be ended.

    Entered in the entry point, and once more by the command that it runs: the outer one puts back what was.
    A handler that raised by itself could do so anywhere, also between an answer and its being noted.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self._before: dict[int, Any] = {}
        self._depth = 0

    def check(self) -> None:
        """Raise Interrupted once a signal has come."""
        if self.first is not None:
            raise Interrupted(self.first)

    def install(self) -> None:
        """Note signals until the process ends."""
        self.__enter__()

    def __enter__(self) -> Self:
        # Entered again, it is in place already.
        if threading.current_thread() is threading.main_thread() and not self._before:
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)
                if number is None:
                    continue
                # Under nohup, or in a shell's background job, what the parent ignores is meant to be ignored.
                if name == "SIGTERM" or signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        self._depth += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            self._before.clear()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.first is None:
            self.first = number


process_signals = Signals()
"""Those of this process: what the command lines look at."""
