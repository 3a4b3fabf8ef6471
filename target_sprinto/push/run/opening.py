"""The opening of a run's session, and the check whether there is one if the response is lost."""

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
from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.errors import ApiError, Outcome, SprintoError
from target_sprinto.push.protocol.activity_log import LOOK_BACK, created_under
from target_sprinto.push.protocol.lifecycle import is_in_doubt, nothing_was_applied
from target_sprinto.push.protocol.responses import SessionStatus
from target_sprinto.push.retry_loop import RetryPolicy
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

CLOCK_SKEW = timedelta(minutes=5)
"""By how much the clocks of Sprinto's own machines may differ."""


class SessionOpener:
    """One session being opened, on its way from `wait` on.

    `reference` names this run and no other. Another active session is dealt with as `policy` says.
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
        self._refused = False

    def wait(self, check: InterruptCheck) -> SessionStatus:
        """Begin, and wait for the session. Raises the ApiError that came instead, or what `check` raises."""
        return result_of(in_background(self._create, self._response), check)

    def _create(self) -> SessionStatus:
        """Create, as often as that is safe.

        A create in doubt is retried: if it was performed, Sprinto responds with a conflict, and the session
        in the way is our own.
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
                if lost is None and self._conflict.is_in_the_way(failure):
                    self._make_room(failure)
                    continue
                if isinstance(failure, errors.Conflict):
                    return self._recover()
                if not is_in_doubt(failure):
                    # A refusal of a later try says nothing of the earlier one.
                    raise lost or failure from None
                if lost is None:
                    self._lost_at = time.monotonic()
                lost = failure
                log.warning("%s Retrying: a 409 will show that the first attempt succeeded.", failure.brief)
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

    def _make_room(self, failure: ApiError) -> None:
        self._refused = True
        if not self._retry_policy.cancelled.is_set():
            self._conflict.clear_the_way(failure)
        self._refused = False
        if self._retry_policy.cancelled.is_set():
            raise failure

    def _recover(self) -> SessionStatus:
        """Our own session, its response lost: active or ended, nothing accepted. Else SessionConflict."""
        try:
            found = self._find_in_log(self._retry_policy, self._client.timings.max_count_lag)
            status = self._client.session_status(found.id, self._retry_policy) if found else None
        except ApiError as failure:
            # That a GET was definitely not performed says nothing of the create.
            sentence = textwrap.shorten(failure.message.partition(". ")[0].rstrip("."), 120, placeholder=" …")
            raise _may_be_ours(f"which run opened it could not be determined: {sentence}") from None
        if status is None:
            raise _may_be_ours(f"nothing shows that it is this run's: {self._conflict.describe()}")
        if status.counts() or not (status.state == "active" or nothing_was_applied(status.state)):
            held = format_counts(status.counts(), ())
            raise _may_be_ours(f"session {status.id} is {status.state!r} with {held}")
        log.warning("Session %s was opened by this run.", status.id)
        return status

    def resolve(self, deadline: Deadline) -> SessionStatus | None:
        """The session that was opened anyway, for a run that ends by `deadline`.

        Waits for the response, then asks the activity log. None where it cannot be decided; raises the
        ApiError where it definitely was not opened.
        """
        if self._response.cancel() or self._refused:
            # A KeyboardInterrupt came before its thread had begun; or what is under way is a look at what is
            # in the way, and no other create follows.
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
        """What to say of a session that may be open until then."""
        return (
            f"A session of this run may be open until {latest:%Y-%m-%dT%H:%M:%SZ} (reference"
            f" {self._reference!r}); until then another run may fail with a session conflict."
        )

    def _find_in_log(self, retry_policy: RetryPolicy, seconds: float) -> SessionStatus | None:
        """The session that the log says was created by this run. The log may lag: it is read for `seconds`.

        It is not read for longer than such a lag may be, counted from the loss.
        """
        seconds = min(seconds, self._lost_at + self._client.timings.max_count_lag - time.monotonic())
        until = time.monotonic() + seconds
        for wait in self._client.timings.poll_intervals():
            is_last = time.monotonic() >= until
            age = timedelta(seconds=time.monotonic() - self._began) + CLOCK_SKEW
            if is_last or self._client.known_server_time() is None:
                # By this machine's clock, or a proxy's, Sprinto's may be behind.
                age = LOOK_BACK
            found = created_under(self._reference, read_events(self._client, age, retry_policy))
            if found is not None:
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
