"""Measures target-sprinto beside the SDK template's way and a bare loop: `python benchmarks/run.py`.

Times are whole processes from start to exit, start-up included and nothing subtracted. Those that are
compared take turns, and ratios are taken round by round, so that a machine that speeds up or slows down
meanwhile moves all of them. Fails only where a run did not deliver every record: speed is read, never
asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from compressing import compressing
from in_flight import in_flight
from large_records import large_records
from latency import latency
from many_streams import many_streams
from measuring import Bench, say
from memory import memory
from renames import renames
from sandbox_process import RunFailedError
from sections import README, Plot, Section, Size, write
from startup import startup

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
PARTS: dict[str, Callable[[Bench, Size], Section]] = {
    part.__name__: part
    for part in (
        latency,
        in_flight,
        memory,
        many_streams,
        renames,
        large_records,
        compressing,
        startup,
    )
}


def origin() -> str:
    """The command that makes the figures, when and where."""
    command = " ".join(["python benchmarks/run.py", *sys.argv[1:]])
    date = datetime.now(timezone.utc).date()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = f"singer-sdk {version('singer-sdk')}, Python {platform.python_version()}"
    return f"{date}, `{command}`, {versions}, {platform.system()}, {cores} cores."


def draw(plot: Plot) -> None:
    """Draw a plot beside the README."""
    # In an environment of its own: joblib, which the SDK imports, would load numpy into each start.
    python = ["uv", "run", "--no-project", "--with", "matplotlib", "python"]
    command = [*python, str(HERE / "plots.py"), str(README.with_name(plot.file))]
    subprocess.run(command, input=json.dumps(asdict(plot)), text=True, check=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Each part's figures go to stdout, as Markdown.")
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this one; may be repeated")
    parser.add_argument("--records", type=int, default=100_000, help="records of a run")
    parser.add_argument("--pairs", type=int, default=5, help="counted rounds")
    parser.add_argument(
        "--write", action="store_true", help="put figures and plots into benchmarks/README.md"
    )
    options = parser.parse_args()
    if options.write and not shutil.which("uv"):
        parser.error("--write draws plots, which takes uv")
    return options


def main() -> int:
    """Measure what was asked for. Returns the exit code."""
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for name in options.part or PARTS:
            try:
                section = PARTS[name](bench, Size(options.records, options.pairs))
            except RunFailedError as problem:
                say(f"benchmark {name} failed: {problem}")
                return 1
            text = f"{origin()}\n\n{section.text}"
            print(f"\n## {name}\n\n{text}", flush=True)
            if options.write:
                write(name, text)
                for plot in section.plots:
                    draw(plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
