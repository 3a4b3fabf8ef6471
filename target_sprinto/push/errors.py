"""Errors that can end a run. `docs/reference/errors.md` is generated from their docstrings.

The Singer side adds its own errors in `target_sprinto/errors.py`.
"""

from __future__ import annotations

import copyreg
import enum
import signal
from typing import ClassVar

from target_sprinto.push.run.result import RunResult
from target_sprinto.push.text import fitted, printable

EX_TEMPFAIL = 75
"""From sysexits.h: a later run may succeed with nothing changed."""

LONGEST_MESSAGE = 300
"""In characters, for message and hint together; names are shortened to fit."""

ErrorDetail = dict[str, object]
"""``{entity_type, index, field, issue}`` from a response."""


class Outcome(enum.Enum):
    """Whether a failed call may have been performed."""

    NOT_PERFORMED = "not performed"
    IN_DOUBT = "in doubt"


class SprintoError(Exception):
    """Root of all errors: one line that says what happened and what to do.

    `message` and `hint` are sentences; neither ever contains the API key or a record's value. The hints are
    for Python programs; the commands have their own, by `code`. `session_outcome` describes the run's
    session, and `result` the run; both are set when the run has ended. `temporary`: a later run may succeed
    with nothing changed; otherwise a person must act first. None for a class whose instances decide it.
    """

    code: ClassVar[str] = "sprinto"
    hint: str = ""
    temporary: bool | None = False

    def __init_subclass__(cls, *, code: str = "") -> None:
        super().__init_subclass__()
        cls.code = code or cls.code

    def __init__(self, message: str, hint: str = "", *, temporary: bool | None = None) -> None:
        super().__init__(message)
        self._whole = message
        self.advise(hint or self.hint)
        self.session_outcome = ""
        self.result: RunResult | None = None
        if temporary is not None:
            self.temporary = temporary

    def __reduce__(self) -> tuple[object, ...]:
        # Pickle the attributes, whatever arguments the subclass's `__init__` takes.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined] # pickle's own

    def __str__(self) -> str:
        sentences = " ".join(part for part in (self.message, self.session_outcome, self.hint) if part)
        return f"{printable(' '.join(sentences.split()))} [{self.code}]"

    @property
    def brief(self) -> str:
        """The message and the code, without the hint: for a run that continues."""
        return f"{printable(' '.join(self.message.split()))} [{self.code}]"

    def advise(self, hint: str, added: str = "") -> None:
        """Replace the hint and extend the message; its names are shortened until both fit."""
        self.hint = hint
        self._whole += added
        self.message = fitted(self._whole, LONGEST_MESSAGE - len(hint) - 1)

    @property
    def exit_code(self) -> int:
        """The exit code of a command that fails with this error."""
        return EX_TEMPFAIL if self.temporary else 1


class ConfigError(SprintoError, code="settings"):
    """Invalid settings or arguments."""


class ApiError(SprintoError, code="api"):
    """A request failed. `outcome` says whether Sprinto may have acted on it.

    `status` is the response's HTTP status, if there was one; `retry_after` is the minimum wait before a
    retry in seconds, if the response names one. A rejection of records has `details` and a `response`.
    """

    outcome: Outcome = Outcome.NOT_PERFORMED
    status: int | None = None

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        retry_after: float | None = None,
        details: tuple[ErrorDetail, ...] = (),
        response: bytes = b"",
    ) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after
        self.details = details
        self.response = response


class Unauthorized(ApiError, code="unauthorized"):
    """401 or 403: final, never retried."""


class NotFound(ApiError, code="not-found"):
    """404: the integration (on create, status, activity) or the session (later) is unknown."""


class NotVisible(NotFound):
    """404 on a session that this run has just opened: a replica may not know about it yet."""


class Conflict(ApiError, code="conflict"):
    """409: Sprinto's current state does not allow the call."""

    hint = "Run again; if it persists, look in Sprinto's activity log."
    temporary = True


class SessionConflict(ApiError, code="session-conflict"):
    """Another session of this integration is active.

    `outcome` is IN_DOUBT if that session may be this run's own. `session_id` is its id, if known; `policy` is
    the run's choice for this case: `fail`, `wait`, `discard` or empty. `is_to_be_held`: the session waits
    for approval, or its run will leave it to wait for one.
    """

    temporary = True
    session_id: str | None = None
    is_to_be_held = False
    policy = ""


class PageRefused(ApiError, code="page-refused"):
    """400 on a page: none of it was staged (Sprinto: Pushing Entities Data).

    `details` are the response's own, unchanged: ``[{entity_type, index, field, issue}]``; `response` is its
    body. Both may quote record values; the error's own text does not.
    """

    hint = "Fix them at the source."


class PageTooLarge(ApiError, code="page-too-large"):
    """413: the page is larger than Sprinto accepts."""


class EncodingRefused(ApiError, code="encoding-refused"):
    """415: Sprinto does not accept the body's encoding."""

    hint = "Ask Sprinto's support."


class BadRequest(ApiError, code="bad-request"):
    """400 on anything but a page."""

    hint = "Ask Sprinto's support."


class Redirected(ApiError, code="redirected"):
    """3xx: never followed, because the `api-key` header must not reach another host."""

    outcome = Outcome.IN_DOUBT


class ProxyRefused(ApiError, code="proxy-refused"):
    """The proxy did not let the request through (407 included)."""


class TLSError(ApiError, code="tls-error"):
    """The certificate is not trusted, or the TLS handshake failed: nothing was sent."""


class NotConnected(ApiError, code="not-connected"):
    """The connection failed (refused, DNS, connect timeout): nothing was sent."""

    temporary = True


class ClientClosed(ApiError, code="client-closed"):
    """The client had already been closed: nothing was sent."""

    hint = "Leave the run's `with` block before the client's."


class Throttled(ApiError, code="throttled"):
    """425, 429, or 503 with a Retry-After: not performed, may be retried."""

    hint = "Run again later; `Timeouts(retry=…)` limits how long one request may be retried."
    temporary = True


class ResponseLost(ApiError, code="response-lost"):
    """A timeout, a reset, a cut-off or unreadable response, 408, another 5xx: in doubt."""

    hint = "Run again later; if it persists, ask Sprinto's support."
    temporary = True
    outcome = Outcome.IN_DOUBT
    connection_was_stale = False
    """Whether a reused connection, not through a proxy, was closed before the response began."""


class UnexpectedResponse(ApiError, code="unexpected-response"):
    """A status, state or shape that Sprinto does not document: never treated as success."""

    outcome = Outcome.IN_DOUBT


class UndocumentedRefusal(UnexpectedResponse):
    """A 4xx that is not documented (402, 405, 410, 422, …): the request was not performed."""

    outcome = Outcome.NOT_PERFORMED


class LogUnending(UnexpectedResponse, code="log-unending"):
    """The activity log is longer than is read, or repeats its pages."""


class SessionEnded(SprintoError, code="session-ended"):
    """The session ended before the run could close it. Temporary if nothing was applied."""

    hint = "Run again; look in Sprinto's activity log for what ended it."
    temporary: bool | None = None


class InconsistentResponse(SprintoError, code="inconsistent-response"):
    """A 202 that also reports rejected records, or names another session: nothing is sent after it.

    `response` is its body, which may quote record values.
    """

    def __init__(self, message: str, hint: str = "", response: bytes = b"") -> None:
        super().__init__(message, hint)
        self.response = response


class NotDiscarded(SprintoError, code="not-discarded"):
    """The discard of a session was not confirmed: a dry run's, or one that a user discards."""

    temporary: bool | None = None


class CountMismatch(SprintoError, code="count-mismatch"):
    """Sprinto's counts differ from what was sent. Temporary if a page in doubt was sent again."""

    hint = "Run again; if it persists, ask Sprinto's support."
    temporary: bool | None = None


class ProcessingFailed(SprintoError, code="processing-failed"):
    """Sprinto reports that the session was not processed."""

    hint = "Ask Sprinto's support about it."


class ProcessingTimeout(SprintoError, code="processing-timeout"):
    """The session was not processed in time; it may still be."""

    hint = "Check Sprinto later; raise `Timeouts(processing=…)` if this happens regularly."
    temporary = True


class TooFewRecords(SprintoError, code="too-few-records"):
    """Fewer records of an entity type than `expect` requires; nothing of this run is applied."""

    hint = "Check what is pushed; if the low number is correct, lower `expected`."


class RecordTooLarge(SprintoError, code="record-too-large"):
    """One record alone is larger than a page may be."""

    hint = "Leave large fields out at the source, or before they are sent."


class UnserializableRecord(SprintoError, code="unserializable-record"):
    """An invalid record passed to `Run.push`, such as one that JSON cannot represent.

    `index` is its position in that push, from 0; `field` is the path to the problem, empty for the record.
    """

    def __init__(self, message: str, hint: str = "", *, index: int, field: str = "") -> None:
        super().__init__(message, hint)
        self.index = index
        self.field = field


class RunEnded(SprintoError, code="run-ended"):
    """A run has one session and cannot be used after it has ended."""


class Interrupted(SprintoError, code="interrupted"):
    """A signal ended the run; the exit code is the shell's, 128 + its number."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(signum).name}.")
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """The shell's code for the signal."""
        return 128 + self.signum
