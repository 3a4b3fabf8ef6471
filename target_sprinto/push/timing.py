"""How long the contract's own waits are, in seconds. A client carries them: `ApiClient.timings`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_LONGEST_POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Timings:
    """The waits that are not settings."""

    settle: float = 5.0  # between two looks at the counts after a response was lost
    still: float = 30.0  # in which the counts must not change before the close, once a page was sent again
    lag: float = 30.0  # for which counts may stay below what was sent
    replica: float = 30.0  # for which a new session may be unknown, or a poll after the close get 404 or 401
    failed: float = 60.0  # after which `failed` without a counted retry is final
    keep_alive: float = 240.0  # the longest silence of an open session
    # How long a failed run may take to end: the contract allows a second more, for the process to leave.
    end_after_error: float = 29.0
    end_after_signal: float = 9.0
    retry: float = 0.5  # the longest first wait before a request is sent again
    retry_most: float = 30.0  # the longest of all such waits
    look: float = 0.1  # the first wait between two looks at a status
    create: float = 1.0  # before a create in doubt is tried again
    ask: float = 5.0  # the shortest wait between two requests that check whether another session has ended
    ask_most: float = 60.0  # the longest of these
    log: float = 30.0  # one reading of the activity log
    one_try: float = 5.0  # one request of a run that ends
    expiry: float = 1.5  # before each of a probe's looks at an expiry, which may be given in whole seconds
    tell: float = 10.0  # between two lines about progress

    @property
    def settle_stale(self) -> float:
        """`settle` after a stale connection: what was sent on it is not held up on its way. 2 seconds."""
        return 0.4 * self.settle

    def poll_intervals(self) -> Iterator[float]:
        """Seconds between one look at a status and the next: short at first, then steady."""
        seconds = self.look
        while True:
            yield seconds
            seconds = min(seconds * 1.5, _LONGEST_POLL_SECONDS)
