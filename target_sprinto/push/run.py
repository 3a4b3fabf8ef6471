"""The one session of a run: opened by the first page, filled, reconciled, and applied or discarded.

    run = Run(client, reference_prefix="target-sprinto")
    try:
        run.add("User", b'{"employeeId": "E-1"}')
        run.finish()
    except BaseException:
        run.abort()
        raise

All of a run is applied or none of it. Calls go out on threads of their own, so that every wait here can be
cut short: `interrupted` is asked on each tick and raises to end the run.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec

from target_sprinto.push import errors
from target_sprinto.push.answers import SessionStatus
from target_sprinto.push.client import Patience, SprintoClient
from target_sprinto.push.discarding import brief, discard_session
from target_sprinto.push.errors import ApiError, Certainty, SprintoError
from target_sprinto.push.lifecycle import (
    AfterRefusal,
    Comparison,
    Event,
    Phase,
    Processing,
    ProcessingWatch,
    after_refusal,
    compare_counts,
    describe_end,
    next_phase,
)
from target_sprinto.push.pages import Page, PageBuilder
from target_sprinto.push.refusals import describe_refusal
from target_sprinto.push.sending import Lane
from target_sprinto.push.waiting import Check, LastWords, in_background, pause, pauses, wait_for, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger("target_sprinto.push")

_T = TypeVar("_T")

SESSION_EXPIRES_AFTER = timedelta(minutes=60)
"""Default time after its last request (Sprinto: Session Management)."""

COUNTS_MAY_LAG_SECONDS = 30.0
"""How long counts may stay below what was sent before they are taken for final."""

END_AFTER_ERROR_SECONDS = 30.0
END_AFTER_SIGNAL_SECONDS = 10.0
"""How long the end of a failed run may take (contract, rule 5)."""

_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Patiences:
    """The three timeouts, in seconds: one request, all tries of it, and Sprinto's processing."""

    request_seconds: float = 60.0
    retry_seconds: float = 300.0
    processing_seconds: float = 900.0


@dataclass(frozen=True)
class RunSummary:
    """What a finished run did. `session_id` is None where no session was needed."""

    session_id: str | None
    records: dict[str, int]
    pages: int


class Run:
    """One run: at most one session, all of it applied or none."""

    def __init__(  # noqa: PLR0913 - the settings of a run, each with its default
        self,
        client: SprintoClient,
        *,
        reference_prefix: str = "target-sprinto",
        page_size: int = 100,
        compress: bool = True,
        patiences: Patiences = Patiences(),
        interrupted: Check = lambda: None,
    ) -> None:
        self.uuid = str(uuid.uuid4())
        self._reference = f"{reference_prefix}/{self.uuid}"
        self._client = client
        self._builder = PageBuilder(max_items=page_size)
        self._compress = compress
        self._compression_proven = False
        self._patiences = patiences
        self._stopped = threading.Event()
        self._patience = Patience(patiences.request_seconds, patiences.retry_seconds, self._stopped)
        self._interrupted = interrupted
        self._phase = Phase.UNOPENED
        self._creation: Future[SessionStatus] = Future()
        self._creation_began = datetime.now(timezone.utc)
        self._session: SessionStatus | None = None
        self._lane: Lane | None = None
        self._accepted: Counter[str] = Counter()
        self._pages = 0

    # What a run is told

    def add(self, entity_type: str, body: bytes, origin: object = None) -> None:
        """Take one record's JSON bytes; sends a page when one is complete.

        Raises what ended the run: a refused page that was sent earlier, an interruption, …
        """
        if self._phase not in {Phase.UNOPENED, Phase.OPEN}:
            raise errors.RunEnded("This run has already ended.", "Start a new one.")
        if page := self._builder.add(entity_type, body, origin):
            self._put(page)

    def check(self) -> None:
        """Raise if the run was interrupted, or a page in flight has failed: for whoever waits for input."""
        self._interrupted()
        if self._lane is not None:
            self._lane.raise_failure()

    def finish(self) -> RunSummary:
        """At the end of input: send the rest, reconcile, apply, and return once Sprinto has processed it.

        Raises a SprintoError in every other case; call `abort` then.
        """
        if self._phase not in {Phase.UNOPENED, Phase.OPEN}:
            raise errors.RunEnded("This run has already ended.", "Start a new one.")
        if page := self._builder.flush():
            self._put(page)
        if self._lane is None:
            self._interrupted()
            self._move(Event.SETTLED)
            return RunSummary(None, {}, 0)
        self._lane.drain(self._interrupted)
        self._lane.close()
        self._reconcile()
        self._wait_for_other_sessions()
        last_words = LastWords(self._interrupted, END_AFTER_SIGNAL_SECONDS)
        self._interrupted()
        self._apply(last_words)
        self._wait_until_processed(last_words)
        self._move(Event.SETTLED)
        return RunSummary(self._session_id, dict(self._accepted), self._pages)

    def abort(self, limit_seconds: float = END_AFTER_ERROR_SECONDS) -> str:
        """End the run without applying it, and say in a sentence what became of its session.

        Never raises for what goes wrong meanwhile: that is in the sentence. Where `close(apply)` may have
        reached Sprinto, nothing is discarded.
        """
        self._stopped.set()
        if self._lane is not None:
            self._lane.close()
        deadline = time.monotonic() + limit_seconds
        if self._phase is Phase.OPENING:
            self._settle_creation(deadline)
        if self._phase is Phase.OPENING:
            self._move(Event.SETTLED)
            return (
                f"A session of this run may be open until {self._latest_expiry()}: reference"
                f" {self._reference!r}. Until then another run is answered with a conflict."
            )
        if self._phase is Phase.APPLYING:
            self._move(Event.SETTLED)
            return f"Session {self._session_id} was told to apply, and may yet be applied."
        if self._phase is Phase.UNOPENED:
            self._move(Event.ABORTED)
        if self._phase is Phase.ENDED:
            return "Nothing was opened at Sprinto." if self._session is None else ""
        self._move(Event.ABORTED)
        result = discard_session(self._client, self._session_id, self._expiry, deadline)
        self._move(Event.SETTLED)
        return result.sentence

    # Opening

    def _put(self, page: Page) -> None:
        if self._lane is None:
            self._open()
            self._lane = Lane(self._send)
        self._lane.put(page, self._interrupted)

    def _open(self) -> None:
        self._move(Event.FIRST_PAGE)
        self._creation_began = datetime.now(timezone.utc)
        self._creation = in_background(lambda: self._client.create_session(self._reference, self._patience))
        try:
            self._opened(wait_for(self._creation, self._interrupted))
        except errors.Conflict as conflict:
            self._move(Event.CREATE_DID_NOT_HAPPEN)
            raise errors.SessionConflict(
                f"Another session is active ({self._client.address}); Sprinto allows one at a time.",
                "Wait until the other run has ended, or its session has expired: 60 minutes after its last"
                " request.",
            ) from conflict
        except ApiError as failure:
            if failure.certainty is Certainty.DID_NOT_HAPPEN:
                self._move(Event.CREATE_DID_NOT_HAPPEN)
            raise

    def _opened(self, session: SessionStatus) -> None:
        self._session = session
        self._move(Event.CREATED)
        log.info(
            "Session %s is open (reference %s); it expires %s.", session.id, self._reference, session.expiry
        )

    def _settle_creation(self, deadline: float) -> None:
        """While nobody knows whether a session was opened: wait for the answer, then ask the activity log."""
        # Half of the time is for the answer, the rest for the log and the discard.
        try:
            self._opened(wait_until(self._creation, _half_way_to(deadline)))
        except ApiError as failure:
            if failure.certainty is Certainty.DID_NOT_HAPPEN:
                self._move(Event.CREATE_DID_NOT_HAPPEN)
                return
        except TimeoutError:
            pass
        else:
            return
        until = _half_way_to(deadline)
        try:
            found = wait_until(in_background(lambda: self._find_in_log(until)), until)
        except (SprintoError, TimeoutError) as failure:
            log.warning("The activity log could not be asked: %s", failure)
            return
        if found is not None:
            self._opened(SessionStatus(id=found, state="active"))

    def _find_in_log(self, until: float) -> str | None:
        """The id of the session that the activity log shows with this run's own uuid."""
        since = (self._creation_began - _CLOCK_SKEW).isoformat().replace("+00:00", "Z")
        for event in self._client.events(since, brief(until)):
            session_id = event.get("session_id")
            # Where an event would show the reference is not documented; a uuid is found anywhere.
            if isinstance(session_id, str) and self.uuid.encode() in msgspec.json.encode(event):
                return session_id
        return None

    def _latest_expiry(self) -> str:
        latest = datetime.now(timezone.utc) + SESSION_EXPIRES_AFTER
        return latest.isoformat(timespec="seconds").replace("+00:00", "Z")

    # Pages

    def _send(self, page: Page) -> None:
        """Send one page and count it once it is accepted. Runs on the lane's thread."""
        compress = self._compress
        try:
            self._push(page, compress=compress)
        except ApiError as refusal:
            action = after_refusal(
                refusal,
                items=len(page.items),
                compressed=compress,
                proven=self._compression_proven,
            )
            if action is AfterRefusal.SEND_UNCOMPRESSED:
                self._send_uncompressed(page)
            elif action is AfterRefusal.HALVE:
                for half in page.halves():
                    self._send(half)
            else:
                raise self._explain_refusal(page, refusal) from None

    def _push(self, page: Page, *, compress: bool) -> None:
        answer = self._client.push_page(self._session_id, page.encode(), self._patience, compress=compress)
        if answer.rejected:
            raise errors.UnexpectedAnswer(
                f"Sprinto accepted page {page.number} and said that something in it was rejected"
                f" (rejected_count_total {answer.rejected_count_total}).",
                "The documents know no such answer; ask Sprinto's support.",
            )
        if answer.session_id != self._session_id:
            raise errors.UnexpectedAnswer(
                f"The answer to page {page.number} names another session ({answer.session_id}).",
                "Ask Sprinto's support.",
            )
        self._compression_proven = self._compression_proven or compress
        self._accepted += page.counts
        self._pages += 1

    def _send_uncompressed(self, page: Page) -> None:
        try:
            self._push(page, compress=False)
        except ApiError as refusal:
            raise self._explain_refusal(page, refusal) from None
        log.warning("Sprinto refuses compressed pages: sending them uncompressed from now on.")
        self._compress = False

    def _explain_refusal(self, page: Page, refusal: ApiError) -> SprintoError:
        if isinstance(refusal, errors.PageRefused):
            return describe_refusal(page, refusal)
        if isinstance(refusal, errors.TooLarge):
            return errors.RecordTooLarge(
                f"Sprinto takes no page with this one record alone: {page.items[0].origin},"
                f" {len(page.items[0].body):,} bytes.",
                "Leave large fields out with a stream map.",
            )
        if isinstance(refusal, errors.Conflict):
            return errors.SessionEnded(
                f"Session {self._session_id} took no more pages.",
                "Run again; look in Sprinto's activity log for who closed it.",
            )
        return refusal

    # The end of input

    def _reconcile(self) -> None:
        """Compare Sprinto's counts with what was accepted, until they are equal or cannot become so."""
        until = time.monotonic() + COUNTS_MAY_LAG_SECONDS
        for seconds in pauses():
            status = self._do(lambda: self._client.session_status(self._session_id, self._patience))
            if status.state != "active":
                raise errors.SessionEnded(
                    f"Session {self._session_id} was ended before this run closed it.",
                    "Run again; look in Sprinto's activity log for what ended it.",
                )
            comparison = compare_counts(self._accepted, status.counts())
            if comparison is Comparison.EQUAL:
                return
            if comparison is Comparison.DIFFERENT or time.monotonic() >= until:
                raise self._counts_differ(status)
            pause(seconds, self._interrupted)

    def _counts_differ(self, status: SessionStatus) -> errors.CountsDiffer:
        return errors.CountsDiffer(
            f"Sprinto counts {_figures(status.counts())} where this run sent {_figures(self._accepted)}.",
            "Run again; if it stays, ask Sprinto's support.",
        )

    def _wait_for_other_sessions(self) -> None:
        """Let sessions closed earlier be processed first: Sprinto's order between them is not documented."""
        until = time.monotonic() + self._patiences.processing_seconds
        for seconds in pauses():
            others = self._do(lambda: self._client.integration_status(self._patience)).sessions.processing
            if not others:
                return
            if time.monotonic() >= until:
                log.warning("Another session is still being processed; applying this one all the same.")
                return
            log.info("Waiting for another session of this integration to be processed.")
            pause(seconds, self._interrupted)

    def _apply(self, last_words: LastWords) -> None:
        # An interruption ends the tries of a close that surely did not happen, so that it can be discarded.
        patience = replace(self._patience, stopped=last_words.heard)
        self._move(Event.APPLY_SENT)
        try:
            wait_for(
                in_background(lambda: self._client.apply_session(self._session_id, patience)), last_words
            )
        except ApiError as failure:
            if failure.certainty is Certainty.DID_NOT_HAPPEN:
                self._move(Event.APPLY_DID_NOT_HAPPEN)
            self._interrupted()
            if isinstance(failure, errors.Conflict):
                raise errors.SessionEnded(
                    f"Session {self._session_id} was no longer open when this run closed it.",
                    "Run again; look in Sprinto's activity log for what ended it.",
                ) from None
            raise

    def _wait_until_processed(self, last_words: LastWords) -> None:
        until = time.monotonic() + self._patiences.processing_seconds
        watch = ProcessingWatch()
        for seconds in pauses():
            patience = replace(
                self._patience,
                retry_seconds=min(self._patience.retry_seconds, max(0.0, until - time.monotonic())),
            )
            call = in_background(partial(self._client.session_status, self._session_id, patience))
            status = wait_for(call, last_words)
            verdict = watch.read(status, time.monotonic())
            if verdict is Processing.PROCESSED:
                return self._compare_applied(status)
            if verdict in {Processing.FAILED, Processing.NEVER, Processing.UNKNOWN}:
                failure = errors.ProcessingFailed(
                    f"Sprinto did not process session {self._session_id}.",
                    "Ask Sprinto's support about it. No STATE was written: a new run sends all again.",
                )
                failure.aftermath = f"By its status {describe_end(status.state)}."
                raise failure
            if time.monotonic() >= until:
                raise errors.ProcessingUnfinished(
                    f"Sprinto did not finish processing within {self._patiences.processing_seconds:g} s.",
                    "Look at Sprinto later; raise `processing_timeout_seconds` if this is usual.",
                )
            pause(seconds, last_words)
        return None

    def _compare_applied(self, status: SessionStatus) -> None:
        if compare_counts(self._accepted, status.counts()) is Comparison.EQUAL:
            return
        failure = self._counts_differ(status)
        failure.aftermath = f"This was seen only after session {self._session_id} was applied."
        raise failure

    # The session

    def _do(self, call: Callable[[], _T]) -> _T:
        """Make a call without blocking this thread's ears."""
        return wait_for(in_background(call), self._interrupted)

    def _move(self, event: Event) -> None:
        self._phase = next_phase(self._phase, event)

    @property
    def _session_id(self) -> str:
        if self._session is None:
            raise LookupError("no session is open")
        return self._session.id

    @property
    def _expiry(self) -> str:
        return self._session.expiry if self._session else ""


def _half_way_to(deadline: float) -> float:
    now = time.monotonic()
    return now + (deadline - now) / 2


def _figures(counts: Mapping[str, int]) -> str:
    """``{entity_type: int}`` as a reader wants it."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
