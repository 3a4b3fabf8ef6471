"""`sprintoctl probe`."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from target_sprinto.cli.options import command, config_option, configured, json_option, path_option
from target_sprinto.probe.examples import MAX_ENTITY_TYPES, read_examples
from target_sprinto.probe.questions import probe as run_probe
from target_sprinto.probe.report import render_json, render_table
from target_sprinto.push.api_calls import RetryPolicy
from target_sprinto.push.errors import Interrupted
from target_sprinto.signals import process_signals
from target_sprinto.singer.error_hints import how_to_discard, name_blocker
from target_sprinto.singer.rejects.response_file import ResponseFile
from target_sprinto.singer.settings.config_input import lasting


@command(
    "Check how the real API behaves.",
    "sprintoctl probe --entity-type User --example user.json --config config.json",
)
@config_option()
@json_option
@click.option(
    "--entity-type",
    "entity_types",
    multiple=True,
    required=True,
    metavar="TYPE",
    help="An entity type of the account. Use it twice to test two types, which reveals more.",
)
@path_option(
    "--example",
    "examples",
    multiple=True,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A valid record of that entity type, as JSON with Sprinto's field names; one for each type.",
)
def probe(
    config: tuple[str, ...],
    entity_types: tuple[str, ...],
    examples: tuple[Path, ...],
    *,
    as_json: bool,
) -> None:
    """Check how the API behaves where its documentation is silent, in a session that is always discarded.

    It sends about twenty requests. Some are pages that Sprinto rejects, which may appear as anomalies in its
    dashboard. Nothing is applied.
    """
    if (
        len(examples) != len(entity_types)
        or len(set(entity_types)) != len(entity_types)
        or len(examples) > MAX_ENTITY_TYPES
    ):
        raise click.UsageError(
            "Name one or two different entity types, each with an example:"
            " --entity-type TYPE --example FILE, once or twice."
        )
    records = read_examples(entity_types, [(path.name, path.read_bytes()) for path in examples])
    settings, client = configured(
        config, "client_reference_prefix", "rejects_dir", "request_timeout_seconds", "retry_timeout_seconds"
    )
    click.echo(
        f"Probing {client.address} with about twenty requests in one session, which is discarded:"
        " nothing is applied. Its rejected pages may appear as anomalies in Sprinto's dashboard.",
        err=True,
    )
    limits = settings.timeouts
    evidence, failure = run_probe(
        client,
        records,
        settings.client_reference_prefix,
        RetryPolicy(limits.request, limits.retry),
        process_signals.check,
    )
    names = lasting(config)
    if failure is not None:
        notes = [failure.session_outcome, *(how_to_discard(session, names) for session in evidence.left_open)]
        if not isinstance(failure, Interrupted):
            name_blocker(failure, names)
            file = ResponseFile(settings.rejects_dir / f"{evidence.uuid}.response.json")
            notes.append(file.keep(failure))
        failure.session_outcome = " ".join(filter(None, notes))
    if isinstance(failure, Interrupted):
        raise failure
    if as_json:
        click.echo(render_json(evidence))
    else:
        for line in render_table(evidence, shutil.get_terminal_size((110, 24)).columns):
            click.echo(line)
    if failure is not None:
        raise failure
    click.echo(evidence.session_outcome, err=True)
