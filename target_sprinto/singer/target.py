"""The Singer target: messages in, one run at Sprinto, STATE out when all of it is processed.

This file holds every hook of the SDK that is not documented for plugins, each with its reason;
`tests/test_sdk_hooks.py` fails when one of them changes under us. They are, all read in singer-sdk 0.54:

* `_process_*_message`: the reader's callbacks (abstract in the SDK's reader, implemented by its `Target`).
  The SDK's own copy records, turn dates into `datetime`, log records, hold them by stream, and drain every
  five minutes. Ours hand them on in the order of arrival.
* `_setup_signal_handlers`: the SDK's handlers drain, write STATE and exit with 0.
* `_validate_config`: the SDK's messages quote values, the API key included.
* `_env_var_config`: the SDK leaves numbers from the environment as strings, fails on others with a
  traceback, and puts a `.env` of any folder above into the environment.
* `_sinks_to_clear`: the SDK keeps every sink that a schema change has replaced until it drains.
* logger `singer_sdk.mapper` (in `routes.py`): at DEBUG it logs the results of filters, values of records.

STATE is never given to the SDK (`_latest_state` stays None), so no path of its own can write it early.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import sys
import uuid
from contextlib import nullcontext
from typing import IO, TYPE_CHECKING, Any, cast

import click
from singer_sdk import Target, metrics
from singer_sdk.exceptions import ConfigurationError, MappingError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.helpers.capabilities import PluginCapabilities, TargetCapabilities
from singer_sdk.mapper import CustomStreamMap, RemoveRecordTransform, StreamMap
from singer_sdk.plugin_base import JSONSchemaValidator

from target_sprinto.console import SprintoCommand, examples
from target_sprinto.errors import (
    FinalStateMissing,
    FinalStateUnfinished,
    InputError,
    InvalidRecord,
    InvalidSchema,
    MadeUpStream,
    MapFailed,
    NothingAccepted,
    RecordBeforeSchema,
    SettingsError,
    StateNotWritten,
    StreamMissing,
    TooManyRejects,
    UnmappedStream,
    WouldBeRefused,
    explained,
)
from target_sprinto.push.client import SprintoClient
from target_sprinto.push.errors import Interrupted, SprintoError
from target_sprinto.push.protocol.field_paths import FieldPaths
from target_sprinto.push.protocol.lifecycle import Finish
from target_sprinto.push.protocol.pages import MAX_BYTES, too_large
from target_sprinto.push.protocol.times import with_time_left
from target_sprinto.push.run.options import LONGEST_ENTITY_TYPE
from target_sprinto.push.run.run import Delivery, Run, RunSummary
from target_sprinto.push.text import counted, figures, quoted, suggested
from target_sprinto.push.transport import timing
from target_sprinto.push.transport.background import Deadline
from target_sprinto.receipts.recorder import Ending, RunReport
from target_sprinto.signals import Signals, process_signals
from target_sprinto.singer import config_files, config_input, environment, schema_limits, settings
from target_sprinto.singer.arrivals import Arrivals
from target_sprinto.singer.batch_files import BatchFile, read_batch
from target_sprinto.singer.final_state import FinalState
from target_sprinto.singer.intake import DELETED_AT, Intake
from target_sprinto.singer.map_check import require_entity, require_known_names, require_map
from target_sprinto.singer.map_rules import MapRule, rules_of
from target_sprinto.singer.progress import Progress
from target_sprinto.singer.reader import SprintoReader, decode_object, unreadable, watched
from target_sprinto.singer.rejects import Rejected, RejectedRecords, Source
from target_sprinto.singer.response_file import ResponseFile, response_of, responses_about
from target_sprinto.singer.routes import Route, hush_mapper
from target_sprinto.singer.settings import Settings
from target_sprinto.singer.sink import SprintoSink
from target_sprinto.singer.state_output import write_state

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from target_sprinto.receipts.document import Outcome

_MAX_RECORD_BYTES = 6_000_000
"""As a tap sends it: a stream map may make it fit a page, of at most 5,000,000 bytes."""

_MELTANO_TEST_STREAM = "meltano_test_stream"


class SprintoTarget(Target):
    """Delivers records from any Singer tap to Sprinto as audit evidence: all of a run, or none of it."""

    name = "target-sprinto"
    package_name = "target-sprinto"
    config_jsonschema = settings.SCHEMA
    default_sink_class = SprintoSink
    capabilities = [  # noqa: RUF012 - the SDK declares it so
        PluginCapabilities.ABOUT,
        PluginCapabilities.BATCH,
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
        config_names: tuple[str, ...] = (),
    ) -> None:
        """Set up a run; nothing is sent before its first page.

        `signals` are the command line's: without them nothing but an error or an exception of the caller's
        ends a run early. `config_names` are what its `--config` was given. Raises SettingsError.
        """
        hush_mapper()
        self._reader = SprintoReader(
            self._check,
            self._end,
            self._refuse_line,
            begin=self._begin,
            guard=self._guard,
            watch_stdin=signals is not None,
            longest_silence=lambda: self.settings.input_timeout_seconds,
        )
        try:
            # A copy, for the SDK's mapper takes entries out of it. A setting that is null is not given.
            given = {name: value for name, value in (config or {}).items() if value is not None}
            if parse_env_config:
                given = environment.from_dotenv(self._known_settings()) | given
            super().__init__(
                config=copy.deepcopy(given),
                parse_env_config=parse_env_config,
                validate_config=validate_config,
                message_reader=self._reader,
            )
        except SettingsError:
            raise
        except (ConfigurationError, MappingError) as problem:
            raise SettingsError(getattr(problem, "errors", None) or [str(problem)]) from None
        self.settings = Settings.from_config(self.config)
        # A copy from before the mapper takes entries out of it.
        self._stream_maps = copy.deepcopy(self.config.get("stream_maps") or {})
        self._signals = signals
        self.client = SprintoClient(
            api_key=self.settings.api_key,
            integration_id=self.settings.integration_id,
            api_url=self.settings.base_url,
        )
        self._config_identities = config_files.identities(config_names)
        self.client.config_files = named = config_files.lasting(config_names)
        run_uuid = str(uuid.uuid4())
        folder = self.settings.rejects_dir
        self._responses = ResponseFile(folder / f"{run_uuid}.response.json")
        self._fields = FieldPaths()
        self._rejects: RejectedRecords | None = None
        if self.settings.diverts or self.settings.dry_run:
            path = folder / f"{run_uuid}.singer" if self.settings.diverts else None
            self._rejects = RejectedRecords(path, self.settings.max_rejects, named)
        self._report: RunReport | None = None
        if self.settings.report_path:
            self._reader.digest = digest = hashlib.sha256()
            self._report = RunReport(
                self.settings.report_path,
                self.settings,
                self.client,
                run_uuid=run_uuid,
                rejects=self._rejects,
                state=lambda: self._state,
                input_sha256=digest.hexdigest,
                interrupted=self._interrupted,
            )
        run = Run(
            self.client,
            run_uuid=run_uuid,
            rejects=self._rejects,
            known_field=self._fields.find,
            witness=self._report,
            finish=self.settings.finish,
            reference_prefix=self.settings.client_reference_prefix,
            page_size=self.settings.page_size,
            max_parallel_pages=self.settings.max_parallel_pages,
            compress=self.settings.compress,
            patiences=self.settings.patiences,
            on_conflict=self.settings.on_conflict,
            on_count_mismatch=self.settings.on_count_mismatch,
            expected=self.settings.expected,
            interrupted=self._interrupted,
        )
        self.run: Delivery = run
        self._intake = self._take_in(run, self._rejects)
        self._progress: Progress | None = Progress(
            run,
            records=lambda: self._records,
            input_seconds=lambda: self._reader.waited_seconds,
            by_command=signals is not None,
        )
        self._routes: dict[str, list[Route]] = {}
        self._arrivals = Arrivals(self.settings.entity_types, self._stream_maps)
        self._schemas: dict[str, tuple[bytes, list[str] | None]] = {}
        self._schema_memory: dict[str, int] = {}
        self._state: bytes | None = None
        self._reads_stdin = False
        self._records = 0
        self._final_state = FinalState()
        self._skipped = 0
        self._said_activate_version = False

    # Messages

    def _begin(self) -> None:
        if self._report is not None:
            self._report.begin()
        if self._progress is not None:
            self._progress.begin()

    def _process_schema_message(self, message_dict: dict[str, Any]) -> None:
        """Register a stream, or its new schema: records that came before keep their place."""
        stream, key_properties = message_dict["stream"], message_dict.get("key_properties")
        self._final_state.add_schema(stream, bytes(message_dict.get("bookmark_properties", b"")))
        known = (bytes(message_dict["schema"]), key_properties)
        if self._schemas.get(stream) == known:
            return
        self._require_small(stream, known[0])
        if stream == _MELTANO_TEST_STREAM:
            raise MadeUpStream(
                f"stream {quoted(stream)} comes from `meltano config test`, which makes its records up.",
                "Made-up records are no evidence; use `meltano invoke target-sprinto:check`.",
            )
        try:
            schema = decode_object(message_dict["schema"])
        except ValueError:
            raise InvalidSchema(
                f"the schema of stream {quoted(stream)} is no object.", "Mend the tap."
            ) from None
        if not isinstance(schema.get("properties"), dict):
            raise InvalidSchema(
                f"the schema of stream {quoted(stream)} has no object `properties`.", "Mend the tap."
            )
        try:
            self._register(stream, schema, key_properties)
        except RecursionError:
            raise InvalidSchema(
                f"the schema of stream {quoted(stream)} is nested too deeply.", "Mend the tap."
            ) from None
        self._schemas[stream] = known

    def _require_small(self, stream: str, schema: bytes) -> None:
        self._schema_memory[stream] = schema_limits.memory_of(schema)
        if len(schema) > MAX_BYTES or sum(self._schema_memory.values()) > schema_limits.MAX_MEMORY:
            raise InvalidSchema(
                f"the schema of stream {stream!r} has {len(schema):,} bytes: a schema may have {MAX_BYTES:,},"
                " and all of a run some 40,000 fields.",
                "Select fewer streams or fields in the tap's catalog.",
            )

    def _register(self, stream: str, schema: dict[str, Any], key_properties: list[str] | None) -> None:
        # Before the mapper adds its own.
        fields = dict(schema["properties"])
        rules = rules_of(self._stream_maps, stream)
        for rule in filter(None, rules):
            require_map(rule, stream, list(fields), key_properties)
        try:
            self.mapper.register_raw_stream_schema(stream, schema, key_properties)
        except MappingError as problem:
            # Its text names streams, properties and expressions: all from the settings and the schema.
            raise MapFailed(
                f"the stream map does not fit stream {quoted(stream)}: {str(problem).rstrip('.')}.",
                "Check `stream_maps` against the stream's schema.",
            ) from None
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as problem:
            raise MapFailed(
                f"the stream map or flattening does not fit stream {quoted(stream)}"
                f" ({type(problem).__name__}).",
                "Check `stream_maps` against the stream's schema.",
            ) from None
        maps = self.mapper.stream_maps[stream]
        self._routes[stream] = [
            route
            for stream_map, rule in zip(maps, rules, strict=True)
            if (route := self._route(stream, fields, stream_map, rule))
        ]
        sent_as: dict[str, str | None] = {stream_map.stream_alias: None for stream_map in maps}
        sent_as |= {route.stream: route.entity_type for route in self._routes[stream]}
        for change in self._arrivals.add(stream, fields, sent_as):
            self.logger.info("%s", change)
        for replaced in self._sinks_to_clear:
            replaced.clean_up()
        self._sinks_to_clear.clear()

    def _route(
        self, tap_stream: str, fields: dict[str, Any], stream_map: StreamMap, rule: MapRule | None
    ) -> Route | None:
        """The way of one map's records; None where they are not to be sent."""
        if isinstance(stream_map, RemoveRecordTransform):
            return None
        stream = stream_map.stream_alias
        entity_type = self.settings.entity_types.of(stream)
        if entity_type is None:
            self.logger.info("Stream '%s' is not sent: `entity_types` does not name it.", stream)
            return None
        if not entity_type.strip() or len(entity_type) > LONGEST_ENTITY_TYPE:
            raise UnmappedStream(
                f"stream {quoted(stream)} has a name that cannot be an entity type: it is blank or longer"
                f" than {LONGEST_ENTITY_TYPE} characters.",
                "Name its entity type in `entity_types`.",
            )
        if rule is not None and isinstance(stream_map, CustomStreamMap):
            require_known_names(rule, tap_stream, fields, stream_map.functions)
        schema = stream_map.transformed_schema
        if "$schema" not in stream_map.raw_schema:
            # The mapper names a draft of its own, of which the tap's keywords may know nothing.
            schema = {keyword: said for keyword, said in schema.items() if keyword != "$schema"}
        sink = self.get_sink(
            stream,
            schema=schema,
            key_properties=stream_map.transformed_key_properties,
        )
        assert isinstance(sink, SprintoSink)  # noqa: S101 - our `default_sink_class`
        self._fields.add(entity_type, stream, schema)
        entity = self.settings.entity_schemas.get(entity_type)
        if entity is not None:
            require_entity(entity, tap_stream, rule, fields, list(schema["properties"]))
        return Route(stream_map, rule, sink, entity_type, self._intake)

    def _process_record_message(self, message_dict: dict[str, Any]) -> None:
        stream = message_dict["stream"]
        self._deliver(stream, self._routes_of(stream), bytes(message_dict["record"]))

    def _routes_of(self, stream: str) -> list[Route]:
        try:
            return self._routes[stream]
        except KeyError:
            raise RecordBeforeSchema(
                f"a record of stream {quoted(stream)}, which had no SCHEMA yet.", "Mend the tap."
            ) from None

    def _deliver(self, stream: str, routes: list[Route], raw: bytes, batch_place: str = "") -> None:
        """Map, validate and hand over one record. One that no map changes goes out as the bytes it was."""
        source = self._source(stream, raw, batch_place)
        if len(raw) > _MAX_RECORD_BYTES:
            # Before it is decoded, which takes many times the memory; so no stream map can make it smaller.
            for route in routes:
                self._intake.reject(too_large(raw, source, route.entity_type), source, route.entity_type)
            return
        if len(routes) == 1 and routes[0].deliver_plain(raw, source):
            return
        try:
            record = decode_object(raw)
        except ValueError:
            problem = unreadable(raw) or InvalidRecord(
                f"a record of stream {quoted(stream)} is no object, or has a number that cannot be held"
                " exactly.",
                "Mend it at its source.",
            )
            if not isinstance(problem, InvalidRecord):
                raise problem from None
            for route in routes:
                self._intake.reject(problem, source, route.entity_type)
            return
        if record.get(DELETED_AT) is not None:
            routes = self._without_deleted(stream, routes)
        for route in routes:
            route.deliver(record, raw, source)

    def _without_deleted(self, stream: str, routes: list[Route]) -> list[Route]:
        """The routes that a record takes that is marked as deleted. Raises DeletedRecord."""
        reading = [route for route in routes if route.reads_deletion]
        if len(reading) == len(routes) or not self._intake.skips_deleted(stream):
            return routes
        self._skipped += 1
        if self._report is not None:
            self._report.skipped(stream)
        return reading

    def _source(self, stream: str, raw: bytes, batch_place: str = "", *, whole: bool = False) -> Source:
        self._records += 1
        self._final_state.add_record(stream, raw)
        if self._report is not None:
            self._report.read(stream)
        if self._rejects is None:
            return Source(stream, self._reader.line, batch_place)
        schema, key_properties = self._schemas[stream]
        return Source(
            stream, self._reader.line, batch_place, self._records, raw.strip(), whole, schema, key_properties
        )

    def _refuse_line(self, line: bytes, problem: InvalidRecord) -> None:
        """The same for a line that is a RECORD message but for a number that JSON does not know."""
        message = json.loads(line, parse_int=str)
        message = message if isinstance(message, dict) else {}
        stream = message.get("stream")
        if message.get("type") != "RECORD" or not isinstance(stream, str) or stream not in self._routes:
            raise problem
        source = self._source(stream, line, whole=True)
        for route in self._routes[stream]:
            self._intake.reject(problem, source, route.entity_type)

    def _process_state_message(self, message_dict: dict[str, Any]) -> None:
        """Hold the STATE: it goes out when all that came before it is processed, which is at the end."""
        if len(message_dict["value"]) > MAX_BYTES:
            raise InputError(
                f"the `value` of a STATE message has more than {MAX_BYTES:,} bytes.", "Fix the tap."
            )
        try:
            value = decode_object(message_dict["value"])
        except ValueError:
            raise InputError("the `value` of a STATE message is no object.", "Mend the tap.") from None
        self._state = bytes(message_dict["value"])
        self._final_state.add_state(value)

    def _process_activate_version_message(self, message_dict: dict[str, Any]) -> None:
        """Accepted, said once, and changes nothing: Sprinto's documents know no versions of a table."""
        self._final_state.add_version(message_dict["stream"])
        if not self._said_activate_version:
            self.logger.info("ACTIVATE_VERSION messages change nothing at Sprinto; they are accepted.")
            self._said_activate_version = True

    def _process_batch_message(self, message_dict: dict[str, Any]) -> None:
        """Read the records of a batch's files as if they stood in the input, one by one."""
        stream = message_dict["stream"]
        routes = self._routes_of(stream)
        batch = read_batch(stream, message_dict["encoding"], message_dict["manifest"])
        for url in batch.files:
            file = BatchFile(url, compressed=batch.compressed, own=self._config_identities)
            try:
                for line in file.records(self._check):
                    self._deliver(stream, routes, line, str(file))
            except InputError as problem:
                problem.batch_place = str(file)
                raise

    # The end

    def process_endofpipe(self) -> None:
        """Finish the run, then let the last STATE out. Raises a SprintoError if it did not come to that."""
        try:
            # A signal that came with the end of input says more than a STATE that did not come.
            self._check()
            if self._reader.from_stdin and self.settings.require_final_state:
                self._final_state.require_complete()
            self._require_named()
            summary = self.run.finish()
        except BaseException as failure:  # noqa: BLE001 - a run ends in one place, whatever ended it
            raise self._end(failure) from None
        self._tell_metrics()
        ending = self._conclude(summary)
        if self._report is not None:
            self._report.end(ending, Deadline(timing.current.end_after_signal))
        self.client.close()
        if ending.failure is not None:
            raise ending.failure

    def _require_named(self) -> None:
        """Raise StreamMissing. A file may hold a part of what the tap sends, a rejects file does."""
        try:
            self._arrivals.require_named()
        except StreamMissing as missing:
            if self._reader.from_stdin:
                raise
            self.logger.warning("%s", missing)
        else:
            for doubt in self._arrivals.doubts():
                self.logger.warning("%s", doubt)

    def _tell_metrics(self) -> None:
        """The SDK's metrics: records by stream, requests and how long they took in all."""
        if self._progress is not None:
            self._progress.end()
        for sink in self._sinks_active.values():
            cast("SprintoSink", sink).finish_count()
        count, seconds = self.client.requests, self.client.request_seconds
        logger, tags = metrics.get_metrics_logger(), {metrics.Tag.PID.value: os.getpid()}
        metrics.log(logger, metrics.Point("counter", metrics.Metric.HTTP_REQUEST_COUNT, count, tags))
        metrics.log(logger, metrics.Point("timer", metrics.Metric.HTTP_REQUEST_DURATION, seconds, tags))

    def _took(self) -> str:
        return self._progress.summary() if self._progress is not None else ""

    def _conclude(self, summary: RunSummary) -> Ending:
        """Say how the run went, and let the STATE out where it may go."""
        if self.settings.finish is Finish.DISCARD:
            refused = self._tell_rehearsal(summary)
            code, kept = refused.exit_code if refused else 0, self._responses.written
            return Ending("rehearsed", code, refused, response_kept=kept)
        if summary.session_id is not None and self.settings.finish is Finish.HOLD:
            self._tell_held(summary)
            return Ending("held")
        self._tell(summary)
        outcome: Outcome = "applied" if summary.session_id else "nothing-to-send"
        if self._state is None:
            return Ending(outcome)
        try:
            write_state(self._state, self._interrupted)
        except StateNotWritten as failure:
            return Ending(outcome, failure.exit_code, failure, "stderr")
        return Ending(outcome, state_went_to="stdout")

    def _tell(self, summary: RunSummary) -> None:
        self._tell_rejects()
        if summary.session_id is None:
            self.logger.info("No records: no session was opened.")
        else:
            self.logger.info(
                "Sprinto has processed session %s: %s, in %s, %s.",
                summary.session_id,
                figures(summary.records),
                counted(summary.pages, "page"),
                self._took(),
            )

    def _tell_held(self, summary: RunSummary) -> None:
        expiry = with_time_left(summary.expiry, self.client.server_time())
        receipt = str(self._report.path) if self._report else ""
        session, config = str(summary.session_id), self.client.config_files
        self._tell_rejects()
        self.logger.info(
            "Session %s is held: %s, in %s, %s. It expires %s. To apply it: %s. To discard it: %s.",
            summary.session_id,
            figures(summary.records),
            counted(summary.pages, "page"),
            self._took(),
            expiry,
            suggested("sprintoctl", "apply", session, "--receipt", receipt, config=config),
            suggested("sprintoctl", "discard", session, config=config),
        )

    def _tell_rejects(self) -> None:
        self._tell_skipped()
        if self._rejects is None:
            return
        try:
            told = self._rejects.finish()
        except (MemoryError, OSError) as problem:
            # The run is applied: nothing that happens to the file may hide that.
            told = f"The rejects file could not be finished ({type(problem).__name__})."
        if told:
            self.logger.warning("%s", told)

    def _tell_rehearsal(self, summary: RunSummary) -> WouldBeRefused | None:
        """Say what a dry run has shown; what to raise, where records were refused."""
        discarded = f" Session {summary.session_id} was discarded." if summary.session_id else ""
        self.logger.info(
            "Rehearsed: Sprinto accepted %s in %s, %s.%s",
            figures(summary.records),
            counted(summary.pages, "page"),
            self._took(),
            discarded,
        )
        self._tell_skipped()
        if refused := self._tell_refused():
            them = "it at its source" if len(refused) == 1 else "them at their source"
            return WouldBeRefused(
                f"{counted(len(refused), 'record')} would be refused, as listed above."
                f" {self._responses.keep(responses_about(refused))}",
                f"Mend {them} or with a stream map; or set `on_invalid_record` to `divert`.",
            )
        return None

    def _tell_skipped(self) -> None:
        if self._skipped:
            self.logger.warning(
                "Skipped %s marked as deleted (`on_deleted_record` is `skip`).",
                counted(self._skipped, "record"),
            )

    def _tell_refused(self) -> list[Rejected]:
        rejected = self._rejects.rejected if self._rejects else []
        for one in rejected:
            self.logger.warning("Would be refused: %s", one)
        return rejected

    def _check(self) -> None:
        self.run.check()

    def _end(self, failure: BaseException) -> BaseException:
        """End the run because of `failure`; return what to raise."""
        stopped = isinstance(failure, Interrupted) or not isinstance(failure, Exception)
        deadline = Deadline(
            self._seconds_to_end() if stopped else timing.current.end_after_error,
            self._interrupted,
            timing.current.end_after_signal,
        )
        try:
            aftermath = self.run.abort(deadline)
        except BaseException:
            # A second Ctrl-C where no command line has taken the signals.
            self.logger.error("Cut off while ending: session %s may be open.", self.run.open_session)  # noqa: TRY400 - no traceback
            self.client.close()
            raise
        self._tell_metrics()
        if isinstance(failure, SprintoError) and failure.aftermath:
            # It has seen what became of the session.
            aftermath = failure.aftermath
        responses = response_of(failure)
        if self._rejects is not None:
            aftermath = f"{aftermath} {self._rejects.give_up()}".rstrip()
            if isinstance(failure, TooManyRejects | NothingAccepted) and self.settings.dry_run:
                responses += responses_about(self._tell_refused())
                aftermath += " What is listed above would be refused"
                aftermath += "; the list is not complete." if isinstance(failure, TooManyRejects) else "."
        aftermath = f"{aftermath} {self._responses.keep(responses)}".rstrip()
        if isinstance(failure, Exception) and not isinstance(failure, SprintoError):
            failure = explained(failure)
        if (
            isinstance(failure, InputError)
            and failure.line is None
            and not isinstance(failure, FinalStateMissing | FinalStateUnfinished)
        ):
            failure.line = self._reader.line
        if isinstance(failure, SprintoError):
            failure.aftermath = aftermath
        elif aftermath:
            self.logger.error("%s", aftermath)
        if self._report is not None:
            outcome: Outcome = "interrupted" if stopped else "failed"
            known = failure if isinstance(failure, SprintoError) else None
            kept = self._responses.written
            self._report.end(Ending(outcome, self._exit_code(known), known, response_kept=kept), deadline)
        self.client.close()
        return failure

    def _exit_code(self, failure: SprintoError | None) -> int | None:
        """The one that the command line will end with."""
        if self._signals is not None and self._signals.first is not None:
            return 128 + self._signals.first
        return failure.exit_code if failure is not None else None

    def _seconds_to_end(self) -> float:
        """The contract counts from the signal, which may have been noticed late."""
        late = self._signals.seconds_since_first() if self._signals is not None else 0.0
        return max(timing.current.end_after_signal / 2, timing.current.end_after_signal - late)

    def _guard(self) -> AbstractContextManager[None]:
        """A signal that the reading thread does not notice ends the run on another one."""
        return self._signals.ended_by(self._end_and_report) if self._signals else nullcontext()

    def _end_and_report(self, interrupted: Interrupted) -> None:
        try:
            failure = self._end(interrupted)
        except Exception as bug:  # noqa: BLE001 - the process exits next: reported in one line, as anywhere
            failure = explained(bug)
        self.logger.error("%s", failure)

    def _interrupted(self) -> None:
        if self._signals is not None:
            self._signals.check()

    # Verifying

    def _take_in(self, run: Delivery, rejects: RejectedRecords | None) -> Intake:
        return Intake(
            run,
            rejects,
            needs_keys=self.settings.max_parallel_pages > 1 or rejects is not None,
            on_deleted_record=self.settings.on_deleted_record,
            entity_schemas=self.settings.entity_schemas,
        )

    def rehearse(self, replay: Delivery) -> RejectedRecords:
        """Hand the records to `replay`, not to a run at Sprinto; nothing is written. Returns the rejects."""
        self.run = replay
        self._report = self._progress = None
        self._rejects = RejectedRecords(None, sys.maxsize)
        self._intake = self._take_in(replay, self._rejects)
        return self._rejects

    # Settings and command line

    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Add the SDK's settings that are honoured here: stream maps, flattening, `validate_records`."""
        super().append_builtin_config(config_jsonschema)
        properties = config_jsonschema["properties"]
        for name in settings.NOT_FOR_SPRINTO:
            properties.pop(name, None)
        properties["stream_maps"] = settings.without_bare_types(properties["stream_maps"])

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        self.append_builtin_config(self.config_jsonschema)
        validator = JSONSchemaValidator(self.config_jsonschema)
        problems = list(settings.stream_map_problems(self._config.get("stream_maps")))
        # Their schema is all alternatives, so what it finds names no more than the stream.
        checked = {**self._config, "stream_maps": None} if problems else self._config
        if all(self._config.get(name) is None for name in ("api_key", "api_key_file")):
            problems.append("`api_key` is missing")
        problems += settings.describe_schema_errors(validator.iter_errors(checked))
        known = self.config_jsonschema["properties"]
        unknown = set(self._config) - set(known) - set(settings.NOT_FOR_SPRINTO)
        if unknown:
            # A guard that one letter has switched off is worse than none.
            problems += [
                f"`{name}` is not known: `{meant}` is probably meant"
                for name, meant in settings.misspelt(unknown, known).items()
            ]
        if problems and raise_errors:
            raise SettingsError(problems)
        if unknown:
            self.logger.warning("Settings that are not known, and ignored: %s.", ", ".join(sorted(unknown)))
        return problems

    @classproperty
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805 - a class property's first argument is the class
        return environment.from_environment(cls._known_settings(), os.environ)

    @classmethod
    def _known_settings(cls) -> dict[str, Any]:
        cls.append_builtin_config(cls.config_jsonschema)
        known: dict[str, Any] = cls.config_jsonschema["properties"]
        return known

    def _setup_signal_handlers(self) -> None:
        """Signal handlers belong to the command line."""

    @classmethod
    def get_singer_command(cls) -> click.Command:
        """The SDK's command, with our signals, exit codes and one-line errors."""
        command = super().get_singer_command()
        for option in command.params:
            if option.name == "file_input":
                option.type = click.File("rb")
            if option.name == "config":
                # So that a shell completes it.
                option.type = click.Path()

        def invoke(**kwargs: Any) -> None:  # noqa: ANN401 - click's own
            cls.invoke(**kwargs, signals=process_signals)

        return SprintoCommand(
            name=cls.name,
            callback=invoke,
            params=command.params,
            help="Deliver Singer records from stdin to Sprinto: all of a run, or none of it.",
            epilog=examples(
                "tap-hr --config tap.json | target-sprinto --config config.json > state.jsonl",
                "tap-hr --config tap.json | target-sprinto --config ENV > state.jsonl",
                "target-sprinto --config config.json --input rejects/RUN.singer",
                "target-sprinto --about --format markdown",
            ),
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
        if file_input is getattr(sys.stdin, "buffer", None):
            # What `-` opens is no file: it may be a tap.
            file_input = None
        source = watched(file_input.fileno(), target.run.check) if file_input else None
        target.listen(source)  # type: ignore[arg-type] # our reader takes bytes too

    @classmethod
    def from_cli(cls, config: Any, signals: Signals | None = None) -> SprintoTarget:  # noqa: ANN401 - SDK's
        """A target from what `--config` was given, as `cb_config` read it. Raises SettingsError."""
        settings.require_log_level(os.environ)
        return cls(
            config=config.config,
            parse_env_config=config.parse_env,
            signals=signals,
            config_names=config.names,
        )

    @classmethod
    def _report_nothing_opened(cls, interrupted: Interrupted) -> None:
        """A config file may be a pipe into which nothing comes."""
        interrupted.aftermath = "Nothing was opened at Sprinto."
        cls.logger.error("%s", interrupted)

    @classmethod
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:  # noqa: ANN401 - SDK's
        """Read the config files and the environment, later ones over earlier ones; `.env` is below them all.

        Raises SettingsError for what cannot be read.
        """
        with process_signals.ended_by(cls._report_nothing_opened):
            merged = config_input.read(value, cls._known_settings())
        # The SDK's own reading is laxer, and its errors are tracebacks.
        found: Any = super().cb_config(ctx, param, ())
        found.config |= merged
        found.names = value
        return found
