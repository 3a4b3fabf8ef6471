"""Gateways and proxies that others wrote, as real processes: nginx, squid, tinyproxy."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from target_sprinto.sandbox import Readings
from tests.support.front_door import API_KEY, SECRET, Finished, end_of_input, feed, record, state_line
from tests.support.sandbox import Fault

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor
    from tests.support.sandbox import Effect

PATH = os.environ["PATH"] + ":/usr/sbin"
PROGRAMS = {name: shutil.which(name, path=PATH) or "" for name in ("nginx", "openssl", "squid", "tinyproxy")}
"""The programs' paths; empty if one is not installed."""

PASSWORD = "pr0xy-pa55word"
NGINX = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{}}
http {{
    log_format cells "$status $connection $request_method $uri $sent_http_content_encoding- $upstream_status";
    access_log {folder}/access.log cells;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/temp;
    uwsgi_temp_path {folder}/temp;
    scgi_temp_path {folder}/temp;
    ssl_certificate {folder}/cert.pem;
    ssl_certificate_key {folder}/key.pem;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    upstream sprinto {{ {upstream} keepalive 8; }}
    {http}
    server {{
        listen 127.0.0.1:{port} ssl;
        location / {{ proxy_pass http://sprinto; {others} }}
        location ~ /entities$ {{ proxy_pass http://sprinto; {pages} }}
        location ~ /close$ {{ proxy_pass http://sprinto; {close} }}
    }}
}}
"""
SQUID = """
http_port 127.0.0.1:{port}
pid_filename none
access_log stdio:{folder}/access.log
cache_log {folder}/cache.log
cache deny all
pinger_enable off
shutdown_lifetime 0 seconds
coredump_dir {folder}
acl sprinto port {allowed}
{login}
http_access deny CONNECT !sprinto
http_access {who}
http_access deny all
"""
SQUID_LOGIN = """auth_param basic program /usr/lib/squid/basic_ncsa_auth {folder}/users
acl known proxy_auth REQUIRED"""
LOGGED = {
    ("squid", "login"): "TCP_DENIED/407",
    ("squid", "host"): "TCP_DENIED/403",
    ("squid", "unreachable"): "/503",
    ("tinyproxy", "login"): "CONNECT 127.0.0.1",
    ("tinyproxy", "host"): "Refused CONNECT method on port",
    ("tinyproxy", "unreachable"): "Could not establish a connection",
}
"""What a proxy logs if it rejects a login (tinyproxy: only the request), or a host, or cannot reach it."""

TINYPROXY = 'Port {port}\nListen 127.0.0.1\nLogFile "{folder}/access.log"\nConnectPort {allowed}\n{login}\n'


class Line(NamedTuple):
    """A line of nginx's access log; `upstream` is `-` if nginx itself responded."""

    status: int
    connection: str
    method: str
    uri: str
    encoding: str
    upstream: str

    @property
    def is_page(self) -> bool:
        return self.uri.endswith("/entities")


class Server:
    """A program that listens on a port; it runs in the foreground, so that it can be ended by its id."""

    def __init__(self, door: FrontDoor, folder: Path, *command: str) -> None:
        self.door, self.folder, self.command = door, folder, command
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.door.sandbox.wait_for(lambda _: self.listens())

    def listens(self) -> bool:
        assert self.process.poll() is None, self.text("error.log") + self.text("cache.log")
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", self.port)) == 0

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(20)

    def text(self, name: str) -> str:
        with suppress(FileNotFoundError):
            return (self.folder / name).read_text(errors="replace")
        return ""

    def wait_for(self, name: str, text: str) -> None:
        self.door.sandbox.wait_for(lambda _: text in self.text(name), 20)


class Nginx(Server):
    def __init__(self, door: FrontDoor) -> None:
        config = door.folder / "nginx.conf"
        super().__init__(
            door, door.folder, PROGRAMS["nginx"], "-e", f"{door.folder}/error.log", "-c", str(config)
        )
        self.config, origin = config, door.sandbox.base_url.removeprefix("http://")
        self.upstream, _, path = origin.partition("/")
        self.url = f"https://127.0.0.1:{self.port}/{path}"
        self.trusted = {"REQUESTS_CA_BUNDLE": f"{self.folder}/cert.pem"}
        subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem"]
        make = [PROGRAMS["openssl"], "req", "-x509", *key, *subject, "-out", "cert.pem"]
        subprocess.run(make, cwd=self.folder, check=True, capture_output=True)

    def configure(self, upstream: str = "", **directives: str) -> None:
        values = {"http": "", "others": "", "pages": "", "close": ""} | directives
        user = "user root;" if os.geteuid() == 0 else ""
        servers = upstream or f"server {self.upstream};"
        whole = NGINX.format(folder=self.folder, port=self.port, user=user, upstream=servers, **values)
        self.config.write_text(whole)

    def serve(self, upstream: str = "", **directives: str) -> None:
        self.configure(upstream, **directives)
        self.start()

    def workers(self) -> set[int]:
        pid = self.process.pid
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def new_worker_after(self, number: signal.Signals, pid: int) -> None:
        before = self.workers()
        os.kill(pid, number)
        self.door.sandbox.wait_for(lambda _: bool(self.workers() - before))

    def reload(self) -> None:
        """Reload the configuration; return once the old worker has closed its idle connections."""
        ended = self.text("error.log").count("gracefully shutting down")
        self.new_worker_after(signal.SIGHUP, self.process.pid)
        self.door.sandbox.wait_for(lambda _: self.text("error.log").count("gracefully shutting down") > ended)

    def kill_worker(self) -> None:
        (worker,) = self.workers()
        self.new_worker_after(signal.SIGKILL, worker)
        self.wait_for("error.log", "exited on signal 9")

    def strike_third_page(self, effect: Effect, moment: Literal["before", "after"] = "before") -> Fault:
        """Let the sandbox do this with the third page; with "after" it acts on the page first."""
        fault = Fault("push", 3, integration_id=self.door.integration_id, moment=moment, effect=effect)
        self.door.sandbox.inject(fault)
        return fault

    def third_page_landed(self) -> bool:
        seen = self.door.sandbox.requests(self.door.integration_id)
        return any(each.operation == "push" and each.nth == 3 and each.acted_at for each in seen)

    def lines(self) -> list[Line]:
        found = (line.split(" ", 5) for line in self.text("access.log").splitlines() if " /api/" in line)
        return [Line(int(status), *others) for status, *others in found]

    def pages(self) -> list[int]:
        return [line.status for line in self.lines() if line.is_page]


def assert_no_secret(folder: Path) -> None:
    """Neither our own messages, nor the logs of any program on the way, contain one."""
    for file in folder.glob("*.log"):
        text = file.read_text(errors="replace").lower()
        assert not [secret for secret in (API_KEY, SECRET, PASSWORD) if secret in text], file


class Run:
    """A run of the command through nginx; what it logs can be read meanwhile."""

    def __init__(self, nginx: Nginx, env: dict[str, str] | None = None, **settings: Any) -> None:  # noqa: ANN401
        self.in_order = settings.get("max_parallel_pages", 1) == 1
        self.door, self.log = nginx.door, nginx.folder / f"stderr-{len(list(nginx.folder.iterdir()))}.log"
        self.door.sandbox.configure(
            self.door.integration_id,
            readings=Readings(apply="append", response_seconds=settings.pop("response_seconds", 0.0)),
        )
        options: dict[str, Any] = {"api_url": nginx.url, "env": nginx.trusted | (env or {})}
        with self.log.open("wb") as file:
            self.process = self.door.start(stderr=file.fileno(), **(options | settings))

    def logged(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str) -> None:
        self.door.sandbox.wait_for(lambda _: text in self.logged(), 20)

    def finish(self, messages: list[Any] | None = None) -> Finished:
        if messages:
            feed(self.process, messages)
        out, _ = self.process.communicate(timeout=60)
        finished = Finished(self.process.returncode, out.decode(), self.logged())
        assert_no_secret(self.door.folder)
        assert "Traceback" not in finished.stderr
        return finished

    def assert_applied(self, messages: list[Any]) -> str:
        """Finish; everything was applied once, in order if one page was in flight at a time."""
        finished = self.finish()
        assert (finished.code, finished.stdout) == (0, state_line()), finished.stderr
        sent = [message["record"] for message in messages if message["type"] == "RECORD"]
        applied = self.door.applied()["people"]
        assert (applied if self.in_order else sorted(applied, key=lambda one: one["id"])) == sent
        return finished.stderr

    def assert_nothing(self, code: int, state: str | None = "cancelled") -> Finished:
        """Finish; nothing was applied, and the session ended as `state`."""
        finished = self.finish()
        assert (finished.code, finished.stdout) == (code, ""), finished.stderr
        assert not self.door.applied()
        assert [session.state for session in self.door.sessions()] == ([state] if state else [])
        return finished


def states_of_connections_to(port: int) -> list[str]:
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[3] for row in rows if row[2].endswith(f":{port:04X}")]


class Proxy(Server):
    """A forward proxy that lets CONNECT through to one port."""

    def __init__(self, door: FrontDoor, folder: Path, program: str, allowed: int, *, login: bool) -> None:
        config = folder / "proxy.conf"
        arguments = ["-N", "-f", str(config)] if program == "squid" else ["-d", "-c", str(config)]
        super().__init__(door, folder, PROGRAMS[program], *arguments)
        values = {"folder": folder, "port": self.port, "allowed": allowed}
        if program == "squid":
            made = subprocess.check_output([PROGRAMS["openssl"], "passwd", "-apr1", PASSWORD], text=True)
            (folder / "users").write_text(f"loader:{made}")
            who = "allow known" if login else "allow localhost"
            whole = SQUID.format(**values, login=SQUID_LOGIN.format(**values) if login else "", who=who)
        else:
            whole = TINYPROXY.format(**values, login=f"BasicAuth loader {PASSWORD}" if login else "")
        config.write_text(whole)

    def env(self, login: str = "") -> dict[str, str]:
        return {"HTTPS_PROXY": f"http://{login}127.0.0.1:{self.port}", "NO_PROXY": "", "no_proxy": ""}


class Proxies:
    """Starts one, in a folder that squid, which is not root, can write to."""

    def __init__(self, door: FrontDoor, folder: Path) -> None:
        self.door, self.folder, self.started = door, folder, list[Proxy]()

    def start(self, program: str, allowed: int, *, login: bool = False) -> Proxy:
        proxy = Proxy(self.door, self.folder, program, allowed, login=login)
        self.started.append(proxy)
        proxy.start()
        return proxy


def start_complete(nginx: Nginx, messages: list[Any], **settings: Any) -> Run:  # noqa: ANN401
    run = Run(nginx, **settings)
    feed(run.process, messages)
    end_of_input(run.process)
    return run


def large(number: int, size: int) -> dict[str, Any]:
    """A record that compression hardly makes smaller."""
    return record(number, name=f"{SECRET} {random.Random(number).randbytes(size // 2).hex()}")  # noqa: S311
