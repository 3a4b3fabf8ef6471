"""One call, retried while that is safe and while there is time."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from target_sprinto.push import arguments, endpoint, errors
from target_sprinto.push.protocol import retry

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

log = logging.getLogger(__name__)

RETRYABLE = (errors.NotConnected, errors.Throttled, errors.NotVisible)
"""Definitely not performed, and may succeed the next time: GETs and POSTs."""

_RETRYABLE_GET = (*RETRYABLE, errors.ResponseLost)

_T = TypeVar("_T")


@dataclass(frozen=True)
class RetryPolicy:
    """How long a call may take: one request, and all tries of it together, both in seconds.

    `stopped` is set by a run that has ended: no further try is started then. `setting` names what limits
    the tries, for messages. Raises ConfigError.
    """

    request_seconds: float = 60.0
    retry_seconds: float = 300.0
    stopped: threading.Event = field(default_factory=threading.Event)
    setting: str = "retry_timeout_seconds"

    def __post_init__(self) -> None:
        arguments.seconds("request_seconds", self.request_seconds, may_be_zero=False)
        arguments.seconds("retry_seconds", self.retry_seconds)
        arguments.instance("stopped", threading.Event, self.stopped)
        endpoint.require_text("setting", self.setting)

    def once(self) -> RetryPolicy:
        """The same for one request that is not retried."""
        return replace(self, retry_seconds=0.0)


def retryable_for(body: bytes | None) -> tuple[type[errors.ApiError], ...]:
    """The errors after which a call is retried: a GET, or with a body a POST."""
    return _RETRYABLE_GET if body is None else RETRYABLE


def retried(
    call: Callable[[], _T], repeatable: tuple[type[errors.ApiError], ...], retry_policy: RetryPolicy
) -> _T:
    """One call, repeated while that is safe and `retry_policy` allows.

    backoff's own loop sleeps where nothing can wake it; a run that has ended must not send again.
    """
    arguments.instance("retry_policy", RetryPolicy, retry_policy)
    backoff_delays = retry.backoff_delays(retry_policy.retry_seconds)
    next(backoff_delays)
    while True:
        try:
            return call()
        except repeatable as failure:
            wait = next_delay(backoff_delays, failure, retry_policy)
            log.warning("%s Trying again in %.1f s.", failure, wait)
            if retry_policy.stopped.wait(wait):
                raise


def next_delay(
    backoff_delays: Generator[float, errors.ApiError, None],
    failure: errors.ApiError,
    retry_policy: RetryPolicy,
) -> float:
    """Seconds until the next try. Raises the failure itself where there is to be none."""
    try:
        return backoff_delays.send(failure)
    except StopIteration:
        if retry_policy.retry_seconds and failure.retry_after:
            failure.message += (
                f" It asks to wait {failure.retry_after:g} s, which `{retry_policy.setting}`"
                f" ({retry_policy.retry_seconds:g} s in all) does not leave."
            )
        raise failure from None
