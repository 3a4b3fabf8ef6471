"""Use of a run by one thread at a time, in the process that began it."""

from __future__ import annotations

import os
import sys
import threading
from types import FrameType

from target_sprinto.push.errors import ConfigError


class ExclusiveUse:
    """A context for each use. Once two threads have used a run at the same time, it cannot be used again."""

    def __init__(self) -> None:
        self._process = os.getpid()
        # Reentrant: a push may be made while the same thread reads the records of another.
        self._in_use = threading.RLock()
        self._users: list[FrameType] = []
        self._was_shared = False

    @property
    def is_forked(self) -> bool:
        """Whether this process is a copy of the one that began the run."""
        return os.getpid() != self._process

    @property
    def is_here(self) -> bool:
        """Whether the caller was called from within a use.

        Taken from the stack, because a KeyboardInterrupt may prevent a use from being left.
        """
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - documented, for CPython
        while frame is not None and not any(frame is user for user in self._users):
            frame = frame.f_back
        return frame is not None

    def __enter__(self) -> None:
        """Raise ConfigError for use by another process, or by several threads: the run cannot finish then."""
        if self.is_forked:
            raise ConfigError("Use a run only in the process that began it.", "Begin one in each.")
        if self._was_shared or not self._in_use.acquire(blocking=False):
            self._was_shared = True
            raise ConfigError(
                "Several threads use one run at the same time; it is not applied unless it is finishing.",
                "Begin a run in each thread, or pass the records to one.",
            )
        self._users.append(sys._getframe(1))  # noqa: SLF001 - see above

    def __exit__(self, *_: object) -> None:
        self._users.pop()
        self._in_use.release()
