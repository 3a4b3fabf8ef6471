"""How long the contract's own waits are, in seconds. A client carries them: `ApiClient.timings`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_LONGEST_POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Timings:
    """The waits that are not settings."""

    # Between two looks at the counts after a response was lost.
    recheck_interval: float = 5.0
    # In which the counts must not change before the close, once a page was sent again.
    quiet_period: float = 30.0
    # For which counts may stay below what was sent, and the activity log behind what has happened.
    max_count_lag: float = 30.0
    # For which a new session may be unknown, or a poll after the close get 404 or 401.
    max_replica_lag: float = 30.0
    # After which `failed` without a counted retry is final.
    failed_final_after: float = 60.0
    # The longest silence of an open session.
    keep_alive: float = 240.0
    # How long a failed run may take to end: the contract allows a second more, for the process to leave.
    shutdown_timeout: float = 29.0
    signal_shutdown_timeout: float = 9.0
    # One request of a run that ends.
    shutdown_request_timeout: float = 5.0
    # The longest first wait before a request is sent again, and the longest of all such waits.
    first_retry_delay: float = 0.5
    max_retry_delay: float = 30.0
    # Before a create in doubt is tried again; doubled each time, up to `max_retry_delay`.
    create_retry_delay: float = 1.0
    # The first wait between two looks at a status.
    status_poll_interval: float = 0.1
    # The shortest and the longest wait between two requests that check whether another session has ended.
    conflict_poll_interval: float = 5.0
    max_conflict_poll_interval: float = 60.0
    # One reading of the activity log.
    log_read_timeout: float = 30.0
    # Before each of a probe's looks at an expiry, which may be given in whole seconds.
    expiry_margin: float = 1.5
    # Between two lines about progress.
    progress_interval: float = 10.0

    @property
    def recheck_interval_stale(self) -> float:
        """After a stale connection: what was sent on it is not held up on its way. 2 seconds."""
        return 0.4 * self.recheck_interval

    def poll_intervals(self) -> Iterator[float]:
        """Seconds between one look at a status and the next: short at first, then steady."""
        seconds = self.status_poll_interval
        while True:
            yield seconds
            seconds = min(seconds * 1.5, _LONGEST_POLL_SECONDS)
