"""The pace of the pages in flight: how many at once, and when the next may leave. Pure."""

from __future__ import annotations


class Throttle:
    """How many pages may be in flight, and when the next may leave: for every sender the same. Pure.

    A 429, 425 or 503 halves the number, once for all pages that were out together; each success raises it
    by one. A connection that loses responses gets one page at a time. Times are monotonic seconds.
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
        """Responses are lost repeatedly: fewer pages in doubt at once are easier to distinguish."""
        self.limit = self._most = 1

    def speed_up(self) -> None:
        """A page was accepted."""
        self.limit = min(self._most, self.limit + 1)
