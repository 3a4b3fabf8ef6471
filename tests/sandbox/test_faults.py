"""Each fault's effect, over a real socket."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import pytest
import requests
import trustme

from target_sprinto.sandbox import SandboxOptions
from tests.support.bare_api import Api
from tests.support.sandbox import (
    CutOff,
    Delay,
    Drop,
    Edit,
    Fault,
    FaultySandbox,
    Hang,
    Informational,
    Late,
    Raw,
    Reset,
    Respond,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from target_sprinto.sandbox.operations import Operation
    from tests.support.sandbox import Effect

PAGE = b'{"entities":{"User":[{}]}}'


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The server logs no traceback, whatever the client does."""
    yield
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


@pytest.fixture
def api(sandbox: FaultySandbox, integration_id: str) -> Iterator[Api]:
    with Api(sandbox, integration_id) as bare:
        yield bare


def inject(
    api: Api,
    operation: Operation,
    effect: Effect,
    moment: Literal["before", "after"] = "before",
    **which: Any,  # noqa: ANN401 - the rest of a fault's fields
) -> Fault:
    fault = Fault(operation, integration_id=api.id, effect=effect, moment=moment, **which)
    api.sandbox.inject(fault)
    return fault


def batches(api: Api) -> int:
    return api.sandbox.sessions(api.id)[0].accepted_batches


def test_another_response(api: Api) -> None:
    session_id = api.open()
    inject(api, "push", Respond(429, {"Retry-After": "1"}))
    response = api.push(session_id, User=[{}])
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "1"
    assert response.json()["error"]["code"] == "too_many_requests"
    assert batches(api) == 0
    assert api.push(session_id, User=[{}]).status_code == 202


@pytest.mark.parametrize(("body", "text"), [({"a": 1}, '{"a":1}'), (b"<html>", "<html>")])
def test_another_body(api: Api, body: dict[str, Any] | bytes, text: str) -> None:
    inject(api, "create", Respond(502, body=body))
    response = api.create()
    assert (response.status_code, response.text) == (502, text)


def test_after_means_the_server_acted(api: Api) -> None:
    session_id = api.open()
    inject(api, "push", Respond(500), moment="after")
    assert api.push(session_id, User=[{}]).status_code == 500
    assert batches(api) == 1


@pytest.mark.parametrize(("moment", "staged"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize("effect", [Reset(), Drop()])
def test_no_response(api: Api, effect: Reset | Drop, moment: Literal["before", "after"], staged: int) -> None:
    session_id = api.open()
    inject(api, "push", effect, moment=moment)
    with pytest.raises(requests.ConnectionError) as failure:
        api.push(session_id, User=[{}])
    assert ("reset by peer" in str(failure.value)) is isinstance(effect, Reset)
    assert batches(api) == staged
    assert api.sandbox.requests(api.id)[-1].status is None


def test_nth_and_times(api: Api) -> None:
    fault = inject(api, "integration_status", Respond(503), nth=2, times=2)
    responses = [api.http.get(f"{api.url}/status").status_code for _ in range(4)]
    assert responses == [200, 503, 503, 200]
    fired = api.sandbox.fired(api.id)
    assert [(f.fault, f.operation, f.nth) for f in fired] == [
        (fault, "integration_status", 2),
        (fault, "integration_status", 3),
    ]


def test_requests_that_match_contains_are_numbered_separately(api: Api) -> None:
    session_id = api.open()
    first = inject(api, "push", Respond(500), contains=b'"b"')
    second = inject(api, "push", Respond(502), contains=b'"b"', nth=2)
    zipped = gzip.compress(b'{"entities": {"User": [{"id": "b"}]}}')
    responses = [
        api.push(session_id, User=[{"id": "a"}]).status_code,
        api.push(session_id, User=[{"id": "b"}]).status_code,
        api.push(session_id, User=[{"id": "a"}]).status_code,
        api.push_bytes(session_id, zipped, Content_Encoding="gzip").status_code,
        api.push(session_id, User=[{"id": "b"}]).status_code,
    ]
    assert responses == [202, 500, 202, 502, 202]
    assert [(fired.fault, fired.nth) for fired in api.sandbox.fired(api.id)] == [(first, 2), (second, 4)]


def test_a_fault_waits_for_company_and_then_pauses(api: Api) -> None:
    session_id = api.open()
    inject(api, "push", Respond(500), moment="after", company=3, pause=0.5)
    inject(api, "push", Delay(0), nth=2, times=2, company=3)
    responses: list[int] = []

    def has_arrived(nth: int, sandbox: FaultySandbox) -> bool:
        last = sandbox.requests(api.id)[-1]
        return (last.operation, last.nth) == ("push", nth)

    def push() -> None:
        with Api(api.sandbox, api.id) as other:
            responses.append(other.push(session_id, User=[{}]).status_code)

    threads = [threading.Thread(target=push) for _ in range(3)]
    for number, thread in enumerate(threads, 1):
        assert (responses, batches(api)) == ([], 0)
        thread.start()
        api.sandbox.wait_for(partial(has_arrived, number))
    for thread in threads:
        thread.join()
    assert sorted(responses) == [202, 202, 500]
    assert batches(api) == 3
    pushed = [seen for seen in api.sandbox.requests(api.id) if seen.operation == "push"]
    # Only the server knows in which order it responded; client threads may see another order.
    assert [seen.status for seen in sorted(pushed, key=lambda seen: seen.ended_at or 0)] == [202, 202, 500]
    assert max(seen.at for seen in pushed) < min(seen.ended_at or 0 for seen in pushed)


def begin_push(api: Api, session_id: str, sent: bytes, length: int) -> socket.socket:
    """Send the headers for a page of this length and the start of its body."""
    host, port = api.sandbox.url.removeprefix("http://").split(":")
    head = (
        f"POST /api/external/push/v1/integrations/{api.id}/sessions/{session_id}/entities HTTP/1.1\r\n"
        f"Host: {host}\r\napi-key: sandbox-key\r\nContent-Length: {length}\r\n\r\n"
    )
    client = socket.create_connection((host, int(port)))
    client.sendall(head.encode() + sent)
    return client


def leave(api: Api, session_id: str, when: Callable[[Api], bool]) -> None:
    """Push a page and disconnect without a response as soon as `when` holds on the server."""
    with begin_push(api, session_id, PAGE, len(PAGE)):
        api.sandbox.wait_for(lambda _: when(api))


def struck(api: Api) -> bool:
    return len(api.sandbox.fired(api.id)) == 1


def test_a_client_that_disconnects_before_there_is_company(api: Api) -> None:
    session_id = api.open()
    inject(api, "push", Delay(0), company=2)
    leave(api, session_id, struck)
    api.sandbox.wait_for(lambda sandbox: sandbox.requests(api.id)[-1].ended_at is not None)
    assert api.push(session_id, User=[{}]).status_code == 202
    assert batches(api) == 1


def test_clients_that_disconnect_as_soon_as_there_is_company(api: Api) -> None:
    session_id = api.open()
    fault = inject(api, "push", Late(), times=2, company=2)
    clients = [begin_push(api, session_id, PAGE, len(PAGE)) for _ in range(2)]
    api.sandbox.wait_for(lambda sandbox: len(sandbox.fired(api.id)) == 2)
    for client in clients:
        client.close()
    api.sandbox.release(fault)
    api.sandbox.wait_for(lambda _: batches(api) == 2)


def test_a_hang_is_released(api: Api) -> None:
    session_id = api.open()
    fault = inject(api, "push", Hang())
    responses: list[int] = []

    def push() -> None:
        with requests.Session() as http:
            url = f"{api.url}/sessions/{session_id}/entities"
            response = http.post(url, json={"entities": {"User": [{}]}}, headers={"api-key": "sandbox-key"})
            responses.append(response.status_code)

    thread = threading.Thread(target=push)
    thread.start()
    api.sandbox.wait_for(lambda sandbox: len(sandbox.fired(api.id)) == 1)
    assert (responses, batches(api)) == ([], 0)
    api.sandbox.release(fault)
    thread.join()
    assert (responses, batches(api)) == ([202], 1)


def test_a_hang_ends_after_its_time(api: Api) -> None:
    inject(api, "create", Hang(0.05))
    assert api.create().status_code == 201


@pytest.mark.parametrize(("moment", "staged"), [("before", 0), ("after", 1)])
def test_a_client_that_disconnects_during_a_hang(
    api: Api, moment: Literal["before", "after"], staged: int
) -> None:
    session_id = api.open()
    inject(api, "push", Hang(), moment=moment)
    leave(api, session_id, lambda api: struck(api) and batches(api) == staged)
    assert batches(api) == staged
    assert api.push(session_id, User=[{}]).status_code == 202


def test_a_delay_acts_even_if_the_client_disconnected(api: Api) -> None:
    session_id = api.open()
    inject(api, "push", Delay(1.0))
    leave(api, session_id, struck)
    assert batches(api) == 0
    api.sandbox.wait_for(lambda _: batches(api) == 1)


@pytest.mark.parametrize("seconds", [1.0, None])
def test_a_late_fault_acts_after_the_client_disconnected(api: Api, seconds: float | None) -> None:
    session_id = api.open()
    fault = inject(api, "push", Late(seconds))
    leave(api, session_id, struck)
    assert batches(api) == 0
    assert api.sandbox.requests(api.id)[-1].acted_at is None
    if seconds is None:
        api.sandbox.release(fault)
    api.sandbox.wait_for(lambda _: batches(api) == 1)
    pushed = next(seen for seen in api.sandbox.requests(api.id) if seen.operation == "push")
    assert pushed.status is None
    assert pushed.acted_at is not None


def test_a_delay_responds(api: Api) -> None:
    inject(api, "create", Delay(0.02), moment="after")
    assert api.create().status_code == 201


def test_a_truncated_response(api: Api) -> None:
    session_id = api.open()
    inject(api, "push", CutOff(10))
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="10 bytes read"):
        api.push(session_id, User=[{}])
    assert batches(api) == 1


@pytest.mark.parametrize(("moment", "staged"), [("before", 0), ("after", 1)])
def test_raw_bytes_then_close(api: Api, moment: Literal["before", "after"], staged: int) -> None:
    session_id = api.open()
    inject(api, "push", Raw(b"HTTP/1.1 299 Odd\r\nContent-Length: 9\r\n\r\nnine"), moment=moment)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="4 bytes read, 5 more expected"):
        api.push(session_id, User=[{}])
    assert batches(api) == staged
    assert api.sandbox.requests(api.id)[-1].status is None


def test_raw_bytes_that_are_not_http(api: Api) -> None:
    inject(api, "create", Raw(b"220 mail.example ESMTP\r\n"))
    with pytest.raises(requests.ConnectionError, match="BadStatusLine"):
        api.create()


def test_raw_bytes_then_silence(api: Api) -> None:
    inject(api, "status", Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", then="silence"))
    with pytest.raises(requests.ConnectionError, match="Read timed out"):
        # The timeout leaves time for the headers; the body never arrives.
        api.http.get(f"{api.url}/sessions/any", timeout=(5, 1.0))


def test_an_edited_response(api: Api) -> None:
    inject(api, "create", Edit(lambda body: {**body, "state": "new", "extra": [1]}))
    response = api.create()
    assert (response.status_code, response.json()["state"], response.json()["extra"]) == (201, "new", [1])


def test_a_client_that_disconnects_mid_request(api: Api) -> None:
    session_id = api.open()
    with begin_push(api, session_id, b'{"ent', length=100):
        api.sandbox.wait_for(lambda sandbox: sandbox.requests(api.id)[-1].operation == "push")
    assert api.state(session_id) == "active"
    assert batches(api) == 0


def test_a_stop_ends_a_hang() -> None:
    with FaultySandbox(SandboxOptions(integrations=None)) as sandbox, requests.Session() as http:
        sandbox.inject(Fault("activity", effect=Hang()))
        failures: list[Exception] = []

        def ask() -> None:
            try:
                http.get(f"{sandbox.base_url}/v1/integrations/any/activity")
            except requests.ConnectionError as error:
                failures.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        sandbox.wait_for(lambda running: len(running.fired()) == 1)
        sandbox.stop()
        thread.join()
    assert len(failures) == 1


def test_waiting_ends(sandbox: FaultySandbox) -> None:
    with pytest.raises(TimeoutError):
        sandbox.wait_for(lambda _: False, timeout=0.01)


def test_a_port_in_use(sandbox: FaultySandbox) -> None:
    with pytest.raises(OSError, match="address already in use"):
        FaultySandbox().start(port=int(sandbox.url.rpartition(":")[2]))


def test_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    sandbox = FaultySandbox(SandboxOptions(integrations=None))
    url = sandbox.start(ssl_context=context)
    try:
        assert url.startswith("https://")
        sandbox.inject(Fault("status", effect=Reset()))
        with requests.Session() as http:
            http.headers["api-key"] = "sandbox-key"
            api_url = f"{sandbox.base_url}/v1/integrations/any"
            assert http.get(f"{api_url}/status", verify=str(bundle)).status_code == 200
            with pytest.raises(requests.ConnectionError):
                http.get(f"{api_url}/sessions/x", verify=str(bundle))
    finally:
        sandbox.stop()


def test_informational_responses_come_before_the_real_one(api: Api) -> None:
    inject(api, "create", Informational(103, times=2))
    url = urlsplit(api.sandbox.base_url)
    with socket.create_connection(("127.0.0.1", url.port or 0)) as bare:
        bare.sendall(
            b"POST /api/external/push/v1/integrations/%b/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Connection: close\r\napi-key: %b\r\nContent-Length: 2\r\n\r\n{}"
            % (api.id.encode(), api.sandbox.options.api_key.encode())
        )
        seen = b"".join(iter(partial(bare.recv, 65_536), b""))
    assert [line.split()[1] for line in seen.splitlines() if line.startswith(b"HTTP/")] == [
        b"103",
        b"103",
        b"201",
    ]
