"""The first SIGINT, SIGTERM or SIGHUP of the process. Imports little, because it is set up first.

Python runs signal handlers on the main thread, between bytecode instructions: never while that thread waits
for a pipe to be opened, and without effect while it computes. A second thread reads each signal from a pipe,
to which it is written at once, and ends the run if the main thread does not respond within a second.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from target_sprinto.push.errors import Interrupted
from target_sprinto.push.transport.background import ResourcesExhausted, start_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from typing_extensions import Self


_RESPONSE_SECONDS = 1.0
"""How long the main thread may take to notice a signal: it checks ten times a second."""

_EXIT_SECONDS = 9.7
"""Time to exit after a signal, whatever is still running or still to be written to stderr."""


class Signals:
    """Notes the first SIGINT, SIGTERM or SIGHUP; `check` raises it wherever a run can be ended.

    `exit_by` is when the process must have exited, on the monotonic clock; infinite unless a run is ending.

    Entered by the entry point, and again by the command that it runs; the outer exit restores the handlers.
    A handler that raised could do so anywhere, even between receiving a response and noting it.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self.first_at = 0.0
        self.exit_by = math.inf
        self.before_exit: Callable[[], object] = lambda: None
        self._noticed = False
        self._end: Callable[[Interrupted], None] | None = None
        self._ending = threading.Lock()
        self._pipe: int | None = None
        self._before: dict[int, Any] = {}
        self._depth = 0

    def check(self) -> None:
        """Raise Interrupted if a signal has arrived."""
        if self.first is not None:
            if threading.current_thread() is threading.main_thread():
                self._noticed = True
            raise Interrupted(self.first)

    def must_exit_in(self, seconds: float) -> None:
        """Note that the process must exit within `seconds`; an earlier limit is kept."""
        self.exit_by = min(self.exit_by, time.monotonic() + seconds)

    def seconds_since_first(self) -> float:
        """How long ago the first signal arrived; 0 without one."""
        return time.monotonic() - self.first_at if self.first is not None else 0.0

    @contextlib.contextmanager
    def ended_by(self, end: Callable[[Interrupted], None]) -> Iterator[None]:
        """Let `end` handle a signal that the block does not notice, on another thread; then exit.

        `end` is called at most once. Once it has begun, the block cannot be left.
        """
        with self._ending:
            before, self._end = self._end, end
        try:
            yield
        finally:
            with self._ending:
                self._end = before

    def install(self) -> None:
        """Note signals until the process ends, including those that were blocked when it began."""
        self.__enter__()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))

    def __enter__(self) -> Self:
        # If entered again, the handlers are already in place.
        if threading.current_thread() is threading.main_thread() and not self._before:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                # A signal that the parent ignores (nohup, a shell's background job) is meant to stay ignored.
                if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
            self._watch()
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            self._before.clear()
            self._stop_watching()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.first is None:
            self.first_at = time.monotonic()
            self.must_exit_in(_EXIT_SECONDS)
            self.first = number

    def _watch(self) -> None:
        reading, self._pipe = os.pipe()
        try:
            start_thread(partial(self._listen, reading), "sprinto-signals")
        except ResourcesExhausted:
            # Without the thread, the main thread still notices what it can.
            os.close(reading)
            self._stop_watching()
        else:
            os.set_blocking(self._pipe, False)
            signal.set_wakeup_fd(self._pipe, warn_on_full_buffer=False)

    def _stop_watching(self) -> None:
        if self._pipe is not None:
            signal.set_wakeup_fd(-1)
            # The thread reads end-of-file, and closes its own end.
            os.close(self._pipe)
            self._pipe = None

    def _listen(self, descriptor: int) -> None:
        while numbers := os.read(descriptor, 16):
            for number in numbers:
                if number in self._before:
                    self._note(number, None)
            if self.first is not None and not self._noticed:
                time.sleep(_RESPONSE_SECONDS)
                self._take_over(self.first)
        os.close(descriptor)

    def _take_over(self, first: int) -> None:
        with self._ending:
            if self._noticed or self._end is None:
                return
            end = partial(self._end, Interrupted(first))
            try:
                # On its own thread, because it may block, for example on a full stderr.
                start_thread(end, "sprinto-end").join(_EXIT_SECONDS - self.seconds_since_first())
            except ResourcesExhausted:
                end()
            self.before_exit()
            os._exit(128 + first)


process_signals = Signals()
"""The signals of this process, which the commands check."""
