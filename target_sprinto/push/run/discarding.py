"""Discards a session and confirms it before a deadline: for a failed run, and for `sprintoctl`."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from target_sprinto.push import errors
from target_sprinto.push.api_calls import ApiClient, RetryPolicy
from target_sprinto.push.protocol.lifecycle import describe_end, nothing_was_applied
from target_sprinto.push.protocol.timestamps import with_time_left
from target_sprinto.push.transport.background import (
    POLL_INTERVAL,
    Deadline,
    in_background,
    is_done_within,
    sleep_before,
)

_T = TypeVar("_T")

_FINAL_ERRORS = (
    errors.ClientClosed,
    errors.Unauthorized,
    errors.NotFound,
    errors.TLSError,
    errors.ProxyRefused,
    errors.Redirected,
)

_MAX_FINAL_ERRORS = 2

_STATUS_AFTER_SECONDS = 0.5


@dataclass(frozen=True)
class DiscardResult:
    """The outcome of a discard; `sentence` describes it. `temporary`: a later run may succeed.

    `state` is the session's final state, or None if the discard could not be confirmed; `reason` may say why.
    """

    state: str | None
    sentence: str
    temporary: bool = False
    reason: str = ""

    @property
    def is_discarded(self) -> bool:
        """Whether it is certain that the session was discarded."""
        return self.state == "cancelled"


@dataclass(eq=False)
class _Hedged(Generic[_T]):
    """A hedged call: sent again if no response comes within `again_after` seconds; the first one counts.

    `failures` are noted in order.
    """

    call: Callable[[RetryPolicy], _T]
    deadline: Deadline
    again_after: float
    failures: list[errors.SprintoError]
    _under_way: list[Future[_T]] = field(default_factory=list, init=False)
    _sent_at = 0.0
    _final_errors = 0

    @property
    def keeps_failing(self) -> bool:
        """Whether the call keeps failing with final errors: even a rejected key may be accepted next time."""
        return self._final_errors >= _MAX_FINAL_ERRORS

    def first_response(self, seconds: float) -> _T | None:
        """The first response within `seconds` and before the deadline, or None. A failure is noted."""
        if not self._under_way or time.monotonic() - self._sent_at >= self.again_after:
            left = max(0.1, self.deadline.remaining())
            self._under_way.append(
                in_background(self._try(left), or_here=self._try(min(left, self.again_after)))
            )
            self._sent_at = time.monotonic()
        until = time.monotonic() + seconds
        while not (ended := [call for call in self._under_way if call.done()]):
            left = min(until - time.monotonic(), self.deadline.remaining())
            if left <= 0:
                return None
            is_done_within(self._under_way[-1], min(POLL_INTERVAL, left))
        self._under_way.remove(ended[0])
        try:
            return ended[0].result()
        except errors.SprintoError as failure:
            self._final_errors += isinstance(failure, _FINAL_ERRORS) and not isinstance(
                failure, errors.NotVisible
            )
            self.failures.append(failure)
        except Exception:  # noqa: BLE001 - a run that ends must report its session's outcome, whatever happens
            self.failures.append(errors.ResponseLost("No response came in time."))
        return None

    def _try(self, seconds: float) -> Callable[[], _T]:
        return lambda: self.call(RetryPolicy(seconds, 0.0))


def discard_session(client: ApiClient, session_id: str, expiry: str, deadline: Deadline) -> DiscardResult:
    """Send `close(discard)` until the status confirms it, or until the deadline.

    Never raises an ApiError: the result's sentence names the failure. `expiry` is when the session expires.
    """
    accepted = False
    failures: list[errors.SprintoError] = []
    one_try = client.timings.shutdown_request_timeout
    close = _Hedged(partial(client.discard_session, session_id), deadline, one_try, failures)
    poll = _Hedged(partial(client.session_status, session_id), deadline, one_try, failures)
    for seconds in client.timings.poll_intervals():
        noted = len(failures)
        # Do not wait for a slow response: the status may show the outcome sooner.
        accepted = accepted or close.first_response(_STATUS_AFTER_SECONDS) is not None
        if not deadline.remaining():
            break
        status = poll.first_response(one_try)
        if status is not None and status.state != "active":
            return _ended(session_id, status.state)
        if close.keeps_failing or poll.keeps_failing or seconds >= deadline.remaining():
            break
        new = (failure for failure in failures[noted:] if isinstance(failure, errors.ApiError))
        minimum = max((failure.retry_after or 0.0 for failure in new), default=0.0)
        # A wait that the deadline does not allow would only prevent further attempts.
        sleep_before(deadline, max(seconds, minimum if minimum < deadline.remaining() else 0.0))
    failure = failures[-1] if failures else None
    reason = f" ({failure.code})" if failure is not None else ""
    expiry = with_time_left(expiry, client.known_server_time())
    return DiscardResult(
        None,
        f"Session {session_id} may still be open{reason}: its discard is not confirmed. It expires {expiry}.",
        temporary=failure is None or bool(failure.temporary),
        reason=reason,
    )


def _ended(session_id: str, state: str) -> DiscardResult:
    if state == "cancelled":
        return DiscardResult(state, f"Session {session_id} was discarded; nothing was applied.")
    sentence = f"Session {session_id} was not discarded: {describe_end(state)}."
    return DiscardResult(state, sentence, nothing_was_applied(state))
