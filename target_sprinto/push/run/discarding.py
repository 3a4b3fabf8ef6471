"""Discards a session and makes sure of it, in time: for a run that failed, and for `sprintoctl`."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from target_sprinto.push import errors
from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.protocol.lifecycle import describe_end, nothing_was_applied
from target_sprinto.push.protocol.timestamps import with_time_left
from target_sprinto.push.retry_loop import RetryPolicy
from target_sprinto.push.transport.background import (
    POLL_INTERVAL,
    Deadline,
    in_background,
    is_done_within,
)

_T = TypeVar("_T")

_HOPELESS = (
    errors.ClientClosed,
    errors.Unauthorized,
    errors.NotFound,
    errors.TLSError,
    errors.ProxyRefused,
    errors.Redirected,
)

_MOST_REFUSALS = 2

_LOOK_AFTER_SECONDS = 0.5


@dataclass(frozen=True)
class DiscardResult:
    """How an attempt to discard ended, and a sentence that says so. `temporary`: a later run may succeed.

    `state` is the session's final one, or None if the discard could not be confirmed.
    """

    state: str | None
    sentence: str
    temporary: bool = False

    @property
    def is_discarded(self) -> bool:
        """Whether it is certain that the session was discarded."""
        return self.state == "cancelled"


class _Hedged(Generic[_T]):
    """One call, sent again beside itself after `again_after` seconds: the first response counts."""

    def __init__(self, call: Callable[[RetryPolicy], _T], deadline: Deadline, again_after: float) -> None:
        self._call = call
        self._deadline = deadline
        self._again_after = again_after
        self._under_way: list[Future[_T]] = []
        self._sent_at = 0.0
        self._refusals = 0

    @property
    def is_hopeless(self) -> bool:
        """Whether it was rejected for good: a key that is rejected once may be accepted the next time."""
        return self._refusals >= _MOST_REFUSALS

    def ask(self, seconds: float) -> _T | None:
        """The first response that comes within `seconds`, or before the deadline; None if there is none.

        Raises a SprintoError for a call that failed, in whatever way.
        """
        if not self._under_way or time.monotonic() - self._sent_at >= self._again_after:
            left = max(0.1, self._deadline.remaining())
            self._under_way.append(
                in_background(self._try(left), or_here=self._try(min(left, self._again_after)))
            )
            self._sent_at = time.monotonic()
        until = time.monotonic() + seconds
        while not (ended := [call for call in self._under_way if call.done()]):
            left = min(until - time.monotonic(), self._deadline.remaining())
            if left <= 0:
                return None
            is_done_within(self._under_way[-1], min(POLL_INTERVAL, left))
        self._under_way.remove(ended[0])
        try:
            return ended[0].result()
        except errors.SprintoError as failure:
            self._refusals += isinstance(failure, _HOPELESS) and not isinstance(failure, errors.NotVisible)
            raise
        except Exception:  # noqa: BLE001 - a run that ends has to say where its session stands, whatever happens
            raise errors.ResponseLost("No response came in time.") from None

    def _try(self, seconds: float) -> Callable[[], _T]:
        return lambda: self._call(RetryPolicy(seconds, 0.0))


def discard_session(client: ApiClient, session_id: str, expiry: str, deadline: Deadline) -> DiscardResult:
    """Close with `discard` until a status confirms it, or until the deadline.

    Never raises an ApiError: what went wrong is in the sentence. `expiry` says when the session ends
    by itself.
    """
    accepted = False
    failure: errors.SprintoError | None = None
    one_try = client.timings.shutdown_request_timeout
    close = _Hedged(lambda retry_policy: client.discard_session(session_id, retry_policy), deadline, one_try)
    look = _Hedged(lambda retry_policy: client.session_status(session_id, retry_policy), deadline, one_try)
    for seconds in client.timings.poll_intervals():
        try:
            # A slow response is not waited for: the status may show sooner what has happened.
            accepted = accepted or close.ask(_LOOK_AFTER_SECONDS) is not None
        except errors.SprintoError as refusal:
            failure = refusal
        if not deadline.remaining():
            break
        try:
            status = look.ask(one_try)
        except errors.SprintoError as refusal:
            failure = refusal
        else:
            if status is not None and status.state != "active":
                return _ended(session_id, status.state)
        if close.is_hopeless or look.is_hopeless or seconds >= deadline.remaining():
            break
        time.sleep(seconds)
    reason = f" ({failure.code})" if failure is not None else ""
    expiry = with_time_left(expiry, client.known_server_time())
    return DiscardResult(
        None,
        f"Session {session_id} may still be open{reason}: its discard is not confirmed. It expires {expiry}.",
        temporary=failure is None or bool(failure.temporary),
    )


def _ended(session_id: str, state: str) -> DiscardResult:
    if state == "cancelled":
        return DiscardResult(state, f"Session {session_id} was discarded, nothing was applied.")
    sentence = f"Session {session_id} was not discarded: {describe_end(state)}."
    return DiscardResult(state, sentence, nothing_was_applied(state))
