"""What a part of the benchmark finds, and its place in the README."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

README = Path(__file__).resolve().parent / "README.md"


@dataclass(frozen=True)
class Size:
    """How large the parts are: records of the large input, and rounds that count."""

    records: int
    rounds: int


@dataclass(frozen=True)
class Plot:
    """Lines to draw: ``{name: [(x, y), …]}``; `file` is the name of an SVG beside the README."""

    file: str
    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    logarithmic: bool = False


@dataclass(frozen=True)
class Section:
    """Markdown, and the plots that belong to it."""

    text: str
    plots: Sequence[Plot] = field(default=())


def write(name: str, text: str) -> None:
    """Put a part's figures between their marks. Raises ValueError where there are none."""
    begin, end = f"<!-- {name}: written by benchmarks/run.py -->", f"<!-- /{name} -->"
    before, _, rest = README.read_text(encoding="utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{README} has no place for these figures: {begin} {end}")
    README.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
