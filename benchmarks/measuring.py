"""Runs whole processes on an input against a light sandbox, and measures each of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sandbox_process import API_KEY, RunFailedError, light_sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contestants import Contestant
    from counted import Counted
    from sandbox_process import SandboxProcess

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Input:
    """What records.py makes of these words; `records` is how many records that is."""

    words: tuple[str, ...]
    records: int

    @classmethod
    def employees(cls, count: int) -> Input:
        return cls(("employees", str(count)), count)

    @property
    def is_staff(self) -> bool:
        """Whether its fields have an HR tap's names."""
        return self.words[0] == "staff"

    @classmethod
    def staff(cls, count: int) -> Input:
        return cls(("staff", str(count)), count)

    @classmethod
    def many_streams(cls, streams: int, count: int) -> Input:
        return cls(("many_streams", str(streams), str(count)), streams * count)

    @classmethod
    def large(cls, count: int) -> Input:
        return cls(("large", str(count)), count)


class Turn(NamedTuple):
    """Who is run on what."""

    contestant: Contestant
    given: Input


WARM_UP = Input.employees(1000)


@dataclass(frozen=True)
class Process:
    """One whole process: seconds by the clock, seconds of processor (user and system), bytes at the peak."""

    wall: float
    cpu: float
    peak: int


@dataclass(frozen=True)
class Measured:
    """A process that delivered all of its records, and what the sandbox counted of it."""

    process: Process
    counted: Counted

    @property
    def rate(self) -> float:
        """Records per second."""
        return self.counted.records / self.process.wall

    @property
    def peak_mb(self) -> float:
        return self.process.peak / 1e6


class Bench:
    """Measures contestants; its files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def rounds(self, turns: Sequence[Turn], *, latency: int = 0, count: int = 1) -> list[list[Measured]]:
        """`count` rounds of these turns, after one on little input that does not count.

        Responses are `latency` milliseconds late. Returns what each of the turns took, round by round. Raises
        RunFailedError.
        """
        taken: list[list[Measured]] = [[] for _ in turns]
        with light_sandbox(latency) as sandbox:
            for contestant, given in {turn.contestant: turn.given for turn in turns}.items():
                self._measure(sandbox, Turn(contestant, Input.staff(1000) if given.is_staff else WARM_UP))
            for number in range(1, count + 1):
                for turn, runs in zip(turns, taken, strict=True):
                    runs.append(self._measure(sandbox, turn))
                    say(
                        f"{number}/{count}: {turn.contestant.name}, {turn.given.records:,} records,"
                        f" {latency} ms: {runs[-1].process.wall:.2f} s"
                    )
        return taken

    def run(self, arguments: Sequence[str], given: Path | None = None) -> Process:
        """Run Python with these arguments. Raises RunFailedError where the exit code is not 0."""
        log = self._folder / "stderr.txt"
        with (given or Path(os.devnull)).open("rb") as lines, log.open("wb") as errors:
            began = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=lines,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=self._environment(),
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RunFailedError(
                f"{arguments} ended with exit code {process.returncode}:\n{log.read_text()[-2000:]}"
            )
        # Linux counts ru_maxrss in KiB, macOS in bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        return Process(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)

    def _measure(self, sandbox: SandboxProcess, turn: Turn) -> Measured:
        contestant, given = turn
        integration_id = sandbox.new_integration()
        config = self._folder / "config.json"
        where = {"api_url": sandbox.base_url, "integration_id": integration_id, "api_key": API_KEY}
        config.write_text(json.dumps({**where, **contestant.settings}))
        process = self.run([*contestant.arguments, "--config", str(config)], self._file(given))
        return Measured(process, sandbox.require(integration_id, given.records))

    def _file(self, given: Input) -> Path:
        """The input's file, made when first asked for."""
        path = self._folder / f"{'-'.join(given.words)}.singer"
        if not path.exists():
            # In a process of its own: a child's peak begins with what this process holds.
            with path.open("wb") as out:
                subprocess.run(
                    [sys.executable, str(HERE / "records.py"), *given.words], stdout=out, check=True
                )
        return path

    def _environment(self) -> dict[str, str]:
        """This process's, as an installed program would meet it, with no proxy before the sandbox.

        Python's own switches are left out. Bytecode is cached in the folder, as pip caches it when it
        installs: the warm-up fills the cache, and no counted run compiles.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        bytecode = str(self._folder / "bytecode")
        return {**kept, "PYTHONPYCACHEPREFIX": bytecode, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def say(line: str) -> None:
    """Show progress, which is no result."""
    print(line, file=sys.stderr, flush=True)
