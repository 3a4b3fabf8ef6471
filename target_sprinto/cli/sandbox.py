"""`sprintoctl sandbox` and `sprintoctl demo`: a local Sprinto, and a whole run against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from target_sprinto import private_files
from target_sprinto.cli.options import Number, command
from target_sprinto.errors import DemoFailed
from target_sprinto.push.endpoint import require_text
from target_sprinto.push.errors import ConfigError, Interrupted
from target_sprinto.push.text import shown
from target_sprinto.push.transport.background import POLL_INTERVAL, in_background, is_done_within
from target_sprinto.signals import process_signals
from target_sprinto.singer.schemas.entity_schemas import BUNDLED, bundled_user
from target_sprinto.singer.settings import config_input

if TYPE_CHECKING:
    from target_sprinto.sandbox import EntityRules, Sandbox

SANDBOX_PORT = 8765
"""The port in `sample_config.json`."""

_DEMO_DATA = resources.files("target_sprinto.cli") / "demo_data"
_MADE_UP = "`User` is as Sprinto documents it; Device, Repository and Vendor are made up for the demo."

_PORT = click.IntRange(0, 65535)
_YEAR = 366 * 86_400


@command("Run a local Sprinto.", "sprintoctl sandbox --port 8765 --data sandbox-data")
@click.option("--port", default=SANDBOX_PORT, type=_PORT, help="Port on this machine; 0 picks a free one.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep applied records in this folder across restarts.",
)
@click.option(
    "--integration",
    multiple=True,
    default=("demo",),
    help="An integration id that exists. May be given several times.",
)
@click.option("--api-key", default="sandbox-key", help="The API key that is accepted.")
@click.option(
    "--entities",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help='Key and JSON Schema by entity type: {"User": {"key": ["employeeId"], "schema": {…}}}.'
    " Default: `User` as Sprinto documents it, and the demo's made-up Device, Repository and Vendor.",
)
@click.option(
    "--any-type",
    is_flag=True,
    help="Also accept entity types that are not described; their key is `id`.",
)
@click.option(
    "--apply",
    type=click.Choice(["upsert", "append", "replace"]),
    default="upsert",
    help="How applied records affect existing ones.",
)
@click.option("--processing-seconds", default=0.2, type=Number(0, _YEAR), help="How long processing takes.")
@click.option(
    "--inactivity-seconds",
    default=3600.0,
    type=Number(0, _YEAR, min_open=True),
    help="How long until an idle session expires.",
)
@click.option(
    "--requests-per-minute",
    type=click.IntRange(1),
    help="Respond with 429 to more than this many requests a minute, per integration. Default: no limit.",
)
@click.option("--retry-after/--no-retry-after", default=True, help="Whether a 429 has a `Retry-After`.")
@click.option("--light", is_flag=True, help="Count records without storing them, to measure speed.")
def sandbox(  # noqa: PLR0913, PLR0917 - one parameter for each option, which click hands over by name
    port: int,
    data: Path | None,
    integration: tuple[str, ...],
    api_key: str,
    entities: Path | None,
    apply: str,
    processing_seconds: float,
    inactivity_seconds: float,
    requests_per_minute: int | None,
    *,
    any_type: bool,
    retry_after: bool,
    light: bool,
) -> None:
    """Run a local Sprinto: the whole push API, and a web page that shows the applied records."""
    local = import_sandbox()
    for name, text in (("api_key", api_key), *(("integration_id", one) for one in integration)):
        require_text(name, text)
    rules = _entity_rules(local, str(entities), entities.read_bytes()) if entities else _demo_rules(local)
    others = "accepted" if any_type else "rejected"
    options = local.SandboxOptions(
        api_key=api_key,
        integrations=frozenset(integration),
        entities=rules,
        readings=local.Readings(apply=apply, unknown_entity_types="accepted" if any_type else "refused"),
        inactivity_timeout_seconds=inactivity_seconds,
        processing_seconds=processing_seconds,
        light=light,
        data_dir=data,
        rate_limit=local.RateLimit(requests_per_minute, retry_after=retry_after)
        if requests_per_minute
        else None,
    )
    try:
        if data:
            local.lock(data)
        server = local.Sandbox(options)
        # A folder that cannot be written to is reported before anything is served.
        server.save()
        with _serving(server, port):
            click.echo(
                f"The sandbox is at {server.url} (Ctrl-C ends it). Its web page: {server.page_url}\n"
                f"Entity types: {', '.join(map(shown, rules))}; others are {others}."
                f"{'' if entities else f' {_MADE_UP}'}"
            )
            _wait_for_signal()
    except local.DataUnusable as problem:
        # A signal is the normal end of a sandbox. A failure after it has its own exit code.
        process_signals.first = None
        raise ConfigError(f"{problem}.", "Choose another folder with --data.") from None


@command("See a whole run, on this machine.", "sprintoctl demo")
@click.option("--port", default=0, type=_PORT, help="The sandbox's port; 0 picks a free one.")
@click.option(
    "--keep/--no-keep", default=None, help="Keep the sandbox running at the end [default: on a terminal]."
)
def demo(port: int, *, keep: bool | None) -> None:
    """See a whole run: a sandbox, an HR tap's bundled output, the real target, and the applied records."""
    local = import_sandbox()
    readings = local.Readings(unknown_entity_types="refused")
    server = local.Sandbox(local.SandboxOptions(entities=_demo_rules(local), readings=readings))
    with _serving(server, port):
        config = json.loads((_DEMO_DATA / "config.json").read_bytes()) | {
            "api_key": server.options.api_key,
            "integration_id": "demo",
            "api_url": server.base_url,
        }
        click.echo("$ cat input.singer | target-sprinto --config config.json")
        click.echo("(The target's log, on stderr. METRIC lines are counters that every SDK plugin logs.)")
        messages = (_DEMO_DATA / "input.singer").read_bytes()
        running = in_background(lambda: _run_target(config, messages))
        while not is_done_within(running, POLL_INTERVAL):
            # The target gets a signal of the terminal as well, and ends its run.
            with suppress(Interrupted):
                process_signals.check()
        finished = running.result()
        if finished.returncode:
            # A Ctrl-C ends both.
            process_signals.check()
            raise DemoFailed(
                f"The demo's target ended with exit code {finished.returncode}.",
                "Its last line above says why and what to do.",
            )
        _show(server, finished.stdout)
        on_a_terminal = sys.stdout is not None and sys.stdout.isatty()
        if on_a_terminal if keep is None else keep:
            click.echo(f"Open {server.page_url} (Ctrl-C ends the sandbox).")
            _wait_for_signal()
        else:
            click.echo("`sprintoctl demo --keep` keeps the sandbox running, with a web page.")


@contextmanager
def _serving(server: Sandbox, port: int) -> Iterator[None]:
    """Serve while the block runs. Raises ConfigError if it cannot listen on the port."""
    try:
        server.start(port=port)
    except OSError as problem:
        raise ConfigError(
            f"The sandbox cannot listen on port {port}: {problem.strerror}.", "Choose another with --port."
        ) from None
    try:
        yield
    finally:
        server.stop()


def _wait_for_signal() -> None:
    with suppress(Interrupted):
        while True:
            process_signals.check()
            time.sleep(POLL_INTERVAL)


def _run_target(config: dict[str, Any], messages: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run the real command in its own process, fed through a pipe; it inherits stderr."""
    try:
        temporary = tempfile.TemporaryDirectory()
    except FileNotFoundError:
        raise ConfigError(
            "The demo needs a folder for temporary files, but cannot write to any of the usual ones.",
            "Set TMPDIR to a folder that it can write to.",
        ) from None
    with temporary as folder:
        path = Path(folder) / "config.json"
        private_files.write_new(path, json.dumps(config).encode())
        return subprocess.run(
            [sys.executable, "-m", "target_sprinto", "--config", str(path)],
            # Python looks for modules in the working folder first.
            cwd=folder,
            # The user's own settings do not belong to the demo, and would cause warnings.
            env={
                name: value
                for name, value in os.environ.items()
                if not name.startswith(config_input.PREFIX) or name == f"{config_input.PREFIX}LOGLEVEL"
            },
            input=messages,
            stdout=subprocess.PIPE,
            check=False,
        )


def _show(server: Sandbox, stdout: bytes) -> None:
    applied = server.applied("demo")
    click.echo("\nApplied at Sprinto, all records of the run or none:")
    for entity_type, entities in applied.items():
        click.echo(f"  {len(entities):>4}  {entity_type}")
    click.echo(_MADE_UP)
    click.echo("\nOne of them, mapped from the HR tap's `employees`:")
    click.echo(msgspec.json.format(applied["User"][0], indent=2).decode())
    click.echo("STATE, written after Sprinto had processed all of it:")
    click.echo(stdout.decode().strip())


def _demo_rules(local: Any) -> dict[str, EntityRules]:  # noqa: ANN401 - the sandbox's module
    return _entity_rules(local, "demo", (_DEMO_DATA / "entities.json").read_bytes())


def _entity_rules(local: Any, name: str, content: bytes) -> dict[str, EntityRules]:  # noqa: ANN401 - the sandbox's module
    """``{entity_type: {"key": [field], "schema": {JSON Schema}}}`` as the sandbox expects it.

    `name` is the file's name in messages.
    """
    place = ""
    rules = {}
    try:
        for entity_type, rule in msgspec.json.decode(content, type=dict[str, Any]).items():
            # One by one, because msgspec does not name the key of an object.
            place = f"entity type {entity_type!r}: "
            described = bundled_user() if rule == BUNDLED else rule
            rules[entity_type] = msgspec.convert(described, local.EntityRules)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(f"The file of entity types {name!r} cannot be read: {place}{problem}.") from None
    return rules


def import_sandbox() -> Any:  # noqa: ANN401 - a module
    """Import the sandbox, which needs an extra, only when it is used."""
    try:
        from target_sprinto import sandbox as local  # noqa: PLC0415 - see above
    except ModuleNotFoundError as missing:
        raise ConfigError(
            f"The sandbox needs {missing.name!r}, which is not installed.",
            "Install it with: pip install 'target-sprinto[sandbox]'",
        ) from None
    return local
