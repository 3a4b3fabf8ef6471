"""The end of input: counts reconciled, `close(apply)`, and the wait until Sprinto has processed it."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from target_sprinto.push import errors
from target_sprinto.push.errors import ApiError
from target_sprinto.push.protocol.activity_log import LOOK_BACK, is_latest, logged_sessions
from target_sprinto.push.protocol.lifecycle import (
    Comparison,
    OnCountMismatch,
    Processing,
    ProcessingWatch,
    compare_counts,
    describe_end,
    nobody_knows,
    nothing_was_applied,
)
from target_sprinto.push.text import figures
from target_sprinto.push.transport import timing
from target_sprinto.push.transport.background import in_background, pause, pauses, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_sprinto.push.client import Patience, SprintoClient
    from target_sprinto.push.protocol.responses import SessionStatus
    from target_sprinto.push.transport.background import Check, LastWords

log = logging.getLogger("target_sprinto.push")

_T = TypeVar("_T")


class Closing:
    """Takes one session, all of whose pages were accepted, to `processed`.

    `sent` is what the pages held: ``{entity_type: int}``. `interrupted` may raise to end any wait before
    the close.
    """

    def __init__(  # noqa: PLR0913 - what a session is closed with, and by which rule
        self,
        client: SprintoClient,
        session_id: str,
        sent: Mapping[str, int],
        patience: Patience,
        interrupted: Check,
        *,
        on_count_mismatch: OnCountMismatch,
    ) -> None:
        self._client = client
        self._session_id = session_id
        self._sent = sent
        self._patience = patience
        self._interrupted = interrupted
        self._on_count_mismatch = on_count_mismatch
        self._answer: SessionStatus | None = None

    def reconcile(self, still_seconds: float) -> SessionStatus:
        """Compare Sprinto's counts with what was sent, until they are equal or cannot become so.

        They must then stand still for `still_seconds`: a page that was sent again may have landed twice,
        the first one late. Returns the status that decided it. Raises CountsDiffer unless the user wants to
        apply all the same, or SessionEnded where the session takes no close any more.
        """
        began = time.monotonic()
        equal_since: float | None = None
        for seconds in pauses():
            status = self._do(lambda: self._client.session_status(self._session_id, self._patience))
            if not self._takes_close(status, self._interrupted):
                raise self._ended(status)
            now = time.monotonic()
            comparison = compare_counts(self._sent, status.counts())
            if comparison is Comparison.EQUAL:
                equal_since = now if equal_since is None else equal_since
                if now - equal_since >= still_seconds:
                    return status
            elif (
                comparison is Comparison.DIFFERENT
                or equal_since is not None
                or now - began >= timing.current.lag
            ):
                # A page that was sent again may be there twice, which the next run may be spared.
                self._differ(status, temporary=still_seconds > 0)
                return status
            pause(seconds, self._interrupted)
        raise AssertionError("pauses never end")

    def require_active(self, status: SessionStatus) -> None:
        """Raise SessionEnded unless the session is as it was left."""
        if status.state != "active":
            raise self._ended(status)

    def _ended(self, status: SessionStatus) -> errors.SessionEnded:
        return errors.SessionEnded(
            f"Session {self._session_id} takes no close: its state is {status.state!r}.",
            "Run again; look in Sprinto's activity log for what ended it.",
            temporary=nothing_was_applied(status.state),
        )

    def _takes_close(self, status: SessionStatus, check: Check) -> bool:
        """Whether `close(apply)` may be sent from the session's state.

        From `expired` it may (Sprinto: Session Management), which is used only where the activity log shows
        that this session was the last to be opened: what came later must not be overwritten.
        """
        if status.state != "expired":
            return status.state == "active"
        call = in_background(lambda: list(self._client.events(LOOK_BACK, self._patience)))
        events = wait_for(call, check)
        if not is_latest(self._session_id, logged_sessions(events)):
            return False
        log.warning("Session %s has expired; it is the latest, so it is applied all the same.", status.id)
        return True

    def wait_for_other_sessions(self, limit_seconds: float, keep_alive_seconds: float) -> None:
        """Let sessions closed earlier be processed first: Sprinto's order between them is not documented.

        Our own session is asked for its status where it would be silent for `keep_alive_seconds`.
        """
        until = time.monotonic() + limit_seconds
        for seconds in pauses():
            others = self._do(lambda: self._client.integration_status(self._patience)).sessions.processing
            if not others:
                return
            if time.monotonic() >= until:
                log.warning("Another session is still being processed; applying this one all the same.")
                return
            log.info("Waiting for another session of this integration to be processed.")
            if self._client.session_silence() >= keep_alive_seconds:
                self._do(lambda: self._client.session_status(self._session_id, self._patience))
            pause(seconds, self._interrupted)

    def apply(self, last_words: LastWords) -> None:
        """Close with `apply`; return once that has happened, as far as Sprinto's status can show it.

        Raises the ApiError whose `certainty` says whether it may have happened all the same.
        """
        # An interruption ends the tries of a close that surely did not happen, so that it can be discarded.
        patience = replace(self._patience, stopped=last_words.heard)
        until = time.monotonic() + self._patience.retry_seconds
        lost: ApiError | None = None
        for seconds in pauses():
            call = in_background(lambda: self._client.apply_session(self._session_id, patience))
            try:
                self._answer = wait_for(call, last_words)
            except ApiError as failure:
                if nobody_knows(failure):
                    lost = failure
                elif not isinstance(failure, errors.Conflict):
                    # A refusal of a later try says nothing of the earlier one.
                    raise lost or failure from None
                log.warning("%s Finding out whether the close has happened.", failure)
                if self._has_left_active(lost or failure, last_words):
                    return
                # Once it may have happened, the time that an interruption leaves is for finding out.
                given_up = lost is None and last_words.heard.is_set()
                if given_up or time.monotonic() >= until:
                    raise lost or failure from None
                pause(seconds, last_words)
            else:
                return

    def _has_left_active(self, failure: ApiError, last_words: LastWords) -> bool:
        """Whether the session is on its way to `processed`; False where it can be closed again."""
        call = in_background(lambda: self._client.session_status(self._session_id, self._patience))
        try:
            status = wait_for(call, last_words)
            if status.state in {"processing", "processed", "failed"}:
                return True
            takes_close = self._takes_close(status, last_words)
        except ApiError:
            # What is asked here says nothing of the close.
            raise failure from None
        if takes_close:
            if compare_counts(self._sent, status.counts()) is Comparison.DIFFERENT:
                # A page has landed late: what would be applied now is known not to be the run.
                if not nobody_knows(failure) and self._on_count_mismatch is OnCountMismatch.DISCARD:
                    raise failure
                self._differ(status)
            return False
        ended = errors.SessionEnded(
            f"Session {self._session_id} was ended before this run closed it.",
            "Run again; look in Sprinto's activity log for what ended it.",
            temporary=nothing_was_applied(status.state),
        )
        if not (status.state == "expired" and nobody_knows(failure)):
            # From `expired` a lost close may yet apply it.
            ended.aftermath = f"By its status {describe_end(status.state)}."
        raise ended

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

    def _compare_applied(self, processed: SessionStatus) -> None:
        """Compare the counts once more, in the close's answer where it had any, and at `processed`."""
        answered = self._answer is not None and self._answer.accepted_records_by_entity is not None
        for status in (self._answer, processed) if answered else (processed,):
            if status is not None and compare_counts(self._sent, status.counts()) is not Comparison.EQUAL:
                self._differ(status, f"This was seen only after session {self._session_id} was applied.")

    def _not_processed(self, status: SessionStatus) -> errors.ProcessingFailed:
        failure = errors.ProcessingFailed(
            f"Sprinto did not process session {self._session_id}.",
            "Ask Sprinto's support about it. No STATE was written: a new run sends all again.",
        )
        failure.aftermath = f"By its status {describe_end(status.state)}."
        return failure

    def _differ(self, status: SessionStatus, aftermath: str = "", *, temporary: bool = False) -> None:
        """Raise CountsDiffer, or warn where the user wants to apply all the same.

        Not from `expired`: there a close is allowed only if the counts are right.
        """
        counted, sent = figures(status.counts(), self._sent), figures(self._sent)
        what = f"Sprinto counts {counted} where this run sent {sent}."
        if self._on_count_mismatch is OnCountMismatch.APPLY and status.state != "expired":
            log.warning("%s It is applied all the same (`on_count_mismatch`).", what)
            return
        failure = errors.CountsDiffer(
            what, "Run again; if it stays, ask Sprinto's support.", temporary=temporary
        )
        failure.aftermath = aftermath
        raise failure

    def _do(self, call: Callable[[], _T]) -> _T:
        """Make a call without blocking this thread's ears."""
        return wait_for(in_background(call), self._interrupted)
