"""The target as a pipeline sees it: a process with stdin, stdout, stderr and an exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import warm
from tests.support.warm import WarmProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_sprinto.sandbox import Session
    from tests.support.sandbox import FaultySandbox

API_KEY = "sandbox-key"
SECRET = "s3cr3t"
"""Part of every value that tests put into records: it must never appear on stderr."""

SCHEMA = {
    "type": "SCHEMA",
    "stream": "people",
    "schema": {
        "type": "object",
        "properties": {"id": {"type": "integer"}, "name": {"type": ["string", "null"]}},
    },
    "key_properties": ["id"],
}
STATE = {"type": "STATE", "value": {"bookmarks": {"people": {"at": "2026-11-21T00:00:00Z"}}}}
PATIENCE_SECONDS = 45

PROGRAMS = {
    "target-sprinto": ["-m", "target_sprinto"],
    "sprintoctl": ["-c", "from target_sprinto.__main__ import sprintoctl; sprintoctl()"],
    "sdk-tap": [str(Path(__file__).with_name("sdk_taps.py"))],
}
"""The interpreter's arguments for each command."""


def record(number: int, stream: str = "people", **fields: object) -> dict[str, Any]:
    values = {"id": number, "name": f"{SECRET} {number}"} | fields
    return {"type": "RECORD", "stream": stream, "record": values}


def people(count: int) -> list[dict[str, Any]]:
    """A complete input: a schema, `count` records, a STATE."""
    return [SCHEMA, *(record(number) for number in range(count)), STATE]


PAGE = people(100)[:-1]
"""A full page, and no STATE yet."""


def as_input(messages: list[Any] | bytes) -> bytes:
    if isinstance(messages, bytes):
        return messages
    lines = (m if isinstance(m, bytes) else json.dumps(m, ensure_ascii=False).encode() for m in messages)
    return b"".join(line + b"\n" for line in lines)


def state_line() -> str:
    return json.dumps(STATE["value"]) + "\n"


@dataclass
class Finished:
    code: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The single error line."""
        errors = [line for line in self.stderr.splitlines() if "| ERROR" in line]
        assert len(errors) == 1, self.stderr
        return errors[0].split(" | ", 3)[3]


@dataclass
class FrontDoor:
    """Runs the real command against one integration of the sandbox."""

    sandbox: FaultySandbox
    integration_id: str
    folder: Path
    warm: str
    """The socket of the server in `warm.py`."""
    pace: dict[str, float] = field(
        default_factory=lambda: {
            "recheck_interval": 0.2,
            "quiet_period": 0.6,
            "max_count_lag": 2.0,
            "failed_final_after": 2.0,
            "expiry_margin": 0.05,
            "status_poll_interval": 0.03,
            "first_retry_delay": 0.2,
            "create_retry_delay": 0.2,
            "conflict_poll_interval": 0.5,
            "signal_shutdown_timeout": 5.0,
        }
    )
    """The contract's waits, shortened (seconds); ignored by a cold start."""
    defaults: dict[str, Any] = field(default_factory=dict)
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def config(self, **settings: object) -> Path:
        values: dict[str, Any] = {
            "api_key": API_KEY,
            "integration_id": self.integration_id,
            "api_url": self.sandbox.base_url,
            "retry_timeout_seconds": 5,
            # Most tests do not need entity types; None leaves a setting at its default.
            "unmapped_streams": "keep",
            **self.defaults,
            **settings,
        }
        path = self.folder / f"config-{len(list(self.folder.iterdir()))}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))
        return path

    def start(  # noqa: PLR0913 - process options, each with a default
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.PIPE,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        program: str = "target-sprinto",
        cold: bool = False,
        through: Sequence[str] = (),
        **settings: object,
    ) -> subprocess.Popen[bytes]:
        words = list(arguments) or ["--config", str(self.config(**settings))]
        # Always DEBUG: nothing may leak there either.
        environment = {
            **os.environ,
            "TARGET_SPRINTO_LOGLEVEL": "DEBUG",
            "NO_PROXY": "127.0.0.1",
            **(env or {}),
        }
        streams: dict[str, Any] = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        streams |= {"env": environment, "cwd": self.folder}
        process: subprocess.Popen[bytes]
        if not cold and not through:
            process = WarmProcess(self.warm, [program, *words], self.pace, **streams)
        else:
            command = [sys.executable, *PROGRAMS[program]] if cold else self.command(program)
            environment["TEST_PACE"] = json.dumps(self.pace)
            process = subprocess.Popen([*through, *command, *words], **streams)
        self._started.append(process)
        return process

    def command(self, program: str) -> list[str]:
        """Return the command line with which another program starts a warm run; `TEST_PACE` is its pace."""
        return [sys.executable, "-S", "-E", str(Path(warm.__file__)), "run", self.warm, program]

    def fed(self, messages: list[Any], **options: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - those of `start`
        """Start a run with these messages; its pipe stays open."""
        process = self.start(**options)
        feed(process, messages)
        return process

    def midway(self, messages: list[Any] | None = None, **options: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - those of `start`
        """Start a run and wait until its first page is accepted; its pipe stays open."""
        process = self.fed(messages or PAGE, **options)
        self.wait_for_operation("push", responded=True)
        return process

    def kill_midway(self, **options: Any) -> Session:  # noqa: ANN401 - those of `start`
        """Kill a run after its first page; return the session that it left."""
        process = self.midway(**options)
        process.kill()
        process.communicate()
        return self.sessions()[-1]

    def side_by_side(self, play: Callable[[FrontDoor, Any], None], cases: Sequence[object]) -> None:
        """Play all cases in parallel, each in its own integration and folder."""

        def play_one(case: object) -> None:
            folder = self.folder / f"case-{cases.index(case)}"
            folder.mkdir()
            integration_id = f"{self.integration_id}-{cases.index(case)}"
            try:
                play(replace(self, integration_id=integration_id, folder=folder), case)
            except AssertionError as failed:
                raise AssertionError(f"{case}: {failed}") from failed

        with ThreadPoolExecutor(len(cases)) as pool:
            list(pool.map(play_one, cases))

    def close(self) -> None:
        """End processes that a failed test left running: the next test must not see them."""
        for process in self._started:
            # Also the pipes that a timed-out run left open.
            with suppress(BrokenPipeError), process:
                process.kill()

    def finish(self, process: subprocess.Popen[bytes], messages: list[Any] | bytes | None = b"") -> Finished:
        given = None if messages is None else as_input(messages)
        out, err = process.communicate(given, timeout=PATIENCE_SECONDS)
        finished = Finished(process.returncode, (out or b"").decode(), err.decode())
        assert API_KEY not in finished.stderr
        assert SECRET not in finished.stderr.lower()
        assert "Traceback" not in finished.stderr
        return finished

    def run(self, messages: list[Any] | bytes, *arguments: str, **options: Any) -> Finished:  # noqa: ANN401
        return self.finish(self.start(*arguments, **options), messages)

    def sprintoctl(self, *words: str, typed: str = "", **settings: object) -> Finished:
        """Run `sprintoctl` with its own config."""
        process = self.start(*words, "--config", str(self.config(**settings)), program="sprintoctl")
        return self.finish(process, typed.encode())

    # The sandbox's view

    def applied(self) -> dict[str, list[Any]]:
        return {
            entity_type: [json.loads(entity) for entity in entities]
            for entity_type, entities in self.sandbox.applied(self.integration_id).items()
        }

    def sessions(self) -> list[Session]:
        return self.sandbox.sessions(self.integration_id)

    def session(self) -> Session:
        (only,) = self.sessions()
        return only

    def operations(self) -> list[str]:
        return [seen.operation for seen in self.sandbox.requests(self.integration_id)]

    def pages(self) -> list[int]:
        """The number of items of each page, in order of arrival."""
        return [seen.items for seen in self.sandbox.requests(self.integration_id) if seen.operation == "push"]

    def wait_for_operation(
        self, operation: str, nth: int = 1, *, responded: bool = False, within: float = 40
    ) -> None:
        def seen(sandbox: FaultySandbox) -> bool:
            return any(
                request.operation == operation and request.nth >= nth and (request.status or not responded)
                for request in sandbox.requests(self.integration_id)
            )

        self.sandbox.wait_for(seen, timeout=within)


def would_be_refused(stderr: str) -> list[tuple[int, list[int]]]:
    """A dry run's list: for each line, the number of records and the named input lines."""
    found = []
    for line in stderr.splitlines():
        if "Would be rejected: " in line:
            listed = re.search(r"input lines? ([\d, ]*\d)", line)
            assert listed, line
            lines = [int(number) for number in listed[1].split(", ")]
            counted = re.search(r"rejected: ([\d,]+) records of", line)
            found.append((int(counted[1].replace(",", "")) if counted else 1, lines))
    return found


def feed(process: subprocess.Popen[bytes], messages: list[Any]) -> None:
    """Write messages and leave the pipe open, like a tap that has not finished."""
    assert process.stdin is not None
    process.stdin.write(as_input(messages))
    process.stdin.flush()


def end_of_input(process: subprocess.Popen[bytes]) -> None:
    """Close the pipe, like a tap that has ended."""
    if process.stdin is not None:
        process.stdin.close()
        process.stdin = None


SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
