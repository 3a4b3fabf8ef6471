"""The one session of a run: opened by the first page, filled, reconciled, and applied or discarded.

    with SprintoClient(api_key="…", integration_id="…") as client, Run(client) as run:
        run.push("User", [{"employeeId": "E-1"}])

Who has records as bytes, and ends of their own, does without `with` and `push`:

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

import contextlib
import logging
import sys
import threading
import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol

from target_sprinto.push import errors
from target_sprinto.push.client import RetryPolicy, SprintoClient
from target_sprinto.push.endpoint import require_text
from target_sprinto.push.errors import ApiError, Outcome
from target_sprinto.push.protocol.encoding import encoded
from target_sprinto.push.protocol.lifecycle import (
    Event,
    Finish,
    OnCountMismatch,
    Phase,
    keep_alive_interval,
    next_phase,
)
from target_sprinto.push.protocol.pages import Page, PageBuilder
from target_sprinto.push.protocol.refusals import no_field
from target_sprinto.push.protocol.times import parse_time, with_time_left
from target_sprinto.push.run import options
from target_sprinto.push.run.closing import Closing
from target_sprinto.push.run.conflict import ConflictPolicy
from target_sprinto.push.run.discarding import Discard, discard_session
from target_sprinto.push.run.observer import NoWitness, Witness
from target_sprinto.push.run.opening import SessionOpener
from target_sprinto.push.run.other_sessions import OtherSessions
from target_sprinto.push.run.processing import wait_until_processed
from target_sprinto.push.run.send_queue import SendQueue
from target_sprinto.push.run.sender import PageSender, Rejects
from target_sprinto.push.run.staged_session import StagedSession
from target_sprinto.push.transport import timing
from target_sprinto.push.transport.background import Check, Deadline, GracePeriod, in_background, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from typing_extensions import Self

    from target_sprinto.push.protocol.refusals import KnownField
    from target_sprinto.push.protocol.responses import SessionStatus

log = logging.getLogger("target_sprinto.push")


@dataclass(frozen=True)
class Timeouts:
    """The three timeouts, in seconds: one request, all tries of it, and Sprinto's processing."""

    request_seconds: float = 60.0
    retry_seconds: float = 300.0
    processing_seconds: float = 900.0

    def __post_init__(self) -> None:
        options.seconds("request_seconds", self.request_seconds, may_be_zero=False)
        options.seconds("retry_seconds", self.retry_seconds)
        options.seconds("processing_seconds", self.processing_seconds, may_be_zero=False)


@dataclass(frozen=True)
class RunSummary:
    """What a finished run did: records as ``{entity_type: int}``. No session was needed for no records."""

    session_id: str | None
    records: dict[str, int]
    pages: int
    expiry: str = ""
    """When a session that is held expires by itself."""


def client_reference_id(prefix: str, run_uuid: str, finish: Finish) -> str:
    """A session's `client_reference_id`: it names this run and no other."""
    return f"{prefix}/{run_uuid}{'/hold' if finish is Finish.HOLD else ''}"


@dataclass(frozen=True)
class _Open:
    """What there is only while a session is open."""

    session: SessionStatus
    sender: PageSender
    flight: SendQueue


class Standing(NamedTuple):
    """How far a run has come: pages accepted, in flight and sent once more, and how long none may leave."""

    pages: int = 0
    in_flight: int = 0
    retries: int = 0
    held_seconds: float = 0.0


class Delivery(Protocol):
    """Where records go: a `Run`, or what stands in for one."""

    def add(self, entity_type: str, body: bytes, origin: object = None, key: object = None) -> None:
        """Take one record."""

    def flush(self) -> None:
        """Send the page gathered so far, if there is one."""

    def check(self) -> None:
        """Raise what ended the run meanwhile."""

    def finish(self) -> RunSummary:
        """There is no more input."""

    def abort(self, deadline: Deadline | None = None) -> str:
        """End it early, and say what became of it."""

    @property
    def open_session(self) -> str | None:
        """The id of the session that may be left open."""


class Run:
    """One run: at most one session, all of it applied or none.

    `waited_seconds` is how long whoever brings the records has waited for Sprinto so far.
    `expected` is the least number of records to be accepted: ``{entity_type: int}``. `finish` and
    `on_count_mismatch` also take the value of their enum. Raises ConfigError for an argument that is not
    understood, before anything is sent.

    Leaving a `with` block applies the run, and returns once Sprinto has processed it; `summary` then says
    what it did. An exception, KeyboardInterrupt too, discards the run and is raised again:
    `session_outcome` says what became of the session, and so does the exception, as a note or in its own
    text. A run is used once, by one thread. Signals are left to the program.
    """

    def __init__(  # noqa: PLR0913 - the settings of a run, each with its default
        self,
        client: SprintoClient,
        *,
        reference_prefix: str = "target-sprinto",
        page_size: int = 100,
        max_parallel_pages: int = 1,
        compress: bool = True,
        timeouts: Timeouts = Timeouts(),
        on_conflict: ConflictPolicy | None = None,
        on_count_mismatch: OnCountMismatch | str = OnCountMismatch.DISCARD,
        finish: Finish | str = Finish.APPLY,
        expected: Mapping[str, int] | None = None,
        rejects: Rejects | None = None,
        known_field: KnownField = no_field,
        witness: Witness | None = None,
        interrupted: Check = lambda: None,
        run_uuid: str | None = None,
    ) -> None:
        require_text("reference_prefix", reference_prefix)
        self.uuid = str(uuid.uuid4()) if run_uuid is None else require_text("run_uuid", run_uuid)
        self._finish = options.choice("finish", Finish, finish)
        self._reference = client_reference_id(reference_prefix, self.uuid, self._finish)
        self._client = options.instance("client", SprintoClient, client)
        self._max_parallel_pages = options.whole_number("max_parallel_pages", max_parallel_pages, 1, 16)
        self._builder = PageBuilder(
            options.whole_number("page_size", page_size, 1, 100), pages_in_flight=max_parallel_pages
        )
        self._compress = options.instance("compress", bool, compress)
        self._patiences = options.instance("timeouts", Timeouts, timeouts)
        policy = ConflictPolicy() if on_conflict is None else on_conflict
        policy = options.instance("on_conflict", ConflictPolicy, policy)
        self._on_conflict = (
            replace(policy, own_prefix=reference_prefix) if policy.own_prefix is None else policy
        )
        self._on_count_mismatch = options.choice("on_count_mismatch", OnCountMismatch, on_count_mismatch)
        self._expected = options.minimums("expected", expected)
        self._rejects = None if rejects is None else options.methods("rejects", Rejects, rejects)
        self._known_field = options.function("known_field", known_field)
        self._witness = NoWitness() if witness is None else options.methods("witness", Witness, witness)
        self._patience = RetryPolicy(timeouts.request_seconds, timeouts.retry_seconds, threading.Event())
        self._interrupted = options.function("interrupted", interrupted)
        self._phase = Phase.UNOPENED
        self._finished = False
        self._opening: SessionOpener
        self._open: _Open | None = None
        self._expiry_read: datetime | None = None
        self._warned_of_expiry = False
        self._warned_of_end = False
        self.waited_seconds = 0.0
        self._entered = False
        self._pushes = 0
        self._entity_keys: dict[str, tuple[str, ...]] = {}
        self._entity_types: set[str] = set()
        self._failure: BaseException | None = None
        self.summary: RunSummary | None = None
        """What the run did, once it is finished."""
        self.session_outcome = ""
        """What became of the session of a run that failed, in a sentence."""

    def __enter__(self) -> Self:
        if self._entered or self._finished:
            raise errors.RunEnded(
                "This run has been used already.", "Each run is one session: start a new one."
            )
        self._entered = True
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, failure: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if failure is not None:
            return self._end(failure)
        if self._failure is not None:
            ended = errors.RunEnded("A push of this run has failed, so the run is not applied.")
            ended.session_outcome = self.session_outcome
            raise ended from self._failure
        if self._phase is Phase.ENDED:
            # By the block itself.
            return None
        try:
            self.finish()
        except BaseException as problem:
            self._end(problem)
            raise
        return None

    def push(
        self, entity_type: str, records: Iterable[Mapping[str, object]], *, key: str | Sequence[str] = ()
    ) -> None:
        """Take records from any iterable, one by one; pages leave while it is read.

        `key` names the fields that tell an entity among those of its type: with `max_parallel_pages` above 1
        the order of the records is kept for each entity; without a key pages with that type go one at a time.

        What fails here ends the run at once and discards it, also what `records` itself raises. Raises
        ConfigError for an argument that is not understood, before a record is taken, and
        UnserializableRecord for a record that JSON cannot hold: NaN, Infinity, bytes, a missing key, …; a
        decimal keeps its digits, a date or time becomes its ISO 8601 string. A source that is silent for
        longer than Sprinto's inactivity timeout, an hour, lets the session expire.
        """
        if self._finished:
            self._raise_ended()
        self._pushes += 1
        try:
            options.entity_type("entity_type", entity_type)
            fields = options.key_fields(key)
            if self._entity_keys.setdefault(entity_type, fields) != fields:
                # Entities named by different fields cannot be told apart.
                fields = ()
            for body, place, entity_key in encoded(options.records(records), self._pushes, fields):
                self.check()
                self.add(entity_type, body, place, entity_key)
        except BaseException as failure:
            self._end(failure)
            raise

    def add(self, entity_type: str, body: bytes, origin: object = None, key: object = None) -> None:
        """Take one record's JSON bytes; sends a page when one is complete.

        `key` tells the entity among those of its type, any hashable value: with several pages in flight, two
        records of one entity, or of a type of which one has no key, never are in two of them.
        Raises ConfigError for an argument that is not understood, and what ended the run: a page sent
        earlier that was refused, an interruption, … Call `abort` then.
        """
        if self._finished:
            self._raise_ended()
        if not isinstance(entity_type, str) or entity_type not in self._entity_types:
            self._entity_types.add(options.entity_type("entity_type", entity_type))
        options.json_object(body)
        options.entity_key(key)
        if page := self._builder.add(entity_type, body, origin, key):
            self._put(page)

    def flush(self) -> None:
        """Send the page gathered so far, if there is one, though it is not full. Raises what `add` does."""
        if self._finished:
            self._raise_ended()
        if page := self._builder.flush():
            self._put(page)

    def check(self) -> None:
        """Raise if the run was interrupted, or a page in flight has failed: for whoever waits for input."""
        self._interrupted()
        if self._open is not None:
            self._open.flight.raise_failure()
            self._keep_alive(self._open)

    def _keep_watch(self) -> None:
        """While pages are in the way of more: the same, but that no page is added to them."""
        self._interrupted()
        if self._open is not None:
            self._keep_alive(self._open, with_a_page=False)

    def finish(self) -> RunSummary:
        """At the end of input: send the rest, reconcile, apply, and return once Sprinto has processed it.

        Under `Finish.HOLD` the session is left as it is instead, under `Finish.DISCARD` discarded. Raises a
        SprintoError in every other case; call `abort` then.
        """
        if self._finished:
            self._raise_ended()
        self.summary = self._finish_session()
        return self.summary

    def _finish_session(self) -> RunSummary:
        self.flush()
        with self._waiting():
            return self._finish_pages()

    def _finish_pages(self) -> RunSummary:
        self._interrupted()
        if self._open is None:
            self._require_expected({})
            self._move(Event.SETTLED)
            return RunSummary(None, {}, 0)
        session_id, sender, flight = self._open.session.id, self._open.sender, self._open.flight
        flight.drain(self._keep_watch)
        flight.close()
        if sender.settled != self._builder.added:
            raise AssertionError(f"{self._builder.added} records came in, {sender.settled} were settled")
        self._require_expected(sender.accepted)
        staged = StagedSession(
            self._client,
            session_id,
            sender.accepted,
            self._patience,
            self._interrupted,
            on_count_mismatch=self._on_count_mismatch,
        )
        if self._finish is Finish.APPLY:
            OtherSessions(staged).wait(
                self._patiences.processing_seconds, keep_alive_interval(self._open.session)
            )
        status = staged.reconcile(timing.current.still if sender.has_resent else 0.0)
        summary = RunSummary(session_id, dict(sender.accepted), sender.pages, status.expiry)
        if self._finish is Finish.DISCARD:
            self._discard_rehearsal(self._open)
            return summary
        if self._finish is Finish.HOLD:
            staged.require_active(status)
            self._interrupted()
            self._witness.holding()
            self._move(Event.HELD)
            return summary
        self._interrupted()
        grace = GracePeriod(self._interrupted, timing.current.end_after_signal)
        try:
            response = Closing(staged).apply(self._patiences.processing_seconds, grace, self._move)
        except ApiError:
            # A signal that cut the tries of the close short says more than the last of them.
            self._interrupted()
            raise
        wait_until_processed(staged, response, self._patiences.processing_seconds, grace)
        self._move(Event.SETTLED)
        return summary

    def abort(self, deadline: Deadline | None = None) -> str:
        """End the run without applying it, and say in a sentence what became of its session.

        It ends by the deadline, by default after as long as the contract allows after an error. Never raises
        for what goes wrong meanwhile: that is in the sentence. Where `close(apply)` may have reached Sprinto,
        nothing is discarded. A run that has already ended has nothing to say.
        """
        deadline = self._end_soon() if deadline is None else options.instance("deadline", Deadline, deadline)
        self._patience.stopped.set()
        if self._phase is Phase.OPENING:
            self._settle_opening(deadline)
        if self._phase is Phase.ENDED:
            return ""
        if self._phase is Phase.UNOPENED:
            self._move(Event.ABORTED)
            return "Nothing was opened at Sprinto."
        if self._open is None:
            self._move(Event.SETTLED)
            return self._opening.describe_unknown()
        session = self._open.session
        self._open.flight.close()
        if self._phase is Phase.APPLYING:
            self._move(Event.SETTLED)
            return f"Session {session.id} was told to apply, and may yet be applied."
        self._move(Event.ABORTED)
        result = discard_session(self._client, session.id, session.expiry, deadline)
        self._move(Event.SETTLED)
        return result.sentence

    @property
    def open_session(self) -> str | None:
        """The id of the session that this run may leave open, if it is cut off now."""
        return self._open.session.id if self._open and self._phase is not Phase.ENDED else None

    def _end(self, failure: BaseException) -> None:
        """End the run because of `failure`, and have it say what became of the session."""
        if self._failure is not None:
            # A push has done so, and has told it.
            return
        self._failure = failure
        stopped = isinstance(failure, errors.Interrupted) or not isinstance(failure, Exception)
        seconds = timing.current.end_after_signal if stopped else timing.current.end_after_error
        try:
            told = self.abort(Deadline(seconds, self._interrupted, timing.current.end_after_signal))
        except BaseException:
            # A second Ctrl-C.
            log.error("Cut off while ending: session %s may be open.", self.open_session)  # noqa: TRY400 - no traceback
            raise
        if isinstance(failure, errors.SprintoError):
            # It may have seen what became of the session.
            told = failure.session_outcome = failure.session_outcome or told
        elif told:
            _note(failure, told)
        self.session_outcome = told

    def _end_soon(self) -> Deadline:
        return Deadline(timing.current.end_after_error, self._interrupted, timing.current.end_after_signal)

    def standing(self) -> Standing:
        """How far the run has come; may be asked from any thread."""
        if self._open is None:
            return Standing()
        flight = self._open.flight
        return Standing(self._open.sender.pages, flight.in_flight, flight.retries, flight.held_seconds)

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.waited_seconds += time.monotonic() - began

    def _put(self, page: Page) -> None:
        self._witness.made(page)
        with self._waiting():
            opened = self._open or self._open_session()
            opened.flight.put(page, self._keep_watch)

    def _open_session(self) -> _Open:
        self._opening = SessionOpener(self._client, self._reference, self._patience, self._on_conflict)
        self._move(Event.FIRST_PAGE)
        try:
            return self._opened(self._opening.wait(self._interrupted))
        except ApiError as failure:
            if failure.outcome is Outcome.NOT_PERFORMED:
                self._move(Event.CREATE_DID_NOT_HAPPEN)
            raise

    def _opened(self, session: SessionStatus) -> _Open:
        sender = PageSender(
            self._client,
            session.id,
            self._patience,
            compress=self._compress,
            rejects=self._rejects,
            known_field=self._known_field,
            avoid_sizes=self._builder.avoid,
            witness=self._witness,
        )
        self._client.opened(session.id)
        self._open = _Open(session, sender, SendQueue(sender, self._max_parallel_pages))
        self._move(Event.CREATED)
        self._witness.opened(session)
        log.info(
            "Session %s is open (reference %s); it expires %s.",
            session.id,
            self._reference,
            with_time_left(session.expiry, self._client.server_time()),
        )
        return self._open

    def _keep_alive(self, opened: _Open, *, with_a_page: bool = True) -> None:
        """Let no session expire while nothing is sent: send what there is, else read the status."""
        if self._client.session_silence() < keep_alive_interval(opened.session):
            return None
        if with_a_page and opened.flight.is_idle and (page := self._builder.flush()):
            self._expiry_read = None
            self._witness.made(page)
            return opened.flight.put(page, self._interrupted)
        call = in_background(lambda: self._client.session_status(opened.session.id, self._patience))
        status = wait_for(call, self._interrupted)
        self._require_open(status, opened)
        expiry = parse_time(status.expires_at)
        if expiry is not None and expiry == self._expiry_read and not self._warned_of_expiry:
            log.warning(
                "Reading the status does not put off the session's expiry: without a page it expires %s.",
                with_time_left(status.expiry, self._client.server_time()),
            )
            self._warned_of_expiry = True
        self._expiry_read = expiry
        return None

    def _require_open(self, status: SessionStatus, opened: _Open) -> None:
        """Raise SessionEnded where the session takes no pages any more, and more are to come.

        One that has expired with all its pages accepted may still be applied, if none come.
        """
        if status.state == "active":
            return
        if status.state == "expired" and opened.flight.is_idle and not self._builder.holds_records:
            if not self._warned_of_end:
                log.warning("Session %s has expired: it accepts no more pages.", status.id)
            self._warned_of_end = True
            return
        raise opened.sender.session_ended(status.state)

    def _settle_opening(self, deadline: Deadline) -> None:
        """Find out whether there is a session. Where nobody can tell, the phase stays as it is."""
        try:
            session = self._opening.settle(deadline)
        except ApiError:
            self._move(Event.CREATE_DID_NOT_HAPPEN)
        except Exception:  # noqa: BLE001 - told as unknown: `abort` has to say where the session stands
            log.warning("What became of the session that was being opened could not be found out.")
        else:
            if session is not None:
                self._opened(session)

    def _discard_rehearsal(self, opened: _Open) -> None:
        self._patience.stopped.set()
        self._move(Event.ABORTED)
        result = discard_session(self._client, opened.session.id, opened.session.expiry, self._end_soon())
        self._move(Event.SETTLED)
        if result.outcome is not Discard.DISCARDED:
            raise errors.NotDiscarded(
                result.sentence, "Everything else went well.", temporary=result.temporary
            )

    def _require_expected(self, accepted: Mapping[str, int]) -> None:
        if self._rejects is not None:
            self._rejects.raise_if_none_accepted(accepted)
        missed = {name for name, least in self._expected.items() if accepted.get(name, 0) < least}
        if missed:
            wanted = ", ".join(f"{self._expected[name]} {name}" for name in sorted(missed))
            came = ", ".join(f"{accepted.get(name, 0)} {name}" for name in sorted(missed))
            raise errors.TooFewRecords(
                f"`expect` names at least {wanted}, and {came} came.",
                "Look at the tap's log; if so few are right, lower `expect`.",
            )

    def _raise_ended(self) -> NoReturn:
        raise errors.RunEnded("This run has already ended.", "Start a new one.")

    def _move(self, event: Event) -> None:
        self._phase = next_phase(self._phase, event)
        self._finished = self._phase is not Phase.OPEN and self._phase is not Phase.UNOPENED
        self._witness.moved(self._phase)


def _note(failure: BaseException, told: str) -> None:
    """Have an exception of somebody else's say what became of the session."""
    if sys.version_info >= (3, 11):
        failure.add_note(told)
    else:
        log.error("%s", told)
