"""`sprintoctl`: what a person does beside the pipeline: try it, check a config, mend what a run left."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec
from click.shell_completion import get_completion_class

from target_sprinto.cli import receipts
from target_sprinto.console import colours, examples, told_in_one_line
from target_sprinto.errors import DemoFailed
from target_sprinto.probe.asking import probe as run_probe
from target_sprinto.probe.examples import MOST, read_examples
from target_sprinto.probe.report import render_json, render_table
from target_sprinto.push.client import Patience
from target_sprinto.push.errors import Interrupted, NotDiscarded, SessionEnded, SettingsProblem
from target_sprinto.push.protocol.responses import SESSION_ID
from target_sprinto.push.run.applying import Applying
from target_sprinto.push.run.conflict import find_blocker
from target_sprinto.push.run.discarding import Discard, discard_session
from target_sprinto.push.text import figures, printable, shown
from target_sprinto.push.transport.background import Deadline, in_background, wait_for
from target_sprinto.receipts import approval
from target_sprinto.receipts.document import read as read_receipt
from target_sprinto.signals import process_signals
from target_sprinto.singer.response_file import ResponseFile, response_of
from target_sprinto.singer.state_output import write_state
from target_sprinto.singer.target import SprintoTarget

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_sprinto.sandbox import EntityRules, Sandbox

_T = TypeVar("_T")
_F = TypeVar("_F", bound="Callable[..., Any]")

SANDBOX_PORT = 8765
"""Where `sample_config.json` looks for the sandbox."""

_OK = click.style("OK", "green")
_STATES = {"active": "yellow", "processing": None, "processed": "green", "failed": "red", "expired": "yellow"}
"""Sessions that there are in a state, and their colour: what may want a hand, what went wrong."""
_LEVELS = {"warning": "yellow", "error": "red"}

_CHECK_SECONDS = 10.0
_DISCARD_SECONDS = 30.0

_MOST_HOURS = 87_600
"""Ten years: what lies further back than dates go would be taken for a fault of ours."""


def _config(callback: Callable[..., Any]) -> Callable[[_F], _F]:
    return click.option(
        "--config",
        multiple=True,
        required=True,
        callback=callback,
        type=click.Path(),
        metavar="FILE",
        help="The target's configuration file, or 'ENV' for environment variables."
        " May be given several times.",
    )


_config_option = _config(SprintoTarget.cb_config)
_client_config_option = _config(SprintoTarget.cb_client_config)

_json_option = click.option("--json", "as_json", is_flag=True, help="As JSON, one document a line.")
_PORT = click.IntRange(0, 65535)


def _session_id(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if not re.match(SESSION_ID, value):
        raise click.BadParameter("A session's id has letters, digits and . _ : - only.")
    return value


class _Group(click.Group):
    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click's own
        # What the SDK warns of (a Python at its end of life, say) the target says, in the pipeline's log.
        warnings.simplefilter("ignore")
        run = super().main
        return told_in_one_line(
            lambda: run(*args, **kwargs),
            lambda line: click.echo(f"{click.style('sprintoctl:', 'red')} {line}", err=True, color=colours()),
            process_signals,
        )


_NEXT = """\
sprintoctl works with target-sprinto beside the pipeline.

See a whole run, on this machine (`demo` and `sandbox` need pip install 'target-sprinto[sandbox]'):
  sprintoctl demo
Test key, region and integration; it changes nothing:
  sprintoctl check --config config.json
Then run a pipe:
  tap-hr --config tap.json | target-sprinto --config config.json > state.jsonl

`sprintoctl --help` lists all commands; each has a --help of its own.
"""
"""What there is to do, for somebody who does not know yet."""


@click.group(
    cls=_Group,
    invoke_without_command=True,
    # As newer releases of click say it by themselves.
    subcommand_metavar="[COMMAND] [ARGS]...",
    epilog=examples(
        "sprintoctl demo",
        "sprintoctl check --config config.json",
        "sprintoctl status --config ENV",
    ),
)
@click.version_option(package_name="target-sprinto", prog_name="sprintoctl")
@click.pass_context
def main(context: click.Context) -> None:
    """Work with target-sprinto beside the pipeline."""
    context.color = colours()
    if context.invoked_subcommand is None:
        click.echo(_NEXT, nl=False)


@main.command(
    short_help="Test key, region and integration.", epilog=examples("sprintoctl check --config config.json")
)
@_client_config_option
def check(config: Any) -> None:  # noqa: ANN401 - what the SDK's config callback makes
    """Test key, region and integration with a call that changes nothing."""
    client = SprintoTarget.client_from_cli(config)
    _heard(lambda: client.integration_status(Patience(_CHECK_SECONDS, 0.0)))
    click.echo(f"{_OK}: the API key is accepted for {client.address}.")


@main.command(
    short_help="Show the integration's sessions.", epilog=examples("sprintoctl status --config config.json")
)
@_client_config_option
@_json_option
def status(config: Any, *, as_json: bool) -> None:  # noqa: ANN401 - what the SDK's config callback makes
    """Show how many sessions are in which state, and the active one, if the activity log shows it.

    It reads no session's own status, so it keeps none alive: safe to run every minute.
    """
    client = SprintoTarget.client_from_cli(config)
    patience = Patience(_CHECK_SECONDS, _CHECK_SECONDS)
    integration = _heard(lambda: client.integration_status(patience))
    blocker = _heard(lambda: find_blocker(client, patience)) if integration.sessions.active != 0 else None
    counts = msgspec.to_builtins(integration.sessions)
    if as_json:
        session = blocker.session if blocker else None
        active = session and {
            "id": session.id,
            "client_reference_id": session.reference,
            "created_at": session.created_at,
            "last_event_at": session.last_at,
        }
        document = msgspec.to_builtins(integration) | {"active_session": active}
        click.echo(printable(msgspec.json.encode(document).decode()))
        return
    click.echo(
        f"Integration {shown(integration.integration_id)},"
        f" last active {shown(str(integration.last_activity_at or 'never'))}"
    )
    for state, colour in _STATES.items():
        line = f"{state:<12}{'?' if counts[state] is None else shown(str(counts[state]))}"
        click.echo(f"  {_coloured(line, colour if counts[state] else None)}")
    if counts["active"] != 0:
        named = blocker.describe() if blocker else "the activity log does not show which session"
        click.echo(f"Active: {named}")


@main.command(
    short_help="Show Sprinto's activity log.",
    epilog=examples("sprintoctl activity --config config.json --hours 2"),
)
@_client_config_option
@_json_option
@click.option(
    "--hours",
    default=24.0,
    type=click.FloatRange(0, _MOST_HOURS),
    show_default=True,
    help="How far to look back.",
)
def activity(config: Any, hours: float, *, as_json: bool) -> None:  # noqa: ANN401 - what the SDK's config callback makes
    """Show the events that Sprinto logged, as Sprinto words them."""
    client = SprintoTarget.client_from_cli(config)
    age = timedelta(hours=hours)
    events = _heard(lambda: client.read_log(age, Patience(_CHECK_SECONDS, _CHECK_SECONDS))).events
    if not events:
        since = client.server_time() - age
        click.echo(
            f"The activity log has no events since {since:%Y-%m-%dT%H:%M:%SZ}; --hours looks further back.",
            err=True,
        )
    for event in events:
        if as_json:
            click.echo(printable(msgspec.json.encode(event).decode()))
        else:
            words = [str(event.get(name) or "") for name in ("at", "level", "type", "session_id", "message")]
            line = "{:<25} {:<8} {:<20} {:<37} {}".format(*words).rstrip()
            click.echo(_coloured(printable(line), _LEVELS.get(str(event.get("level")))))


@main.command(
    short_help="Discard a session that a run left open.",
    epilog=examples("sprintoctl discard 629ab55e-ee91-45ab-8fbb-db8ca00438ac --config config.json"),
)
@click.argument("session", callback=_session_id)
@_client_config_option
def discard(session: str, config: Any) -> None:  # noqa: ANN401 - what the SDK's config callback makes
    """Discard SESSION, which a run left open: nothing of it is applied."""
    client = SprintoTarget.client_from_cli(config)
    status = _heard(lambda: client.session_status(session, Patience(_CHECK_SECONDS, 0.0)))
    deadline = Deadline(_DISCARD_SECONDS, process_signals.check, 0.0)
    result = discard_session(client, session, status.expiry, deadline)
    if result.outcome is Discard.ENDED_OTHERWISE:
        raise SessionEnded(result.sentence, "`sprintoctl activity` shows what happened to it.")
    if result.outcome is not Discard.DISCARDED:
        raise NotDiscarded(result.sentence, temporary=result.temporary)
    click.echo(result.sentence)


@main.command(
    short_help="Find out how the real API behaves.",
    epilog=examples("sprintoctl probe --entity-type User --example user.json --config config.json"),
)
@_config_option
@_json_option
@click.option(
    "--entity-type",
    "entity_types",
    multiple=True,
    required=True,
    metavar="TYPE",
    help="An entity type of the account. Given twice, two are asked about, which shows more.",
)
@click.option(
    "--example",
    "examples",
    multiple=True,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A valid record of that entity type, as JSON with Sprinto's field names; one for each type.",
)
def probe(
    config: Any,  # noqa: ANN401 - what the SDK's config callback makes
    entity_types: tuple[str, ...],
    examples: tuple[Path, ...],
    *,
    as_json: bool,
) -> None:
    """Find out how the real API reads what its documents leave open, in a session that is always discarded.

    It takes about twenty requests. Refused pages are among them, which may show as anomalies in Sprinto's
    dashboard. Nothing is applied.
    """
    if (
        len(examples) != len(entity_types)
        or len(set(entity_types)) != len(entity_types)
        or len(examples) > MOST
    ):
        raise click.UsageError(
            "Name one or two different entity types, each with an example:"
            " --entity-type TYPE --example FILE, once or twice."
        )
    records = read_examples(entity_types, [(path.name, path.read_bytes()) for path in examples])
    target = SprintoTarget.from_cli(config)
    click.echo(
        f"Probing {target.client.address} with about twenty requests in one session, which is discarded:"
        " nothing is applied. Its refused pages may show as anomalies in Sprinto's dashboard.",
        err=True,
    )
    limits = target.settings.patiences
    probed = run_probe(
        target.client,
        records,
        target.settings.client_reference_prefix,
        Patience(limits.request_seconds, limits.retry_seconds),
        process_signals.check,
    )
    if isinstance(probed.failure, Interrupted):
        raise probed.failure
    if as_json:
        click.echo(render_json(probed.evidence))
    else:
        for line in render_table(probed.evidence, shutil.get_terminal_size((110, 24)).columns):
            click.echo(line)
    if probed.failure is not None:
        file = ResponseFile(target.settings.rejects_dir / f"{probed.evidence.uuid}.response.json")
        kept = file.keep(response_of(probed.failure))
        probed.failure.aftermath = f"{probed.failure.aftermath} {kept}".rstrip()
        raise probed.failure
    click.echo(probed.aftermath, err=True)


@main.command(
    name="apply",
    short_help="Apply a session that a run holds.",
    epilog=examples(
        "sprintoctl apply 629ab55e-ee91-45ab-8fbb-db8ca00438ac --receipt receipt.json --config config.json"
    ),
)
@click.argument("session", callback=_session_id)
@_config_option
@click.option(
    "--receipt",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The receipt that the run wrote, whose counts are checked, and whose STATE is printed.",
)
@click.option("--unverified", is_flag=True, help="Apply without a receipt; prints no STATE.")
def apply_(session: str, config: Any, receipt: Path | None, *, unverified: bool) -> None:  # noqa: ANN401 - what the SDK's config callback makes
    """Apply SESSION, which a run left staged under `finish: hold`.

    Its STATE is printed once it is processed.
    """
    if (receipt is None) is not unverified:
        raise click.UsageError(
            "A session is applied with the receipt of the run that holds it: name it with --receipt FILE."
            " Without any, --unverified applies what nobody has checked."
        )
    target = SprintoTarget.from_cli(config)
    settings, check = target.settings, process_signals.check
    vouched = (
        approval.by_receipt(read_receipt(receipt), session, settings)
        if receipt
        else approval.by_hand(target.client, session, check)
    )
    Applying(
        target.client, session, vouched.counts, settings.patiences, settings.on_count_mismatch, check
    ).apply()
    click.echo(f"Sprinto has processed session {session}: {figures(vouched.counts)}.", err=True)
    if vouched.state is not None:
        write_state(vouched.state, check)


@main.command(
    short_help="Run a local Sprinto.", epilog=examples("sprintoctl sandbox --port 8765 --data sandbox-data")
)
@click.option(
    "--port",
    default=SANDBOX_PORT,
    type=_PORT,
    show_default=True,
    help="Port on this machine; 0 takes a free one.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep what was applied here, over a restart.",
)
@click.option(
    "--integration",
    multiple=True,
    default=("demo",),
    show_default=True,
    help="An integration id that exists. May be given several times.",
)
@click.option("--api-key", default="sandbox-key", show_default=True, help="The API key that is accepted.")
@click.option(
    "--entities",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help='Key and JSON Schema by entity type: {"User": {"key": ["employeeId"], "schema": {…}}}.',
)
@click.option(
    "--apply",
    type=click.Choice(["upsert", "append", "replace"]),
    default="upsert",
    show_default=True,
    help="What applying does to what was there.",
)
@click.option(
    "--processing-seconds",
    default=0.2,
    type=click.FloatRange(0),
    show_default=True,
    help="How long processing takes.",
)
@click.option(
    "--inactivity-seconds",
    default=3600.0,
    type=click.FloatRange(0, min_open=True),
    show_default=True,
    help="When an idle session expires.",
)
@click.option(
    "--requests-per-minute",
    type=click.IntRange(1),
    help="Answer 429 to more than this many requests a minute, per integration. Default: no limit.",
)
@click.option(
    "--retry-after/--no-retry-after",
    default=True,
    show_default=True,
    help="Whether those 429 have a `Retry-After`.",
)
@click.option("--light", is_flag=True, help="Count records and forget them: for measuring speed.")
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
    retry_after: bool,
    light: bool,
) -> None:
    """Run a local Sprinto: the whole push API, and a page that shows what was applied."""
    local = _sandbox_room()
    options = local.SandboxOptions(
        api_key=api_key,
        integrations=frozenset(integration),
        entities=_entity_rules(local, str(entities), entities.read_bytes()) if entities else {},
        readings=local.Readings(apply=apply),
        inactivity_timeout_seconds=inactivity_seconds,
        processing_seconds=processing_seconds,
        light=light,
        data_dir=data,
        rate_limit=local.RateLimit(requests_per_minute, retry_after=retry_after)
        if requests_per_minute
        else None,
    )
    try:
        local.serve(
            options,
            "127.0.0.1",
            port,
            lambda running: click.echo(
                f"The sandbox is at {running.url} (Ctrl-C ends it). Its page: {running.page_url}"
            ),
        )
    except local.DataUnusable as problem:
        # A Ctrl-C is how a sandbox ends. What fails after it has an exit code of its own.
        process_signals.first = None
        raise SettingsProblem(f"{problem}.", "Choose another folder with --data.") from None
    except OSError as problem:
        raise _port_taken(port, problem) from None


@main.command(short_help="See a whole run, on this machine.", epilog=examples("sprintoctl demo"))
@click.option("--port", default=0, type=_PORT, help="The sandbox's port; 0 takes a free one.")
@click.option(
    "--keep/--no-keep", default=None, help="Keep the sandbox's page up at the end [default: on a terminal]."
)
def demo(port: int, *, keep: bool | None) -> None:
    """See a whole run: a sandbox, an HR tap's bundled output, the real target, and what was applied."""
    local = _sandbox_room()
    bundled = resources.files("target_sprinto.cli") / "demo"
    rules = _entity_rules(local, "entities.json", (bundled / "entities.json").read_bytes())
    server = local.Sandbox(local.SandboxOptions(entities=rules))
    try:
        server.start(port=port)
        config = json.loads((bundled / "config.json").read_bytes()) | {
            "api_key": server.options.api_key,
            "integration_id": "demo",
            "api_url": server.base_url,
        }
        click.echo("$ cat input.singer | target-sprinto --config config.json")
        finished = _run_target(config, (bundled / "input.singer").read_bytes())
        if finished.returncode:
            # A Ctrl-C ends both.
            process_signals.check()
            raise DemoFailed(
                f"The demo's target ended with exit code {finished.returncode}.",
                "Its own last line, above, says why and what to do.",
            )
        _show(server, finished.stdout)
        if sys.stdout.isatty() if keep is None else keep:
            click.echo(f"\nLook at {server.page_url} (Ctrl-C ends the sandbox).")
            _wait_for_interrupt()
        else:
            click.echo("\n`sprintoctl demo --keep` leaves the sandbox's page up to look at.")
    except OSError as problem:
        raise _port_taken(port, problem) from None
    finally:
        server.stop()


@main.command(
    short_help="Complete words in a shell.",
    epilog=examples(
        """eval "$(sprintoctl completion bash)"            # in ~/.bashrc""",
        """eval "$(sprintoctl completion zsh)"             # in ~/.zshrc, after compinit""",
        """sprintoctl completion fish | source             # in ~/.config/fish/config.fish""",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands, options and files of sprintoctl and target-sprinto."""
    script = get_completion_class(shell)
    assert script is not None  # noqa: S101 - click knows all three
    for program in ("sprintoctl", "target-sprinto"):
        # The command itself is asked only while words are completed.
        click.echo(script(main, {}, program, f"_{program.replace('-', '_')}_COMPLETE".upper()).source())


for _command in (receipts.verify, receipts.receipt, receipts.keygen):
    main.add_command(_command)


def _coloured(text: str, colour: str | None) -> str:
    # Without a colour click would still write the end of one.
    return click.style(text, colour) if colour else text


def _port_taken(port: int, problem: OSError) -> SettingsProblem:
    return SettingsProblem(
        f"The sandbox cannot listen on port {port}: {problem.strerror}.", "Choose another with --port."
    )


def _wait_for_interrupt() -> None:
    while process_signals.first is None:
        time.sleep(0.1)


def _heard(call: Callable[[], _T]) -> _T:
    """Make a call that a signal cuts short."""
    return wait_for(in_background(call), process_signals.check)


def _run_target(config: dict[str, Any], messages: bytes) -> subprocess.CompletedProcess[bytes]:
    """The real command in a process of its own, fed through a pipe; its stderr is ours."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config), encoding="utf-8")
        return subprocess.run(
            [sys.executable, "-m", "target_sprinto", "--config", str(path)],
            # Python looks for modules in the working folder first.
            cwd=folder,
            input=messages,
            stdout=subprocess.PIPE,
            check=False,
        )


def _show(server: Sandbox, stdout: bytes) -> None:
    applied = server.applied("demo")
    click.echo("\nApplied at Sprinto, all of the run or none of it:")
    for entity_type, entities in applied.items():
        click.echo(f"  {len(entities):>4}  {entity_type}")
    click.echo("\nOne of them, mapped from the HR tap's `employees`:")
    click.echo(msgspec.json.format(applied["User"][0], indent=2).decode())
    click.echo("\nSTATE, which came out once all of it was processed:")
    click.echo(stdout.decode().strip())


def _entity_rules(local: Any, name: str, content: bytes) -> dict[str, EntityRules]:  # noqa: ANN401 - the sandbox's room
    """``{entity_type: {"key": [field], "schema": {JSON Schema}}}`` as the sandbox takes it.

    `name` is what a message calls the file.
    """
    place = ""
    rules = {}
    try:
        for entity_type, rule in msgspec.json.decode(content, type=dict[str, msgspec.Raw]).items():
            # One by one, for msgspec names no key of an object.
            place = f"entity type {entity_type!r}: "
            rules[entity_type] = msgspec.json.decode(rule, type=local.EntityRules)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise SettingsProblem(
            f"The file of entity types {name!r} cannot be read: {place}{problem}."
        ) from None
    return rules


def _sandbox_room() -> Any:  # noqa: ANN401 - a module
    """The sandbox, which needs an extra. Imported only where it is used."""
    try:
        from target_sprinto import sandbox as local  # noqa: PLC0415 - see above
    except ModuleNotFoundError as missing:
        raise SettingsProblem(
            f"The sandbox needs {missing.name!r}, which is not installed.",
            "Install it with: pip install 'target-sprinto[sandbox]'",
        ) from None
    return local
