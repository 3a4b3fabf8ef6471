"""The sandbox with faults on demand, a record of every request, and options per integration."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from threading import Condition
from typing import Any

from target_sprinto.sandbox import Sandbox, SandboxOptions
from target_sprinto.sandbox.integration import Integration
from target_sprinto.sandbox.operations import Call
from target_sprinto.sandbox.refusal import Reply
from target_sprinto.sandbox.server import Server
from tests.support.sandbox.faults import Fault, Fired, IdleConnections
from tests.support.sandbox.faulty_server import FaultyServer
from tests.support.sandbox.request_seen import RequestSeen, seen_of

REQUESTS_KEPT = 20_000
REQUESTS_KEPT_LIGHT = 1_000
POLL_SECONDS = 0.02
"""How often `wait_for` checks for changes by the passage of time."""


class FaultySandbox(Sandbox):
    """A sandbox that fails on demand.

    `changed` is notified of every request's start and end; its lock is the sandbox's lock.
    """

    def __init__(
        self, options: SandboxOptions | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(options, clock=clock)
        self.changed = Condition(self.lock)
        light = self.options.light
        self._seen: deque[RequestSeen] = deque(maxlen=REQUESTS_KEPT_LIGHT if light else REQUESTS_KEPT)
        self._arrived: Counter[tuple[str, str]] = Counter()
        self._faults: list[Fault] = []
        self._fired: list[Fired] = []
        self._containing: Counter[Fault] = Counter()
        self._released: set[Fault] = set()
        self._idle: dict[str, IdleConnections] = {}

    # For tests

    def configure(
        self,
        integration_id: str,
        *,
        closes_idle_after: float | None = None,
        forgets_idle_after: float | None = None,
        **changes: Any,  # noqa: ANN401 - options by name
    ) -> None:
        """Set these fields of `SandboxOptions` for one integration from now on, also on the wire."""
        with self.changed:
            self._idle[integration_id] = IdleConnections(closes_idle_after, forgets_idle_after)
            before = self._integrations.get(integration_id) or self._add(integration_id)
            options = replace(before.options, **changes)
            self._integrations[integration_id] = Integration(integration_id, options, before.state)

    def idle(self, integration_id: str) -> IdleConnections | None:
        """Return what happens to an integration's idle connections."""
        with self.changed:
            return self._idle.get(integration_id)

    def inject(self, fault: Fault) -> None:
        """Inject a fault; if several hit the same request, the one injected first strikes."""
        with self.changed:
            self._faults.append(fault)

    def fired(self, integration_id: str | None = None) -> list[Fired]:
        """List the faults that struck, in order."""
        with self.changed:
            return [fired for fired in self._fired if integration_id in (None, fired.integration_id)]

    def release(self, fault: Fault) -> None:
        """Let requests that hang by this fault continue, now or later."""
        with self.changed:
            self._released.add(fault)

    def expire(self, integration_id: str) -> None:
        """Expire the active session."""
        with self.changed:
            for session in self._state(integration_id).sessions.values():
                if session.state == "active":
                    session.due = session.expires_at = self._now(self._find(integration_id))
            self._state(integration_id)
            self.changed.notify_all()

    def requests(self, integration_id: str | None = None) -> list[RequestSeen]:
        """List the requests seen, oldest first, as copies."""
        with self.changed:
            return [replace(seen) for seen in self._seen if integration_id in (None, seen.integration_id)]

    def staged(self, session_id: str) -> list[dict[str, list[bytes]]]:
        """List a session's accepted pages, in order, with each record's bytes."""
        with self.changed:
            for integration in self._integrations.values():
                if session := integration.state.sessions.get(session_id):
                    return [
                        {name: [bytes(record) for record in records] for name, records in page.items()}
                        for page in session.pages
                    ]
            return []

    def wait_for(self, predicate: Callable[[FaultySandbox], bool], timeout: float = 10.0) -> None:
        """Block until the predicate holds; check it at each request's start and end, and 50 times a second.

        Raises TimeoutError after `timeout` seconds.
        """
        until = time.monotonic() + timeout
        with self.changed:
            while not predicate(self):
                if time.monotonic() >= until:
                    raise TimeoutError(f"Nothing of the kind within {timeout} s")
                self.changed.wait(POLL_SECONDS)

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._runner.server.connections) if self._runner.server else 0

    # For the server

    def make_server(self) -> Server:
        return FaultyServer(self)

    def begin(self, seen: RequestSeen) -> RequestSeen:
        """Number and record a request whose headers have arrived."""
        with self.changed:
            self._arrived[seen.integration_id, seen.operation] += 1
            seen.nth = self._arrived[seen.integration_id, seen.operation]
            self._seen.append(seen)
            self.changed.notify_all()
            return seen

    def receive(self, seen: RequestSeen) -> Fault | None:
        """Measure a complete request; return the fault that strikes it."""
        with self.changed:
            body = seen.measure(self.readings(seen.integration_id))
            # Every matching fault counts the request, whichever strikes.
            striking = [fault for fault in self._faults if self._strikes(fault, seen, body)]
            fault = striking[0] if striking else None
            if fault is not None:
                self._fired.append(Fired(fault, seen.operation, seen.integration_id, seen.nth, self.clock()))
            self.changed.notify_all()
            return fault

    def arrived(self, seen: RequestSeen) -> int:
        """The number of requests of this operation that have arrived at this integration."""
        with self.changed:
            return self._arrived[seen.integration_id, seen.operation]

    def is_released(self, fault: Fault) -> bool:
        """Whether requests that hang by a fault may continue."""
        with self.changed:
            return fault in self._released

    def respond(self, call: Call) -> Reply:
        # Under one lock: concurrent acts of others are later, in the record too.
        with self.changed:
            reply = super().respond(call)
            seen_of(call).acted_at = self.clock()
            self.changed.notify_all()
            return reply

    def finish(self, seen: RequestSeen, status: int | None) -> None:
        """Record a request's response status, or None if there was none."""
        with self.changed:
            if self.options.light:
                seen.body = b""
            seen.status = status
            seen.ended_at = self.clock()
            seen.responded_at = None if status is None else seen.ended_at
            self.changed.notify_all()

    def _strikes(self, fault: Fault, seen: RequestSeen, body: bytes) -> bool:
        if not fault.is_about(seen.operation, seen.integration_id, body):
            return False
        if not fault.contains:
            return fault.hits(seen.nth)
        self._containing[fault] += 1
        return fault.hits(self._containing[fault])
