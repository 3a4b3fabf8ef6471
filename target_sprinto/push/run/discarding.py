"""Discards a session and makes sure of it, in time: for a run that failed, and for `sprintoctl`."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from target_sprinto.push import errors
from target_sprinto.push.client import Patience, SprintoClient
from target_sprinto.push.protocol.lifecycle import describe_end, nothing_was_applied
from target_sprinto.push.transport import timing
from target_sprinto.push.transport.background import Deadline, in_background, pauses, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

_HOPELESS = (
    errors.KeyRefused,
    errors.NotFound,
    errors.CertificateRefused,
    errors.ProxyRefused,
    errors.Redirected,
)


class Discard(enum.Enum):
    """How an attempt to discard ended."""

    DISCARDED = enum.auto()
    ENDED_OTHERWISE = enum.auto()
    UNCONFIRMED = enum.auto()


@dataclass(frozen=True)
class DiscardResult:
    """How it ended, and a sentence that says so. `temporary`: a later run may succeed."""

    outcome: Discard
    sentence: str
    temporary: bool = False


def brief(deadline: Deadline) -> Patience:
    """One short try: what ends by a deadline has no time for long ones."""
    return Patience(min(timing.current.one_try, max(0.1, deadline.left())), 0.0)


def discard_session(client: SprintoClient, session_id: str, expiry: str, deadline: Deadline) -> DiscardResult:
    """Close with `discard` until a status confirms it, or until the deadline.

    Never raises an ApiError: what went wrong is in the sentence, with what to do about it. `expiry` says
    when the session ends by itself.
    """
    told = False
    failure: errors.SprintoError | None = None
    for seconds in pauses():
        try:
            if not told:
                _in_time(lambda patience: client.discard_session(session_id, patience), deadline)
                told = True
        except errors.SprintoError as refusal:
            failure = refusal
        try:
            state = _in_time(lambda patience: client.session_status(session_id, patience), deadline).state
        except errors.SprintoError as refusal:
            failure = refusal
        else:
            if state != "active":
                return _ended(session_id, state)
        if isinstance(failure, _HOPELESS) or seconds >= deadline.left():
            break
        time.sleep(seconds)
    reason = f" ({failure.code})" if failure is not None else ""
    return DiscardResult(
        Discard.UNCONFIRMED,
        f"Session {session_id} could not be discarded for certain{reason}; it expires by itself {expiry}."
        f" To discard it: sprintoctl discard {session_id} --config FILE.",
        temporary=failure is None or bool(failure.temporary),
    )


def _ended(session_id: str, state: str) -> DiscardResult:
    if state == "cancelled":
        return DiscardResult(Discard.DISCARDED, f"Session {session_id} was discarded, nothing was applied.")
    return DiscardResult(
        Discard.ENDED_OTHERWISE,
        f"Session {session_id} was not discarded: {describe_end(state)}.",
        temporary=nothing_was_applied(state),
    )


def _in_time(call: Callable[[Patience], _T], deadline: Deadline) -> _T:
    """The call's answer. Raises AnswerLost where the deadline passes before it comes."""
    try:
        return wait_until(in_background(lambda: call(brief(deadline))), deadline)
    except errors.SprintoError:
        raise
    except Exception:  # noqa: BLE001 - a run that ends has to say where its session stands, whatever happens
        raise errors.AnswerLost("No answer came in time.") from None
