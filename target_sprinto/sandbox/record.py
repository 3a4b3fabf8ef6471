"""A request as the server recorded it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_sprinto.sandbox.faults import Operation


@dataclass
class RequestSeen:
    """A request as it arrived, and its outcome.

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
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    size: int = 0
    items: int = 0
    status: int | None = None
    answered_at: float | None = None
    acted_at: float | None = None
    ended_at: float | None = None
