"""Measures target-sprinto beside the SDK template's way, on a light sandbox: `python benchmarks/run.py`.

Times are whole processes from start to exit, start-up included and nothing subtracted. The two are run in
turn, and their ratio is taken pair by pair, so that a machine that speeds up or slows down meanwhile moves
both. Fails only where a run did not deliver every record: speed is read, never asserted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

HERE = Path(__file__).resolve().parent
API_KEY = "benchmark-key"
OURS = ("target-sprinto", ("-m", "target_sprinto"))
PEER = ("template + POST", (str(HERE / "peer.py"),))
MEMORY_RECORDS = (100_000, 1_000_000)


class CountWrongError(Exception):
    """A run that failed or did not deliver every record: nothing measured with it is worth reading."""


@dataclass(frozen=True)
class Measured:
    """One whole process: seconds by the clock, seconds of processor (user and system), bytes at the peak."""

    wall: float
    cpu: float
    peak: int


class LightSandbox:
    """The sandbox's process, as far as a client sees it."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._integrations = 0

    def new_integration(self) -> str:
        """An integration id that no run has used."""
        self._integrations += 1
        return f"run-{self._integrations}"

    def require(self, integration_id: str, records: int) -> None:
        """Raise CountWrongError unless one session of the integration took exactly this many records."""
        events = self._get(integration_id, "activity?page_size=1")["items"]
        if not events:
            raise CountWrongError("the sandbox saw no session")
        session = self._get(integration_id, f"sessions/{events[0]['session_id']}")
        if (session["state"], session["accepted_records_total"]) != ("processed", records):
            raise CountWrongError(
                f"the sandbox counted {session['accepted_records_total']:,} of {records:,} records,"
                f" and the session is {session['state']}"
            )

    def _get(self, integration_id: str, path: str) -> Any:  # noqa: ANN401 - any JSON
        url = f"{self.base_url}/v1/integrations/{integration_id}/{path}"
        # The URL is our own sandbox's, and no proxy stands before it.
        request = urllib.request.Request(url, headers={"api-key": API_KEY})  # noqa: S310
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return json.load(answer)


@contextlib.contextmanager
def light_sandbox() -> Iterator[LightSandbox]:
    """A light sandbox in a process of its own."""
    command = [sys.executable, str(HERE / "light_sandbox.py"), API_KEY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            url = process.stdout.readline().strip()
            if not url:
                raise CountWrongError("the sandbox did not start")
            yield LightSandbox(f"{url}/api/external/push")
        finally:
            process.terminate()


class Bench:
    """Runs commands on inputs in `folder` against `sandbox`."""

    def __init__(self, folder: Path, sandbox: LightSandbox) -> None:
        self._folder = folder
        self._sandbox = sandbox

    def input(self, records: int) -> Path:
        """The input file for this many records, made when first asked for."""
        path = self._folder / f"{records}.singer"
        if not path.exists():
            # In a process of its own: what it imports must not count as this one's memory.
            with path.open("wb") as out:
                command = [sys.executable, str(HERE / "records.py"), str(records)]
                subprocess.run(command, stdout=out, check=True)
        return path

    def measure(self, arguments: Sequence[str], records: int) -> Measured:
        """Run Python with these arguments on this many records. Raises CountWrongError."""
        integration_id = self._sandbox.new_integration()
        config, log = self._folder / "config.json", self._folder / "stderr.txt"
        settings = {
            "api_url": self._sandbox.base_url,
            "integration_id": integration_id,
            "api_key": API_KEY,
        }
        config.write_text(json.dumps(settings))
        command = [sys.executable, *arguments, "--config", str(config)]
        with self.input(records).open("rb") as lines, log.open("wb") as errors:
            started = time.perf_counter()
            process = subprocess.Popen(
                command,
                stdin=lines,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment(self._folder / "bytecode"),
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise CountWrongError(f"exit code {process.returncode}:\n{log.read_text()[-2000:]}")
        self._sandbox.require(integration_id, records)
        # Linux counts ru_maxrss in KiB, macOS in bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def environment(folder: Path) -> dict[str, str]:
    """This process's, as an installed program would meet it, with no proxy before the sandbox.

    Python's own switches are left out. Bytecode is cached in `folder`, as pip caches it when it installs: the
    warm-up fills the cache, and no counted run compiles.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def report_speed(bench: Bench, records: int, pairs: int) -> None:
    """Print what `pairs` pairs took, after one that is not counted."""
    counted: list[tuple[Measured, Measured]] = []
    for number in range(pairs + 1):
        pair = (bench.measure(OURS[1], records), bench.measure(PEER[1], records))
        say(f"pair {number or 'warm-up'}: {pair[0].wall:.2f} s and {pair[1].wall:.2f} s")
        if number:
            counted.append(pair)
    ours, peer = ([pair[side] for pair in counted] for side in (0, 1))
    figures: list[tuple[str, Callable[[Measured], float], str]] = [
        ("records per second", lambda run: records / run.wall, ",.0f"),
        ("wall (s)", lambda run: run.wall, ".2f"),
        ("processor (s)", lambda run: run.cpu, ".2f"),
        ("peak memory (MB)", megabytes, ".1f"),
    ]
    print(f"\nSpeed: {records:,} records, {pairs} pairs in turn, median (min to max)\n")
    rows = [
        (
            name,
            spread(map(figure, ours), form),
            spread(map(figure, peer), form),
            spread((figure(our) / figure(their) for our, their in counted), ".2f"),
        )
        for name, figure, form in figures
    ]
    print_table(("", OURS[0], PEER[0], "ratio, by pair"), rows)


def report_memory(bench: Bench) -> None:
    """Print our peak memory by number of records."""
    print("\nMemory: one run each\n")
    rows = []
    for records in MEMORY_RECORDS:
        run = bench.measure(OURS[1], records)
        rows.append(
            (f"{records:,}", f"{megabytes(run):.1f}", f"{run.wall:.1f}", f"{records / run.wall:,.0f}")
        )
    print_table(("records", "peak memory (MB)", "wall (s)", "records per second"), rows)


def machine() -> str:
    """When and where this was measured."""
    date = datetime.now(timezone.utc).date()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{date}, Python {platform.python_version()}, {platform.system()}, {cores} cores"


def megabytes(run: Measured) -> float:
    return run.peak / 1e6


def spread(values: Iterable[float], form: str) -> str:
    """Median (min to max)."""
    found = sorted(values)
    middle, least, most = (format(value, form) for value in (statistics.median(found), found[0], found[-1]))
    return f"{middle} ({least} to {most})"


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")


def say(line: str) -> None:
    """Show progress, which is no result."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Measure what was asked for. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Without --speed or --memory: both.")
    parser.add_argument("--speed", action="store_true", help="beside the template's way, in pairs")
    parser.add_argument("--memory", action="store_true", help="peak memory at 100,000 and 1,000,000 records")
    parser.add_argument("--records", type=int, default=100_000, help="records of a speed run")
    parser.add_argument("--pairs", type=int, default=5, help="counted pairs")
    options = parser.parse_args()
    everything = not (options.speed or options.memory)
    print(machine())
    with tempfile.TemporaryDirectory() as folder, light_sandbox() as sandbox:
        bench = Bench(Path(folder), sandbox)
        try:
            if options.speed or everything:
                report_speed(bench, options.records, options.pairs)
            if options.memory or everything:
                report_memory(bench)
        except CountWrongError as problem:
            say(f"benchmark failed: {problem}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
