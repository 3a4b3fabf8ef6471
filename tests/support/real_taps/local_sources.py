"""Servers on loopback for taps to read: HTTP, PostgreSQL and MariaDB."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS_TO_START = 60


@contextmanager
def http(responses: dict[str, Callable[[dict[str, str]], str]]) -> Iterator[str]:
    """A server with a function per path that turns the query into the response. Yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            body = responses[url.path]({name: values[-1] for name, values in parse_qs(url.query).items()})
            self.send_response(200)
            self.send_header(
                "Content-Type", "application/xml" if body.startswith("<") else "application/json"
            )
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def postgres() -> Iterator[tuple[Path, Callable[[str], str]]]:
    """A server whose log wal2json can read; yields its socket's folder, and a function to query it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found or not (found[-1].parent.parent / "lib" / "wal2json.so").exists():
        pytest.skip("no PostgreSQL server with wal2json (Debian: postgresql, postgresql-*-wal2json)")
    programs = found[-1].parent
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        home, owner = Path(name), _owner(name, "postgres")
        _run([programs / "initdb", "-D", home / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8"], owner)
        options = (
            f"-c listen_addresses='' -c unix_socket_directories={home} -c wal_level=logical -c fsync=off"
        )
        control: list[str | Path] = [
            programs / "pg_ctl",
            "-D",
            home / "data",
            "-l",
            home / "log",
            "-w",
            "-o",
            options,
        ]
        _run([*control, "start"], owner)

        def query(sql: str) -> str:
            return _run(
                ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", home, "-U", "postgres", "-c", sql], {}
            )

        try:
            yield home, query
        finally:
            _run([*control, "-m", "immediate", "stop"], owner)


@contextmanager
def mariadb() -> Iterator[tuple[int, Callable[[str], str]]]:
    """A server with a binary log; yields its port and a function to query it. User and password are `tap`."""
    server, make = shutil.which("mariadbd", path="/usr/sbin:/usr/bin"), shutil.which("mariadb-install-db")
    if server is None or make is None:
        pytest.skip("no MariaDB server (Debian: mariadb-server)")
    with tempfile.TemporaryDirectory(prefix="my-") as name, socket.create_server(("127.0.0.1", 0)) as free:
        home, owner = Path(name), _owner(name, "mysql")
        data = f"--datadir={home}/data"
        _run([make, "--no-defaults", data, "--auth-root-authentication-method=normal"], owner)
        port = free.getsockname()[1]
        free.close()
        binary_log = ["--log-bin", "--binlog-format=ROW", "--server-id=7"]
        where = [f"--socket={home}/socket", f"--port={port}", "--bind-address=127.0.0.1"]
        with (home / "log").open("wb") as log:
            options = [data, *where, *binary_log, "--character-set-server=utf8mb4"]
            running = subprocess.Popen([server, "--no-defaults", *options], stdout=log, stderr=log, **owner)

        def query(sql: str) -> str:
            words = [f"--socket={home}/socket", "--user=root", "--default-character-set=utf8mb4", "-e", sql]
            return _run(["mariadb", "--no-defaults", *words], {})

        try:
            until = time.monotonic() + SECONDS_TO_START
            while not (home / "socket").exists():
                assert running.poll() is None, (home / "log").read_text()[-2000:]
                assert time.monotonic() < until, "MariaDB did not start"
                time.sleep(0.1)
            query("create user tap@localhost identified by 'tap'; grant all on *.* to tap@localhost")
            yield port, query
        finally:
            running.kill()
            running.wait()


def _owner(folder: str, user: str) -> dict[str, Any]:
    """How to run a server in `folder`: as a separate user, since these servers refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        pytest.skip(f"root cannot run this server, and there is no user `{user}`")
    os.chown(folder, found.pw_uid, found.pw_gid)
    Path(folder).chmod(0o755)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": [], "cwd": folder}


def _run(command: list[str | Path], options: dict[str, Any]) -> str:
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    return str(done.stdout)
