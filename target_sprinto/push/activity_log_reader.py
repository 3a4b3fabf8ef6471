"""Reads the activity log page by page, and ends where the log does not."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import msgspec

from target_sprinto.push import errors
from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.retry_loop import RetryPolicy

log = logging.getLogger(__name__)

MAX_PAGES = 100
"""One reading of the log ends here, whether or not its pages are full."""

_MAX_EVENT_BYTES = 4_000_000
"""Of all events of one reading, as JSON."""

_SINCE_TOLERANCE = timedelta(minutes=2)


def read_events(client: ApiClient, age: timedelta, retry_policy: RetryPolicy) -> Iterator[dict[str, Any]]:
    """The events of the last `age` by Sprinto's clock, page by page.

    Raises LogUnending once more pages have been read than a log may have, or the same ones again, or after
    `timings.log_read_timeout`.
    """
    ends_at = time.monotonic() + client.timings.log_read_timeout
    seen: set[int] = set()
    size = 0
    page = 1
    since = client.server_time() - age
    while True:
        response = client.activity_page(since, page, retry_policy)
        if page == 1 and abs(client.server_time() - age - since) > _SINCE_TOLERANCE:
            # The first `Date` has shown that the clocks differ.
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
            raise errors.LogUnending(
                f"The activity log did not end: reading stopped after {len(seen)} events on {page} pages.",
                "The events after that are unknown; ask Sprinto's support.",
            )
        page = response.next_page


def cut_off(events: Iterable[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """The events, and whether these are all: a log that does not end is cut off with a warning."""
    read: list[dict[str, Any]] = []
    try:
        for event in events:
            read.append(event)  # noqa: PERF402 - what came before the cut-off is kept
    except errors.LogUnending as unending:
        log.warning("%s", unending)
        return read, False
    return read, True
