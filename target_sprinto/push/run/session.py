"""The one session of a run: opened by its first page, kept alive, closed or discarded.

The run's phase follows the table in `protocol/lifecycle.py`. Calls are made on other threads, so that every
wait here can be cut short: `interrupted` is called while waiting and raises to end the run.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from target_sprinto.push import errors
from target_sprinto.push.api_calls import ApiClient, RetryPolicy
from target_sprinto.push.protocol.lifecycle import (
    Finish,
    Phase,
    keep_alive_interval,
    nothing_was_applied,
    session_ended,
)
from target_sprinto.push.protocol.pages import Page, PageBuilder
from target_sprinto.push.protocol.responses import SessionStatus
from target_sprinto.push.protocol.timestamps import iso, parse_time, with_time_left
from target_sprinto.push.run.closing import Closing
from target_sprinto.push.run.discarding import DiscardResult, discard_session
from target_sprinto.push.run.opening import SESSION_EXPIRES_AFTER, SessionOpener
from target_sprinto.push.run.processing import wait_for_other_sessions, wait_until_processed
from target_sprinto.push.run.result import RunOutcome, RunResult
from target_sprinto.push.run.run_options import RunOptions
from target_sprinto.push.run.run_phase import RunPhase, ended_elsewhere
from target_sprinto.push.run.send_queue import RunProgress, SendQueue
from target_sprinto.push.run.sender import PageSender
from target_sprinto.push.run.staged_pages import StagedPages
from target_sprinto.push.run.staged_session import processing_limits_retries
from target_sprinto.push.transport.background import Deadline

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _OpenSession:
    """The parts that exist only while a session is open."""

    session: SessionStatus
    staged: StagedPages
    queue: SendQueue


class RunSession:
    """At most one session. A partly filled page of `builder` may be sent to keep the session alive."""

    def __init__(self, client: ApiClient, builder: PageBuilder, options: RunOptions) -> None:
        self._retry_policy = RetryPolicy(options.timeouts.request, options.timeouts.retry)
        self.run_phase = RunPhase(self._retry_policy.cancelled)
        self.result: RunResult | None = None
        self._client = client
        self._builder = builder
        self._options = options
        self._opening: SessionOpener
        self._open: _OpenSession | None = None

    @property
    def phase(self) -> Phase:
        """How far the run has come."""
        return self.run_phase.current

    @property
    def open_id(self) -> str | None:
        """The id of the session that may stay open if the process is killed now."""
        return self._open.session.id if self._open and self.phase is not Phase.ENDED else None

    def progress(self) -> RunProgress:
        """The run's progress; callable from any thread."""
        return self._open.queue.progress() if self._open is not None else RunProgress()

    # Pages

    def put(self, page: Page) -> None:
        """Enqueue a page, waiting while the queue is full. The first page opens the session."""
        self._options.observer.on_page_built(page)
        (self._open or self._open_session()).queue.put(page, lambda: self.check(with_a_page=False))

    def check(self, *, with_a_page: bool = True) -> None:
        """Raise if the run was interrupted, or a page in flight has failed; keep the session alive."""
        self._interrupted()
        if self._open is not None:
            if with_a_page:
                self._open.queue.raise_failure()
            if self._open.staged.is_silent:
                self._keep_alive(self._open, with_a_page=with_a_page)

    def _open_session(self) -> _OpenSession:
        options = self._options
        self._opening = SessionOpener(
            self._client, options.reference, self._retry_policy, options.on_conflict
        )
        self._move(Phase.OPENING)
        with self.run_phase.unless_aborted():
            session = self._opening.wait(self._interrupted)
        opened = self._opened(session)
        if session.state != "active":
            raise session_ended(session, "accepts no more pages")
        log.info(
            "Session %s is open (reference %s); it expires %s.",
            session.id,
            options.reference,
            with_time_left(session.expiry, self._client.known_server_time()),
        )
        return opened

    def _opened(self, session: SessionStatus) -> _OpenSession:
        options = self._options
        staged = StagedPages(
            self._client,
            session.id,
            Counter(),
            self._retry_policy,
            self._interrupted,
            options.on_count_mismatch,
            keep_alive_interval(session, self._client.timings.keep_alive),
            retire_sizes=self._builder.retire_sizes,
        )
        queue = SendQueue(PageSender(staged, options), options.max_parallel_pages)
        opened = _OpenSession(session, staged, queue)
        with self.run_phase.lock:
            self.run_phase.move(Phase.OPEN)
            self._open = opened
        options.observer.on_phase(Phase.OPEN)
        options.observer.on_session(session)
        return opened

    def _keep_alive(self, opened: _OpenSession, *, with_a_page: bool) -> None:
        """Keep the session from expiring while nothing is sent: send the current page, or read the status."""
        if with_a_page and opened.queue.is_idle and (page := self._builder.flush()):
            self.put(page)
        else:
            all_accepted = opened.queue.is_idle and not self._builder.holds_records
            opened.staged.read_expiry(all_accepted=all_accepted)

    # The end

    def finish(self) -> RunResult:
        """Wait until all pages are accepted, reconcile, and apply, hold or discard as the options say."""
        self._options.interrupted()
        if self._open is None:
            self._options.require_expected({})
            return self._end(RunOutcome.NOTHING_SENT)
        opened, staged = self._open, self._open.staged
        opened.queue.drain(lambda: self.check(with_a_page=False))
        opened.queue.close()
        if staged.settled != self._builder.added:
            raise AssertionError(f"{self._builder.added} records came in, {staged.settled} were settled")
        self._options.require_expected(staged.sent)
        staged.retry_policy = replace(self._retry_policy, retry_seconds=self._options.timeouts.processing)
        with processing_limits_retries():
            with self.run_phase.unless_aborted():
                if self._options.finish is Finish.APPLY:
                    wait_for_other_sessions(staged)
                status = staged.reconcile()
            if self._options.finish is Finish.DISCARD:
                return self._discard_dry_run(opened)
            if self._options.finish is Finish.HOLD:
                if status.state != "active":
                    raise session_ended(status, "can no longer be closed")
                self._interrupted()
                self._options.observer.before_hold()
                return self._end(RunOutcome.HELD, self._expires_at(status), only_from=Phase.OPEN)
            response = Closing(staged, self._move).apply()
            try:
                wait_until_processed(staged, response)
            except errors.CountMismatch:
                self._end(RunOutcome.APPLIED)
                raise
            return self._end(RunOutcome.APPLIED)

    def _discard_dry_run(self, opened: _OpenSession) -> RunResult:
        self._move(Phase.DISCARDING)
        found = discard_session(self._client, opened.session.id, opened.session.expiry, self.deadline())
        result = self._end_discarded(found, opened.session)
        if not found.is_discarded:
            raise errors.NotDiscarded(found.sentence, "Everything else succeeded.", temporary=found.temporary)
        return result

    def abort(self, deadline: Deadline) -> RunResult:
        """End the run without applying it; see `Run.abort`."""
        self.run_phase.abort()
        if self.phase is Phase.OPENING:
            self._resolve_opening(deadline)
        if self.phase is Phase.ENDED and self.result is not None:
            return self.result
        if self._open is None:
            return self._end(*self._without_session())
        session = self._open.session
        self._open.queue.close()
        if self.phase is Phase.APPLYING:
            sentence = f"Session {session.id} was sent an apply request, and may still be applied."
            # Raised if the thread that sent it has just noted that it was not performed.
            with suppress(errors.RunEnded):
                return self._end(RunOutcome.IN_DOUBT, None, sentence, only_from=Phase.APPLYING)
        self._move(Phase.DISCARDING)
        found = discard_session(self._client, session.id, session.expiry, deadline)
        return self._end_discarded(found, session, found.sentence)

    def give_up(self) -> str:
        """Note that the run was interrupted while ending; return a sentence about its session."""
        if self.result is None:
            outcome, until, sentence = self._without_session()
            if self._open is not None:
                session = self._open.session
                outcome, until = RunOutcome.IN_DOUBT, self._expires_at(session)
                sentence = f"Session {session.id} may still be open, until {iso(until)} at most."
            self.result = self._result(outcome, until, sentence)
        return self.result.session_outcome

    def _without_session(self) -> tuple[RunOutcome, datetime | None, str]:
        """The outcome of a run that has opened no session, as far as it knows."""
        if self.phase is not Phase.OPENING:
            return RunOutcome.NOTHING_SENT, None, "No session was opened."
        until = self._expires_at(None)
        return RunOutcome.IN_DOUBT, until, self._opening.describe_unknown(until)

    def _end_discarded(self, found: DiscardResult, session: SessionStatus, sentence: str = "") -> RunResult:
        if found.state is None:
            return self._end(RunOutcome.IN_DOUBT, self._expires_at(session), sentence)
        outcome = RunOutcome.DISCARDED if nothing_was_applied(found.state) else RunOutcome.IN_DOUBT
        return self._end(outcome, None, sentence)

    def _expires_at(self, status: SessionStatus | None) -> datetime:
        """When a session that may be open expires; estimated if Sprinto gave no time."""
        found = parse_time(status.expires_at) if status is not None else None
        return found or self._client.server_time() + SESSION_EXPIRES_AFTER

    def deadline(self, *, stopped: bool = False) -> Deadline:
        """The deadline for a run that ends after an error, or sooner if it was `stopped`."""
        timings = self._client.timings
        seconds = timings.signal_shutdown_timeout if stopped else timings.shutdown_timeout
        return Deadline(seconds, self._options.interrupted, timings.signal_shutdown_timeout)

    def _resolve_opening(self, deadline: Deadline) -> None:
        """Check whether there is a session. If that remains unknown, the phase does not change."""
        # Raised if the thread that waits for the response has noted the same meanwhile.
        with suppress(errors.RunEnded):
            try:
                session = self._opening.resolve(deadline)
            except errors.ApiError:
                self._move(Phase.UNOPENED)
            except Exception:  # noqa: BLE001 - reported as unknown: `abort` must report an outcome
                log.warning("Could not determine whether the session was opened.")
            else:
                if session is not None:
                    self._opened(session)

    def _interrupted(self) -> None:
        """Raise if the run was interrupted, or if another thread has called `abort`."""
        self._options.interrupted()
        self.run_phase.require_not_aborted()

    def _end(
        self,
        outcome: RunOutcome,
        expires_at: datetime | None = None,
        sentence: str = "",
        only_from: Phase | None = None,
    ) -> RunResult:
        with self.run_phase.lock:
            was_ended = self.phase is Phase.ENDED
            # `abort` may come after the close, before the session is known to be applied.
            if (was_ended and outcome is not RunOutcome.APPLIED) or only_from not in {None, self.phase}:
                raise ended_elsewhere()
            result = self.result = self._result(outcome, expires_at, sentence)
            if not was_ended:
                self.run_phase.move(Phase.ENDED)
        if not was_ended:
            self._options.observer.on_phase(Phase.ENDED)
        return result

    def _result(self, outcome: RunOutcome, expires_at: datetime | None, sentence: str) -> RunResult:
        if self._open is None:
            return RunResult(outcome, None, {}, 0, expires_at, sentence)
        staged = self._open.staged
        return RunResult(outcome, staged.id, dict(staged.sent), staged.pages, expires_at, sentence)

    def _move(self, phase: Phase) -> None:
        self.run_phase.move(phase)
        self._options.observer.on_phase(phase)
