"""`sprintoctl map`: draft a mapping from a tap's output, and preview what a run would send. Offline."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import click

from target_sprinto import private_files
from target_sprinto.cli.options import binary_option, config_option, json_option, path_option
from target_sprinto.console import examples
from target_sprinto.errors import PreviewDiffers
from target_sprinto.push.errors import ConfigError, Interrupted, SprintoError
from target_sprinto.push.text import listed, printable, short, shown
from target_sprinto.signals import process_signals
from target_sprinto.similar_names import nearest_first
from target_sprinto.singer import map_preview
from target_sprinto.singer.input.messages import encode
from target_sprinto.singer.input.reader import interruptible_reader
from target_sprinto.singer.mapping import map_draft, tap_sample
from target_sprinto.singer.schemas import entity_schemas
from target_sprinto.singer.schemas.entity_schemas import BUNDLED, EntitySchema
from target_sprinto.singer.target import SprintoTarget

_OFFLINE = {"api_key": "not-used", "api_key_file": None, "integration_id": "not-used"}
"""A preview needs no account, so it can run without a key."""

_ROOM = 100
"""Maximum length of a list of entity types in a message."""

_INPUT = "The tap's output; '-' reads stdin."


@click.group(
    name="map",
    short_help="Draft and preview a mapping.",
    epilog=examples(
        "sprintoctl map draft --input tap.singer --type employees=User -o mapping.json",
        "sprintoctl map preview --input tap.singer --config config.json --config mapping.json",
    ),
)
def mapping() -> None:
    """Map a tap's streams to Sprinto's entity types, before anything is sent."""


@mapping.command(
    short_help="Propose a mapping from a tap's output.",
    epilog=examples("sprintoctl map draft --input tap.singer --type employees=User -o mapping.json"),
)
@binary_option("--input", "source", help=_INPUT)
@binary_option("--catalog", help="The tap's catalog, instead of its output.")
@click.option(
    "--entities",
    default=BUNDLED,
    metavar="FILE",
    help="Sprinto's entity types, as in the setting `entity_schemas`.",
)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="STREAM=TYPE",
    help="A stream's entity type. May be given several times.",
)
@path_option("-o", "--output", help="The file to create. Default: stdout.")
def draft(
    source: IO[bytes] | None,
    catalog: IO[bytes] | None,
    entities: str,
    types: tuple[str, ...],
    output: Path | None,
) -> None:
    """Propose entity types and stream maps: for each field how certain the proposal is, and why.

    Whatever you must decide is marked "?"; the target rejects each "?" until you have filled it in.
    """
    if (source is None) is (catalog is None):
        raise click.UsageError("Use either --input or --catalog.")
    known = {name: EntitySchema(name, rules) for name, rules in entity_schemas.read(entities).items()}
    samples = tap_sample.from_output(source) if source else tap_sample.from_catalog(catalog.read())  # type: ignore[union-attr] # one of both
    named = dict(_named(word, samples, known) for word in types)
    config: dict[str, Any] = {"entity_types": {}, "entity_schemas": entities, "stream_maps": {}}
    for stream, sample in samples.items():
        entity_type = named.get(stream) or map_draft.type_of(stream, known)
        if entity_type is None:
            click.echo(
                f"{printable(stream)}: no entity type; set one with --type {shown(stream)}=TYPE.", err=True
            )
            continue
        entity = known[entity_type]
        proposals = map_draft.draft(sample, entity)
        if entity_type in config["entity_types"].values():
            click.echo(
                f"{printable(stream)}: another stream also has entity type {entity_type}. Leave one out,"
                " unless their keys differ: of two records with the same key, one may overwrite the other.",
                err=True,
            )
        config["entity_types"][stream] = entity_type
        config["stream_maps"][stream] = map_draft.stream_map(proposals, entity)
        for line in map_draft.as_table(stream, sample, entity, proposals):
            click.echo(printable(line), err=True)
    if not samples:
        raise ConfigError("The input contains no streams.", "Pass the tap's complete output, or its catalog.")
    if not config["stream_maps"]:
        raise ConfigError(
            "Nothing was drafted: no stream is named like an entity type.",
            f"Name one with --type STREAM=TYPE. Types: {listed(list(map(short, known)), _ROOM)}.",
        )
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        private_files.write_new(output, text.encode())
    except OSError as problem:
        raise ConfigError(
            f"{shown(str(output))} cannot be written ({private_files.reason(problem)}).",
            f"Choose another name{', or delete it' if isinstance(problem, FileExistsError) else ''}.",
        ) from None
    todo = 'Fill in each "?"; then' if '"?"' in text else "Next"
    click.echo(f"Written to {output}. {todo}: sprintoctl map preview --config {output} …", err=True)


def _named(word: str, streams: Collection[str], types: Collection[str]) -> tuple[str, str]:
    stream, _, entity_type = word.rpartition("=")
    for name, known in ((stream, streams), (entity_type, types)):
        if name not in known:
            raise click.UsageError(
                f"--type {shown(word)}: there is no {shown(name)!r}{nearest_first(name, known)}."
            )
    return stream, entity_type


@mapping.command(
    short_help="Show what a run would send.",
    epilog=examples("sprintoctl map preview --input tap.singer --config config.json"),
)
@binary_option("--input", "source", required=True, help=_INPUT)
@config_option(callback=SprintoTarget.cb_config)
@click.option("-n", "records", default=3, type=click.IntRange(0), help="Records to show for each stream.")
@click.option("--show", is_flag=True, help="Show their values, which are otherwise masked.")
@json_option
@binary_option(
    "--expect", "expected", help="Compare with saved output of --json; exit 1 if anything differs."
)
def preview(  # noqa: PLR0913 - one parameter for each option, which click hands over by name
    source: IO[bytes],
    config: Any,  # noqa: ANN401 - what the SDK's config callback makes
    records: int,
    expected: IO[bytes] | None,
    *,
    show: bool,
    as_json: bool,
) -> None:
    """Map and check the input as a run would, and show the outcome. Nothing is sent.

    Exit code 1 if a run would fail because of the mapping or the records.
    """
    config.config = {**config.config, **_OFFLINE}
    run = map_preview.PreviewRun(records, process_signals.check)
    target = SprintoTarget.from_cli(config, run=run)
    run.begin(target.intake)
    failure: SprintoError | None = None
    try:
        target.process_lines(interruptible_reader(source.fileno(), process_signals.check))  # type: ignore[arg-type] # our reader takes bytes too
        run.finish()
        target.streams.require_named(complete=True)
        run.expectations.require_unique_fields(target.streams.fields_of)
        if target.rejects is not None:
            map_preview.verdict(target.settings, run, target.rejects)
    except Interrupted:
        raise
    except SprintoError as problem:
        failure = problem
    value = (lambda one: one) if show else map_preview.masked
    found = map_preview.document(target, run, failure, value)
    text = encode(found).decode()
    for line in [text] if as_json else map_preview.as_text(found):
        click.echo(printable(line))
    if expected is not None:
        _compare(expected, json.loads(text))
    if failure is not None:
        raise failure


def _compare(expected: IO[bytes], found: dict[str, Any]) -> None:
    try:
        kept = json.loads(expected.read())
    except ValueError:
        raise PreviewDiffers(f"{shown(expected.name)} is not JSON.", "Save the output of --json.") from None
    # Of any other file, such as a config, no value may be shown.
    if not isinstance(kept, dict) or kept.keys() != found.keys():
        raise PreviewDiffers(f"{shown(expected.name)} is not a saved preview.", "Save the output of --json.")
    different = list(map_preview.differences(kept, found))
    if different:
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""  # noqa: PLR2004 - what a line holds
        raise PreviewDiffers(
            f"The preview differs from {shown(expected.name)}: {shown('; '.join(different[:3]))}{more}.",
            "If the change is intended, save the new output of --json.",
        )
