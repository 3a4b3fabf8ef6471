"""Plays a course: runs the real command against its own sandbox and collects the evidence."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from requests import RequestException

from target_sprinto.sandbox import SandboxOptions
from tests.support import another_client
from tests.support.front_door import FrontDoor
from tests.support.sandbox import FaultySandbox
from tests.support.soak.courses import INACTIVITY_SECONDS, RECEIPT, Aim, Course, Plot
from tests.support.soak.strikes import SETTLE_SECONDS, Struck, latencies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_sprinto.sandbox import Session
    from tests.support.sandbox import RequestSeen

PACE = {
    "recheck_interval": SETTLE_SECONDS,
    "quiet_period": 1.0,
    "max_count_lag": 2.0,
    "failed_final_after": 2.0,
    "shutdown_timeout": 10.0,
    "signal_shutdown_timeout": 4.0,
}
"""The contract's waits, in seconds, shortened in the one place that defines them."""

Page = dict[str, list[Any]]
"""Records by entity type."""

MOST_TRIES = 3
"""How often a person repeats a failing command."""

NOT_TOLD = re.compile("was not changed|an earlier `apply` may have closed it")
LOOK_SECONDS = 0.2
PATIENCE_SECONDS = 90


@dataclass(frozen=True)
class Output:
    """The result of a command. `words` is its first argument, or empty for the target itself.

    `states_at_output` are the sessions' states when stdout produced its first byte, or None.
    """

    words: str
    code: int
    stdout: str
    stderr: str
    states_at_output: list[str] | None


@dataclass(frozen=True)
class Evidence:
    """The evidence of one run, after it and everything late has ended.

    `run` is the target's result; `persons` are results of the commands of a person who handles its session.
    """

    course: Course
    run: Output
    persons: list[Output]
    struck: list[Struck]
    requests: list[RequestSeen]
    sessions: list[Session]
    staged: dict[str, list[Page]]
    events: list[dict[str, Any]]
    applied: Page
    diverted: set[int]
    seconds: float

    @property
    def last(self) -> Output:
        """The last command's result."""
        return self.persons[-1] if self.persons else self.run

    @property
    def stderr(self) -> str:
        """The stderr of all commands."""
        return "".join(output.stderr for output in (self.run, *self.persons))


def play(course: Course, warm: str) -> Evidence:
    """Play a course completely. `warm` is the socket of the server in `warm.py`."""
    options = SandboxOptions(integrations=frozenset({course.name}))
    with (
        tempfile.TemporaryDirectory() as folder,
        FaultySandbox(options) as sandbox,
        closing(FrontDoor(sandbox, course.name, Path(folder), warm, pace=PACE)) as door,
    ):
        sandbox.configure(course.name, readings=course.readings, **course.server)
        for fault in (*(strike.fault for strike in course.strikes), *latencies(course.name)):
            sandbox.inject(fault)
        # The whole input is generated before time is measured.
        return _Play(course, door, *course.parts).evidence()


class _Play:
    def __init__(self, course: Course, door: FrontDoor, first: bytes, second: bytes) -> None:
        self._course = course
        self._input = first, second
        self._door = door
        self._sandbox = door.sandbox
        self._began = time.monotonic()
        self._process = door.start(**course.settings, **course.finish)

    def evidence(self) -> Evidence:
        run = self._output("", self._process, self._feed, self._turn)
        seconds = time.monotonic() - self._began
        persons = list(self._persons()) if self._course.holds and run.code == 0 else []
        self._release_late_requests()
        return Evidence(
            self._course,
            run,
            persons,
            self._struck(),
            self._sandbox.requests(),
            self._door.sessions(),
            {session.id: self._staged(session.id) for session in self._door.sessions()},
            self._sandbox.events(self._course.name),
            self._door.applied(),
            self._diverted(),
            seconds,
        )

    def _output(
        self,
        words: str,
        process: subprocess.Popen[bytes],
        feed: Callable[[], None] | None = None,
        turn: Callable[[], None] | None = None,
    ) -> Output:
        assert process.stdout is not None
        assert process.stderr is not None
        with process, ThreadPoolExecutor(3) as threads:
            stdout = threads.submit(self._listen, process.stdout)
            stderr = threads.submit(process.stderr.read)
            if feed:
                threads.submit(feed)
            if turn:
                turn()
            code = self._wait_for_end(process)
        output, states = stdout.result()
        return Output(words, code, output.decode(), stderr.result().decode(), states)

    def _persons(self) -> Iterator[Output]:
        """The person's commands: the intended one, until it succeeds.

        If a session without an apply request cannot be applied, it is discarded.
        """
        if self._course.aim is Aim.HELD_AND_APPLIED:
            tries = list(self._tries("apply"))
            yield from tries
            if not NOT_TOLD.search(tries[-1].stderr):
                return
        yield from self._tries("discard")

    def _tries(self, word: str) -> Iterator[Output]:
        for _ in range(MOST_TRIES):
            output = self._sprintoctl(word, self._door.session().id)
            yield output
            if output.code == 0:
                return

    def _sprintoctl(self, word: str, session: str) -> Output:
        receipt = ["--receipt", RECEIPT] if word == "apply" else []
        config = str(self._door.config(**self._course.settings))
        process = self._door.start(
            word, session, *receipt, "--config", config, program="sprintoctl", stdin=subprocess.DEVNULL
        )
        return self._output(word, process)

    def _listen(self, stdout: IO[bytes]) -> tuple[bytes, list[str] | None]:
        output = b""
        states: list[str] | None = None
        while chunk := os.read(stdout.fileno(), 1 << 16):
            if states is None:
                states = [session.state for session in self._door.sessions()]
            output += chunk
        return output, states

    def _feed(self) -> None:
        """The tap. It may be silent for a while; a target that has ended stops reading."""
        stdin = self._process.stdin
        assert stdin is not None
        first, second = self._input
        with suppress(BrokenPipeError):
            stdin.write(first)
            stdin.flush()
            if second:
                expires = self._course.plot is Plot.EXPIRED
                self._wait_while_running(self._has_expired if expires else self._has_been_silent)
                stdin.write(second)
        with suppress(BrokenPipeError):
            stdin.close()

    def _has_expired(self, _: FaultySandbox) -> bool:
        return any(session.state == "expired" for session in self._door.sessions())

    def _has_been_silent(self, sandbox: FaultySandbox) -> bool:
        """Whether a request came after a third of the session's timeout, so that it was kept alive."""
        times = [seen.at for seen in sandbox.requests()]
        silence = INACTIVITY_SECONDS[self._course.plot] / 3 * 0.9
        return any(after - before >= silence for before, after in pairwise(times))

    def _turn(self) -> None:
        """Play the plot's external event, if any."""
        if self._course.plot is Plot.SIGNAL and self._wait_while_running(self._moment_has_come):
            self._process.send_signal(self._course.signal)
        if self._course.plot is Plot.DISCARDED and self._wait_while_running(self._moment_has_come):
            # Faults strike every client.
            while self._door.session().state == "active":
                with suppress(RequestException):
                    another_client.close_session(self._door, self._door.session().id, "discard")

    def _moment_has_come(self, sandbox: FaultySandbox) -> bool:
        pages = self._course.pages
        at_close = self._course.moment > pages
        operation, nth = ("close", 1) if at_close else ("push", self._course.moment)
        return any(seen.operation == operation and seen.nth >= nth for seen in sandbox.requests())

    def _wait_while_running(self, happens: Callable[[FaultySandbox], bool]) -> bool:
        """Return whether it happened before the process ended."""
        while self._process.poll() is None:
            with suppress(TimeoutError):
                self._sandbox.wait_for(happens, timeout=LOOK_SECONDS)
                return True
        return False

    @staticmethod
    def _wait_for_end(process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise

    def _release_late_requests(self) -> None:
        """Release everything that a fault holds, and let Sprinto finish processing."""
        for strike in self._course.strikes:
            self._sandbox.release(strike.fault)
        waiting = {"late", "slow"}
        self._sandbox.wait_for(
            lambda _: all(
                struck.request.acted_at
                for struck in self._struck()
                if struck.strike.kind.name.split(",")[0] in waiting
            )
        )
        self._sandbox.wait_for(lambda _: not any(map(_is_processing, self._door.sessions())))

    def _struck(self) -> list[Struck]:
        strikes = {strike.fault: strike for strike in self._course.strikes}
        seen = {(request.operation, request.nth): request for request in self._sandbox.requests()}
        return [
            Struck(self._course, strikes[fired.fault], seen[fired.operation, fired.nth])
            for fired in self._sandbox.fired()
            if fired.fault in strikes
        ]

    def _diverted(self) -> set[int]:
        """The numbers of the records in the finished rejects file."""
        lines = [
            json.loads(line)
            for path in self._door.folder.glob("rejects/*.singer")
            for line in path.read_text().splitlines()
        ]
        return {line["record"]["number"] for line in lines if line["type"] == "RECORD"}

    def _staged(self, session_id: str) -> list[Page]:
        return [
            {name: [json.loads(record) for record in records] for name, records in page.items()}
            for page in self._sandbox.staged(session_id)
        ]


def _is_processing(session: Session) -> bool:
    return session.state == "processing" or (session.state == "failed" and not session.retry_count)
