"""The interface that carries requests to Sprinto: one method, so that a test needs no socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Request(NamedTuple):
    """A GET, or a POST if it has a body. The whole response must arrive within `timeout` seconds.

    `headers` describe the body only: the transport adds the API key. `action` says what the request is for;
    an error's message begins with it.
    """

    url: str
    body: bytes | None
    headers: Mapping[str, str]
    timeout: float
    action: str


class Response(NamedTuple):
    """A response, decompressed. Only the headers `Date` and `Retry-After`, so spelled, are read."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends requests; may be called from several threads."""

    def send(self, request: Request, /) -> Response:
        """The response, whatever its status.

        Raises NotConnected("Why.") if nothing was sent, or an OSError if it is in doubt whether the request
        arrived.
        """
