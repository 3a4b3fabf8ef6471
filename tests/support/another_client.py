"""Another client of the same integration: bare requests, none of the loader's code."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import requests

from tests.support.front_door import API_KEY

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor

TIMEOUT_SECONDS = 10


def open_session(door: FrontDoor, prefix: str = "another-client", suffix: str = "") -> str:
    """Open a session with a reference like the loader's."""
    session: dict[str, str] = _post(
        door, "/sessions", {"client_reference_id": f"{prefix}/{uuid.uuid4()}{suffix}"}
    ).json()
    return session["id"]


def close_session(door: FrontDoor, session_id: str, status: str) -> None:
    _post(door, f"/sessions/{session_id}/close", {"status": status})


def wait_until_logged(door: FrontDoor) -> None:
    """Wait until the activity log shows an event."""
    until = time.monotonic() + TIMEOUT_SECONDS
    while not requests.get(
        f"{_base(door)}/activity", headers={"api-key": API_KEY}, timeout=TIMEOUT_SECONDS
    ).json()["items"]:
        assert time.monotonic() < until
        time.sleep(0.05)


def _base(door: FrontDoor) -> str:
    return f"{door.sandbox.base_url}/v1/integrations/{door.integration_id}"


def _post(door: FrontDoor, path: str, body: dict[str, str]) -> requests.Response:
    response = requests.post(
        f"{_base(door)}{path}", json=body, headers={"api-key": API_KEY}, timeout=TIMEOUT_SECONDS
    )
    response.raise_for_status()
    return response
