"""Applies a session that a run has left staged: for `sprintoctl`, with a person in the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_sprinto.push import errors
from target_sprinto.push.client import RetryPolicy
from target_sprinto.push.protocol.lifecycle import Event, OnCountMismatch, keep_alive_interval
from target_sprinto.push.run.closing import Closing
from target_sprinto.push.run.other_sessions import OtherSessions
from target_sprinto.push.run.processing import wait_until_processed
from target_sprinto.push.run.staged_session import StagedSession
from target_sprinto.push.transport import timing
from target_sprinto.push.transport.background import Check, GracePeriod, in_background, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_sprinto.push.client import SprintoClient
    from target_sprinto.push.protocol.responses import SessionStatus
    from target_sprinto.push.run.run import Timeouts

_CLOSED_STATES = frozenset({"processing", "processed", "failed"})


class Applying:
    """One session on its way from `active` to `processed`, or from wherever an earlier try has left it.

    `counts` is what must be in it: ``{entity_type: int}``. `interrupted` may raise to end any wait.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a session is applied with, and by which rule
        self,
        client: SprintoClient,
        session_id: str,
        counts: Mapping[str, int],
        timeouts: Timeouts,
        on_count_mismatch: OnCountMismatch,
        interrupted: Check,
    ) -> None:
        self._client = client
        self._session_id = session_id
        self._processing_seconds = timeouts.processing_seconds
        self._interrupted = interrupted
        self._patience = RetryPolicy(timeouts.request_seconds, timeouts.retry_seconds)
        self._staged = StagedSession(
            client, session_id, counts, self._patience, interrupted, on_count_mismatch=on_count_mismatch
        )
        self._told = False

    def apply(self) -> None:
        """Return once Sprinto has processed it. Raises as a run does, and says what became of the session."""
        grace = GracePeriod(self._interrupted, timing.current.end_after_signal)
        try:
            status = wait_for(
                in_background(lambda: self._client.session_status(self._session_id, self._patience)),
                self._interrupted,
            )
            response = None
            self._told = status.state in _CLOSED_STATES
            if not self._told:
                OtherSessions(self._staged).wait(self._processing_seconds, keep_alive_interval(status))
                self._staged.reconcile(0.0)
                self._interrupted()
                response = self._apply(grace)
            wait_until_processed(self._staged, response, self._processing_seconds, grace)
        except errors.SprintoError as failure:
            failure.session_outcome = failure.session_outcome or self._session_outcome
            if isinstance(failure, errors.SessionEnded):
                # A run opens another session; this one does not come back.
                failure.temporary = False
            raise
        finally:
            self._patience.stopped.set()

    def _apply(self, grace: GracePeriod) -> SessionStatus | None:
        try:
            return Closing(self._staged).apply(self._processing_seconds, grace, self._moved)
        except errors.ApiError:
            self._interrupted()
            raise

    def _moved(self, event: Event) -> None:
        self._told = event is Event.APPLY_SENT

    @property
    def _session_outcome(self) -> str:
        if self._told:
            return f"Session {self._session_id} was told to apply, and may yet be applied."
        return f"Session {self._session_id} was not told to apply, and is left as it was."
