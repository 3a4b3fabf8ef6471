"""Between the target and Sprinto: redirects, proxies, certificates, netrc."""

from __future__ import annotations

import base64
import contextlib
import os
import queue
import select
import socket
import socketserver
import ssl
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trustme

from target_sprinto.sandbox import Readings, SandboxOptions
from tests.support.dropping import dropping
from tests.support.front_door import FrontDoor, feed, people, state_line
from tests.support.sandbox import Drop, Fault, FaultySandbox, Reset, Respond
from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from target_sprinto.sandbox.operations import Operation
    from tests.support.sandbox import Effect


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    # A create in doubt takes long to resolve.
    "operation",
    [pytest.param("create", marks=pytest.mark.slow), "push", "status", "close"],
)
def test_a_redirect_is_never_followed(door: FrontDoor, operation: str, status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        location = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/"
        effect = Respond(status, {"Location": location})
        door.sandbox.inject(Fault(operation, integration_id=door.integration_id, effect=effect))  # type: ignore[arg-type] # a parameter
        finished = door.run(people(3))
        assert (finished.code, finished.stdout) == (1, "")
        assert "[redirected]" in finished.error
        assert "never followed" in finished.error
        assert not select.select([elsewhere], [], [], 0)[0]


def test_netrc_is_never_read(door: FrontDoor, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password somewhat\n")
    netrc.chmod(0o600)
    assert door.run(people(3), env={"NETRC": str(netrc)}).code == 0
    seen = door.sandbox.requests(door.integration_id)
    assert seen
    assert not any("Authorization" in request.headers for request in seen)
    assert all(request.headers["api-key"] == "sandbox-key" for request in seen)


LONGER_THAN_A_HANDSHAKE = 200


class Proxy(socketserver.ThreadingTCPServer):
    """A forward proxy: CONNECT tunnels and plain requests, with a login if `login` is set.

    With `spoil` it responds to the first request in a tunnel with these bytes, which are not TLS. It closes
    a tunnel that is silent for `idle` seconds. Its response to CONNECT takes `slow` seconds. With `trickle`
    seconds between two bytes it passes on the responses. With `context` it speaks TLS itself.
    It rejects the first `refusals` requests with the status `refuse`, and with `retry_after` if that is set.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(  # noqa: PLR0913 - how a proxy behaves, each with its default
        self,
        login: str | None = None,
        refuse: int | None = None,
        *,
        refusals: int = 1_000,
        retry_after: str = "",
        spoil: bytes = b"",
        idle: float | None = None,
        slow: float = 0.0,
        trickle: float = 0.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.spoil = spoil
        self.idle = idle
        self.slow = slow
        self.trickle = trickle
        self.context = context
        self.login = login
        self.refuse = refuse
        self.refusals = refusals
        self.retry_after = retry_after
        self.lines: list[str] = []

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port


class ProxyHandler(socketserver.StreamRequestHandler):
    server: Proxy
    rbufsize = 0

    def setup(self) -> None:
        if self.server.context is not None:
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def handle(self) -> None:
        first = self.rfile.readline()
        if not first:
            return
        self.server.lines.append(first.decode().strip())
        headers = []
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            headers.append(line)
        given = [line for line in headers if line.lower().startswith(b"proxy-authorization:")]
        wanted = base64.b64encode((self.server.login or "").encode())
        if self.server.login and not any(wanted in line for line in given):
            self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        if self.server.refuse and len(self.server.lines) <= self.server.refusals:
            wait = self.server.retry_after.encode()
            named = b"Retry-After: %b\r\n" % wait if wait else b""
            self.wfile.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n%b\r\n" % (self.server.refuse, named))
            return
        method, target, _ = first.split(b" ", 2)
        if method == b"CONNECT":
            host, _, port = target.rpartition(b":")
            with socket.create_connection((host.decode(), int(port))) as upstream:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                time.sleep(self.server.slow)
                self.wfile.write(b"\r\n")
                self.pump(upstream)
        else:
            host, _, path = target.removeprefix(b"http://").partition(b"/")
            name, _, port = host.partition(b":")
            with socket.create_connection((name.decode(), int(port))) as upstream:
                kept = [line for line in headers if not line.lower().startswith((b"proxy-", b"connection:"))]
                upstream.sendall(method + b" /" + path + b" HTTP/1.1\r\n" + b"".join(kept))
                upstream.sendall(b"Connection: close\r\n\r\n")
                self.pump(upstream)

    def pump(self, upstream: socket.socket) -> None:
        client = self.connection
        upstream.settimeout(30)
        greeted = asked = False
        with contextlib.suppress(OSError):
            while found := select.select([client, upstream], [], [], self.server.idle)[0]:
                for ready in found:
                    data = ready.recv(65536)
                    if not data:
                        return
                    slow = bool(self.server.trickle) and asked
                    for piece in map(bytes, zip(data)) if slow else (data,):
                        (upstream if ready is client else client).sendall(piece)
                        time.sleep(self.server.trickle * slow)
                    # The rest of a handshake is short; anything longer is a request.
                    asked = asked or (greeted and ready is client and len(data) > LONGER_THAN_A_HANDSHAKE)
                    if self.server.spoil and asked:
                        client.sendall(self.server.spoil)
                        return
                    greeted = greeted or ready is upstream


@pytest.fixture(scope="module")
def secure(authority: trustme.CA) -> Iterator[FaultySandbox]:
    """The sandbox behind TLS, with a certificate from a private CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    box = FaultySandbox(SandboxOptions(integrations=None, processing_seconds=0.02))
    box.start(ssl_context=context)
    yield box
    box.stop()


@pytest.fixture
def secure_door(secure: FaultySandbox, integration_id: str, tmp_path: Path, warm: str) -> Iterator[FrontDoor]:
    opened = FrontDoor(secure, integration_id, tmp_path, warm)
    yield opened
    opened.close()


def test_a_private_ca_from_the_environment_is_trusted(
    secure_door: FrontDoor, trusted: dict[str, str]
) -> None:
    finished = secure_door.run(people(3), env=trusted)
    assert (finished.code, finished.stdout) == (0, state_line())


def test_an_untrusted_certificate_fails_at_once(secure_door: FrontDoor) -> None:
    finished = secure_door.run(people(3), env={"REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""})
    assert (finished.code, finished.stdout) == (1, "")
    assert "[tls-error]" in finished.error
    assert "REQUESTS_CA_BUNDLE" in finished.error
    assert "Trying again" not in finished.stderr
    assert secure_door.operations() == []


def test_a_certificate_for_another_name_fails_at_once(
    authority: trustme.CA, door: FrontDoor, trusted: dict[str, str]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("sprinto.example").configure_cert(context)
    box = FaultySandbox(SandboxOptions(integrations=None, hosts=frozenset({"sprinto.example"})))
    box.start(ssl_context=context)
    try:
        finished = replace(door, sandbox=box).run(people(3), env=trusted)
    finally:
        box.stop()
    assert finished.code == 1
    assert "[tls-error]" in finished.error


def test_https_goes_through_the_proxy(secure_door: FrontDoor, trusted: dict[str, str]) -> None:
    with serving(Proxy()) as proxy:
        env = trusted | {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": ""}
        finished = secure_door.run(people(3), env=env)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert proxy.lines
    assert all(line.startswith("CONNECT 127.0.0.1:") for line in proxy.lines)


@pytest.mark.parametrize("effect", [Reset(), Drop()])
@pytest.mark.parametrize("operation", ["create", "push", "close"])
def test_a_lost_response_behind_a_proxy_is_resolved(
    secure_door: FrontDoor, trusted: dict[str, str], operation: Operation, effect: Effect
) -> None:
    """With a proxy, urllib3 reports a connection that ends like one that was never established."""
    secure_door.sandbox.configure(secure_door.integration_id, readings=Readings(apply="append"))
    fault = Fault(operation, integration_id=secure_door.integration_id, moment="after", effect=effect)
    secure_door.sandbox.inject(fault)
    with serving(Proxy()) as proxy:
        env = trusted | {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": ""}
        finished = secure_door.run(people(150), env=env)
    assert len(secure_door.sandbox.fired(secure_door.integration_id)) == 1
    assert (finished.code, finished.stdout) == (0, state_line())
    assert [entity["id"] for entity in secure_door.applied()["people"]] == list(range(150))
    assert secure_door.operations().count("push") == 2
    assert "[response-lost]" in finished.stderr
    assert "[not-connected]" not in finished.stderr


def test_invalid_tls_after_the_request_leaves_it_in_doubt(
    secure_door: FrontDoor, trusted: dict[str, str]
) -> None:
    """Invalid TLS shows that nothing was sent only if it comes before the request."""
    with serving(Proxy(spoil=b"HTTP/1.1 504 Gateway Timeout\r\n\r\n")) as proxy:
        env = trusted | {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": ""}
        finished = secure_door.run(people(3), env=env, retry_timeout_seconds=0)
    assert (finished.code, finished.stdout) == (75, "")
    assert "[response-lost]" in finished.error
    assert "nothing was sent" not in finished.error


def test_a_slow_proxy_is_used_again_after_a_pause(secure_door: FrontDoor, trusted: dict[str, str]) -> None:
    """The deadline of the previous response does not apply to the next connection."""
    with serving(Proxy(idle=1.5, slow=0.3)) as proxy:
        env = trusted | {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": ""}
        started = secure_door.start(env=env, request_timeout_seconds=4)
        feed(started, people(100))
        secure_door.wait_for_operation("push")
        # Longer than the request timeout and than the proxy's idle timeout.
        time.sleep(4.5)
        finished = secure_door.finish(started, people(3))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert "[not-connected]" not in finished.stderr


def test_a_proxy_with_a_login_in_its_url_is_used(secure_door: FrontDoor, trusted: dict[str, str]) -> None:
    with serving(Proxy(login="user:pr0xy-pass")) as proxy:
        env = trusted | {"HTTPS_PROXY": f"http://user:pr0xy-pass@127.0.0.1:{proxy.port}", "NO_PROXY": ""}
        finished = secure_door.run(people(3), env=env)
    assert finished.code == 0
    assert "pr0xy-pass" not in finished.stderr


def test_a_proxy_that_requires_a_login_fails_at_once(secure_door: FrontDoor, trusted: dict[str, str]) -> None:
    with serving(Proxy(login="user:pass")) as proxy:
        env = trusted | {"HTTPS_PROXY": f"http://user:wr0ng@127.0.0.1:{proxy.port}", "NO_PROXY": ""}
        finished = secure_door.run(people(3), env=env)
    assert (finished.code, finished.stdout) == (1, "")
    assert "[proxy-refused]" in finished.error
    assert "407" in finished.error
    assert "wr0ng" not in finished.stderr
    assert "Trying again" not in finished.stderr
    assert secure_door.operations() == []


def test_a_login_that_a_proxy_rejects_with_401_is_named(
    secure_door: FrontDoor, trusted: dict[str, str]
) -> None:
    """As tinyproxy does."""
    with serving(Proxy(refuse=401)) as proxy:
        env = trusted | {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": ""}
        finished = secure_door.run(people(3), env=env)
    assert finished.code == 1
    assert "The proxy rejects the login (401)" in finished.error
    assert "Check user and password in HTTPS_PROXY" in finished.error


def test_a_proxy_that_denies_the_host_fails_at_once(secure_door: FrontDoor, trusted: dict[str, str]) -> None:
    with serving(Proxy(refuse=403)) as proxy:
        env = trusted | {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": ""}
        finished = secure_door.run(people(3), env=env)
    assert finished.code == 1
    assert "[proxy-refused]" in finished.error


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_proxy_is_retried(secure_door: FrontDoor, trusted: dict[str, str], status: int) -> None:
    with serving(Proxy(refuse=status, refusals=2)) as proxy:
        env = trusted | {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": ""}
        finished = secure_door.run(people(3), env=env)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert f"(it returned {status}); nothing was sent." in finished.stderr
    assert len(proxy.lines) > 2
    assert secure_door.operations().count("create") == 1


def test_a_busy_proxys_retry_after_is_respected(secure_door: FrontDoor, trusted: dict[str, str]) -> None:
    with serving(Proxy(refuse=503, refusals=1, retry_after="2")) as proxy:
        env = trusted | {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": ""}
        began = time.monotonic()
        finished = secure_door.run(people(3), env=env)
    assert finished.code == 0
    assert time.monotonic() - began >= 2


def test_a_proxy_that_stays_busy_ends_the_run(secure_door: FrontDoor, trusted: dict[str, str]) -> None:
    with serving(Proxy(refuse=503, retry_after="60")) as proxy:
        env = trusted | {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": ""}
        finished = secure_door.run(people(3), env=env)
    assert (finished.code, finished.stdout) == (75, "")
    assert "[throttled]" in finished.error
    assert "which the time for retries" in finished.error
    assert "No session was opened" in finished.error
    assert len(proxy.lines) == 1


def test_an_unreachable_proxy_is_reported(secure_door: FrontDoor, trusted: dict[str, str]) -> None:
    env = trusted | {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
    finished = secure_door.run(people(3), env=env, retry_timeout_seconds=0.5)
    assert finished.code == 75
    assert "Could not connect to the proxy." in finished.error
    assert "[not-connected]" in finished.error


def test_plain_http_uses_no_proxy(door: FrontDoor) -> None:
    """Plain HTTP is for this machine only; a remote proxy would see the key."""
    with serving(Proxy()) as proxy:
        env = {"HTTP_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": ""}
        assert door.run(people(3), env=env).code == 0
    assert proxy.lines == []


@pytest.mark.parametrize("location", ["https://[", "http://\xff\xfe/", "//", "", "ftp://x"])
@pytest.mark.parametrize("operation", ["create", "push"])
def test_a_redirect_with_an_invalid_location_is_still_a_redirect(
    door: FrontDoor, operation: Operation, location: str
) -> None:
    effect = Respond(302, {"Location": location})
    door.sandbox.inject(Fault(operation, integration_id=door.integration_id, effect=effect, moment="after"))
    finished = door.run(people(150))
    assert (finished.code, finished.stdout) == (1, "")
    assert "[redirected]" in finished.error
    assert door.session().state == "cancelled"


def test_netrc_is_not_even_opened(door: FrontDoor, tmp_path: Path) -> None:
    """A named pipe without a writer would block any reader."""
    os.mkfifo(tmp_path / "netrc")
    effect = Respond(302, {"Location": "http://127.0.0.1:9/"})
    door.sandbox.inject(Fault("status", integration_id=door.integration_id, effect=effect))
    finished = door.run(people(3), env={"NETRC": str(tmp_path / "netrc")})
    assert "[redirected]" in finished.error


def test_a_missing_ca_file_is_reported(secure_door: FrontDoor) -> None:
    finished = secure_door.run(people(3), env={"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"})
    assert finished.code == 1
    assert "REQUESTS_CA_BUNDLE" in finished.error
    assert "[settings]" in finished.error


def test_https_to_a_plain_port_sends_nothing(door: FrontDoor) -> None:
    url = door.sandbox.base_url.replace("http:", "https:")
    finished = door.run(people(3), api_url=url, retry_timeout_seconds=0)
    assert finished.code == 1
    assert "the TLS handshake failed" in finished.error
    assert "No session was opened" in finished.error


def test_a_socks_proxy_without_its_package_is_reported(secure_door: FrontDoor) -> None:
    env = {"HTTPS_PROXY": "socks5://127.0.0.1:9", "NO_PROXY": ""}
    finished = secure_door.run(people(3), env=env)
    assert finished.code == 1
    assert "PySocks" in finished.error
    assert "No session was opened" in finished.error


class Trickle(socketserver.BaseRequestHandler):
    """Responds forever, byte by byte or in an endless stream."""

    server: TrickleServer

    def handle(self) -> None:
        self.request.recv(65536)
        head, piece, seconds = self.server.response
        with contextlib.suppress(OSError):
            self.request.sendall(head)
            while not self.server.stop.wait(seconds):
                self.request.sendall(piece)


class TrickleServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    response: tuple[bytes, bytes, float]
    stop: threading.Event


ENDLESS: dict[str, tuple[bytes, bytes, float]] = {
    "a slow body": (b"HTTP/1.1 201 Created\r\nContent-Length: 99999\r\n\r\n", b" ", 0.1),
    "slow headers": (b"HTTP/1.1 201 Created\r\nX-Long: ", b"x", 0.1),
    "endless 100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
    "an endless redirect body": (
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n\r\n",
        b"x" * 65536,
        0.0,
    ),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_endless_responses_time_out(door: FrontDoor, what: str) -> None:
    server = TrickleServer(("127.0.0.1", 0), Trickle)
    server.response, server.stop = ENDLESS[what], threading.Event()
    with serving(server):
        url = f"http://127.0.0.1:{server.server_address[1]}/api/external/push"
        began = time.monotonic()
        door.pace |= {"shutdown_request_timeout": 0.5, "shutdown_timeout": 2.0}
        try:
            finished = door.run(people(3), api_url=url, request_timeout_seconds=1, retry_timeout_seconds=0)
        finally:
            server.stop.set()
    assert finished.code == 75
    assert time.monotonic() - began < 40


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_slow_response_behind_a_proxy_times_out(
    secure_door: FrontDoor, authority: trustme.CA, trusted: dict[str, str], scheme: str
) -> None:
    context = None
    if scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
    secure_door.pace |= {"shutdown_request_timeout": 0.5, "shutdown_timeout": 2.0}
    with serving(Proxy(trickle=0.2, context=context)) as proxy:
        env = trusted | {"HTTPS_PROXY": f"{scheme}://127.0.0.1:{proxy.port}", "NO_PROXY": ""}
        began = time.monotonic()
        finished = secure_door.run(people(3), env=env, request_timeout_seconds=1, retry_timeout_seconds=0)
    assert finished.code == 75
    assert "no response came in time" in finished.error
    assert time.monotonic() - began < 20


class SilentServer(socketserver.ThreadingTCPServer):
    """Never responds, and notes how each connection ends."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Silent)
        self.endings: queue.Queue[str] = queue.Queue()


class Silent(socketserver.BaseRequestHandler):
    server: SilentServer

    def handle(self) -> None:
        try:
            while self.request.recv(65536):
                pass
            self.server.endings.put("closed")
        except ConnectionResetError:
            self.server.endings.put("reset")


def test_a_request_that_timed_out_is_not_delivered_later(door: FrontDoor) -> None:
    """The kernel still sends what was lost on a connection that is closed, but not on one that is reset."""
    with serving(SilentServer()) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/api/external/push"
        door.pace |= {"shutdown_request_timeout": 0.5, "shutdown_timeout": 2.0}
        finished = door.run(people(3), api_url=url, request_timeout_seconds=1, retry_timeout_seconds=0)
        assert finished.code == 75
        assert server.endings.get(timeout=5) == "reset"


def test_no_proxy_is_honoured(door: FrontDoor) -> None:
    with serving(Proxy()) as proxy:
        env = {"HTTP_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": "127.0.0.1"}
        assert door.run(people(3), env=env).code == 0
    assert proxy.lines == []


TWO_ADDRESSES = """
import socket
resolve = socket.getaddrinfo
def resolved(host, port, *args, **kwargs):
    if host != "two.test":
        return resolve(host, port, *args, **kwargs)
    found = []
    for address in ("127.0.0.2", "127.0.0.1"):
        found += resolve(address, port, *args, **kwargs)
    return found
socket.getaddrinfo = resolved
"""
"""Makes a name resolve to two addresses in the command's process."""


def test_the_second_address_is_used_if_the_first_drops_packets(
    authority: trustme.CA, door: FrontDoor, trusted: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(TWO_ADDRESSES)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("two.test").configure_cert(context)
    box = FaultySandbox(
        SandboxOptions(integrations=None, processing_seconds=0.02, hosts=frozenset({"two.test"}))
    )
    box.start(ssl_context=context)
    port = int(box.base_url.split(":")[2].partition("/")[0])
    try:
        with dropping("127.0.0.2", port) as _:
            finished = replace(door, sandbox=box).run(
                people(150),
                cold=True,
                env=trusted | {"PYTHONPATH": str(tmp_path / "site"), "NO_PROXY": "two.test"},
                api_url=box.base_url.replace("127.0.0.1", "two.test"),
                request_timeout_seconds=5,
            )
            assert (finished.code, finished.stdout) == (0, state_line())
            assert "Trying again" not in finished.stderr
        assert [len(records) for records in box.applied(door.integration_id).values()] == [150]
    finally:
        box.stop()
