"""One call, retried while that is safe and while there is time.

Three calls have loops of their own: a page (`run/send_queue.py`), whose turn others wait for; the close
(`run/closing.py`), before which the session is looked at; and a create in doubt (`run/opening.py`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from typing import TypeVar

from target_sprinto.push import errors
from target_sprinto.push.protocol.retry_delay import Backoff
from target_sprinto.push.timing import Timings

log = logging.getLogger(__name__)

RETRYABLE = (errors.NotConnected, errors.Throttled, errors.NotVisible)
"""Definitely not performed, and may succeed the next time: GETs and POSTs."""

RETRYABLE_GET = (*RETRYABLE, errors.ResponseLost)
"""A GET is retried as well where it is in doubt."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class RetryPolicy:
    """How long a call may take: one request, and all tries of it together, both in seconds.

    `cancelled` is set by a run that has ended: no further try is started then. No request lasts beyond
    `until`, in monotonic seconds.
    """

    request_seconds: float = 60.0
    retry_seconds: float = 300.0
    cancelled: threading.Event = field(default_factory=threading.Event)
    until: float = inf

    def once(self) -> RetryPolicy:
        """The same for one request that is not retried."""
        return replace(self, retry_seconds=0.0)


def retried(
    call: Callable[[], _T],
    retryable: tuple[type[errors.ApiError], ...],
    retry_policy: RetryPolicy,
    timings: Timings,
) -> _T:
    """One call, repeated while that is safe and `retry_policy` allows.

    backoff's own loop sleeps where nothing can wake it; a run that has ended must not send again.
    """
    backoff = Backoff(retry_policy.retry_seconds, timings)
    while True:
        try:
            return call()
        except retryable as failure:
            wait = backoff.next_delay(failure)
            log.warning("%s Trying again in %.1f s.", failure.brief, wait)
            if retry_policy.cancelled.wait(wait):
                raise
