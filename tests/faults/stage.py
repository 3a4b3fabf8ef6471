"""Where a cell is played: one integration of the sandbox, the real command, and what to do between them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cells import PAGE_SIZE
from front_door import Finished, FrontDoor, feed

if TYPE_CHECKING:
    import signal
    import subprocess
    from collections.abc import Callable

    from cells import Cell

    from target_sprinto.sandbox import Fault, SessionView

ENOUGH_SECONDS = 20


@dataclass
class Stage:
    """`others` are sessions that are not the run's.

    `ended_after_signal` says how long that took, in seconds.
    """

    door: FrontDoor
    cell: Cell
    faults: list[Fault] = field(default_factory=list)
    others: set[str] = field(default_factory=set)
    ended_after_signal: float | None = None

    def __post_init__(self) -> None:
        cell, door = self.cell, self.door
        door.sandbox.configure(door.integration_id, readings=cell.readings, **cell.server)
        door.pace |= cell.pace
        self.faults = [replace(fault, integration_id=door.integration_id) for fault in cell.faults]
        for fault in self.faults:
            door.sandbox.inject(fault)

    def start(self, messages: list[Any], **options: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - settings
        settings = {"page_size": PAGE_SIZE, **self.cell.settings, **options}
        process = self.door.start(**settings)
        feed(process, messages)
        return process

    def run(self, messages: list[Any], **options: Any) -> Finished:  # noqa: ANN401 - settings
        process = self.start(messages, **options)
        return self.finish(process)

    def finish(self, process: subprocess.Popen[bytes]) -> Finished:
        """No more input; wait for the end."""
        end_of_input(process)
        return self.door.finish(process, None)

    def stop(self, process: subprocess.Popen[bytes], *numbers: signal.Signals) -> Finished:
        """Signal, with the pipe as it is; the run must end by itself."""
        began = time.monotonic()
        for number in numbers:
            process.send_signal(number)
        process.wait(timeout=ENOUGH_SECONDS)
        self.ended_after_signal = time.monotonic() - began
        return self.door.finish(process, None)

    def wait_for_fault(self, index: int = 0) -> None:
        fault = self.faults[index]
        self.door.sandbox.wait_for(
            lambda box: any(fired.fault is fault for fired in box.fired(self.door.integration_id)),
            timeout=ENOUGH_SECONDS,
        )

    def release(self, index: int = 0) -> None:
        self.door.sandbox.release(self.faults[index])

    def release_and_wait(self, index: int = 0) -> None:
        """Let the request go on that a fault holds, and wait until the server has acted on it."""
        self.release(index)
        fault = self.faults[index]
        self.door.sandbox.wait_for(
            lambda box: any(
                seen.operation == fault.operation and seen.nth == fault.nth and seen.acted_at
                for seen in box.requests(self.door.integration_id)
            ),
            timeout=ENOUGH_SECONDS,
        )

    def wait_for_session(self, holds: Callable[[SessionView], object]) -> None:
        """Until one of the sessions is as wanted."""
        self.door.sandbox.wait_for(
            lambda box: any(holds(session) for session in box.sessions(self.door.integration_id)),
            timeout=ENOUGH_SECONDS,
        )

    def others_are_all(self) -> None:
        """What sessions there are so far are not those of the run to come."""
        self.others = {session.id for session in self.door.sessions()}

    def own_sessions(self) -> list[SessionView]:
        return [session for session in self.door.sessions() if session.id not in self.others]


def end_of_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
        process.stdin = None
