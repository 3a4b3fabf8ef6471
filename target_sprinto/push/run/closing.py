"""The end of input: counts reconciled, `close(apply)`, and the wait until Sprinto has processed it."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from target_sprinto.push import errors
from target_sprinto.push.client import REPEATABLE, next_wait
from target_sprinto.push.errors import ApiError
from target_sprinto.push.protocol import retry
from target_sprinto.push.protocol.activity_log import LOOK_BACK, is_latest, logged_sessions
from target_sprinto.push.protocol.lifecycle import (
    Comparison,
    Event,
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
from target_sprinto.push.transport.background import Heartbeat, in_background, pause, pauses, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from target_sprinto.push.client import Patience, SprintoClient
    from target_sprinto.push.protocol.responses import IntegrationSessions, SessionStatus
    from target_sprinto.push.transport.background import Check, LastWords

log = logging.getLogger("target_sprinto.push")

_T = TypeVar("_T")

_CLOSED = frozenset({"processing", "processed", "failed"})
"""States behind `close(apply)`."""

_MOST_LOOKS = 5
"""So often a look is repeated because this process stood still meanwhile."""


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
        self._heartbeat = Heartbeat()
        self._tolerated: Mapping[str, int] | None = None
        self._in_doubt: ApiError | None = None
        self._close_sent = False
        self._resent = False

    def wait_for_other_sessions(self, limit_seconds: float, keep_alive_seconds: float) -> None:
        """Let sessions closed earlier be processed first: Sprinto's order between them is not documented.

        Our own session is looked at where it would be silent for `keep_alive_seconds`, and as soon as no
        session is active any more. Raises SessionEnded if it was ended meanwhile.
        """
        until = time.monotonic() + limit_seconds
        seen_inactive = False
        for seconds in pauses():
            sessions = self._do(lambda: self._client.integration_status(self._patience)).sessions
            inactive = sessions.active == 0 and not seen_inactive
            if inactive or self._client.session_silence() >= keep_alive_seconds:
                seen_inactive = seen_inactive or inactive
                self._require_closable(self._look(self._interrupted, self._patience))
            if not self._others_are_processing(sessions):
                return
            if time.monotonic() >= until:
                log.warning("Another session is still being processed; applying this one all the same.")
                return
            log.info("Waiting for another session of this integration to be processed.")
            pause(seconds, self._interrupted)

    def reconcile(self, still_seconds: float) -> SessionStatus:
        """Compare Sprinto's counts with what was sent, until they are equal or cannot become so.

        They must then stand still for `still_seconds`: a page that was sent again may have landed twice,
        the first one late. Returns the status that decided it. Raises CountsDiffer unless the user wants to
        apply all the same, or SessionEnded where the session takes no close any more.
        """
        self._resent = still_seconds > 0
        began = time.monotonic()
        equal_since: float | None = None
        for seconds in pauses():
            status = self._look(self._interrupted, self._patience)
            if not self._takes_close(status):
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
                self._differ(status)
                return status
            pause(seconds, self._interrupted)
        raise AssertionError("pauses never end")

    def require_active(self, status: SessionStatus) -> None:
        """Raise SessionEnded unless the session is as it was left."""
        if status.state != "active":
            raise self._ended(status)

    def apply(self, limit_seconds: float, last_words: LastWords, moved: Callable[[Event], None]) -> None:
        """Close with `apply`; return once that has happened, as far as Sprinto's status can show it.

        Comes directly after `reconcile`, whose last look is the one before the first attempt; before each
        later one the session is looked at again. `moved` is called with APPLY_SENT before an attempt, and
        with APPLY_DID_NOT_HAPPEN once every attempt so far was definitely not performed.
        """
        until = time.monotonic() + limit_seconds
        waits = retry.waits(limit_seconds)
        next(waits)
        one_try = replace(self._patience, retry_seconds=0.0)
        for attempt, seconds in enumerate(pauses()):
            # Without an attempt in doubt an interruption ends this at once, so that it can be discarded.
            check = last_words if self._in_doubt else self._interrupted
            if attempt:
                pause(seconds, check)
            if (attempt or self._heartbeat.stood_still()) and not self._may_close(check, until, moved):
                return
            self._note_close(moved, sent=True)
            call = in_background(lambda: self._client.apply_session(self._session_id, one_try))
            try:
                self._answer = wait_for(call, last_words)
            except ApiError as failure:
                self._after_attempt(failure, moved)
                pause(self._until_next_attempt(failure, waits, until), self._interrupted_or(last_words))
            else:
                return

    def _interrupted_or(self, last_words: LastWords) -> Check:
        return last_words if self._in_doubt else self._interrupted

    def _after_attempt(self, failure: ApiError, moved: Callable[[Event], None]) -> None:
        if nobody_knows(failure):
            self._in_doubt = failure
        elif failure.certainty is errors.Certainty.DID_NOT_HAPPEN and self._in_doubt is None:
            self._note_close(moved, sent=False)

    def _until_next_attempt(
        self, failure: ApiError, waits: Generator[float, Exception, None], until: float
    ) -> float:
        """Seconds to wait. Raises where there is to be no next attempt."""
        # A refusal of a later attempt says nothing of an earlier one.
        decisive = self._in_doubt or failure
        wait = 0.0
        if isinstance(failure, REPEATABLE):
            try:
                wait = next_wait(waits, failure, self._patience_until(until))
            except ApiError:
                raise decisive from None
        elif not (nobody_knows(failure) or isinstance(failure, errors.Conflict)):
            raise decisive from None
        if time.monotonic() >= until:
            raise decisive from None
        tried = isinstance(failure, REPEATABLE)
        what = f"Trying again in {wait:.1f} s." if tried else "Finding out whether the close has happened."
        log.warning("%s %s", failure, what)
        return wait

    def _note_close(self, moved: Callable[[Event], None], *, sent: bool) -> None:
        if sent is not self._close_sent:
            self._close_sent = sent
            moved(Event.APPLY_SENT if sent else Event.APPLY_DID_NOT_HAPPEN)

    def _may_close(self, check: Check, until: float, moved: Callable[[Event], None]) -> bool:
        """Look directly before an attempt: True if it may be sent, False if the session is closed already.

        Raises SessionEnded or CountsDiffer for what has changed since.
        """
        began = time.monotonic()
        for looks, seconds in enumerate(pauses(), 1):
            try:
                status = self._look(check, self._patience_until(until))
                if status.state in _CLOSED:
                    self._note_close(moved, sent=True)
                    return False
                takes_close = self._takes_close(status)
            except ApiError as failure:
                # What is read here says nothing of a close in doubt.
                raise self._in_doubt or failure from None
            if not takes_close:
                raise self._ended_by_another(status)
            counts = status.counts()
            comparison = compare_counts(self._sent, counts)
            if comparison is Comparison.EQUAL or counts == self._tolerated:
                if looks >= _MOST_LOOKS or not self._heartbeat.stood_still():
                    return True
            elif comparison is Comparison.DIFFERENT or time.monotonic() - began >= timing.current.lag:
                self._differ(status)
                return True
            else:
                pause(seconds, check)
        raise AssertionError("pauses never end")

    def _look(self, check: Check, patience: Patience) -> SessionStatus:
        """The session's status, and a heartbeat that tells whether this process stood still since."""
        self._heartbeat = Heartbeat(check)
        call = in_background(partial(self._client.session_status, self._session_id, patience))
        return wait_for(call, self._heartbeat)

    def _takes_close(self, status: SessionStatus) -> bool:
        """Whether `close(apply)` may be sent from the session's state.

        From `expired` it may (Sprinto: Session Management), which is used only where the activity log shows
        that this session was the last to be opened: what came later must not be overwritten.
        """
        if status.state != "expired":
            return status.state == "active"
        call = in_background(lambda: list(self._client.events(LOOK_BACK, self._patience)))
        events = wait_for(call, self._heartbeat)
        if not is_latest(self._session_id, logged_sessions(events)):
            return False
        log.warning("Session %s has expired; it is the latest, so it is applied all the same.", status.id)
        return True

    def _require_closable(self, status: SessionStatus) -> None:
        if not self._takes_close(status):
            raise self._ended(status)
        if compare_counts(self._sent, status.counts()) is Comparison.DIFFERENT:
            self._differ(status)

    def _others_are_processing(self, sessions: IntegrationSessions) -> bool:
        return bool(sessions.processing)

    def _ended(self, status: SessionStatus) -> errors.SessionEnded:
        return errors.SessionEnded(
            f"Session {self._session_id} takes no close: its state is {status.state!r}.",
            "Run again; look in Sprinto's activity log for what ended it.",
            temporary=nothing_was_applied(status.state),
        )

    def _ended_by_another(self, status: SessionStatus) -> errors.SessionEnded:
        ended = errors.SessionEnded(
            f"Session {self._session_id} was ended before this run closed it.",
            "Run again; look in Sprinto's activity log for what ended it.",
            temporary=nothing_was_applied(status.state),
        )
        if not (status.state == "expired" and self._in_doubt):
            # From `expired` a lost close may yet apply it.
            ended.aftermath = f"By its status {describe_end(status.state)}."
        return ended

    def _patience_until(self, until: float) -> Patience:
        """Once all pages are accepted a refusal for now never ends the run before its time is up."""
        left = max(0.0, until - time.monotonic())
        return replace(self._patience, retry_seconds=left, setting="processing_timeout_seconds")

    def wait_until_processed(self, limit_seconds: float, last_words: LastWords) -> None:
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
                status = self._look(last_words, self._patience_until(until))
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
                below = compare_counts(self._sent, status.counts()) is Comparison.BELOW
                if not below or now - processed_since >= timing.current.lag:
                    return self._compare_applied(status)
            elif verdict is not Processing.PENDING:
                raise self._not_processed(status)
            elif now >= until:
                raise errors.ProcessingUnfinished(
                    f"Sprinto did not finish processing within {limit_seconds:g} s.",
                    "Look at Sprinto later; raise `processing_timeout_seconds` if this is usual.",
                )
            pause(seconds, last_words)
        return None

    def _compare_applied(self, processed: SessionStatus) -> None:
        """Compare the counts once more: at `processed`, and whether the close's response was above them."""
        aftermath = f"This was seen only after session {self._session_id} was applied."
        if self._answer is not None:
            try:
                above = compare_counts(self._sent, self._answer.counts()) is Comparison.DIFFERENT
            except errors.UnexpectedAnswer:
                # It may have none; those at `processed` decide.
                above = False
            if above:
                self._differ(self._answer, aftermath)
        if compare_counts(self._sent, processed.counts()) is not Comparison.EQUAL:
            self._differ(processed, aftermath)

    def _not_processed(self, status: SessionStatus) -> errors.ProcessingFailed:
        failure = errors.ProcessingFailed(
            f"Sprinto did not process session {self._session_id}.",
            "Ask Sprinto's support about it. No STATE was written: a new run sends all again.",
        )
        failure.aftermath = f"By its status {describe_end(status.state)}."
        return failure

    def _differ(self, status: SessionStatus, aftermath: str = "") -> None:
        """Raise CountsDiffer, or warn where the user wants to apply all the same.

        Not from `expired`: there a close is allowed only if the counts are right.
        """
        counted, sent = figures(status.counts(), self._sent), figures(self._sent)
        what = f"Sprinto counts {counted} where this run sent {sent}."
        if self._on_count_mismatch is OnCountMismatch.APPLY and status.state != "expired":
            log.warning("%s It is applied all the same (`on_count_mismatch`).", what)
            self._tolerated = status.counts()
            return
        # A page that was sent again may be there twice, which the next run may be spared.
        temporary = self._resent and not aftermath
        failure = errors.CountsDiffer(
            what, "Run again; if it stays, ask Sprinto's support.", temporary=temporary
        )
        failure.aftermath = aftermath
        raise failure

    def _do(self, call: Callable[[], _T]) -> _T:
        """Make a call without blocking this thread's ears."""
        return wait_for(in_background(call), self._interrupted)
