"""A request in the sandbox's record."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from target_sprinto.sandbox import Readings
from target_sprinto.sandbox.operations import Call
from target_sprinto.sandbox.refusal import Refused
from target_sprinto.sandbox.request_body import parse_page, uncompressed


@dataclass
class RequestSeen(Call):
    """A request as it arrived, and its outcome.

    `nth` counts per integration and operation, from 1. `size` is the decoded body's size in bytes, `items`
    the number of records. `status` is None until a response is sent, and stays None if there is none.
    `acted_at` is when the server acted on it (a rejection counts too), possibly without a response.
    `ended_at` is when the server finished it, with or without a response. Times are seconds since the epoch.
    """

    nth: int = 0
    method: str = "POST"
    path: str = ""
    at: float = 0.0
    size: int = 0
    items: int = 0
    status: int | None = None
    responded_at: float | None = None
    acted_at: float | None = None
    ended_at: float | None = None

    def measure(self, readings: Readings) -> bytes:
        """Set `size` and `items`; return the decoded body, or None if it cannot be decoded."""
        self.size = len(self.body)
        with suppress(Refused):
            body = uncompressed(self.body, self.headers, readings)
            self.size = len(body)
            if self.operation == "push":
                self.items = parse_page(body).items
            return body
        return b""


def seen_of(call: Call) -> RequestSeen:
    """Return a call as `RequestSeen`: every call of a `FaultySandbox` is one."""
    assert isinstance(call, RequestSeen)
    return call
