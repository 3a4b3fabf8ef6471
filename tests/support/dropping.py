"""An address that drops every SYN, like a firewall, without needing privileges."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def dropping(host: str, port: int = 0) -> Iterator[tuple[socket.socket, list[socket.socket]]]:
    """A server that drops SYNs because its queue is full; yields it and the queued sockets."""
    with socket.socket() as server, contextlib.ExitStack() as queue:
        server.bind((host, port))
        server.listen(0)
        waiting: list[socket.socket] = []
        while True:
            one = queue.enter_context(socket.socket())
            one.settimeout(0.3)
            try:
                one.connect(server.getsockname())
            except TimeoutError:
                # Otherwise it would take the next free place.
                one.close()
                break
            waiting.append(one)
        server.settimeout(0)
        yield server, waiting
