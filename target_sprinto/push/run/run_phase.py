"""The phase of a run, which its own thread moves, and so does another one that calls `abort`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from target_sprinto.push.errors import RunEnded
from target_sprinto.push.protocol.lifecycle import TRANSITIONS, Event, Phase, next_phase

_GOES_ON = (Event.FIRST_PAGE, Event.APPLY_SENT)
"""What no thread does any more once the run is aborted."""

_CLOSE_EVENTS = (Event.APPLY_SENT, Event.APPLY_DID_NOT_HAPPEN)


class RunPhase:
    """Moves by the table in `protocol/lifecycle.py`.

    `lock` is held for what changes together with the phase, but not while an observer is called, which may
    block.
    """

    def __init__(self) -> None:
        self.current = Phase.UNOPENED
        self.lock = threading.RLock()
        self._is_aborted = False
        self._close_sent = False

    def abort(self) -> None:
        """Note that the run is aborted. A thread that has sent a close still learns of its outcome."""
        with self.lock:
            self._is_aborted = True

    def move(self, event: Event) -> Phase:
        """The new phase. Raises RunEnded if the run was aborted meanwhile."""
        with self.lock:
            if self._is_aborted and (event in _GOES_ON or (self.current, event) not in TRANSITIONS):
                raise ended_elsewhere()
            self.current = next_phase(self.current, event)
            if event in _CLOSE_EVENTS:
                self._close_sent = event is Event.APPLY_SENT
            return self.current

    def require_not_aborted(self) -> None:
        """Raises RunEnded."""
        if self._is_aborted and not self._close_sent:
            raise ended_elsewhere()

    @contextmanager
    def unless_aborted(self) -> Iterator[None]:
        """What fails after the run was aborted fails because of that: it raises RunEnded."""
        try:
            yield
        except Exception:
            if self._is_aborted:
                raise ended_elsewhere() from None
            raise


def ended_elsewhere() -> RunEnded:
    """The error of the thread whose run another one has aborted."""
    return RunEnded("`abort` has ended this run meanwhile.", "Start a new one.")
