"""What an answer means: bytes in, a typed answer or an error by meaning out. Pure.

Answers fall in three kinds. It happened: a 2xx with the documented shape, returned as one of the types
below. It was not performed, or it is in doubt: raised as an `ApiError`, whose `outcome` says which.
Fields that were added to an answer are ignored; one that a decision needs and that is missing or of another
type is an `UnexpectedResponse`, never a success.
"""

from __future__ import annotations

import enum
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from target_sprinto.push import errors
from target_sprinto.push.protocol.retry import parse_retry_after
from target_sprinto.push.protocol.times import parse_http_date, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_T = TypeVar("_T")


class Operation(enum.Enum):
    """The calls of the push API; the value is how messages name them."""

    CREATE = "opening a session"
    STATUS = "reading the session's status"
    PUSH = "sending a page"
    CLOSE = "closing the session"
    INTEGRATION = "reading the integration's status"
    ACTIVITY = "reading the activity log"


STATES = frozenset({"active", "processing", "processed", "cancelled", "expired", "failed"})
"""All states of a session (Sprinto: Session Management)."""


SESSION_ID = r"\A[A-Za-z0-9_][A-Za-z0-9_.:-]{0,99}\Z"
"""What a session's id looks like: it is a part of paths, and of commands that messages suggest."""

_Id = Annotated[str, msgspec.Meta(pattern=SESSION_ID)]
_Word = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z_-]{1,40}\Z")]
"""What messages name as it came. Whatever else is in its place may be a text that quotes values."""


_MOST_ENTITY_TYPES = 10_000
_Count = Annotated[int, msgspec.Meta(ge=0, le=10**15)]

_MAX_DECODED_BYTES = 2_000_000
"""Of a response's body: decoded, small values take up to thirty times as much."""


class SessionStatus(msgspec.Struct, frozen=True):
    """A session as create, status and close show it (Sprinto: Session Management)."""

    id: _Id
    state: _Word
    accepted_records_by_entity: Any = None
    accepted_batches: Any = None
    retry_count: Any = None
    expires_at: Any = None
    updated_at: Any = None
    inactivity_timeout_seconds: Any = None

    @property
    def expiry(self) -> str:
        """When the session expires by itself, in Sprinto's own words; never empty."""
        return str(self.expires_at) if parse_time(self.expires_at) else "60 minutes after its last request"

    def counts(self) -> dict[str, int]:
        """Accepted records so far: ``{entity_type: int}``, without zeros.

        Raises UnexpectedResponse where the status has none, or something that is not a count.
        """
        try:
            counts = msgspec.convert(self.accepted_records_by_entity, dict[str, _Count])
        except msgspec.ValidationError as problem:
            raise errors.UnexpectedResponse(
                f"The session's status has no `accepted_records_by_entity` that can be read: {problem}.",
                "Without it it cannot be decided what Sprinto accepted; ask Sprinto's support.",
            ) from None
        if len(counts) > _MOST_ENTITY_TYPES:
            raise errors.UnexpectedResponse(
                f"The session's status counts more than {_MOST_ENTITY_TYPES:,} entity types.",
                "This is not read as success; ask Sprinto's support.",
            )
        return {name: count for name, count in counts.items() if count}

    @property
    def retried(self) -> bool:
        """Whether Sprinto says that it has tried once more to process the session."""
        return isinstance(self.retry_count, int) and self.retry_count >= 1


class IngestResult(msgspec.Struct, frozen=True):
    """The answer to an accepted page (Sprinto: Pushing Entities Data)."""

    session_id: _Id
    accepted_count_total: int
    rejected_count_total: int | None = None
    validation_errors: list[Any] | None = None
    response: bytes = msgspec.field(default=b"", name="(the response itself)")
    """The body, of a response that says something was rejected. It may quote values of records."""

    @property
    def rejected(self) -> bool:
        """Whether an accepted page says that something in it was rejected."""
        return bool(self.rejected_count_total or self.validation_errors)


class IntegrationSessions(msgspec.Struct, frozen=True):
    """How many sessions of an integration are in which state; only `processing` decides anything."""

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
        """How many sessions are active. Raises UnexpectedResponse where that is not a number."""
        active = self.sessions.active
        if not isinstance(active, int) or isinstance(active, bool):
            raise errors.UnexpectedResponse(
                "The integration's status has no count of `active` sessions.",
                "This is not read as none; ask Sprinto's support whether the API has changed.",
            )
        return active


class ActivityPage(msgspec.Struct, frozen=True):
    """One page of the activity log; events are kept as they came."""

    items: list[dict[str, Any]]
    next_page: int | None = None


def require_state(status: SessionStatus, documented: frozenset[str], doing: str) -> SessionStatus:
    """The status, if its state is one of those documented here. Raises UnexpectedResponse for any other."""
    if status.state not in documented:
        raise errors.UnexpectedResponse(
            f"{doing} Sprinto answered with the state {status.state!r}, which is not documented there.",
            "This is not read as success; ask Sprinto's support whether the API has changed.",
        )
    return status


_SHAPES: dict[Operation, tuple[frozenset[int], type]] = {
    Operation.CREATE: (frozenset({201}), SessionStatus),
    Operation.STATUS: (frozenset({200}), SessionStatus),
    Operation.PUSH: (frozenset({202}), IngestResult),
    Operation.CLOSE: (frozenset({202}), SessionStatus),
    Operation.INTEGRATION: (frozenset({200}), IntegrationStatus),
    Operation.ACTIVITY: (frozenset({200}), ActivityPage),
}


def parse_response(
    operation: Operation,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    address: str,
) -> SessionStatus | IngestResult | IntegrationStatus | ActivityPage:
    """The typed answer, or an `ApiError` that says what the answer means.

    `address` names region and integration in messages.
    """
    documented, shape = _SHAPES[operation]
    if status in documented:
        return _decode(operation, body, shape)
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        raise errors.UnexpectedResponse(
            f"While {operation.value} Sprinto answered {status}, where the documents say"
            f" {'/'.join(map(str, sorted(documented)))}.",
            "This is not read as success; check that nothing stands between this machine and Sprinto.",
        )
    refusal = _refusal(operation, status, headers, body, address)
    refusal.status = status
    raise refusal


def _decode(operation: Operation, body: bytes, shape: type[_T]) -> _T:
    if len(body) > _MAX_DECODED_BYTES:
        raise errors.UnexpectedResponse(
            f"While {operation.value} Sprinto's response had {len(body):,} bytes; up to"
            f" {_MAX_DECODED_BYTES:,} are read.",
            "This is not read as success; ask Sprinto's support whether the API has changed.",
        )
    try:
        result = msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as problem:
        # msgspec names types and the field's path, never a value.
        raise errors.UnexpectedResponse(
            f"While {operation.value} Sprinto's answer had another shape than documented: {problem}.",
            "This is not read as success; ask Sprinto's support whether the API has changed.",
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise errors.ResponseLost(
            f"While {operation.value} the answer could not be read: it is not JSON.",
            "If a proxy stands between this machine and Sprinto, look at what it does.",
        ) from None
    if isinstance(result, IngestResult) and result.rejected:
        return msgspec.structs.replace(result, response=body)
    return result


def _refusal(  # noqa: C901, PLR0911 - one line for each row of the table
    operation: Operation,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    address: str,
) -> errors.ApiError:
    """What a status outside 2xx means (the table is in the contract, "What an answer means")."""
    doing = f"While {operation.value} ({address}) Sprinto answered {status}"
    retry_after = parse_retry_after(headers.get("Retry-After"), parse_http_date(headers.get("Date")))
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return errors.Redirected(
            f"{doing}: a redirect, which is never followed because the API key must not reach another host.",
            "Check `region` and `api_url`, and whether a gateway asks for a login.",
        )
    if status == HTTPStatus.BAD_REQUEST and operation is Operation.PUSH:
        return errors.PageRefused(f"{doing}: the page was refused.", faults=_faults(body), response=body)
    if status == HTTPStatus.BAD_REQUEST:
        return errors.BadRequest(f"{doing}: the request was refused.", "Ask Sprinto's support.")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return errors.Unauthorized(
            f"{doing}: the API key was refused.",
            "Check `api_key`, that it belongs to this region, and that it may write to this integration.",
        )
    if status == HTTPStatus.NOT_FOUND:
        unknown = (
            "session" if operation in {Operation.STATUS, Operation.PUSH, Operation.CLOSE} else "integration"
        )
        ids = "the session's id, `integration_id`" if unknown == "session" else "`integration_id`"
        return errors.NotFound(
            f"{doing}: the {unknown} is not known there.",
            f"Check {ids}, `region` and `api_url` (which ends in /api/external/push).",
        )
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return errors.ProxyRefused.answering(status)
    if status == HTTPStatus.CONFLICT:
        return errors.Conflict(f"{doing}: it does not fit the session's state.")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return errors.PageTooLarge(f"{doing}: the page is too large.")
    if status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        return errors.EncodingRefused(f"{doing}: the encoding was refused.", "Set `compress` to false.")
    if status in {HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS} or (
        status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after is not None
    ):
        return errors.Throttled(
            f"{doing}: not now.",
            "Run again later; `retry_timeout_seconds` says how long one request may be retried.",
            retry_after=retry_after,
        )
    if status == HTTPStatus.REQUEST_TIMEOUT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return errors.ResponseLost(f"{doing}.", "Run again later; if it stays, ask Sprinto's support.")
    undocumented = (
        errors.UndocumentedRefusal if status >= HTTPStatus.BAD_REQUEST else errors.UnexpectedResponse
    )
    return undocumented(
        f"{doing}, which is not a documented response.",
        "Check `region` and `api_url`, and what stands between this machine and Sprinto.",
    )


def _faults(body: bytes) -> tuple[dict[str, object], ...]:
    """What a refusal names, from `error.details[]` or `validation_errors[]`: which is not documented."""
    if len(body) > _MAX_DECODED_BYTES:
        return ()
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    if not isinstance(answer, dict):
        return ()
    error = answer.get("error")
    listed = [error.get("details") if isinstance(error, dict) else None, answer.get("validation_errors")]
    return objects(entry for entries in listed if isinstance(entries, list) for entry in entries)


def objects(entries: Iterable[object]) -> tuple[dict[str, object], ...]:
    """The first thousand of a response's errors that are objects: a page has a hundred records at most."""
    return tuple(islice((entry for entry in entries if isinstance(entry, dict)), 1000))
