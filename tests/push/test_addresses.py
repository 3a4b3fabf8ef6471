"""Several addresses of one name: the first that responds in time is used."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from target_sprinto.push.transport import addresses
from target_sprinto.push.transport.addresses import ATTEMPT_DELAY_SECONDS, Address, connect_to_any
from tests.support.dropping import dropping

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def listening(host: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    with socket.create_server((host, port)) as server:
        server.settimeout(0)
        yield server


def address(server: socket.socket) -> Address:
    host, port = server.getsockname()
    return (socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port))


def refusing() -> Address:
    with listening() as server:
        return address(server)


def connect(*targets: Address, seconds: float = 5.0) -> socket.socket:
    return connect_to_any(targets, (), time.monotonic() + seconds)


def test_the_first_address_is_used_if_it_responds() -> None:
    with listening() as first, listening() as second, connect(address(first), address(second)) as made:
        assert made.getpeername() == first.getsockname()
        with pytest.raises(BlockingIOError):
            second.accept()


@pytest.mark.parametrize("before", [1, 2, 3])
def test_an_address_that_drops_packets_costs_one_attempt_delay(before: int) -> None:
    with dropping("127.0.0.2") as (first, _), listening() as second:
        began = time.monotonic()
        with connect(*[address(first)] * before, address(second)) as made:
            assert made.getpeername() == second.getsockname()
        assert time.monotonic() - began >= before * ATTEMPT_DELAY_SECONDS
        assert time.monotonic() - began < before * ATTEMPT_DELAY_SECONDS + 2


def test_an_address_that_refuses_connections_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Longer than even a slow machine needs for three attempts.
    monkeypatch.setattr(addresses, "ATTEMPT_DELAY_SECONDS", 30.0)
    with listening() as server:
        began = time.monotonic()
        with connect(refusing(), refusing(), address(server), seconds=100) as made:
            assert made.getpeername() == server.getsockname()
        assert time.monotonic() - began < 30


def test_a_slow_address_can_still_be_used_after_a_refusal() -> None:
    with dropping("127.0.0.2") as (slow, waiting):
        # Free the queue, so that the SYN resent after a second is accepted.

        def admit() -> None:
            for _ in waiting:
                slow.accept()[0].close()

        admission = threading.Timer(0.5, admit)
        admission.start()
        began = time.monotonic()
        with connect(address(slow), refusing()) as made:
            assert made.getpeername() == slow.getsockname()
        assert 0.5 < time.monotonic() - began < 5
        admission.join()


def test_all_addresses_share_one_timeout() -> None:
    with dropping("127.0.0.2") as (first, _), dropping("127.0.0.3") as (second, _):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            connect(address(first), address(second), seconds=0.7)
        assert 0.7 <= time.monotonic() - began < 2


def test_the_last_refusal_is_raised() -> None:
    with pytest.raises(OSError, match="refused") as caught:
        connect(refusing(), refusing())
    assert caught.value.errno == errno.ECONNREFUSED
    with pytest.raises(OSError, match="no address"):
        connect()


def test_a_late_connection_attempt_is_closed() -> None:
    with (
        dropping("127.0.0.2") as (first, waiting),
        listening() as second,
        connect(address(first), address(second)),
    ):
        for _ in waiting:
            first.accept()[0].close()
        # If it were still open, its SYN would be resent about now.
        time.sleep(1.2)
        with contextlib.suppress(BlockingIOError):
            late, _ = first.accept()
            assert late.recv(1) == b""
            late.close()
