"""Measures the start-up beside the SDK template's: `python benchmarks/startup.py`.

`--version` of each, whole processes in turn; the ratio is taken pair by pair. It is read, never asserted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from run import OURS, PEER, environment, machine, print_table, say, spread


class Start(NamedTuple):
    """One whole process, in milliseconds: by the clock, and of processor (user and system)."""

    wall: float
    cpu: float


def start(arguments: tuple[str, ...], bytecode: Path) -> Start:
    command = [sys.executable, *arguments, "--version"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment(bytecode))
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments} ended with exit code {process.returncode}")
    return Start(wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=40, help="counted pairs")
    pairs = parser.parse_args().pairs
    counted: list[tuple[Start, Start]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(pairs + 1):
            pair = start(OURS[1], Path(folder)), start(PEER[1], Path(folder))
            say(f"pair {number or 'warm-up'}: {pair[0].wall:.0f} ms and {pair[1].wall:.0f} ms")
            if number:
                counted.append(pair)
    print(machine())
    print(f"\nStart-up: `--version`, {pairs} pairs in turn, median (min to max)\n")
    rows = [
        (
            f"{name} (ms)",
            spread((getattr(our, figure) for our, _ in counted), ".0f"),
            spread((getattr(their, figure) for _, their in counted), ".0f"),
            spread((getattr(our, figure) / getattr(their, figure) for our, their in counted), ".2f"),
        )
        for name, figure in (("wall", "wall"), ("processor", "cpu"))
    ]
    print_table(("", OURS[0], PEER[0], "ratio, by pair"), rows)


if __name__ == "__main__":
    main()
