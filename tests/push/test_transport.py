"""A program's own tests need no socket: a one-method transport replaces Sprinto."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto import (
    ApiError,
    NotConnected,
    Outcome,
    Request,
    Response,
    RunOutcome,
    SprintoClient,
    Timeouts,
    UnexpectedResponse,
)
from target_sprinto.push.api_calls import ApiClient, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable


class Recorded:
    """Responds as documented by Sprinto and records requests. `effect` may raise instead."""

    def __init__(self, effect: Callable[[Request], None] = lambda _: None) -> None:
        self.session: dict[str, Any] = {"id": "S-1", "state": "active", "accepted_records_by_entity": {}}
        self.sent: list[Request] = []
        self._effect = effect

    def send(self, request: Request) -> Response:
        self.sent.append(request)
        self._effect(request)
        path = request.url.rpartition("/")[2]
        if path == "entities":
            pages = json.loads(gzip.decompress(request.body or b""))["entities"]
            counts = {name: len(entities) for name, entities in pages.items()}
            self.session["accepted_records_by_entity"] = counts
            return _as_json(202, {"session_id": "S-1", "accepted_count_total": sum(counts.values())})
        if path == "status":
            counts = {"active": 1, "processing": 0, "processed": 0, "failed": 0, "expired": 0}
            return _as_json(200, {"integration_id": "I", "sessions": counts, "last_activity_at": None})
        if path == "close":
            wanted = json.loads(request.body or b"")["status"]
            self.session["state"] = {"apply": "processed", "discard": "cancelled"}[wanted]
            return _as_json(202, self.session)
        if path not in {"sessions", self.session["id"]}:
            return _as_json(200, {**self.session, "id": path})
        return _as_json(201 if path == "sessions" else 200, self.session)


def _as_json(status: int, body: object) -> Response:
    return Response(status, {}, json.dumps(body).encode())


def test_a_run_without_a_socket() -> None:
    sprinto = Recorded()
    with SprintoClient(api_key="k3y", integration_id="I", transport=sprinto) as client, client.run() as run:
        run.push("User", [{"employeeId": "E-1"}], key="employeeId")
    assert run.result.outcome is RunOutcome.APPLIED
    assert (run.result.session_id, run.result.records, run.result.pages) == ("S-1", {"User": 1}, 1)
    (page,) = [one for one in sprinto.sent if one.url.endswith("/entities")]
    assert page.url == "https://api.sprinto.com/api/external/push/v1/integrations/I/sessions/S-1/entities"
    assert page.headers == {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert "k3y" not in repr(sprinto.sent)


def test_a_request_on_another_session_does_not_end_the_silence_of_this_one() -> None:
    with SprintoClient(api_key="k3y", integration_id="I", transport=Recorded()) as client:
        api = client._api
        api.opened("this")
        api.session_status("another", RetryPolicy())
        silence = api.session_silence("another")
        assert api.session_silence("this") > silence
        api.session_status("this", RetryPolicy())
        assert api.session_silence("another") > api.session_silence("this")


def test_a_late_response_does_not_replace_a_newer_status() -> None:
    """A discard reads the status again if the first response is slow."""

    class Slow(Recorded):
        def send(self, request: Request) -> Response:
            response = super().send(request)
            if len(self.sent) == 1:
                self.session["state"] = "cancelled"
                client.session_status("S-1", RetryPolicy())
            return response

    client = ApiClient(api_key="test-key", integration_id="hr", transport=Slow())
    assert client.session_status("S-1", RetryPolicy()).state == "active"
    assert client.last_statuses["S-1"][0].state == "cancelled"


def test_a_close_whose_response_is_about_another_session_is_in_doubt() -> None:
    sprinto = Recorded()
    client = ApiClient(api_key="test-key", integration_id="hr", transport=sprinto)
    sprinto.session["id"] = "S-2"
    with pytest.raises(UnexpectedResponse) as caught:
        client.apply_session("S-1", RetryPolicy(1.0, 0.0))
    assert (caught.value.outcome, caught.value.temporary) == (Outcome.IN_DOUBT, True)


@pytest.mark.parametrize("date", ["", "x", ["Mon, 30 Nov 2026 12:00:00 GMT"], None, 7])
def test_a_date_that_is_not_one_is_ignored(date: object) -> None:
    class Dated(Recorded):
        def send(self, request: Request) -> Response:
            return super().send(request)._replace(headers={"Date": date})  # type: ignore[dict-item]

    with (
        SprintoClient(api_key="test-key", integration_id="hr", transport=Dated()) as client,
        client.run() as run,
    ):
        run.push("User", [{"a": 1}])
    assert run.result.outcome is RunOutcome.APPLIED


@pytest.mark.parametrize("seconds", [0, 0.01, "0", None, [0]])
def test_a_retry_after_of_any_type_is_read(seconds: object) -> None:
    class Busy(Recorded):
        def send(self, request: Request) -> Response:
            response = super().send(request)
            if len(self.sent) == 1:
                return Response(429, {"Retry-After": seconds, "Date": 7}, b"")  # type: ignore[dict-item]
            return response

    with (
        SprintoClient(api_key="test-key", integration_id="hr", transport=Busy()) as client,
        client.run() as run,
    ):
        run.push("User", [{"a": 1}])
    assert run.result.outcome is RunOutcome.APPLIED


def test_an_unsent_request_is_not_in_doubt() -> None:
    def refuse(_: Request) -> None:
        raise NotConnected("The test has no network.")

    with SprintoClient(api_key="k3y", integration_id="I", transport=Recorded(refuse)) as client:
        run = client.run(timeouts=Timeouts(retry=0))
        with pytest.raises(NotConnected, match="The test has no network"), run:
            run.push("User", [{"employeeId": "E-1"}] * 100)
    assert run.result.outcome is RunOutcome.NOTHING_SENT


def test_a_request_lost_by_the_transport_is_in_doubt() -> None:
    def lose(_: Request) -> None:
        raise ConnectionResetError

    sprinto = Recorded(lose)
    with SprintoClient(api_key="k3y", integration_id="I", transport=sprinto) as client:
        run = client.run(timeouts=Timeouts(retry=0))
        with pytest.raises(ApiError, match="the connection broke"), run:
            run.push("User", [{"employeeId": "E-1"}] * 100)
    assert run.result.outcome is RunOutcome.IN_DOUBT
    assert run.result.expires_at is not None
