"""A poll after the close that gets 401 or 404 is repeated for a while; a 403 ends the run at once."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.front_door import end_of_input, people, state_line
from tests.support.sandbox import Fault, Hang, Reset, Respond

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor
    from tests.support.sandbox.faults import Effect


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


@pytest.mark.parametrize(
    ("effect", "stopped"),
    [
        (Respond(403), False),
        (Respond(429, {"Retry-After": "60"}), False),
        (Respond(503), True),
        (Hang(), True),
    ],
)
def test_a_processed_session_is_not_in_doubt_if_its_counts_cannot_be_read_again(
    door: FrontDoor, effect: Effect, *, stopped: bool
) -> None:
    """A page was sent again, so its counts are read until no late copy is expected any more."""
    door.pace["quiet_period"] = 5.0
    door.sandbox.inject(Fault("push", 2, integration_id=door.integration_id, effect=Reset()))
    process = door.fed(people(300))
    end_of_input(process)
    door.sandbox.wait_for(lambda _: "close" in door.operations() and polls(door) >= 2)
    door.sandbox.inject(Fault("status", 1, 9999, door.integration_id, effect=effect))
    door.sandbox.wait_for(lambda box: len(box.fired(door.integration_id)) >= 2)
    if stopped:
        process.send_signal(signal.SIGTERM)
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert "could not be read again." in finished.stderr
