"""The limit of pages in flight, which falls after a 429 and recovers. Pure."""

from __future__ import annotations


class Throttle:
    """How many pages may be in flight, and when the next may be sent; shared by all sending threads.

    A 429, 425 or 503 halves the number, once for all pages that were in flight together; each success raises
    it by one. If responses are lost repeatedly, pages are sent one at a time. Times are monotonic seconds.
    """

    def __init__(self, maximum: int) -> None:
        self.limit = maximum
        self.not_before = 0.0
        self._maximum = maximum
        self._slowed_at = 0.0

    def slow_down(self, sent_at: float, now: float, wait_seconds: float) -> None:
        """A page that was sent at `sent_at` may be sent again after `wait_seconds`."""
        self.not_before = max(self.not_before, now + wait_seconds)
        if sent_at >= self._slowed_at:
            self.limit = max(1, self.limit // 2)
            self._slowed_at = now

    def one_at_a_time(self) -> None:
        """Responses are lost repeatedly: fewer pages in doubt at once are easier to distinguish."""
        self.limit = self._maximum = 1

    def speed_up(self) -> None:
        """A page was accepted."""
        self.limit = min(self._maximum, self.limit + 1)
