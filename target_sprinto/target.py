"""The Singer target: messages in, one run at Sprinto, STATE out when all of it is processed.

This file holds every hook of the SDK that is not documented for plugins, each with its reason;
`tests/test_sdk_hooks.py` fails when one of them changes under us. They are, all read in singer-sdk 0.54:

* `_process_*_message`: the reader's callbacks (abstract in the SDK's reader, implemented by its `Target`).
  The SDK's own copy records, turn dates into `datetime`, log records, hold them by stream, and drain every
  five minutes. Ours hand them on in the order of arrival.
* `_setup_signal_handlers`: the SDK's handlers drain, write STATE and exit with 0.
* `_validate_config`: the SDK's messages quote values, the API key included.
* `_env_var_config`: the SDK leaves numbers from the environment as strings, fails on others with a
  traceback, and looks for `.env` beside its own files.
* `_sinks_to_clear`: the SDK keeps every sink that a schema change has replaced until it drains.
* logger `singer_sdk.mapper`: at DEBUG it logs the results of filters, which are values of records.

STATE is never given to the SDK (`_latest_state` stays None), so no path of its own can write it early.
"""

from __future__ import annotations

import copy
import io
import logging
import math
import os
import select
import sys
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import click
import msgspec
from dotenv import find_dotenv
from singer_sdk import Target
from singer_sdk.configuration._dict_config import parse_environment_config
from singer_sdk.exceptions import ConfigurationError, MappingError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.helpers.capabilities import PluginCapabilities, TargetCapabilities
from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform, StreamMap
from singer_sdk.plugin_base import JSONSchemaValidator

from target_sprinto import settings
from target_sprinto.command import SprintoCommand
from target_sprinto.errors import (
    BatchNotSupported,
    FinalStateMissing,
    InputError,
    InternalError,
    InvalidRecord,
    InvalidSchema,
    MapFailed,
    RecordBeforeSchema,
    SettingsError,
    StateNotWritten,
    UnmappedStream,
)
from target_sprinto.push import pace
from target_sprinto.push.client import SprintoClient
from target_sprinto.push.errors import Interrupted, SprintoError
from target_sprinto.push.run import Run
from target_sprinto.push.waiting import TICK_SECONDS, LastWords, in_background, wait_for
from target_sprinto.reading import SprintoReader, decode_object, watched
from target_sprinto.settings import Settings
from target_sprinto.signals import Signals, process_signals
from target_sprinto.sinks import SprintoSink

if TYPE_CHECKING:
    from collections.abc import Mapping

_encoder = msgspec.json.Encoder(decimal_format="number")


class Origin(NamedTuple):
    """Where a record came from: what a message names instead of its values."""

    stream: str
    line: int

    def __str__(self) -> str:
        return f"stream {self.stream!r}, input line {self.line}"


class _Route(NamedTuple):
    """One way of a stream's records to Sprinto. `stream_map` is None where it changes nothing."""

    stream_map: StreamMap | None
    sink: SprintoSink
    entity_type: str


class SprintoTarget(Target):
    """Delivers records from any Singer tap to Sprinto as audit evidence: all of a run, or none of it."""

    name = "target-sprinto"
    package_name = "target-sprinto"
    config_jsonschema = settings.SCHEMA
    default_sink_class = SprintoSink
    capabilities = [  # noqa: RUF012 - the SDK declares it so
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STRUCTURED_LOGGING,
        TargetCapabilities.VALIDATE_RECORDS,
    ]

    def __init__(
        self,
        *,
        config: dict[str, Any] | None = None,
        parse_env_config: bool = False,
        validate_config: bool = True,
        signals: Signals | None = None,
    ) -> None:
        """Set up a run; nothing is sent before its first page.

        `signals` are the command line's: without them nothing but an error or an exception of the caller's
        ends a run early. Raises SettingsError.
        """
        _hush_mapper()
        try:
            # A copy, for the SDK's mapper takes entries out of it. A setting that is null is not given.
            given = {name: value for name, value in (config or {}).items() if value is not None}
            super().__init__(
                config=copy.deepcopy(given),
                parse_env_config=parse_env_config,
                validate_config=validate_config,
                message_reader=SprintoReader(self._check, self._end, watch_stdin=signals is not None),
            )
        except SettingsError:
            raise
        except (ConfigurationError, MappingError) as problem:
            raise SettingsError(getattr(problem, "errors", None) or [str(problem)]) from None
        self.settings = Settings.from_config(self.config)
        self._signals = signals
        self.client = SprintoClient(
            self.settings.base_url, self.settings.integration_id, self.settings.api_key
        )
        self.run = Run(
            self.client,
            reference_prefix=self.settings.client_reference_prefix,
            page_size=self.settings.page_size,
            compress=self.settings.compress,
            patiences=self.settings.patiences,
            on_conflict=self.settings.on_conflict,
            interrupted=signals.check if signals else lambda: None,
        )
        self._routes: dict[str, list[_Route]] = {}
        self._schemas: dict[str, tuple[bytes, list[str] | None]] = {}
        self._state: bytes | None = None
        self._reads_stdin = False
        self._records_since_state = 0
        self._said_activate_version = False

    # Messages

    @property
    def _reader(self) -> SprintoReader:
        reader = self.message_reader
        assert isinstance(reader, SprintoReader)  # noqa: S101 - made by our own constructor
        return reader

    def _process_schema_message(self, message_dict: dict[str, Any]) -> None:
        """Register a stream, or its new schema: records that came before keep their place."""
        stream, key_properties = message_dict["stream"], message_dict.get("key_properties")
        known = (bytes(message_dict["schema"]), key_properties)
        if self._schemas.get(stream) == known:
            return
        try:
            schema = decode_object(message_dict["schema"])
        except ValueError:
            raise InvalidSchema(f"the schema of stream {stream!r} is no object.", "Mend the tap.") from None
        properties = schema.setdefault("properties", {})
        if not isinstance(properties, dict):
            raise InvalidSchema(f"`properties` of stream {stream!r} is no object.", "Mend the tap.")
        try:
            self.mapper.register_raw_stream_schema(stream, schema, key_properties)
        except MappingError as problem:
            # Its text names streams, properties and expressions: all from the settings and the schema.
            raise MapFailed(f"the stream map does not fit stream {stream!r}: {problem}") from None
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as problem:
            raise MapFailed(
                f"the stream map or flattening does not fit stream {stream!r} ({type(problem).__name__}).",
                "Check `stream_maps` against the stream's schema.",
            ) from None
        self._routes[stream] = [
            route for stream_map in self.mapper.stream_maps[stream] if (route := self._route(stream_map))
        ]
        for replaced in self._sinks_to_clear:
            replaced.clean_up()
        self._sinks_to_clear.clear()
        self._schemas[stream] = known

    def _route(self, stream_map: StreamMap) -> _Route | None:
        """The way of one map's records; None where they are not to be sent."""
        if isinstance(stream_map, RemoveRecordTransform):
            return None
        stream = stream_map.stream_alias
        try:
            entity_type = self.settings.entity_types.of(stream)
        except LookupError:
            raise UnmappedStream(
                f"stream {stream!r} has no entity type, and `unmapped_streams` is `fail`.",
                "Name it in `entity_types`, or set `unmapped_streams` to `keep` or `ignore`.",
            ) from None
        if entity_type is None:
            self.logger.info("Stream '%s' is not sent: `entity_types` does not name it.", stream)
            return None
        sink = self.get_sink(
            stream,
            schema=stream_map.transformed_schema,
            key_properties=stream_map.transformed_key_properties,
        )
        assert isinstance(sink, SprintoSink)  # noqa: S101 - our `default_sink_class`
        unchanged = isinstance(stream_map, SameRecordTransform) and not stream_map.flattening_enabled
        return _Route(None if unchanged else stream_map, sink, entity_type)

    def _process_record_message(self, message_dict: dict[str, Any]) -> None:
        """Map, validate and hand over one record. One that no map changes goes out as the bytes it was."""
        stream, line = message_dict["stream"], self._reader.line
        self._records_since_state += 1
        try:
            routes = self._routes[stream]
        except KeyError:
            raise RecordBeforeSchema(
                f"a record of stream {stream!r}, which had no SCHEMA yet.", "Mend the tap."
            ) from None
        try:
            record = decode_object(message_dict["record"])
        except ValueError:
            raise InvalidRecord(
                f"a record of stream {stream!r} is no object, or has a number that cannot be held exactly.",
                "Mend it at its source.",
            ) from None
        for stream_map, sink, entity_type in routes:
            sent, body = record, bytes(message_dict["record"])
            if stream_map is not None:
                mapped = _mapped(stream_map, record)
                if mapped is None:
                    continue
                # What is checked is what will be sent, down to its encoding.
                sent, body = decode_object(mapped), mapped
            sink.check(sent)
            self.run.add(entity_type, body, Origin(sink.stream_name, line))

    def _process_state_message(self, message_dict: dict[str, Any]) -> None:
        """Hold the STATE: it goes out when all that came before it is processed, which is at the end."""
        try:
            decode_object(message_dict["value"])
        except ValueError:
            raise InputError("the `value` of a STATE message is no object.", "Mend the tap.") from None
        self._state = bytes(message_dict["value"])
        self._records_since_state = 0

    def _process_activate_version_message(self, message_dict: dict[str, Any]) -> None:  # noqa: ARG002 - a callback
        """Accepted, said once, and changes nothing: Sprinto's documents know no versions of a table."""
        if not self._said_activate_version:
            self.logger.info("ACTIVATE_VERSION messages change nothing at Sprinto; they are accepted.")
            self._said_activate_version = True

    def _process_batch_message(self, message_dict: dict[str, Any]) -> None:
        raise BatchNotSupported(
            f"a BATCH message for stream {message_dict['stream']!r}; batch files are not supported.",
            "Configure the tap to send RECORD messages (for SDK taps: leave `batch_config` out).",
        )

    # The end

    def process_endofpipe(self) -> None:
        """Finish the run, then let the last STATE out. Raises a SprintoError if it did not come to that."""
        try:
            # A signal that came with the end of input says more than a STATE that did not come.
            self._check()
            self._require_final_state()
            summary = self.run.finish()
        except BaseException as failure:  # noqa: BLE001 - a run ends in one place, whatever ended it
            raise self._end(failure) from None
        for sink in self._sinks_active.values():
            sink.clean_up()
        self.client.close()
        if summary.session_id is None:
            self.logger.info("No records: no session was opened.")
        else:
            self.logger.info(
                "Sprinto has processed session %s: %s, in %d pages.",
                summary.session_id,
                ", ".join(f"{count} {name}" for name, count in summary.records.items()),
                summary.pages,
            )
        self._write_state()

    def _check(self) -> None:
        self.run.check()

    def _require_final_state(self) -> None:
        if self._records_since_state and self._reader.from_stdin and self.settings.require_final_state:
            raise FinalStateMissing(
                f"The input ended with records that no STATE follows ({self._records_since_state}):"
                " the tap has probably died.",
                "Look at the tap's log. If it never sends a last STATE, set `require_final_state` to false.",
            )

    def _end(self, failure: BaseException) -> BaseException:
        """End the run because of `failure`; return what to raise."""
        stopped = isinstance(failure, Interrupted) or not isinstance(failure, Exception)
        try:
            aftermath = self.run.abort(
                pace.current.end_after_signal if stopped else pace.current.end_after_error
            )
        except BaseException:
            # A second Ctrl-C where no command line has taken the signals.
            self.logger.error("Cut off while ending: session %s may be open.", self.run.open_session)  # noqa: TRY400 - no traceback
            raise
        finally:
            self.client.close()
        if isinstance(failure, Exception) and not isinstance(failure, SprintoError):
            failure = InternalError(failure)
        if (
            isinstance(failure, InputError)
            and failure.line is None
            and not isinstance(failure, FinalStateMissing)
        ):
            failure.line = self._reader.line
        if isinstance(failure, SprintoError):
            failure.aftermath = failure.aftermath or aftermath
        elif aftermath:
            self.logger.error("%s", aftermath)
        return failure

    def _write_state(self) -> None:
        if self._state is None:
            return
        line = self._state + b"\n"
        # A reader that stands still must not keep a signal from ending the process.
        last_words = LastWords(
            self._signals.check if self._signals else lambda: None, pace.current.end_after_signal
        )
        try:
            wait_for(in_background(lambda: _write(line)), last_words)
        except (OSError, ValueError, AttributeError, Interrupted):
            raise StateNotWritten(self._state.decode()) from None

    # Settings and command line

    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Add the SDK's settings that are honoured here: stream maps, flattening, `validate_records`."""
        super().append_builtin_config(config_jsonschema)
        for name in settings.NOT_FOR_SPRINTO:
            config_jsonschema["properties"].pop(name, None)

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        self.append_builtin_config(self.config_jsonschema)
        validator = JSONSchemaValidator(self.config_jsonschema)
        problems = settings.describe_schema_errors(validator.iter_errors(self._config))
        if problems and raise_errors:
            raise SettingsError(problems)
        unknown = (
            set(self._config) - set(self.config_jsonschema["properties"]) - set(settings.NOT_FOR_SPRINTO)
        )
        if unknown:
            self.logger.warning("Settings that are not known, and ignored: %s.", ", ".join(sorted(unknown)))
        return problems

    @classproperty
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805 - a class property's first argument is the class
        cls.append_builtin_config(cls.config_jsonschema)
        known = cls.config_jsonschema["properties"]
        refused: dict[str, Any] = {name: {"type": ["string"]} for name in settings.NOT_FOR_SPRINTO}
        # Without a file of its own the SDK would look for one beside its installation.
        dotenv = find_dotenv(usecwd=True) or os.devnull
        config: dict[str, Any] = {}
        for name, schema in (known | refused).items():
            variable = f"{cls._env_var_prefix}{name.upper()}"
            try:
                found = parse_environment_config({"properties": {name: schema}}, cls._env_var_prefix, dotenv)
                config |= settings.from_environment(found, schema, os.environ.get(variable, ""))
            except ValueError:
                wanted = " or ".join(kind for kind in schema["type"] if kind != "null")
                raise SettingsError([f"the environment variable {variable} holds no {wanted}"]) from None
        return config

    def _setup_signal_handlers(self) -> None:
        """Signal handlers belong to the command line."""

    @classmethod
    def get_singer_command(cls) -> click.Command:
        """The SDK's command, with our signals, exit codes and one-line errors."""
        command = super().get_singer_command()
        for option in command.params:
            if option.name == "file_input":
                option.type = click.File("rb")

        def invoke(**kwargs: Any) -> None:  # noqa: ANN401 - click's own
            cls.invoke(**kwargs, signals=process_signals)

        return SprintoCommand(
            name=cls.name,
            callback=invoke,
            params=command.params,
            help="Deliver Singer records from stdin to Sprinto: all of a run, or none of it.",
            context_settings=command.context_settings,
            logger=cls.logger,
            signals=process_signals,
        )

    @classmethod
    def invoke(  # type: ignore[override] # click hands over these keywords, and our signals
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: Any = None,  # noqa: ANN401 - what `cb_config` made
        file_input: IO[bytes] | None = None,
        signals: Signals | None = None,
    ) -> None:
        """Run once, or print what `--about` asks for."""
        if about:
            cls.print_about(about_format)
            return
        cls.print_version(print_fn=cls.logger.info)
        target = cls.from_cli(config, signals)
        source = watched(file_input.fileno(), target.run.check) if file_input else None
        target.listen(source)  # type: ignore[arg-type] # our reader takes bytes too

    @classmethod
    def from_cli(cls, config: Any, signals: Signals | None = None) -> SprintoTarget:  # noqa: ANN401 - SDK's
        """A target from what `--config` was given, as `cb_config` read it. Raises SettingsError."""
        return cls(config=config.config, parse_env_config=config.parse_env, signals=signals)

    @classmethod
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:  # noqa: ANN401 - SDK's
        """Read the config files, later ones over earlier ones. Raises SettingsError for one that is none."""
        merged: dict[str, Any] = {}
        for number, path in enumerate(value, 1):
            if path != "ENV":
                merged |= settings.read_config_file(path, number)
        # The SDK's own reading is laxer, and its errors are tracebacks; it still says whether ENV was named.
        found = super().cb_config(ctx, param, tuple(path for path in value if path == "ENV"))
        found.config |= merged
        return found


def _mapped(stream_map: StreamMap, record: Mapping[str, Any]) -> bytes | None:
    """The record as the stream map makes it, as JSON bytes; None where the map leaves it out."""
    try:
        mapped = stream_map.transform(dict(record))
    except Exception as problem:  # noqa: BLE001 - an expression of the user's may raise anything
        # Its text may quote a value of the record.
        raise MapFailed(
            f"the stream map of stream {stream_map.stream_alias!r} failed on a record"
            f" ({type(problem).__name__}).",
            "Check the expressions in `stream_maps`; mind fields that are null or missing.",
        ) from None
    if mapped is None:
        return None
    if not _is_finite(mapped):
        raise InvalidRecord(
            f"the stream map of stream {stream_map.stream_alias!r} made a NaN or Infinity.",
            "Check the expressions in `stream_maps`.",
        )
    try:
        return _encoder.encode(mapped)
    except (TypeError, ValueError, UnicodeError):
        raise MapFailed(
            f"the stream map of stream {stream_map.stream_alias!r} made something that is no JSON.",
            "Check the expressions in `stream_maps`.",
        ) from None


def _write(line: bytes) -> None:
    """Write to stdout, as bytes where that is possible: a STATE goes out as it came, whatever the encoding.

    Past the buffer, whose lock a write that is stuck would hold until the interpreter dies of it.
    """
    try:
        descriptor = sys.stdout.fileno()
    except io.UnsupportedOperation:
        sys.stdout.write(line.decode())
        return
    sys.stdout.flush()
    while line:
        try:
            line = line[os.write(descriptor, line) :]
        except BlockingIOError:
            select.select([], [descriptor], [], TICK_SECONDS)


def _is_finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _keep_quiet(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.INFO


def _hush_mapper() -> None:
    # A filter, not a level: a level is what a logging configuration sets again.
    logging.getLogger("singer_sdk.mapper").addFilter(_keep_quiet)
