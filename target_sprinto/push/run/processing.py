"""Waits for `processed` after a session was closed with `apply`."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from http import HTTPStatus
from math import inf

from target_sprinto.push import errors
from target_sprinto.push.protocol.lifecycle import Comparison, Processing, ProcessingWatch, describe_end
from target_sprinto.push.protocol.responses import SessionStatus
from target_sprinto.push.run.staged_session import StagedSession
from target_sprinto.push.transport.background import Deadline, interruptible_sleep

log = logging.getLogger(__name__)


def wait_until_processed(
    staged: StagedSession, response: SessionStatus | None, limit_seconds: float, settled_at: float = 0.0
) -> None:
    """Poll until the session is processed with the counts that were sent.

    Lower or missing counts may be lagging, as before the close. A page that was sent again after a stale
    connection may yet show up twice until `settled_at`, in monotonic seconds. Raises ProcessingFailed,
    ProcessingTimeout, or, if the records were already applied, CountMismatch.
    """
    staged.keep_alive_seconds = inf
    timings = staged.client.timings
    until = time.monotonic() + limit_seconds
    watch = ProcessingWatch(timings.failed_final_after)
    unreadable_since: float | None = None
    processed_since: float | None = None
    settling = Deadline(max(0.0, settled_at - time.monotonic()), staged.interrupted)
    for seconds in timings.poll_intervals():
        try:
            status = staged.read_status_until(until, staged.grace)
        except (errors.NotFound, errors.Unauthorized) as unreadable:
            unreadable_since = unreadable_since or time.monotonic()
            forbidden = unreadable.status == HTTPStatus.FORBIDDEN
            if forbidden or time.monotonic() - unreadable_since >= timings.max_replica_lag:
                raise
            log.warning("%s Reading it again.", unreadable.brief)
            interruptible_sleep(seconds, staged.grace)
            continue
        unreadable_since = None
        now = time.monotonic()
        verdict = watch.read(status, now)
        if verdict is Processing.PROCESSED:
            processed_since = processed_since or now
            comparison = _compared(staged, status)
            if comparison is Comparison.EQUAL:
                may_change = settling.remaining() > 0
            else:
                lags = comparison is not Comparison.DIFFERENT
                may_change = lags and now - processed_since < timings.max_count_lag
            if not may_change:
                return _compare_applied(staged, response, status)
        elif verdict is Processing.NOT_PROCESSED:
            failure = errors.ProcessingFailed(f"Sprinto did not process session {staged.id}.")
            failure.session_outcome = f"According to its status {describe_end(status.state)}."
            raise failure
        elif now >= until:
            raise errors.ProcessingTimeout(f"Sprinto did not finish processing within {limit_seconds:g} s.")
        interruptible_sleep(seconds, staged.grace)
    return None


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
    with suppress(errors.UnexpectedResponse):
        if response is not None and staged.compare(response) is Comparison.DIFFERENT:
            staged.report_mismatch(response, session_outcome)
    try:
        if staged.compare(processed) is not Comparison.EQUAL:
            staged.report_mismatch(processed, session_outcome)
    except errors.UnexpectedResponse as unreadable:
        mismatch = errors.CountMismatch(unreadable.message)
        mismatch.session_outcome = session_outcome
        raise mismatch from None
