"""One run: records become pages of one session, which is applied or discarded as a whole.

`SprintoClient` shows its use. If you already have JSON bytes, or handle failures yourself:

    run = client.run(reference_prefix="target-sprinto")
    try:
        run.add("User", b'{"employeeId": "E-1"}')
        run.finish()
    except BaseException:
        run.abort()
        raise
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from target_sprinto.push import errors
from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.protocol import arguments
from target_sprinto.push.protocol.encoding import encoded
from target_sprinto.push.protocol.lifecycle import Phase
from target_sprinto.push.protocol.pages import Page, PageBuilder
from target_sprinto.push.run.exclusive_use import ExclusiveUse
from target_sprinto.push.run.result import RunOutcome, RunResult
from target_sprinto.push.run.run_options import RunOptions
from target_sprinto.push.run.run_phase import ended_elsewhere
from target_sprinto.push.run.send_queue import RunProgress
from target_sprinto.push.run.session import RunSession
from target_sprinto.push.transport.background import Deadline

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)


class Run:
    """One run: at most one session, applied in full or not at all. Created by `SprintoClient.run`.

    Leaving the `with` block applies the run and returns once Sprinto has processed it; `result` then
    describes it. An exception, including KeyboardInterrupt, discards the run and propagates:
    `result.outcome` is the outcome, and the exception describes it in a note or in its own text. Use a run
    once, in one thread. Signal handling is left to your program.

    `blocked_seconds` is how long the caller has waited for Sprinto so far.
    """

    def __init__(self, client: ApiClient, run_options: RunOptions) -> None:
        arguments.instance("client", ApiClient, client)
        self.uuid = run_options.uuid
        self._builder = PageBuilder(run_options.page_size, pages_in_flight=run_options.max_parallel_pages)
        self._session = RunSession(client, self._builder, run_options)
        self.blocked_seconds = 0.0
        self._entered = False
        self._pushes = 0
        self._entity_keys: dict[str, tuple[str, ...]] = {}
        self._entity_types: set[str] = set()
        self._failure: BaseException | None = None
        self._phase = self._session.run_phase
        self._use = ExclusiveUse()
        self._reading = 0
        self._aborted_by: int | None = None
        self.session_outcome = ""
        """The outcome of the session of a run that failed, as a sentence."""

    @property
    def result(self) -> RunResult:
        """What the run did, even if it failed. Raises RunEnded if it has not ended yet."""
        if self._session.result is None:
            raise errors.RunEnded("This run has not ended yet.", "Leave its `with` block first.")
        return self._session.result

    def __enter__(self) -> Self:
        if self._entered or self._session.phase not in _TAKES_RECORDS:
            raise errors.RunEnded(
                "This run has already been used.", "Each run is one session: start a new one."
            )
        self._entered = True
        # The block may never be left: in a generator that is not resumed.
        atexit.register(self._abort_at_exit)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, failure: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._use.is_forked:
            # Forked: the run belongs to the process that began it.
            return
        try:
            self._leave(failure)
        except BaseException as problem:
            self._abort_because(problem)
            raise
        finally:
            atexit.unregister(self._abort_at_exit)

    def _leave(self, failure: BaseException | None) -> None:
        if failure is not None:
            self._abort_because(failure)
        elif self._failure is not None:
            raise self._ended("A push of this run has failed, so the run is not applied.") from self._failure
        elif self._session.phase is not Phase.ENDED:
            self.finish()
        elif self._aborted_by not in {None, threading.get_ident()} and self.result.outcome not in _SUCCEEDED:
            raise ended_elsewhere()

    def push(
        self, entity_type: str, records: Iterable[Mapping[str, object]], *, key: str | Sequence[str] = ()
    ) -> None:
        """Add records from any iterable, one by one; pages are sent while it is read.

        `key` names the fields that identify an entity within its type. With `max_parallel_pages` above 1,
        each entity's records stay in order; without a key, pages with that type are sent one at a time.

        Any failure, also one that `records` raises, ends the run at once and discards it. Raises ConfigError
        for an invalid argument, before a record is read, and UnserializableRecord for an invalid record: NaN,
        Infinity, bytes, a missing key, …; decimals keep their digits, dates and times become ISO 8601
        strings. If `records` is silent for an hour, Sprinto's inactivity timeout, the session expires.
        """
        with self._use:
            self._require_unfinished()
            self._pushes += 1
            self._reading += 1
            try:
                entity_type = arguments.entity_type("entity_type", entity_type)
                fields = arguments.key_fields(key)
                if self._entity_keys.setdefault(entity_type, fields) != fields:
                    # Keys of different fields cannot be compared.
                    fields = ()
                for body, place, entity_key in encoded(arguments.records(records), self._pushes, fields):
                    self._session.check()
                    self.add_valid(entity_type, body, place, entity_key)
            except BaseException as failure:
                self._abort_because(failure)
                raise
            finally:
                self._reading -= 1

    def add(self, entity_type: str, body: bytes, origin: object = None, key: object = None) -> None:
        """Add one record as JSON bytes; a page is sent once it is complete.

        `key` is any hashable value that identifies the entity within its type. Two pages that may hold the
        same entity are never in flight at once; a record without a key may be any entity of its type.
        Raises ConfigError for an invalid argument, and the error that ended the run: a page sent earlier
        was rejected, an interruption, … Call `abort` then.
        """
        with self._use:
            if type(entity_type) is not str or entity_type not in self._entity_types:
                entity_type = arguments.entity_type("entity_type", entity_type)
                self._entity_types.add(entity_type)
            arguments.json_object(body)
            if key is not None:
                arguments.entity_key(key)
            self.add_valid(entity_type, body, origin, key)

    def add_valid(
        self,
        entity_type: str,
        body: bytes,
        origin: object = None,
        key: object = None,
        origin_bytes: int = 0,
    ) -> None:
        """Like `add`, but for arguments that are known to be valid: they are not checked."""
        if self._phase.current not in _TAKES_RECORDS:
            self._require_unfinished()
        if page := self._builder.add(entity_type, body, origin, key, origin_bytes):
            self._send_page(page)

    def flush(self) -> None:
        """Send the current page, if there is one, even if it is not full. Raises what `add` does."""
        with self._use:
            self._require_unfinished()
            if page := self._builder.flush():
                self._send_page(page)

    def check(self) -> None:
        """Raise if the run was interrupted or a page has failed. Call it while you wait for input."""
        with self._use:
            # It may send the current page.
            self._session.check()

    def finish(self) -> RunResult:
        """Send the rest, reconcile, apply, and return once Sprinto has processed it.

        With `Finish.HOLD` the session is left open instead, with `Finish.DISCARD` it is discarded. Raises a
        SprintoError if anything fails; call `abort` then.
        """
        with self._use:
            if self._reading:
                raise errors.ConfigError(
                    "`finish` was called while a push reads its records.", "Call it after the push."
                )
            self.flush()
            with self._blocked():
                return self._session.finish()

    def abort(self, deadline: Deadline | None = None) -> RunResult:
        """End the run without applying it; the result's `session_outcome` describes its session.

        Returns by the deadline, by default within 29 seconds. Failures meanwhile are not raised but part of
        the result. If `close(apply)` may have reached Sprinto, nothing is discarded. Does nothing if the run
        has already ended.

        May be called from another thread; what this run then does elsewhere raises RunEnded. A close in
        flight still decides: the thread that sent it corrects `result`. Raises ConfigError if it is called
        in the middle of the run's own work, such as in a signal handler.
        """
        if self._use.is_here:
            raise errors.ConfigError(
                "`abort` was called while this thread is busy with the run.", "Raise an exception instead."
            )
        if self._session.result is None:
            self._aborted_by = threading.get_ident()
        return self._abort(deadline)

    def _abort(self, deadline: Deadline | None = None) -> RunResult:
        if self._use.is_forked:
            # Forked: the process that began it ends it.
            return RunResult(RunOutcome.IN_DOUBT, self.open_session, {}, 0)
        deadline = self._session.deadline() if deadline is None else deadline
        deadline = arguments.instance("deadline", Deadline, deadline)
        try:
            return self._session.abort(deadline)
        except errors.RunEnded:
            # Two threads called it.
            return self.result
        except BaseException:
            # A second Ctrl-C.
            self.session_outcome = self._session.give_up()
            log.error("Interrupted while ending. %s", self.session_outcome)  # noqa: TRY400 - no traceback
            raise

    @property
    def open_session(self) -> str | None:
        """The id of the session that may stay open if the process is killed now."""
        return self._session.open_id

    def progress(self) -> RunProgress:
        """The run's progress; callable from any thread."""
        return self._session.progress()

    def _abort_because(self, failure: BaseException) -> None:
        """Abort the run because of `failure`, and add the session's outcome to it."""
        if self._failure is not None and self._session.result is not None:
            # A push has already done so, unless a KeyboardInterrupt came between its first two steps.
            return
        self._failure = failure
        stopped = isinstance(failure, errors.Interrupted) or not isinstance(failure, Exception)
        result = self._abort(self._session.deadline(stopped=stopped))
        message = result.session_outcome or _SUCCEEDED.get(result.outcome, "").format(result.session_id)
        if isinstance(failure, errors.SprintoError) and failure.result is None:
            # The failure may already describe the session's outcome.
            message = failure.session_outcome = failure.session_outcome or message
            failure.result = self._session.result
            # Its message is complete: the context is an internal detail.
            failure.__suppress_context__ = True
        elif message:
            note(failure, message)
        self.session_outcome = message

    def _abort_at_exit(self) -> None:
        self.__exit__(None, SystemExit(), None)

    @contextlib.contextmanager
    def _blocked(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.blocked_seconds += time.monotonic() - began

    def _send_page(self, page: Page) -> None:
        with self._blocked():
            self._session.put(page)

    def _require_unfinished(self) -> None:
        if self._session.phase not in _TAKES_RECORDS:
            raise self._ended("This run has already ended.", "Start a new one.") from self._failure

    def _ended(self, message: str, hint: str = "") -> errors.RunEnded:
        ended = errors.RunEnded(message, hint)
        ended.session_outcome, ended.result = self.session_outcome, self._session.result
        return ended


_SUCCEEDED = {
    RunOutcome.APPLIED: "Session {} had been applied before that.",
    RunOutcome.HELD: "Session {} is held: it stays open until it expires, or is applied or discarded.",
}

_TAKES_RECORDS = (Phase.UNOPENED, Phase.OPEN)
"""Not a set: hashing an enum is slower than comparing it, and this is checked for every record."""


def note(failure: BaseException, message: str) -> None:
    """Add the session's outcome to a caller's exception as a note; before Python 3.11, log it."""
    if sys.version_info >= (3, 11):
        failure.add_note(message)
    else:
        log.error("%s", message)
