"""Sprinto's events of one session, for a receipt: without their texts, which may quote values."""

from __future__ import annotations

import logging
import re
import time
from datetime import datetime, timedelta, timezone
from typing import Any

from target_sprinto.push.activity_log_reader import read_events
from target_sprinto.push.api_calls import ApiClient, RetryPolicy
from target_sprinto.push.errors import SprintoError
from target_sprinto.push.protocol.timestamps import CLOCK_SKEW, parse_time
from target_sprinto.push.transport.background import Deadline, in_background, result_before
from target_sprinto.receipts.document import Event

log = logging.getLogger(__name__)

_WORD = re.compile(r"[A-Za-z_-]{1,40}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LEVELS = ("info", "warning", "error")


def session_events(
    client: ApiClient, session_id: str, age: timedelta, deadline: Deadline
) -> list[Event] | None:
    """The session's events, oldest first; None, with a warning, if the log cannot be read in time."""
    if not (seconds := deadline.remaining()):
        return None
    retry_policy = RetryPolicy(seconds, 0.0, until=time.monotonic() + seconds)

    def read() -> list[Event]:
        events = read_events(client, age + CLOCK_SKEW, retry_policy)
        own = (_event(event) for event in events if event.get("session_id") == session_id)
        return sorted((event for event in own if event is not None), key=lambda event: event.at)

    try:
        return result_before(in_background(read, or_here=read), deadline)
    except SprintoError as failure:
        reason = failure.brief
    except TimeoutError:
        reason = "The activity log was not read in time."
    log.warning("The receipt has no events. %s", reason)
    return None


def iso(moment: datetime) -> str:
    """A time in UTC, to the millisecond."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _event(event: dict[str, Any]) -> Event | None:
    """The parts of an event that may be kept; None if it has no time."""
    at = parse_time(event.get("at"))
    if at is None:
        return None
    level = event.get("level")
    return Event(
        iso(at),
        level if level in _LEVELS else "other",
        _if_fits(_WORD, event.get("type")),
        _if_fits(_ID, event.get("id")),
    )


def _if_fits(pattern: re.Pattern[str], value: object) -> str:
    """A value that cannot be free text, else an empty string."""
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""
