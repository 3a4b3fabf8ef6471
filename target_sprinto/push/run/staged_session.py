"""A session with staged pages: keeps it from expiring, and compares its counts with what was sent."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from math import inf
from typing import Any

from target_sprinto.push import errors
from target_sprinto.push.activity_log_reader import recent_events
from target_sprinto.push.api_calls import ApiClient, Call, RetryPolicy
from target_sprinto.push.protocol.activity_log import is_latest, moves_with_each_look, newest_time
from target_sprinto.push.protocol.lifecycle import Comparison, OnCountMismatch, compare_counts, session_ended
from target_sprinto.push.protocol.responses import STATUS, SessionStatus
from target_sprinto.push.protocol.timestamps import iso, parse_time, with_time_left
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
    """Name the setting that limits retries once all pages are accepted in the hint of a Throttled."""
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
    """Reads the session's status, keeps it from expiring, and decides whether it may be closed with `apply`.

    `sent` is the number of records sent and accepted, ``{entity_type: int}``. Once all pages are accepted,
    `retry_policy` also limits each wait and the processing. `interrupted` may raise to end any wait before
    the close. After `keep_alive_seconds` without a request, one is due. `resent_at` is when a page was last
    sent again, in monotonic seconds; `late_copy_possible`: a late copy of it may still arrive.
    """

    client: ApiClient
    id: str
    sent: Counter[str]
    retry_policy: RetryPolicy
    interrupted: InterruptCheck
    on_count_mismatch: OnCountMismatch
    keep_alive_seconds: float = Timings.keep_alive
    resent_at: float = -inf
    late_copy_possible: bool = False
    _keeping_alive: Future[Response] | None = field(default=None, init=False)
    _heartbeat: Heartbeat = field(default_factory=Heartbeat, init=False)
    _tolerated: Mapping[str, int] | None = field(default=None, init=False)
    _noted_expiry = False
    _expiry_read: datetime | None = field(default=None, init=False)
    _warned_of_expiry = False
    _warned_of_end = False

    @property
    def limit_seconds(self) -> float:
        """How long each wait, and the processing, may take."""
        return self.retry_policy.retry_seconds

    @cached_property
    def grace(self) -> InterruptCheck:
        """The interrupt check from the close on."""
        return grace_period(self.check, self.client.timings.signal_shutdown_timeout)

    def check(self) -> None:
        """Raise if interrupted; keep the session from expiring during a wait."""
        self.interrupted()
        if self._keeping_alive is not None and not self._keeping_alive.done():
            return
        if self.is_silent:
            call, once = Call(STATUS, self.id), self.retry_policy.once()
            # Only the request matters: its failure does not end the run, and its response may arrive late,
            # with other counts than the decisive ones, so no receipt shows it.
            with suppress(ResourcesExhausted):
                self._keeping_alive = in_background(lambda: self.client.request_raw(call, once))

    @property
    def is_silent(self) -> bool:
        """Whether the last request was so long ago that the next one is due."""
        return self.client.session_silence(self.id) >= self.keep_alive_seconds

    def read_expiry(self, *, all_accepted: bool) -> None:
        """Read the status, as no page is due. Raises SessionEnded if the session accepts no more pages.

        If it has expired and `all_accepted`, it may still be applied, unless more records follow.
        """
        status = self.read_status(self.interrupted)
        if status.state == "expired" and all_accepted:
            if not self._warned_of_end:
                log.warning("Session %s has expired: it accepts no more pages.", status.id)
            self._warned_of_end = True
        elif status.state != "active":
            raise session_ended(status, "accepts no more pages")
        expiry = parse_time(status.expires_at)
        if expiry is not None and expiry == self._expiry_read and not self._warned_of_expiry:
            log.warning(
                "Reading the status does not extend the session's expiry: without a page it expires %s.",
                with_time_left(status.expiry, self.client.known_server_time()),
            )
            self._warned_of_expiry = True
        self._expiry_read = expiry

    def compare(self, status: SessionStatus) -> Comparison:
        """Compare Sprinto's counts with what was sent."""
        return compare_counts(self.sent, status.counts())

    def is_decided(self, status: SessionStatus, waited: float) -> bool:
        """Whether the counts are as sent, or as the user wants to apply them; False if they may only lag.

        A difference is final if counts are higher, or once lower ones have been `waited` for long enough.
        Raises CountMismatch then, unless the user wants to apply anyway.
        """
        comparison = self.compare(status)
        is_tolerated = status.state != "expired" and status.counts() == self._tolerated
        if comparison is Comparison.EQUAL or is_tolerated:
            return True
        is_final = comparison is Comparison.DIFFERENT or waited >= self.client.timings.max_count_lag
        if is_final:
            self.report_mismatch(status)
        return is_final

    def was_paused(self) -> bool:
        """Whether this process was paused since the last status read began."""
        return self._heartbeat.stood_still()

    def read_status(self, check: InterruptCheck | None = None, until: float = inf) -> SessionStatus:
        """The session's status, retried until `until`, in monotonic seconds."""
        left = max(0.0, min(self.limit_seconds, until - time.monotonic()))
        retry_policy = replace(self.retry_policy, retry_seconds=left)
        # From here on, it notices whether this process was paused.
        self._heartbeat = Heartbeat(check or self.check)
        return interruptibly(lambda: self.client.session_status(self.id, retry_policy), self._heartbeat)

    def reconcile(self) -> SessionStatus:
        """Compare Sprinto's counts with what was sent, until they are equal or can no longer become so.

        If a late copy of a page may still arrive, they must then stay equal for a while. Returns the decisive
        status. Raises CountMismatch unless the user wants to apply anyway, or SessionEnded if the session can
        no longer be closed.
        """
        began = time.monotonic()
        quiet_seconds = self.client.timings.quiet_period if self.late_copy_possible else 0.0
        equal_since: float | None = None
        for seconds in self.client.timings.poll_intervals():
            # The status is from some moment between `asked` and `now`.
            asked = time.monotonic()
            status = self.read_status()
            if not self.can_close(status):
                raise session_ended(status, "can no longer be closed")
            now = time.monotonic()
            if self.compare(status) is Comparison.EQUAL:
                equal_since = now if equal_since is None else equal_since
                if not quiet_seconds or asked - equal_since >= quiet_seconds:
                    return status
            elif self.is_decided(status, now - began if equal_since is None else inf):
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
        if not self._is_known_latest(status):
            return False
        if not self._noted_expiry:
            log.warning("Session %s has expired; it is the latest, so it can still be applied.", status.id)
            self._noted_expiry = True
        return True

    def _is_known_latest(self, status: SessionStatus) -> bool:
        """Whether the log shows no later session, and does not lag behind the integration's last activity.

        It is not documented what counts as activity: a time that moves with each read is that of our own
        requests and is ignored. If there is no such time, the log alone decides. A session that is counted as
        active was opened later, unless the count lags and includes this one: the log has time to show it.
        """
        client, check = self.client, self._heartbeat
        began = time.monotonic()
        seen: list[datetime] = []
        was_active = busy = False
        for reads, seconds in enumerate(client.timings.poll_intervals()):
            # Under a rate limit, the reads themselves may take long.
            asked = time.monotonic()
            integration = interruptibly(lambda: client.integration_status(self.retry_policy), check)
            events = recent_events(client, self.retry_policy, check, parse_time(status.created_at))
            if not is_latest(self.id, events):
                return False
            active, activity = integration.active_sessions(), parse_time(integration.last_activity_at)
            was_active = was_active or active > 0
            known_times = self._known_times(status, events)
            shows_all = not active and (activity is None or any(activity <= known for known in known_times))
            if shows_all and not was_active:
                return True
            if not reads:
                what = (
                    f"last activity was at {iso(activity)}"
                    if not active
                    else "status counts an active session"
                )
                log.warning(
                    "The integration's %s, which the activity log does not show yet. Reading it again.", what
                )
            seen += [activity] if activity else []
            busy = busy or was_active or integration.sessions.processing != 0
            if asked - began >= client.timings.max_count_lag:
                return shows_all or (not busy and moves_with_each_look(seen))
            interruptible_sleep(seconds, check)
        raise AssertionError("the intervals never end")

    def _known_times(self, status: SessionStatus, events: list[dict[str, Any]]) -> list[datetime]:
        """Times up to which no later session was active: the newest event, and this session's expiry.

        An expiry in the future is ignored: the session has already expired.
        """
        expiry, now = parse_time(status.expires_at), self.client.known_server_time()
        passed = expiry if expiry and now and expiry <= now else None
        return [known for known in (newest_time(events), passed) if known]

    def require_closable(self, status: SessionStatus) -> None:
        """Raise SessionEnded if the session can no longer be closed, CountMismatch if its counts differ."""
        if not self.can_close(status):
            raise session_ended(status, "can no longer be closed")
        if self.compare(status) is Comparison.DIFFERENT:
            self.report_mismatch(status)

    def report_mismatch(self, status: SessionStatus, session_outcome: str = "") -> None:
        """Raise CountMismatch, or only warn if the user wants to apply anyway.

        An expired session may be closed only if the counts are correct.
        """
        counted, sent = format_difference(status.counts(), self.sent)
        what = f"Sprinto counts {counted}, but this run sent {sent}."
        if self.on_count_mismatch is OnCountMismatch.APPLY:
            if status.state != "expired":
                log.warning("%s The difference is ignored (`on_count_mismatch`).", what)
                self._tolerated = status.counts()
                return
            what += " It is not ignored, because the session has expired."
        # A page that was sent again may be staged twice, which may not happen to the next run.
        temporary = self.resent_at > -inf and not session_outcome
        failure = errors.CountMismatch(what, temporary=temporary)
        failure.session_outcome = session_outcome
        raise failure
