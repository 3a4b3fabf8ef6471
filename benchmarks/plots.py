"""Draws one plot as SVG: `plots.py FILE`, with a plot's fields as JSON on stdin.

The same plot is the same bytes. A program of its own: what matplotlib loads must not count as memory of what
the benchmark measures.
"""

from __future__ import annotations

import json
import sys

import matplotlib as mpl
from matplotlib.figure import Figure


def main() -> None:
    plot = json.load(sys.stdin)
    # Ids in an SVG are random without a salt. Text stays text: small, and the same with any fonts installed.
    mpl.rcParams.update({"svg.hashsalt": "target-sprinto", "svg.fonttype": "none"})
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in plot["lines"].items():
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    highest = max(y for points in plot["lines"].values() for _, y in points)
    axes.set(title=plot["title"], xlabel=plot["x"], ylabel=plot["y"], ylim=(0, 1.1 * highest))
    if plot["logarithmic"]:
        axes.set_xscale("log")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(sys.argv[1], metadata={"Date": None})


if __name__ == "__main__":
    main()
