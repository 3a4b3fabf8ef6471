"""The one session of a probe: opened like a run's, always discarded, never applied."""

from __future__ import annotations

import logging
import time
import uuid
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast

import msgspec

from target_sprinto.probe.evidence import StatusSnapshot
from target_sprinto.push.activity_log_reader import read_events
from target_sprinto.push.api_calls import ApiClient, Call, RetryPolicy
from target_sprinto.push.errors import ApiError, SessionConflict, SessionEnded, UnexpectedResponse
from target_sprinto.push.protocol.lifecycle import nothing_was_applied
from target_sprinto.push.protocol.responses import CREATE, PUSH, STATUS, SessionStatus, count_of
from target_sprinto.push.protocol.timestamps import CLOCK_SKEW, parse_time
from target_sprinto.push.run.discarding import DiscardResult, discard_session
from target_sprinto.push.run.opening import SESSION_EXPIRES_AFTER, SessionOpener
from target_sprinto.push.run.opening_conflict import ConflictPolicy
from target_sprinto.push.transport.background import (
    Deadline,
    InterruptCheck,
    in_background,
    interruptible_sleep,
    result_of,
)
from target_sprinto.push.transport.base import Response

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class ProbedSession:
    """One session and its requests. An exception that `check` raises ends every wait."""

    def __init__(
        self, client: ApiClient, reference_prefix: str, retry_policy: RetryPolicy, check: InterruptCheck
    ) -> None:
        self.reference = f"{reference_prefix}/{uuid.uuid4()}"
        self.id = ""
        self.left_open: list[str] = []
        self._reference_prefix = reference_prefix
        self._client = client
        self._retry_policy = retry_policy
        self._check = check
        self._began = time.monotonic()
        self._openings: list[SessionOpener] = []

    def open(self) -> None:
        """Open it. Raises SessionConflict if another session is active."""
        opening = SessionOpener(self._client, self.reference, self._retry_policy, ConflictPolicy())
        self._openings.append(opening)
        try:
            self.id = opening.wait(self._check).id
        except SessionConflict as conflict:
            conflict.hint, conflict.policy = "Probe again once it has ended.", ""
            raise

    def look(self) -> StatusSnapshot:
        """Read its status. Raises SessionEnded if it is no longer active."""
        request = partial(self._client.request_raw, Call(STATUS, self.id), self._retry_policy)
        response = self.wait(in_background(request))
        status = self._client.read(STATUS, response)
        if status.state != "active":
            raise SessionEnded(
                f"Session {self.id} became {status.state!r} during the probe.",
                "Something else ended it: probe while nothing else uses this integration.",
                temporary=nothing_was_applied(status.state),
            )
        return _snapshot(status, shows_reference=self.reference.rpartition("/")[2].encode() in response.body)

    def push(self, body: bytes, encoding: str | None = None) -> Response:
        """Send a page's bytes."""
        return self.wait(self._start_push(self._retry_policy, body, encoding))

    def push_at_once(self, bodies: list[bytes]) -> list[Response]:
        """Send each page once, all at the same time."""
        sent = [self._start_push(self._retry_policy.once(), body) for body in bodies]
        return [self.wait(response) for response in sent]

    def open_second(self) -> Response:
        """Try to open one more session beside it."""
        reference = f"{self._reference_prefix}/{uuid.uuid4()}"
        second = _SecondOpening(self._client, reference, self._retry_policy, ConflictPolicy())
        self._openings.append(second)
        try:
            second.wait(self._check)
        except ApiError:
            if second.response is None:
                raise
        return cast("Response", second.response)

    def start_reading_events(self) -> Future[list[dict[str, Any]]]:
        """Start reading the activity log, from shortly before the probe."""
        age = timedelta(seconds=time.monotonic() - self._began) + CLOCK_SKEW
        return in_background(lambda: list(read_events(self._client, age, self._retry_policy)))

    def sleep(self, seconds: float) -> None:
        """Wait for some seconds."""
        interruptible_sleep(seconds, self._check)

    def wait(self, call: Future[_T]) -> _T:
        """Wait for a call, and return its result."""
        return result_of(call, self._check)

    def discard(self) -> list[DiscardResult]:
        """Discard every session that was opened, or may have been.

        Takes no longer than a run may take to end after an error, or after a signal. Errors meanwhile are not
        raised: they become part of the outcome.
        """
        self._retry_policy.cancelled.set()
        timings = self._client.timings
        deadlines = [
            Deadline(timings.shutdown_timeout * part, self._check, timings.signal_shutdown_timeout * part)
            for part in (1, 0.5)
        ]
        # The second one first: while its outcome is unknown, the active session keeps it from being opened.
        opened = reversed(list(zip(self._openings, deadlines, strict=False)))
        return [end for opening, deadline in opened if (end := self._end(opening, deadline))]

    def _end(self, opening: SessionOpener, deadline: Deadline) -> DiscardResult | None:
        """The outcome of one `create`; None if it definitely opened no session."""
        try:
            session = opening.resolve(deadline)
        except ApiError:
            return None
        except Exception:  # noqa: BLE001 - reported as unknown: the probe has to name its session's state
            log.warning("Could not determine whether the session was opened.")
            session = None
        if session is None:
            until = self._client.server_time() + SESSION_EXPIRES_AFTER
            return DiscardResult(None, opening.describe_unknown(until))
        result = discard_session(self._client, session.id, session.expiry, deadline)
        if result.state is None:
            self.left_open.append(session.id)
        return result

    def _start_push(
        self, retry_policy: RetryPolicy, body: bytes, encoding: str | None = None
    ) -> Future[Response]:
        call = Call(PUSH, self.id, body, encoding)
        return in_background(lambda: self._client.request_raw(call, retry_policy))


class _SecondOpening(SessionOpener):
    """A `create` beside an active session, sent to see how it is rejected; it may still open one."""

    response: Response | None = None

    def _create(self) -> SessionStatus:
        body = msgspec.json.encode({"client_reference_id": self._reference})
        self.response = self._client.request_raw(Call(CREATE, body=body), self._retry_policy)
        session = self._client.read(CREATE, self.response)
        self._client.opened(session.id)
        return session


def _snapshot(status: SessionStatus, *, shows_reference: bool) -> StatusSnapshot:
    try:
        total = sum(status.counts().values())
    except UnexpectedResponse:
        total = None
    expires_at, batches = parse_time(status.expires_at), count_of(status.accepted_batches)
    return StatusSnapshot(expires_at, total, batches, shows_reference)
