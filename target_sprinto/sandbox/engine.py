"""The sandbox without its sockets: who may ask, which integration is meant, what time it is, what went on.

Everything here is safe to call from any thread: one lock is held while anything is read or moved, and
`changed` is notified of every request's start and end. What time alone brings about (expiry, processing)
is worked out when something is read.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from email.utils import format_datetime
from threading import Condition
from typing import Any

from target_sprinto.sandbox import snapshot
from target_sprinto.sandbox.faults import Fault, Fired
from target_sprinto.sandbox.integration import Integration
from target_sprinto.sandbox.operations import Exchange, Received, Reply, RequestSeen, receive
from target_sprinto.sandbox.options import SandboxOptions
from target_sprinto.sandbox.readings import Readings
from target_sprinto.sandbox.refusal import Refused
from target_sprinto.sandbox.response_bodies import event_body
from target_sprinto.sandbox.state import IntegrationState, Rejection, Session

REQUESTS_KEPT = 20_000
REQUESTS_KEPT_LIGHT = 1_000


class Engine:
    """What a sandbox knows and does.

    `clock` gives seconds since the epoch; `keep_bodies` keeps requests' bodies.
    """

    def __init__(
        self,
        options: SandboxOptions | None = None,
        *,
        clock: Callable[[], float] = time.time,
        keep_bodies: bool = True,
    ) -> None:
        self.options = options or SandboxOptions()
        self.changed = Condition()
        self.clock = clock
        light = self.options.light
        self._keep_bodies = keep_bodies and not light
        self._seen: deque[RequestSeen] = deque(maxlen=REQUESTS_KEPT_LIGHT if light else REQUESTS_KEPT)
        self._arrived: Counter[tuple[str, str]] = Counter()
        self._faults: list[Fault] = []
        self._fired: list[Fired] = []
        self._containing: Counter[Fault] = Counter()
        self._integrations: dict[str, Integration] = {}
        remembered = snapshot.load(self.options.data_dir) if self.options.data_dir else {}
        for integration_id in (*(self.options.integrations or ()), *remembered):
            self._add(integration_id, remembered.get(integration_id))

    # What a test or a page asks.

    def configure(self, integration_id: str, **changes: Any) -> None:  # noqa: ANN401 - by the name
        """Let one integration differ in these fields of `SandboxOptions` from now on."""
        with self.changed:
            integration = self._integrations.get(integration_id) or self._add(integration_id)
            integration.behave(replace(integration.options, **changes))

    def inject(self, fault: Fault) -> None:
        """Have a fault strike; of several that hit the same request, the one injected first does."""
        with self.changed:
            self._faults.append(fault)

    def fired(self, integration_id: str | None = None) -> list[Fired]:
        """List the faults that struck, in order."""
        with self.changed:
            return [fired for fired in self._fired if integration_id in (None, fired.integration_id)]

    def requests(self, integration_id: str | None = None) -> list[RequestSeen]:
        """List the requests seen, oldest first, as copies."""
        with self.changed:
            return [replace(seen) for seen in self._seen if integration_id in (None, seen.integration_id)]

    def sessions(self, integration_id: str) -> list[Session]:
        """List an integration's sessions, oldest first, as copies without their pages."""
        with self.changed:
            sessions = self._state(integration_id).sessions.values()
            return [
                replace(one, accepted_by_entity=dict(one.accepted_by_entity), pages=[]) for one in sessions
            ]

    def applied(self, integration_id: str) -> dict[str, list[bytes]]:
        """List what was applied: by entity type, each record's own bytes, in apply order."""
        with self.changed:
            tables = self._state(integration_id).applied
            return {name: [bytes(record) for record in table.values()] for name, table in tables.items()}

    def staged(self, session_id: str) -> list[dict[str, list[bytes]]]:
        """List a session's accepted pages, in order, with each record's own bytes."""
        with self.changed:
            for integration in self._integrations.values():
                if session := integration.state.sessions.get(session_id):
                    return [
                        {name: [bytes(record) for record in records] for name, records in page.items()}
                        for page in session.pages
                    ]
            return []

    def events(self, integration_id: str) -> list[dict[str, Any]]:
        """List an integration's events, oldest first, as the activity log shows them."""
        with self.changed:
            return [event_body(event) for event in self._state(integration_id).events]

    def rejections(self, integration_id: str) -> list[Rejection]:
        """List what was wrong with rejected pages, oldest first."""
        with self.changed:
            return list(self._state(integration_id).rejections)

    def known(self) -> list[str]:
        """List the ids of the integrations, in the order in which they appeared."""
        with self.changed:
            return list(self._integrations)

    # What the server asks.

    def begin(self, seen: RequestSeen) -> RequestSeen:
        """Number and record a request whose head has arrived."""
        with self.changed:
            self._arrived[seen.integration_id, seen.operation] += 1
            seen.nth = self._arrived[seen.integration_id, seen.operation]
            self._seen.append(seen)
            self.changed.notify_all()
            return seen

    def receive(self, seen: RequestSeen, body: bytes) -> tuple[Received, Fault | None]:
        """A request's body, decoded, and the fault that strikes it."""
        with self.changed:
            received = receive(seen, body, self._options_of(seen.integration_id))
            seen.size = received.size
            seen.items = received.page.items if received.page else 0
            if self._keep_bodies:
                seen.body = body
            # Of all that it is for, each counts the request, whichever strikes.
            striking = [f for f in self._faults if self._strikes(f, seen, received.body)]
            fault = striking[0] if striking else None
            if fault is not None:
                self._fired.append(Fired(fault, seen.operation, seen.integration_id, seen.nth, self.clock()))
            self.changed.notify_all()
            return received, fault

    def arrived(self, seen: RequestSeen) -> int:
        """How many requests of this one's operation have arrived at its integration."""
        with self.changed:
            return self._arrived[seen.integration_id, seen.operation]

    def answer(self, seen: RequestSeen, received: Received) -> Reply:
        """Act on a request, and record that; a refusal is an answer too."""
        # Under one lock: what others do meanwhile is later, by the record too.
        with self.changed:
            try:
                reply = self._act(seen, received)
            except Refused as refused:
                reply = Reply(refused.status, refused.body, refused.headers)
            seen.acted_at = self.clock()
            self.changed.notify_all()
            return reply

    def readings(self, integration_id: str) -> Readings:
        """What an integration is read by."""
        with self.changed:
            return self._options_of(integration_id).readings

    def finish(self, seen: RequestSeen, status: int | None) -> None:
        """Record what a request was answered: None for nothing at all."""
        with self.changed:
            seen.status = status
            seen.ended_at = self.clock()
            seen.answered_at = None if status is None else seen.ended_at
            self.changed.notify_all()

    def save(self) -> None:
        """Write the snapshot, as of now, if there is a place for it. Raises DataUnusable."""
        if self.options.data_dir:
            with self.changed:
                for name, integration in self._integrations.items():
                    integration.advance(self._now(name))
                states = {name: integration.state for name, integration in self._integrations.items()}
                snapshot.save(self.options.data_dir, states)

    def date(self, integration_id: str) -> str:
        """The `Date` header of a response (RFC 9110)."""
        with self.changed:
            now = self._now(integration_id)
        return format_datetime(datetime.fromtimestamp(now, timezone.utc), usegmt=True)

    def _options_of(self, integration_id: str) -> SandboxOptions:
        integration = self._integrations.get(integration_id)
        return integration.options if integration else self.options

    def _now(self, integration_id: str) -> float:
        return self.clock() + self._options_of(integration_id).readings.clock_offset_seconds

    def _strikes(self, fault: Fault, seen: RequestSeen, body: bytes) -> bool:
        if not fault.is_about(seen.operation, seen.integration_id, body):
            return False
        if not fault.contains:
            return fault.hits(seen.nth)
        self._containing[fault] += 1
        return fault.hits(self._containing[fault])

    def _act(self, seen: RequestSeen, received: Received) -> Reply:
        if seen.headers.get("api-key") != self.options.api_key:
            raise Refused(401, "The api-key header is missing or wrong")
        integration = self._integrations.get(seen.integration_id)
        if integration is None:
            if self.options.integrations is not None:
                raise Refused(404, "No such integration")
            integration = self._add(seen.integration_id)
        changes = integration.changes
        now = self._now(seen.integration_id)
        try:
            integration.advance(now)
            integration.admit(now)
            return Exchange(seen, received, integration, now).answer()
        finally:
            self._note_changes(integration, changes)

    def _add(self, integration_id: str, state: IntegrationState | None = None) -> Integration:
        integration = Integration(integration_id, self.options, state or IntegrationState())
        return self._integrations.setdefault(integration_id, integration)

    def _state(self, integration_id: str) -> IntegrationState:
        """Find an integration's state as of now; an unknown one has nothing."""
        integration = self._integrations.get(integration_id)
        if integration is None:
            return IntegrationState()
        changes = integration.changes
        integration.advance(self._now(integration_id))
        self._note_changes(integration, changes)
        return integration.state

    def _note_changes(self, integration: Integration, changes: int) -> None:
        if integration.changes != changes:
            self.save()
            self.changed.notify_all()
