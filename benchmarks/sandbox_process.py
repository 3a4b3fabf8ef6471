"""The light sandbox's process, as the benchmark sees it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from counted import Counted

if TYPE_CHECKING:
    from collections.abc import Iterator

API_KEY = "benchmark-key"
PROGRAM = Path(__file__).resolve().parent / "light_sandbox.py"


class RunFailedError(Exception):
    """A run that failed or did not deliver every record: nothing measured with it is worth reading."""


class SandboxProcess:
    """Asks the process through its stdin and stdout, so that nothing asked is among the requests counted."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._integrations = 0
        self.base_url = self._line()

    def new_integration(self) -> str:
        """An integration id that no run has used."""
        self._integrations += 1
        return f"run-{self._integrations}"

    def require(self, integration_id: str, records: int) -> Counted:
        """What was counted. Raises RunFailedError unless exactly this many records were processed."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(f"{integration_id}\n")
        self._process.stdin.flush()
        counted = Counted(**json.loads(self._line()))
        if (counted.state, counted.records) != ("processed", records):
            raise RunFailedError(
                f"the sandbox counted {counted.records:,} of {records:,} records,"
                f" and the session is {counted.state}"
            )
        return counted

    def _line(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        line = self._process.stdout.readline().strip()
        if not line:
            raise RunFailedError("the sandbox has ended")
        return line


@contextlib.contextmanager
def light_sandbox(latency: int) -> Iterator[SandboxProcess]:
    """A light sandbox whose responses are `latency` milliseconds late."""
    command = [sys.executable, str(PROGRAM), API_KEY, str(latency)]
    # Leaving closes its stdin, which ends it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield SandboxProcess(process)
