"""Every error that ends a run, as one tree; each says what happened and what to do.

SprintoError
├── ConfigError                what was asked for makes no sense
├── ApiError                       one call went wrong; `certainty` says whether Sprinto may have acted
│   ├── Unauthorized                 401, 403
│   ├── NotFound                   404: integration on create, session later
│   │   └── NotVisible             404 on a session that this run has just opened
│   ├── Conflict                   409
│   ├── SessionConflict            another session is active, and in the way
│   ├── PageRefused                400 on a page
│   ├── PageTooLarge                   413
│   ├── EncodingRefused            415
│   ├── BadRequest                 400 on anything but a page
│   ├── Redirected                 3xx, never followed
│   ├── ProxyRefused               the proxy answered instead of Sprinto (407 included)
│   ├── TLSError         TLS could not be trusted
│   ├── NotConnected               no connection was made
│   ├── Throttled                     425, 429, 503 with Retry-After
│   ├── ResponseLost                 sent, and in doubt
│   └── UnexpectedResponse           an answer that the documents do not know
│       ├── UndocumentedRefusal    another 4xx: not performed, never retried
│       └── LogUnending            an activity log that does not end
├── SessionEnded                   a session was ended before it could be closed
├── InconsistentResponse            a page was accepted, and its answer says otherwise too
├── NotDiscarded                   a session that was to be discarded, and may still be there
├── CountMismatch                   Sprinto's counts are not what was sent
├── ProcessingFailed               Sprinto says `failed`, or something the documents do not know
├── ProcessingTimeout           not `processed` in time
├── TooFewRecords                  fewer records of an entity type than expected
├── RecordTooLarge                 one record that fits no page
├── UnserializableRecord                 one that `Run.push` was given, and that no JSON can hold exactly
├── RunEnded                       a run is used once
└── Interrupted                    a signal

The Singer side adds its own leaves in `target_sprinto/errors.py`.
"""

from __future__ import annotations

import enum
import signal
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

from target_sprinto.push.text import printable

if TYPE_CHECKING:
    from target_sprinto.push.run.result import RunResult

EX_TEMPFAIL = 75
"""Exit code of sysexits.h: a later run, with nothing changed, may succeed."""


Faults = tuple[dict[str, object], ...]


class Outcome(enum.Enum):
    """What an unhappy answer says about whether the call was acted upon."""

    NOT_PERFORMED = "did not happen"
    IN_DOUBT = "in doubt"


class SprintoError(Exception):
    """Root of all errors: one line that says what happened and what to do.

    `what` and `advice` are sentences; neither ever holds the API key or a value from a record.
    `session_outcome` is the state of the run's session, and `result` what the run did, both filled in by the
    code that ended the run.
    `temporary`: a later run may succeed with nothing changed; otherwise a person must do something first.
    None for a class of which each error decides by its facts.
    """

    code: ClassVar[str] = "sprinto"
    temporary: bool | None = False

    def __init__(self, message: str, hint: str = "", *, temporary: bool | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.session_outcome = ""
        self.result: RunResult | None = None
        if temporary is not None:
            self.temporary = temporary

    def __str__(self) -> str:
        sentences = " ".join(part for part in (self.message, self.session_outcome, self.hint) if part)
        return f"{printable(' '.join(sentences.split()))} [{self.code}]"

    @property
    def exit_code(self) -> int:
        """What a command line that fails with this error exits with."""
        return EX_TEMPFAIL if self.temporary else 1


class ConfigError(SprintoError):
    """Invalid settings or arguments; nothing was sent."""

    code = "settings"


class ApiError(SprintoError):
    """A request failed. `outcome` says whether Sprinto may have acted on it.

    `status` is the response's HTTP status, if there was one.
    """

    code = "api"
    outcome: Outcome = Outcome.NOT_PERFORMED
    status: int | None = None


class Unauthorized(ApiError):
    """401 or 403: final, never retried."""

    code = "unauthorized"


class NotFound(ApiError):
    """404: the integration (on create, status, activity) or the session (later) is unknown."""

    code = "not-found"


class NotVisible(NotFound):
    """404 on a session of our own that is so young that a replica may not have seen it yet."""


class Conflict(ApiError):
    """409: the call does not fit the state that Sprinto is in."""

    code = "conflict"
    temporary = True


class SessionConflict(ApiError):
    """Another session of this integration is active.

    Its `certainty` is IN_DOUBT where that session may be this run's own.
    """

    code = "session-conflict"
    temporary = True


class PageRefused(ApiError):
    """400 on a page: nothing of it was staged (Sprinto: Pushing Entities Data).

    `faults` are what the response names: ``[{entity_type, index, field, issue}]``, as they came, and
    `response` is its body. Both may quote values of records: the error's own text does not.
    """

    code = "page-refused"

    def __init__(self, message: str, hint: str = "", faults: Faults = (), response: bytes = b"") -> None:
        super().__init__(message, hint)
        self.faults = faults
        self.response = response


class PageTooLarge(ApiError):
    """413: the page is larger than Sprinto accepts."""

    code = "page-too-large"


class EncodingRefused(ApiError):
    """415: Sprinto does not accept the body's encoding."""

    code = "encoding-refused"


class BadRequest(ApiError):
    """400 on anything but a page."""

    code = "bad-request"


class Redirected(ApiError):
    """3xx: never followed, for the `api-key` header must not reach another host."""

    code = "redirected"
    outcome = Outcome.IN_DOUBT


class ProxyRefused(ApiError):
    """The proxy did not let the request through (407 included)."""

    code = "proxy-refused"

    @classmethod
    def answering(cls, status: int) -> ProxyRefused:
        """The proxy's refusal, whether it came as a response or while the tunnel was made."""
        if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return cls(
                "The proxy asks for a login (407); nothing reached Sprinto.",
                "Put user and password into HTTPS_PROXY, or name Sprinto's host in NO_PROXY.",
            )
        return cls(
            f"The proxy made no connection to Sprinto (it answered {status}).",
            "Check HTTPS_PROXY and NO_PROXY, and that the proxy allows Sprinto's host.",
        )


class TLSError(ApiError):
    """The server's certificate is not trusted: nothing was sent."""

    code = "tls-error"


class NotConnected(ApiError):
    """No connection was made (refused, DNS, connect timeout): nothing was sent."""

    code = "not-connected"
    temporary = True


class Throttled(ApiError):
    """425, 429, or 503 with a Retry-After: not acted upon, may be sent again.

    `retry_after` is the least wait in seconds, None where the answer names none.
    """

    code = "throttled"
    temporary = True

    def __init__(self, message: str, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


class ResponseLost(ApiError):
    """A timeout, a reset, a cut-off or unreadable answer, 408, another 5xx: in doubt."""

    code = "response-lost"
    temporary = True
    outcome = Outcome.IN_DOUBT
    connection_was_stale = False
    """Whether a connection that had served before, through no proxy, ended before the response began."""


class UnexpectedResponse(ApiError):
    """A status, state or shape that Sprinto does not document: never read as success."""

    code = "unexpected-response"
    outcome = Outcome.IN_DOUBT


class UndocumentedRefusal(UnexpectedResponse):
    """A 4xx that is not documented (402, 405, 410, 422, …): the request was not performed."""

    outcome = Outcome.NOT_PERFORMED


class LogUnending(UnexpectedResponse):
    """The activity log has more pages than it may have, or repeats them."""

    code = "log-unending"


class SessionEnded(SprintoError):
    """The session was ended before it could be closed. Temporary if nothing of it was applied."""

    code = "session-ended"
    temporary: bool | None = None


class InconsistentResponse(SprintoError):
    """A 202 that also says something was rejected, or names another session: nothing is sent after it.

    `response` is its body, which may quote values of records.
    """

    code = "inconsistent-response"

    def __init__(self, message: str, hint: str = "", response: bytes = b"") -> None:
        super().__init__(message, hint)
        self.response = response


class NotDiscarded(SprintoError):
    """A session could not be discarded for certain: a dry run's, or one that a user discards."""

    code = "not-discarded"
    temporary: bool | None = None


class CountMismatch(SprintoError):
    """Sprinto's counts are not what was sent. Temporary if a page in doubt was sent again."""

    code = "count-mismatch"
    temporary: bool | None = None


class ProcessingFailed(SprintoError):
    """Sprinto reports that the session was not processed."""

    code = "processing-failed"


class ProcessingTimeout(SprintoError):
    """The session was not processed in time; it may still be."""

    code = "processing-timeout"
    temporary = True


class TooFewRecords(SprintoError):
    """Fewer records of an entity type than `expect` requires, so nothing replaces what is applied now."""

    code = "too-few-records"


class RecordTooLarge(SprintoError):
    """One record alone is larger than a page may be."""

    code = "record-too-large"


class UnserializableRecord(SprintoError):
    """A record given to `Run.push` that cannot be sent as it is.

    `index` is its place within that push, from 0; `field` is the path to the problem, empty for the record.
    """

    code = "unserializable-record"

    def __init__(self, message: str, hint: str = "", *, index: int, field: str = "") -> None:
        super().__init__(message, hint)
        self.index = index
        self.field = field


class RunEnded(SprintoError):
    """A run has one session; this one is over."""

    code = "run-ended"


class Interrupted(SprintoError):
    """A signal ended the run; the exit code is the shell's, 128 + its number."""

    code = "interrupted"

    def __init__(self, signum: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(signum).name}.")
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """The shell's."""
        return 128 + self.signum
