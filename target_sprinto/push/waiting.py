"""Waits that can be cut short.

A call goes out on a thread of its own, and whoever waits for it looks up on every tick: `check` is called
then, and ends the wait by raising.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_any
from typing import TypeVar

from target_sprinto.push import pace
from target_sprinto.push.errors import SprintoError

_T = TypeVar("_T")
Check = Callable[[], None]

TICK_SECONDS = 0.1
"""How often a wait looks up."""

_LONGEST_PAUSE_SECONDS = 5.0


def in_background(work: Callable[[], _T]) -> Future[_T]:
    """Do `work` on a daemon thread: a request that is stuck never keeps the process from ending."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as failure:  # noqa: BLE001 - handed on whole to whoever waits
            future.set_exception(failure)

    threading.Thread(target=run, name="sprinto-call", daemon=True).start()
    return future


def wait_for(future: Future[_T], check: Check) -> _T:
    """What the future holds, once it does; raises what `check` raises before that."""
    check()
    while not wait_for_any((future,), timeout=TICK_SECONDS).done:
        check()
    return future.result()


class Deadline:
    """When something must have ended: after `seconds`, or sooner once an interruption is seen."""

    def __init__(
        self, seconds: float, interrupted: Check = lambda: None, seconds_when_interrupted: float = 0
    ) -> None:
        self._at = time.monotonic() + seconds
        self._interrupted = interrupted
        self._seconds_when_interrupted = seconds_when_interrupted
        self._heard = False

    def left(self) -> float:
        """Seconds that are left; 0 when time is up."""
        if not self._heard:
            try:
                self._interrupted()
            except SprintoError:
                self._heard = True
                self._at = min(self._at, time.monotonic() + self._seconds_when_interrupted)
        return max(0.0, self._at - time.monotonic())


def wait_until(future: Future[_T], deadline: Deadline) -> _T:
    """What the future holds. Raises TimeoutError once the deadline has passed."""
    while not wait_for_any((future,), timeout=min(TICK_SECONDS, deadline.left())).done:
        if not deadline.left():
            raise TimeoutError
    return future.result()


def wait_until_passed(future: Future[_T], seconds: float) -> _T:
    """What the future holds. Raises TimeoutError once `seconds` have passed."""
    if not wait_for_any((future,), timeout=seconds).done:
        raise TimeoutError
    return future.result()


def pause(seconds: float, check: Check) -> None:
    """Let `seconds` pass; raises what `check` raises meanwhile."""
    end = time.monotonic() + seconds
    check()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(TICK_SECONDS, left))
        check()


def pauses() -> Iterator[float]:
    """Seconds between one look at a status and the next: short at first, then steady."""
    seconds = pace.current.look
    while True:
        yield seconds
        seconds = min(seconds * 1.5, _LONGEST_PAUSE_SECONDS)


class LastWords:
    """A check for the time after `close(apply)` went out: an interruption still leaves some seconds.

    `heard` is set as soon as an interruption is seen; once `grace_seconds` have passed it is raised.
    """

    def __init__(self, interrupted: Check, grace_seconds: float) -> None:
        self.heard = threading.Event()
        self._interrupted = interrupted
        self._grace_seconds = grace_seconds
        self._deadline = float("inf")

    def __call__(self) -> None:
        """Raise the interruption once its time of grace is over."""
        try:
            self._interrupted()
        except SprintoError:
            if not self.heard.is_set():
                self.heard.set()
                self._deadline = time.monotonic() + self._grace_seconds
            if time.monotonic() >= self._deadline:
                raise
