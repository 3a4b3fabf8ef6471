"""A session with all its pages accepted: compares its state and counts with what was sent."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

from target_sprinto.push import errors
from target_sprinto.push.api_calls import ApiClient, Call
from target_sprinto.push.protocol.lifecycle import (
    Comparison,
    OnCountMismatch,
    compare_counts,
    session_ended,
)
from target_sprinto.push.protocol.responses import STATUS, SessionStatus
from target_sprinto.push.retries import RetryPolicy
from target_sprinto.push.run.expired_session import is_known_latest
from target_sprinto.push.text import format_difference
from target_sprinto.push.timing import Timings
from target_sprinto.push.transport.background import (
    Heartbeat,
    InterruptCheck,
    ResourcesExhausted,
    grace_period,
    in_background,
    interruptible_sleep,
    interruptibly,
)
from target_sprinto.push.transport.base import Response

log = logging.getLogger(__name__)


@contextmanager
def processing_limits_retries() -> Iterator[None]:
    """The hint of a Throttled names the setting that limits retries once all pages are accepted."""
    try:
        yield
    except errors.Throttled as failure:
        if failure.hint == errors.Throttled.hint:
            failure.advise(
                "Run again later; once all pages are accepted, `Timeouts(processing=…)` is the limit."
            )
        raise


@dataclass(eq=False)
class StagedSession:
    """Reads the session's status, and decides whether it may be closed with `apply`.

    `sent` is the number of records sent, ``{entity_type: int}``. `interrupted` may raise to end any wait
    before the close. A session that is silent for `keep_alive_seconds` during a wait is read. `has_resent`: a
    page was sent again.
    """

    client: ApiClient
    id: str
    sent: Mapping[str, int]
    retry_policy: RetryPolicy
    interrupted: InterruptCheck
    on_count_mismatch: OnCountMismatch
    keep_alive_seconds: float = Timings.keep_alive
    has_resent: bool = False
    _keeping_alive: Future[Response] | None = field(default=None, init=False)
    _heartbeat: Heartbeat = field(default_factory=Heartbeat, init=False)
    _tolerated: Mapping[str, int] | None = field(default=None, init=False)
    _noted_expiry = False

    @cached_property
    def grace(self) -> InterruptCheck:
        """The interrupt check from the close on."""
        return grace_period(self.check, self.client.timings.signal_shutdown_timeout)

    def check(self) -> None:
        """Raise if interrupted; keep the session from expiring during a wait."""
        self.interrupted()
        if self._keeping_alive is not None and not self._keeping_alive.done():
            return
        if self.client.session_silence(self.id) >= self.keep_alive_seconds:
            call, once = Call(STATUS, self.id), self.retry_policy.once()
            # Only the request counts: its response may arrive late, and its failure ends no run.
            with suppress(ResourcesExhausted):
                self._keeping_alive = in_background(lambda: self.client.request_raw(call, once))

    def compare(self, status: SessionStatus) -> Comparison:
        """Compare Sprinto's counts with what was sent."""
        return compare_counts(self.sent, status.counts())

    def tolerates(self, status: SessionStatus) -> bool:
        """Whether the counts are as sent, or differ in a way that the user wants to apply."""
        return self.compare(status) is Comparison.EQUAL or status.counts() == self._tolerated

    def was_paused(self) -> bool:
        """Whether this process was paused since the last status read began."""
        return self._heartbeat.stood_still()

    def read_status(self) -> SessionStatus:
        """The session's status, before the close."""
        return self._read_status(self.check, self.retry_policy)

    def read_status_until(self, until: float, check: InterruptCheck) -> SessionStatus:
        """The session's status from the close on, retried until `until`, in monotonic seconds."""
        left = max(0.0, until - time.monotonic())
        return self._read_status(check, replace(self.retry_policy, retry_seconds=left))

    def _read_status(self, check: InterruptCheck, retry_policy: RetryPolicy) -> SessionStatus:
        # From now on it notices whether this process was paused.
        self._heartbeat = Heartbeat(check)
        return interruptibly(lambda: self.client.session_status(self.id, retry_policy), self._heartbeat)

    def reconcile(self, quiet_seconds: float) -> SessionStatus:
        """Compare Sprinto's counts with what was sent, until they are equal or can no longer become so.

        They must then stay equal for `quiet_seconds`: a late copy of a page that was sent again may still
        arrive. Returns the decisive status. Raises CountMismatch unless the user wants to apply anyway, or
        SessionEnded if the session can no longer be closed.
        """
        began = time.monotonic()
        equal_since: float | None = None
        for seconds in self.client.timings.poll_intervals():
            # The status is that of some moment between `asked` and `now`.
            asked = time.monotonic()
            status = self.read_status()
            if not self.can_close(status):
                raise session_ended(status, "can no longer be closed")
            now = time.monotonic()
            comparison = self.compare(status)
            if comparison is Comparison.EQUAL:
                equal_since = now if equal_since is None else equal_since
                if not quiet_seconds or asked - equal_since >= quiet_seconds:
                    return status
            elif (
                comparison is Comparison.DIFFERENT
                or equal_since is not None
                or now - began >= self.client.timings.max_count_lag
            ):
                self.report_mismatch(status)
                return status
            interruptible_sleep(seconds, self.check)
        raise AssertionError("the intervals never end")

    def can_close(self, status: SessionStatus) -> bool:
        """Whether `close(apply)` may be sent in the session's state.

        Sprinto allows it for `expired` (Sprinto: Session Management), but it is sent only if the activity log
        shows that this session was opened last: later records must not be overwritten.
        """
        if status.state != "expired":
            return status.state == "active"
        if not is_known_latest(self.client, self.id, status, self.retry_policy, self._heartbeat):
            return False
        if not self._noted_expiry:
            log.warning("Session %s has expired; it is the latest, so it can still be applied.", status.id)
            self._noted_expiry = True
        return True

    def require_closable(self, status: SessionStatus) -> None:
        """Raise SessionEnded if the session can no longer be closed, CountMismatch if its counts differ."""
        if not self.can_close(status):
            raise session_ended(status, "can no longer be closed")
        if self.compare(status) is Comparison.DIFFERENT:
            self.report_mismatch(status)

    def report_mismatch(self, status: SessionStatus, session_outcome: str = "") -> None:
        """Raise CountMismatch, or only warn if the user wants to apply anyway.

        An expired session is never applied anyway: it may be closed only if the counts are correct.
        """
        counted, sent = format_difference(status.counts(), self.sent)
        what = f"Sprinto counts {counted}, but this run sent {sent}."
        if self.on_count_mismatch is OnCountMismatch.APPLY and status.state != "expired":
            log.warning("%s The difference is ignored (`on_count_mismatch`).", what)
            self._tolerated = status.counts()
            return
        # A page that was sent again may be staged twice, which may not happen to the next run.
        temporary = self.has_resent and not session_outcome
        failure = errors.CountMismatch(what, temporary=temporary)
        failure.session_outcome = session_outcome
        raise failure
