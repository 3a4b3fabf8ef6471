"""Reads the activity log page by page, within limits in case it does not end; finds the active session."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from target_sprinto.push import errors
from target_sprinto.push.api_calls import ApiClient, RetryPolicy
from target_sprinto.push.protocol.activity_log import LOOK_BACK, LoggedSession, logged_sessions
from target_sprinto.push.protocol.timestamps import CLOCK_SKEW, parse_time
from target_sprinto.push.transport.background import InterruptCheck, interruptibly

log = logging.getLogger(__name__)

MAX_PAGES = 100
"""The maximum number of pages in one read."""

_MAX_EVENT_BYTES = 4_000_000
"""The maximum size of the events in one read, as JSON."""

_SINCE_TOLERANCE = timedelta(minutes=2)

_RECENT = timedelta(hours=2)
"""Read before two days, which may have more events than can be read in time."""

_BEFORE_LAST_ACTIVITY = timedelta(minutes=2)
"""Read first: a busy integration has thousands of events in two hours."""

_MAX_LOOK_BACK = timedelta(days=30)
"""How far the log is read back for an expired session that is to be applied."""


def recent_events(
    client: ApiClient, retry_policy: RetryPolicy, check: InterruptCheck, since: datetime | None = None
) -> list[dict[str, Any]]:
    """The events of the last `LOOK_BACK`, or since `since` if that is earlier, but not beyond a limit.

    `check` may raise to end the wait. Reading may take as long as retries: all pages are accepted by now,
    and a rate limit must not discard the run.
    """
    seconds = max(retry_policy.retry_seconds, client.timings.log_read_timeout)
    age = LOOK_BACK
    if since is not None:
        age = max(age, min(client.server_time() - since + CLOCK_SKEW, _MAX_LOOK_BACK))
    return interruptibly(lambda: list(read_events(client, age, retry_policy, seconds)), check)


def read_events(
    client: ApiClient, age: timedelta, retry_policy: RetryPolicy, seconds: float | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the events of the last `age` by Sprinto's clock.

    Raises LogUnending if the log repeats itself, exceeds a limit, or takes longer than `seconds` to read;
    by default `timings.log_read_timeout`.
    """
    ends_at = time.monotonic() + (seconds or client.timings.log_read_timeout)
    seen: set[int] = set()
    size = 0
    page = 1
    since = client.server_time() - age
    while True:
        response = client.activity_page(since, page, retry_policy)
        if page == 1 and abs(client.server_time() - age - since) > _SINCE_TOLERANCE:
            # The first response's `Date` shows that the clocks differ.
            since = client.server_time() - age
            response = client.activity_page(since, page, retry_policy)
        events = {}
        for event in response.items:
            encoded = msgspec.json.encode(event)
            events[hash(encoded)] = event
            size += len(encoded)
        repeats = bool(events) and events.keys() <= seen
        yield from (event for key, event in events.items() if key not in seen)
        seen.update(events)
        if not response.next_page:
            return
        too_long = page >= MAX_PAGES or size > _MAX_EVENT_BYTES or time.monotonic() >= ends_at
        if repeats or too_long or response.next_page <= page:
            why = "is longer than is read" if too_long and not repeats else "repeats itself"
            raise errors.LogUnending(
                f"The activity log {why}: reading stopped after {len(seen)} events on {page} pages.",
                "Any other events are unknown.",
            )
        page = response.next_page


def cut_off(events: Iterable[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """The events, and whether they are complete: a log that does not end is cut off with a warning."""
    read: list[dict[str, Any]] = []
    try:
        for event in events:
            read.append(event)  # noqa: PERF402 - events before the cut-off are kept
    except errors.LogUnending as unending:
        log.warning("%s", unending)
        return read, False
    return read, True


def find_active_session(
    client: ApiClient, retry_policy: RetryPolicy, last_activity: object
) -> LoggedSession | None:
    """The session opened last, if the activity log shows one. Raises ApiError if it cannot be read.

    The API allows only one active session, so if one is active, it is this one. `last_activity` is that of
    the integration's status, or None; it only saves requests.
    """
    last_at = parse_time(last_activity)
    first = client.server_time() - last_at + _BEFORE_LAST_ACTIVITY if last_at else _RECENT
    found = None
    for age in sorted({min(first, _RECENT), _RECENT, LOOK_BACK}):
        events, is_whole = cut_off(read_events(client, age, retry_policy))
        if (sessions := logged_sessions(events)) and (is_whole or not found):
            found = sessions[0]
        if not is_whole:
            return found and replace(found, log_is_whole=False)
        if found and found.created_at:
            break
    return found
