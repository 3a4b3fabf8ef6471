"""The limit: reads messages, decodes them, encodes pages and posts them, and does nothing else.

Nothing is validated, counted, retried or kept in order. `connections` in its config is how many requests are
in flight at once, each on a thread and a connection of its own, while the main thread reads and decodes. Its
pages are as large as target-sprinto's. With `compress` it gzips them as target-sprinto does.
With `fields`, as ``{new: old}``, it renames the fields of each record and drops the others.
"""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    Page = dict[str, list[Any]]

# As in target_sprinto/push/protocol/pages.py, whose import would lengthen the start; the benchmark compares
# how many pages either sends.
SIZES_ALONE = (100,)
SIZES_IN_PARALLEL = (100, 99, 98, 96, 93, 87, 76, 56)


class Connection:
    """One connection to the sandbox, and the few calls that a run needs."""

    def __init__(self, config: dict[str, Any]) -> None:
        url = urlsplit(config["api_url"])
        self._http = http.client.HTTPConnection(url.netloc)
        self._sessions = f"{url.path}/v1/integrations/{config['integration_id']}/sessions"
        self._headers = {"api-key": config["api_key"], "Content-Type": "application/json"}
        self._compress = config["compress"]
        self._page_headers = {**self._headers, **({"Content-Encoding": "gzip"} if self._compress else {})}

    def open(self) -> str:
        session: str = json.loads(self._post(self._sessions, b"{}", self._headers))["id"]
        return session

    def push(self, session: str, page: Page) -> None:
        body = msgspec.json.encode({"entities": page})
        if self._compress:
            body = gzip.compress(body, compresslevel=1)
        self._post(f"{self._sessions}/{session}/entities", body, self._page_headers)

    def close(self, session: str) -> None:
        self._post(f"{self._sessions}/{session}/close", b'{"status":"apply"}', self._headers)

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        self._http.request("POST", path, body, headers)
        response = self._http.getresponse()
        content = response.read()
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"{response.status}: {content.decode()}")
        return content


def pages(sizes: tuple[int, ...], fields: dict[str, str] | None) -> Iterator[Page]:
    """The records of stdin by stream, as many at a time as the sizes say, in turn."""
    left = itertools.cycle(sizes)
    page: Page = {}
    items, size = 0, next(left)
    for line in sys.stdin.buffer:
        message = msgspec.json.decode(line)
        if message["type"] != "RECORD":
            continue
        record = message["record"]
        if fields:
            record = {new: record[old] for new, old in fields.items()}
        page.setdefault(message["stream"], []).append(record)
        items += 1
        if items == size:
            yield page
            page, items, size = {}, 0, next(left)
    if page:
        yield page


def post_all(config: dict[str, Any], session: str) -> None:
    """Post the pages over as many connections as the config says, and return when all are accepted."""
    connections = config["connections"]
    waiting: queue.Queue[Page | None] = queue.Queue(maxsize=connections)

    def work() -> None:
        try:
            connection = Connection(config)
            while (page := waiting.get()) is not None:
                connection.push(session, page)
        except Exception as failure:  # noqa: BLE001 - a thread's own end would leave the reading one waiting
            print(failure, file=sys.stderr, flush=True)
            os._exit(1)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for page in pages(SIZES_ALONE if connections == 1 else SIZES_IN_PARALLEL, config.get("fields")):
        waiting.put(page)
    for _ in threads:
        waiting.put(None)
    for thread in threads:
        thread.join()


def main() -> None:
    config = json.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
    first = Connection(config)
    session = first.open()
    post_all(config, session)
    first.close(session)


if __name__ == "__main__":
    main()
