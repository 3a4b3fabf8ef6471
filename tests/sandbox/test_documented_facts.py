"""One test per documented fact, quoted from Sprinto's documentation; bare HTTP, without the loader's code."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto.sandbox import EntityRules
from tests.support.bare_api import Api
from tests.support.sandbox import FaultySandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

USER = {
    "employeeId": "E-1",
    "firstName": "Zoë",
    "employmentStartDate": "2022-01-15T09:00:00Z",
    "employmentEndDate": None,
    "employmentType": "EMPLOYEE",
}
NEEDS_ID = {"User": EntityRules(schema={"type": "object", "required": ["id"]})}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture
def api(sandbox: FaultySandbox, integration_id: str) -> Iterator[Api]:
    with Api(sandbox, integration_id) as bare:
        yield bare


def assert_error(response: requests.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status
    error: dict[str, Any] = response.json()["error"]
    assert isinstance(error["code"], str)
    assert isinstance(error["message"], str)
    assert isinstance(error["details"], list)
    return error


# Hosts, version, authentication


@pytest.mark.parametrize("headers", [{"api-key": None}, {"api-key": "wrong"}])
def test_every_call_carries_the_api_key(api: Api, headers: dict[str, str | None]) -> None:
    """Every call carries the header `api-key`. […] 401."""
    session_id = api.open()
    calls = [
        ("POST", "/sessions"),
        ("GET", f"/sessions/{session_id}"),
        ("POST", f"/sessions/{session_id}/entities"),
        ("POST", f"/sessions/{session_id}/close"),
        ("GET", "/status"),
        ("GET", "/activity"),
    ]
    for method, path in calls:
        # A header of None removes the session's default.
        assert_error(api.http.request(method, api.url + path, headers=headers), 401)
    assert api.state(session_id) == "active"


def test_the_only_version_is_v1(api: Api) -> None:
    """`{version}` is `v1`, the only value."""
    assert_error(api.http.get(api.url.replace("/v1/", "/v2/") + "/status"), 404)


def test_the_integration_id_is_issued_by_sprinto() -> None:
    """`{integration_id}` is issued by Sprinto."""
    with FaultySandbox() as sandbox, Api(sandbox, "demo") as demo, Api(sandbox, "other") as other:
        assert demo.create().status_code == 201
        assert_error(other.create(), 404)
        assert_error(other.http.get(f"{other.url}/status"), 404)


# Calls


def test_a_session_is_created(api: Api) -> None:
    """Session: `id, integration_id, state, created_at, updated_at, expires_at, inactivity_timeout_seconds (3600), accepted_records_total, accepted_records_by_entity {type: int}, last_error`."""  # noqa: E501 - a quotation
    response = api.create(client_reference_id="run 7")
    assert response.status_code == 201
    session = response.json()
    assert set(session) == {
        "id",
        "integration_id",
        "state",
        "created_at",
        "updated_at",
        "expires_at",
        "inactivity_timeout_seconds",
        "accepted_records_total",
        "accepted_records_by_entity",
        "last_error",
    }
    assert session["integration_id"] == api.id
    assert session["state"] == "active"
    assert session["inactivity_timeout_seconds"] == 3600
    assert session["accepted_records_total"] == 0
    assert session["accepted_records_by_entity"] == {}
    assert session["last_error"] is None
    assert all(TIME.fullmatch(session[name]) for name in ("created_at", "updated_at", "expires_at"))
    assert api.sandbox.sessions(api.id)[0].client_reference_id == "run 7"


def test_the_reference_is_optional(api: Api) -> None:
    """`{"client_reference_id": str?}` a caller-side correlation id."""
    assert_error(api.create(client_reference_id=7), 400)
    assert api.http.post(f"{api.url}/sessions").status_code == 201


def test_status_adds_batches_and_retries(api: Api) -> None:
    """Status adds `accepted_batches, retry_count`."""
    session_id = api.open()
    api.push(session_id, User=[USER, USER], Device=[{}])
    api.push(session_id, User=[USER])
    status = api.status(session_id).json()
    assert status["accepted_batches"] == 2
    assert status["retry_count"] == 0
    assert status["accepted_records_total"] == 4
    assert status["accepted_records_by_entity"] == {"User": 3, "Device": 1}


def test_an_unknown_session(api: Api) -> None:
    """`GET …/sessions/{session_id}` 404; push 404; close 404."""
    assert_error(api.status("no-such"), 404)
    assert_error(api.push("no-such", User=[USER]), 404)
    assert_error(api.close("no-such"), 404)


def test_a_session_of_another_integration_is_unknown(api: Api) -> None:
    session_id = api.open()
    other = api.url + "-other"
    assert_error(api.http.get(f"{other}/sessions/{session_id}"), 404)


def test_an_ingest_response(api: Api) -> None:
    """Ingest response (202): required `session_id, accepted_count_total`; also `accepted_count_by_entity {type: int}`, `rejected_count_total`, `validation_errors`, `echoes`."""  # noqa: E501 - a quotation
    session_id = api.open()
    response = api.push(session_id, User=[USER, USER], Device=[{}])
    assert response.status_code == 202
    assert response.json() == {
        "session_id": session_id,
        "accepted_count_total": 3,
        "accepted_count_by_entity": {"User": 2, "Device": 1},
        "rejected_count_total": 0,
        "validation_errors": [],
        "echoes": {},
    }


def test_a_page_hint_is_echoed(api: Api) -> None:
    """`echoes {page_hint: int?}`: the response echoes an integer."""
    response = api.push_bytes(api.open(), b'{"entities": {"User": [{}]}, "page_hint": 12}')
    assert response.json()["echoes"] == {"page_hint": 12}


@pytest.mark.parametrize("body", ["{}", '{"status": "later"}', '{"status": null}', "[]", '"apply"', "{"])
def test_close_requires_a_status(api: Api, body: str) -> None:
    """`{"status": "apply" | "discard"}` (required)."""
    session_id = api.open()
    assert_error(api.http.post(f"{api.url}/sessions/{session_id}/close", data=body), 400)
    assert api.state(session_id) == "active"


def test_the_integration_status_counts_sessions(api: Api) -> None:
    """`{integration_id, sessions: {active, processing, processed, failed, expired}, last_activity_at}`."""
    empty = api.http.get(f"{api.url}/status")
    zeros = {"active": 0, "processing": 0, "processed": 0, "failed": 0, "expired": 0}
    assert empty.status_code == 200
    assert empty.json() == {"integration_id": api.id, "sessions": zeros, "last_activity_at": None}
    api.deliver(User=[USER])
    api.open()
    body = api.http.get(f"{api.url}/status").json()
    assert body["sessions"] == {**zeros, "active": 1, "processed": 1}
    assert TIME.fullmatch(body["last_activity_at"])


def test_the_activity_log(api: Api) -> None:
    """200 `{items: [event], page, page_size, next_page: int?}`. Event: `id, at, level (info|warning|error), type (e.g. session_created), message, session_id?, details {}`."""  # noqa: E501 - a quotation
    session_id = api.deliver(User=[USER])
    body = api.http.get(f"{api.url}/activity").json()
    assert (body["page"], body["page_size"], body["next_page"]) == (1, 50, None)
    first = body["items"][0]
    assert set(first) == {"id", "at", "level", "type", "message", "session_id", "details"}
    assert (first["level"], first["type"], first["session_id"]) == ("info", "session_created", session_id)
    assert TIME.fullmatch(first["at"])
    types = [event["type"] for event in body["items"]]
    assert types == ["session_created", "page_accepted", "session_closed", "session_processed"]
    assert len({event["id"] for event in body["items"]}) == 4


def test_the_activity_log_is_paged(api: Api) -> None:
    """`page` ≥ 1 (1), `page_size` 1 to 200 (50)."""
    api.deliver(User=[USER])
    first = api.http.get(f"{api.url}/activity", params={"page_size": 3}).json()
    assert (len(first["items"]), first["next_page"]) == (3, 2)
    second = api.http.get(f"{api.url}/activity", params={"page_size": 3, "page": 2}).json()
    assert (len(second["items"]), second["next_page"]) == (1, None)


def test_the_activity_log_since(api: Api) -> None:
    """`since` date-time."""
    api.open()
    at = api.sandbox.events(api.id)[0]["at"]
    shown = api.http.get(f"{api.url}/activity", params={"since": at}).json()["items"]
    assert len(shown) == 1
    later = api.http.get(f"{api.url}/activity", params={"since": "2999-01-01T00:00:00+05:30"}).json()
    assert later["items"] == []


@pytest.mark.parametrize(
    "query",
    ["page=0", "page=x", "page_size=0", "page_size=201", "since=yesterday", "since=2026-01-01T00:00:00"],
)
def test_the_activity_log_rejects_other_values(api: Api, query: str) -> None:
    """`since` date-time, `page` ≥ 1 (1), `page_size` 1 to 200 (50)."""
    assert_error(api.http.get(f"{api.url}/activity?{query}"), 400)


def test_an_error_response(api: Api) -> None:
    """Error response: `{"error": {"code": str, "message": str, "details": [object, …]}}`."""
    response = api.status("no-such")
    assert_error(response, 404)
    assert set(response.json()) == {"error"}
    assert response.headers["Content-Type"].startswith("application/json")


# Session states


def test_apply_processes_and_then_applies(api: Api) -> None:
    """active ──close(apply)──▶ processing ──▶ processed. […] 202 status, processing is asynchronous."""
    api.sandbox.configure(api.id, processing_seconds=3600)
    session_id = api.open()
    api.push(session_id, User=[USER])
    assert api.close(session_id).status_code == 202
    assert api.state(session_id) == "processing"
    assert api.sandbox.applied(api.id) == {}
    api.sandbox.configure(api.id, processing_seconds=0)
    other = api.deliver(Device=[{}])
    assert api.state(other) == "processed"


def test_records_are_applied_byte_for_byte(api: Api) -> None:
    """`processed`: applied."""
    session_id = api.open()
    record = '{"id": 1.10, "big":123456789012345678901234567890,  "name": "Łukasz \\u00e9 अनन्या"}'.encode()
    api.push_bytes(session_id, b'{"entities": {"User": [' + record + b" ]}}")
    assert api.sandbox.staged(session_id) == [{"User": [record]}]
    api.close(session_id)
    api.wait(session_id, "processed")
    assert api.sandbox.applied(api.id) == {"User": [record]}


def test_discard_cancels(api: Api) -> None:
    """active ──close(discard)──▶ cancelled. `cancelled`: discarded, nothing applied."""
    session_id = api.open()
    api.push(session_id, User=[USER])
    assert api.close(session_id, "discard").status_code == 202
    assert api.state(session_id) == "cancelled"
    assert api.sandbox.applied(api.id) == {}
    assert api.event_types()[-1] == "session_cancelled"


def test_an_idle_session_expires(api: Api) -> None:
    """active ──60 min since the last request──▶ expired. `expired`: kept for a while, not applied."""
    api.sandbox.configure(api.id, inactivity_timeout_seconds=0.5)
    session_id = api.open()
    assert api.push(session_id, User=[USER]).status_code == 202
    api.wait(session_id, "expired")
    assert api.state(session_id) == "expired"
    assert api.sandbox.applied(api.id) == {}
    assert api.event_types()[-1] == "session_expired"
    assert_error(api.push(session_id, User=[USER]), 409)


def test_an_expired_session_can_be_applied(api: Api) -> None:
    """expired ──close(apply)──▶ processed."""
    api.sandbox.configure(api.id, inactivity_timeout_seconds=0.5)
    session_id = api.open()
    assert api.push(session_id, User=[USER]).status_code == 202
    api.wait(session_id, "expired")
    assert api.close(session_id).status_code == 202
    api.wait(session_id, "processed")
    assert len(api.sandbox.applied(api.id)["User"]) == 1


def test_a_push_postpones_expiry(api: Api) -> None:
    """Default 60 minutes since the last request on the session, then it is `expired`."""
    session_id = api.open()
    before = api.sandbox.sessions(api.id)[0].expires_at
    api.push(session_id, User=[USER])
    assert api.sandbox.sessions(api.id)[0].expires_at > before


def test_failed_is_retried_once(api: Api) -> None:
    """`failed` is counted by `/status`; Sprinto retries processing once by itself."""
    api.sandbox.configure(api.id, processing_outcomes=("failed", "processed"))
    session_id = api.deliver(User=[USER])
    assert api.status(session_id).json()["retry_count"] == 1
    kinds = ["session_closed", "session_failed", "processing_retried", "session_processed"]
    assert api.event_types()[2:] == kinds
    assert len(api.sandbox.applied(api.id)["User"]) == 1


def test_a_second_failure_is_final(api: Api) -> None:
    """`failed` is counted by `/status`; Sprinto retries processing once by itself."""
    api.sandbox.configure(api.id, processing_outcomes=("failed", "failed"))
    session_id = api.open()
    api.close(session_id)
    api.sandbox.wait_for(lambda sandbox: sandbox.sessions(api.id)[0].retry_count == 1)
    api.wait(session_id, "failed")
    status = api.status(session_id).json()
    assert (status["state"], status["retry_count"]) == ("failed", 1)
    assert isinstance(status["last_error"], str)
    assert api.http.get(f"{api.url}/status").json()["sessions"]["failed"] == 1
    assert api.sandbox.applied(api.id) == {}


def test_one_active_session_per_integration(api: Api) -> None:
    """One active session per integration (default): starting another returns 409 until it is closed, cancelled or expired."""  # noqa: E501 - a quotation
    closed = api.open()
    assert_error(api.create(), 409)
    api.close(closed)
    cancelled = api.open()
    assert_error(api.create(), 409)
    api.close(cancelled, "discard")
    api.sandbox.configure(api.id, inactivity_timeout_seconds=0.05)
    expired = api.open()
    api.wait(expired, "expired")
    assert api.create().status_code == 201


def test_integrations_are_independent(api: Api) -> None:
    """One active session per integration (default)."""
    api.open()
    assert api.http.post(f"{api.url}-other/sessions").status_code == 201


def test_the_close_response_still_shows_active(api: Api) -> None:
    """The documented sample response of `close` still shows `state: active`: a 202 means that the transition was accepted, no more."""  # noqa: E501 - a quotation
    session_id = api.open()
    response = api.close(session_id)
    assert response.status_code == 202
    assert response.json()["state"] == "active"
    assert response.json()["id"] == session_id
    assert "accepted_batches" in response.json()


def test_status_calls_work_at_any_time(api: Api) -> None:
    """`GET` status calls are fine at any time."""
    session_id = api.deliver(User=[USER])
    assert api.status(session_id).status_code == 200


@pytest.mark.parametrize("ending", ["apply", "discard"])
@pytest.mark.parametrize("again", ["apply", "discard"])
def test_a_closed_session_is_not_closable(api: Api, ending: str, again: str) -> None:
    """409 not in a closable state."""
    session_id = api.open()
    api.close(session_id, ending)
    assert_error(api.close(session_id, again), 409)


def test_an_expired_session_cannot_be_discarded(api: Api) -> None:
    """409 not in a closable state. The only documented transition from `expired` is close(apply)."""
    api.sandbox.configure(api.id, inactivity_timeout_seconds=0.03)
    session_id = api.open()
    api.wait(session_id, "expired")
    assert_error(api.close(session_id, "discard"), 409)


def test_a_closed_session_accepts_no_pages(api: Api) -> None:
    """409 session not active. `active` takes pages."""
    session_id = api.open()
    api.close(session_id)
    assert_error(api.push(session_id, User=[USER]), 409)


# Pages


def test_a_page_has_up_to_100_items_in_total(api: Api) -> None:
    """Up to **100 items in all, over all entity types**, per call. A page may mix entity types."""
    session_id = api.open()
    assert api.push(session_id, User=[{}] * 50, Device=[{}] * 50).status_code == 202
    assert_error(api.push(session_id, User=[{}] * 50, Device=[{}] * 51), 413)
    assert api.status(session_id).json()["accepted_records_total"] == 100


def test_a_request_has_up_to_5_mb(api: Api) -> None:
    """'e.g. **5 MB**' per request, 'compressed allowed'; more returns 413."""
    session_id = api.open()
    shell = b'{"entities": {"User": [{"text": "%s"}]}}'
    fits = shell % (b"x" * (5_000_000 - len(shell) + 2))
    assert len(fits) == 5_000_000
    assert api.push_bytes(session_id, fits).status_code == 202
    over = shell % (b"x" * (5_000_001 - len(shell) + 2))
    assert_error(api.push_bytes(session_id, over), 413)
    assert_error(api.push_bytes(session_id, gzip.compress(over, 1), Content_Encoding="gzip"), 413)
    first = next(r for r in api.sandbox.requests(api.id) if r.operation == "push")
    assert (first.size, first.items) == (5_000_000, 1)


def test_compressed_is_allowed(api: Api) -> None:
    """'compressed allowed' […] The encoding is not named: gzip is an assumption."""
    session_id = api.open()
    plain = b'{"entities": {"User": [{"id": 1}]}}'
    packed = gzip.compress(plain)
    assert api.push_bytes(session_id, packed, Content_Encoding="gzip").status_code == 202
    assert api.sandbox.staged(session_id) == [{"User": [b'{"id": 1}']}]
    seen = api.sandbox.requests(api.id)[-1]
    assert (seen.body, seen.size, seen.items) == (packed, len(plain), 1)


@pytest.mark.parametrize("spoil", [lambda b: b[:-6], lambda b: b"x" + b, lambda b: b + b"x"])
def test_corrupt_gzip_is_rejected(api: Api, spoil: Callable[[bytes], bytes]) -> None:
    session_id = api.open()
    packed = gzip.compress(b'{"entities": {"User": [{}]}}')
    assert_error(api.push_bytes(session_id, spoil(packed), Content_Encoding="gzip"), 400)
    assert api.sandbox.staged(session_id) == []


def test_pages_are_applied_in_the_order_of_acceptance(api: Api) -> None:
    """Pages are applied in the order in which they were accepted."""
    session_id = api.open()
    for number in (3, 1, 2):
        api.push(session_id, User=[{"id": number}])
    api.push(session_id, User=[{"id": 1, "later": True}])
    api.close(session_id)
    api.wait(session_id, "processed")
    applied = api.sandbox.applied(api.id)["User"]
    assert applied == [b'{"id": 3}', b'{"id": 1, "later": true}', b'{"id": 2}']


def test_one_invalid_record_rejects_the_whole_page(api: Api) -> None:
    """Validation is per page, on receipt: **one invalid record rejects the whole page** with 400 and structured errors. A rejected page is recorded as an anomaly."""  # noqa: E501 - a quotation
    api.sandbox.configure(api.id, entities=NEEDS_ID)
    session_id = api.open()
    error = assert_error(api.push(session_id, Device=[{}], User=[{"id": 1}, {"name": "x"}]), 400)
    assert error["details"] == [
        {"entity_type": "User", "index": 1, "field": "id", "issue": '"id" is a required property'}
    ]
    assert api.sandbox.staged(session_id) == []
    assert api.status(session_id).json()["accepted_batches"] == 0
    event = api.sandbox.events(api.id)[-1]
    assert (event["type"], event["level"]) == ("page_rejected", "warning")


def test_closing_applies_only_the_accepted_pages(api: Api) -> None:
    """Closing with `apply` applies only the accepted pages."""
    api.sandbox.configure(api.id, entities=NEEDS_ID)
    session_id = api.open()
    assert api.push(session_id, User=[{"id": 1}]).status_code == 202
    assert api.push(session_id, User=[{"id": 2}, {}]).status_code == 400
    api.close(session_id)
    api.wait(session_id, "processed")
    assert api.sandbox.applied(api.id) == {"User": [b'{"id": 1}']}


def test_a_fixed_page_is_accepted(api: Api) -> None:
    """After a validation error: fix the failing records and send the same page again."""
    api.sandbox.configure(api.id, entities=NEEDS_ID)
    session_id = api.open()
    assert api.push(session_id, User=[{"id": 1}, {}]).status_code == 400
    assert api.push(session_id, User=[{"id": 1}, {"id": 2}]).status_code == 202
    assert api.status(session_id).json()["accepted_records_total"] == 2


@pytest.mark.parametrize("record", ["x", 1, None, []])
def test_entities_are_objects(api: Api, record: object) -> None:
    """`{"entities": {entity_type: [object, …]}}`."""
    error = assert_error(api.push(api.open(), User=[{}, record]), 400)
    assert error["details"][0]["index"] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"entities": []}',
        b'{"entities": {"User": {}}}',
        b'{"entities": {"User": [{"x": NaN}]}}',
        b'{"entities": {"User": [{"x": "\xff"}]}}',
        b'{"entities": {"User": [{"x": "\\ud800"}]}}',
        b'{"entities": {"User": [{"x": "\\q"}]}}',
    ],
)
def test_another_shape_is_rejected(api: Api, body: bytes) -> None:
    """`{"entities": {entity_type: [object, …]}}`; 400 whole page rejected."""
    session_id = api.open()
    assert_error(api.push_bytes(session_id, body), 400)
    assert api.sandbox.staged(session_id) == []


def test_schemas_see_exact_numbers(api: Api) -> None:
    """Entity types [are] schemas that each account defines in its dashboard."""
    schema = {"type": "object", "properties": {"amount": {"multipleOf": 0.01}}}
    api.sandbox.configure(api.id, entities={"Incident": EntityRules(schema=schema)})
    session_id = api.open()
    exact = b'{"entities": {"Incident": [{"amount": 123456789012345678.01}]}}'
    assert api.push_bytes(session_id, exact).status_code == 202
    assert api.push_bytes(session_id, exact.replace(b".01}", b".011}")).status_code == 400
