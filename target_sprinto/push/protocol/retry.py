"""How long to wait before a request is sent again. Pure; growth and jitter are `backoff`'s."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import backoff

from target_sprinto.push.protocol.timestamps import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from target_sprinto.push.errors import ApiError
    from target_sprinto.push.timing import Timings


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


def backoff_delays(
    budget_seconds: float,
    timings: Timings,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[float, ApiError, None]:
    """Seconds to wait after each failure sent in: exponential, full jitter, at least its `retry_after`.

    The first value only starts the clock. Ends when nothing of `budget_seconds` is left, or when the least
    wait does not fit into what is left.
    """
    started = clock()
    ceilings = backoff.expo(factor=timings.retry, max_value=timings.retry_most)
    next(ceilings)
    failure = yield 0.0
    while True:
        least = failure.retry_after or 0.0
        left = budget_seconds - (clock() - started)
        if left <= 0 or least > left:
            return
        failure = yield min(left, max(least, backoff.full_jitter(next(ceilings))))
