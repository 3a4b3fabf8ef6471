"""The end of input: counts reconciled, `close(apply)`, and the wait until Sprinto has processed it."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from target_sprinto.push import errors
from target_sprinto.push.lifecycle import (
    Comparison,
    Processing,
    ProcessingWatch,
    compare_counts,
    describe_end,
)
from target_sprinto.push.waiting import in_background, pause, pauses, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_sprinto.push.answers import SessionStatus
    from target_sprinto.push.client import Patience, SprintoClient
    from target_sprinto.push.waiting import Check, LastWords

log = logging.getLogger("target_sprinto.push")

_T = TypeVar("_T")

COUNTS_MAY_LAG_SECONDS = 30.0
"""How long counts may stay below what was sent before they are taken for final."""


class Closing:
    """Takes one session, all of whose pages were accepted, to `processed`.

    `sent` is what the pages held: ``{entity_type: int}``. `interrupted` may raise to end any wait before
    the close.
    """

    def __init__(
        self,
        client: SprintoClient,
        session_id: str,
        sent: Mapping[str, int],
        patience: Patience,
        interrupted: Check,
    ) -> None:
        self._client = client
        self._session_id = session_id
        self._sent = sent
        self._patience = patience
        self._interrupted = interrupted

    def reconcile(self) -> None:
        """Compare Sprinto's counts with what was sent, until they are equal or cannot become so.

        Raises CountsDiffer, or SessionEnded where the session is no longer active.
        """
        until = time.monotonic() + COUNTS_MAY_LAG_SECONDS
        for seconds in pauses():
            status = self._do(lambda: self._client.session_status(self._session_id, self._patience))
            if status.state != "active":
                raise errors.SessionEnded(
                    f"Session {self._session_id} was ended before this run closed it.",
                    "Run again; look in Sprinto's activity log for what ended it.",
                )
            comparison = compare_counts(self._sent, status.counts())
            if comparison is Comparison.EQUAL:
                return
            if comparison is Comparison.DIFFERENT or time.monotonic() >= until:
                raise self._counts_differ(status)
            pause(seconds, self._interrupted)

    def wait_for_other_sessions(self, limit_seconds: float) -> None:
        """Let sessions closed earlier be processed first: Sprinto's order between them is not documented."""
        until = time.monotonic() + limit_seconds
        for seconds in pauses():
            others = self._do(lambda: self._client.integration_status(self._patience)).sessions.processing
            if not others:
                return
            if time.monotonic() >= until:
                log.warning("Another session is still being processed; applying this one all the same.")
                return
            log.info("Waiting for another session of this integration to be processed.")
            pause(seconds, self._interrupted)

    def apply(self, last_words: LastWords) -> None:
        """Close with `apply`. Raises the ApiError that says whether that may have happened."""
        # An interruption ends the tries of a close that surely did not happen, so that it can be discarded.
        patience = replace(self._patience, stopped=last_words.heard)
        wait_for(in_background(lambda: self._client.apply_session(self._session_id, patience)), last_words)

    def wait_until_processed(self, limit_seconds: float, last_words: LastWords) -> None:
        """Poll until the session is processed, with the counts that were sent.

        Raises ProcessingFailed, ProcessingUnfinished, or CountsDiffer, seen only after all was applied.
        """
        until = time.monotonic() + limit_seconds
        watch = ProcessingWatch()
        for seconds in pauses():
            left = max(0.0, until - time.monotonic())
            patience = replace(self._patience, retry_seconds=min(self._patience.retry_seconds, left))
            call = in_background(partial(self._client.session_status, self._session_id, patience))
            status = wait_for(call, last_words)
            verdict = watch.read(status, time.monotonic())
            if verdict is Processing.PROCESSED:
                return self._compare_applied(status)
            if verdict is not Processing.PENDING:
                raise self._not_processed(status)
            if time.monotonic() >= until:
                raise errors.ProcessingUnfinished(
                    f"Sprinto did not finish processing within {limit_seconds:g} s.",
                    "Look at Sprinto later; raise `processing_timeout_seconds` if this is usual.",
                )
            pause(seconds, last_words)
        return None

    def _compare_applied(self, status: SessionStatus) -> None:
        if compare_counts(self._sent, status.counts()) is not Comparison.EQUAL:
            failure = self._counts_differ(status)
            failure.aftermath = f"This was seen only after session {self._session_id} was applied."
            raise failure

    def _not_processed(self, status: SessionStatus) -> errors.ProcessingFailed:
        failure = errors.ProcessingFailed(
            f"Sprinto did not process session {self._session_id}.",
            "Ask Sprinto's support about it. No STATE was written: a new run sends all again.",
        )
        failure.aftermath = f"By its status {describe_end(status.state)}."
        return failure

    def _counts_differ(self, status: SessionStatus) -> errors.CountsDiffer:
        return errors.CountsDiffer(
            f"Sprinto counts {_figures(status.counts())} where this run sent {_figures(self._sent)}.",
            "Run again; if it stays, ask Sprinto's support.",
        )

    def _do(self, call: Callable[[], _T]) -> _T:
        """Make a call without blocking this thread's ears."""
        return wait_for(in_background(call), self._interrupted)


def _figures(counts: Mapping[str, int]) -> str:
    """``{entity_type: int}`` as a reader wants it."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
