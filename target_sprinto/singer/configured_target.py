"""The target's settings, environment and command line, where they differ from the SDK's.

SDK hooks that are not documented for plugins, as found in singer-sdk 0.54; each has a test in
`tests/test_sdk_hooks.py`:

* `_setup_signal_handlers`: the SDK's handlers drain, write STATE and exit with 0.
* `_validate_config`: the SDK's messages quote values, the API key included.
* loggers `target-sprinto` and `singer_sdk.mapper`: the SDK's INFO lines about itself are logged at DEBUG. Its
  mapper's DEBUG lines are dropped: they contain the results of filters, and so values of records.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

import click
from singer_sdk import Target
from singer_sdk.exceptions import ConfigurationError, MappingError
from singer_sdk.helpers.capabilities import PluginCapabilities, TargetCapabilities
from singer_sdk.plugin_base import JSONSchemaValidator

from target_sprinto import strict_json
from target_sprinto.console import SprintoCommand, examples, interrupted_early
from target_sprinto.errors import SettingsError
from target_sprinto.signals import process_signals
from target_sprinto.singer.input.reader import SprintoReader
from target_sprinto.singer.intake import Intake
from target_sprinto.singer.settings import config_input, settings_checks
from target_sprinto.singer.settings.settings import SCHEMA, Settings

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

_MAPPER = "singer_sdk.mapper"


class ConfiguredTarget(Target):
    """A target with its settings: `settings` is their typed view, `stream_maps` the mapper's input."""

    name = "target-sprinto"
    package_name = "target-sprinto"
    config_jsonschema = SCHEMA
    capabilities = [  # noqa: RUF012 - the SDK declares it so
        PluginCapabilities.ABOUT,
        PluginCapabilities.BATCH,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STRUCTURED_LOGGING,
        TargetCapabilities.VALIDATE_RECORDS,
    ]

    intake: Intake
    """Shared by its sinks."""

    def __init__(
        self,
        reader: SprintoReader,
        *,
        config: dict[str, Any] | None = None,
        parse_env_config: bool = False,
        validate_config: bool = True,
    ) -> None:
        """Raises SettingsError."""
        # Filters, not levels: a logging configuration would reset a level.
        for logger in (self.name, _MAPPER):
            logging.getLogger(logger).addFilter(_quietened)
        try:
            # A copy, because the SDK's mapper removes entries. A null setting counts as not set.
            given = {name: value for name, value in (config or {}).items() if value is not None}
            if parse_env_config:
                # The SDK leaves numbers as strings, fails on other types with a traceback, and loads a `.env`
                # of any parent folder into the environment.
                known = self._known_settings()
                given = config_input.with_dotenv(given | config_input.from_environment(known), known)
            if "stream_map_config" in given:
                # As in a config file: expressions compare its fractions with the exact ones of records.
                given["stream_map_config"] = strict_json.exact(given["stream_map_config"])
            super().__init__(
                config=copy.deepcopy(given), validate_config=validate_config, message_reader=reader
            )
        except SettingsError:
            raise
        except (ConfigurationError, MappingError) as problem:
            raise SettingsError(*(getattr(problem, "errors", None) or [str(problem)])) from None
        self.settings = Settings.from_config(self.config)
        # Copied before the mapper removes entries.
        self.stream_maps: dict[str, Any] = copy.deepcopy(self.config.get("stream_maps") or {})

    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Add the SDK's settings that this target supports: stream maps, flattening, `validate_records`."""
        super().append_builtin_config(config_jsonschema)
        properties = config_jsonschema["properties"]
        for name in settings_checks.NOT_FOR_SPRINTO:
            properties.pop(name, None)
        properties["stream_maps"] = settings_checks.without_bare_types(properties["stream_maps"])
        for name, minimum in {"flattening_max_depth": 0, "flattening_max_key_length": 1}.items():
            properties[name] = {**properties[name], "minimum": minimum}
        # The SDK's description says that the schema is validated.
        description = "Check each record against its stream's schema."
        properties["validate_records"] = {**properties["validate_records"], "description": description}

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        known = self._known_settings()
        problems = settings_checks.schema_problems(self._config, JSONSchemaValidator(self.config_jsonschema))
        unknown = set(map(str, self._config)) - set(known) - set(settings_checks.NOT_FOR_SPRINTO)
        # A safety setting that a typo has disabled is worse than none.
        problems += settings_checks.misspelt_settings(unknown, known)
        if problems and raise_errors:
            raise SettingsError(*problems)
        if unknown:
            log.warning("Unknown settings, ignored: %s.", ", ".join(sorted(unknown)))
        return problems

    @classmethod
    def _known_settings(cls) -> dict[str, Any]:
        cls.append_builtin_config(cls.config_jsonschema)
        known: dict[str, Any] = cls.config_jsonschema["properties"]
        return known

    def _setup_signal_handlers(self) -> None:
        """Signal handlers belong to the command line."""

    # Command line

    @classmethod
    def get_singer_command(cls) -> click.Command:
        """The SDK's command, with our signals, exit codes and one-line errors."""
        command = super().get_singer_command()
        for option in command.params:
            if option.name == "file_input":
                option.type = _InputFile("rb")
                # With one value, click would use the last and ignore the others.
                option.multiple, option.callback = True, _one_input
            if option.name == "config":
                # Enables shell completion.
                option.type = click.Path(readable=False)

        return SprintoCommand(
            name=cls.name,
            callback=cls.invoke,
            params=command.params,
            help="Deliver Singer records from stdin to Sprinto: all of a run, or none of it.",
            epilog=examples(
                "tap-hr --config tap.json | target-sprinto --config config.json > state.jsonl",
                "tap-hr --config tap.json | target-sprinto --config ENV > state.jsonl",
                "target-sprinto --config config.json --input rejects/RUN.singer",
                "target-sprinto --about --format markdown",
            ),
            context_settings=command.context_settings,
        )

    @classmethod
    def invoke(  # type: ignore[override] # click hands over these keywords
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: Any = None,  # noqa: ANN401 - the result of `cb_config`
        file_input: IO[bytes] | None = None,
    ) -> None:
        """Run once, or print what `--about` asks for."""
        if about:
            cls.print_about(about_format)
            return
        if log.isEnabledFor(logging.DEBUG):
            cls.print_version(print_fn=log.debug)
        with _ended_early():
            target = cls.from_cli(config, signals=process_signals)
        target.listen(file_input)  # type: ignore[arg-type] # our reader takes bytes too

    @classmethod
    def from_cli(cls, config: Any, **options: Any) -> Self:  # noqa: ANN401 - SDK's; our own constructor's
        """A target from the value of `--config`, as `cb_config` read it. Raises SettingsError."""
        options["config_names"] = config.names
        return cls(config=config.config, **options)

    @classmethod
    def cb_config(cls, _ctx: click.Context, _param: click.Option, value: tuple[str, ...]) -> Any:  # noqa: ANN401 - SDK's
        """Read the config files and the environment: later ones win, and `.env` has the lowest priority.

        Raises SettingsError if one cannot be read.
        """
        with _ended_early():
            merged = config_input.read(value, cls._known_settings())
        # The SDK's reader is laxer, and its errors are tracebacks.
        return SimpleNamespace(config=merged, names=value)


def _ended_early() -> AbstractContextManager[None]:
    """Let a signal end the command even while it opens a named pipe that has no writer."""
    return process_signals.ended_by(lambda early: log.error("%s", interrupted_early(early)))


def _one_input(_context: click.Context, _option: click.Parameter, given: Sequence[Any]) -> Any:  # noqa: ANN401 - a file
    if len(given) > 1:
        raise click.UsageError("Use --input only once: a run has one input.")
    return given[0] if given else None


class _InputFile(click.File):
    """An input file; None for `-`, which is not a file but stdin, and may be a tap."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - click's own
        if value == "-":
            return None
        with _ended_early():
            return super().convert(value, param, ctx)


def _quietened(record: logging.LogRecord) -> bool:
    """Log the SDK's INFO lines about itself at DEBUG, and drop its mapper's DEBUG lines."""
    if record.levelno == logging.INFO:
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
    return record.name != _MAPPER or record.levelno > logging.INFO
