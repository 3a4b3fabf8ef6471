"""Measures the start-up beside the SDK template's: `python benchmarks/startup.py`.

`--version` of each, whole processes in turn; the ratio is taken pair by pair. It is read, never asserted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import OURS, PEER, environment, machine, print_table, say, spread


def seconds(arguments: tuple[str, ...], bytecode: Path) -> float:
    """How long one `--version` takes, from the process's start to its exit."""
    command = [sys.executable, *arguments, "--version"]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment(bytecode))
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=40, help="counted pairs")
    pairs = parser.parse_args().pairs
    counted: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(pairs + 1):
            pair = seconds(OURS[1], Path(folder)), seconds(PEER[1], Path(folder))
            say(f"pair {number or 'warm-up'}: {pair[0]:.2f} s and {pair[1]:.2f} s")
            if number:
                counted.append(pair)
    print(machine())
    print(f"\nStart-up: `--version`, {pairs} pairs in turn, median (min to max)\n")
    ours, peer = ([pair[side] * 1000 for pair in counted] for side in (0, 1))
    ratio = spread((our / their for our, their in counted), ".2f")
    print_table(
        ("", OURS[0], PEER[0], "ratio, by pair"),
        [("wall (ms)", spread(ours, ".0f"), spread(peer, ".0f"), ratio)],
    )


if __name__ == "__main__":
    main()
