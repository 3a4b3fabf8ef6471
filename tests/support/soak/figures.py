"""Many verdicts as tables in Markdown."""

from __future__ import annotations

import os
import platform
import sys
from collections import Counter
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING

from tests.support.soak.courses import Aim, Demand, Plot
from tests.support.soak.strikes import EVERY, KINDS
from tests.support.soak.verdicts import Broken, Ending

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.support.soak.verdicts import Verdict

WHAT_IT_IS = {
    Ending.SLIPPED_IN: "stated limit",
    Ending.UNSEEN: "stated limit",
    Ending.NAMED: "by the contract",
}


def share(verdicts: Sequence[Verdict]) -> tuple[int, int]:
    """How many runs that had to reach their intended end did, and how many had to."""
    promised = [verdict for verdict in verdicts if not verdict.not_recoverable]
    return sum(not verdict.missed for verdict in promised), len(promised)


def tables(verdicts: Sequence[Verdict], seconds: float) -> str:
    """All figures of a soak test. `seconds` is its duration."""
    return "\n\n".join(
        [
            *_short(verdicts, seconds),
            _table(("the run's settings", "runs"), _aims(verdicts)),
            _table(("other events during the run", "runs"), _plots(verdicts)),
            _table(("fault", *(name.replace("_", " ") for name in EVERY), "all"), _kinds(verdicts)),
        ]
    )


def short_tables(verdicts: Sequence[Verdict], seconds: float) -> str:
    """The figures without the individual faults."""
    return "\n\n".join(_short(verdicts, seconds))


def _short(verdicts: Sequence[Verdict], seconds: float) -> Iterator[str]:
    yield _origin(verdicts, seconds)
    yield _table(("", "figure"), _totals(verdicts))
    yield _table(("what no run may do", "runs that did"), _broken(verdicts))
    yield _table(("ended as", "runs", "of them by a signal"), _endings(verdicts))


def write(path: Path, name: str, text: str) -> None:
    """Put figures between their marks in a document."""
    begin, end = f"<!-- {name}: written by tests/soak -->", f"<!-- /{name} -->"
    before, _, rest = path.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{path} has no place for these figures: {begin} {end}")
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def _origin(verdicts: Sequence[Verdict], seconds: float) -> str:
    day = datetime.now(timezone.utc).date().isoformat()
    seed = verdicts[0].course.seed
    versions = f"target-sprinto {version('target-sprinto')}, singer-sdk {version('singer-sdk')}"
    machine = f"Python {platform.python_version()}, {sys.platform}, {os.cpu_count()} cores"
    return f"{day}, seed `{seed}`, {seconds:.0f} s; {versions}, {machine}."


def _totals(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str]]:
    requests = sum(verdict.requests for verdict in verdicts)
    struck = sum(len(verdict.struck) for verdict in verdicts)
    processed, promised = share(verdicts)
    yield "runs", f"{len(verdicts)}"
    yield "pages in an input, at least", f"{min(verdict.pages for verdict in verdicts)}"
    yield "pages in all inputs", f"{sum(verdict.pages for verdict in verdicts):,}"
    yield "records in all inputs", f"{sum(verdict.records for verdict in verdicts):,}"
    yield "pages that Sprinto accepted", f"{sum(verdict.accepted_pages for verdict in verdicts):,}"
    yield "requests", f"{requests:,}"
    yield "requests with a fault", f"{struck:,} ({struck / requests:.1%})"
    yield "runs with at least one fault", f"{sum(bool(verdict.struck) for verdict in verdicts)}"
    yield (
        "runs with recoverable faults only, that ended as intended",
        f"{processed} of {promised} ({processed / promised:.1%})",
    )


def _broken(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str]]:
    for kind in Broken:
        yield kind.value, f"{sum(kind in verdict.broken for verdict in verdicts)}"


def _endings(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, ...]]:
    for ending in Ending:
        ended = [verdict for verdict in verdicts if verdict.ending is ending]
        words = f"{ending.value} ({WHAT_IT_IS[ending]})" if ending in WHAT_IT_IS else ending.value
        yield words, f"{len(ended)}", f"{sum(verdict.by_signal for verdict in ended)}"


def _aims(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str]]:
    aims = Counter(verdict.course.aim for verdict in verdicts)
    for aim in Aim:
        yield aim.value, f"{aims[aim]}"
    demands = Counter(verdict.course.demand for verdict in verdicts)
    for demand in (Demand.LESS, Demand.MORE):
        yield f"`expect` asks for {demand.value}", f"{demands[demand]}"


def _plots(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str]]:
    plots = Counter(verdict.course.plot for verdict in verdicts)
    for plot in Plot:
        yield plot.value, f"{plots[plot]}"


def _kinds(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, ...]]:
    counts = Counter(struck for verdict in verdicts for struck in verdict.struck)
    for kind in KINDS:
        by_operation = [counts[kind.name, operation] for operation in EVERY]
        yield (
            kind.name,
            *(
                f"{count}" if operation in kind.operations else ""
                for operation, count in zip(EVERY, by_operation, strict=True)
            ),
            f"{sum(by_operation)}",
        )
    totals = [sum(counts[kind.name, operation] for kind in KINDS) for operation in EVERY]
    yield ("all", *map(str, totals), f"{sum(totals)}")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
