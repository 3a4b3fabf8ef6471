"""The phase of a run, changed by its own thread and by another one that calls `abort`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from target_sprinto.push.errors import RunEnded
from target_sprinto.push.protocol.lifecycle import TRANSITIONS, Phase

_NOT_AFTER_ABORT = (Phase.OPENING, Phase.APPLYING)
"""Phases that no thread may enter once the run is aborted."""


class RunPhase:
    """Changes according to the table in `protocol/lifecycle.py`.

    `lock` guards what changes together with the phase. It is not held while an observer is called, which may
    block. `cancelled` is set once the run is aborted.
    """

    def __init__(self, cancelled: threading.Event) -> None:
        self.current = Phase.UNOPENED
        self.lock = threading.RLock()
        self._cancelled = cancelled
        self._close_sent = False

    def abort(self) -> None:
        """Note that the run is aborted. A thread that has sent a close still learns its outcome."""
        with self.lock:
            self._cancelled.set()

    def move(self, phase: Phase) -> None:
        """Enter the phase. Raises RunEnded if the run was aborted meanwhile."""
        with self.lock:
            is_allowed = phase in TRANSITIONS[self.current]
            # ENDED can be left only if another thread ended the run while its close was in flight.
            is_allowed = is_allowed and (self._close_sent or self.current is not Phase.ENDED)
            if self._cancelled.is_set() and (phase in _NOT_AFTER_ABORT or not is_allowed):
                raise ended_elsewhere()
            if not is_allowed:
                raise LookupError(f"{self.current.name} may not lead to {phase.name}")
            self.current = phase
            if phase is not Phase.ENDED:
                self._close_sent = phase is Phase.APPLYING

    def require_not_aborted(self) -> None:
        """Raises RunEnded."""
        if self._cancelled.is_set() and not self._close_sent:
            raise ended_elsewhere()

    @contextmanager
    def unless_aborted(self) -> Iterator[None]:
        """Raise RunEnded instead of any failure after the run was aborted: the abort may have caused it."""
        try:
            yield
        except Exception:
            if self._cancelled.is_set():
                raise ended_elsewhere() from None
            raise


def ended_elsewhere() -> RunEnded:
    """The error of the thread whose run another one has aborted."""
    return RunEnded("`abort` has ended this run meanwhile.", "Start a new one.")
