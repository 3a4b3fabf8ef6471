"""The six calls of the push API: a request in, a response out. No sockets, no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal, TypeVar

import msgspec

from target_sprinto.sandbox import response_bodies as bodies
from target_sprinto.sandbox.integration import Integration
from target_sprinto.sandbox.refusal import Refused, Reply
from target_sprinto.sandbox.request_body import parse_page, uncompressed

_T = TypeVar("_T")

Operation = Literal["create", "status", "push", "close", "integration_status", "activity"]


@dataclass
class Call:
    """A request of the API; `session_id` is empty unless it concerns a session. `body` is as sent."""

    operation: Operation
    integration_id: str
    session_id: str
    headers: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class _CreateBody(msgspec.Struct):
    client_reference_id: str | None = None


class _CloseBody(msgspec.Struct):
    status: Literal["apply", "discard"]


class _ActivityQuery(msgspec.Struct):
    since: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    page: Annotated[int, msgspec.Meta(ge=1)] = 1
    page_size: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50


def respond(call: Call, integration: Integration) -> Reply:
    """Act on a call. Raises Refused."""
    return _ACTS[call.operation](call, integration)


def _create(call: Call, integration: Integration) -> Reply:
    session = integration.create(_body(call, integration, _CreateBody).client_reference_id)
    return Reply(201, bodies.session_body(session, integration))


def _status(call: Call, integration: Integration) -> Reply:
    session = integration.session(call.session_id)
    integration.look(session)
    return Reply(200, bodies.status_body(session, integration))


def _push(call: Call, integration: Integration) -> Reply:
    session = integration.session(call.session_id)
    integration.open_for_pages(session)
    try:
        page = parse_page(_uncompressed(call, integration))
        integration.stage(session, page)
    except Refused as refused:
        integration.note_rejected_page(session, refused)
        raise
    return Reply(202, bodies.ingest_body(session, page, integration.options.readings))


def _close(call: Call, integration: Integration) -> Reply:
    session = integration.session(call.session_id)
    wanted = _body(call, integration, _CloseBody).status
    before = session.state
    integration.close(session, wanted)
    body = bodies.close_body(session, integration)
    if integration.options.readings.close_response_state == "active":
        body["state"] = before
    return Reply(202, body)


def _integration_status(_: Call, integration: Integration) -> Reply:
    return Reply(200, bodies.integration_body(integration))


def _activity(call: Call, integration: Integration) -> Reply:
    readings = integration.options.readings
    try:
        query = msgspec.convert(dict(call.query), _ActivityQuery, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(400, f"Bad query: {error}") from None
    begin = query.since.timestamp() if query.since else float("-inf")
    end = integration.now - readings.log_lag_seconds
    events = [event for event in integration.state.events if begin <= event.at <= end]
    return Reply(200, bodies.activity_body(events, query.page, query.page_size, readings))


_ACTS: dict[Operation, Callable[[Call, Integration], Reply]] = {
    "create": _create,
    "status": _status,
    "push": _push,
    "close": _close,
    "integration_status": _integration_status,
    "activity": _activity,
}


def _uncompressed(call: Call, integration: Integration) -> bytes:
    return uncompressed(call.body, call.headers, integration.options.readings)


def _body(call: Call, integration: Integration, shape: type[_T]) -> _T:
    """Read the body as `shape`; an empty one counts as `{}`."""
    try:
        return msgspec.json.decode(_uncompressed(call, integration) or b"{}", type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, f"Malformed body: {error}") from None
