"""The sandbox without its sockets: authentication, integrations, time.

All methods are thread-safe: one lock is held while anything is read or changed. Changes that only depend on
time (expiry, processing) are made when something is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from email.utils import format_datetime
from threading import RLock
from typing import Any

from target_sprinto.sandbox import snapshot
from target_sprinto.sandbox.integration import Integration
from target_sprinto.sandbox.operations import Call, respond
from target_sprinto.sandbox.options import SandboxOptions
from target_sprinto.sandbox.readings import Readings
from target_sprinto.sandbox.refusal import Refused, Reply
from target_sprinto.sandbox.response_bodies import event_body
from target_sprinto.sandbox.state import IntegrationState, Rejection, Session


class Engine:
    """The state and the actions of a sandbox; `clock` returns seconds since the epoch."""

    def __init__(
        self, options: SandboxOptions | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.options = options or SandboxOptions()
        self.clock = clock
        self.lock = RLock()
        self._integrations: dict[str, Integration] = {}
        self._unknown = Integration("", self.options, IntegrationState())
        remembered = snapshot.load(self.options.data_dir) if self.options.data_dir else {}
        for integration_id in (*(self.options.integrations or ()), *remembered):
            self._add(integration_id, remembered.get(integration_id))

    def sessions(self, integration_id: str) -> list[Session]:
        """List an integration's sessions, oldest first, as copies without their pages."""
        with self.lock:
            sessions = self._state(integration_id).sessions.values()
            return [
                replace(one, accepted_by_entity=dict(one.accepted_by_entity), pages=[]) for one in sessions
            ]

    def applied(self, integration_id: str) -> dict[str, list[bytes]]:
        """List the applied records by entity type, as their original bytes, in apply order."""
        with self.lock:
            tables = self._state(integration_id).applied
            return {name: [bytes(record) for record in table.values()] for name, table in tables.items()}

    def events(self, integration_id: str) -> list[dict[str, Any]]:
        """List an integration's events, oldest first, as the activity log shows them."""
        with self.lock:
            return [event_body(event) for event in self._state(integration_id).events]

    def rejections(self, integration_id: str) -> list[Rejection]:
        """List the errors of rejected pages, oldest first."""
        with self.lock:
            return list(self._state(integration_id).rejections)

    def known(self) -> list[str]:
        """List the ids of the integrations, in the order in which they appeared."""
        with self.lock:
            return list(self._integrations)

    def respond(self, call: Call) -> Reply:
        """Act on a call; an error is a response too."""
        with self.lock:
            try:
                return self._act(call)
            except Refused as refused:
                return refused.reply

    def readings(self, integration_id: str) -> Readings:
        """The readings that apply to an integration."""
        with self.lock:
            return self._find(integration_id).options.readings

    def save(self) -> None:
        """Write the snapshot, as of now, if there is a folder for it. Raises DataUnusable."""
        if self.options.data_dir:
            with self.lock:
                for integration in self._integrations.values():
                    integration.advance(self._now(integration))
                    integration.changed = False
                states = {name: integration.state for name, integration in self._integrations.items()}
                snapshot.save(self.options.data_dir, states)

    def date(self, integration_id: str) -> str:
        """The `Date` header of a response (RFC 9110); empty if it has none."""
        with self.lock:
            integration = self._find(integration_id)
            shown = integration.options.readings.date_header
            now = self._now(integration) if shown == "this server's" else self.clock()
        if shown == "none":
            return ""
        return format_datetime(datetime.fromtimestamp(now, timezone.utc), usegmt=True)

    def _find(self, integration_id: str) -> Integration:
        """Find an integration; an unknown one is empty."""
        return self._integrations.get(integration_id, self._unknown)

    def _now(self, integration: Integration) -> float:
        return self.clock() + integration.options.readings.clock_offset_seconds

    def _act(self, call: Call) -> Reply:
        if call.headers.get("api-key") != self.options.api_key:
            raise Refused(401, "The api-key header is missing or wrong")
        integration = self._integrations.get(call.integration_id)
        if integration is None:
            if self.options.integrations is not None:
                raise Refused(404, "No such integration")
            integration = self._add(call.integration_id)
        try:
            integration.advance(self._now(integration))
            integration.admit()
            return respond(call, integration)
        finally:
            self._save_changes(integration)

    def _add(self, integration_id: str, state: IntegrationState | None = None) -> Integration:
        integration = Integration(integration_id, self.options, state or IntegrationState())
        return self._integrations.setdefault(integration_id, integration)

    def _state(self, integration_id: str) -> IntegrationState:
        """Find an integration's state as of now."""
        integration = self._find(integration_id)
        integration.advance(self._now(integration))
        self._save_changes(integration)
        return integration.state

    def _save_changes(self, integration: Integration) -> None:
        if integration.changed:
            self.save()
