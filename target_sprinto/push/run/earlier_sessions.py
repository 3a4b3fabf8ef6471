"""The wait for other sessions of the integration that Sprinto is still processing."""

from __future__ import annotations

import logging
import time

from target_sprinto.push import errors
from target_sprinto.push.protocol.activity_log import logged_sessions
from target_sprinto.push.protocol.lifecycle import Processing, ProcessingWatch
from target_sprinto.push.protocol.responses import IntegrationSessions, SessionStatus
from target_sprinto.push.run.staged_session import StagedSession
from target_sprinto.push.transport.background import interruptible_sleep, interruptibly

log = logging.getLogger(__name__)


class OtherSessions:
    """Sessions closed earlier are processed first: Sprinto's order between them is not documented."""

    def __init__(self, staged: StagedSession) -> None:
        self._staged = staged
        self._watch = self._new_watch()
        self._failed_id: str | None = None
        self._failed_before = 0

    def wait(self, limit_seconds: float, keep_alive_seconds: float) -> None:
        """Return once no other session is processed any more, or with a warning after `limit_seconds`.

        Our own session is looked at where it would be silent for `keep_alive_seconds`, and as soon as no
        session is active any more. Raises SessionEnded if it was ended meanwhile.
        """
        staged = self._staged
        until = time.monotonic() + limit_seconds
        seen_inactive = False
        for seconds in staged.client.timings.poll_intervals():
            sessions = interruptibly(
                lambda: staged.client.integration_status(staged.retry_policy), staged.interrupted
            ).sessions
            inactive = sessions.active == 0 and not seen_inactive
            if inactive or staged.client.session_silence() >= keep_alive_seconds:
                seen_inactive = seen_inactive or inactive
                staged.require_closable(staged.look(staged.interrupted, staged.retry_policy))
            if not sessions.processing and not self._one_will_be_retried(sessions):
                return
            if time.monotonic() >= until:
                log.warning("Another session is still being processed; applying this one anyway.")
                return
            log.info("Waiting for another session of this integration to be processed.")
            interruptible_sleep(seconds, staged.interrupted)

    def _one_will_be_retried(self, sessions: IntegrationSessions) -> bool:
        """Whether the session opened before ours has failed, and Sprinto has still to retry it.

        The count alone does not say when a session failed. It is looked up again where the count has risen.
        """
        failed = sessions.failed if isinstance(sessions.failed, int) else 0
        if not failed:
            return False
        if failed > self._failed_before:
            self._failed_before = failed
            self._failed_id, self._watch = self._opened_before(), self._new_watch()
        status = self._status_of(self._failed_id) if self._failed_id else None
        return (
            status is not None
            and status.state in {"failed", "processing"}
            and self._watch.read(status, time.monotonic()) is Processing.PENDING
        )

    def _new_watch(self) -> ProcessingWatch:
        return ProcessingWatch(self._staged.client.timings.failed_final_after)

    def _opened_before(self) -> str | None:
        try:
            logged = logged_sessions(self._staged.logged_events(self._staged.interrupted))
        except errors.ApiError as failure:
            log.warning("%s Cannot check whether Sprinto is retrying the failed session.", failure.brief)
            return None
        return next((session.id for session in logged if session.id != self._staged.id), None)

    def _status_of(self, session_id: str) -> SessionStatus | None:
        """None where the status does not say: an old session may be unknown by now."""
        client, once = self._staged.client, self._staged.retry_policy.once()
        try:
            return interruptibly(lambda: client.session_status(session_id, once), self._staged.interrupted)
        except errors.ApiError:
            return None
