"""The calls of the push API, and what a response means: bytes in, a typed response or an error out. Pure.

A call that was performed (a 2xx with the documented shape) returns one of the types below. A call that was
not performed, or is in doubt, raises an `ApiError`, whose `outcome` says which. Unknown fields are ignored. A
field that a decision needs, if missing or of the wrong type, is an `UnexpectedResponse`, never a success.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Annotated, Any, Generic, TypeVar, cast

import msgspec
from msgspec.json import Decoder

from target_sprinto.push import errors
from target_sprinto.push.protocol.retries import parse_retry_after
from target_sprinto.push.protocol.timestamps import parse_http_date, parse_time

_T = TypeVar("_T")

STATES = frozenset({"active", "processing", "processed", "cancelled", "expired", "failed"})
"""All states of a session (Sprinto: Session Management)."""

SESSION_ID = r"\A[A-Za-z0-9_][A-Za-z0-9_.:-]{0,99}\Z"
"""The form of a session's id, which is put into paths, and into commands that messages suggest."""

_Id = Annotated[str, msgspec.Meta(pattern=SESSION_ID)]
_Word = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z_-]{1,40}\Z")]
"""A word that messages may show unchanged. Any other string might be text that quotes values."""

_MAX_ENTITY_TYPES = 10_000
_MAX_COUNT = 10**15
_Count = Annotated[int, msgspec.Meta(ge=0, le=_MAX_COUNT)]

_MAX_DECODED_BYTES = 2_000_000
"""Maximum body to decode: once decoded, small values take up to thirty times as much memory."""


def count_of(value: object) -> int | None:
    """A count that Sprinto reports, if it is plausible; otherwise it may be anything, and is not shown."""
    return value if type(value) is int and 0 <= value <= _MAX_COUNT else None


class SessionStatus(msgspec.Struct, frozen=True):
    """A session as create, status and close return it (Sprinto: Session Management)."""

    id: _Id
    state: _Word
    accepted_records_by_entity: Any = None
    accepted_batches: Any = None
    retry_count: Any = None
    created_at: Any = None
    expires_at: Any = None
    updated_at: Any = None
    inactivity_timeout_seconds: Any = None

    @property
    def expiry(self) -> str:
        """When the session expires automatically, as Sprinto reports it; never empty."""
        return str(self.expires_at) if parse_time(self.expires_at) else "60 minutes after its last request"

    def counts(self) -> dict[str, int]:
        """Accepted records so far: ``{entity_type: int}``, without zeros.

        Raises UnexpectedResponse if the status has none, or one that is invalid.
        """
        try:
            counts = msgspec.convert(self.accepted_records_by_entity, dict[str, _Count])
        except msgspec.ValidationError as problem:
            raise errors.UnexpectedResponse(
                f"The session's status has no valid `accepted_records_by_entity`: {problem}.",
                "Without it the run cannot check what Sprinto accepted; ask Sprinto's support.",
            ) from None
        if len(counts) > _MAX_ENTITY_TYPES:
            raise _undocumented(f"The session's status counts more than {_MAX_ENTITY_TYPES:,} entity types.")
        return {name: count for name, count in counts.items() if count}

    @property
    def retried(self) -> bool:
        """Whether Sprinto reports that it retried processing the session."""
        return isinstance(self.retry_count, int) and self.retry_count >= 1


class IngestResult(msgspec.Struct, frozen=True):
    """The response to an accepted page (Sprinto: Pushing Entities Data)."""

    session_id: _Id
    accepted_count_total: int
    rejection: bytes = msgspec.field(default=b"", name="(the response itself)")
    """The body, if it reports that something in the page was rejected. It may quote values of records."""


class _Rejection(msgspec.Struct, frozen=True):
    """What any response to a page says about rejected records, whatever else is in it."""

    rejected_count_total: Any = None
    validation_errors: Any = None
    error: msgspec.Raw = msgspec.Raw(b"null")


class IntegrationSessions(msgspec.Struct, frozen=True):
    """The number of an integration's sessions in each state. Only `processing` is required."""

    processing: int
    active: Any = None
    processed: Any = None
    failed: Any = None
    expired: Any = None


class IntegrationStatus(msgspec.Struct, frozen=True):
    """The integration's status (Sprinto: Integration Monitoring)."""

    integration_id: str
    sessions: IntegrationSessions
    last_activity_at: Any = None

    def active_sessions(self) -> int:
        """How many sessions are active. Raises UnexpectedResponse if that is not a number."""
        if (active := count_of(self.sessions.active)) is None:
            raise _undocumented("The integration's status has no count of `active` sessions.")
        return active


class ActivityPage(msgspec.Struct, frozen=True):
    """One page of the activity log; events are kept unchanged."""

    items: list[dict[str, Any]]
    next_page: int | None = None


def require_state(status: SessionStatus, documented: frozenset[str], action: str) -> SessionStatus:
    """The status, if its state is one of those documented here. Raises UnexpectedResponse for any other."""
    if status.state not in documented:
        raise _undocumented(
            f"{action} Sprinto returned the state {status.state!r}, which is not documented there."
        )
    return status


def _undocumented(message: str) -> errors.UnexpectedResponse:
    return errors.UnexpectedResponse(
        message, "This is not treated as success; ask Sprinto's support whether the API has changed."
    )


@dataclass(frozen=True, eq=False)
class Operation(Generic[_T]):
    """A call of the push API. `action` names it in messages; `path` follows the integration's path.

    A response with the `documented` status has a body that `response` decodes. Decoders are made at import:
    msgspec 0.22 crashes the process if two threads decode a type for the first time at once.
    """

    action: str
    path: str
    documented: HTTPStatus
    response: Decoder[_T]


CREATE = Operation("opening a session", "/sessions", HTTPStatus.CREATED, Decoder(SessionStatus))
STATUS = Operation("reading the session's status", "/sessions/{}", HTTPStatus.OK, Decoder(SessionStatus))
PUSH = Operation("sending a page", "/sessions/{}/entities", HTTPStatus.ACCEPTED, Decoder(IngestResult))
CLOSE = Operation("closing the session", "/sessions/{}/close", HTTPStatus.ACCEPTED, Decoder(SessionStatus))
INTEGRATION = Operation(
    "reading the integration's status", "/status", HTTPStatus.OK, Decoder(IntegrationStatus)
)
ACTIVITY = Operation("reading the activity log", "/activity", HTTPStatus.OK, Decoder(ActivityPage))
_REJECTION = Decoder(_Rejection)


def parse_response(
    operation: Operation[_T], status: int, headers: Mapping[str, str], body: bytes, address: str
) -> _T:
    """The typed response. Raises the `ApiError` that any other response means.

    `address` names the integration and its host in messages.
    """
    is_success = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
    if operation is PUSH and is_success and _reports_rejection(body):
        # Nothing may be sent after it, even if the rest of it is not as documented.
        return cast("_T", IngestResult("", 0, rejection=body))
    if status == operation.documented:
        return _decode(operation, body)
    if is_success:
        raise errors.UnexpectedResponse(
            f"While {operation.action} Sprinto returned {status} instead of the documented"
            f" {operation.documented.value}.",
            "This is not treated as success; check for a proxy or gateway between this machine and Sprinto.",
        )
    refusal = _refusal(operation, status, headers, body, f"While {operation.action} ({address})")
    refusal.status = status
    raise refusal


def _decode(operation: Operation[_T], body: bytes) -> _T:
    action = f"While {operation.action}"
    if len(body) > _MAX_DECODED_BYTES:
        raise _undocumented(
            f"{action} Sprinto's response had {len(body):,} bytes; up to {_MAX_DECODED_BYTES:,} are read."
        )
    try:
        return operation.response.decode(body)
    except msgspec.ValidationError as problem:
        # msgspec names types and the field's path, never a value.
        raise _undocumented(
            f"{action} Sprinto's response does not have the documented shape: {problem}."
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise errors.ResponseLost(
            f"{action} Sprinto's response was not JSON.",
            "Check any proxy or gateway between this machine and Sprinto.",
        ) from None


def _rejection(body: bytes) -> _Rejection:
    """Empty if the body is too large, or not a JSON object."""
    if len(body) <= _MAX_DECODED_BYTES:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return _REJECTION.decode(body)
    return _Rejection()


def _reports_rejection(body: bytes) -> bool:
    if len(body) > _MAX_DECODED_BYTES:
        return b'"validation_errors"' in body
    found = _rejection(body)
    return found.rejected_count_total not in (None, 0, "0") or found.validation_errors not in (None, [], {})


_KEY_REFUSED = (
    errors.Unauthorized,
    ": the API key was rejected",
    "Check `api_key`, that it belongs to this region, and that it may write to this integration.",
)
_NOT_NOW = (errors.Throttled, ": temporarily unavailable", "")
_LOST = (errors.ResponseLost, "", "")
_REDIRECTED = (
    errors.Redirected,
    ": a redirect, which is never followed because the API key must not reach another host",
    "Check `region` and `api_url`, and whether a gateway asks for a login.",
)
_MEANINGS: Mapping[int, tuple[type[errors.ApiError], str, str]] = {
    400: (errors.BadRequest, ": the request was rejected", ""),
    401: _KEY_REFUSED,
    403: _KEY_REFUSED,
    408: _LOST,
    409: (errors.Conflict, ": the session's state does not allow it", ""),
    413: (errors.PageTooLarge, ": the page is too large", ""),
    415: (errors.EncodingRefused, ": the encoding was rejected", ""),
    425: _NOT_NOW,
    429: _NOT_NOW,
}
"""By status: the error, the rest of its message, and its hint unless it is the class's own."""

GATEWAY = "Check any proxy or gateway on the way, and `api_url`."
NOT_JSON = ", in a response that is not JSON, so it may be a gateway's"
_GATEWAY_HINTS: Mapping[type[errors.ApiError], str] = {
    errors.Unauthorized: GATEWAY,
    errors.BadRequest: GATEWAY,
    errors.PageTooLarge: "Raise that gateway's body limit, or leave large fields out at the source.",
    errors.ResponseLost: "Run again later; if it persists, check any proxy or gateway on the way.",
}
"""Hints for errors whose status a proxy or gateway may return, too, with its own body."""

_CHECK_THE_WAY = "Check `region`, `api_url` and any proxy or gateway between this machine and Sprinto."
_NOT_DOCUMENTED = (", which is not a documented response", _CHECK_THE_WAY)


def may_be_from_gateway(body: bytes) -> bool:
    """Whether a response has a body, and it is not a JSON object as Sprinto's are."""
    return bool(body.strip()) and not body.lstrip().startswith(b"{")


def _refusal(
    operation: Operation[Any], status: int, headers: Mapping[str, str], body: bytes, action: str
) -> errors.ApiError:
    """What a status outside 2xx means."""
    action = f"{action} Sprinto returned {status}"
    # A program's own transport may give them as numbers.
    wait, date = (str(headers.get(name, "")) for name in ("Retry-After", "Date"))
    retry_after = parse_retry_after(wait, parse_http_date(date))
    if status == HTTPStatus.BAD_REQUEST and operation is PUSH:
        return errors.PageRefused(
            f"{action}: the page was rejected.", details=details_of(body), response=body
        )
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return proxy_refused(status)
    if status == HTTPStatus.NOT_FOUND:
        about, ids = "integration", "`integration_id`"
        if "{}" in operation.path:
            about, ids = "session", "the session's id, `integration_id`"
        what, hint = f": the {about} does not exist there", f"Check {ids}, `region` and `api_url`"
        if may_be_from_gateway(body):
            what, hint = NOT_JSON, f"Check any gateway on the way, {ids}, `region` and `api_url`"
        return errors.NotFound(f"{action}{what}.", f"{hint} (which ends in /api/external/push).")
    kind, what, hint = _meaning(status, retry_after)
    if operation is not PUSH and kind in {errors.PageTooLarge, errors.EncodingRefused}:
        kind, what, hint = errors.UndocumentedRefusal, *_NOT_DOCUMENTED
    if kind in _GATEWAY_HINTS and may_be_from_gateway(body):
        what, hint = NOT_JSON, _GATEWAY_HINTS[kind]
    refusal = kind(f"{action}{what}.", hint)
    if kind is errors.Throttled:
        refusal.retry_after = retry_after
    return refusal


def _meaning(status: int, retry_after: float | None) -> tuple[type[errors.ApiError], str, str]:
    if status in _MEANINGS:
        return _MEANINGS[status]
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return _REDIRECTED
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        later = status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after is not None
        return _NOT_NOW if later else _LOST
    kind = errors.UndocumentedRefusal if status >= HTTPStatus.BAD_REQUEST else errors.UnexpectedResponse
    return kind, *_NOT_DOCUMENTED


def details_of(body: bytes) -> tuple[dict[str, object], ...]:
    """A rejection's details, from `error.details[]` or `validation_errors[]`; it is not documented which.

    Only the first thousand: a page has at most a hundred records.
    """
    found = _rejection(body)
    listed = [found.validation_errors]
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        listed.insert(0, msgspec.json.decode(found.error, type=dict[str, Any]).get("details"))
    entries = (entry for one in listed if isinstance(one, list) for entry in one)
    return tuple(islice((entry for entry in entries if isinstance(entry, dict)), 1000))


def proxy_refused(status: int) -> errors.ProxyRefused:
    """The error for a proxy's refusal, received as a response or while the tunnel was made."""
    if status in {HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, HTTPStatus.UNAUTHORIZED}:
        # tinyproxy rejects a wrong login with 401.
        says = "rejects the login" if status == HTTPStatus.UNAUTHORIZED else "asks for a login"
        return errors.ProxyRefused(
            f"The proxy {says} ({status}); this request did not reach Sprinto.",
            "Check user and password in HTTPS_PROXY, or name Sprinto's host in NO_PROXY.",
        )
    return errors.ProxyRefused(
        f"The proxy did not connect to Sprinto (it returned {status}).",
        "Check HTTPS_PROXY and NO_PROXY, and that the proxy allows Sprinto's host.",
    )
