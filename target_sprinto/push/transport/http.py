"""HTTP exchanges: bytes out; status, headers and bytes in. Failures below HTTP are mapped to our errors.

The only module that speaks HTTP. requests sets up connections: proxies and private CAs from the environment,
TLS, proxy logins. urllib3's connections are then used directly: a requests session would read netrc and
follow redirects, and its adapter's overhead takes as long as the exchange itself.
"""

from __future__ import annotations

import os
import ssl
import threading
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from target_sprinto.push import errors
from target_sprinto.push.transport.base import Request, Response
from target_sprinto.push.transport.network_errors import to_api_error
from target_sprinto.push.transport.total_timeout import with_total_timeout

MAX_RESPONSE_BYTES = 16_000_000
"""Far more than any documented response has; a larger response is not read to its end."""


class HttpTransport:
    """Connections to one host, each kept open for the next exchange. Thread-safe."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._base_url = base_url
        self._headers = {
            "Accept-Encoding": requests.utils.DEFAULT_ACCEPT_ENCODING,
            "User-Agent": "target-sprinto",
            "api-key": api_key,
        }
        self._closed = False
        self._reset()
        found = requests.Session().merge_environment_settings(
            base_url, {}, stream=True, verify=None, cert=None
        )
        # Plain http is only for this machine, and uses no proxy, which would see the API key.
        self._proxies = {} if urlsplit(base_url).scheme == "http" else found["proxies"]
        self._verify = True if found["verify"] is None else found["verify"]
        if urlsplit(base_url).scheme == "https":
            _require_usable_ca(self._verify)
            _require_usable_proxy(requests.utils.select_proxy(base_url, self._proxies))

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._connections: urllib3.HTTPConnectionPool | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close all connections, those in use as soon as they are released. Nothing more is sent."""
        with self._lock:
            self._closed = True
            if self._connections is not None:
                self._connections.close()

    def send(self, request: Request) -> Response:
        """The response, a moment after the timeout at most, whatever the server does. Raises ApiErrors."""
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
            raise to_api_error(failure, request.action) from None

    def _pool(self) -> urllib3.HTTPConnectionPool:
        if os.getpid() != self._pid:
            # Forked: two processes on one connection would read each other's responses.
            self._reset()
        with self._lock:
            if self._closed:
                raise errors.ClientClosed("The client was closed; nothing was sent.")
            if self._connections is None:
                # The connections that requests would use, with its TLS and its proxies.
                adapter = HTTPAdapter(pool_maxsize=20)
                request = requests.Request("GET", self._base_url).prepare()
                found = adapter.get_connection_with_tls_context(request, self._verify, self._proxies)
                adapter.cert_verify(found, self._base_url, self._verify, None)  # type: ignore[no-untyped-call] # its stub has no types
                self._connections = cast("urllib3.HTTPConnectionPool", found)
                self._connections.ConnectionCls = with_total_timeout(self._connections.ConnectionCls)
            return self._connections


def _require_usable_ca(verify: object) -> None:
    """Raise ConfigError for a CA file without a certificate. A folder is left to OpenSSL."""
    if not isinstance(verify, str) or Path(verify).is_dir():
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(verify)
    except OSError as failure:
        found = "does not exist" if isinstance(failure, FileNotFoundError) else "holds no certificate (PEM)"
        raise errors.ConfigError(
            f"The CA file that REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names {found}.",
            "Name one that does, or unset the variable.",
        ) from None


def _require_usable_proxy(url: str | None) -> None:
    """Raise ConfigError for a proxy's URL that cannot be used. It is not shown: it may contain a password."""
    try:
        if url is None:
            return
        # A proxy's login is sent as Latin-1.
        "".join(requests.utils.get_auth_from_url(url)).encode("latin-1")
        if urllib3.util.parse_url(url).host:
            return
    except ValueError:
        pass
    raise errors.ConfigError(
        "The proxy's URL, in HTTPS_PROXY or ALL_PROXY, has no host, an invalid port, or a login that is not"
        " Latin-1.",
        "Write http://user:password@host:port, with `#`, `/`, `@`, `[`, `]` in the password percent-encoded.",
    )


def _read(response: urllib3.BaseHTTPResponse, action: str) -> bytes:
    body = response.read(MAX_RESPONSE_BYTES + 1, decode_content=True)
    if len(body) > MAX_RESPONSE_BYTES:
        raise errors.ResponseLost(f"{action} the response exceeded {MAX_RESPONSE_BYTES:,} bytes.")
    return body
