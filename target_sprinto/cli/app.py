"""`sprintoctl`, the companion command: try the target, check a configuration, clean up after a run."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import click
from click.shell_completion import get_completion_class

from target_sprinto.cli import history, mapping, probe, receipts, sandbox, sessions
from target_sprinto.cli.options import command, report_error
from target_sprinto.console import colours, examples, exit_with_one_line
from target_sprinto.signals import process_signals
from target_sprinto.singer.error_hints import advise


class _Group(click.Group):
    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click's own
        # The SDK's warnings (about an old Python, for example) belong in the pipeline's log.
        warnings.simplefilter("ignore")
        _show_where_settings_come_from()
        run = super().main

        def interruptible_run() -> Any:  # noqa: ANN401 - click's own
            # While a command waits for a file that is a pipe, nothing checks for a signal.
            with process_signals.ended_by(report_error):
                return run(*args, **kwargs)

        return exit_with_one_line(interruptible_run, lambda failure: report_error(advise(failure)))


def _show_where_settings_come_from() -> None:
    """Print what is logged about config files, keys and `.env`."""
    shown = logging.StreamHandler()
    shown.setFormatter(logging.Formatter("sprintoctl: %(message)s"))
    log = logging.getLogger("target_sprinto.singer")
    log.addHandler(shown)
    log.setLevel(logging.INFO)
    log.propagate = False


GETTING_STARTED = """\
sprintoctl is target-sprinto's companion: try it out, check a configuration, manage sessions and receipts.

See a whole run, on this machine (`demo` and `sandbox` need pip install 'target-sprinto[sandbox]'):
  sprintoctl demo
Test key, region and integration, without changing anything:
  sprintoctl check --config config.json
Then run a pipeline:
  tap-hr --config tap.json | target-sprinto --config config.json > state.jsonl

`sprintoctl --help` lists all commands; each has its own --help.
"""


@click.group(
    cls=_Group,
    invoke_without_command=True,
    context_settings={"show_default": True},
    # The default in newer releases of click.
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
    """Companion to target-sprinto: try it, check a config, manage sessions and receipts."""
    context.color = colours()
    if context.invoked_subcommand is None:
        click.echo(GETTING_STARTED, nl=False)


@command(
    "Set up completion in a shell.",
    """eval "$(sprintoctl completion bash)"            # in ~/.bashrc""",
    """eval "$(sprintoctl completion zsh)"             # in ~/.zshrc, after compinit""",
    """sprintoctl completion fish | source             # in ~/.config/fish/config.fish""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script with which SHELL completes commands, options and files of both programs."""
    script = get_completion_class(shell)
    assert script is not None  # noqa: S101 - click knows all three
    for program in ("sprintoctl", "target-sprinto"):
        # `main` is not used here: the script calls the program itself to complete a word.
        click.echo(script(main, {}, program, f"_{program.replace('-', '_')}_COMPLETE".upper()).source())


for _command in (
    sandbox.demo,
    sandbox.sandbox,
    sessions.check,
    sessions.status,
    sessions.activity,
    sessions.discard,
    sessions.apply_,
    mapping.mapping,
    probe.probe,
    history.history,
    receipts.verify,
    receipts.receipt,
    receipts.keygen,
    completion,
):
    main.add_command(_command)
