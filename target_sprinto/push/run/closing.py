"""Sends `close(apply)` until it takes effect, with a status check directly before each attempt."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from target_sprinto.push import errors
from target_sprinto.push.api_calls import RetryPolicy
from target_sprinto.push.errors import ApiError
from target_sprinto.push.protocol.lifecycle import (
    Phase,
    describe_end,
    keep_alive_interval,
    nothing_was_applied,
)
from target_sprinto.push.protocol.responses import STATES, SessionStatus
from target_sprinto.push.protocol.retries import RETRYABLE, Backoff, is_in_doubt
from target_sprinto.push.run.processing import wait_for_other_sessions, wait_until_processed
from target_sprinto.push.run.staged_session import StagedSession, processing_limits_retries
from target_sprinto.push.transport.background import (
    Deadline,
    InterruptCheck,
    ResourcesExhausted,
    in_background,
    interruptible_sleep,
    result_before,
)

log = logging.getLogger(__name__)

CLOSED = frozenset({"processing", "processed", "failed"})
"""States after `close(apply)`."""

_MAX_STATUS_READS = 5
"""How often the status is read again because this process was paused meanwhile."""


class Closing:
    """Closes a session whose counts have been reconciled.

    `close_sent`: the session was closed, or may have been, so that it may still be applied.
    """

    def __init__(self, staged: StagedSession, moved: Callable[[Phase], object] = lambda _: None) -> None:
        self._staged = staged
        self._moved = moved
        self._timings = staged.client.timings
        self._in_doubt: ApiError | None = None
        self.close_sent = False

    def apply(self) -> SessionStatus | None:
        """Close with `apply`; return once it has taken effect, as far as Sprinto's status shows.

        Returns the response, or None if only the status showed it. Call it directly after `reconcile`, whose
        last status check also counts for the first attempt; before each later one the status is read again.
        `moved` is called with APPLYING before an attempt, and with OPEN if every attempt so far was
        definitely not performed.
        """
        self._staged.interrupted()
        try:
            return self._until_closed()
        except ApiError:
            # A signal that cut the attempts short explains the end better than the last failure.
            self._staged.interrupted()
            raise

    def _until_closed(self) -> SessionStatus | None:
        until = time.monotonic() + self._staged.limit_seconds
        backoff = Backoff(self._staged.limit_seconds, self._timings)
        one_try = self._staged.retry_policy.once()
        for attempt, seconds in enumerate(self._timings.poll_intervals()):
            if attempt:
                interruptible_sleep(seconds, self._check)
            if (attempt or self._staged.was_paused()) and not self._may_close(until):
                return None
            self._note_close(sent=True)
            try:
                return self._attempt(one_try, until)
            except ResourcesExhausted:
                self._note_close(sent=self._in_doubt is not None)
                raise
            except ApiError as failure:
                if is_in_doubt(failure):
                    self._in_doubt = failure
                elif failure.outcome is errors.Outcome.NOT_PERFORMED:
                    self._note_close(sent=self._in_doubt is not None)
                interruptible_sleep(self._until_next_attempt(failure, backoff, until), self._check)
        raise AssertionError("the intervals never end")

    def _attempt(self, one_try: RetryPolicy, until: float) -> SessionStatus:
        """Send one close. The wait for its response leaves time to read the status instead."""
        client = self._staged.client
        seconds = max(self._timings.shutdown_request_timeout, (until - time.monotonic()) * 0.75)
        deadline = Deadline(seconds, self._interrupted, self._timings.signal_shutdown_timeout / 3)
        response = in_background(lambda: client.apply_session(self._staged.id, one_try))
        try:
            return result_before(response, deadline)
        except TimeoutError:
            raise errors.ResponseLost("While closing the session no response came in time.") from None

    def _interrupted(self) -> None:
        # The grace period begins with the signal, not at the end of this attempt.
        self._staged.grace()
        self._staged.interrupted()

    @property
    def _check(self) -> InterruptCheck:
        """With no attempt in doubt, an interruption ends the close at once, to discard the session."""
        return self._staged.grace if self._in_doubt else self._staged.check

    def _until_next_attempt(self, failure: ApiError, backoff: Backoff, until: float) -> float:
        """Seconds until the next attempt. Raises if there is none."""
        # The failure of a later attempt does not resolve an earlier one.
        decisive = self._in_doubt or failure
        wait, next_step = 0.0, "Checking whether the close took effect."
        if isinstance(failure, RETRYABLE):
            try:
                wait = backoff.next_delay(failure)
            except ApiError:
                raise decisive from None
            next_step = f"Trying again in {wait:.1f} s."
        elif not (is_in_doubt(failure) or isinstance(failure, errors.Conflict)):
            raise decisive from None
        if time.monotonic() >= until:
            raise decisive from None
        log.warning("%s %s", failure.brief, next_step)
        return wait

    def _note_close(self, *, sent: bool) -> None:
        if sent is not self.close_sent:
            self.close_sent = sent
            self._moved(Phase.APPLYING if sent else Phase.OPEN)

    def _may_close(self, until: float) -> bool:
        """Check the status directly before an attempt; return False if the session is already closed.

        Raises SessionEnded or CountMismatch if the session has changed meanwhile.
        """
        began = time.monotonic()
        for reads, seconds in enumerate(self._timings.poll_intervals(), 1):
            try:
                status = self._staged.read_status(self._check, until)
                if status.state in CLOSED:
                    self._note_close(sent=True)
                    return False
                can_close = self._staged.can_close(status)
            except ApiError as failure:
                # A failure to read the status does not resolve a close in doubt.
                raise self._in_doubt or failure from None
            if not can_close:
                raise self._ended_by_another(status)
            if not self._staged.is_decided(status, time.monotonic() - began):
                interruptible_sleep(seconds, self._check)
            elif reads >= _MAX_STATUS_READS or not self._staged.was_paused():
                return True
        raise AssertionError("the intervals never end")

    def _ended_by_another(self, status: SessionStatus) -> errors.SessionEnded:
        is_known = status.state in STATES
        what = "was ended before this run closed it" if is_known else "is in an undocumented state"
        ended = errors.SessionEnded(
            f"Session {self._staged.id} {what}.", temporary=nothing_was_applied(status.state)
        )
        if not (status.state == "expired" and self._in_doubt):
            # A close in doubt may still apply an expired session.
            ended.session_outcome = f"According to its status {describe_end(status.state)}."
        return ended


class HeldSession(Closing):
    """A session that a run left open, closed by `sprintoctl`: with a person in the loop."""

    _is_read = False

    @processing_limits_retries()
    def apply(self) -> None:
        """Apply the session, or continue an earlier attempt; return once Sprinto has processed it.

        Raises the errors of a run, with the session's outcome.
        """
        try:
            response = None if self._is_closed() else super().apply()
            wait_until_processed(self._staged, response)
        except errors.SprintoError as failure:
            failure.session_outcome = failure.session_outcome or self._describe_failure()
            raise
        finally:
            self._staged.retry_policy.cancelled.set()

    def _describe_failure(self) -> str:
        session = self._staged.id
        last = self._staged.client.last_statuses.get(session)
        if self.close_sent or (last and last[0].state in CLOSED):
            return f"Session {session} was sent an apply request, and may still be applied."
        # A status that was read before is from before a person's confirmation.
        if not self._is_read:
            return f"The state of session {session} is unknown: an earlier `apply` may have closed it."
        return f"Session {session} was not changed: no apply request took effect."

    def _is_closed(self) -> bool:
        """Whether the session is already closed; if not, it can be closed and its counts are correct."""
        status = self._read_status()
        if not self.close_sent:
            try:
                self._staged.keep_alive_seconds = keep_alive_interval(status, self._timings.keep_alive)
                wait_for_other_sessions(self._staged)
                self._staged.reconcile()
            except errors.SessionEnded:
                # Another `apply` may have closed it meanwhile: if this read fails, it may be applied.
                self.close_sent = True
                status = self._read_status()
                if not self.close_sent:
                    raise
        if self.close_sent:
            log.warning(
                "Session %s is already %s: no apply request is sent."
                " If a run was applied since, its STATE is the newer one.",
                status.id,
                status.state,
            )
        return self.close_sent

    def _read_status(self) -> SessionStatus:
        status = self._staged.read_status()
        self.close_sent, self._is_read = status.state in CLOSED, True
        return status
