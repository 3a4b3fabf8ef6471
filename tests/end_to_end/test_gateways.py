"""Between the loader and Sprinto: gateways that compress, certificates, broken proxies."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import http.server
import json
import socketserver
import ssl
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import requests
import trustme

from target_sprinto.sandbox import SandboxOptions
from tests.support.front_door import people, state_line
from tests.support.sandbox import Fault, FaultySandbox, Respond
from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_sprinto.sandbox.operations import Operation
    from tests.support.front_door import FrontDoor


def compressing_gateway(behind: str) -> http.server.ThreadingHTTPServer:
    """A gateway that compresses responses like nginx with `gzip on`: chunked, without a length."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:  # noqa: ANN401 - the base class's
            """Nothing."""

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: value for name, value in self.headers.items() if name != "Host"}
            got = requests.request(self.command, behind + self.path, data=body, headers=headers, timeout=10)
            self.send_response(got.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            packed = gzip.compress(got.content)
            for part in (packed[:7], packed[7:]):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")

        do_GET = do_POST = forward  # noqa: N815 - the base class's names

    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def test_responses_compressed_by_a_gateway_are_read(door: FrontDoor) -> None:
    origin, _, path = door.sandbox.base_url.partition("/api")
    with serving(compressing_gateway(origin)) as server:
        finished = door.run(people(120), api_url=f"http://127.0.0.1:{server.server_port}/api{path}")
    assert (finished.code, finished.stdout) == (0, state_line())
    assert "Trying again" not in finished.stderr


@contextmanager
def behind_tls(door: FrontDoor, context: ssl.SSLContext) -> Iterator[FrontDoor]:
    box = FaultySandbox(SandboxOptions(integrations=None, processing_seconds=0.02))
    box.start(ssl_context=context)
    try:
        yield replace(door, sandbox=box)
    finally:
        box.stop()


@pytest.mark.parametrize("content", ["", "not a certificate\n", "key"])
def test_a_ca_file_without_a_certificate_is_reported(
    door: FrontDoor, authority: trustme.CA, content: str
) -> None:
    """This used to look like a network failure and was retried for five minutes."""
    path = door.folder / "ca.pem"
    path.write_bytes(authority.private_key_pem.bytes() if content == "key" else content.encode())
    finished = door.run(
        people(3), api_url="https://127.0.0.1:9/api/external/push", env={"REQUESTS_CA_BUNDLE": str(path)}
    )
    assert finished.code == 1
    assert "REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names holds no certificate" in finished.error
    assert "[settings]" in finished.error


def test_the_sandbox_needs_no_ca_file(door: FrontDoor) -> None:
    finished = door.run(people(3), env={"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"})
    assert finished.code == 0


def test_an_expired_certificate_is_reported_as_expired(
    door: FrontDoor, authority: trustme.CA, trusted: dict[str, str]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    yesterday = dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=1)
    authority.issue_cert("127.0.0.1", not_after=yesterday).configure_cert(context)
    with behind_tls(door, context) as secure:
        finished = secure.run(people(3), env=trusted)
    assert finished.code == 1
    assert "has expired; nothing was sent" in finished.error
    assert "clock" in finished.error
    assert "[tls-error]" in finished.error


def test_a_server_that_requires_a_client_certificate_fails_at_once(
    door: FrontDoor, authority: trustme.CA, trusted: dict[str, str]
) -> None:
    """With TLS 1.3 the error comes after the handshake, which used to look like a lost response."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3

    class CertificateRequired(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                context.wrap_socket(self.request, server_side=True)

    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), CertificateRequired)) as server:
        finished = door.run(
            people(3), api_url=f"https://127.0.0.1:{server.server_address[1]}/api/external/push", env=trusted
        )
    assert finished.code == 1
    assert "client certificates are not supported" in finished.error
    assert "No session was opened" in finished.error
    assert "Trying again" not in finished.stderr


def hasty_gateway(behind: str, status: int, max_bytes: int, context: ssl.SSLContext | None) -> Any:  # noqa: ANN401 - a server
    """A gateway that rejects a large body before it has read it all, and resets the connection."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        rejected = 0

        def setup(self) -> None:
            if context is not None:
                self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def log_message(self, *_: Any) -> None:  # noqa: ANN401 - the base class's
            """Nothing."""

        def finish(self) -> None:
            with contextlib.suppress(OSError):
                super().finish()
            self.request.close()

        def forward(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name: value for name, value in self.headers.items() if name != "Host"}
            if length > max_bytes:
                Handler.rejected += 1
                self.rfile.read(50_000)
                accepted = {"session_id": self.path.split("/")[-2], "accepted_count_total": 100}
                said = json.dumps(accepted).encode() if status == 202 else b""
                head = b"HTTP/1.1 %d Hasty\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
                self.wfile.write(head % (status, len(said)) + said)
                # Gateways linger a little; then, with unread data, closing resets the connection.
                time.sleep(0.1)
                self.close_connection = True
                return
            body = self.rfile.read(length)
            got = requests.request(self.command, behind + self.path, data=body, headers=headers, timeout=10)
            self.send_response(got.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(got.content)))
            self.end_headers()
            self.wfile.write(got.content)

        do_GET = do_POST = forward  # noqa: N815 - the base class's names

    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("status", [202, 401, 413])
def test_a_response_that_comes_before_the_page_is_sent_is_read(
    door: FrontDoor, authority: trustme.CA, trusted: dict[str, str], status: int, scheme: str
) -> None:
    """The connection had been used before, so its reset used to look like a stale one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if scheme == "https" else None
    if context is not None:
        authority.issue_cert("127.0.0.1").configure_cert(context)
    origin, _, path = door.sandbox.base_url.partition("/api")
    schema, *records, state = people(100)
    for message in records:
        message["record"]["name"] = "x" * 40_000
    with serving(hasty_gateway(origin, status, 1_500_000, context)) as server:
        url = f"{scheme}://127.0.0.1:{server.server_port}/api{path}"
        finished = door.run(
            [schema, *records, state], api_url=url, env=trusted, compress=False, retry_timeout_seconds=0
        )
        rejected = server.RequestHandlerClass.rejected
    if status == 413:
        assert (finished.code, finished.stdout) == (0, state_line())
        assert rejected == 3
        assert len(door.applied()["people"]) == 100
    elif status == 401:
        assert (finished.code, rejected) == (1, 1)
        assert "[unauthorized]" in finished.error
    else:
        # A page that was not sent in full is not accepted, whatever a gateway says.
        assert finished.code == 75
        assert "[response-lost]" in finished.error


class ConnectionClosing(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(100)


def test_a_proxy_that_closes_the_connection_is_reported(door: FrontDoor) -> None:
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), ConnectionClosing)) as server:
        env = {"HTTPS_PROXY": f"http://127.0.0.1:{server.server_address[1]}", "NO_PROXY": "", "no_proxy": ""}
        finished = door.run(
            people(3), api_url="https://sprinto.example/api/external/push", env=env, retry_timeout_seconds=0
        )
    assert "the connection through the proxy failed" in finished.error
    assert "Check the proxy that HTTPS_PROXY names" in finished.error
    assert "No session was opened" in finished.error


def test_a_connection_closed_in_the_handshake_is_reported_clearly(door: FrontDoor) -> None:
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), ConnectionClosing)) as server:
        url = f"https://127.0.0.1:{server.server_address[1]}/api/external/push"
        finished = door.run(people(3), api_url=url, retry_timeout_seconds=0)
    assert "exec format" not in finished.error
    assert "[not-connected]" in finished.error


@pytest.mark.parametrize(
    "url",
    [
        "http://user:s3cr3t@",
        "http://user:s3#cr3t@proxy:8080",
        "http://user:s3/cr3t@proxy",
        "http://user:s3[cr3t@proxy:8080",
        "http://user:s3]cr3t@proxy:8080",
        "http://user:s3cr3t%E2%82%AC@127.0.0.1:9",
        "http://user:s3cr3t@127.0.0.1:99999",
    ],
)
def test_an_invalid_proxy_url_is_reported_without_its_password(door: FrontDoor, url: str) -> None:
    env = {"HTTPS_PROXY": url, "NO_PROXY": "", "no_proxy": ""}
    finished = door.run(people(3), api_url="https://sprinto.example/api/external/push", env=env)
    assert finished.code == 1
    assert "percent-encoded" in finished.error
    assert "[settings]" in finished.error
    assert "cr3t" not in finished.stderr


@pytest.mark.parametrize(
    ("operation", "status", "code"),
    [
        ("create", 403, 1),
        ("create", 400, 1),
        ("create", 502, 75),
        ("status", 401, 1),
        ("push", 400, 1),
        ("create", 404, 1),
        ("push", 413, 1),
        ("push", 504, 75),
    ],
)
def test_a_gateways_error_page_is_not_attributed_to_sprinto(
    door: FrontDoor, operation: Operation, status: int, code: int
) -> None:
    html = b"<html><body>Blocked by policy</body></html>"
    door.sandbox.inject(
        Fault(operation, integration_id=door.integration_id, times=99, effect=Respond(status, body=html))
    )
    finished = door.run(people(3), retry_timeout_seconds=1)
    assert finished.code == code
    assert "so it may be a gateway's" in finished.error or "Sprinto or a gateway reject" in finished.error
    assert "API key" not in finished.error
    assert "Sprinto's support" not in finished.error
    # In the hint, too.
    assert finished.error.count("gateway") > 1


def test_creates_in_doubt_are_retried_at_growing_intervals(door: FrontDoor) -> None:
    door.pace["create_retry_delay"] = 0.2
    door.sandbox.inject(Fault("create", integration_id=door.integration_id, times=99, effect=Respond(500)))
    finished = door.run(people(3), retry_timeout_seconds=3)
    assert finished.code == 75
    # At 0, 0.2, 0.6, 1.4 and 3 s, and a last one, rather than fifteen.
    assert 4 <= door.operations().count("create") <= 7
