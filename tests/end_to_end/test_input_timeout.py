"""A tap that hangs: `input_timeout_seconds`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.support.front_door import SCHEMA, STATE, feed, people, record, state_line
from tests.support.sandbox import Delay, Fault

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor


def test_a_tap_that_hangs_ends_the_run_as_if_it_had_crashed(door: FrontDoor) -> None:
    process = door.midway(input_timeout_seconds=1, messages=people(101)[:-1])
    process.wait(20)
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (1, "")
    assert "The tap sent nothing for 1 s (`input_timeout_seconds`)" in finished.error
    assert "was discarded; nothing was applied" in finished.error
    assert "[tap-silent]" in finished.error
    assert door.session().state == "cancelled"


def test_a_tap_that_hangs_before_its_first_page_opens_nothing(door: FrontDoor) -> None:
    process = door.fed([SCHEMA], input_timeout_seconds=0.5)
    process.wait(20)
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (1, "")
    assert "No session was opened" in finished.error
    assert door.operations() == []


def test_a_slow_tap_does_not_time_out(door: FrontDoor) -> None:
    process = door.start(input_timeout_seconds=2)
    for number in range(5):
        feed(process, [SCHEMA, record(number)] if number == 0 else [record(number)])
        time.sleep(0.6)
    finished = door.finish(process, [STATE])
    assert (finished.code, finished.stdout) == (0, state_line())


def test_by_default_a_tap_may_be_silent(door: FrontDoor) -> None:
    process = door.fed([SCHEMA, record(0)])
    time.sleep(1.5)
    assert process.poll() is None
    finished = door.finish(process, [STATE])
    assert finished.code == 0


def test_time_spent_sending_does_not_count_as_tap_silence(door: FrontDoor) -> None:
    """The whole input is available while Sprinto responds slowly."""
    door.sandbox.inject(Fault("push", integration_id=door.integration_id, effect=Delay(2.0)))
    finished = door.run([SCHEMA, *(record(number) for number in range(300)), STATE], input_timeout_seconds=1)
    assert finished.code == 0
