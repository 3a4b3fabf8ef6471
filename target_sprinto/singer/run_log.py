"""What a run logs about how it ended."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, cast

from singer_sdk import metrics

from target_sprinto.errors import StateNotWritten, WouldBeRefused
from target_sprinto.push.protocol.lifecycle import Finish
from target_sprinto.push.protocol.times import iso, with_time_left
from target_sprinto.push.text import format_counts, pluralize, suggested
from target_sprinto.receipts.recorder import Ending
from target_sprinto.singer.problems import grouped
from target_sprinto.singer.response_file import ResponseFile, responses_about
from target_sprinto.singer.state_output import write_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from singer_sdk import Sink

    from target_sprinto.push.client import ApiClient
    from target_sprinto.push.run.result import RunResult
    from target_sprinto.push.transport.background import Check
    from target_sprinto.receipts.document import Outcome
    from target_sprinto.receipts.recorder import ReceiptRecorder
    from target_sprinto.singer.intake import Intake
    from target_sprinto.singer.progress import Progress
    from target_sprinto.singer.rejects import Rejected, RejectedRecords
    from target_sprinto.singer.sink import SprintoSink

log = logging.getLogger(__name__)


class RunLog:
    """Logs a run's end, and lets its STATE out. `report` is its receipt, `progress` its live figures."""

    def __init__(  # noqa: PLR0913 - what there is to log
        self,
        *,
        client: ApiClient,
        intake: Intake,
        rejects: RejectedRecords | None,
        responses: ResponseFile,
        report: ReceiptRecorder | None,
        progress: Progress | None,
    ) -> None:
        self._client = client
        self._intake = intake
        self._rejects = rejects
        self._responses = responses
        self._report = report
        self._progress = progress

    def metrics(self, sinks: Iterable[Sink]) -> None:
        """Log the SDK's metrics: records by stream, requests and how long they took in all."""
        if self._progress is not None:
            self._progress.end()
        for sink in sinks:
            cast("SprintoSink", sink).finish_count()
        count, seconds = self._client.requests, self._client.request_seconds
        logger, tags = metrics.get_metrics_logger(), {metrics.Tag.PID.value: os.getpid()}
        metrics.log(logger, metrics.Point("counter", metrics.Metric.HTTP_REQUEST_COUNT, count, tags))
        metrics.log(logger, metrics.Point("timer", metrics.Metric.HTTP_REQUEST_DURATION, seconds, tags))

    def finish(self, finish: Finish, summary: RunResult, state: bytes | None, interrupted: Check) -> Ending:
        """Log how a run went that did not fail, and write the STATE to stdout where it may go."""
        if finish is Finish.DISCARD:
            refused = self._dry_run(summary)
            code, kept = refused.exit_code if refused else 0, self._responses.written
            return Ending("rehearsed", code, refused, response_kept=kept)
        self._log_rejects()
        if summary.session_id is None:
            log.info("No records: no session was opened.")
        elif finish is Finish.HOLD:
            self._held(summary)
            return Ending("held")
        else:
            log.info("Sprinto has processed session %s: %s.", summary.session_id, self._amounts(summary))
        outcome: Outcome = "applied" if summary.session_id else "nothing-to-send"
        if state is None:
            return Ending(outcome)
        try:
            write_state(state, interrupted)
        except StateNotWritten as failure:
            return Ending(outcome, failure.exit_code, failure, "stderr")
        log.info("STATE was written to stdout.")
        return Ending(outcome, state_went_to="stdout")

    def would_be_refused(self) -> list[Rejected]:
        """Log what a dry run has rejected, by entity type, field and rule; returns all of it."""
        rejected = self._rejects.rejected if self._rejects else []
        for group in grouped(rejected):
            log.warning("Would be refused: %s", group)
        return rejected

    def _held(self, summary: RunResult) -> None:
        receipt = str(self._report.path) if self._report else ""
        session, config = str(summary.session_id), self._client.config_files
        log.info(
            "Session %s is held: %s. It expires %s. To apply it: %s. To discard it: %s.",
            session,
            self._amounts(summary),
            with_time_left(iso(summary.expires_at), self._client.server_time()),
            suggested("sprintoctl", "apply", session, "--receipt", receipt, config=config),
            suggested("sprintoctl", "discard", session, config=config),
        )

    def _dry_run(self, summary: RunResult) -> WouldBeRefused | None:
        """Log what a dry run has shown; what to raise, if records were rejected."""
        discarded = f" Session {summary.session_id} was discarded." if summary.session_id else ""
        log.info("Dry run: Sprinto accepted %s.%s", self._amounts(summary), discarded)
        self._log_skipped()
        if refused := self.would_be_refused():
            them = "it at its source" if len(refused) == 1 else "them at their source"
            return WouldBeRefused(
                f"{pluralize(len(refused), 'record')} would be refused, as listed above."
                f" {self._responses.keep(responses_about(refused))}",
                f"Fix {them} or with a stream map; or set `on_invalid_record` to `divert`.",
            )
        return None

    def _amounts(self, summary: RunResult) -> str:
        pages = pluralize(summary.pages, "page")
        took = self._progress.summary() if self._progress is not None else ""
        return f"{format_counts(summary.records)}, in {pages}, {took}"

    def _log_rejects(self) -> None:
        self._log_skipped()
        if self._rejects is None:
            return
        try:
            told = self._rejects.finish()
        except (MemoryError, OSError) as problem:
            # The run is applied: nothing that happens to the file may hide that.
            told = f"The rejects file could not be finished ({type(problem).__name__})."
        if told:
            log.warning("%s", told)

    def _log_skipped(self) -> None:
        if self._intake.skipped:
            log.warning(
                "Skipped %s marked as deleted (`on_deleted_record` is `skip`).",
                pluralize(self._intake.skipped, "record"),
            )
