"""The six calls of the push API: a request in, a response out. No sockets, no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal, TypeVar

import msgspec

from target_sprinto.sandbox import response_bodies as bodies
from target_sprinto.sandbox.integration import Integration
from target_sprinto.sandbox.readings import Readings
from target_sprinto.sandbox.refusal import Refused, Reply
from target_sprinto.sandbox.request_body import parse_page, uncompressed
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
    """A call and the integration that it is about: a method for each operation."""

    call: Call
    integration: Integration

    def respond(self) -> Reply:
        """Act on the call, or raise `Refused`."""
        acts: dict[Operation, Callable[[], Reply]] = {
            "create": self._create,
            "status": self._status,
            "push": self._push,
            "close": self._close,
            "integration_status": self._integration_status,
            "activity": self._activity,
        }
        return acts[self.call.operation]()

    def _create(self) -> Reply:
        session = self.integration.create(self._body(_CreateBody).client_reference_id)
        return Reply(201, bodies.session_body(session, self.integration.now))

    def _status(self) -> Reply:
        session = self._session()
        self.integration.look(session)
        return Reply(200, bodies.status_body(session, self.integration))

    def _push(self) -> Reply:
        session = self._session()
        self.integration.open_for_pages(session)
        try:
            page = parse_page(self._uncompressed())
            self.integration.stage(session, page)
        except Refused as refused:
            self.integration.note_rejected_page(session, refused)
            raise
        return Reply(202, bodies.ingest_body(session, page, self._readings))

    def _close(self) -> Reply:
        session = self._session()
        wanted = self._body(_CloseBody).status
        before = session.state
        self.integration.close(session, wanted)
        body = bodies.close_body(session, self.integration)
        if self._readings.close_response_state == "active":
            body["state"] = before
        return Reply(202, body)

    def _integration_status(self) -> Reply:
        return Reply(200, bodies.integration_body(self.integration))

    def _activity(self) -> Reply:
        try:
            query = msgspec.convert(dict(self.call.query), _ActivityQuery, strict=False)
        except msgspec.ValidationError as error:
            raise Refused(400, f"Bad query: {error}") from None
        begin = query.since.timestamp() if query.since else float("-inf")
        end = self.integration.now - self._readings.log_lag_seconds
        events = [event for event in self.integration.state.events if begin <= event.at <= end]
        return Reply(200, bodies.activity_body(events, query.page, query.page_size, self._readings))

    @property
    def _readings(self) -> Readings:
        return self.integration.options.readings

    def _session(self) -> Session:
        return self.integration.session(self.call.session_id or "")

    def _uncompressed(self) -> bytes:
        return uncompressed(self.call.body, self.call.headers, self._readings)

    def _body(self, shape: type[_T]) -> _T:
        """Read the body as `shape`; an empty one counts as `{}`."""
        try:
            return msgspec.json.decode(self._uncompressed() or b"{}", type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(400, f"Malformed body: {error}") from None
