"""The history of applied records, by pipeline and entity type, from receipts. Pure.

Only runs with the outcome `applied` count, and only for the entity types of the records that they applied.
A run under `finish: hold` does not count: its receipt does not show whether it was applied later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from target_sprinto.push.endpoint import REGIONS
from target_sprinto.push.protocol.timestamps import CLOCK_SKEW
from target_sprinto.push.text import in_columns, pluralize, shown
from target_sprinto.receipts.chain import Pipeline
from target_sprinto.receipts.folder import PastRun

_RUNS_SHOWN = 5


class Series(NamedTuple):
    """Runs of one pipeline, oldest first. `entity_type` is empty if none was ever applied."""

    pipeline: Pipeline
    entity_type: str
    runs: list[PastRun]

    @property
    def applied(self) -> list[PastRun]:
        """The runs that applied records of the entity type."""
        return [run for run in self.runs if self.entity_type in run.applied]

    @property
    def name(self) -> str:
        """Its name in lines of output."""
        integration, prefix, url = self.pipeline
        address = "" if url in REGIONS.values() else f"({url.partition('//')[2].partition('/')[0]})"
        return " ".join(map(shown, filter(None, (f"{integration}/{prefix}", address, self.entity_type))))


def series_of(runs: Iterable[PastRun]) -> list[Series]:
    """One series for each pipeline and entity type, by name; `runs` are in the order of their ends."""
    pipelines: defaultdict[Pipeline, list[PastRun]] = defaultdict(list)
    for run in runs:
        pipelines[run.pipeline].append(run)
    return [
        Series(pipeline, name, runs)
        for pipeline, runs in sorted(pipelines.items())
        for name in sorted({name for run in runs for name in run.applied}) or [""]
    ]


def table(series: Sequence[Series], now: datetime) -> Iterator[str]:
    """The table's lines; the first one has the headings."""
    rows = [
        ("PIPELINE, ENTITY TYPE", "LAST APPLIED", "AGE", "RECORDS, NEWEST FIRST", "LAST ENDED RUN", "REJECTS")
    ]
    for one in series:
        last, ended = one.applied[-1] if one.applied else None, one.runs[-1]
        counts = [str(run.applied[one.entity_type]) for run in one.applied[: -_RUNS_SHOWN - 1 : -1]]
        rows.append(
            (
                one.name,
                minute(last.ended_at) if last else "never",
                _age(now - last.ended_at) if last else "-",
                " ".join(counts) or "-",
                f"{ended.outcome} [{ended.error}]" if ended.error else ended.outcome,
                str(last.rejects) if last else "-",
            )
        )
    yield from in_columns(rows)


def stale(series: Iterable[Series], now: datetime, max_age: timedelta) -> Iterator[str]:
    """A line for each entity type that the receipts do not show as applied within `max_age`."""
    for one in series:
        if not one.applied:
            yield f"{one.name}: never applied, as far as receipts show."
            continue
        last = one.applied[-1].ended_at
        if (age := now - last) > max_age:
            yield f"{one.name}: last applied {length(age)} ago, {minute(last)}."
        elif age < -CLOCK_SKEW:
            yield f"{one.name}: last applied in the future, {minute(last)}; a clock was wrong."


def gaps(series: Iterable[Series], since: datetime, until: datetime, every: timedelta) -> Iterator[str]:
    """A line for each time longer than `every`, all or a part of it in the period, without an applied run."""
    for one in series:
        times = [run.ended_at for run in one.applied]
        within = [at for at in times if since <= at <= until]
        before = max((at for at in times if at < since), default=since)
        after = min((at for at in times if at > until), default=until)
        moments = [before, *within, after]
        if not within and after - before <= every:
            # A period without any applied run is incomplete, however short it is.
            moments = [since, until]
        for begin, end in pairwise(moments):
            if end - begin > every or not within:
                yield f"{one.name}: not applied from {minute(begin)} to {minute(end)}, {length(end - begin)}."


def until_now(series: Iterable[Series], now: datetime) -> list[Series]:
    """The series without runs in the future, by a wrong clock: they would hide that later ones fail."""
    latest = now + CLOCK_SKEW
    return [one._replace(runs=[run for run in one.runs if run.ended_at <= latest]) for one in series]


def openmetrics(series: Sequence[Series], now: datetime) -> str:
    """The OpenMetrics text (openmetrics.io), also for node_exporter's textfile collector."""
    series = until_now(series, now)
    applied = [(_labels(one, entity_type=one.entity_type), one.applied[-1]) for one in series if one.applied]
    pipelines = {one.pipeline: one for one in series if one.runs}.values()
    families: list[tuple[str, str, list[tuple[dict[str, str], float]]]] = [
        (
            "last_applied_timestamp_seconds",
            "When records of the entity type were last applied.",
            [(labels, run.ended_at.timestamp()) for labels, run in applied],
        ),
        (
            "last_applied_records",
            "How many records of the entity type that run applied.",
            [(labels, run.applied[labels["entity_type"]]) for labels, run in applied],
        ),
        (
            "last_applied_rejects",
            "How many records that run rejected, of all entity types.",
            [(labels, run.rejects) for labels, run in applied],
        ),
        (
            "last_run_timestamp_seconds",
            "When the pipeline's last run ended, by its outcome.",
            [
                (_labels(one, outcome=one.runs[-1].outcome), one.runs[-1].ended_at.timestamp())
                for one in pipelines
            ],
        ),
    ]
    lines = []
    for name, meaning, samples in families:
        lines += [f"# TYPE target_sprinto_{name} gauge", f"# HELP target_sprinto_{name} {meaning}"]
        lines += [f"target_sprinto_{name}{{{_escaped(labels)}}} {value!r}" for labels, value in samples]
    return "\n".join([*lines, "# EOF", ""])


def _labels(one: Series, **more: str) -> dict[str, str]:
    integration, prefix, url = one.pipeline
    return {"integration": integration, "prefix": prefix, "api_url": url, **more}


def _escaped(labels: Mapping[str, str]) -> str:
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
    return ",".join(f'{name}="{value.translate(escapes)}"' for name, value in labels.items())


def _age(span: timedelta) -> str:
    return "in the future" if span < -CLOCK_SKEW else length(span)


def minute(moment: datetime) -> str:
    """A time in UTC, to the minute."""
    return f"{moment:%Y-%m-%d %H:%MZ}"


def length(span: timedelta) -> str:
    """``3 days``, ``36 hours``, ``5 minutes``: in the largest unit with a value of at least 2."""
    for unit, seconds in (("day", 86_400), ("hour", 3_600)):
        if span.total_seconds() >= 2 * seconds:
            return pluralize(int(span.total_seconds() // seconds), unit)
    return pluralize(max(0, int(span.total_seconds() // 60)), "minute")
