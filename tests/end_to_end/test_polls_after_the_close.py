"""A poll after the close that gets 401 or 404 is repeated for a while; a 403 ends the run at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.front_door import people, state_line
from tests.support.sandbox import Fault, Respond

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor


def unreadable(door: FrontDoor, status: int, times: int) -> None:
    """The status is read once before the close; every later read is a poll."""
    door.sandbox.inject(Fault("status", 2, times, integration_id=door.integration_id, effect=Respond(status)))


def polls(door: FrontDoor) -> int:
    return door.operations()[door.operations().index("close") :].count("status")


def test_an_unreadable_poll_is_repeated(door: FrontDoor) -> None:
    unreadable(door, 401, 3)
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert finished.stderr.count("Reading it again.") == 3
    assert polls(door) >= 4


@pytest.mark.parametrize("status", [401, 404])
def test_polls_that_stay_unreadable_end_the_run_without_a_state(door: FrontDoor, status: int) -> None:
    door.pace["max_replica_lag"] = 0.5
    unreadable(door, status, 9999)
    finished = door.run(people(3), processing_timeout_seconds=20)
    assert (finished.code, finished.stdout) == (1, "")
    assert "may still be applied" in finished.error
    assert polls(door) >= 3
    assert door.operations().count("close") == 1


def test_a_poll_that_is_forbidden_ends_the_run_at_once(door: FrontDoor) -> None:
    unreadable(door, 403, 1)
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert "may still be applied" in finished.error
    assert polls(door) == 1
    assert door.operations().count("close") == 1


def test_the_time_of_unreadable_polls_starts_again_after_a_readable_one(door: FrontDoor) -> None:
    door.pace["max_replica_lag"] = 0.4
    door.sandbox.configure(door.integration_id, processing_seconds=1.5)
    for nth in range(2, 60, 2):
        door.sandbox.inject(Fault("status", nth, 1, door.integration_id, effect=Respond(401)))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (0, state_line())
