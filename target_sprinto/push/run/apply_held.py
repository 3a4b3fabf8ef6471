"""Applies a session that a run has left staged: for `sprintoctl`, with a person in the loop."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from target_sprinto.push import errors
from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.protocol.lifecycle import OnCountMismatch, keep_alive_interval
from target_sprinto.push.retry_loop import RetryPolicy
from target_sprinto.push.run.closing import CLOSED, Closing
from target_sprinto.push.run.earlier_sessions import wait_for_other_sessions
from target_sprinto.push.run.processing import wait_until_processed
from target_sprinto.push.run.run_options import Timeouts
from target_sprinto.push.run.staged_session import StagedSession
from target_sprinto.push.transport.background import InterruptCheck

log = logging.getLogger(__name__)


def apply_session(  # noqa: PLR0913, PLR0917 - what a session is applied with, and by which rule
    client: ApiClient,
    session_id: str,
    counts: Mapping[str, int],
    timeouts: Timeouts,
    on_count_mismatch: OnCountMismatch,
    interrupted: InterruptCheck,
    how_to_discard: str,
) -> None:
    """Return once Sprinto has processed the session, from wherever an earlier try has left it.

    `counts` is what must be in it: ``{entity_type: int}``. `interrupted` may raise to end any wait.
    `how_to_discard` is a sentence for hints. Raises as a run does, and reports the outcome of the session.
    """
    retry_policy = RetryPolicy(timeouts.request, timeouts.retry)
    staged = StagedSession(
        client, session_id, counts, retry_policy, interrupted, on_count_mismatch=on_count_mismatch
    )
    closing, limit = Closing(staged), timeouts.processing
    try:
        status, response = staged.look(), None
        closing.close_sent = status.state in CLOSED
        if not closing.close_sent:
            try:
                wait_for_other_sessions(staged, limit, keep_alive_interval(status, client.timings.keep_alive))
                staged.reconcile(0.0)
            except errors.SessionEnded:
                # Another `apply` may have closed it meanwhile.
                closing.close_sent = True
                status = staged.look()
                closing.close_sent = status.state in CLOSED
                if not closing.close_sent:
                    raise
        if closing.close_sent:
            log.warning(
                "Session %s is already %s: no apply request is sent."
                " If a run was applied since, its STATE is the newer one.",
                session_id,
                status.state,
            )
        else:
            response = closing.apply(limit)
        wait_until_processed(staged, response, limit)
    except errors.SprintoError as failure:
        what = (
            "sent an apply request, and may still be applied"
            if closing.close_sent
            else "left as it was: no apply request took effect"
        )
        failure.session_outcome = failure.session_outcome or f"Session {session_id} was {what}."
        if isinstance(failure, errors.SessionEnded):
            # A run opens another session; this one does not come back.
            failure.temporary = False
            failure.hint = (
                "Run the pipeline again. An expired session is applied only if none was opened since."
            )
        elif isinstance(failure, errors.CountMismatch):
            again = f"{how_to_discard} Then run" if not closing.close_sent else "Run"
            failure.hint = f"{again} the pipeline again; if it persists, ask Sprinto's support."
        elif closing.close_sent and isinstance(failure, errors.Interrupted | errors.ProcessingTimeout):
            failure.hint = "Run the same command again: it resumes, and then prints the receipt's STATE."
            if isinstance(failure, errors.ProcessingTimeout):
                failure.hint += " Raise `Timeouts(processing=…)` if this is usual."
        raise
    finally:
        retry_policy.cancelled.set()
