"""Maps failures below HTTP, which are exceptions of requests and urllib3, to our errors. No I/O.

The text of an exception is never repeated: it may quote URLs and proxy passwords.
"""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Iterator
from http.client import HTTPException, RemoteDisconnected

import requests
import urllib3

from target_sprinto.push import errors
from target_sprinto.push.protocol.responses import proxy_refused
from target_sprinto.push.protocol.retries import parse_retry_after
from target_sprinto.push.transport.total_timeout import ConnectError, ProxyResponseError, StaleConnectionError

_HANDSHAKE_ENDED = (
    "WRONG_VERSION",
    "UNSUPPORTED_PROTOCOL",
    "UNKNOWN_PROTOCOL",
    "HTTP_REQUEST",
    "ALERT",
    "UNRECOGNIZED_NAME",
)
"""In OpenSSL's reasons: the two sides did not agree on TLS, so no request was read."""

_CERTIFICATE_REQUIRED = ("CERTIFICATE_REQUIRED",)
"""Under TLS 1.3 a server sends this after the handshake, but before it reads a request."""

_PROXY_BUSY = frozenset({429, 500, 502, 503, 504})
"""Responses of a proxy to CONNECT that may differ a moment later; tinyproxy returns 500 for a dead host."""

_TOO_MANY_FILES = frozenset({errno.EMFILE, errno.ENFILE})

_BAD_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    urllib3.exceptions.LocationValueError,
)

_INVALID_NOW = "Check this machine's clock; if it is right, the server or the proxy needs a new certificate."
_OTHER_NAME = "Check `api_url`, and any proxy or gateway on the way."
_UNTRUSTED = {
    9: ("is not valid yet", _INVALID_NOW),
    10: ("has expired", _INVALID_NOW),
    62: ("is for another host name", _OTHER_NAME),
    64: ("is for another address", _OTHER_NAME),
}
"""By OpenSSL's X509_V_ERR number."""


def to_api_error(failure: Exception, action: str) -> errors.ApiError:
    """The failure as one of our errors, whose message begins with `action`."""
    causes = list(_causes(failure))
    if any(isinstance(cause, _BAD_ADDRESS) for cause in causes):
        return errors.BadRequest(
            f"{action} the URL of Sprinto or of the proxy cannot be used.",
            "Check `api_url` and HTTPS_PROXY; a SOCKS proxy needs the package PySocks.",
        )
    ended = _HANDSHAKE_ENDED if isinstance(failure, ConnectError) else _CERTIFICATE_REQUIRED
    if tls := _to_tls_error(causes, action, ended):
        return tls
    if isinstance(failure, ConnectError):
        return _to_connect_error(failure, causes, action)
    late = any(isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError)) for cause in causes)
    happened = "no response came in time" if late else "the connection broke"
    lost = errors.ResponseLost(f"{action} {happened}.", "Run again; if it persists, check the network.")
    lost.connection_was_stale = isinstance(failure, StaleConnectionError)
    return lost


def _to_connect_error(failure: ConnectError, causes: list[BaseException], action: str) -> errors.ApiError:
    if isinstance(failure.__cause__, ProxyResponseError):
        return _to_proxy_error(failure.__cause__)
    if any(isinstance(cause, OSError) and cause.errno in _TOO_MANY_FILES for cause in causes):
        return errors.NotConnected(
            f"{action} no connection could be opened: there are too many open files.",
            "Raise the limit of open files (ulimit -n).",
        )
    if failure.at_proxy:
        return errors.NotConnected(
            "Could not connect to the proxy.", "Check HTTPS_PROXY, or name Sprinto's host in NO_PROXY."
        )
    if failure.through_proxy:
        return errors.NotConnected(
            f"{action} the connection through the proxy failed: {_reason(causes)}.",
            "Check the proxy that HTTPS_PROXY names, or name Sprinto's host in NO_PROXY.",
        )
    return errors.NotConnected(
        f"{action} the connection failed: {_reason(causes)}.",
        "Check the network, `region` and `api_url`; if a proxy is needed, set HTTPS_PROXY.",
    )


def _to_tls_error(causes: list[BaseException], action: str, ended: tuple[str, ...]) -> errors.TLSError | None:
    """The error for an untrusted certificate, or for a handshake that failed for a reason in `ended`."""
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            what, hint = _UNTRUSTED.get(
                cause.verify_code,
                (
                    "was not trusted",
                    "Behind a TLS-inspecting proxy, name your company's CA file in REQUESTS_CA_BUNDLE.",
                ),
            )
            return errors.TLSError(
                f"{action} the certificate of the server, or of the proxy, {what}; nothing was sent.", hint
            )
    reasons = [str(cause.reason) for cause in causes if isinstance(cause, ssl.SSLError) and cause.reason]
    if any(word in reason for reason in reasons for word in ended):
        return errors.TLSError(
            f"{action} the TLS handshake failed ({reasons[0]}); nothing was sent.",
            "Check that `api_url` names an https port, and any proxy or gateway on the way; client"
            " certificates are not supported.",
        )
    return None


def _reason(causes: list[BaseException]) -> str:
    def caused_by(kind: type[BaseException]) -> bool:
        return any(isinstance(cause, kind) for cause in causes)

    if caused_by(urllib3.exceptions.NameResolutionError):
        return "the host name does not resolve"
    if caused_by(TimeoutError):
        return "timed out"
    if caused_by(ssl.SSLError):
        # Its `errno` is one of OpenSSL's own numbers.
        return "the TLS handshake was cut off"
    numbers = [
        cause.errno for cause in causes if isinstance(cause, OSError) and cause.errno in errno.errorcode
    ]
    if numbers and numbers[-1]:
        return os.strerror(numbers[-1]).lower()
    if caused_by(RemoteDisconnected):
        return "it was closed before a response"
    return "the response is not HTTP" if caused_by(HTTPException) else "unknown reason"


def _to_proxy_error(response: ProxyResponseError) -> errors.ApiError:
    if response.status not in _PROXY_BUSY:
        return proxy_refused(response.status)
    return errors.Throttled(
        f"The proxy did not connect to Sprinto (it returned {response.status}); nothing was sent.",
        "Run again later; if it persists, contact the operator of the proxy in HTTPS_PROXY.",
        retry_after=parse_retry_after(response.retry_after),
    )


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """The failure and every exception that it was raised from or wraps, outermost first."""
    seen: set[int] = set()
    queue: list[BaseException] = [failure]
    while queue:
        cause = queue.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        # Not the context, which may be an exception that the caller was handling.
        inside = [cause.__cause__, getattr(cause, "reason", None), *cause.args]
        queue.extend(found for found in inside if isinstance(found, BaseException))
