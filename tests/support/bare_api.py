from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from typing_extensions import Self

    from tests.support.sandbox import FaultySandbox


class Api:
    """Bare `requests` against one integration: none of the loader's code."""

    def __init__(self, sandbox: FaultySandbox, integration_id: str) -> None:
        self.http = requests.Session()
        self.http.headers["api-key"] = "sandbox-key"
        self.sandbox = sandbox
        self.id = integration_id
        self.url = f"{sandbox.base_url}/v1/integrations/{integration_id}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def create(self, **body: object) -> requests.Response:
        return self.http.post(f"{self.url}/sessions", json=body)

    def open(self) -> str:
        response = self.create()
        assert response.status_code == 201
        session_id: str = response.json()["id"]
        return session_id

    def status(self, session_id: str) -> requests.Response:
        return self.http.get(f"{self.url}/sessions/{session_id}")

    def state(self, session_id: str) -> str:
        state: str = self.status(session_id).json()["state"]
        return state

    def push(self, session_id: str, **entities: list[Any]) -> requests.Response:
        return self.http.post(f"{self.url}/sessions/{session_id}/entities", json={"entities": entities})

    def push_bytes(self, session_id: str, body: bytes, **headers: str) -> requests.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(f"{self.url}/sessions/{session_id}/entities", data=body, headers=names)

    def close(self, session_id: str, status: str = "apply") -> requests.Response:
        return self.http.post(f"{self.url}/sessions/{session_id}/close", json={"status": status})

    def wait(self, session_id: str, state: str) -> None:
        def there(sandbox: FaultySandbox) -> bool:
            return any(s.id == session_id and s.state == state for s in sandbox.sessions(self.id))

        self.sandbox.wait_for(there)

    def deliver(self, **entities: list[Any]) -> str:
        """A complete session: open, one page, apply, processed."""
        session_id = self.open()
        assert self.push(session_id, **entities).status_code == 202
        assert self.close(session_id).status_code == 202
        self.wait(session_id, "processed")
        return session_id

    def event_types(self) -> list[str]:
        return [event["type"] for event in self.sandbox.events(self.id)]
