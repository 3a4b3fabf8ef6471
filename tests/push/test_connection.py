from __future__ import annotations

import json
import logging
import socket
import threading
import time
from contextlib import closing
from http.client import RemoteDisconnected
from typing import ClassVar

import pytest
from urllib3.connection import HTTPConnection

from target_sprinto.push.api_calls import ApiClient, RetryPolicy
from target_sprinto.push.errors import ApiError, ClientClosed, Conflict, NotConnected
from target_sprinto.push.transport.network_errors import to_api_error
from target_sprinto.push.transport.total_timeout import ConnectError, StaleConnectionError, with_total_timeout
from target_sprinto.sandbox import SandboxOptions
from tests.support.sandbox import Fault, FaultySandbox, Reset, Respond

IMPATIENT = RetryPolicy(5.0, 0.0)


def new_client(api_url: str, api_key: str) -> ApiClient:
    return ApiClient(api_key=api_key, integration_id="some", api_url=api_url)


def wait_for_no_connection(sandbox: FaultySandbox) -> None:
    until = time.monotonic() + 5
    while sandbox.connections and time.monotonic() < until:
        time.sleep(0.01)
    assert not sandbox.connections


def test_a_closed_client_leaves_no_connection_open() -> None:
    with FaultySandbox(SandboxOptions(integrations=None)) as sandbox:
        sandbox.inject(Fault("create", effect=Reset()))
        sandbox.inject(Fault("create", nth=2, effect=Respond(409)))
        client = new_client(sandbox.base_url, sandbox.options.api_key)
        with pytest.raises(ApiError) as kept:
            client.create_session("a/b", IMPATIENT)
        with pytest.raises(Conflict):
            client.create_session("a/b", IMPATIENT)
        assert sandbox.connections == 1
        client.close()
        wait_for_no_connection(sandbox)
        assert kept.value.code == "response-lost"


def test_a_closed_client_sends_nothing() -> None:
    with FaultySandbox(SandboxOptions(integrations=None)) as sandbox:
        client = new_client(sandbox.base_url, sandbox.options.api_key)
        client.close()
        with pytest.raises(ClientClosed):
            client.create_session("a/b", IMPATIENT)
        wait_for_no_connection(sandbox)
        assert not sandbox.requests()


def test_a_large_page_may_be_the_first_request_on_a_connection() -> None:
    page = {"entities": {"User": [{"id": "U-1", "text": "x" * 500_000}]}}
    with FaultySandbox(SandboxOptions(integrations=None)) as sandbox:
        first, second = (new_client(sandbox.base_url, sandbox.options.api_key) for _ in range(2))
        session = first.create_session("a/b", IMPATIENT)
        second.push_page(session.id, json.dumps(page).encode(), IMPATIENT, gzipped=False)
        assert sandbox.sessions("some")[0].accepted_total == 1
        first.close()
        second.close()


def test_a_client_leaves_the_logs_of_other_requests_alone(caplog: pytest.LogCaptureFixture) -> None:
    new_client("http://127.0.0.1:9/api/external/push", "key").close()
    logging.getLogger("urllib3.connection").warning("Failed to parse headers", exc_info=ValueError())
    assert "Failed to parse headers" in caplog.text


def test_a_server_without_tls_is_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/api/external/push"
        client = new_client(url, "key")
        began = time.monotonic()
        with pytest.raises(NotConnected, match="timed out"):
            client.create_session("a/b", RetryPolicy(0.5, 0.0))
        assert time.monotonic() - began < 20
        client.close()


class ThroughSocks(HTTPConnection):
    """As urllib3's connections through a SOCKS proxy, whose package is not installed: `proxy` stays None."""

    _socks_options: ClassVar[dict[str, str]] = {}


@pytest.mark.parametrize(("kind", "is_direct"), [(HTTPConnection, True), (ThroughSocks, False)])
def test_only_a_direct_connection_may_be_stale(kind: type[HTTPConnection], is_direct: bool) -> None:  # noqa: FBT001 - a parameter of pytest's
    """A proxy may have forwarded the request before it closed the connection."""

    def respond_once(server: socket.socket) -> None:
        with server.accept()[0] as client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            client.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=respond_once, args=(server,), daemon=True).start()
        connection = with_total_timeout(kind)(*server.getsockname(), timeout=5)
        with closing(connection):
            connection.request("GET", "/")
            connection.getresponse().read()
            connection.request("GET", "/")
            with pytest.raises((StaleConnectionError, RemoteDisconnected)) as lost:
                connection.getresponse()
    assert isinstance(lost.value, StaleConnectionError) is is_direct
    with pytest.raises(ConnectError) as refused:
        connection.connect()
    assert ("through the proxy" in str(to_api_error(refused.value, "Then"))) is not is_direct
