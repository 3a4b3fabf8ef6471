"""Ends a run: logs the outcome, completes the receipt, and decides where the STATE goes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from singer_sdk import Sink, metrics

from target_sprinto.console import log_fields
from target_sprinto.errors import (
    InputError,
    NothingAccepted,
    StateNotWritten,
    TooManyRejects,
    WouldBeRefused,
    explained,
)
from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.errors import Interrupted, NotDiscarded, SprintoError, TooFewRecords
from target_sprinto.push.protocol.lifecycle import Finish
from target_sprinto.push.protocol.timestamps import iso, with_time_left
from target_sprinto.push.run.result import RunOutcome, RunResult
from target_sprinto.push.run.run import note
from target_sprinto.push.text import format_counts, pluralize, suggested
from target_sprinto.push.transport.background import Deadline, grace_period
from target_sprinto.receipts.document import ReceiptOutcome
from target_sprinto.receipts.recorder import ReceiptRecorder, RecordedOutcome
from target_sprinto.signals import Signals
from target_sprinto.singer.error_hints import advise, how_to_discard, name_blocker
from target_sprinto.singer.intake import Intake
from target_sprinto.singer.progress import Progress
from target_sprinto.singer.rejects.problem_groups import grouped
from target_sprinto.singer.rejects.rejected_records import Rejected
from target_sprinto.singer.rejects.response_file import ResponseFile
from target_sprinto.singer.settings.settings import OnInvalidRecord
from target_sprinto.singer.sink import SprintoSink
from target_sprinto.singer.state.output import write_state

log = logging.getLogger(__name__)

_LAST_LINE_SECONDS = 0.7
"""For what is still to be written to stderr when a failed run has taken all of its time to end."""

_AFTER_DRY_RUN = (TooManyRejects, TooFewRecords, NothingAccepted, NotDiscarded)
"""Errors after which a dry run still lists the records that would be rejected."""


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """Ends a run. `recorder` writes its receipt, `progress` shows its live figures; `sinks` are by stream.

    `config_files` are named in the commands that messages suggest.
    """

    client: ApiClient
    intake: Intake
    responses: ResponseFile
    recorder: ReceiptRecorder | None
    progress: Progress | None
    signals: Signals
    sinks: Mapping[str, Sink]
    config_files: tuple[str, ...]

    def finish(self, result: RunResult, state: bytes | None) -> None:
        """End a run that did not fail: log it, write its STATE, and complete its receipt.

        Raises StateNotWritten, and WouldBeRefused for a dry run with rejected records.
        """
        self._log_metrics()
        recorded = self._finished(result, state)
        self._close(recorded, self.client.timings.signal_shutdown_timeout)
        if recorded.failure is not None:
            recorded.failure.result = result
            raise recorded.failure

    def because_of(self, failure: BaseException) -> BaseException:
        """End a run that failed or was interrupted; return what to raise."""
        stopped = isinstance(failure, Interrupted) or not isinstance(failure, Exception)
        timings = self.client.timings
        seconds = self._seconds_left(0.5) if stopped else timings.shutdown_timeout
        deadline = Deadline(seconds, self.signals.check, timings.signal_shutdown_timeout)
        self.signals.must_exit_in(timings.shutdown_timeout + _LAST_LINE_SECONDS)
        try:
            result = self.intake.run.abort(deadline)
        except BaseException:
            self.client.close()
            raise
        self._log_metrics()
        # The error may already describe the session's outcome.
        own = failure.session_outcome if isinstance(failure, SprintoError) else ""
        described = own or result.session_outcome
        left_open = result.left_open if described == result.session_outcome else None
        command = how_to_discard(left_open, self.config_files)
        sentences = (described, command, self._left_behind(failure, result))
        session_outcome = " ".join(filter(None, sentences))
        error = explained(failure) if isinstance(failure, Exception) else None
        if isinstance(error, InputError) and error.line is None:
            error.line = self.intake.reader.line
        if error is not None:
            error.session_outcome, error.result = session_outcome, result
            advise(error)
            name_blocker(error, self.config_files)
        elif session_outcome:
            log.error("%s", session_outcome)
        outcome: ReceiptOutcome = "interrupted" if stopped else "failed"
        exit_code = error.exit_code if error is not None else None
        if self.signals.first is not None:
            exit_code = 128 + self.signals.first
        recorded = RecordedOutcome(outcome, exit_code, error, response_kept=self.responses.written)
        # The remaining time counts from the signal.
        left = min(deadline.remaining(), self._seconds_left(0.0)) if stopped else deadline.remaining()
        self._close(recorded, left)
        if failure is self.intake.reader.failure_of_source:
            # A program's own error, raised by the lines that it passed to `listen`.
            note(failure, session_outcome)
            return failure
        return failure if error is None else error

    def _close(self, recorded: RecordedOutcome, seconds: float) -> None:
        if self.recorder is not None:
            self.recorder.end(recorded, Deadline(seconds))
        self.client.close()

    def _left_behind(self, failure: BaseException, result: RunResult) -> str:
        """Sentences on the files that a failed run leaves."""
        sentences: list[str] = []
        rejected: list[Rejected] = []
        in_doubt = result.outcome is RunOutcome.IN_DOUBT
        if result.outcome is RunOutcome.APPLIED or (in_doubt and result.expires_at is None):
            # The rejects may be all that Sprinto lacks of the run, unless the session is left to expire.
            self._log_rejects()
        elif self.intake.rejects is not None:
            sentences.append(self.intake.rejects.finish_unapplied())
        if self.intake.settings.finish is Finish.DISCARD and isinstance(failure, _AFTER_DRY_RUN):
            rejected = self._would_be_rejected()
        if rejected:
            incomplete = "; the list is not complete" if isinstance(failure, TooManyRejects) else ""
            sentences.append(f"The records listed above would be rejected{incomplete}.")
            if isinstance(failure, NotDiscarded):
                # A later run would not change that.
                failure.temporary = False
                failure.advise("Fix them at the source or with a stream map.")
        sentences.append(self.responses.keep(failure, rejected))
        return " ".join(filter(None, sentences))

    def _seconds_left(self, min_share: float) -> float:
        """The time to exit counts from the signal, which may be noticed late; `min_share` of it is kept."""
        seconds = self.client.timings.signal_shutdown_timeout
        return max(seconds * min_share, seconds - self.signals.seconds_since_first())

    def _log_metrics(self) -> None:
        """Log the SDK's metrics: records by stream, requests and their total duration."""
        if self.progress is not None:
            self.progress.end()
        # A copy: another thread may end the run while the reading thread still adds sinks.
        for sink in list(self.sinks.values()):
            cast("SprintoSink", sink).finish_count()
        count, seconds = self.client.requests, self.client.request_seconds
        logger, tags = metrics.get_metrics_logger(), {metrics.Tag.PID.value: os.getpid()}
        metrics.log(logger, metrics.Point("counter", metrics.Metric.HTTP_REQUEST_COUNT, count, tags))
        metrics.log(logger, metrics.Point("timer", metrics.Metric.HTTP_REQUEST_DURATION, seconds, tags))

    def _finished(self, result: RunResult, state: bytes | None) -> RecordedOutcome:
        """Log the outcome of a run that did not fail; write its STATE to stdout, if it may be written."""
        if self.intake.settings.finish is Finish.DISCARD:
            rejected = self._dry_run(result)
            code, kept = rejected.exit_code if rejected else 0, self.responses.written
            return RecordedOutcome("dry-run", code, rejected, response_kept=kept)
        self._log_rejects()
        # Only the last line has them: the run may still fail to write its STATE.
        fields = log_fields(result) if state is None else None
        if result.session_id is None:
            if not self.intake.reader.line:
                log.warning("The input is empty: no message arrived. Check the tap, and what pipes it in.")
            if records := self.intake.records:
                counts = self.intake.counts
                unsent = counts.records.keys() - counts.filtered.keys() - counts.skipped.keys()
                log.warning(
                    "None of %s is sent: stream maps left out %d, %d were skipped as deleted, and %d came"
                    " from streams that are not sent.",
                    pluralize(records, "record"),
                    counts.filtered.total(),
                    counts.skipped.total(),
                    sum(counts.records[name] for name in unsent),
                )
            log.info("No records to send: no session was opened.", extra=fields)
        elif self.intake.settings.finish is Finish.HOLD:
            self._held(result)
            return RecordedOutcome("held")
        else:
            log.info(
                "Sprinto has processed session %s: %s.",
                result.session_id,
                self._amounts(result),
                extra=fields,
            )
        outcome: ReceiptOutcome = "applied" if result.session_id else "nothing-to-send"
        if state is None:
            return RecordedOutcome(outcome)
        try:
            write_state(state, grace_period(self.signals.check, self.client.timings.signal_shutdown_timeout))
        except StateNotWritten as failure:
            return RecordedOutcome(outcome, failure.exit_code, failure, "stderr")
        log.info("STATE was written to stdout.", extra=log_fields(result))
        return RecordedOutcome(outcome, state_went_to="stdout")

    def _would_be_rejected(self) -> list[Rejected]:
        """Log the rejects of a dry run by entity type, field and rule; return all of them."""
        rejected = self.intake.rejects.rejected if self.intake.rejects else []
        for group in grouped(rejected):
            log.warning("Would be rejected: %s", group)
        return rejected

    def _held(self, result: RunResult) -> None:
        receipt = str(self.recorder.file.path) if self.recorder else ""
        session, config = str(result.session_id), self.config_files
        log.info(
            "Session %s is held: %s. It expires %s. To apply it: %s. To discard it: %s.",
            session,
            self._amounts(result),
            with_time_left(iso(result.expires_at), self.client.known_server_time()),
            suggested("sprintoctl", "apply", session, "--receipt", receipt, config=config),
            suggested("sprintoctl", "discard", session, config=config),
            extra=log_fields(result),
        )

    def _dry_run(self, result: RunResult) -> WouldBeRefused | None:
        """Log the result of a dry run; return the error to raise if records were rejected."""
        discarded = f" Session {result.session_id} was discarded." if result.session_id else ""
        amounts = self._amounts(result)
        self._log_skipped()
        rejected = self._would_be_rejected()
        fields = None if rejected else log_fields(result)
        log.info("Dry run: Sprinto accepted %s.%s", amounts, discarded, extra=fields)
        if rejected:
            them = "it at its source" if len(rejected) == 1 else "them at their source"
            fails = self.intake.settings.on_invalid_record is OnInvalidRecord.FAIL
            divert = "; or set `on_invalid_record` to `divert`" if fails else ""
            return WouldBeRefused(
                f"{pluralize(len(rejected), 'record')} would be rejected: the log's warnings say why."
                f" {self.responses.keep(None, rejected)}",
                f"Fix {them} or with a stream map{divert}.",
            )
        return None

    def _amounts(self, result: RunResult) -> str:
        pages = pluralize(result.pages, "page")
        took = self.progress.summary() if self.progress is not None else ""
        return f"{format_counts(result.records)}, in {pages}, {took}"

    def _log_rejects(self) -> None:
        self._log_skipped()
        if self.intake.rejects is None:
            return
        try:
            message = self.intake.rejects.finish(held=self.intake.settings.finish is Finish.HOLD)
        except (MemoryError, OSError) as problem:
            # The run is applied: no failure of the file may hide that.
            message = f"The rejects file could not be finished ({type(problem).__name__})."
        if message:
            log.warning("%s", message)

    def _log_skipped(self) -> None:
        if skipped := self.intake.counts.skipped.total():
            log.warning(
                "Skipped %s marked as deleted (`on_deleted_record` is `skip`).", pluralize(skipped, "record")
            )
