"""Waits for other sessions of the integration that Sprinto is still processing."""

from __future__ import annotations

import logging
import time

from target_sprinto.push import errors
from target_sprinto.push.activity_log_reader import recent_events
from target_sprinto.push.protocol.activity_log import logged_sessions
from target_sprinto.push.protocol.lifecycle import Processing, ProcessingWatch
from target_sprinto.push.run.staged_session import StagedSession
from target_sprinto.push.transport.background import interruptible_sleep, interruptibly

log = logging.getLogger(__name__)


def wait_for_other_sessions(staged: StagedSession, limit_seconds: float) -> None:
    """Return once no other session is being processed, or with a warning after `limit_seconds`.

    Sprinto does not document in which order it processes sessions, so those closed earlier go first. The
    run's own session is read once no session is active. Raises SessionEnded if it ended meanwhile, or
    CountMismatch.
    """
    until = time.monotonic() + limit_seconds
    failed = _FailedSession(staged)
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

    def __init__(self, staged: StagedSession) -> None:
        self._staged = staged
        self._count = 0
        self._id: str | None = None
        self._watch: ProcessingWatch

    def will_be_retried(self, count: object) -> bool:
        """Whether Sprinto is still going to retry the session. `count` is how many sessions have failed.

        The count does not show when a session failed, so the session is looked up whenever it has risen.
        """
        if not isinstance(count, int) or count <= 0:
            return False
        if count > self._count:
            self._count, self._id = count, self._opened_before()
            self._watch = ProcessingWatch(self._staged.client.timings.failed_final_after)
        if self._id is None:
            return False
        client, once = self._staged.client, self._staged.retry_policy.once()
        session_id = self._id
        try:
            status = interruptibly(lambda: client.session_status(session_id, once), self._staged.check)
        except errors.ApiError:
            # Sprinto may no longer know an old session.
            return False
        return (
            status.state in {"failed", "processing"}
            and self._watch.read(status, time.monotonic()) is Processing.PENDING
        )

    def _opened_before(self) -> str | None:
        try:
            staged = self._staged
            logged = logged_sessions(recent_events(staged.client, staged.retry_policy, staged.check))
        except errors.ApiError as failure:
            log.warning("%s Cannot check whether Sprinto is retrying the failed session.", failure.brief)
            return None
        return next((session.id for session in logged if session.id != self._staged.id), None)
