"""Whose session is in the way, what may be taken over, and a session that expires while the tap is silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests as http

from target_sprinto.sandbox import Readings
from tests.support import another_client
from tests.support.front_door import API_KEY, PAGE, STATE, feed, people, state_line
from tests.support.sandbox import Edit, Fault, Hang, Reset, Respond

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor

OWN = "target-sprinto"


def inject(door: FrontDoor, fault: Fault) -> Fault:
    door.sandbox.inject(fault)
    return fault


def push_another(door: FrontDoor, session_id: str) -> None:
    url = f"{door.sandbox.base_url}/v1/integrations/{door.integration_id}/sessions/{session_id}/entities"
    body = {"entities": {"people": [{"id": "foreign"}]}}
    http.post(url, json=body, headers={"api-key": API_KEY}, timeout=10).raise_for_status()


def test_an_own_session_with_foreign_records_is_not_adopted(door: FrontDoor) -> None:
    """Contract, "create in doubt": adopted only with nothing accepted, even if a mismatch were applied."""
    inject(door, Fault("create", integration_id=door.integration_id, moment="after", effect=Reset()))
    slow = inject(door, Fault("activity", integration_id=door.integration_id, effect=Hang()))
    process = door.fed(PAGE, on_count_mismatch="apply")
    door.wait_for_operation("create", 2, responded=True)
    push_another(door, door.session().id)
    door.sandbox.release(slow)
    finished = door.finish(process, [STATE])
    assert (finished.code, finished.stdout) == (75, "")
    assert "[session-conflict]" in finished.error
    assert f"session {door.session().id} is 'active' with 1 of types that were not sent" in finished.error
    assert door.applied() == {}
    # Only the foreign page.
    assert len(door.pages()) == 1


@pytest.mark.parametrize("state", ["processing", "processed"])
def test_discard_does_not_touch_a_session_that_ends_meanwhile(door: FrontDoor, state: str) -> None:
    """It was closed after the conflict: its status shows that, and it must get no discard."""
    left = another_client.open_session(door, OWN)
    # The integration's status still counts it as active, and it is still in the way of the next create.
    inject(
        door,
        Fault("status", 1, 9, door.integration_id, effect=Edit(lambda body: body | {"state": state})),
    )
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=0)
    assert (finished.code, finished.stdout) == (75, "")
    assert "[session-conflict]" in finished.error
    assert "close" not in door.operations()
    assert door.operations().count("create") == 3
    assert door.session().id == left


def test_discard_leaves_a_newer_session_alone(door: FrontDoor) -> None:
    """While it waits, the old session ends and another run of the pipeline opens one."""
    # The next look is the last one: it does not see that for a moment none was active.
    door.pace |= {"conflict_poll_interval": 60.0}
    old = another_client.open_session(door, OWN)
    process = door.fed(PAGE, on_active_session="discard", stale_session_seconds=3)
    door.wait_for_operation("status", responded=True)
    another_client.close_session(door, old, "discard")
    newer = another_client.open_session(door, OWN)
    closes = door.operations().count("close")
    finished = door.finish(process, [STATE])
    assert (finished.code, finished.stdout) == (75, "")
    assert f"session {newer}" in finished.error
    assert "[session-conflict]" in finished.error
    assert door.operations().count("close") == closes
    assert [one.state for one in door.sessions()] == ["cancelled", "active"]
    # Looking does not keep it alive: the newer one's status was never read.
    read = [one.session_id for one in door.sandbox.requests(door.integration_id) if one.operation == "status"]
    assert newer not in read


def test_discard_takes_over_nothing_whose_status_is_unreadable(door: FrontDoor) -> None:
    another_client.open_session(door, OWN)
    inject(door, Fault("status", 1, 99, door.integration_id, effect=Respond(404)))
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=0)
    assert (finished.code, finished.stdout) == (75, "")
    assert "its status could not be read (not-found)" in finished.error
    assert "close" not in door.operations()


def test_a_takeover_whose_discard_fails_opens_nothing(door: FrontDoor) -> None:
    door.pace["shutdown_timeout"] = 1.0
    left = another_client.open_session(door, OWN)
    inject(door, Fault("close", 1, 99, door.integration_id, effect=Respond(401)))
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=0)
    assert (finished.code, finished.stdout) == (1, "")
    assert f"session {left}" in finished.error
    assert "its discard is not confirmed (unauthorized)" in finished.error
    assert "Discarded to open a new one" not in finished.stderr
    assert door.operations().count("create") == 2


def test_an_expiry_at_the_beginning_of_time_is_unknown(door: FrontDoor) -> None:
    """Go's zero time; it used to overflow."""
    another_client.open_session(door, OWN)
    zero = Edit(lambda body: body | {"expires_at": "0001-01-01T00:00:00Z"})
    inject(door, Fault("status", 1, 99, door.integration_id, effect=zero))
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=0)
    assert (finished.code, finished.stdout) == (0, state_line())


def test_fail_names_the_blocker_even_if_the_integrations_status_is_unreadable(door: FrontDoor) -> None:
    left = another_client.open_session(door)
    inject(door, Fault("integration_status", 1, 99, door.integration_id, effect=Respond(404)))
    finished = door.run(people(3))
    assert finished.code == 75
    assert "[session-conflict]" in finished.error
    assert f"session {left}, opened 0 min" in finished.error


@pytest.mark.parametrize("policy", ["fail", "discard"])
def test_a_conflict_is_reported_even_if_the_log_is_unreadable(door: FrontDoor, policy: str) -> None:
    another_client.open_session(door, OWN)
    inject(door, Fault("activity", 1, 99, door.integration_id, effect=Respond(404)))
    finished = door.run(people(3), on_active_session=policy, stale_session_seconds=0)
    assert finished.code == 75
    assert "[session-conflict]" in finished.error
    assert "the activity log could not be read (not-found)" in finished.error
    assert "close" not in door.operations()
    assert door.session().state == "active"


def expired_while_silent(door: FrontDoor, count: int) -> tuple[object, str]:
    door.pace["keep_alive"] = 0.3
    door.sandbox.configure(door.integration_id, readings=Readings(status_postpones_expiry=False))
    process = door.midway(people(count)[:-1])
    reads = door.operations().count("status")
    door.sandbox.expire(door.integration_id)
    door.wait_for_operation("status", reads + 2, responded=True)
    return process, door.session().id


def test_a_session_that_expires_while_the_tap_is_silent_is_still_applied(door: FrontDoor) -> None:
    """All its records are accepted, and only the STATE is still to come: the newest session."""
    process, session = expired_while_silent(door, 100)
    finished = door.finish(process, [STATE])  # type: ignore[arg-type]
    assert (finished.code, finished.stdout) == (0, state_line())
    assert finished.stderr.count(f"Session {session} has expired: it accepts no more pages.") == 1
    assert len(door.applied()["people"]) == 100


def test_a_session_that_expires_while_records_are_to_come_fails(door: FrontDoor) -> None:
    process, _ = expired_while_silent(door, 100)
    feed(process, people(3)[1:])  # type: ignore[arg-type]
    finished = door.finish(process, b"")  # type: ignore[arg-type]
    assert (finished.code, finished.stdout) == (75, "")
    assert "[session-ended]" in finished.error
    assert door.applied() == {}
