"""Gateways that others wrote: a real nginx in front of the sandbox, and real forward proxies.

Skipped if a program is not installed (Debian: `nginx-light`, `squid`, `tinyproxy`). Every test checks in the
program's own log, or in the sandbox's record, that its fault happened.
"""

from __future__ import annotations

import signal
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.front_door import STATE, feed, people
from tests.support.real_gateways import (
    LOGGED,
    PASSWORD,
    PROGRAMS,
    Nginx,
    Proxies,
    Run,
    assert_no_secret,
    large,
    start_complete,
    states_of_connections_to,
)
from tests.support.sandbox import Delay, Hang, Late

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.front_door import FrontDoor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (PROGRAMS["nginx"] and PROGRAMS["openssl"]), reason="no nginx or no openssl"),
]
parallel = pytest.mark.parametrize("parallel", [1, 8])
# Without any, pytest skips the test.
programs = pytest.mark.parametrize("program", [name for name in ("squid", "tinyproxy") if PROGRAMS[name]])


@pytest.fixture
def proxies(door: FrontDoor) -> Iterator[Proxies]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        made = Proxies(door, Path(name))
        try:
            yield made
        finally:
            for proxy in made.started:
                proxy.end(signal.SIGKILL)
        assert_no_secret(Path(name))


@pytest.fixture
def nginx(door: FrontDoor) -> Iterator[Nginx]:
    server = Nginx(door)
    try:
        yield server
    finally:
        server.end()


@parallel
def test_tls_keep_alive_and_compressed_responses(nginx: Nginx, parallel: int) -> None:
    nginx.serve(http="gzip on; gzip_types application/json; gzip_min_length 1; gzip_proxied any;")
    stderr = start_complete(nginx, people(950), max_parallel_pages=parallel).assert_applied(people(950))
    nginx.end(signal.SIGQUIT)
    lines = nginx.lines()
    # nginx compresses no other response than a 200.
    assert {(line.status, line.encoding) for line in lines} == {(200, "gzip-"), (201, "--"), (202, "--")}
    assert len({line.connection for line in lines}) <= parallel + 1 < len(lines)
    assert "WARNING" not in stderr


@parallel
def test_connections_closed_after_three_requests(nginx: Nginx, parallel: int) -> None:
    nginx.serve(http="keepalive_requests 3;")
    stderr = start_complete(nginx, people(1950), max_parallel_pages=parallel).assert_applied(people(1950))
    nginx.end(signal.SIGQUIT)
    requests = Counter(line.connection for line in nginx.lines())
    assert len(requests) > 7
    assert max(requests.values()) == 3
    assert "WARNING" not in stderr


@parallel
def test_connections_that_are_closed_while_the_tap_is_silent(nginx: Nginx, parallel: int) -> None:
    nginx.serve(http="keepalive_timeout 1s;")
    run = Run(nginx, max_parallel_pages=parallel)
    for page in range(3):
        feed(run.process, people(900)[300 * page + (page > 0) : 300 * page + 301])
        nginx.door.wait_for_operation("push", nth=3 * page + 3, responded=True)
        # The client's end of the connections: 08 is CLOSE_WAIT.
        nginx.door.sandbox.wait_for(lambda _: "08" in states_of_connections_to(nginx.port))
    feed(run.process, [STATE])
    stderr = run.assert_applied(people(900))
    assert len({line.connection for line in nginx.lines()}) >= 4
    assert "WARNING" not in stderr


@pytest.mark.parametrize("size", [300, 40_000])
@parallel
def test_pages_that_nginx_finds_too_large_are_halved(nginx: Nginx, parallel: int, size: int) -> None:
    """The larger pages meet nginx's default, 1 MB."""
    nginx.serve(http="" if size > 1000 else "client_max_body_size 10k;")
    messages = [*people(100)[:-1], *(large(number, size) for number in range(100, 300)), STATE]
    stderr = start_complete(nginx, messages, max_parallel_pages=parallel).assert_applied(messages)
    statuses = Counter(nginx.pages())
    assert statuses[413] >= 2
    assert statuses[202] >= 5
    assert "client intended to send too large body" in nginx.text("error.log")
    assert "Checking whether" not in stderr


@pytest.mark.parametrize("policy", ["fail", "divert"])
def test_a_single_record_that_nginx_finds_too_large(nginx: Nginx, policy: str) -> None:
    nginx.serve(http="client_max_body_size 10k;")
    messages = [*people(250)[:-1], large(250, 60_000), STATE]
    run = start_complete(nginx, messages, on_invalid_record=policy)
    if policy == "divert":
        run.assert_applied([*messages[:-2], STATE])
    else:
        error = run.assert_nothing(1).error
        assert "Sprinto or a gateway rejects this record as too large even on its own" in error
        assert "Raise that gateway's body limit" in error
        assert "input line 252" in error
    assert 413 in nginx.pages()


@pytest.mark.parametrize("status", [503, 429])
@parallel
def test_requests_that_nginx_limits(nginx: Nginx, parallel: int, status: int) -> None:
    zone = "limit_req_zone $server_addr zone=all:1m rate=20r/s; limit_req zone=all burst=1 nodelay;"
    nginx.serve(http=zone + ("limit_req_status 429;" if status == 429 else ""))
    run = start_complete(nginx, people(950), max_parallel_pages=parallel, retry_timeout_seconds=30)
    stderr = run.assert_applied(people(950))
    refused = [line for line in nginx.lines() if line.status == status]
    assert refused
    assert {line.upstream for line in refused} == {"-"}
    assert ("Checking whether Sprinto received" in stderr) == (
        status == 503 and any(line.is_page for line in refused)
    )


@pytest.mark.parametrize("returns", [True, False])
@parallel
def test_an_upstream_that_is_unreachable_for_a_while(nginx: Nginx, parallel: int, *, returns: bool) -> None:
    nginx.serve()
    nginx.door.pace["shutdown_timeout"] = 3
    run = Run(nginx, max_parallel_pages=parallel, retry_timeout_seconds=30 if returns else 1)
    messages = people(750)
    feed(run.process, messages[:301])
    nginx.door.wait_for_operation("push", nth=3, responded=True)
    nginx.configure("server 127.0.0.1:1;")
    nginx.reload()
    feed(run.process, messages[301:])
    nginx.door.sandbox.wait_for(lambda _: 502 in nginx.pages())
    if returns:
        nginx.configure()
        nginx.reload()
        run.assert_applied(messages)
    else:
        finished = run.assert_nothing(75, "active")
        assert "may be a gateway's" in finished.error
        assert "check any proxy or gateway on the way" in finished.error
        assert "sprintoctl discard" in finished.error
        assert nginx.door.session().id in finished.error
    assert "Connection refused" in nginx.text("error.log")


@parallel
def test_pages_that_land_although_nginx_times_out(nginx: Nginx, parallel: int) -> None:
    nginx.serve(pages="proxy_read_timeout 200ms;")
    run = start_complete(nginx, people(450), max_parallel_pages=parallel, response_seconds=0.5)
    stderr = run.assert_applied(people(450))
    assert nginx.pages() == [504] * 5
    assert nginx.door.operations().count("push") == 5
    assert "has arrived" in stderr
    assert "upstream timed out" in nginx.text("error.log")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("how", ["reload", "quit", "kill"])
@parallel
def test_nginx_restarts_while_a_page_is_in_flight(nginx: Nginx, parallel: int, how: str, moment: Any) -> None:  # noqa: ANN401
    nginx.serve()
    hang = nginx.strike_third_page(Hang(), moment)
    run = start_complete(nginx, people(950), max_parallel_pages=parallel)
    nginx.door.wait_for_operation("push", nth=3)
    if how == "reload":
        nginx.reload()
    elif how == "quit":
        nginx.process.send_signal(signal.SIGQUIT)
        nginx.door.sandbox.wait_for(lambda _: not nginx.listens())
    else:
        nginx.kill_worker()
    nginx.door.sandbox.release(hang)
    if how == "quit":
        run.wait_for("[not-connected] Trying again")
        nginx.end(signal.SIGQUIT)
        nginx.start()
    stderr = run.assert_applied(people(950))
    # A graceful stop closes idle connections, and a page may be on its way on one of those.
    assert how != "kill" or "Checking whether Sprinto received" in stderr
    if how == "kill":
        assert ("has arrived" if moment == "after" else "has not arrived") in stderr
    assert nginx.door.sandbox.fired(nginx.door.integration_id)


@parallel
def test_a_page_that_lands_after_its_worker_was_killed(nginx: Nginx, parallel: int) -> None:
    """And after it was sent again: the counts show it twice."""
    nginx.serve()
    late = nginx.strike_third_page(Late())
    run = Run(nginx, max_parallel_pages=parallel)
    feed(run.process, people(950)[:-1])
    nginx.door.wait_for_operation("push", nth=3)
    nginx.kill_worker()
    run.wait_for("has not arrived: sending it again")
    nginx.door.sandbox.release(late)
    nginx.door.sandbox.wait_for(lambda _: nginx.third_page_landed())
    feed(run.process, [STATE])
    assert "Sprinto counts" in run.assert_nothing(75).error


def test_a_page_that_nginx_itself_rejects(nginx: Nginx) -> None:
    nginx.serve(pages="return 400;")
    error = start_complete(nginx, people(3)).assert_nothing(1).error
    assert "Sprinto or a gateway rejected page 1 (stream 'people', input line 2 to input line 4)" in error
    assert set(nginx.pages()) == {400}


@pytest.mark.parametrize("status", [200, 502])
def test_a_check_through_nginx(nginx: Nginx, status: int) -> None:
    nginx.serve(others="" if status == 200 else "return 502;")
    config = nginx.door.config(api_url=nginx.url)
    process = nginx.door.start("check", "--config", str(config), program="sprintoctl", env=nginx.trusted)
    finished = nginx.door.finish(process)
    assert finished.code == (0 if status == 200 else 75)
    assert ("may be a gateway's" in finished.stderr) == (status == 502)
    assert [line.status for line in nginx.lines()] == [status]


def test_a_close_that_takes_effect_although_nginx_times_out(nginx: Nginx) -> None:
    nginx.serve(close="proxy_read_timeout 200ms;")
    run = start_complete(nginx, people(150), response_seconds=0.5)
    stderr = run.assert_applied(people(150))
    assert [line.status for line in nginx.lines() if line.uri.endswith("/close")] == [504]
    assert nginx.door.operations().count("close") == 1
    assert "Checking whether the close took effect" in stderr


@parallel
def test_pages_that_nginx_itself_sends_twice(nginx: Nginx, parallel: int) -> None:
    """With this setting a gateway repeats a POST; no client can prevent that, but the counts show it."""
    server = f"server {nginx.upstream} max_fails=0;"
    nginx.serve(
        server + server, pages="proxy_read_timeout 300ms; proxy_next_upstream timeout non_idempotent;"
    )
    nginx.strike_third_page(Delay(1), "after")
    error = start_complete(nginx, people(450), max_parallel_pages=parallel).assert_nothing(1).error
    assert any(line.upstream == "504, 202" for line in nginx.lines() if line.is_page)
    assert "Sprinto counts" in error


@pytest.mark.parametrize("login", [False, True])
@programs
@parallel
def test_a_run_through_a_proxy(
    nginx: Nginx, proxies: Proxies, parallel: int, program: str, *, login: bool
) -> None:
    nginx.serve()
    proxy = proxies.start(program, nginx.port, login=login)
    env = proxy.env(f"loader:{PASSWORD}@" if login else "")
    run = start_complete(nginx, people(950), env=env, max_parallel_pages=parallel)
    assert "WARNING" not in run.assert_applied(people(950))
    proxy.wait_for("access.log", f"CONNECT 127.0.0.1:{nginx.port}")


@pytest.mark.parametrize("given", ["", "loader:wrong@"])
@programs
def test_a_proxy_that_rejects_the_login(nginx: Nginx, proxies: Proxies, program: str, given: str) -> None:
    nginx.serve()
    proxy = proxies.start(program, nginx.port, login=True)
    error = start_complete(nginx, people(3), env=proxy.env(given)).assert_nothing(1, None).error
    # tinyproxy responds to a wrong login with 401.
    wrong = given and program == "tinyproxy"
    assert ("The proxy rejects the login (401)" if wrong else "The proxy asks for a login (407)") in error
    assert "Check user and password in HTTPS_PROXY" in error
    assert LOGGED[program, "login"] in proxy.text("access.log")
    assert not nginx.lines()


@programs
def test_a_proxy_that_denies_the_host(nginx: Nginx, proxies: Proxies, program: str) -> None:
    nginx.serve()
    proxy = proxies.start(program, 443)
    error = start_complete(nginx, people(3), env=proxy.env()).assert_nothing(1, None).error
    assert LOGGED[program, "host"] in proxy.text("access.log")
    assert "The proxy did not connect to Sprinto (it returned 403)" in error
    assert "allows Sprinto's host" in error
    assert not nginx.lines()


@programs
def test_a_proxy_that_cannot_reach_the_host_for_a_while(nginx: Nginx, proxies: Proxies, program: str) -> None:
    proxy = proxies.start(program, nginx.port)
    run = start_complete(nginx, people(150), env=proxy.env(), retry_timeout_seconds=30)
    run.wait_for("nothing was sent. [throttled] Trying again")
    nginx.serve()
    run.assert_applied(people(150))
    assert LOGGED[program, "unreachable"] in proxy.text("access.log")


@pytest.mark.parametrize("moment", ["before", "after", "never"])
@programs
@parallel
def test_a_proxy_killed_while_a_page_is_in_flight(
    nginx: Nginx,
    proxies: Proxies,
    parallel: int,
    program: str,
    moment: str,
) -> None:
    """It is started again, unless `moment` is "never"; else that is when the sandbox acts on the page."""
    nginx.serve()
    proxy = proxies.start(program, nginx.port)
    nginx.strike_third_page(Hang(), "after" if moment == "after" else "before")
    nginx.door.pace["shutdown_timeout"] = 3
    budget = 1 if moment == "never" else 30
    run = start_complete(
        nginx, people(950), env=proxy.env(), max_parallel_pages=parallel, retry_timeout_seconds=budget
    )
    nginx.door.wait_for_operation("push", nth=3)
    proxy.end(signal.SIGKILL)
    nginx.door.sandbox.wait_for(lambda _: 499 in nginx.pages())
    if moment == "never":
        finished = run.assert_nothing(75, "active")
        assert "Could not connect to the proxy." in finished.error
        assert "sprintoctl discard" in finished.error
        return
    run.wait_for("Could not connect to the proxy. [not-connected] Trying again")
    proxy.start()
    stderr = run.assert_applied(people(950))
    assert ("has arrived" if moment == "after" else "has not arrived") in stderr
