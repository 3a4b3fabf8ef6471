"""The sandbox's HTTP server with faults on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import msgspec
from aiohttp import web

from target_sprinto.sandbox.operations import Call, Operation
from target_sprinto.sandbox.refusal import Refused
from target_sprinto.sandbox.server import Server, json_response
from tests.support.sandbox import faults
from tests.support.sandbox.request_seen import RequestSeen, seen_of

if TYPE_CHECKING:
    from tests.support.sandbox.faulty_sandbox import FaultySandbox

PRESENCE_SECONDS = 0.02
"""How often a hanging request checks whether it may continue, and whether its client is connected."""


class FaultyServer(Server):
    """Records each request in the sandbox, and applies the sandbox's faults."""

    def __init__(self, sandbox: FaultySandbox) -> None:
        super().__init__(sandbox)
        self._sandbox = sandbox
        self._idle_since: WeakKeyDictionary[asyncio.Transport, float] = WeakKeyDictionary()

    def arrived(self, request: web.Request, operation: Operation) -> Call:
        call = super().arrived(request, operation)
        return self._sandbox.begin(
            RequestSeen(**vars(call), method=request.method, path=request.path_qs, at=self._sandbox.clock())
        )

    async def exchange(self, request: web.Request, call: Call) -> web.StreamResponse:
        seen = seen_of(call)
        fault = self._sandbox.receive(seen)
        if self._is_forgotten(request, call):
            return self.break_off(request, call, reset=True)
        if fault is None:
            return await super().exchange(request, call)

        def has_company() -> bool:
            return self._sandbox.arrived(seen) >= fault.company

        await _until(lambda: has_company() or not _present(request))
        # A client may disconnect as soon as there is company: the fault strikes anyway.
        if not has_company():
            return self.break_off(request, call)
        await asyncio.sleep(fault.pause)
        return await self._strike(fault, request, call)

    def finish(self, request: web.Request, call: Call, response: web.Response) -> web.Response:
        response = super().finish(request, call, response)
        self._note_idle(request, call)
        self._sandbox.finish(seen_of(call), response.status if _present(request) else None)
        return response

    def break_off(self, request: web.Request, call: Call, *, reset: bool = False) -> web.Response:
        self._sandbox.finish(seen_of(call), None)
        if reset:
            _reset(request)
        return super().break_off(request, call)

    def _note_idle(self, request: web.Request, call: Call) -> None:
        idle, transport = self._sandbox.idle(call.integration_id), request.transport
        if idle is None or transport is None:
            return
        since = self._idle_since[transport] = time.monotonic()
        if idle.closed_after is not None:

            def close_if_idle() -> None:
                if self._idle_since.get(transport) == since:
                    transport.close()

            asyncio.get_running_loop().call_later(idle.closed_after, close_if_idle)

    def _is_forgotten(self, request: web.Request, call: Call) -> bool:
        """Whether a gateway forgot the connection while it was idle."""
        idle, transport = self._sandbox.idle(call.integration_id), request.transport
        since = None if transport is None else self._idle_since.pop(transport, None)
        if idle is None or idle.forgotten_after is None or since is None:
            return False
        return time.monotonic() - since >= idle.forgotten_after

    async def _strike(  # noqa: C901 - one case for each effect
        self, fault: faults.Fault, request: web.Request, call: Call
    ) -> web.StreamResponse:
        """Apply a fault to a request."""
        effect = fault.effect
        reply = self._sandbox.respond(call) if fault.moment == "after" else None
        match effect:
            case faults.Respond():
                return self.finish(request, call, _other_response(effect))
            case faults.Reset() | faults.Drop():
                return self.break_off(request, call, reset=isinstance(effect, faults.Reset))
            case faults.Raw():
                if request.transport is not None:
                    request.transport.write(effect.data)
                await _until(lambda: effect.then != "silence" or not _present(request))
                return self.break_off(request, call)
            case faults.Hang():
                await _until(
                    lambda: self._sandbox.is_released(fault) or not _present(request), effect.seconds
                )
                if not _present(request):
                    return self.break_off(request, call)
            case faults.Late():
                if effect.reset:
                    _reset(request)
                await _until(lambda: not _present(request))
                await _until(lambda: self._sandbox.is_released(fault), effect.seconds)
            case faults.Delay():
                await asyncio.sleep(effect.seconds)
        reply = reply or self._sandbox.respond(call)
        match effect:
            case faults.CutOff():
                return await self._cut_off(request, call, json_response(reply), effect.at)
            case faults.Edit():
                reply = replace(reply, body=effect.change(reply.body))
            case faults.Informational() if request.transport is not None:
                head = b"HTTP/1.1 %d Early\r\nLink: </style.css>; rel=preload\r\n\r\n" % effect.status
                request.transport.write(head * effect.times)
        return self.finish(request, call, json_response(reply))

    async def _cut_off(
        self, request: web.Request, call: Call, response: web.Response, at: int
    ) -> web.StreamResponse:
        body = response.body
        whole = body if isinstance(body, bytes) else b""
        part = web.StreamResponse(status=response.status, headers=response.headers)
        part.headers.setdefault("Date", self._sandbox.date(call.integration_id))
        part.content_length = len(whole)
        self._sandbox.finish(seen_of(call), response.status)
        # The client may have disconnected meanwhile.
        with contextlib.suppress(ConnectionError):
            await part.prepare(request)
            await part.write(whole[:at])
        if request.transport is not None:
            request.transport.close()
        return part


def _reset(request: web.Request) -> None:
    """Reset a request's connection."""
    if request.transport is not None:
        # Lingering for no time makes the kernel send RST instead of FIN.
        linger = struct.pack("ii", 1, 0)
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        request.transport.abort()


async def _until(reached: Callable[[], bool], seconds: float | None = None) -> None:
    """Poll until the condition holds, or for `seconds`: a client that disconnects sets no event."""
    loop = asyncio.get_running_loop()
    until = None if seconds is None else loop.time() + seconds
    while not reached() and (until is None or loop.time() < until):  # noqa: ASYNC110 - see above
        await asyncio.sleep(PRESENCE_SECONDS)


def _present(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


def _other_response(response: faults.Respond) -> web.Response:
    body = response.body
    if body is None:
        body = Refused(response.status, f"Injected fault: {response.status}").reply.body
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    headers = dict(response.headers)
    headers.setdefault("Content-Type", "application/json")
    return web.Response(status=response.status, body=raw, headers=headers)
