"""Connections with a total timeout, which know whether a request may have been sent.

A socket's timeout covers one step: a byte now and then, or a name that does not resolve, would block a
request forever. Here one timeout covers connecting, sending and the response together.

A failure while connecting is a ConnectError: nothing was sent. urllib3 itself does not distinguish that: with
a proxy, a lost response looks like a proxy that was never reached.
"""

from __future__ import annotations

import io
import socket
import ssl
import struct
import time
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, parse_headers
from typing import TYPE_CHECKING, Any, cast

from urllib3.exceptions import HTTPError, LocationParseError, NameResolutionError, NewConnectionError

from target_sprinto.push.transport.addresses import connect_to_any
from target_sprinto.push.transport.background import in_background, is_done_within

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection as _Connection
    from urllib3.response import HTTPResponse as _Response
else:
    _Connection = object

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""For SO_LINGER: linger for 0 seconds."""

_PIECE_BYTES = 16_384
"""What TLS sends in one step; each step may take the socket's whole timeout."""

_MAX_INFORMATIONAL = 100
"""Maximum informational responses (1xx) before the final one; with more, the request fails."""

_MAX_BYTES = 32_000_000
"""Of a response as it is sent: twice what is read of its body, to leave room for headers and small chunks."""

_TOLERANCE_SECONDS = 0.1
"""How much longer than the time left one read may take: see `addresses.FastSocket`."""

_MAX_IDLE_SECONDS = 10.0
"""Firewalls and gateways silently drop idle connections, and reset the next request on one."""


class ConnectError(HTTPError):
    """No byte of the request was sent; the cause says why. urllib3 passes this error on unchanged.

    `through_proxy`: the connection was to go through a proxy. `at_proxy`: that proxy was not reached.
    """

    def __init__(self, connection: _Connection) -> None:
        super().__init__("not connected")
        self.through_proxy = _is_proxied(connection)
        self.at_proxy = connection.proxy is not None and not connection.has_connected_to_proxy


class StaleConnectionError(HTTPError):
    """A reused direct connection ended before the first byte of this response."""


def with_total_timeout(connection_class: type[Any]) -> type[Any]:
    """The same connections with a total timeout, for a urllib3 pool's `ConnectionCls`."""
    return type(connection_class.__name__, (_TotalTimeoutConnection, connection_class), {})


class _TotalTimeoutConnection(_Connection):
    """Its timeout, in seconds and not None, covers each request as a whole, including connecting."""

    _until = 0.0
    _is_new = False
    _given_up = False
    _body_follows = False
    _is_broken = False
    _head = b""
    _served_at = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether it can be used again: the peer has not closed it, and it has not been idle for long."""
        return super().is_connected and time.monotonic() - self._served_at < _MAX_IDLE_SECONDS

    def connect(self) -> None:
        self._until, self._is_new = self._deadline(), True
        self._limit_response(_ProxyResponse)
        try:
            # On another thread, because resolving a name has no timeout.
            connecting = in_background(self._connect, or_here=self._connect)
            self._given_up = not is_done_within(connecting, _left(self._until))
            if not self._given_up:
                return connecting.result()
        except Exception as failure:
            raise ConnectError(self) from failure
        raise ConnectError(self) from TimeoutError("timed out")

    def _connect(self) -> None:
        try:
            super().connect()
        finally:
            if self._given_up:
                self.close()
        if self._socket is not self.sock:
            self._limit_receives(self._socket)

    @property
    def _socket(self) -> Any:  # noqa: ANN401 - a socket; with TLS inside TLS, `sock` is urllib3's wrapper of it
        return getattr(self.sock, "socket", self.sock)

    def _limit_receives(self, sock: Any) -> None:  # noqa: ANN401 - see `_socket`
        """Limit each of the many receives that urllib3 needs for one read of TLS inside TLS."""
        receive = sock.recv

        def recv(size: int) -> bytes:
            sock.settimeout(_left(self._until))
            received: bytes = receive(size)
            return received

        sock.recv = recv

    def _new_conn(self) -> socket.socket:
        """Urllib3's own method gives each address the whole timeout, so that the second is never tried."""
        if hasattr(self, "_socks_options"):
            # SOCKS connections are made differently, and the proxy chooses the address.
            return super()._new_conn()
        try:
            addresses = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
            made = connect_to_any(addresses, self.socket_options or (), self._until)
        except UnicodeError:
            raise LocationParseError(self.host) from None
        except socket.gaierror as failure:
            raise NameResolutionError(self.host, self, failure) from failure
        except OSError as failure:
            raise NewConnectionError(self, "no address could be connected to") from failure
        made.settimeout(_left(self._until))
        return made

    def request(self, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - urllib3's own
        if not self._is_new:
            self._until = self._deadline()
        self._body_follows, self._is_broken = bool(body), False
        try:
            super().request(method, url, body, *args, **kwargs)
        except (ConnectionError, ssl.SSLEOFError):
            # Reading shows why: a gateway may reject a large page before it has read it all, and under
            # TLS 1.3 a server may reject a finished handshake; or the connection was stale.
            self._is_broken = True
        except TimeoutError:
            self._discard_unsent()
            raise

    def send(self, data: Any) -> None:  # noqa: ANN401 - http.client's own
        if self._body_follows:
            # http.client sends the head separately: one more step on both sides, and one more moment at which
            # the reading thread of this process may take the GIL before the page is sent.
            self._body_follows, self._head = False, data
            return
        head, self._head = self._head, b""
        whole = memoryview(data)
        for start in range(0, len(data), _PIECE_BYTES):
            if start:
                self.sock.settimeout(_left(self._until))
            super().send(head + whole[start : start + _PIECE_BYTES])
            head = b""

    def getresponse(self) -> _Response:  # type: ignore[override] # as urllib3 declares it
        self._limit_response(_FinalResponse)
        self._is_new = False
        try:
            response = super().getresponse()
        except TimeoutError:
            self._discard_unsent()
            raise
        finally:
            self._served_at = time.monotonic()
        if self._is_broken and response.status // 100 == 2:  # noqa: PLR2004 - success
            raise HTTPError("the request was not sent in full")
        return response

    def _discard_unsent(self) -> None:
        """Have the connection reset when it is closed.

        Otherwise the kernel still delivers what the network has lost of the request, up to minutes later.
        """
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def _limit_response(self, kind: type[_FinalResponse]) -> None:
        # A proxy may have forwarded the request before its side of the connection ended.
        until, may_be_stale = self._until, not self._is_new and not _is_proxied(self)

        def response(sock: Any, *args: Any, **kwargs: Any) -> HTTPResponse:  # noqa: ANN401 - http.client's own
            made = kind(sock, *args, **kwargs)
            made.fp = io.BufferedReader(_TimeLimitedReads(made.fp.detach(), sock, until, may_be_stale))
            return made

        # http.client's hook for another response class, called once for each response.
        self.response_class = cast("type[HTTPResponse]", response)

    def _deadline(self) -> float:
        return time.monotonic() + float(cast("float", self.timeout))


class _FinalResponse(HTTPResponse):
    """A response that is not informational."""

    def begin(self) -> None:
        super().begin()
        # urllib3 would log what cannot be parsed, which may hold anything.
        self.msg.defects = []
        self.msg.set_payload("")

    def _read_status(self) -> tuple[str, int, str]:
        # http.client skips only 100, and mistakes any other 1xx (103 Early Hints) for the final response.
        for _ in range(_MAX_INFORMATIONAL + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc] # private in http.client
            if status // 100 != 1 or status == HTTPStatus.SWITCHING_PROTOCOLS:
                return version, status, reason
            parse_headers(self.fp)
        raise HTTPException("too many informational responses")


class ProxyResponseError(HTTPError):
    """A proxy responded to CONNECT with `status`, which is not 200: it made no tunnel."""

    def __init__(self, status: int, retry_after: str | None) -> None:
        super().__init__("no tunnel")
        self.status = status
        self.retry_after = retry_after


class _ProxyResponse(_FinalResponse):
    """A proxy's response to CONNECT. Raises ProxyResponseError for a refusal."""

    def _read_status(self) -> tuple[str, int, str]:
        # http.client's own error has the status in its text only, and no `Retry-After`.
        version, status, reason = super()._read_status()
        if status != HTTPStatus.OK:
            raise ProxyResponseError(status, parse_headers(self.fp).get("Retry-After"))
        return version, status, reason


class _TimeLimitedReads(io.RawIOBase):
    """Reads from a socket's own file until time is up. Raises TimeoutError after that.

    Raises HTTPException after `_MAX_BYTES` (http.client reads a chunk of negative size without a limit), and
    StaleConnectionError if a connection that `may_be_stale` ends before the first byte.
    """

    def __init__(self, source: io.RawIOBase, sock: Any, until: float, may_be_stale: bool) -> None:  # noqa: ANN401, FBT001 - a socket, or what TLS makes of one
        super().__init__()
        self._source = source
        self._sock = sock
        self._until = until
        self._may_be_stale = may_be_stale
        self._left_bytes = _MAX_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - the buffer protocol has no type before Python 3.12
        left = _left(self._until)
        if self._sock.gettimeout() - left > _TOLERANCE_SECONDS:
            self._sock.settimeout(left)
        try:
            size = self._source.readinto(buffer)
        except ConnectionError as failure:
            if self._may_be_stale:
                raise StaleConnectionError("stale") from failure
            raise
        if self._may_be_stale and size == 0:
            raise StaleConnectionError("stale")
        self._may_be_stale = False
        self._left_bytes -= size or 0
        if self._left_bytes < 0:
            raise HTTPException("too long")
        return size

    def close(self) -> None:
        self._source.close()
        super().close()


def _is_proxied(connection: _Connection) -> bool:
    # urllib3 sets `proxy` for HTTP proxies only.
    return connection.proxy is not None or hasattr(connection, "_socks_options")


def _left(until: float) -> float:
    if (left := until - time.monotonic()) <= 0:
        raise TimeoutError("timed out")
    return left
