"""Opens a run's session, and checks whether it exists if the response is lost."""

from __future__ import annotations

import logging
import textwrap
import time
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from target_sprinto.push import errors
from target_sprinto.push.activity_log_reader import read_events
from target_sprinto.push.api_calls import ApiClient, RetryPolicy
from target_sprinto.push.errors import ApiError, Outcome, SprintoError
from target_sprinto.push.protocol.activity_log import LOOK_BACK, created_under
from target_sprinto.push.protocol.lifecycle import nothing_was_applied
from target_sprinto.push.protocol.responses import SessionStatus
from target_sprinto.push.protocol.retries import is_in_doubt
from target_sprinto.push.protocol.timestamps import CLOCK_SKEW, iso
from target_sprinto.push.run.opening_conflict import ConflictPolicy, ConflictResolver
from target_sprinto.push.text import format_counts
from target_sprinto.push.transport.background import (
    Deadline,
    InterruptCheck,
    in_background,
    result_before,
    result_of,
)

log = logging.getLogger(__name__)

SESSION_EXPIRES_AFTER = timedelta(minutes=60)
"""Default time after its last request (Sprinto: Session Management)."""


class SessionOpener:
    """Opens one session; `wait` starts it.

    `reference` is unique to this run. `policy` says what to do about another active session.
    """

    def __init__(
        self, client: ApiClient, reference: str, retry_policy: RetryPolicy, policy: ConflictPolicy
    ) -> None:
        self._client = client
        self._reference = reference
        self._retry_policy = retry_policy
        self._began = self._lost_at = time.monotonic()
        self._conflict = ConflictResolver(client, policy, retry_policy)
        self._response: Future[SessionStatus] = Future()
        self._in_conflict = False

    def wait(self, check: InterruptCheck) -> SessionStatus:
        """Start, and wait for the session. Raises the ApiError of the create, or what `check` raises."""
        return result_of(in_background(self._create, self._response), check)

    def _create(self) -> SessionStatus:
        """Create the session, with retries while they are safe.

        A create in doubt is retried: if it was performed, the retry gets a conflict, and the active session
        is this run's own.
        """
        lost: ApiError | None = None
        retry_policy, delay = self._retry_policy, self._client.timings.create_retry_delay
        while True:
            try:
                session = self._client.create_session(
                    self._reference,
                    retry_policy,
                    retry_throttled=bool(lost) or not self._conflict.waits_for_others,
                )
            except ApiError as failure:
                if isinstance(failure, errors.Conflict) or (
                    lost is None and self._conflict.may_be_in_the_way(failure)
                ):
                    own = self._clear_conflict(failure, lost)
                    if own is not None:
                        return own
                    retry_policy = self._retry_policy
                    continue
                if not is_in_doubt(failure):
                    # The failure of a later attempt does not resolve the earlier one.
                    raise lost or failure from None
                if lost is None:
                    self._lost_at = time.monotonic()
                lost = failure
                log.warning("%s Retrying: a 409 may mean that the first attempt succeeded.", failure.brief)
                left = self._lost_at + self._retry_policy.retry_seconds - time.monotonic()
                if left <= 0 or self._retry_policy.cancelled.wait(min(delay, left)):
                    raise
                delay = min(2 * delay, self._client.timings.max_retry_delay)
                retry_policy = replace(self._retry_policy, retry_seconds=left)
            else:
                if lost is not None:
                    log.warning(
                        "An earlier create request got no response. If Sprinto processes it later, a session"
                        " with reference %r stays open until it expires.",
                        self._reference,
                    )
                return session

    def _clear_conflict(self, failure: ApiError, lost: ApiError | None) -> SessionStatus | None:
        """This run's own session after a lost response; None once `create` is worth retrying."""
        if lost is not None and (own := self._recover()) is not None:
            return own
        self._in_conflict = lost is None
        try:
            if not self._retry_policy.cancelled.is_set():
                self._conflict.clear_the_way(failure)
        except ApiError as conflict:
            if lost is not None:
                # The lost create may still arrive.
                conflict.outcome = Outcome.IN_DOUBT
            raise
        self._in_conflict = False
        if self._retry_policy.cancelled.is_set():
            raise lost or failure
        if lost is not None:
            # The time for retries starts again.
            self._lost_at = time.monotonic()
        return None

    def _recover(self) -> SessionStatus | None:
        """This run's own session after a lost response, if it is still empty.

        Returns None for another run's session that this run waits for. Else raises SessionConflict.
        """
        # Until this conflict, the lost create may have been performed.
        self._lost_at = time.monotonic()
        try:
            found = self._find_in_log(self._retry_policy, self._client.timings.max_count_lag)
            status = None
            if found is not None:
                status = self._client.session_status(found.id, self._retry_policy)
        except ApiError as failure:
            # A GET that was definitely not performed does not resolve the create.
            sentence = textwrap.shorten(failure.message.partition(". ")[0].rstrip("."), 120, placeholder=" …")
            raise _may_be_ours(f"which run opened it could not be determined: {sentence}") from None
        if status is None:
            blocker = self._conflict.find()
            if self._conflict.waits_for_others and blocker and blocker.was_opened_by_another(self._reference):
                return None
            raise _may_be_ours(f"nothing shows that it is this run's: {self._conflict.describe(blocker)}")
        if status.counts() or not (status.state == "active" or nothing_was_applied(status.state)):
            held = format_counts(status.counts(), ())
            raise _may_be_ours(f"session {status.id} is {status.state!r} with {held}")
        log.warning("Session %s was opened by this run.", status.id)
        return status

    def resolve(self, deadline: Deadline) -> SessionStatus | None:
        """The session that was opened after all, for a run that must end by `deadline`.

        Waits for the response, then reads the activity log. Returns None if the outcome stays unknown, and
        raises the ApiError if the session was definitely not opened.
        """
        if self._response.cancel() or self._in_conflict:
            # A KeyboardInterrupt came before the thread had started, or the thread is only dealing with the
            # other session: no further create follows.
            raise errors.NotConnected("No session was opened.")
        # Half of the time is for the response; the rest is for the log, and for the discard that follows.
        try:
            return result_before(self._response, Deadline(deadline.remaining() / 2))
        except ApiError as failure:
            if failure.outcome is Outcome.NOT_PERFORMED:
                raise
        except TimeoutError:
            pass
        left = deadline.remaining() / 2
        one_try = RetryPolicy(
            self._client.timings.shutdown_request_timeout, 0.0, until=time.monotonic() + left
        )
        read = partial(self._find_in_log, one_try, left / 2)
        try:
            return result_before(in_background(read, or_here=read), Deadline(left))
        except SprintoError as failure:
            log.warning("The activity log could not be read. %s", failure.brief)
        except TimeoutError:
            log.warning("The activity log could not be read in time.")
        return None

    def describe_unknown(self, latest: datetime) -> str:
        """A sentence about a session that may be open until `latest`."""
        return (
            f"A session of this run may be open until {iso(latest)} (reference"
            f" {self._reference!r}); until then another run may fail with a session conflict."
        )

    def _find_in_log(self, retry_policy: RetryPolicy, seconds: float) -> SessionStatus | None:
        """The session that this run created, according to the activity log.

        The log may lag, so it is polled for `seconds`, but not beyond the maximum lag after the loss
        or the conflict.
        """
        seconds = min(seconds, self._lost_at + self._client.timings.max_count_lag - time.monotonic())
        until = time.monotonic() + seconds
        for wait in self._client.timings.poll_intervals():
            is_last = time.monotonic() >= until
            age = timedelta(seconds=time.monotonic() - self._began) + CLOCK_SKEW
            if is_last or self._client.known_server_time() is None:
                # Sprinto's clock may be behind this machine's, or a proxy's.
                age = LOOK_BACK
            found = created_under(self._reference, read_events(self._client, age, retry_policy))
            if found is not None:
                self._client.opened(found)
                return SessionStatus(id=found, state="active")
            if is_last or retry_policy.cancelled.wait(min(wait, max(0.0, until - time.monotonic()))):
                break
        return None


def _may_be_ours(sentence: str) -> errors.SessionConflict:
    conflict = errors.SessionConflict(
        f"Another session is active: `create` got no response, and {sentence}.", "Wait until it ends."
    )
    conflict.outcome = Outcome.IN_DOUBT
    return conflict
