"""Retries one call while that is safe and time is left.

`protocol/decision_after_failure.py` says which failures are retried, `protocol/retry_delay.py` says when.
Three calls have their own loops: a page (`run/send_queue.py`), because others wait for it; the close
(`run/closing.py`), because the status is read before each attempt; a create in doubt (`run/opening.py`).
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

_T = TypeVar("_T")


@dataclass(frozen=True)
class RetryPolicy:
    """How long one request, and all attempts of a call together, may take in seconds.

    A run that has ended sets `cancelled`: no further attempt is made. No request lasts beyond `until`, in
    monotonic seconds.
    """

    request_seconds: float = 60.0
    retry_seconds: float = 300.0
    cancelled: threading.Event = field(default_factory=threading.Event)
    until: float = inf

    def once(self) -> RetryPolicy:
        """The same policy without retries."""
        return replace(self, retry_seconds=0.0)


def retried(
    call: Callable[[], _T],
    retryable: tuple[type[errors.ApiError], ...],
    retry_policy: RetryPolicy,
    timings: Timings,
) -> _T:
    """Make a call, and retry it while that is safe and `retry_policy` allows.

    backoff's own loop cannot be woken from its sleep, and a run that has ended must not send again.
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
