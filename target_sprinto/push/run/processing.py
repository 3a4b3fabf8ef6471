"""The wait for `processed`, once a session was closed with `apply`."""

from __future__ import annotations

import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from target_sprinto.push import errors
from target_sprinto.push.protocol.lifecycle import Comparison, Processing, ProcessingWatch, describe_end
from target_sprinto.push.transport import timing
from target_sprinto.push.transport.background import pause, pauses

if TYPE_CHECKING:
    from target_sprinto.push.protocol.responses import SessionStatus
    from target_sprinto.push.run.staged_session import StagedSession
    from target_sprinto.push.transport.background import LastWords

log = logging.getLogger("target_sprinto.push")


def wait_until_processed(
    staged: StagedSession, response: SessionStatus | None, limit_seconds: float, last_words: LastWords
) -> None:
    """Poll until the session is processed, with the counts that were sent.

    Counts below them may lag, here as before the close. Raises ProcessingFailed, ProcessingUnfinished,
    or CountsDiffer, seen only after all was applied.
    """
    until = time.monotonic() + limit_seconds
    watch = ProcessingWatch()
    refused_since: float | None = None
    processed_since: float | None = None
    for seconds in pauses():
        try:
            status = staged.look(last_words, staged.patience_until(until))
        except (errors.NotFound, errors.KeyRefused) as refusal:
            refused_since = refused_since or time.monotonic()
            forbidden = refusal.status == HTTPStatus.FORBIDDEN
            if forbidden or time.monotonic() - refused_since >= timing.current.replica:
                raise
            log.warning("%s Reading it again.", refusal)
            pause(seconds, last_words)
            continue
        refused_since = None
        now = time.monotonic()
        verdict = watch.read(status, now)
        if verdict is Processing.PROCESSED:
            processed_since = processed_since or now
            below = staged.compare(status) is Comparison.BELOW
            if not below or now - processed_since >= timing.current.lag:
                return _compare_applied(staged, response, status)
        elif verdict is not Processing.PENDING:
            raise _not_processed(staged, status)
        elif now >= until:
            raise errors.ProcessingUnfinished(
                f"Sprinto did not finish processing within {limit_seconds:g} s.",
                "Look at Sprinto later; raise `processing_timeout_seconds` if this is usual.",
            )
        pause(seconds, last_words)
    return None


def _compare_applied(staged: StagedSession, response: SessionStatus | None, processed: SessionStatus) -> None:
    """Compare the counts once more: at `processed`, and whether the close's response was above them."""
    aftermath = f"This was seen only after session {staged.id} was applied."
    if response is not None:
        try:
            above = staged.compare(response) is Comparison.DIFFERENT
        except errors.UnexpectedAnswer:
            # It may have none; those at `processed` decide.
            above = False
        if above:
            staged.report_mismatch(response, aftermath)
    if staged.compare(processed) is not Comparison.EQUAL:
        staged.report_mismatch(processed, aftermath)


def _not_processed(staged: StagedSession, status: SessionStatus) -> errors.ProcessingFailed:
    failure = errors.ProcessingFailed(
        f"Sprinto did not process session {staged.id}.",
        "Ask Sprinto's support about it. No STATE was written: a new run sends all again.",
    )
    failure.aftermath = f"By its status {describe_end(status.state)}."
    return failure
