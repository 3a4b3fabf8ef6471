"""How long to wait before a request is sent again. Pure; growth and jitter are `backoff`'s."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import backoff

from target_sprinto.push import timing
from target_sprinto.push.protocol.times import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from target_sprinto.push.errors import ApiError


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds to wait at least, from a `Retry-After` in seconds or as an HTTP date, the longest of several.

    `now` is the response's own `Date`, to which a date is relative; without it, this machine's clock.
    None where the header is absent or cannot be read; a date that has passed is 0.
    """
    # A header that was sent twice arrives as "3, 3"; a date has a comma of its own.
    values = re.findall(r"[A-Za-z]+,[^,]+|[^,]+", value or "")
    seconds = [_seconds_to_wait(one.strip(), now or datetime.now(timezone.utc)) for one in values]
    return max((one for one in seconds if one is not None), default=None)


def _seconds_to_wait(text: str, now: datetime) -> float | None:
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return float(text)
    date = parse_http_date(text)
    return None if date is None else max(0.0, (date - now).total_seconds())


class Throttle:
    """How many pages may be in flight, and when the next may leave: for every sender the same. Pure.

    A 429 or 503 halves the number, once for all pages that were out together; each success raises it by one.
    A connection that loses answers gets one page at a time. Times are monotonic seconds.
    """

    def __init__(self, most: int) -> None:
        self.limit = most
        self.not_before = 0.0
        self._most = most
        self._slowed_at = 0.0

    def slow_down(self, sent_at: float, now: float, wait_seconds: float) -> None:
        """A page that left at `sent_at` may be sent again after some seconds."""
        self.not_before = max(self.not_before, now + wait_seconds)
        if sent_at >= self._slowed_at:
            self.limit = max(1, self.limit // 2)
            self._slowed_at = now

    def one_at_a_time(self) -> None:
        """Answers are lost repeatedly: fewer pages in doubt at once are easier to distinguish."""
        self.limit = self._most = 1

    def speed_up(self) -> None:
        """A page was accepted."""
        self.limit = min(self._most, self.limit + 1)


def backoff_delays(
    budget_seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[float, ApiError, None]:
    """Seconds to wait after each failure sent in: exponential, full jitter, at least its `retry_after`.

    The first value only starts the clock. Ends when nothing of `budget_seconds` is left, or when the least
    wait does not fit into what is left.
    """
    started = clock()
    ceilings = backoff.expo(factor=timing.current.retry, max_value=timing.current.retry_most)
    next(ceilings)
    failure = yield 0.0
    while True:
        least = failure.retry_after or 0.0
        left = budget_seconds - (clock() - started)
        if left <= 0 or least > left:
            return
        failure = yield min(left, max(least, backoff.full_jitter(next(ceilings))))
