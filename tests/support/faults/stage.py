"""Where a cell is played: one integration of the sandbox, the real command, and helpers for scripts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tests.support.faults.traffic import EARLIER_AT, EARLIER_STATE, SCHEMAS
from tests.support.faults.wire import page_of
from tests.support.front_door import Finished, FrontDoor, end_of_input, feed

if TYPE_CHECKING:
    import signal
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from target_sprinto.sandbox import Session
    from tests.support.faults.cells import Cell
    from tests.support.faults.traffic import Traffic
    from tests.support.sandbox import Fault, RequestSeen

ENOUGH_SECONDS = 20


@dataclass
class Stage:
    """`others` are sessions of other runs, `others_rejects` and `others_receipts` are their files.

    `given` is the run's first input; `ended_after_signal` is how long it took to end, in seconds.
    """

    door: FrontDoor
    cell: Cell
    faults: list[Fault] = field(default_factory=list)
    others: set[str] = field(default_factory=set)
    others_rejects: set[Path] = field(default_factory=set)
    others_receipts: set[Path] = field(default_factory=set)
    given: list[Any] = field(default_factory=list)
    ended_after_signal: float | None = None

    def __post_init__(self) -> None:
        cell, door = self.cell, self.door
        door.sandbox.configure(door.integration_id, readings=cell.readings, **cell.server)
        door.pace |= cell.pace
        self.faults = [replace(fault, integration_id=door.integration_id) for fault in cell.faults]
        for fault in self.faults:
            door.sandbox.inject(fault)
        if self.in_flight > 1:
            # After the others, so that it holds only pages that they do not strike.
            door.sandbox.inject(replace(cell.traffic.gathered(), integration_id=door.integration_id))

    @property
    def traffic(self) -> Traffic:
        return self.cell.traffic

    @property
    def in_flight(self) -> int:
        """The number of pages that the server must have seen at once."""
        return self.traffic.together if self.cell.in_flight is None else self.cell.in_flight

    def start(self, messages: list[Any], **options: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - settings
        settings = {**self.traffic.settings, **self.cell.settings, **options}
        if self.cell.keeps_receipt:
            settings["report_path"] = "receipts/{run}.json"
        self.given = messages
        process = self.door.start(**settings)
        feed(process, messages)
        return process

    def start_whole(self) -> subprocess.Popen[bytes]:
        """Start a run with its complete input."""
        process = self.start(self.traffic.input)
        end_of_input(process)
        return process

    def run(self, messages: list[Any], **options: Any) -> Finished:  # noqa: ANN401 - settings
        process = self.start(messages, **options)
        return self.finish(process)

    def finish(self, process: subprocess.Popen[bytes]) -> Finished:
        """End the input and wait for the run's end."""
        end_of_input(process)
        return self.door.finish(process, None)

    def stop(self, process: subprocess.Popen[bytes], *numbers: signal.Signals) -> Finished:
        """Send signals without touching the pipe; the run must end on its own."""
        began = time.monotonic()
        for number in numbers:
            process.send_signal(number)
        process.wait(timeout=ENOUGH_SECONDS)
        self.ended_after_signal = time.monotonic() - began
        return self.door.finish(process, None)

    def wait_for_fault(self, index: int = 0, times: int = 1) -> None:
        """Wait until the fault has struck this many times."""
        fault = self.faults[index]
        self.door.sandbox.wait_for(
            lambda box: sum(fired.fault is fault for fired in box.fired(self.door.integration_id)) >= times,
            timeout=ENOUGH_SECONDS,
        )

    def release(self, index: int = 0) -> None:
        self.door.sandbox.release(self.faults[index])

    def release_and_wait(self, index: int = 0) -> None:
        """Release the request that a fault holds, and wait until the server has acted on it."""
        self.release(index)
        fault = self.faults[index]
        nth = next(f.nth for f in self.door.sandbox.fired(self.door.integration_id) if f.fault is fault)
        self.wait_for_request(
            lambda seen: seen.operation == fault.operation and seen.nth == nth and seen.acted_at is not None
        )

    def wait_for_volley(self) -> None:
        """Wait until all pages that are in flight together have arrived."""
        self.door.wait_for_operation("push", self.traffic.together)

    def wait_until_accepted(self, pages: int) -> None:
        """Wait until this many pages got a 202."""
        self.door.sandbox.wait_for(
            lambda box: (
                sum(seen.status == 202 for seen in box.requests(self.door.integration_id) if is_push(seen))
                >= pages
            ),
            timeout=ENOUGH_SECONDS,
        )

    def wait_for_acts(self, pages: int) -> None:
        """Wait until the server has acted on this many pages, with or without a response."""
        self.door.sandbox.wait_for(
            lambda box: (
                sum(bool(seen.acted_at) for seen in box.requests(self.door.integration_id) if is_push(seen))
                >= pages
            ),
            timeout=ENOUGH_SECONDS,
        )

    def wait_until_sent_again(self, page: int) -> None:
        """Wait until the page was accepted, after it was struck the first time."""
        marker = self.traffic.marker(page)
        self.wait_for_request(lambda seen: is_push(seen) and seen.status == 202 and marker in page_of(seen))

    def wait_for_request(self, holds: Callable[[RequestSeen], object]) -> None:
        """Wait until a request matches."""
        self.door.sandbox.wait_for(
            lambda box: any(holds(seen) for seen in box.requests(self.door.integration_id)),
            timeout=ENOUGH_SECONDS,
        )

    def wait_for_session(self, holds: Callable[[Session], object]) -> None:
        """Wait until a session matches."""
        self.door.sandbox.wait_for(
            lambda box: any(holds(session) for session in box.sessions(self.door.integration_id)),
            timeout=ENOUGH_SECONDS,
        )

    def others_are_all(self) -> None:
        """Mark all present sessions, rejects files and receipts as not belonging to the next run."""
        self.others = {session.id for session in self.door.sessions()}
        self.others_rejects = set(self._rejects_files())
        self.others_receipts = set(self._receipts())

    def _rejects_files(self) -> list[Path]:
        return list((self.door.folder / "rejects").glob("*"))

    def own_rejects(self) -> list[Path]:
        """The run's rejects files."""
        return [path for path in self._rejects_files() if path not in self.others_rejects]

    def _receipts(self) -> list[Path]:
        return list((self.door.folder / "receipts").glob("*"))

    def own_receipts(self) -> list[Path]:
        """The run's receipts."""
        return [path for path in self._receipts() if path not in self.others_receipts]

    def line(self, number: int) -> int:
        """A record's line in the run's input, from 1."""
        is_after_a_state = number >= EARLIER_AT and EARLIER_STATE in self.given
        return len(SCHEMAS) + number + 1 + is_after_a_state

    def own_sessions(self) -> list[Session]:
        return [session for session in self.door.sessions() if session.id not in self.others]


def is_push(seen: RequestSeen) -> bool:
    return seen.operation == "push"
