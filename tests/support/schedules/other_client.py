"""Other clients of the same integration.

They call the engine directly, so that no fault meant for the run strikes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tests.support.sandbox import RequestSeen

if TYPE_CHECKING:
    from target_sprinto.sandbox.operations import Operation
    from tests.support.sandbox import FaultySandbox


class OtherClient:
    """Opens, fills and closes sessions. `requests` are its requests, as in the sandbox's record."""

    def __init__(self, sandbox: FaultySandbox, integration_id: str) -> None:
        self.requests: list[RequestSeen] = []
        self._sandbox = sandbox
        self._integration_id = integration_id

    def open(self, reference: str) -> None:
        self._ask("create", "", {"client_reference_id": reference})

    def push(self, session_id: str, **entities: list[Any]) -> None:
        self._ask("push", session_id, {"entities": entities})

    def close(self, session_id: str, status: str) -> None:
        self._ask("close", session_id, {"status": status})

    def _ask(self, operation: Operation, session_id: str, body: object) -> None:
        box = self._sandbox
        seen = RequestSeen(
            operation=operation,
            integration_id=self._integration_id,
            session_id=session_id,
            headers={"api-key": box.options.api_key},
            body=msgspec.json.encode(body),
            at=box.clock(),
        )
        with box.changed:
            seen.status = box.respond(seen).status
            self.requests.append(seen)
            box.changed.notify_all()
