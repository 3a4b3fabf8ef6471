"""The server's own record of the requests it saw."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_sprinto.sandbox.faults import Operation


@dataclass
class RequestSeen:
    """A request as it arrived, and what became of it.

    `nth` counts per integration and operation, from 1. `body` is as sent, `size` is that of the decoded
    body in bytes, `items` the number of records. `status` is None while there is no answer, and for good
    when none was sent. `acted_at` is when the server acted on it (a refusal is an act too), which it may do
    unanswered. `ended_at` is when the server was done with it, answered or not. Times are seconds since the
    epoch.
    """

    operation: Operation
    integration_id: str
    session_id: str | None
    nth: int
    method: str
    path: str
    headers: Mapping[str, str]
    at: float
    body: bytes = b""
    size: int = 0
    items: int = 0
    status: int | None = None
    answered_at: float | None = None
    acted_at: float | None = None
    ended_at: float | None = None


class RequestRecord:
    """Numbers requests and keeps the last `limit` of them, with their bodies if `keep_bodies`."""

    def __init__(self, *, limit: int, keep_bodies: bool) -> None:
        self.keep_bodies = keep_bodies
        self._seen: deque[RequestSeen] = deque(maxlen=limit)
        self._counts: Counter[tuple[str, str]] = Counter()

    def number(self, integration_id: str, operation: Operation) -> int:
        """Give the next request of this operation on this integration its number."""
        self._counts[integration_id, operation] += 1
        return self._counts[integration_id, operation]

    def count(self, integration_id: str, operation: Operation) -> int:
        """How many requests of this operation this integration has had so far."""
        return self._counts[integration_id, operation]

    def add(self, seen: RequestSeen) -> None:
        """Keep a request; it may be filled in later."""
        self._seen.append(seen)

    def copies(self, integration_id: str | None) -> list[RequestSeen]:
        """Copy what was seen, oldest first."""
        return [replace(seen) for seen in self._seen if integration_id in (None, seen.integration_id)]
