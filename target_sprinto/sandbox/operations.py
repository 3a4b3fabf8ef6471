"""The six calls of the push API: a request in, a response out. No sockets, no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from target_sprinto.sandbox import response_bodies as bodies
from target_sprinto.sandbox.integration import Integration
from target_sprinto.sandbox.readings import Readings
from target_sprinto.sandbox.refusal import Refused
from target_sprinto.sandbox.request_body import MAX_ITEMS, Page, parse_page, uncompressed
from target_sprinto.sandbox.state import Session

_T = TypeVar("_T")

Operation = Literal["create", "status", "push", "close", "integration_status", "activity"]


@dataclass
class Call:
    """A request of the API; `body` is as sent."""

    operation: Operation
    integration_id: str
    session_id: str | None
    headers: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """A response: its HTTP status, its JSON, and headers of its own."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class _CreateBody(msgspec.Struct):
    client_reference_id: str | None = None


class _CloseBody(msgspec.Struct):
    status: Literal["apply", "discard"]


class _ActivityQuery(msgspec.Struct):
    since: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    page: Annotated[int, msgspec.Meta(ge=1)] = 1
    page_size: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50


@dataclass(frozen=True)
class Exchange:
    """A call in its surroundings: all that its response depends on. `now` in seconds since the epoch."""

    call: Call
    integration: Integration
    now: float

    def respond(self) -> Reply:
        """Act on the call, or raise `Refused`."""
        return _ACTS[self.call.operation](self)

    def session(self) -> Session:
        """Find the session that the call names."""
        return self.integration.session(self.call.session_id or "", self.now)

    @property
    def readings(self) -> Readings:
        """How this integration reads the documents."""
        return self.integration.options.readings

    def body(self, shape: type[_T]) -> _T:
        """Read the body as `shape`; an empty one counts as `{}`."""
        body = uncompressed(self.call.body, self.call.headers, self.readings)
        try:
            return msgspec.json.decode(body or b"{}", type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(400, f"Malformed body: {error}") from None

    def page(self) -> Page:
        """Read the page, if it is one and within the limits."""
        page = parse_page(uncompressed(self.call.body, self.call.headers, self.readings))
        if page.items > MAX_ITEMS:
            raise Refused(413, f"The page has {page.items} records; {MAX_ITEMS} are allowed")
        return page


def _create(exchange: Exchange) -> Reply:
    reference = exchange.body(_CreateBody).client_reference_id
    return Reply(201, bodies.session_body(exchange.integration.create(reference, exchange.now), exchange.now))


def _status(exchange: Exchange) -> Reply:
    session = exchange.session()
    exchange.integration.look(session, exchange.now)
    return Reply(200, bodies.status_body(session, exchange.readings, exchange.now))


def _push(exchange: Exchange) -> Reply:
    integration = exchange.integration
    session = exchange.session()
    integration.open_for_pages(session, exchange.now)
    try:
        page = exchange.page()
        integration.stage(session, page, exchange.now)
    except Refused as refused:
        integration.note_rejected_page(session, refused, exchange.now)
        raise
    return Reply(202, bodies.ingest_body(session, page, exchange.readings))


def _close(exchange: Exchange) -> Reply:
    session = exchange.session()
    wanted = exchange.body(_CloseBody).status
    before = session.state
    exchange.integration.close(session, wanted, exchange.now)
    body = bodies.close_body(session, exchange.readings, exchange.now)
    if exchange.readings.close_response_state == "active":
        body["state"] = before
    return Reply(202, body)


def _integration_status(exchange: Exchange) -> Reply:
    return Reply(200, bodies.integration_body(exchange.integration))


def _activity(exchange: Exchange) -> Reply:
    try:
        query = msgspec.convert(dict(exchange.call.query), _ActivityQuery, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(400, f"Bad query: {error}") from None
    begin = query.since.timestamp() if query.since else float("-inf")
    end = exchange.now - exchange.readings.log_lag_seconds
    events = [event for event in exchange.integration.state.events if begin <= event.at <= end]
    return Reply(200, bodies.activity_body(events, query.page, query.page_size, exchange.readings))


_ACTS: dict[Operation, Callable[[Exchange], Reply]] = {
    "create": _create,
    "status": _status,
    "push": _push,
    "close": _close,
    "integration_status": _integration_status,
    "activity": _activity,
}
