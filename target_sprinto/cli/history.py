"""`sprintoctl history`: what was applied when, from receipts alone."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import click
from click.core import ParameterSource

from target_sprinto.cli.options import command, public_key_option
from target_sprinto.push.protocol.timestamps import parse_time
from target_sprinto.push.text import pluralize
from target_sprinto.receipts import history as past
from target_sprinto.receipts import history_html
from target_sprinto.receipts.errors import EvidenceMissing, ReceiptUnusable
from target_sprinto.receipts.folder import PastRun, count_mismatches, distinct, read_folder
from target_sprinto.receipts.signing import PublicKey
from target_sprinto.signals import process_signals

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _length(_context: click.Context, _option: click.Parameter, value: str | None) -> timedelta | None:
    if value is None:
        return None
    found = re.fullmatch(r"([0-9]{1,5})([mhdw])", value)
    if found is None:
        raise click.BadParameter("Use a number and a unit: 90m, 36h, 7d or 2w.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _moment(_context: click.Context, _option: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    found = parse_time(value if "T" in value else f"{value}T00:00:00Z")
    if found is None:
        raise click.BadParameter("Use a day (2026-11-01) or a time (2026-11-01T09:00:00Z).")
    return found


@command(
    "Show what was applied when, from receipts.",
    "sprintoctl history receipts --max-age 36h",
    "sprintoctl history receipts --since 2026-11-01 --until 2026-12-01 --every 26h",
    "sprintoctl history receipts --format openmetrics > sprinto.prom",
    "sprintoctl history receipts --since 2026-11-01 --format html > november.html",
)
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR...",
)
@click.option(
    "--max-age",
    callback=_length,
    metavar="LENGTH",
    help="Fail if an entity type was last applied longer ago than this, such as 36h or 7d.",
)
@click.option("--since", callback=_moment, metavar="TIME", help="List the gaps since TIME (2026-11-01).")
@click.option("--until", callback=_moment, metavar="TIME", help="The end of that period. Default: now.")
@click.option(
    "--every",
    callback=_length,
    default="26h",
    metavar="LENGTH",
    help="A gap is a longer time than this without an applied run; nightly runs are not exactly 24 h apart.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "openmetrics", "html"]),
    default="text",
    help="`openmetrics` is for node_exporter's textfile collector, `html` a report for an auditor.",
)
@public_key_option("Leave out receipts that are not")
def history(  # noqa: PLR0913, PLR0917 - one parameter for each option, which click hands over by name
    folders: tuple[Path, ...],
    max_age: timedelta | None,
    since: datetime | None,
    until: datetime | None,
    every: timedelta,
    form: str,
    public_keys: list[PublicKey],
) -> None:
    """Show what was applied when, by pipeline and entity type, from the receipts in each DIR.

    Nothing is sent. Receipts with problems are listed on stderr and do not count.
    """
    given = click.get_current_context().get_parameter_source("every")
    if since is None and form != "html" and (until or given is not ParameterSource.DEFAULT):
        raise click.UsageError("--until and --every need --since, which lists the gaps.")
    now = datetime.now(timezone.utc)
    runs, problems = _read(folders, public_keys)
    series, begin, end = past.series_of(runs), since or runs[0].ended_at, min(until or now, now)
    if (since is not None or form == "html") and begin >= end:
        raise click.UsageError(
            f"The period ends before it begins: {past.minute(begin)} to {past.minute(end)}."
            " Correct --since or --until."
        )
    if form == "openmetrics":
        click.echo(past.openmetrics(series, now), nl=False)
    elif form == "html":
        report = history_html.render(
            past.until_now(series, now),
            (begin, end, every),
            integrity=(
                f"The signatures of {pluralize(len(runs), 'receipt')} were"
                f" {'' if public_keys else 'not '}checked."
            ),
            problems=problems,
        )
        click.echo(report, nl=False)
    else:
        in_period = (run for run in runs if begin <= run.ended_at <= end)
        for line in (*past.table(series, now), *count_mismatches(in_period)):
            click.echo(line)
    missing = list(past.stale(series, now, max_age)) if max_age is not None else []
    if since is not None and form != "html":
        missing += past.gaps(past.until_now(series, now), since, end, every)
    for line in missing:
        click.echo(line, err=form != "text")
    if missing:
        raise EvidenceMissing(
            f"Evidence is missing: {pluralize(len(missing), 'line')} above.",
            "Check the pipeline's log, and run it again. If it was renamed or has ended, move all its"
            " receipts to another folder.",
        )


def _read(folders: tuple[Path, ...], public_keys: list[PublicKey]) -> tuple[list[PastRun], list[str]]:
    found = [read_folder(folder, public_keys, process_signals.check) for folder in folders]
    runs, differing = distinct(run for one in found for run in one.runs)
    problems = [*(problem for one in found for problem in one.problems), *differing]
    for problem in problems:
        click.echo(problem, err=True)
    if not runs:
        where = ", ".join(f"{folder} ({one})" for folder, one in zip(folders, found, strict=True))
        raise ReceiptUnusable(f"No receipt of a run that ended: {where}.")
    return runs, problems
