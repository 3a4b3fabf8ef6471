"""What carries a request to Sprinto: one method, so that a program can test without a socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Request(NamedTuple):
    """A GET, or with a body a POST, whose response is to come within `timeout` seconds in all.

    `headers` are those of the body alone: the API key is the transport's. `action` says what the request is
    for, to begin an error's message with.
    """

    url: str
    body: bytes | None
    headers: Mapping[str, str]
    timeout: float
    action: str


class Response(NamedTuple):
    """A response as it came, decompressed. Of `headers`, `Date` and `Retry-After` are read, so spelled."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one request after another, from several threads."""

    def send(self, request: Request) -> Response:
        """The response, whatever its status.

        Raises NotConnected("Why.") if nothing was sent, or an OSError if it is in doubt whether the request
        arrived.
        """
