"""One method per call of Sprinto's push API; the only place that speaks HTTP.

Correct use needs no knowledge of HTTP: a method returns the typed answer, or raises an `ApiError` by
meaning. A GET is repeated where that is safe; a POST only where it surely did not happen.
"""

from __future__ import annotations

import gzip
import logging
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote, urlsplit

import msgspec
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from target_sprinto.push import errors, retry
from target_sprinto.push.answers import (
    ActivityPage,
    IngestResult,
    IntegrationStatus,
    Operation,
    SessionStatus,
    proxy_refused,
    read_answer,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

log = logging.getLogger("target_sprinto.push")

MAX_ANSWER_BYTES = 16_000_000
"""No documented answer comes near it; a larger one is not read to its end."""

# Fast, and small enough: evidence is repetitive JSON.
_GZIP_LEVEL = 1

_REPEATABLE = (errors.NotConnected, errors.NotNow)
"""Surely did not happen, and may go better next time: GETs and POSTs."""

_REPEATABLE_GET = (*_REPEATABLE, errors.AnswerLost)

_T = TypeVar("_T", SessionStatus, IngestResult, IntegrationStatus, ActivityPage)


@dataclass(frozen=True)
class Patience:
    """How long a call may take: one request, and all tries of it together, both in seconds.

    `stopped` is set by a run that has ended: no further try is started then.
    """

    request_seconds: float = 60.0
    retry_seconds: float = 300.0
    stopped: threading.Event = field(default_factory=threading.Event)


class SprintoClient:
    """Sprinto's push API for one integration.

    `base_url` reaches up to and including `/api/external/push`. Safe to call from several threads.
    Proxies and private CAs are taken from the environment; netrc is never read.
    """

    def __init__(self, base_url: str, integration_id: str, api_key: str) -> None:
        self._integration = f"{base_url.rstrip('/')}/v1/integrations/{quote(integration_id, safe='')}"
        self._address = f"integration {integration_id!r} at {urlsplit(base_url).netloc}"
        self._session_request_at = time.monotonic()
        self._http = requests.Session()
        self._http.auth = _ApiKey(api_key)
        self._http.headers["User-Agent"] = "target-sprinto"
        adapter = HTTPAdapter(pool_connections=2, pool_maxsize=20)
        self._http.mount("https://", adapter)
        self._http.mount("http://", adapter)
        # Proxies and CAs, read from the environment once: requests would read it for every page.
        self._environment = self._http.merge_environment_settings(self._integration, {}, None, None, None)

    def session_silence(self) -> float:
        """Seconds since the last request on a session was sent."""
        return time.monotonic() - self._session_request_at

    @property
    def address(self) -> str:
        """Integration and host, for messages."""
        return self._address

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def create_session(self, client_reference_id: str, patience: Patience) -> SessionStatus:
        """Open the integration's one session. Raises Conflict where another one is active."""
        body = msgspec.json.encode({"client_reference_id": client_reference_id})
        return self._call(Operation.CREATE, SessionStatus, "/sessions", patience, body)

    def session_status(self, session_id: str, patience: Patience) -> SessionStatus:
        """The session's state and counts. Fine at any time (Sprinto: Session Management)."""
        return self._call(Operation.STATUS, SessionStatus, _session(session_id), patience)

    def push_page(self, session_id: str, body: bytes, patience: Patience, *, compress: bool) -> IngestResult:
        """Send one page's JSON bytes. Raises PageRefused, TooLarge, EncodingRefused or Conflict."""
        path = f"{_session(session_id)}/entities"
        if compress:
            return self._call(Operation.PUSH, IngestResult, path, patience, _compressed(body), gzipped=True)
        return self._call(Operation.PUSH, IngestResult, path, patience, body)

    def apply_session(self, session_id: str, patience: Patience) -> SessionStatus:
        """Close with `apply`. A 202 means that the transition was accepted, no more."""
        return self._close(session_id, b'{"status":"apply"}', patience)

    def discard_session(self, session_id: str, patience: Patience) -> SessionStatus:
        """Close with `discard`: nothing is applied."""
        return self._close(session_id, b'{"status":"discard"}', patience)

    def integration_status(self, patience: Patience) -> IntegrationStatus:
        """How many sessions of the integration are in which state."""
        return self._call(Operation.INTEGRATION, IntegrationStatus, "/status", patience)

    def events(self, since: str, patience: Patience) -> Iterator[dict[str, Any]]:
        """The activity log's events since an ISO 8601 date-time, page by page."""
        page: int | None = 1
        while page is not None:
            query = f"/activity?since={quote(since, safe='')}&page={page}&page_size=200"
            answer = self._call(Operation.ACTIVITY, ActivityPage, query, patience)
            yield from answer.items
            # A log whose next page never moves on would be read for ever.
            page = answer.next_page if answer.next_page and answer.next_page > page else None

    def _close(self, session_id: str, body: bytes, patience: Patience) -> SessionStatus:
        return self._call(Operation.CLOSE, SessionStatus, f"{_session(session_id)}/close", patience, body)

    def _call(
        self,
        operation: Operation,
        _shape: type[_T],
        path: str,
        patience: Patience,
        body: bytes | None = None,
        *,
        gzipped: bool = False,
    ) -> _T:
        """One call, repeated while that is safe and `patience` lasts.

        backoff's own loop sleeps where nothing can wake it; a run that has ended must not send again.
        """
        repeatable = _REPEATABLE_GET if body is None else _REPEATABLE
        waits = retry.waits(patience.retry_seconds)
        next(waits)
        while True:
            try:
                return cast("_T", self._send(operation, path, patience, body, gzipped=gzipped))
            except repeatable as failure:
                wait = _next_wait(waits, failure, patience)
                log.warning("%s Trying again in %.1f s.", failure, wait)
                if patience.stopped.wait(wait):
                    raise

    def _send(
        self,
        operation: Operation,
        path: str,
        patience: Patience,
        body: bytes | None,
        *,
        gzipped: bool,
    ) -> SessionStatus | IngestResult | IntegrationStatus | ActivityPage:
        if operation not in {Operation.INTEGRATION, Operation.ACTIVITY}:
            self._session_request_at = time.monotonic()
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if gzipped:
            headers["Content-Encoding"] = "gzip"
        method = "GET" if body is None else "POST"
        request = requests.Request(method, self._integration + path, headers=headers, data=body)
        options = self._environment | {"stream": True}
        try:
            with self._http.send(
                self._http.prepare_request(request),
                timeout=patience.request_seconds,
                allow_redirects=False,
                **options,
            ) as response:
                answer = _read(operation, response, time.monotonic() + patience.request_seconds)
        except requests.RequestException as failure:
            raise _explain(operation, failure, self._address) from None
        return read_answer(operation, response.status_code, response.headers, answer, self._address)


def _next_wait(
    waits: Generator[float, Exception, None], failure: errors.ApiError, patience: Patience
) -> float:
    """Seconds until the next try. Raises the failure itself where there is to be none."""
    try:
        return waits.send(failure)
    except StopIteration:
        least = getattr(failure, "retry_after", None) or 0.0
        if patience.retry_seconds and least:
            failure.what += (
                f" It asks to wait {least:g} s, which `retry_timeout_seconds`"
                f" ({patience.retry_seconds:g} s in all) does not leave."
            )
        raise failure from None


class _ApiKey(AuthBase):
    """Sets the `api-key` header; as requests' auth it also keeps netrc from being read."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["api-key"] = self._api_key
        return request


def _session(session_id: str) -> str:
    return f"/sessions/{quote(session_id, safe='')}"


def _compressed(body: bytes) -> bytes:
    # A fixed time in the header: the same page is the same bytes when it is sent again.
    return gzip.compress(body, compresslevel=_GZIP_LEVEL, mtime=0)


def _read(operation: Operation, response: requests.Response, deadline: float) -> bytes:
    """The answer's body, within the request's time as a whole and a bounded size."""
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_content(65_536):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise errors.AnswerLost(f"While {operation.value} the answer had no end.")
        if time.monotonic() > deadline:
            raise errors.AnswerLost(f"While {operation.value} the answer took too long to arrive.")
    return b"".join(chunks)


def _explain(operation: Operation, failure: requests.RequestException, address: str) -> errors.ApiError:
    """What a failure below HTTP means. Its text is not repeated: it may quote URLs and proxy passwords."""
    causes = list(_causes(failure))
    doing = f"While {operation.value} ({address})"
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return errors.CertificateRefused(
            f"{doing} the server's certificate was not trusted; nothing was sent.",
            "Behind a TLS-inspecting proxy, name your company's CA file in REQUESTS_CA_BUNDLE.",
        )
    if isinstance(failure, requests.exceptions.ProxyError):
        return _explain_proxy(causes)
    if isinstance(failure, requests.ConnectTimeout) or any(
        isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in causes
    ):
        unresolved = any(isinstance(cause, urllib3.exceptions.NameResolutionError) for cause in causes)
        timed_out = isinstance(failure, requests.ConnectTimeout)
        reason = "its name is not known" if unresolved else "no answer" if timed_out else "connection refused"
        return errors.NotConnected(
            f"{doing} no connection was made: {reason}.",
            "Check the network, `region` and `api_url`; if a proxy is needed, set HTTPS_PROXY.",
        )
    happened = (
        "no answer came in time"
        if isinstance(failure, requests.Timeout)
        else f"the connection broke ({type(causes[-1]).__name__})"
    )
    return errors.AnswerLost(f"{doing} {happened}.", "Run again; if it stays, look at the network.")


def _explain_proxy(causes: list[BaseException]) -> errors.ApiError:
    # The status of a refused CONNECT reaches us only as the text "Tunnel connection failed: 407 …".
    for cause in causes:
        words = str(cause).partition("Tunnel connection failed: ")[2].split()
        if isinstance(cause, OSError) and words and words[0].isdigit():
            return proxy_refused(int(words[0]))
    return errors.NotConnected(
        "No connection to the proxy was made.",
        "Check HTTPS_PROXY, or name Sprinto's host in NO_PROXY.",
    )


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """The failure and all that it was raised from or wraps, outermost first."""
    seen: set[int] = set()
    queue: list[BaseException] = [failure]
    while queue:
        cause = queue.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inside = [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
        queue.extend(found for found in inside if isinstance(found, BaseException))
