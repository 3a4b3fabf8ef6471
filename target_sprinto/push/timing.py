"""Waits and time limits that are not settings, in seconds. A client holds them: `ApiClient.timings`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_LONGEST_POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Timings:
    """All values are in seconds."""

    # Between two reads of the counts after a response was lost.
    recheck_interval: float = 5.0
    # How long the counts must not change before the close, if a page was sent again.
    quiet_period: float = 30.0
    # How long counts may stay below what was sent, and how far the activity log may lag behind.
    max_count_lag: float = 30.0
    # How long a new session may be unknown, or a poll after the close may get 404 or 401.
    max_replica_lag: float = 30.0
    # How long until `failed` without a counted retry is final.
    failed_final_after: float = 60.0
    # The longest that an open session may be silent.
    keep_alive: float = 240.0
    # How long a failed run may take to end; the process then has less than a second to exit.
    shutdown_timeout: float = 29.0
    signal_shutdown_timeout: float = 9.0
    # One request of a run that is ending.
    shutdown_request_timeout: float = 5.0
    # The maximum of the first wait before a retry, and of every later one.
    first_retry_delay: float = 0.5
    max_retry_delay: float = 30.0
    # Before a create in doubt is retried; doubled each time, up to `max_retry_delay`.
    create_retry_delay: float = 1.0
    # The first wait between two status polls.
    status_poll_interval: float = 0.1
    # The minimum and maximum wait between two checks whether another session has ended.
    conflict_poll_interval: float = 5.0
    max_conflict_poll_interval: float = 60.0
    # One read of the activity log.
    log_read_timeout: float = 30.0
    # Before each check of an expiry by `probe`: Sprinto may give it in whole seconds.
    expiry_margin: float = 1.5
    # Between two progress lines.
    progress_interval: float = 10.0

    @property
    def recheck_interval_stale(self) -> float:
        """After a stale connection, on which no request is delayed in transit: 2 seconds."""
        return 0.4 * self.recheck_interval

    def poll_intervals(self) -> Iterator[float]:
        """Yield the seconds between status polls: short at first, then constant."""
        seconds = self.status_poll_interval
        while True:
            yield seconds
            seconds = min(seconds * 1.5, _LONGEST_POLL_SECONDS)
