"""An HTML report about a period, for an auditor: what was applied when, and the gaps. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from html import escape
from importlib import metadata

from target_sprinto.push.text import pluralize
from target_sprinto.receipts import history
from target_sprinto.receipts.folder import PastRun
from target_sprinto.receipts.receipt_html import HEADLINES, fill, table, text


def render(
    series: Sequence[history.Series],
    period: tuple[datetime, datetime, timedelta],
    *,
    integrity: str,
    problems: Sequence[str],
) -> bytes:
    """The report's bytes. `period` is its start, its end, and the longest time between two applied runs.

    `integrity` is a sentence about the check of signatures; `problems` are those of the receipts.
    """
    since, until, every = period
    gaps = [list(history.gaps([one], since, until, every)) for one in series]
    complete = sum(not found for found in gaps)
    headline = f"Applied without a gap: {complete} of {pluralize(len(series), 'entity type')}."
    # The contents of a missing or changed receipt are unknown.
    no_gap = "Complete: no gap."
    if problems:
        headline = f"Not shown to be complete: the receipts have {pluralize(len(problems), 'problem')}."
        no_gap = "No gap in the receipts that count; see the problems above."
    return fill(
        "history.html",
        title="Evidence delivered to Sprinto",
        version=metadata.version("target-sprinto"),
        period=f"{history.minute(since)} to {history.minute(until)}",
        every=history.length(every),
        mood="good" if complete == len(series) and not problems else "bad",
        headline=headline,
        integrity=escape(integrity),
        problems=_listed(problems),
        series="".join(
            _section(one, found, since, until, no_gap) for one, found in zip(series, gaps, strict=True)
        ),
    )


def _section(one: history.Series, gaps: Sequence[str], since: datetime, until: datetime, no_gap: str) -> str:
    one = one._replace(runs=[run for run in one.runs if since <= run.ended_at <= until])
    runs, applied = one.runs, one.applied
    summary = f"Applied by {pluralize(len(applied), 'run')}" + (
        f", last {history.minute(applied[-1].ended_at)}" if applied else ""
    )
    gaps = [f"Not{gap.removeprefix(f'{one.name}: not')}" for gap in gaps]
    verdict = no_gap if not gaps else f"Not complete: {pluralize(len(gaps), 'gap')}."
    kind = one.entity_type
    shown = table(
        "When:tight, Outcome, Records applied:number, Rejected (all types):number",
        (
            (history.minute(run.ended_at), _outcome(run, kind), run.applied.get(kind, 0), run.rejects)
            for run in runs
        ),
        "No run ended in this period.",
        stacked=False,
    )
    return (
        f"<h2>{text(one.name)}</h2><p>{summary}. {verdict}</p>{_listed(gaps)}"
        f'<div class="card" tabindex="0">{shown}</div>{_details(runs)}'
    )


def _outcome(run: PastRun, entity_type: str) -> str:
    if run.outcome == "applied" and entity_type not in run.applied:
        return "Applied, none of this type"
    return HEADLINES[run.outcome][1] + (f" [{run.error}]" if run.error else "")


def _details(runs: Iterable[PastRun]) -> str:
    rows = table(
        "Receipt:code, Run:code, Signed by:digest",
        ((run.path.name, run.run, run.signed_by or "unsigned") for run in runs),
        "None.",
    )
    return f'<details><summary>Technical details</summary><div class="card">{rows}</div></details>'


def _listed(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""
