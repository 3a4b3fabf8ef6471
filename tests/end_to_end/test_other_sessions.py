"""Sessions that another client closed earlier are processed first, even if their processing is retried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.front_door import API_KEY, people, state_line
from tests.support.sandbox import Edit, Fault, Reset, Respond

if TYPE_CHECKING:
    from target_sprinto.sandbox.options import ProcessingOutcome
    from tests.support.front_door import FrontDoor
    from tests.support.sandbox import Effect

SECONDS = 3.0


def call(door: FrontDoor, path: str, body: dict[str, str]) -> dict[str, Any]:
    url = f"{door.sandbox.base_url}/v1/integrations/{door.integration_id}{path}"
    response = requests.post(url, json=body, headers={"api-key": API_KEY}, timeout=10)
    response.raise_for_status()
    parsed: dict[str, Any] = response.json()
    return parsed


def close_another(door: FrontDoor) -> str:
    session_id: str = call(door, "/sessions", {"client_reference_id": "another"})["id"]
    call(door, f"/sessions/{session_id}/close", {"status": "apply"})
    return session_id


def run_after_other_session_failed(door: FrontDoor, retries: str) -> tuple[Any, str]:
    """Our run's input ends as soon as Sprinto has failed to process the other session."""
    seconds = 0.2 if retries == "final" else SECONDS
    outcomes: tuple[ProcessingOutcome, ...] = ("failed", "failed") if retries == "final" else ("failed",)
    door.sandbox.configure(door.integration_id, processing_seconds=seconds, processing_outcomes=outcomes)
    other = close_another(door)

    def failed(box: Any) -> bool:  # noqa: ANN401 - the sandbox
        session = next(one for one in box.sessions(door.integration_id) if one.id == other)
        return session.state == "failed" and (retries != "final" or session.retry_count == 1)

    door.sandbox.wait_for(failed, timeout=20)
    finished = door.run(people(3))
    states = {session.id: session.state for session in door.sessions()}
    return finished, states[other]


@pytest.mark.parametrize("effect", [None, Respond(429, {"Retry-After": "1"}), Respond(503), Reset()], ids=str)
def test_a_failed_session_is_waited_for_while_sprinto_may_retry_it(
    door: FrontDoor, effect: Effect | None
) -> None:
    door.pace |= {"failed_final_after": 60.0}
    if effect is not None:
        door.sandbox.inject(Fault("status", integration_id=door.integration_id, effect=effect))
    finished, other = run_after_other_session_failed(door, "retried")
    assert (finished.code, finished.stdout, other) == (0, state_line(), "processed")
    assert finished.stderr.count("Waiting for another session of this integration") == 1
    seen = [one.operation for one in door.sandbox.requests(door.integration_id)]
    # More than one status read between the other session's close and ours.
    ours = len(seen) - 1 - seen[::-1].index("close")
    assert seen[:ours].count("integration_status") > 1


def test_a_failed_session_is_not_waited_for_after_its_retry(door: FrontDoor) -> None:
    finished, other = run_after_other_session_failed(door, "final")
    assert (finished.code, finished.stdout, other) == (0, state_line(), "failed")
    assert "Waiting for another session" not in finished.stderr


@pytest.mark.parametrize("refused", ["status", "activity"])
def test_an_unreadable_failed_session_is_not_waited_for(door: FrontDoor, refused: str) -> None:
    if refused == "status":
        door.sandbox.inject(
            Fault("status", integration_id=door.integration_id, effect=Edit(lambda _: {"id": "unreadable"}))
        )
    else:
        door.sandbox.inject(
            Fault("activity", integration_id=door.integration_id, effect=Edit(lambda _: {"items": None}))
        )
    finished, other = run_after_other_session_failed(door, "final")
    assert (finished.code, finished.stdout, other) == (0, state_line(), "failed")
    assert finished.stderr.count("Cannot check whether Sprinto is retrying the failed session.") == 1


def test_a_failed_session_without_a_retry_count_is_waited_for_briefly(
    door: FrontDoor,
) -> None:
    uncounted = Edit(lambda body: body | {"retry_count": 0} if body["state"] == "failed" else body)
    door.sandbox.inject(Fault("status", times=99, integration_id=door.integration_id, effect=uncounted))
    door.pace |= {"failed_final_after": 1.0}
    finished, other = run_after_other_session_failed(door, "final")
    assert (finished.code, finished.stdout, other) == (0, state_line(), "failed")
    assert "Waiting for another session of this integration" in finished.stderr
    assert "still being processed" not in finished.stderr
