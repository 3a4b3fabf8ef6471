"""Connections that keep to a time limit, whatever the server does, and send a request in one piece.

A socket's timeout is for one step: a byte now and then, or a name that is not resolved, would hold a request
for as long as somebody likes. Here connecting takes no longer than the timeout in all, nor does the answer.
"""

from __future__ import annotations

import io
import time
from functools import partial
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, cast

from urllib3.exceptions import ConnectTimeoutError

from target_sprinto.push.waiting import in_background, wait_until_passed

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection as _Connection
    from urllib3.response import HTTPResponse as _Response
else:
    _Connection = object

_PIECE_BYTES = 65_536


def keeping_time(connection_class: type[Any]) -> type[Any]:
    """The same connections, but that they keep to their timeout: for a urllib3 pool's `ConnectionCls`."""
    return type(connection_class.__name__, (_TimeLimited, connection_class), {})


class _TimeLimited(_Connection):
    """Connects, sends, and gets its answer, each within its timeout, which is in seconds and not None."""

    _given_up = False
    _body_follows = False
    _head = b""

    def connect(self) -> None:
        # On a thread of its own: neither the resolver nor a server that is met in several steps knows of
        # a limit for all.
        try:
            wait_until_passed(in_background(self._connect), self._seconds)
        except TimeoutError:
            self._given_up = True
            raise ConnectTimeoutError(self, "connecting took too long") from None

    def _connect(self) -> None:
        super().connect()
        if self._given_up:
            self.close()

    def request(self, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - urllib3's own
        self._body_follows = bool(body)
        super().request(method, url, body, *args, **kwargs)

    def send(self, data: Any) -> None:  # noqa: ANN401 - http.client's own
        if self._body_follows:
            # http.client sends the head by itself: a step more on both sides, and for this process one more
            # moment in which the thread that reads takes Python's lock, with the page not yet on its way.
            self._body_follows, self._head = False, data
            return
        if self._head:
            data, self._head = self._head + data, b""
        if len(data) <= _PIECE_BYTES:
            super().send(data)
            return
        if self.sock is None:
            self.connect()
        until = time.monotonic() + self._seconds
        whole = memoryview(data)
        for start in range(0, len(data), _PIECE_BYTES):
            # TLS gives each step of a long body the whole timeout.
            self.sock.settimeout(_left(until))
            super().send(whole[start : start + _PIECE_BYTES])

    def getresponse(self) -> _Response:  # type: ignore[override] # as urllib3 declares it
        limited = partial(_TimeLimitedAnswer, until=time.monotonic() + self._seconds)
        # http.client's place for another class; this one is made for each answer.
        self.response_class = cast("type[HTTPResponse]", limited)
        return super().getresponse()

    @property
    def _seconds(self) -> float:
        return float(cast("float", self.timeout))


class _TimeLimitedAnswer(HTTPResponse):
    def __init__(self, sock: Any, *args: Any, until: float, **kwargs: Any) -> None:  # noqa: ANN401 - http.client's own
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_TimeLimitedReads(self.fp.detach(), sock, until))


class _TimeLimitedReads(io.RawIOBase):
    """What a socket's own file reads, as long as there is time. Raises TimeoutError after that."""

    def __init__(self, source: io.RawIOBase, sock: Any, until: float) -> None:  # noqa: ANN401 - a socket, or what TLS makes of one
        super().__init__()
        self._source = source
        self._sock = sock
        self._until = until
        self._begun = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - the buffer protocol has no type before Python 3.12
        if self._begun:
            self._sock.settimeout(_left(self._until))
        # The first step has all of the time, which the socket has been given.
        self._begun = True
        return self._source.readinto(buffer)

    def close(self) -> None:
        self._source.close()
        super().close()


def _left(until: float) -> float:
    if (left := until - time.monotonic()) <= 0:
        raise TimeoutError("timed out")
    return left
