"""Handles another active session: names it, waits for it, or discards it so that a new one can be opened.

Watching a session must not keep it alive, and it is not documented whether reading its status extends its
expiry. So repeated checks read only the integration's `/status`, which counts sessions, and the activity
log. The session's own status is read at most twice, and only before it is discarded.
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import backoff

from target_sprinto.push import errors
from target_sprinto.push.activity_log_reader import find_active_session
from target_sprinto.push.api_calls import ApiClient, RetryPolicy
from target_sprinto.push.endpoint import require_text
from target_sprinto.push.errors import ApiError, SessionConflict
from target_sprinto.push.protocol import arguments
from target_sprinto.push.protocol.activity_log import LoggedSession, SessionLook, shows_life
from target_sprinto.push.protocol.responses import SessionStatus
from target_sprinto.push.run.discarding import discard_session
from target_sprinto.push.timing import Timings
from target_sprinto.push.transport.background import Deadline

log = logging.getLogger(__name__)

_BUSY = (errors.Throttled, errors.NotConnected, errors.ResponseLost)
"""While waiting, these errors do not show whether the other session has ended."""

_MAX_SLOWDOWN = 4
"""How much longer the intervals between checks may become while the response is 429."""


class OnActiveSession(enum.Enum):
    """What a run does when another session is active."""

    FAIL = "fail"
    WAIT = "wait"
    DISCARD = "discard"


@dataclass(frozen=True)
class ConflictPolicy:
    """What to do about another active session. `choice` also accepts its enum's value.

    `discard` takes over only sessions with a reference of `own_prefix`, by default the run's own
    `reference_prefix`, and a run's uuid. Raises ConfigError.
    """

    choice: OnActiveSession | str = OnActiveSession.FAIL
    wait_seconds: float = 3900.0
    stale_seconds: float = 600.0
    own_prefix: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "choice", arguments.choice("choice", OnActiveSession, self.choice))
        arguments.seconds("wait_seconds", self.wait_seconds)
        arguments.seconds("stale_seconds", self.stale_seconds)
        if self.own_prefix is not None:
            require_text("own_prefix", self.own_prefix)


class ConflictResolver:
    """Resolves one run's conflict with another active session."""

    def __init__(self, client: ApiClient, policy: ConflictPolicy, retry_policy: RetryPolicy) -> None:
        self._client = client
        self._policy = policy
        self._retry_policy = retry_policy
        self._until = time.monotonic() + policy.wait_seconds
        self._intervals = _check_intervals(client.timings)
        self._slowdown = 1
        self._is_waiting = False
        self._had_another_try = False
        self._has_taken_over = False
        self._unknown = ""
        self._last_activity: object = None

    @property
    def waits_for_others(self) -> bool:
        """Whether the run waits for other sessions."""
        return self._policy.choice is OnActiveSession.WAIT

    def may_be_in_the_way(self, failure: ApiError) -> bool:
        """Whether the run waits for other sessions, and one may be why a create failed without a 409."""
        busy = (errors.Throttled, errors.NotConnected) if self._is_waiting else errors.Throttled
        return self.waits_for_others and isinstance(failure, busy)

    def clear_the_way(self, failure: ApiError) -> None:
        """Return once `create` is worth retrying. Raises SessionConflict if it is not.

        `failure` is the error that `create` raised.
        """
        if self.waits_for_others:
            return self._wait(failure)
        if self._count_active() == 0 and self._may_try_again():
            return None
        blocker = self.find()
        if self._policy.choice is OnActiveSession.FAIL or blocker is None:
            raise self.error(blocker)
        return self._take_over(blocker)

    def find(self) -> LoggedSession | None:
        """The session in the way, if the activity log shows it."""
        try:
            self._unknown = "the activity log does not show which"
            return find_active_session(self._client, self._retry_policy, self._last_activity)
        except ApiError as failure:
            log.warning("The activity log could not be read. %s", failure.brief)
            self._unknown = f"which one is unknown, as the activity log could not be read ({failure.code})"
            return None

    def describe(self, blocker: LoggedSession | None) -> str:
        """A session that was found, or why none was, in a clause."""
        return blocker.describe(self._client.known_server_time()) if blocker else self._unknown

    def error(self, blocker: LoggedSession | None, why: str = "") -> SessionConflict:
        """An error that names the session in the way, `why` the run does not proceed, and what to do."""
        policy = OnActiveSession(self._policy.choice)
        wait = ", or pass `on_conflict=ConflictPolicy('wait')`" if policy is OnActiveSession.FAIL else ""
        conflict = SessionConflict(
            f"Another session is active: {self.describe(blocker)}{why and f'; {why}'}.",
            f"Wait until it ends{wait}.",
        )
        conflict.policy = policy.value
        if blocker and blocker.log_is_whole:
            conflict.session_id, conflict.is_to_be_held = blocker.id, blocker.is_to_be_held
        return conflict

    # Waiting

    def _wait(self, failure: ApiError) -> None:
        """Return once no session is active."""
        if not self._is_waiting:
            log.warning("Waiting for another session to end, for up to %.0f s.", self._policy.wait_seconds)
            self._is_waiting = True
        last = self._poll_until_none_is_active(self._until, failure, _BUSY)
        if last is None:
            return
        why = f"waited {self._policy.wait_seconds:g} s"
        if not isinstance(last, errors.Conflict):
            why += f"; unknown whether it ended ({last.code})"
        raise self.error(self.find(), why)

    def _poll_until_none_is_active(
        self, until: float, failure: ApiError, tolerated: tuple[type[ApiError], ...]
    ) -> ApiError | None:
        """Return None once no session is active or the run has ended; at `until`, the last failure.

        A Conflict means that a session was active. Raises any ApiError that is not `tolerated`.
        """
        while (left := until - time.monotonic()) > 0:
            wanted = max(next(self._intervals) * self._slowdown, failure.retry_after or 0.0)
            if self._retry_policy.cancelled.wait(min(left, wanted)):
                return None
            try:
                if self._read_active(self._retry_policy.once()) == 0:
                    return None
                failure = errors.Conflict("")
            except tolerated as unknown:
                failure = unknown
            # Sprinto may count the requests that it rejects: if many runs wait, their number has to fall.
            throttled = isinstance(failure, errors.Throttled)
            self._slowdown = min(2 * self._slowdown, _MAX_SLOWDOWN) if throttled else 1
        return failure

    def _count_active(self) -> int | None:
        """The number of active sessions, or None if it cannot be read."""
        try:
            return self._read_active(self._retry_policy)
        except ApiError as failure:
            log.warning("The integration's status could not be read. %s", failure.brief)
            return None

    def _read_active(self, retry_policy: RetryPolicy) -> int:
        status = self._client.integration_status(retry_policy)
        self._last_activity = status.last_activity_at
        return status.active_sessions()

    # Taking over

    def _take_over(self, blocker: LoggedSession) -> None:
        """Discard a session left by a crashed run of this pipeline. Raises SessionConflict for any other."""
        if self._has_taken_over:
            raise self.error(blocker, "a run takes over, or waits for, only one session")
        if not blocker.was_left_by(self._policy.own_prefix):
            held = "a session under `finish: hold` is never taken over"
            other = "only sessions that this pipeline left are taken over"
            raise self.error(blocker, held if blocker.is_to_be_held else other)
        status = self._read(blocker)
        if status.state != "active":
            if self._may_try_again():
                return
            raise self.error(None)
        self._has_taken_over = True
        first = SessionLook.of(status, blocker, self._client.known_server_time())
        if (missing := self._policy.stale_seconds - first.silence_seconds) > 0:
            log.warning("Waiting %.0f s for a sign of life of %s, without touching it.", missing, blocker.id)
            self._intervals = _check_intervals(self._client.timings)
            until = time.monotonic() + missing
            if self._poll_until_none_is_active(until, errors.Conflict(""), (ApiError,)) is None:
                return
            status = self._require_stale(blocker, first)
        deadline = Deadline(self._client.timings.shutdown_timeout)
        message = self.describe(blocker)
        result = discard_session(self._client, blocker.id, status.expiry, deadline)
        if result.state is None:
            log.warning("%s", result.sentence)
            conflict = self.error(blocker, f"its discard is not confirmed{result.reason}")
            conflict.temporary = result.temporary
            raise conflict
        what = f"Discarded to open a new one: {message}. " if result.is_discarded else ""
        log.warning("%s%s", what, result.sentence)

    def _require_stale(self, blocker: LoggedSession, first: SessionLook) -> SessionStatus:
        """Check again. Raises SessionConflict if the session, or a newer one, shows a sign of life."""
        again = self.find()
        if again is None or not again.log_is_whole or again.id != blocker.id:
            raise self.error(again)
        status = self._read(again)
        second = SessionLook.of(status, again, self._client.known_server_time())
        if status.state == "active" and shows_life(first, second):
            conflict = self.error(again, f"it showed a sign of life within {self._policy.stale_seconds:g} s")
            conflict.advise("Wait; see `stale_seconds`.")
            raise conflict
        return status

    def _read(self, blocker: LoggedSession) -> SessionStatus:
        if not blocker.log_is_whole:
            raise self.error(blocker, "the log was cut off, so it may be another one")
        try:
            return self._client.session_status(blocker.id, self._retry_policy)
        except ApiError as failure:
            raise self.error(blocker, f"its status could not be read ({failure.code})") from None

    def _may_try_again(self) -> bool:
        """Whether a create is retried because the other session has ended: once per run."""
        first_time, self._had_another_try = not self._had_another_try, True
        return first_time


def _check_intervals(timings: Timings) -> Iterator[float]:
    """Yield the seconds between checks whether another session has ended.

    They double up to a minute. The jitter spreads the requests of runs that started together.
    """
    interval = timings.conflict_poll_interval
    while True:
        yield interval * 0.75 + backoff.full_jitter(interval * 0.25)
        interval = min(interval * 2, timings.max_conflict_poll_interval)
