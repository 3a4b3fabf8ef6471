"""Pages in flight: bounded, in order, with backpressure to whoever makes them.

The reading thread hands pages in and goes on reading; a lane of its own sends them. A run that has ended
abandons what is in flight: a page that arrives late meets a closed session.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TYPE_CHECKING

from target_sprinto.push.waiting import TICK_SECONDS, Check

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_sprinto.push.pages import Page


class Lane:
    """Sends pages one after another on its own thread: at most one in flight and one waiting.

    `send` is called with each page, in order. After its first failure nothing more is sent.
    """

    def __init__(self, send: Callable[[Page], None]) -> None:
        self._send = send
        self._pages: queue.Queue[Page | None] = queue.Queue(maxsize=1)
        self._unsettled = 0
        self._settled = threading.Event()
        self._settled.set()
        self._lock = threading.Lock()
        self._closed = False
        self._failure: BaseException | None = None
        threading.Thread(target=self._work, name="sprinto-lane", daemon=True).start()

    def put(self, page: Page, check: Check) -> None:
        """Hand a page over, waiting while the lane is full. Raises what a page failed with, or `check`."""
        with self._lock:
            self._unsettled += 1
            self._settled.clear()
        while True:
            self.raise_failure()
            check()
            try:
                return self._pages.put(page, timeout=TICK_SECONDS)
            except queue.Full:
                continue

    def drain(self, check: Check) -> None:
        """Wait until every page was accepted. Raises as `put` does."""
        while not self._settled.wait(TICK_SECONDS):
            check()
        self.raise_failure()

    def close(self) -> None:
        """Let the thread go, after `drain` or to abandon what is in flight. May be called twice."""
        self._closed = True
        with contextlib.suppress(queue.Full):
            self._pages.put_nowait(None)

    def raise_failure(self) -> None:
        """Raise what a page failed with, if one did."""
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while (page := self._pages.get()) is not None and not self._closed:
            try:
                self._send(page)
            except BaseException as failure:  # noqa: BLE001 - raised again on the reading thread
                self._failure = failure
                self._settled.set()
                return
            with self._lock:
                self._unsettled -= 1
                if not self._unsettled:
                    self._settled.set()
