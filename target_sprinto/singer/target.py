"""The Singer target: messages in, one run at Sprinto, STATE out once it is processed.

SDK hooks that are not documented for plugins, as found in singer-sdk 0.54; each has a test in
`tests/test_sdk_hooks.py` (`configured_target.py` has those for settings and command line):

* `_process_*_message`: the reader's callbacks (abstract in the SDK's reader, implemented by its `Target`).
  The SDK's copy records, turn dates into `datetime`, log records, hold them by stream, and drain every
  five minutes. Ours pass them on in the order of arrival.
* `_sinks_active`, `_sinks_to_clear`: the SDK's sinks by stream, and those that a schema change has replaced,
  which it keeps until it drains.

STATE is never given to the SDK (`_latest_state` stays None), so the SDK cannot write it early.
"""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from target_sprinto.console import log_failure
from target_sprinto.errors import InputError, InvalidRecord, explained
from target_sprinto.push.errors import Interrupted, SprintoError
from target_sprinto.push.protocol.lifecycle import Finish
from target_sprinto.push.run.offline_run import OfflineRun
from target_sprinto.push.run.run import Run
from target_sprinto.push.run.run_options import RunOptions
from target_sprinto.receipts.recorder import ReceiptRecorder
from target_sprinto.signals import Signals
from target_sprinto.singer.configured_target import ConfiguredTarget
from target_sprinto.singer.expectations import Expectations
from target_sprinto.singer.input.batch_files import identities, read_batch
from target_sprinto.singer.input.messages import parse_message, without_nan
from target_sprinto.singer.input.reader import SprintoReader
from target_sprinto.singer.intake import Intake
from target_sprinto.singer.progress import Progress
from target_sprinto.singer.rejects.rejected_records import RejectedRecords
from target_sprinto.singer.rejects.response_file import ResponseFile
from target_sprinto.singer.run_end import RunEnd
from target_sprinto.singer.settings import config_input
from target_sprinto.singer.sink import SprintoSink
from target_sprinto.singer.streams import Streams

log = logging.getLogger(__name__)


class SprintoTarget(ConfiguredTarget):
    """Delivers records from any Singer tap to Sprinto as audit evidence: all of a run, or none of it."""

    default_sink_class = SprintoSink

    def __init__(  # noqa: PLR0913 - the SDK's own, and ours
        self,
        *,
        config: dict[str, Any] | None = None,
        parse_env_config: bool = False,
        validate_config: bool = True,
        signals: Signals | None = None,
        config_names: tuple[str, ...] = (),
        run: OfflineRun | None = None,
    ) -> None:
        """Set up a run; nothing is sent before its first page.

        `signals` are the command line's: without them, only an error or an exception of the caller ends a run
        early. `config_names` are the values of its `--config`. `run` takes the records instead of a run at
        Sprinto: then nothing is written, and rejects are only counted. Raises SettingsError.
        """
        # Signals without installed handlers are never received.
        self._signals = signals or Signals()
        self.reader = SprintoReader(
            check=self.raise_if_interrupted,
            reject=self._reject_line,
            guard=self._reading,
            by_command=signals is not None,
        )
        super().__init__(
            self.reader, config=config, parse_env_config=parse_env_config, validate_config=validate_config
        )
        settings, run_uuid = self.settings, str(uuid.uuid4())
        self.reader.longest_silence = settings.input_timeout_seconds
        self.client = config_input.client_of(settings)
        self._config_identities = identities(config_names)
        config_files = config_input.lasting(config_names)
        self._logged_activate_version = False
        self._recorder: ReceiptRecorder | None = None
        self._expectations = Expectations({})
        self.rejects: RejectedRecords | None = None
        if run is not None:
            self.rejects = RejectedRecords(None, sys.maxsize)
        elif settings.diverts:
            path = settings.rejects_dir / f"{run_uuid}.singer"
            self.rejects = RejectedRecords(path, settings.max_rejects, config_files)
        elif settings.dry_run:
            self.rejects = RejectedRecords(None, settings.max_rejects)
        self.intake = Intake(settings, self.reader, self.rejects)
        self.streams = Streams(self)
        self.run = self._run_at_sprinto(run_uuid) if run is None else run
        self.intake.begin(self.run, self._expectations)
        self._progress = None
        if isinstance(self.run, Run):
            self._progress = Progress(self.run, self.intake, self.client.timings.progress_interval)
        self._run_end = RunEnd(
            client=self.client,
            intake=self.intake,
            responses=ResponseFile(settings.rejects_dir / f"{run_uuid}.response.json"),
            recorder=self._recorder,
            progress=self._progress,
            signals=self._signals,
            sinks=self._sinks_active,
            config_files=config_files,
        )

    def _run_at_sprinto(self, run_uuid: str) -> Run:
        settings = self.settings
        if settings.report_path:
            digest = self.reader.start_digest()
            self._recorder = ReceiptRecorder(
                report_path=settings.report_path,
                info=settings,
                client=self.client,
                run_uuid=run_uuid,
                counts=self.intake.counts,
                rejects=lambda: self.rejects.in_receipt() if self.rejects else [],
                state=lambda: self.intake.final_state.value,
                input_sha256=digest.hexdigest,
                input_lines=lambda: self.reader.line,
                final_state_required=lambda: self.final_state_required,
                stream_maps=self.stream_maps,
                interrupted=self._signals.check,
            )
        last_applied = self._recorder.file.last_applied if self._recorder else None
        holds = settings.finish is Finish.HOLD
        self._expectations = Expectations(settings.expect, last_applied, holds=holds)
        run_options = RunOptions(
            run_uuid=run_uuid,
            rejects=self.rejects,
            known_field=self.streams.fields.find,
            observer=self._recorder,
            finish=settings.finish,
            reference_prefix=settings.client_reference_prefix,
            page_size=settings.page_size,
            max_parallel_pages=settings.max_parallel_pages,
            compress=settings.compress,
            timeouts=settings.timeouts,
            on_conflict=settings.on_conflict,
            on_count_mismatch=settings.on_count_mismatch,
            expected=self._expectations.minimums(),
            interrupted=self._signals.check,
        )
        return Run(self.client, run_options)

    # Messages

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Begin. Then a failure ends the run, and so does a signal, on another thread if necessary."""
        try:
            with self._signals.ended_by(self._end_and_report):
                if self._recorder is not None:
                    self._recorder.begin()
                if self._progress is not None:
                    self._progress.begin()
                yield
        except BaseException as failure:  # noqa: BLE001 - a run ends in one place, whatever ended it
            raise self._run_end.because_of(failure) from None

    def _process_schema_message(self, message_dict: dict[str, Any]) -> None:
        """Register a stream, or its new schema: earlier records keep their place."""
        stream = message_dict["stream"]
        self.intake.final_state.add_schema(stream, bytes(message_dict.get("bookmark_properties", b"")))
        self.streams.register(stream, bytes(message_dict["schema"]), message_dict.get("key_properties"))
        for replaced in self._sinks_to_clear:
            replaced.clean_up()
        self._sinks_to_clear.clear()

    def _process_record_message(self, message_dict: dict[str, Any]) -> None:
        stream = self.streams[message_dict["stream"]]
        if self._recorder is not None:
            self._recorder.extracted(stream.name, message_dict["time_extracted"])
        stream.deliver(bytes(message_dict["record"]))

    def _reject_line(self, line: bytes, problem: InvalidRecord) -> None:
        """Reject a line that is a RECORD message except for a number that JSON cannot represent."""
        message = parse_message(without_nan(line))
        if message["type"] != "RECORD" or message["stream"] not in self.streams:
            raise problem
        self.streams[message["stream"]].reject_line(line, bytes(message["record"]), problem)

    def _process_state_message(self, message_dict: dict[str, Any]) -> None:
        """Hold the STATE: it is written once everything before it is processed, at the end of the run."""
        self.intake.final_state.add_state(bytes(message_dict["value"]))

    def _process_activate_version_message(self, message_dict: dict[str, Any]) -> None:
        """Accept it, log it once, do nothing: Sprinto's documentation does not mention table versions."""
        self.intake.final_state.add_version(message_dict["stream"])
        if not self._logged_activate_version:
            log.info("ACTIVATE_VERSION messages change nothing at Sprinto; they are accepted.")
            self._logged_activate_version = True

    def _process_batch_message(self, message_dict: dict[str, Any]) -> None:
        """Read the records of a batch's files as if they were in the input, one by one."""
        stream = self.streams[message_dict["stream"]]
        for file in read_batch(message_dict, self._config_identities):
            try:
                for line in file.records(self.raise_if_interrupted):
                    stream.deliver(line, str(file))
            except InputError as problem:
                problem.batch_place = str(file)
                raise

    # The end

    def process_endofpipe(self) -> None:
        """Finish the run, then write the last STATE. Raises a SprintoError if that is not possible."""
        try:
            # A signal at the end of input is a better explanation than a missing STATE.
            self.raise_if_interrupted()
            if self.final_state_required:
                self.intake.final_state.require_complete()
            self.streams.require_named(complete=self.reader.from_tap)
            self._expectations.require_no_loss()
            self._expectations.require_unique_fields(self.streams.fields_of)
            result = self.run.finish()
        except BaseException as failure:  # noqa: BLE001 - a run ends in one place, whatever ended it
            raise self._run_end.because_of(failure) from None
        self._run_end.finish(result, self.intake.final_state.value)

    @property
    def final_state_required(self) -> bool:
        """Whether the input must end with a STATE that covers its records."""
        return self.reader.from_tap and self.settings.require_final_state

    def raise_if_interrupted(self) -> None:
        """Raise if the run was interrupted, or a page in flight has failed."""
        self.run.check()

    def _end_and_report(self, interrupted: Interrupted) -> None:
        failure: SprintoError = interrupted
        try:
            self._run_end.because_of(interrupted)
        except Exception as bug:  # noqa: BLE001 - the process exits next: reported in one line, as anywhere
            failure = explained(bug)
        log_failure(self.logger, failure)
