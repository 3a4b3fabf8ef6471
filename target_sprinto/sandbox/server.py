"""The sandbox's HTTP: routes, bodies in, answers out, and the faults, which live on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import msgspec
from aiohttp import web

from target_sprinto.sandbox import faults
from target_sprinto.sandbox.engine import Engine
from target_sprinto.sandbox.faults import Fault, Operation
from target_sprinto.sandbox.operations import Reply, RequestSeen
from target_sprinto.sandbox.refusal import Refused
from target_sprinto.sandbox.web_page import render

API = "/api/external/push"
_INTEGRATION = API + "/v1/integrations/{integration_id}"
_SESSION = _INTEGRATION + "/sessions/{session_id}"
ROUTES: tuple[tuple[str, str, Operation], ...] = (
    ("POST", _INTEGRATION + "/sessions", "create"),
    ("GET", _SESSION, "status"),
    ("POST", _SESSION + "/entities", "push"),
    ("POST", _SESSION + "/close", "close"),
    ("GET", _INTEGRATION + "/status", "integration_status"),
    ("GET", _INTEGRATION + "/activity", "activity"),
)
LOCAL_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})
PRESENCE_SECONDS = 0.02
"""How often a hanging request polls whether it may go on, and whether its client is still there."""


class Server:
    """The sandbox's web application. Belongs to one event loop; `release` must be called in it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._released: set[Fault] = set()
        self._idle_since: WeakKeyDictionary[asyncio.Transport, float] = WeakKeyDictionary()
        # Sizes are the engine's to judge, by the decoded body.
        self.app = web.Application(
            middlewares=[_errors_as_documented, self._require_known_host], client_max_size=0
        )
        for method, path, operation in ROUTES:
            self.app.router.add_route(method, path, self._handler(operation))
        self.app.router.add_get("/", self._page)
        self.app.router.add_get("/api/sandbox/{integration_id}/applied", self._applied)

    @web.middleware
    async def _require_known_host(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Serve requests for this machine only: a site whose name resolves to it must not read what is here.

        The port is not compared: a forwarded port has another number, and a site cannot choose `Host`.
        """
        try:
            host = urlsplit(f"//{request.host}").hostname
        except ValueError:
            host = None
        if host not in LOCAL_HOSTS | self._engine.options.hosts:
            raise web.HTTPMisdirectedRequest(reason="The sandbox serves no host of this name.")
        return await handler(request)

    def _require_key(self, request: web.Request) -> None:
        """What was applied is for those who know the key: in the header, or in the page's address."""
        given = request.headers.get("api-key") or request.query.get("key") or ""
        if not secrets.compare_digest(given.encode(), self._engine.options.api_key.encode()):
            raise web.HTTPUnauthorized(
                reason="The sandbox's key is missing: it is the end of the page's address, ?key=KEY."
            )

    def release(self, fault: Fault) -> None:
        """Let the requests go on that hang by this fault, now or later."""
        self._released.add(fault)

    def _handler(self, operation: Operation) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            seen = self._engine.begin(
                RequestSeen(
                    operation=operation,
                    integration_id=request.match_info["integration_id"],
                    session_id=request.match_info.get("session_id"),
                    nth=0,
                    method=request.method,
                    path=request.path_qs,
                    headers=request.headers.copy(),
                    at=self._engine.clock(),
                    query=request.query,
                )
            )
            try:
                body = await request.read()
            except (web.RequestPayloadError, ConnectionError):
                return self._break_off(request, seen, reset=False)
            return await self._exchange(request, seen, body)

        return handle

    async def _exchange(self, request: web.Request, seen: RequestSeen, body: bytes) -> web.StreamResponse:
        received, fault = self._engine.receive(seen, body)
        if self._is_forgotten(request, seen):
            return self._break_off(request, seen, reset=True)

        def act() -> Reply:
            return self._engine.answer(seen, received)

        if fault is None:
            reply = act()
            if slowness := self._engine.readings(seen.integration_id).answer_seconds:
                await asyncio.sleep(slowness)
            return self._finish(request, seen, _response(reply))

        def has_company() -> bool:
            return self._engine.arrived(seen) >= fault.company

        await _until(lambda: has_company() or not _present(request))
        # A client may leave as soon as there is company: the fault strikes all the same.
        if not has_company():
            return self._break_off(request, seen, reset=False)
        await asyncio.sleep(fault.pause)
        return await self._strike(fault, act, request, seen)

    async def _strike(  # noqa: C901 - one case for each effect
        self, fault: Fault, act: Callable[[], Reply], request: web.Request, seen: RequestSeen
    ) -> web.StreamResponse:
        """Let a fault have its way with a request."""
        effect = fault.effect
        reply = act() if fault.moment == "after" else None
        match effect:
            case faults.Answer():
                return self._finish(request, seen, _other_answer(effect))
            case faults.Reset() | faults.Drop():
                return self._break_off(request, seen, reset=isinstance(effect, faults.Reset))
            case faults.Raw():
                if request.transport is not None:
                    request.transport.write(effect.data)
                await _until(lambda: effect.then != "silence" or not _present(request))
                return self._break_off(request, seen, reset=False)
            case faults.Hang():
                await _until(lambda: fault in self._released or not _present(request), effect.seconds)
                if not _present(request):
                    return self._break_off(request, seen, reset=False)
            case faults.Late():
                if effect.reset:
                    self._cut(request, reset=True)
                await _until(lambda: not _present(request))
                await _until(lambda: fault in self._released, effect.seconds)
            case faults.Delay():
                await asyncio.sleep(effect.seconds)
        reply = reply or act()
        match effect:
            case faults.CutOff():
                return await self._cut_off(request, seen, _response(reply), effect.at)
            case faults.Edit():
                reply = replace(reply, body=effect.change(reply.body))
            case faults.Informational() if request.transport is not None:
                head = b"HTTP/1.1 %d Early\r\nLink: </style.css>; rel=preload\r\n\r\n" % effect.status
                request.transport.write(head * effect.times)
        return self._finish(request, seen, _response(reply))

    def _finish(self, request: web.Request, seen: RequestSeen, answer: web.Response) -> web.Response:
        answer.headers.setdefault("Date", self._engine.date(seen.integration_id))
        self._note_idle(request, seen)
        self._engine.finish(seen, answer.status if _present(request) else None)
        return answer

    def _note_idle(self, request: web.Request, seen: RequestSeen) -> None:
        readings, transport = self._engine.readings(seen.integration_id), request.transport
        if readings.idle_connections == "kept" or transport is None:
            return
        since = self._idle_since[transport] = time.monotonic()
        if readings.idle_connections == "closed":

            def close_if_idle() -> None:
                if self._idle_since.get(transport) == since:
                    transport.close()

            asyncio.get_running_loop().call_later(readings.idle_seconds, close_if_idle)

    def _is_forgotten(self, request: web.Request, seen: RequestSeen) -> bool:
        readings, transport = self._engine.readings(seen.integration_id), request.transport
        since = None if transport is None else self._idle_since.pop(transport, None)
        is_idle = since is not None and time.monotonic() - since >= readings.idle_seconds
        return is_idle and readings.idle_connections == "forgotten"

    def _break_off(self, request: web.Request, seen: RequestSeen, *, reset: bool) -> web.Response:
        self._engine.finish(seen, None)
        self._cut(request, reset=reset)
        # aiohttp wants an answer; with the connection closing it goes nowhere.
        return web.Response()

    def _cut(self, request: web.Request, *, reset: bool) -> None:
        transport = request.transport
        if transport is not None and reset:
            # Lingering for no time makes the kernel send RST instead of FIN.
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        elif transport is not None:
            transport.close()

    async def _cut_off(
        self, request: web.Request, seen: RequestSeen, answer: web.Response, at: int
    ) -> web.StreamResponse:
        body = answer.body
        whole = body if isinstance(body, bytes) else b""
        part = web.StreamResponse(status=answer.status, headers=answer.headers)
        part.headers.setdefault("Date", self._engine.date(seen.integration_id))
        part.content_length = len(whole)
        self._engine.finish(seen, answer.status)
        # The client may have left meanwhile.
        with contextlib.suppress(ConnectionError):
            await part.prepare(request)
            await part.write(whole[:at])
        if request.transport is not None:
            request.transport.close()
        return part

    async def _page(self, request: web.Request) -> web.Response:
        self._require_key(request)
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
        # The address holds the key.
        headers["Referrer-Policy"] = "no-referrer"
        return web.Response(
            text=render(self._engine, f"{request.url.origin()}{API}", refreshes="still" not in request.query),
            content_type="text/html",
            headers=headers,
        )

    async def _applied(self, request: web.Request) -> web.Response:
        self._require_key(request)
        integration_id = request.match_info["integration_id"]
        if integration_id not in self._engine.known():
            raise web.HTTPNotFound
        applied = self._engine.applied(integration_id)
        raw = {name: [msgspec.Raw(record) for record in records] for name, records in applied.items()}
        return web.Response(body=msgspec.json.encode(raw), content_type="application/json")


async def _until(reached: Callable[[], bool], seconds: float | None = None) -> None:
    """Poll until it is so, or for so long: a client that leaves sets no event."""
    loop = asyncio.get_running_loop()
    until = None if seconds is None else loop.time() + seconds
    while not reached() and (until is None or loop.time() < until):  # noqa: ASYNC110 - see above
        await asyncio.sleep(PRESENCE_SECONDS)


def _present(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


def _response(reply: Reply) -> web.Response:
    return web.Response(
        status=reply.status,
        body=msgspec.json.encode(reply.body),
        headers=reply.headers,
        content_type="application/json",
    )


def _other_answer(answer: faults.Answer) -> web.Response:
    body = answer.body
    if body is None:
        body = Refused(answer.status, f"Injected fault: {answer.status}").body
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    headers = dict(answer.headers)
    headers.setdefault("Content-Type", "application/json")
    return web.Response(status=answer.status, body=raw, headers=headers)


@web.middleware
async def _errors_as_documented(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Give aiohttp's own 404 and 405 the documented error body (an unknown version among them)."""
    try:
        return await handler(request)
    except web.HTTPError as error:
        refused = Refused(error.status, error.reason)
        return _response(Reply(refused.status, refused.body))
