"""Waits for Sprinto to process sessions: the earlier ones before the close, the run's own after it."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from http import HTTPStatus
from math import inf

from target_sprinto.push import errors
from target_sprinto.push.activity_log_reader import recent_events
from target_sprinto.push.protocol.activity_log import logged_sessions
from target_sprinto.push.protocol.lifecycle import Comparison, ProcessingWatch, describe_end
from target_sprinto.push.protocol.responses import SessionStatus
from target_sprinto.push.run.staged_session import StagedSession
from target_sprinto.push.transport.background import (
    POLL_INTERVAL,
    Deadline,
    in_background,
    interruptible_sleep,
    interruptibly,
    result_before,
    sleep_before,
)

log = logging.getLogger(__name__)

_POLL_AFTER_SIGNAL_SECONDS = 0.5


def wait_for_other_sessions(staged: StagedSession) -> None:
    """Return once no other session is being processed, or with a warning once its limit is reached.

    Sprinto does not document in which order it processes sessions, so those closed earlier go first. Once no
    session is active, the run's own is read: this raises SessionEnded if it has ended, or CountMismatch.
    """
    until = time.monotonic() + staged.limit_seconds
    failed = _FailedSession(staged, until)
    seen_inactive = noted = False
    for seconds in staged.client.timings.poll_intervals():
        sessions = interruptibly(
            lambda: staged.client.integration_status(staged.retry_policy), staged.check
        ).sessions
        if sessions.active == 0 and not seen_inactive:
            seen_inactive = True
            staged.require_closable(staged.read_status())
        if not sessions.processing and not failed.will_be_retried(sessions.failed):
            return
        if time.monotonic() >= until:
            log.warning("Another session is still being processed; applying this one anyway.")
            return
        if not noted:
            log.info("Waiting for another session of this integration to be processed.")
            noted = True
        interruptible_sleep(seconds, staged.check)


class _FailedSession:
    """The session opened before this run's, if it has failed."""

    def __init__(self, staged: StagedSession, until: float) -> None:
        self._staged = staged
        self._until = until
        self._count = 0
        self._id: str | None = None
        self._watch: ProcessingWatch

    def will_be_retried(self, count: object) -> bool:
        """Whether Sprinto is still going to retry the session. `count` is how many sessions have failed.

        The count does not show when a session failed, so the session is looked up whenever it has risen.
        """
        if not isinstance(count, int) or count <= 0:
            return False
        staged = self._staged
        final_after = staged.client.timings.failed_final_after
        left = max(0.0, min(self._until - time.monotonic(), final_after))
        policy = replace(staged.retry_policy, retry_seconds=left)
        try:
            if count > self._count:
                self._count, self._id = count, None
                self._watch = ProcessingWatch(final_after)
                logged = logged_sessions(recent_events(staged.client, policy, staged.check))
                self._id = next((session.id for session in logged if session.id != staged.id), None)
            if (session_id := self._id) is None:
                return False
            status = interruptibly(lambda: staged.client.session_status(session_id, policy), staged.check)
        except errors.ApiError as failure:
            # Sprinto may no longer know about an old session.
            if self._id is None or not isinstance(failure, errors.NotFound):
                log.warning("%s Cannot check whether Sprinto is retrying the failed session.", failure.brief)
            self._id = None
            return False
        return status.state in {"failed", "processing"} and self._watch.is_pending(status, time.monotonic())


def wait_until_processed(staged: StagedSession, response: SessionStatus | None) -> None:
    """Poll until the session is processed with the counts that were sent.

    Lower or missing counts may be lagging, as before the close. If a page was sent again, a late copy of it
    may still be counted, so equal counts are read again for a while; if that is interrupted or fails, the
    first ones decide. Raises ProcessingFailed, ProcessingTimeout, or, for applied records, CountMismatch.
    """
    staged.keep_alive_seconds = inf
    timings = staged.client.timings
    until = time.monotonic() + staged.limit_seconds
    watch = ProcessingWatch(timings.failed_final_after)
    unreadable_since: float | None = None
    processed_since: float | None = None
    for seconds in timings.poll_intervals():
        try:
            status = staged.read_status(staged.grace, until)
        except (errors.NotFound, errors.Unauthorized) as unreadable:
            unreadable_since = unreadable_since or time.monotonic()
            forbidden = unreadable.status == HTTPStatus.FORBIDDEN
            if forbidden or time.monotonic() - unreadable_since >= timings.max_replica_lag:
                raise
            log.warning("%s Reading it again.", unreadable.brief)
            _sleep(staged, seconds)
            continue
        unreadable_since = None
        now = time.monotonic()
        if status.state == "processed":
            processed_since = processed_since or now
            comparison = _compared(staged, status)
            if comparison is Comparison.EQUAL:
                status = _settled(staged, status, watch)
                break
            if comparison is Comparison.DIFFERENT or now - processed_since >= timings.max_count_lag:
                break
        elif not watch.is_pending(status, now):
            raise _failed(status)
        elif now >= until:
            raise errors.ProcessingTimeout(
                f"Sprinto did not finish processing within {staged.limit_seconds:g} s."
            )
        _sleep(staged, seconds)
    _compare_applied(staged, response, status)


def _sleep(staged: StagedSession, seconds: float) -> None:
    """Sleep until the next poll; after a signal, which leaves only seconds, not for long."""
    poll = Deadline(seconds, staged.interrupted, min(seconds, _POLL_AFTER_SIGNAL_SECONDS))
    while left := poll.remaining():
        interruptible_sleep(min(POLL_INTERVAL, left), staged.grace)


def _settled(staged: StagedSession, equal: SessionStatus, watch: ProcessingWatch) -> SessionStatus:
    """Read again while a late copy may show: the first status whose counts differ, or else `equal`."""
    timings, once = staged.client.timings, staged.retry_policy.once()
    left = max(0.0, staged.resent_at + timings.quiet_period - time.monotonic())
    settling = Deadline(left, staged.interrupted)
    reads_end = Deadline(
        left + timings.shutdown_request_timeout, staged.interrupted, timings.signal_shutdown_timeout / 3
    )
    failure: errors.SprintoError | TimeoutError | None = None
    for seconds in timings.poll_intervals():
        if not settling.remaining():
            break
        asked_to_wait = (isinstance(failure, errors.ApiError) and failure.retry_after) or 0.0
        if asked_to_wait > settling.remaining():
            break
        sleep_before(settling, max(seconds, asked_to_wait))
        try:
            reading = in_background(lambda: staged.client.session_status(staged.id, once))
            status = result_before(reading, reads_end)
        except (errors.SprintoError, TimeoutError) as unreadable:
            failure = unreadable
            continue
        failure = None
        if status.state == "processed":
            if _compared(staged, status) is Comparison.DIFFERENT:
                return status
        elif not watch.is_pending(status, time.monotonic()):
            raise _failed(status)
    if failure is not None:
        log.warning(
            "The counts of session %s were correct once it was processed, but could not be read again.",
            staged.id,
        )
    return equal


def _failed(status: SessionStatus) -> errors.ProcessingFailed:
    failure = errors.ProcessingFailed(f"Sprinto did not process session {status.id}.")
    failure.session_outcome = f"According to its status {describe_end(status.state)}."
    return failure


def _compared(staged: StagedSession, processed: SessionStatus) -> Comparison | None:
    """The comparison of the counts; None if the status has none."""
    try:
        return staged.compare(processed)
    except errors.UnexpectedResponse:
        return None


def _compare_applied(staged: StagedSession, response: SessionStatus | None, processed: SessionStatus) -> None:
    """Compare the counts at `processed`, and check that those of the close's response were not higher."""
    session_outcome = f"This was seen only after session {staged.id} was applied."
    # The response may have no counts; those at `processed` decide.
    if response is not None and _compared(staged, response) is Comparison.DIFFERENT:
        staged.report_mismatch(response, session_outcome)
    try:
        if staged.compare(processed) is not Comparison.EQUAL:
            staged.report_mismatch(processed, session_outcome)
    except errors.UnexpectedResponse as unreadable:
        mismatch = errors.CountMismatch(unreadable.message)
        mismatch.session_outcome = session_outcome
        raise mismatch from None
