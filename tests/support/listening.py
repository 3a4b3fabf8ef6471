"""Detects whether a schema makes this machine fetch a document."""

from __future__ import annotations

import contextlib
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

DRAFTS = [
    None,
    "http://json-schema.org/draft-03/schema#",
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
]


class Server:
    """Counts every connection; the response is a schema that rejects everything."""

    def __init__(self) -> None:
        self.connections = 0
        counting = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"not": {}}')

            def log_message(self, *_: object) -> None:
                pass

        class IndexConvention(HTTPServer):
            def verify_request(self, *_: object) -> bool:
                counting.connections += 1
                return True

        self.server = IndexConvention(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/schema.json"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class Document:
    """A named pipe in place of a file. Opening it for writing waits for a reader, so each reader is counted.

    This includes readers that are not Python code, such as the compiled validator.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self.opened = 0
        self._closing = False
        self._thread = threading.Thread(target=self._count, daemon=True)

    def _count(self) -> None:
        while True:
            # The reader may have closed early.
            with contextlib.suppress(BrokenPipeError), self.path.open("wb") as pipe:
                if self._closing:
                    return
                self.opened += 1
                pipe.write(b'{"not": {}}')

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        # The thread may be between two opens and miss one.
        while self._thread.is_alive():
            os.close(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK))
            self._thread.join(0.05)
