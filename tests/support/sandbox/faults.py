"""Faults on demand: which request goes wrong, and how.

`moment="before"` means that the server does not act on the request; `moment="after"` means that it acts and
only the response is invalid. This distinguishes a page that was lost from one that was staged unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from target_sprinto.sandbox.operations import Operation


@dataclass(frozen=True)
class Respond:
    """Another response. A body of None becomes a documented error body (Sprinto: Models, Error)."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: dict[str, Any] | bytes | None = None


@dataclass(frozen=True)
class Reset:
    """The connection is reset (TCP RST) instead of a response."""


@dataclass(frozen=True)
class Drop:
    """The connection is closed normally, without a response."""


@dataclass(frozen=True)
class Hang:
    """The real response, once `seconds` passed, the fault is released, or the client disconnected."""

    seconds: float | None = None


@dataclass(frozen=True)
class Late:
    """No response; the server acts only after the client disconnected: `seconds` later, or on release.

    With `reset` the connection is reset at once, as by a proxy that forwards the request anyway.
    """

    seconds: float | None = None
    reset: bool = False


@dataclass(frozen=True)
class CutOff:
    """The real response's headers and `at` bytes of its body, then a close. The server always acts."""

    at: int


@dataclass(frozen=True)
class Delay:
    """The real response, `seconds` late; depending on `moment`, the server acts before or after the wait."""

    seconds: float


@dataclass(frozen=True)
class Edit:
    """The real response with its JSON changed by `change`. The server always acts."""

    change: Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Raw:
    """These bytes instead of a response, HTTP or not; then the connection is closed, or stays silent."""

    data: bytes
    then: Literal["end", "silence"] = "end"


@dataclass(frozen=True)
class Informational:
    """`times` informational responses (1xx), then the real response. The server always acts."""

    status: int
    times: int = 1


Effect = Respond | Reset | Drop | Hang | Late | CutOff | Delay | Edit | Raw | Informational


@dataclass(frozen=True, eq=False)
class Fault:
    """Strikes the nth to the (nth + times - 1)th request of one operation on an integration.

    `nth` is the request's own number per integration and operation, from 1, as in `RequestSeen.nth`; with
    `contains`, its number among the requests whose decoded body contains these bytes.
    Without an `integration_id`, the fault applies to every integration.

    `company` is how many requests of the operation must have arrived, counted from the first one, before
    the fault strikes, so that several are in flight at once. `pause` is how many seconds it then waits. Until
    it strikes, the server does nothing.
    """

    operation: Operation
    nth: int = 1
    times: int = 1
    integration_id: str | None = None
    moment: Literal["before", "after"] = "before"
    effect: Effect = field(default_factory=lambda: Respond(503))
    contains: bytes = b""
    company: int = 0
    pause: float = 0.0

    def is_about(self, operation: str | None, integration_id: str, body: bytes) -> bool:
        """Whether this request is counted."""
        return (
            operation == self.operation
            and self.integration_id in (None, integration_id)
            and self.contains in body
        )

    def hits(self, nth: int) -> bool:
        """Whether it strikes the nth of the counted requests."""
        return self.nth <= nth < self.nth + self.times


@dataclass(frozen=True)
class IdleConnections:
    """What happens to a connection after this many seconds without a request, if anything.

    The server closes it; or a gateway forgets it, resets it at the next request, and forwards nothing.
    """

    closed_after: float | None = None
    forgotten_after: float | None = None


@dataclass(frozen=True)
class Fired:
    """A fault that struck: the request's operation and number, and when (seconds since the epoch)."""

    fault: Fault
    operation: Operation
    integration_id: str
    nth: int
    at: float
