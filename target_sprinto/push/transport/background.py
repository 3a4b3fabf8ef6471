"""Waits that can be interrupted.

The work runs on another thread. The waiting thread calls `check` every 0.1 s, which ends the wait by raising.
"""

from __future__ import annotations

import math
import mmap
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, TypeVar

from target_sprinto.push.errors import SprintoError
from target_sprinto.push.protocol import arguments

_T = TypeVar("_T")
InterruptCheck = Callable[[], None]

POLL_INTERVAL = 0.1
"""Seconds between two checks of a wait."""

_STANDSTILL_SECONDS = 0.5
"""A longer gap between two checks is more than a delay: the process or the machine was stopped."""

_THREAD_BYTES = 16 << 20
"""More memory than a thread needs to start: its stack, and Python's own data about it."""


class ResourcesExhausted(SprintoError, code="resources-exhausted"):
    """The machine has no more memory, threads or open files for this process."""


NO_THREAD = "No thread could be started.", "Raise the limit of processes or memory (ulimit -u, -v, pids.max)."


def start_thread(work: Callable[[], None], name: str) -> threading.Thread:
    """Do `work` on a daemon thread. Raises ResourcesExhausted before `work` has begun."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        # If memory runs out while a thread starts, it ends silently, and `start` would wait forever.
        mmap.mmap(-1, _THREAD_BYTES).close()
        thread.start()
    except (OSError, RuntimeError):
        raise ResourcesExhausted(*NO_THREAD) from None
    return thread


def in_background(
    work: Callable[[], _T], future: Future[_T] | None = None, *, or_here: Callable[[], _T] | None = None
) -> Future[_T]:
    """Do `work` on a daemon thread, so that the process can exit even if the thread is stuck.

    Raises ResourcesExhausted. If `or_here` is given, it is called on this thread instead, for work that a run
    needs in order to discard. Nothing interrupts it, so it has to limit its own time.
    """
    # Not a ThreadPoolExecutor, which joins its threads at exit.
    future = Future() if future is None else future
    try:
        start_thread(partial(_complete, work, future), "sprinto-call")
    except ResourcesExhausted:
        if or_here is None:
            raise
        _complete(or_here, future)
    return future


def _complete(work: Callable[[], _T], future: Future[_T]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(work())
        except BaseException as failure:  # noqa: BLE001 - passed on to the waiting thread
            future.set_exception(failure)


def is_done_within(future: Future[Any], seconds: float) -> bool:
    """Whether the work ends within `seconds`."""
    return bool(wait([future], seconds).done)


def result_of(future: Future[_T], check: InterruptCheck) -> _T:
    """The result of the work. Raises whatever `check` raises before the work has ended."""
    check()
    while not is_done_within(future, POLL_INTERVAL):
        check()
    return future.result()


def interruptibly(work: Callable[[], _T], check: InterruptCheck) -> _T:
    """Do `work` on another thread and return its result.

    Raises ResourcesExhausted, or whatever `check` raises before the work has ended.
    """
    return result_of(in_background(work), check)


class Deadline:
    """When something must have ended: after `seconds`, or earlier if there is an interruption."""

    def __init__(
        self, seconds: float, interrupted: InterruptCheck = lambda: None, seconds_when_interrupted: float = 0
    ) -> None:
        """Raises ConfigError."""
        self._at = time.monotonic() + arguments.limit("seconds", seconds)
        self._interrupted = arguments.function("interrupted", interrupted)
        self._seconds_when_interrupted = arguments.limit("seconds_when_interrupted", seconds_when_interrupted)
        self._interrupt_seen = False

    def remaining(self) -> float:
        """Seconds left; 0 when time is up."""
        if not self._interrupt_seen:
            try:
                self._interrupted()
            except BaseException:  # noqa: BLE001 - whatever a program's own check raises, it interrupts
                self._interrupt_seen = True
                self._at = min(self._at, time.monotonic() + self._seconds_when_interrupted)
        return max(0.0, self._at - time.monotonic())


def grace_period(interrupted: InterruptCheck, seconds: float) -> InterruptCheck:
    """An interrupt check that raises only `seconds` later, used once `close(apply)` may have been sent."""
    deadline = Deadline(math.inf, interrupted, seconds)

    def check() -> None:
        if not deadline.remaining():
            interrupted()

    return check


def result_before(future: Future[_T], deadline: Deadline) -> _T:
    """The result of the call. Raises TimeoutError once the deadline has passed."""
    while not is_done_within(future, min(POLL_INTERVAL, deadline.remaining())):
        if not deadline.remaining():
            raise TimeoutError
    return future.result()


def sleep_before(deadline: Deadline, seconds: float) -> None:
    """Sleep for `seconds`, at most until the deadline."""
    end = time.monotonic() + seconds
    while (left := min(end - time.monotonic(), deadline.remaining())) > 0:
        time.sleep(min(POLL_INTERVAL, left))


def interruptible_sleep(seconds: float, check: InterruptCheck) -> None:
    """Sleep for `seconds`. Raises whatever `check` raises meanwhile."""
    end = time.monotonic() + seconds
    check()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(POLL_INTERVAL, left))
        check()


class Heartbeat:
    """A check that also notices if this process, or the whole machine, stood still between two calls.

    Whatever was read before a SIGSTOP or a suspension may be out of date.
    """

    def __init__(self, check: InterruptCheck = lambda: None) -> None:
        self._check = check
        self._last = _clocks()
        self._stood_still = False

    def __call__(self) -> None:
        """Raise what the check raises."""
        self.stood_still()
        self._check()

    def stood_still(self) -> bool:
        """Whether there was such a gap since the object was created."""
        now = _clocks()
        longest = max(one - before for one, before in zip(now, self._last, strict=True))
        self._last = now
        self._stood_still = self._stood_still or longest >= _STANDSTILL_SECONDS
        return self._stood_still


def _clocks() -> tuple[float, float]:
    """A clock that also runs while the machine is suspended, if there is one, and the wall clock.

    After a pause of a virtual machine, the wall clock may be the only one that has moved.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)), time.time()
