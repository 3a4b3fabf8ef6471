"""Which failed requests are retried, and when. Pure; `backoff` provides growth and jitter."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime, timezone

import backoff

from target_sprinto.push import errors
from target_sprinto.push.errors import ApiError
from target_sprinto.push.protocol.timestamps import parse_http_date
from target_sprinto.push.timing import Timings

RETRYABLE = (errors.NotConnected, errors.Throttled, errors.NotVisible)
"""Definitely not performed, and may succeed next time: for GETs and POSTs."""

RETRYABLE_GET = (*RETRYABLE, errors.ResponseLost)
"""A GET is also retried if it is in doubt."""

_LONGEST_WAIT = 1e9
"""Seconds, of a `Retry-After`: longer than any time for retries."""


def is_in_doubt(failure: ApiError) -> bool:
    """Whether a call may have been performed, so that this is checked before the call is repeated.

    A redirect is not checked: its sender is between this run and Sprinto, and would redirect the check, too.
    """
    return failure.outcome is errors.Outcome.IN_DOUBT and not isinstance(failure, errors.Redirected)


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Minimum seconds to wait, from a `Retry-After` in seconds or as an HTTP date; the longest of several.

    A date is relative to `now`, the response's own `Date`, or else to this machine's clock; a past date is 0.
    None if the header is absent or invalid.
    """
    # A header that was sent twice arrives as "3, 3"; a date also contains a comma.
    values = re.findall(r"[A-Za-z]+,[^,]+|[^,]+", value or "")
    seconds = [_seconds_to_wait(each.strip(), now or datetime.now(timezone.utc)) for each in values]
    return max((each for each in seconds if each is not None), default=None)


def _seconds_to_wait(text: str, now: datetime) -> float | None:
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return min(float(text), _LONGEST_WAIT)
    date = parse_http_date(text)
    return None if date is None else max(0.0, (date - now).total_seconds())


class Backoff:
    """When one call may be retried, within `budget_seconds` from now."""

    def __init__(
        self, budget_seconds: float, timings: Timings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._budget = budget_seconds
        self._clock = clock
        self._ends_at = clock() + budget_seconds
        self._ceilings = backoff.expo(factor=timings.first_retry_delay, max_value=timings.max_retry_delay)
        next(self._ceilings)

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self._clock() >= self._ends_at

    def next_delay(self, failure: ApiError) -> float:
        """Seconds until the next try: exponential with full jitter, at least the failure's `retry_after`.

        Raises the failure itself if no time is left, or less than its `retry_after`.
        """
        minimum = failure.retry_after or 0.0
        left = self._ends_at - self._clock()
        if left > 0 and minimum <= left:
            return min(left, max(minimum, backoff.full_jitter(next(self._ceilings))))
        if self._budget and minimum:
            failure.advise(
                failure.hint,
                f" It asks to wait {minimum:.10g} s, which the time for retries ({self._budget:g} s in all)"
                " does not allow.",
            )
        raise failure
