"""Opens a TCP connection to whichever address of a host name responds first.

A name may have several addresses, and one of them may drop every packet. So attempts start a moment apart and
run concurrently (RFC 8305, "Happy Eyeballs").
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence

ATTEMPT_DELAY_SECONDS = 0.25
"""Between the starts of two attempts (RFC 8305, section 8). A failed attempt starts the next at once."""

Address = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]
"""As `socket.getaddrinfo` returns it."""

SocketOptions = Sequence[tuple[int, int, int | bytes]]


class FastSocket(socket.socket):
    """Skips setting a timeout that it already has: each call may let another thread take the GIL."""

    def settimeout(self, value: float | None) -> None:
        """Set the timeout of each operation, in seconds; None for none."""
        if value != self.gettimeout():
            super().settimeout(value)


def connect_to_any(addresses: Iterable[Address], options: SocketOptions, until: float) -> socket.socket:
    """The first connection that succeeds; all other attempts are closed and send nothing.

    `until` is in monotonic seconds. Raises TimeoutError, or the OSError of the attempt that failed last.
    """
    waiting = deque(addresses)
    failure = OSError("the name has no address")
    next_at = 0.0
    with selectors.DefaultSelector() as attempts:
        try:
            while waiting or attempts.get_map():
                now = time.monotonic()
                if now >= until:
                    raise TimeoutError("timed out")
                if waiting and (now >= next_at or not attempts.get_map()):
                    next_at = now + ATTEMPT_DELAY_SECONDS
                    try:
                        started = _start(waiting.popleft(), options)
                        attempts.register(started, selectors.EVENT_WRITE, started)
                    except OSError as refused:
                        failure, next_at = refused, now
                    continue
                for key, _ in attempts.select((min(next_at, until) if waiting else until) - now):
                    attempt: socket.socket = key.data
                    attempts.unregister(attempt)
                    number = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not number:
                        return attempt
                    attempt.close()
                    failure, next_at = OSError(number, os.strerror(number)), now
            raise failure
        finally:
            for key in attempts.get_map().values():
                key.data.close()


def _start(address: Address, options: SocketOptions) -> socket.socket:
    """Start an attempt to connect. Raises OSError if it cannot be started."""
    family, kind, protocol, _, place = address
    attempt = FastSocket(family, kind, protocol)
    try:
        for option in options:
            attempt.setsockopt(*option)
        attempt.setblocking(False)  # noqa: FBT003 - as the socket module declares it
        attempt.connect(place)
    except BlockingIOError:
        pass
    except OSError:
        attempt.close()
        raise
    return attempt
