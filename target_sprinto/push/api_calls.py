"""One method per call of Sprinto's push API.

Callers do not handle HTTP: a method returns a typed response or raises a specific `ApiError`. GETs are
retried if that is safe; POSTs only if they were definitely not performed.
`protocol/retries.py` says which failures are retried, and when.

Three calls have their own loops: a page (`run/send_queue.py`), because others wait for it; the close
(`run/closing.py`), because the status is read before each attempt; a create in doubt (`run/opening.py`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from math import inf
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from target_sprinto.push import endpoint, errors
from target_sprinto.push.protocol import arguments, responses
from target_sprinto.push.protocol.responses import (
    ActivityPage,
    IngestResult,
    IntegrationStatus,
    Operation,
    SessionStatus,
    require_state,
)
from target_sprinto.push.protocol.retries import RETRYABLE, RETRYABLE_GET, Backoff, is_in_doubt
from target_sprinto.push.protocol.timestamps import parse_http_date
from target_sprinto.push.timing import Timings
from target_sprinto.push.transport.base import Request, Response, Transport
from target_sprinto.push.transport.http import HttpTransport

log = logging.getLogger(__name__)

_MIN_REDACTED_KEY = 8
"""Shorter keys are not redacted: they could be part of any word."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class RetryPolicy:
    """How long one request, and all attempts of a call together, may take in seconds.

    A run that has ended sets `cancelled`: no further attempt is made. No request lasts beyond `until`, in
    monotonic seconds.
    """

    request_seconds: float = 60.0
    retry_seconds: float = 300.0
    cancelled: threading.Event = field(default_factory=threading.Event)
    until: float = inf

    def once(self) -> RetryPolicy:
        """The same policy without retries."""
        return replace(self, retry_seconds=0.0)


@dataclass(frozen=True)
class Call(Generic[_T]):
    """One call, a POST if it has a body, otherwise a GET; `session_id` if it concerns a session."""

    operation: Operation[_T]
    session_id: str = ""
    body: bytes | None = None
    encoding: str | None = None
    query: str = ""

    @property
    def retryable(self) -> tuple[type[errors.ApiError], ...]:
        """The errors after which the call is retried."""
        return RETRYABLE_GET if self.body is None else RETRYABLE


class ApiClient:
    """Sprinto's push API for one integration.

    `requests` is the number of requests sent so far, `request_seconds` their total duration.

    Takes the arguments of `sprinto_client.SprintoClient`. Thread-safe.
    """

    timings = Timings()
    """The fixed waits of everything that uses this client."""

    def __init__(
        self,
        *,
        api_key: str,
        integration_id: str,
        region: str = "us",
        api_url: str | None = None,
        transport: Transport | None = None,
    ) -> None:
        endpoint.validate_endpoint(api_key, integration_id, region, api_url)
        base_url = endpoint.base_url(region, api_url)
        self._base_url = f"{base_url}/v1/integrations/{quote(integration_id, safe='')}"
        self._api_key = api_key
        if transport is None:
            self._transport: Transport = HttpTransport(self._base_url, api_key)
        else:
            self._transport = arguments.methods("transport", Transport, transport)
        self.address = f"integration {integration_id!r} at {urlsplit(base_url).netloc}"
        """Integration and host, for messages."""
        self.requests = 0
        self.request_seconds = 0.0
        self._counting = threading.Lock()
        self._created_at = time.monotonic()
        self._requested_at: dict[str, float] = {}
        self.last_statuses: dict[str, tuple[SessionStatus, datetime]] = {}
        """The last status of each session id, and when it was read."""
        self._status_asked: dict[str, float] = {}
        self._server_date: tuple[datetime, float] | None = None
        self._recently_opened: dict[str, float] = {}
        self._still_empty: set[str] = set()

    def session_silence(self, session_id: str) -> float:
        """Seconds since the last request on the session was sent, or since `opened`."""
        return time.monotonic() - self._requested_at.get(session_id, self._created_at)

    def server_time(self) -> datetime:
        """Sprinto's time, or this machine's if it is unknown."""
        return self.known_server_time() or datetime.now(timezone.utc)

    def known_server_time(self) -> datetime | None:
        """Sprinto's time, from the latest `Date` of a response; None if there was none.

        Compare Sprinto's timestamps only with this: this machine's clock may differ by minutes or days.
        """
        if self._server_date is None:
            return None
        date, read_at = self._server_date
        return date + timedelta(seconds=time.monotonic() - read_at)

    def close(self) -> None:
        """Close the connections."""
        if isinstance(self._transport, HttpTransport):
            self._transport.close()

    def create_session(
        self, client_reference_id: str, retry_policy: RetryPolicy, *, retry_throttled: bool = True
    ) -> SessionStatus:
        """Open a session. Raises Conflict if another one is active.

        `retry_throttled`: retry after a 429 instead of raising it at once.
        """
        body = msgspec.json.encode({"client_reference_id": client_reference_id})
        retryable = RETRYABLE if retry_throttled else (errors.NotConnected,)
        session = self._call(Call(responses.CREATE, body=body), retry_policy, retryable)
        require_state(session, frozenset({"active"}), self._context(responses.CREATE))
        self.opened(session.id)
        return session

    def opened(self, session_id: str) -> None:
        """Note that this run opened the session: replicas may not know about it for a while."""
        self._recently_opened[session_id] = self._requested_at[session_id] = time.monotonic()
        self._still_empty.add(session_id)

    def session_status(self, session_id: str, retry_policy: RetryPolicy) -> SessionStatus:
        """The session's state and counts. Allowed at any time (Sprinto: Session Management)."""
        asked = time.monotonic()
        status = self._call(Call(responses.STATUS, session_id), retry_policy)
        # A hedged read may get its response after that of a later one, which is the newer.
        if asked >= self._status_asked.get(session_id, asked):
            self._status_asked[session_id] = asked
            self.last_statuses[session_id] = status, datetime.now(timezone.utc)
        return status

    def push_page(
        self, session_id: str, body: bytes, retry_policy: RetryPolicy, *, gzipped: bool
    ) -> IngestResult:
        """Send one page's bytes. Raises PageRefused, PageTooLarge, EncodingRefused or Conflict."""
        encoding = "gzip" if gzipped else None
        result = self._call(Call(responses.PUSH, session_id, body, encoding), retry_policy)
        if session_id in self._still_empty:
            self._still_empty.discard(session_id)
            self._recently_opened[session_id] = time.monotonic()
        return result

    def apply_session(self, session_id: str, retry_policy: RetryPolicy) -> SessionStatus:
        """Close with `apply`. A 202 means only that the transition was accepted."""
        session = self._call(Call(responses.CLOSE, session_id, b'{"status":"apply"}'), retry_policy)
        return require_state(session, responses.STATES, self._context(responses.CLOSE))

    def discard_session(self, session_id: str, retry_policy: RetryPolicy) -> SessionStatus:
        """Close with `discard`: nothing is applied."""
        return self._call(Call(responses.CLOSE, session_id, b'{"status":"discard"}'), retry_policy)

    def integration_status(self, retry_policy: RetryPolicy) -> IntegrationStatus:
        """The number of the integration's sessions in each state."""
        return self._call(Call(responses.INTEGRATION), retry_policy)

    def activity_page(self, since: datetime, page: int, retry_policy: RetryPolicy) -> ActivityPage:
        """One page of the activity log, counted from 1: the events since `since` by Sprinto's clock."""
        moment = quote(f"{since:%Y-%m-%dT%H:%M:%SZ}", safe="")
        query = f"?since={moment}&page={page}&page_size=200"
        return self._call(Call(responses.ACTIVITY, query=query), retry_policy)

    def request_raw(self, call: Call[Any], retry_policy: RetryPolicy) -> Response:
        """The raw response of a call, whatever its status, for `probe`.

        Retried like any other call; without `retry_seconds`, even a retryable response is returned. Errors
        below HTTP are raised.
        """

        def send() -> Response:
            response = self._send(call, retry_policy)
            try:
                self._parsed(call, response)
            except call.retryable:
                if retry_policy.retry_seconds:
                    raise
            except errors.ApiError:
                pass
            return response

        return self._retried(send, call.retryable, retry_policy)

    def read(self, operation: Operation[_T], response: Response) -> _T:
        """Parse a response of `request_raw`. Raises the ApiErrors of the call's own method."""
        body = response.body
        if operation is responses.PUSH and len(self._api_key) >= _MIN_REDACTED_KEY:
            # The response's text may be saved to a file.
            body = body.replace(self._api_key.encode(), b"[API key]")
        return responses.parse_response(operation, response.status, response.headers, body, self.address)

    def _parsed(self, call: Call[_T], response: Response) -> _T:
        """Parse a response. Raises NotVisible for a 404 that a replica may cause."""
        try:
            return self.read(call.operation, response)
        except errors.NotFound as unknown:
            since = self._recently_opened.get(call.session_id, -inf)
            if time.monotonic() - since >= self.timings.max_replica_lag:
                raise
            raise errors.NotVisible(unknown.message, unknown.hint) from None

    def _own(self, call: Call[_T], result: _T) -> _T:
        """The result of a call. Raises UnexpectedResponse if it is the status of another session."""
        if isinstance(result, SessionStatus) and call.session_id.casefold() not in {"", result.id.casefold()}:
            raise errors.UnexpectedResponse(
                f"{self._context(call.operation)} the response was about another session.",
                "Ask Sprinto's support.",
            )
        return result

    def _context(self, operation: Operation[Any]) -> str:
        return f"While {operation.action} ({self.address})"

    def _call(
        self,
        call: Call[_T],
        retry_policy: RetryPolicy,
        retryable: tuple[type[errors.ApiError], ...] | None = None,
    ) -> _T:
        def send() -> _T:
            try:
                return self._own(call, self._parsed(call, self._send(call, retry_policy)))
            except errors.ApiError as failure:
                if call.body is not None and is_in_doubt(failure):
                    # In doubt for whatever reason: a later run may find it performed, or perform it.
                    failure.temporary = True
                raise

        return self._retried(send, retryable or call.retryable, retry_policy)

    def _retried(
        self, send: Callable[[], _T], retryable: tuple[type[errors.ApiError], ...], retry_policy: RetryPolicy
    ) -> _T:
        """Send, and retry while that is safe and `retry_policy` allows.

        backoff's own loop cannot be woken from its sleep, and a run that has ended must not send again.
        """
        backoff = Backoff(retry_policy.retry_seconds, self.timings)
        while True:
            try:
                return send()
            except retryable as failure:
                wait = backoff.next_delay(failure)
                log.warning("%s Trying again in %.1f s.", failure.brief, wait)
                if retry_policy.cancelled.wait(wait):
                    raise

    def _send(self, call: Call[Any], retry_policy: RetryPolicy) -> Response:
        operation = call.operation
        url = self._base_url + operation.path.format(quote(call.session_id, safe="")) + call.query
        headers = {"Content-Type": "application/json"} if call.body is not None else {}
        if call.encoding is not None:
            headers["Content-Encoding"] = call.encoding
        began = time.monotonic()
        seconds = min(retry_policy.request_seconds, retry_policy.until - began)
        request = Request(url, call.body, headers, seconds, self._context(operation))
        if seconds <= 0:
            raise errors.NotConnected(f"{request.action} no time was left.")
        if call.session_id:
            self._requested_at[call.session_id] = began
        try:
            sent = self._transport.send(request)
            response = arguments.instance("transport.send(…)", Response, sent)
            for name, kind in (("status", int), ("headers", Mapping), ("body", bytes)):
                arguments.instance(f"transport.send(…).{name}", kind, getattr(response, name))
        except OSError:
            raise errors.ResponseLost(f"{request.action} the connection broke.", "Run again.") from None
        finally:
            with self._counting:
                self.requests += 1
                self.request_seconds += time.monotonic() - began
        if (date := parse_http_date(str(response.headers.get("Date", "")))) is not None:
            self._server_date = date, time.monotonic()
        return response
