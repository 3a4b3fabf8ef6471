"""The sandbox's HTTP layer: routes, requests and responses."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from target_sprinto.sandbox.engine import Engine
from target_sprinto.sandbox.operations import Call, Operation
from target_sprinto.sandbox.refusal import Refused, Reply
from target_sprinto.sandbox.snapshot import DataUnusable
from target_sprinto.sandbox.web_page import render

log = logging.getLogger(__name__)

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


class Server:
    """The sandbox's web application; belongs to one event loop.

    A call passes `arrived`, `exchange`, and then `finish`, or `break_off` if it gets no response.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # The engine checks sizes, after decompression.
        self.app = web.Application(
            middlewares=[_errors_as_documented, self._require_known_host], client_max_size=0
        )
        for method, path, operation in ROUTES:
            self.app.router.add_route(method, path, self._handler(operation))
        self.app.router.add_get("/", self._page)
        self.app.router.add_get("/api/sandbox/{integration_id}/applied", self._applied)
        self.app.on_response_prepare.append(_drop_empty_date)

    @web.middleware
    async def _require_known_host(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Serve requests for this machine only: a site whose name resolves to it must not read its data.

        The port is not compared: a forwarded port has another number, and a site cannot choose `Host`.
        """
        try:
            host = urlsplit(f"//{request.host}").hostname
        except ValueError:
            host = None
        if host not in LOCAL_HOSTS | self._engine.options.hosts:
            raise web.HTTPMisdirectedRequest(reason="The sandbox does not serve this host name.")
        return await handler(request)

    def _require_key(self, request: web.Request) -> None:
        """Require the key for access to applied records: in the header, or in the page's address."""
        given = request.headers.get("api-key") or request.query.get("key") or ""
        if not secrets.compare_digest(
            given.encode(errors="surrogateescape"), self._engine.options.api_key.encode()
        ):
            raise web.HTTPUnauthorized(
                reason="The key is missing: open the address that the sandbox printed; it ends in ?key=KEY."
            )

    def _handler(self, operation: Operation) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            call = self.arrived(request, operation)
            try:
                call.body = await request.read()
            except (web.RequestPayloadError, ConnectionError):
                return self.break_off(request, call)
            return await self.exchange(request, call)

        return handle

    def arrived(self, request: web.Request, operation: Operation) -> Call:
        """Read the head of a request; its body is still to come."""
        return Call(
            operation=operation,
            integration_id=request.match_info["integration_id"],
            session_id=request.match_info.get("session_id", ""),
            headers=request.headers.copy(),
            query=request.query,
        )

    async def exchange(self, request: web.Request, call: Call) -> web.StreamResponse:
        """Act on a call that is complete, and respond to it."""
        reply = self._engine.respond(call)
        if slowness := self._engine.readings(call.integration_id).response_seconds:
            await asyncio.sleep(slowness)
        return self.finish(request, call, json_response(reply))

    def finish(self, request: web.Request, call: Call, response: web.Response) -> web.Response:  # noqa: ARG002 - for a subclass
        """Complete a response that is about to be sent."""
        response.headers.setdefault("Date", self._engine.date(call.integration_id))
        return response

    def break_off(self, request: web.Request, call: Call) -> web.Response:  # noqa: ARG002 - for a subclass
        """Close the connection instead of responding."""
        if request.transport is not None:
            request.transport.close()
        # aiohttp requires a response; the connection is closed, so it is not sent.
        return web.Response()

    async def _page(self, request: web.Request) -> web.Response:
        self._require_key(request)
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
        # The address contains the key.
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


async def _drop_empty_date(_: web.Request, response: web.StreamResponse) -> None:
    # aiohttp adds this machine's own `Date` to a response without one.
    if not response.headers["Date"]:
        del response.headers["Date"]


def json_response(reply: Reply) -> web.Response:
    """Write a reply as HTTP."""
    return web.Response(
        status=reply.status,
        body=msgspec.json.encode(reply.body),
        headers=reply.headers,
        content_type="application/json",
    )


@web.middleware
async def _errors_as_documented(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Give aiohttp's own 404 and 405 the documented error body (also for an unknown version)."""
    try:
        return await handler(request)
    except web.HTTPError as error:
        return json_response(Refused(error.status, error.reason).reply)
    except DataUnusable as problem:
        log.error("%s. The sandbox's data is lost when it stops.", problem)  # noqa: TRY400 - no traceback
        return json_response(Refused(500, str(problem)).reply)
