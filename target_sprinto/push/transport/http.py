"""One HTTP exchange: bytes out, status, headers and bytes in; failures below HTTP mapped to our errors.

The only place that speaks HTTP. requests says how to get there: proxies and private CAs from the environment,
TLS, a proxy's login. What travels goes through urllib3's connections below it: requests' own session would
read netrc and follow redirects, and what its adapter does around an exchange takes as long as the exchange.
"""

from __future__ import annotations

import errno
import logging
import os
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from target_sprinto.push import errors
from target_sprinto.push.protocol.responses import proxy_refused
from target_sprinto.push.protocol.retry_delay import parse_retry_after
from target_sprinto.push.transport.base import Request, Response
from target_sprinto.push.transport.total_timeout import (
    ConnectError,
    ProxyResponseError,
    StaleConnectionError,
    with_total_timeout,
)

MAX_RESPONSE_BYTES = 16_000_000
"""No documented response comes near it; a larger one is not read to its end."""

_HANDSHAKE_ENDED = ("WRONG_VERSION", "UNSUPPORTED_PROTOCOL", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "ALERT")
"""In OpenSSL's reasons: the two sides found no common ground, so no request was read."""

_PROXY_BUSY = frozenset({429, 502, 503, 504})
"""A proxy's responses to CONNECT that may be others a moment later."""

_BAD_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    urllib3.exceptions.LocationValueError,
    urllib3.exceptions.ProxySchemeUnknown,
)


class HttpTransport:
    """Connections to one host, each kept open for the next exchange. Safe to use from several threads."""

    def __init__(self, base_url: str, api_key: str) -> None:
        logging.getLogger("urllib3.connection").addFilter(_without_header_dump)
        self._base_url = base_url
        self._headers = {
            "Accept-Encoding": requests.utils.DEFAULT_ACCEPT_ENCODING,
            "User-Agent": "target-sprinto",
            "api-key": api_key,
        }
        self._made: urllib3.HTTPConnectionPool | None = None
        self._making = threading.Lock()
        self._closed = threading.Event()
        self._adapter = HTTPAdapter(pool_connections=2, pool_maxsize=20)
        found = requests.Session().merge_environment_settings(
            base_url, {}, stream=True, verify=None, cert=None
        )
        # Plain http is for this machine alone, so it goes through no proxy: that would show the key.
        self._proxies = {} if urlsplit(base_url).scheme == "http" else found["proxies"]
        self._verify = True if found["verify"] is None else found["verify"]
        if isinstance(self._verify, str) and not Path(self._verify).exists():
            raise errors.ConfigError(
                "The CA file that REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names does not exist.",
                "Name one that does, or unset the variable.",
            )

    def close(self) -> None:
        """Close the connections; those that are in use, as soon as they are not. Nothing more is sent."""
        self._closed.set()
        self._close_idle()

    def _close_idle(self) -> None:
        with self._making:
            # Clearing alone leaves it open for as long as an error that names it is kept.
            if self._made is not None:
                self._made.close()
        self._adapter.close()

    def send(self, request: Request) -> Response:
        """The response, within the timeout and a moment, whatever the server does. Raises ApiErrors only."""
        try:
            response = self._pool().urlopen(
                "GET" if request.body is None else "POST",
                urlunsplit(("", "", *urlsplit(request.url)[2:])),
                request.body,
                {**self._headers, **request.headers},
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=request.timeout,
                preload_content=False,
            )
            with response:
                body = _read(response, request.action)
                response.release_conn()
                return Response(response.status, response.headers, body)
        except errors.SprintoError:
            raise
        except Exception as failure:  # noqa: BLE001 - whatever a server can provoke ends as an ApiError
            raise _to_api_error(failure, request.action) from None
        finally:
            if self._closed.is_set():
                self._close_idle()

    def _pool(self) -> urllib3.HTTPConnectionPool:
        with self._making:
            if self._closed.is_set():
                raise errors.ClientClosed("The client was closed; nothing was sent.")
            if self._made is None:
                # The connections that requests would use, with its TLS and its proxies.
                request = requests.Request("GET", self._base_url).prepare()
                found = self._adapter.get_connection_with_tls_context(request, self._verify, self._proxies)
                self._adapter.cert_verify(found, self._base_url, self._verify, None)  # type: ignore[no-untyped-call] # its stub has no types
                self._made = cast("urllib3.HTTPConnectionPool", found)
                self._made.ConnectionCls = with_total_timeout(self._made.ConnectionCls)
            return self._made


def _without_header_dump(record: logging.LogRecord) -> bool:
    """Headers that cannot be parsed are logged whole, with a traceback; they may hold anything."""
    return not record.exc_info


def _read(response: urllib3.BaseHTTPResponse, action: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    for chunk in response.stream(65_536):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_RESPONSE_BYTES:
            raise errors.ResponseLost(f"{action} the response exceeded {MAX_RESPONSE_BYTES:,} bytes.")
    return b"".join(chunks)


def _to_api_error(failure: Exception, action: str) -> errors.ApiError:
    """What a failure below HTTP means. Its text is not repeated: it may quote URLs and proxy passwords."""
    causes = list(_causes(failure))
    if isinstance(failure, requests.exceptions.InvalidProxyURL):
        return errors.ProxyRefused("The proxy's URL cannot be used.", "Check HTTPS_PROXY.")
    if any(isinstance(cause, _BAD_ADDRESS) for cause in causes):
        return errors.BadRequest(
            f"{action} the address, or that of the proxy, cannot be used.",
            "Check `api_url` and HTTPS_PROXY; a SOCKS proxy needs the package PySocks.",
        )
    if isinstance(failure, ConnectError):
        return _to_connect_error(failure, causes, action)
    late = any(isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError)) for cause in causes)
    happened = "no response came in time" if late else "the connection broke"
    lost = errors.ResponseLost(f"{action} {happened}.", "Run again; if it persists, check the network.")
    lost.connection_was_stale = isinstance(failure, StaleConnectionError)
    return lost


def _to_connect_error(failure: ConnectError, causes: list[BaseException], action: str) -> errors.ApiError:
    if tls := _to_tls_error(causes, action):
        return tls
    if isinstance(failure.__cause__, ProxyResponseError):
        return _to_proxy_error(failure.__cause__)
    if failure.at_proxy:
        return errors.NotConnected(
            "Could not connect to the proxy.",
            "Check HTTPS_PROXY, or name Sprinto's host in NO_PROXY.",
        )
    return errors.NotConnected(
        f"{action} the connection failed: {_reason(causes)}.",
        "Check the network, `region` and `api_url`; if a proxy is needed, set HTTPS_PROXY.",
    )


def _to_tls_error(causes: list[BaseException], action: str) -> errors.ApiError | None:
    """What it means where two sides found no TLS; None for anything else."""
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return errors.TLSError(
            f"{action} the certificate of the server, or of the proxy, was not trusted; nothing was sent.",
            "Behind a TLS-inspecting proxy, name your company's CA file in REQUESTS_CA_BUNDLE.",
        )
    reasons = [cause.reason or "" for cause in causes if isinstance(cause, ssl.SSLError)]
    if any(word in str(reason) for reason in reasons for word in _HANDSHAKE_ENDED):
        return errors.TLSError(
            f"{action} the TLS handshake failed ({reasons[0]}); nothing was sent.",
            "Check that `api_url` names an https port; check any proxy or gateway on the way.",
        )
    return None


def _reason(causes: list[BaseException]) -> str:
    if any(isinstance(cause, urllib3.exceptions.NameResolutionError) for cause in causes):
        return "the host name does not resolve"
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return "timed out"
    numbers = [
        cause.errno for cause in causes if isinstance(cause, OSError) and cause.errno in errno.errorcode
    ]
    return os.strerror(numbers[-1]).lower() if numbers and numbers[-1] else "unknown reason"


def _to_proxy_error(response: ProxyResponseError) -> errors.ApiError:
    if response.status not in _PROXY_BUSY:
        return proxy_refused(response.status)
    return errors.Throttled(
        f"The proxy did not connect to Sprinto (it returned {response.status}); nothing was sent.",
        "Run again later; if it persists, ask those who run the proxy in HTTPS_PROXY.",
        retry_after=parse_retry_after(response.retry_after),
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
        # Not the context, which may be what the caller was handling.
        inside = [cause.__cause__, getattr(cause, "reason", None), *cause.args]
        queue.extend(found for found in inside if isinstance(found, BaseException))
