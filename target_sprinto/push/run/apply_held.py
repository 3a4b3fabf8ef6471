"""Applies a held session, for `sprintoctl`: with a person in the loop."""

from __future__ import annotations

import logging

from target_sprinto.push import errors
from target_sprinto.push.protocol.lifecycle import keep_alive_interval
from target_sprinto.push.protocol.responses import SessionStatus
from target_sprinto.push.run.closing import CLOSED, Closing
from target_sprinto.push.run.processing import wait_for_other_sessions, wait_until_processed
from target_sprinto.push.run.staged_session import processing_limits_retries

log = logging.getLogger(__name__)


class HeldSession(Closing):
    """A session that a run left open."""

    @processing_limits_retries()
    def apply(self) -> SessionStatus | None:
        """Apply the session, or continue an earlier attempt; return once Sprinto has processed it.

        Raises the errors of a run, with the session's outcome.
        """
        try:
            response = None if self._is_closed() else super().apply()
            wait_until_processed(self._staged, response)
        except errors.SprintoError as failure:
            what = (
                "sent an apply request, and may still be applied"
                if self.close_sent
                else "left as it was: no apply request took effect"
            )
            failure.session_outcome = failure.session_outcome or f"Session {self._staged.id} was {what}."
            raise
        else:
            return response
        finally:
            self._staged.retry_policy.cancelled.set()

    def _is_closed(self) -> bool:
        """Whether the session is already closed; if not, it can be closed and its counts are correct."""
        status = self._read_status()
        if not self.close_sent:
            timings = self._staged.client.timings
            try:
                self._staged.keep_alive_seconds = keep_alive_interval(status, timings.keep_alive)
                wait_for_other_sessions(self._staged)
                self._staged.reconcile(0.0)
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
        self.close_sent = status.state in CLOSED
        return status
