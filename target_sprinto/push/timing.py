"""How long the contract's own waits are, in seconds. A client carries them: `ApiClient.timings`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Timings:
    """The waits that are not settings.

    `settle`: between two looks at the counts after an answer was lost. `still`: how long the counts must
    stand still before the close of a run that sent a page again. `lag`: how long counts may stay below what
    was sent. `replica`: how long after its own create or first page a session may be unknown to a replica,
    and how long a 404 or 401 among the polls after the close is retried. `failed`: after how long `failed`
    without a counted retry is final. `keep_alive`: the longest silence of an open session.
    `end_after_error`, `end_after_signal`: how long a failed run may take to end, with a second left of what
    the contract allows for the process to leave.

    `retry`: the longest first wait before a request is sent again. `look`: the first wait between two looks
    at a status. `create`: before a create in doubt is tried again. `retry_most`: the longest
    wait before a request is sent again. `ask`, `ask_most`: the shortest and the longest time between two
    requests that find out whether another session has ended. `log`: how long one reading of the activity log
    may take. `one_try`: one request of a run that ends. `expiry`: before each of a
    probe's two looks at a session's expiry, which may be given in whole seconds. `tell`: between two lines
    that say how far a run is.
    """

    settle: float = 5.0
    still: float = 30.0
    lag: float = 30.0
    replica: float = 30.0
    failed: float = 60.0
    keep_alive: float = 240.0
    end_after_error: float = 29.0
    end_after_signal: float = 9.0
    retry: float = 0.5
    look: float = 0.1
    create: float = 1.0
    retry_most: float = 30.0
    ask: float = 5.0
    ask_most: float = 60.0
    log: float = 30.0
    one_try: float = 5.0
    expiry: float = 1.5
    tell: float = 10.0

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
