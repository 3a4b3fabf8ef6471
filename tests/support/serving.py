"""Runs a test's own server on a thread."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import socketserver
    from collections.abc import Iterator

_S = TypeVar("_S", bound="socketserver.TCPServer")


@contextlib.contextmanager
def serving(server: _S) -> Iterator[_S]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
