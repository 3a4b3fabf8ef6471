"""What the commands of `sprintoctl` share: options and their processing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from target_sprinto.console import colours, examples, interrupted_early
from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.protocol.responses import SESSION_ID
from target_sprinto.receipts import signing
from target_sprinto.signals import process_signals
from target_sprinto.singer.settings import config_input
from target_sprinto.singer.settings.settings import Settings

_F = TypeVar("_F", bound=Callable[..., object])

OK = click.style("OK", "green")

config_option = partial(
    click.option,
    "--config",
    multiple=True,
    required=True,
    type=click.Path(readable=False),
    metavar="FILE",
    help="The target's configuration file, or 'ENV' for environment variables. May be given several times.",
)
binary_option = partial(click.option, type=click.File("rb"), metavar="FILE")
path_option = partial(click.option, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
json_option = click.option("--json", "as_json", is_flag=True, help="Output one JSON document.")


class Number(click.FloatRange):
    """A finite number within limits; click accepts NaN within any."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - click's own
        """Raises BadParameter."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def public_key_option(purpose: str) -> Callable[[_F], _F]:
    """The keys that may have signed a receipt: several after a change of key."""
    return path_option(
        "--public-key",
        "public_keys",
        multiple=True,
        callback=lambda _context, _option, paths: [signing.keys().read_public(path) for path in paths],
        help=f"{purpose} signed with this key (PEM); repeat it to allow several keys.",
    )


def command(short_help: str, *lines: str, name: str | None = None) -> Callable[[_F], click.Command]:
    """A command of `sprintoctl`; `lines` are examples at the end of its `--help`."""
    return click.command(name, short_help=short_help, epilog=examples(*lines))


def session_id(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """Check the argument SESSION."""
    if not re.match(SESSION_ID, value):
        raise click.BadParameter("A session's id contains only letters, digits and . _ : -")
    return value


def report_error(line: object) -> None:
    """Print the line on stderr that reports why a command failed."""
    click.echo(f"{click.style('sprintoctl:', 'red')} {line}", err=True, color=colours())


def configured(config: tuple[str, ...], *needed: str) -> tuple[Settings, ApiClient]:
    """A client, and the settings that are `needed` in addition to its own. Raises SettingsError."""
    # A config file may be a pipe that never receives any data.
    with process_signals.ended_by(lambda early: report_error(interrupted_early(early))):
        settings = config_input.read_needed(config, (*config_input.OF_THE_CLIENT, *needed))
    return settings, config_input.client_of(settings)
