"""Waits that can be cut short.

A call goes out on a thread of its own, and whoever waits for it looks up on every tick: `check` is called
then, and ends the wait by raising.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from target_sprinto.push.errors import SprintoError
from target_sprinto.push.transport import timing

_T = TypeVar("_T")
Check = Callable[[], None]

POLL_INTERVAL = 0.1
"""How often a wait looks up."""

_IDLE_SECONDS = 1.0
"""How long a thread without a call stays."""

_LONGEST_PAUSE_SECONDS = 5.0

_STANDSTILL_SECONDS = 0.5
"""Ticks further apart than this are no mere delay."""


class Call(Generic[_T]):
    """Work under way on a daemon thread: a request that is stuck never keeps the process from ending."""

    def __init__(self, work: Callable[[], _T]) -> None:
        self._work = work
        self._result: _T
        self._failure: BaseException | None = None
        self._under_way = threading.Lock()
        self._under_way.acquire()

    def begin(self) -> None:
        """Have the work done, at once."""
        _threads.start(self)

    def run(self) -> None:
        """Do the work: once, on the thread that has been given it."""
        try:
            self._result = self._work()
        except BaseException as failure:  # noqa: BLE001 - handed on whole to whoever waits
            self._failure = failure
        self._under_way.release()

    def wait(self, seconds: float) -> bool:
        """Whether it was done within `seconds`."""
        if not self._under_way.acquire(timeout=seconds):
            return False
        self._under_way.release()
        return True

    def result(self) -> _T:
        """What it has come to, once it is done; raises what it raised."""
        if self._failure is not None:
            raise self._failure
        return self._result


class _Threads:
    """Daemon threads that are used again: there is a call for each page, and starting a thread takes long."""

    def __init__(self) -> None:
        self._idle: list[SimpleQueue[Call[Any]]] = []

    def start(self, call: Call[Any]) -> None:
        """Begin the call at once."""
        try:
            calls = self._idle.pop()
        except IndexError:
            calls = SimpleQueue()
            threading.Thread(target=self._serve, args=(calls,), name="sprinto-call", daemon=True).start()
        calls.put(call)

    def _serve(self, calls: SimpleQueue[Call[Any]]) -> None:
        while True:
            try:
                calls.get(timeout=_IDLE_SECONDS).run()
            except Empty:
                try:
                    self._idle.remove(calls)
                except ValueError:
                    # Somebody has just taken it out, and will hand over a call.
                    continue
                return
            self._idle.append(calls)


_threads = _Threads()


def in_background(work: Callable[[], _T]) -> Call[_T]:
    """Do `work` on a thread of its own."""
    call = Call(work)
    call.begin()
    return call


def wait_for(call: Call[_T], check: Check) -> _T:
    """What the call comes to; raises what `check` raises before that."""
    check()
    while not call.wait(POLL_INTERVAL):
        check()
    return call.result()


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


def result_before(call: Call[_T], deadline: Deadline) -> _T:
    """What the call comes to. Raises TimeoutError once the deadline has passed."""
    while not call.wait(min(POLL_INTERVAL, deadline.left())):
        if not deadline.left():
            raise TimeoutError
    return call.result()


def result_within(call: Call[_T], seconds: float) -> _T:
    """What the call comes to. Raises TimeoutError once `seconds` have passed."""
    if not call.wait(seconds):
        raise TimeoutError
    return call.result()


def pause(seconds: float, check: Check) -> None:
    """Let `seconds` pass; raises what `check` raises meanwhile."""
    end = time.monotonic() + seconds
    check()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(POLL_INTERVAL, left))
        check()


def poll_intervals() -> Iterator[float]:
    """Seconds between one look at a status and the next: short at first, then steady."""
    seconds = timing.current.look
    while True:
        yield seconds
        seconds = min(seconds * 1.5, _LONGEST_PAUSE_SECONDS)


class Heartbeat:
    """A check that also notices where this process, or the whole machine, stood still between two ticks.

    What was read before a SIGSTOP or a suspension says nothing of now.
    """

    def __init__(self, check: Check = lambda: None) -> None:
        self._check = check
        self._last = _clocks()
        self._stood_still = False

    def __call__(self) -> None:
        """Raise what the check raises."""
        self.stood_still()
        self._check()

    def stood_still(self) -> bool:
        """Whether it did, from when this was made until now."""
        now = _clocks()
        longest = max(one - before for one, before in zip(now, self._last, strict=True))
        self._last = now
        self._stood_still = self._stood_still or longest >= _STANDSTILL_SECONDS
        return self._stood_still


def _clocks() -> tuple[float, float]:
    """A clock that counts a suspension of the machine, where there is one; and the wall clock.

    Of a virtual machine that was paused the wall clock may be the only one that has moved.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)), time.time()


class GracePeriod:
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
