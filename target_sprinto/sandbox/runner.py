"""Starts and stops the sandbox."""

from __future__ import annotations

import asyncio
import ssl
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web

from target_sprinto.sandbox.engine import Engine
from target_sprinto.sandbox.server import API, Server

if TYPE_CHECKING:
    from typing_extensions import Self

HOST = "127.0.0.1"

SHUTDOWN_SECONDS = 0.1
"""How long a request in progress may take to end when the sandbox stops."""


class Sandbox(Engine):
    """A local Sprinto behind a real port, with its event loop in its own thread.

    Everything else (sessions, applied, …) is `Engine`'s and works whether or not the server runs.
    """

    url: str = ""
    """`http://127.0.0.1:PORT`, when started."""

    @property
    def page_url(self) -> str:
        """The web page's address, with the key that it requires."""
        return f"{self.url}/?key={quote(self.options.api_key, safe='')}"

    _thread: threading.Thread | None = None
    _loop: asyncio.AbstractEventLoop
    _runner: web.AppRunner
    _stopping: asyncio.Event

    @property
    def base_url(self) -> str:
        """The API's base URL, in place of `https://api.sprinto.com/api/external/push`."""
        return self.url + API

    def start(self, port: int = 0, ssl_context: ssl.SSLContext | None = None) -> str:
        """Serve; return the URL when connections are accepted. Port 0 picks a free one."""
        listening: Future[str] = Future()
        thread = threading.Thread(
            target=lambda: asyncio.run(self._run(listening, port, ssl_context)),
            name="sandbox",
            daemon=True,
        )
        thread.start()
        self.url = listening.result()
        self._thread = thread
        return self.url

    def stop(self) -> None:
        """Stop serving and write the snapshot. The state can still be read."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
            self._thread = None
            self.save()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def make_server(self) -> Server:
        """Make the web application, in the event loop that it belongs to."""
        return Server(self)

    async def _run(self, listening: Future[str], port: int, ssl_context: ssl.SSLContext | None) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        # Bodies stay as sent: the sandbox itself checks their size and compression.
        options: dict[str, Any] = {"auto_decompress": False, "access_log": None}
        self._runner = runner = web.AppRunner(
            self.make_server().app, shutdown_timeout=SHUTDOWN_SECONDS, **options
        )
        try:
            await runner.setup()
            site = web.TCPSite(runner, HOST, port, ssl_context=ssl_context)
            await site.start()
        except BaseException as error:  # noqa: BLE001 - passed to the thread that waits in start()
            await runner.cleanup()
            listening.set_exception(error)
            return
        bound = runner.addresses[0][1]
        listening.set_result(f"{'https' if ssl_context else 'http'}://{HOST}:{bound}")
        await self._stopping.wait()
        await runner.cleanup()
