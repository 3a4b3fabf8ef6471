"""A signal ends a run within ten seconds: its session is discarded before the close, named after it."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from target_sprinto.sandbox import Readings
from tests.support import another_client
from tests.support.front_door import (
    PAGE,
    SCHEMA,
    SIGNALS,
    Finished,
    FrontDoor,
    end_of_input,
    feed,
    people,
    record,
    state_line,
)
from tests.support.sandbox import Fault, Hang, Respond

if TYPE_CHECKING:
    import subprocess

    from target_sprinto.sandbox.operations import Operation


def stop(door: FrontDoor, process: subprocess.Popen[bytes], *numbers: int) -> Finished:
    """Send signals while the pipe stays open; the run must exit on its own, in time."""
    began = time.monotonic()
    for number in numbers:
        process.send_signal(number)
    process.wait(timeout=20)
    assert time.monotonic() - began < 10
    return door.finish(process, None)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_reading_discards(door: FrontDoor, number: signal.Signals) -> None:
    process = door.midway(cold=number is signal.SIGTERM)
    finished = stop(door, process, number)
    assert (finished.code, finished.stdout) == (SIGNALS[number], "")
    assert f"Stopped by {number.name}." in finished.error
    assert "was discarded; nothing was applied" in finished.error
    assert door.session().state == "cancelled"


def test_the_first_of_several_signals_wins(door: FrontDoor) -> None:
    process = door.midway()
    process.send_signal(signal.SIGTERM)
    door.wait_for_operation("close")
    finished = stop(door, process, signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    assert finished.code == 143
    assert door.session().state == "cancelled"


def test_a_signal_before_the_first_page_opens_nothing(door: FrontDoor) -> None:
    process = door.fed([SCHEMA, record(1)])
    wait_until_reading(process)
    finished = stop(door, process, signal.SIGTERM)
    assert (finished.code, finished.stdout) == (143, "")
    assert "No session was opened" in finished.error
    assert door.operations() == []


def wait_until_reading(process: subprocess.Popen[bytes]) -> None:
    """Wait until the process has read everything that was written: only then has it started up."""
    import fcntl  # noqa: PLC0415 - not on Windows
    import struct  # noqa: PLC0415 - used once
    import termios  # noqa: PLC0415 - not on Windows

    assert process.stdin is not None
    for _ in range(1000):
        if struct.unpack("i", fcntl.ioctl(process.stdin, termios.FIONREAD, b"\0" * 4))[0] == 0:
            return
        time.sleep(0.02)
    raise TimeoutError


def test_a_signal_abandons_a_page_that_awaits_its_response(door: FrontDoor) -> None:
    hang = Fault("push", moment="after", integration_id=door.integration_id, effect=Hang())
    door.sandbox.inject(hang)
    process = door.fed(PAGE)
    door.sandbox.wait_for(lambda box: bool(box.fired(door.integration_id)))
    finished = stop(door, process, signal.SIGTERM)
    assert finished.code == 143
    assert door.session().state == "cancelled"
    door.sandbox.release(hang)


def test_a_signal_interrupts_a_retry_after_wait(door: FrontDoor) -> None:
    busy = Respond(429, {"Retry-After": "200"})
    door.sandbox.inject(Fault("push", times=99, integration_id=door.integration_id, effect=busy))
    process = door.midway(retry_timeout_seconds=300)
    finished = stop(door, process, signal.SIGINT)
    assert finished.code == 130
    assert door.session().state == "cancelled"
    assert door.operations().count("push") == 1


def test_a_signal_during_create_waits_for_its_response(door: FrontDoor) -> None:
    hang = Fault("create", moment="after", integration_id=door.integration_id, effect=Hang(seconds=2))
    door.sandbox.inject(hang)
    process = door.fed(PAGE)
    door.sandbox.wait_for(lambda box: bool(box.fired(door.integration_id)))
    finished = stop(door, process, signal.SIGTERM)
    assert finished.code == 143
    assert f"Session {door.session().id} was discarded" in finished.error


@pytest.mark.parametrize("prefix", ["evidence", 'the "best" evidence\\'])
def test_a_signal_during_a_lost_create_checks_the_activity_log(door: FrontDoor, prefix: str) -> None:
    door.sandbox.inject(Fault("create", moment="after", integration_id=door.integration_id, effect=Hang()))
    process = door.fed(PAGE, client_reference_prefix=prefix)
    door.sandbox.wait_for(lambda box: bool(box.fired(door.integration_id)))
    finished = stop(door, process, signal.SIGTERM)
    assert finished.code == 143
    assert "activity" in door.operations()
    assert door.session().state == "cancelled"


def test_a_create_missing_from_the_log_may_be_open(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, readings=Readings(log_shows_reference=False))
    door.sandbox.inject(Fault("create", moment="after", integration_id=door.integration_id, effect=Hang()))
    process = door.fed(PAGE)
    door.sandbox.wait_for(lambda box: bool(box.fired(door.integration_id)))
    finished = stop(door, process, signal.SIGTERM)
    assert finished.code == 143
    assert "may be open until" in finished.error


def test_a_signal_cancels_a_pending_create_retry(door: FrontDoor) -> None:
    busy = Respond(503, {"Retry-After": "200"})
    door.sandbox.inject(Fault("create", times=99, integration_id=door.integration_id, effect=busy))
    process = door.fed(PAGE, retry_timeout_seconds=300)
    door.wait_for_operation("create", responded=True)
    finished = stop(door, process, signal.SIGTERM)
    assert finished.code == 143
    assert "No session was opened" in finished.error
    assert door.operations() == ["create"]


@pytest.mark.parametrize(
    ("policy", "operation"),
    [("fail", "integration_status"), ("wait", "integration_status"), ("fail", "activity")],
)
def test_a_signal_during_a_conflict_check_reports_no_session_opened(
    door: FrontDoor, policy: str, operation: Operation
) -> None:
    another_client.open_session(door)
    door.sandbox.inject(Fault(operation, times=99, integration_id=door.integration_id, effect=Hang()))
    process = door.fed(PAGE, on_active_session=policy)
    door.sandbox.wait_for(lambda box: bool(box.fired(door.integration_id)))
    finished = stop(door, process, signal.SIGTERM)
    assert finished.code == 143
    assert "No session was opened." in finished.error
    assert door.session().state == "active"


def start_closing(door: FrontDoor, **settings: object) -> subprocess.Popen[bytes]:
    process = door.start(**settings)  # type: ignore[arg-type] # settings have any type
    feed(process, people(3))
    end_of_input(process)
    door.wait_for_operation("close")
    return process


@pytest.mark.parametrize("left", [3.0, pytest.param(9.0, marks=pytest.mark.slow)])
def test_a_signal_while_polling_leaves_ten_seconds(door: FrontDoor, left: float) -> None:
    door.pace["signal_shutdown_timeout"] = left
    door.sandbox.configure(door.integration_id, processing_seconds=100)
    # Reading the log for the receipt must not take extra time.
    door.sandbox.inject(Fault("activity", times=99, integration_id=door.integration_id, effect=Hang()))
    process = start_closing(door, report_path="receipt.json")
    door.wait_for_operation("status", 2)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    finished = door.finish(process, None)
    # Leaves the process time to exit: less than usual, and never more than the contract allows.
    assert left - 1 < time.monotonic() - began < min(left + 1.4, 10.5)
    assert (finished.code, finished.stdout) == (143, "")
    assert (
        f"Session {door.session().id} was sent an apply request, and may still be applied." in finished.error
    )
    assert door.session().state == "processing"


def test_processing_within_ten_seconds_of_a_signal_is_a_success(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, processing_seconds=2)
    process = start_closing(door)
    door.wait_for_operation("status", 2)
    finished = stop(door, process, signal.SIGTERM)
    assert (finished.code, finished.stdout) == (0, state_line())


def test_after_a_signal_the_status_is_read_often(door: FrontDoor) -> None:
    """By now the polls are seconds apart, and the next but one would come too late."""
    door.pace |= {"signal_shutdown_timeout": 3.0, "status_poll_interval": 0.1}
    door.sandbox.configure(door.integration_id, processing_seconds=5.6)
    process = start_closing(door)
    # One before the close; the eighth after it comes 3.2 s after the close.
    door.wait_for_operation("status", 9)
    finished = stop(door, process, signal.SIGTERM)
    assert (finished.code, finished.stdout) == (0, state_line())


def test_a_signal_before_a_close_retry_discards(door: FrontDoor) -> None:
    busy = Respond(429, {"Retry-After": "200"})
    door.sandbox.inject(Fault("close", integration_id=door.integration_id, effect=busy))
    process = start_closing(door, retry_timeout_seconds=300)
    door.wait_for_operation("close", responded=True)
    finished = stop(door, process, signal.SIGTERM)
    assert finished.code == 143
    assert "was discarded" in finished.error
    assert door.session().state == "cancelled"


def test_a_signal_while_the_close_awaits_its_response_does_not_discard(door: FrontDoor) -> None:
    door.pace["signal_shutdown_timeout"] = 4.5
    door.sandbox.configure(door.integration_id, processing_seconds=100)
    door.sandbox.inject(Fault("close", moment="after", integration_id=door.integration_id, effect=Hang()))
    process = start_closing(door)
    door.sandbox.wait_for(lambda box: bool(box.fired(door.integration_id)))
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    finished = door.finish(process, None)
    # The whole time counts from the signal, including the third spent waiting for the response.
    assert time.monotonic() - began < 5.7
    assert (finished.code, finished.stdout) == (143, "")
    assert "may still be applied" in finished.error
    assert door.operations().count("close") == 1


def test_a_tap_killed_together_with_the_target_leaves_nothing(door: FrontDoor) -> None:
    """Like Ctrl-C in a shell: the signal goes to the whole pipeline, and the pipe closes too."""
    read, write = os.pipe()
    process = door.start(stdin=read)
    os.close(read)
    from tests.support.front_door import as_input  # noqa: PLC0415 - used once

    os.write(write, as_input(PAGE))
    door.wait_for_operation("push", responded=True)
    process.send_signal(signal.SIGINT)
    os.close(write)
    finished = door.finish(process, None)
    assert finished.code == 130
    assert door.session().state == "cancelled"


def test_a_signal_during_a_hanging_discard_is_handled(door: FrontDoor) -> None:
    door.pace["signal_shutdown_timeout"] = 3.0
    door.sandbox.inject(Fault("close", times=99, integration_id=door.integration_id, effect=Hang()))
    process = door.fed([*PAGE, b"no message"])
    door.wait_for_operation("close")
    finished = stop(door, process, signal.SIGTERM)
    assert finished.code == 143
    assert f"sprintoctl discard {door.session().id}" in finished.error


@pytest.mark.slow
def test_a_discard_is_confirmed_even_if_responses_take_eight_seconds(door: FrontDoor) -> None:
    """With production timings: at most 10 s after a signal."""
    door.pace = {}
    door.sandbox.configure(door.integration_id, readings=Readings(response_seconds=8))
    process = door.midway(page_size=1, messages=[SCHEMA, record(0)])
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)
    assert time.monotonic() - began < 10
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (143, "")
    assert f"Session {door.session().id} was discarded; nothing was applied." in finished.error
    assert door.session().state == "cancelled"


def test_a_signal_at_the_end_of_input_takes_precedence(door: FrontDoor) -> None:
    door.sandbox.inject(Fault("close", times=99, integration_id=door.integration_id, effect=Hang()))
    door.pace["signal_shutdown_timeout"] = 3.0
    process = door.midway()
    # Another thread may receive it, so it gets a moment's start.
    process.send_signal(signal.SIGTERM)
    end_of_input(process)
    process.wait(timeout=12)
    finished = door.finish(process, None)
    assert finished.code == 143
    assert "Stopped by SIGTERM" in finished.error


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_signal_during_imports_logs_one_line(door: FrontDoor, number: signal.Signals) -> None:
    process = door.start(cold=True, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert process.stderr is not None
    for line in process.stderr:
        if b"singer_sdk.exceptions" in line:
            break
    process.send_signal(number)
    finished = door.finish(process, None)
    assert finished.code == SIGNALS[number]
    assert f"Stopped by {number.name}. No session was opened." in finished.error


def test_a_stuck_stdout_reader_does_not_block_signals(door: FrontDoor) -> None:
    read, write = os.pipe()
    large = {"type": "STATE", "value": {"bookmark": "x" * 500_000}}
    process = door.start(cold=True, stdout=write, env={"PYTHONUNBUFFERED": "1"})
    os.close(write)
    feed(process, [SCHEMA, record(1), large])
    end_of_input(process)
    door.sandbox.wait_for(lambda box: any(s.state == "processed" for s in box.sessions(door.integration_id)))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=15)
    os.close(read)
    assert process.returncode == 143
    assert b"[state-not-written]" in err
    assert b"x" * 500_000 in err


def test_a_large_state_is_written_in_full(door: FrontDoor) -> None:
    large = {"type": "STATE", "value": {"bookmark": "x" * 500_000}}
    finished = door.run([SCHEMA, record(1), large], cold=True, env={"PYTHONUNBUFFERED": "1"})
    assert finished.code == 0
    assert len(finished.stdout) > 500_000


def test_a_signal_that_the_parent_has_blocked_discards(door: FrontDoor) -> None:
    """A blocked signal is inherited, like an ignored one, and would never arrive."""
    code = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM});"
    code += "os.execv(sys.argv[1], sys.argv[1:])"
    process = door.midway(cold=True, through=(sys.executable, "-c", code))
    process.send_signal(signal.SIGTERM)
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (143, "")
    assert door.session().state == "cancelled"
