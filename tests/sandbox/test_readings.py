"""Each undocumented behaviour, under each reading."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field, fields
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

import target_sprinto.sandbox
from target_sprinto.sandbox import EntityRules, RateLimit, Readings, SandboxOptions
from tests.support.bare_api import Api
from tests.support.sandbox import FaultySandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDS_ID = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
INVALID: dict[str, list[Any]] = {"Device": [{}, {}], "User": [{"id": 1}, {"id": "x"}, {}]}


@pytest.fixture
def api(sandbox: FaultySandbox, integration_id: str) -> Iterator[Api]:
    with Api(sandbox, integration_id) as bare:
        yield bare


@dataclass
class Timed:
    """A sandbox whose clock advances only when a test advances it."""

    now: float = 1_800_000_000
    api: Api = field(init=False)


@pytest.fixture
def timed(integration_id: str) -> Iterator[Timed]:
    clock = Timed()
    options = SandboxOptions(integrations=None)
    with (
        FaultySandbox(options, clock=lambda: clock.now) as sandbox,
        Api(sandbox, integration_id) as clock.api,
    ):
        yield clock


SANDBOX = Path(target_sprinto.sandbox.__file__).parent
NAMES = [one.name for one in fields(Readings)]


def test_every_reading_has_an_effect() -> None:
    code = "".join(path.read_text("utf-8") for path in SANDBOX.glob("*.py") if path.stem != "readings")
    assert [name for name in NAMES if not re.search(rf"readings(\([^)]*\))?\.{name}\b", code)] == []


def test_every_reading_is_documented() -> None:
    page = (SANDBOX.parents[1] / "docs/not-known.md").read_text("utf-8")
    assert [name for name in NAMES if f"`{name}`" not in page] == []


def reject(api: Api, readings: Readings) -> dict[str, Any]:
    api.sandbox.configure(api.id, readings=readings, entities={"User": EntityRules(schema=NEEDS_ID)})
    response = api.push(api.open(), **INVALID)
    assert response.status_code == 400
    body: dict[str, Any] = response.json()
    return body


@pytest.mark.parametrize("reading", ["accepted", "refused"])
def test_undefined_entity_types(api: Api, reading: Literal["accepted", "refused"]) -> None:
    readings = Readings(unknown_entity_types=reading)
    api.sandbox.configure(api.id, readings=readings, entities={"User": EntityRules()})
    response = api.push(api.open(), User=[{"id": 1}], Usr=[{"id": 2}])
    assert response.status_code == (400 if reading == "refused" else 202)
    if reading == "refused":
        (error,) = response.json()["error"]["details"]
        assert error == {"entity_type": "Usr", "index": 0, "field": "", "issue": "Unknown entity type 'Usr'"}


def test_applying_upserts(api: Api) -> None:
    api.deliver(User=[{"id": 1, "v": 1}, {"id": 2, "v": 1}])
    api.deliver(User=[{"id": 1, "v": 2}, {"id": "1", "v": 3}])
    assert api.sandbox.applied(api.id)["User"] == [
        b'{"id": 1, "v": 2}',
        b'{"id": 2, "v": 1}',
        b'{"id": "1", "v": 3}',
    ]


def test_applying_upserts_by_the_key(api: Api) -> None:
    api.sandbox.configure(api.id, entities={"User": EntityRules(key=("org", "nr"))})
    api.deliver(User=[{"org": "a", "nr": 1, "id": 1}, {"org": "b", "nr": 1, "id": 1}])
    api.deliver(User=[{"nr": 1, "org": "a", "id": 9}])
    assert api.sandbox.applied(api.id)["User"] == [
        b'{"nr": 1, "org": "a", "id": 9}',
        b'{"org": "b", "nr": 1, "id": 1}',
    ]


def test_applying_upserts_by_the_whole_record_without_a_key(api: Api) -> None:
    api.deliver(User=[{"v": 1}, {"v": 1}, {"v": 2}])
    assert api.sandbox.applied(api.id)["User"] == [b'{"v": 1}', b'{"v": 2}']


def test_applying_appends(api: Api) -> None:
    api.sandbox.configure(api.id, readings=Readings(apply="append"))
    api.deliver(User=[{"id": 1}])
    api.deliver(User=[{"id": 1}, {"id": 1}])
    assert api.sandbox.applied(api.id)["User"] == [b'{"id": 1}'] * 3


def test_applying_replaces_the_pushed_types(api: Api) -> None:
    api.sandbox.configure(api.id, readings=Readings(apply="replace"))
    api.deliver(User=[{"id": 1}], Device=[{"id": 1}])
    session_id = api.open()
    api.push(session_id, User=[{"id": 2}])
    api.push(session_id, User=[{"id": 3}])
    api.close(session_id)
    api.wait(session_id, "processed")
    assert api.sandbox.applied(api.id) == {"User": [b'{"id": 2}', b'{"id": 3}'], "Device": [b'{"id": 1}']}


@pytest.mark.parametrize(("reading", "total"), [("page", 1), ("session", 3)])
def test_counts_in_an_ingest_response(api: Api, reading: Literal["page", "session"], total: int) -> None:
    api.sandbox.configure(api.id, readings=Readings(ingest_total=reading))
    session_id = api.open()
    api.push(session_id, User=[{}, {}])
    body = api.push(session_id, User=[{}]).json()
    assert (body["accepted_count_total"], body["accepted_count_by_entity"]) == (total, {"User": total})


@pytest.mark.parametrize("postpones", [True, False])
def test_whether_a_status_call_postpones_expiry(api: Api, *, postpones: bool) -> None:
    api.sandbox.configure(api.id, readings=Readings(status_postpones_expiry=postpones))
    session_id = api.open()
    before = api.sandbox.sessions(api.id)[0].expires_at
    api.status(session_id)
    assert (api.sandbox.sessions(api.id)[0].expires_at > before) is postpones


def test_errors_in_details(api: Api) -> None:
    body = reject(api, Readings())
    assert set(body) == {"error"}
    assert body["error"]["details"] == [
        {"entity_type": "User", "index": 1, "field": "id", "issue": '"x" is not of type "integer"'},
        {"entity_type": "User", "index": 2, "field": "id", "issue": '"id" is a required property'},
    ]


def test_errors_in_validation_errors(api: Api) -> None:
    body = reject(api, Readings(errors_in="validation_errors"))
    assert body["error"]["details"] == []
    assert [error["index"] for error in body["validation_errors"]] == [1, 2]


@pytest.mark.parametrize(
    ("within", "base", "indexes"),
    [("type", 0, [1, 2]), ("type", 1, [2, 3]), ("page", 0, [3, 4]), ("page", 1, [4, 5])],
)
def test_what_an_index_counts_from(
    api: Api, within: Literal["type", "page"], base: Literal[0, 1], indexes: list[int]
) -> None:
    body = reject(api, Readings(index_within=within, index_base=base))
    assert [error["index"] for error in body["error"]["details"]] == indexes


def test_the_first_error_only(api: Api) -> None:
    assert [error["index"] for error in reject(api, Readings(all_errors=False))["error"]["details"]] == [1]


@pytest.mark.parametrize("shows", [True, False])
def test_whether_the_log_shows_the_reference(api: Api, *, shows: bool) -> None:
    api.sandbox.configure(api.id, readings=Readings(log_shows_reference=shows))
    api.create(client_reference_id="run 7")
    details = api.http.get(f"{api.url}/activity").json()["items"][0]["details"]
    assert details == ({"client_reference_id": "run 7"} if shows else {})


@pytest.mark.parametrize("shows", [True, False])
def test_whether_a_status_shows_the_reference(api: Api, *, shows: bool) -> None:
    api.sandbox.configure(api.id, readings=Readings(status_shows_reference=shows))
    session_id = api.create(client_reference_id="run 7").json()["id"]
    assert api.status(session_id).json().get("client_reference_id") == ("run 7" if shows else None)


@pytest.mark.parametrize("shows", [True, False])
def test_whether_a_conflict_shows_the_session(api: Api, *, shows: bool) -> None:
    api.sandbox.configure(api.id, readings=Readings(conflict_shows_session=shows))
    session_id = api.open()
    response = api.create()
    assert response.status_code == 409
    assert response.json()["error"]["details"] == ([{"session_id": session_id}] if shows else [])


def test_the_close_response_may_show_processing(api: Api) -> None:
    api.sandbox.configure(api.id, readings=Readings(close_response_state="processing"))
    assert api.close(api.open()).json()["state"] == "processing"
    assert api.close(api.open(), "discard").json()["state"] == "cancelled"


def test_the_log_may_be_newest_first(api: Api) -> None:
    api.sandbox.configure(api.id, readings=Readings(activity_order="newest_first"))
    api.push(api.open(), User=[{}])
    items = api.http.get(f"{api.url}/activity").json()["items"]
    assert [event["type"] for event in items] == ["page_accepted", "session_created"]


@pytest.mark.parametrize(("counts", "batches"), [(False, 1), (True, 2)])
def test_whether_batches_count_rejected_pages(api: Api, *, counts: bool, batches: int) -> None:
    api.sandbox.configure(api.id, readings=Readings(batches_count_rejected=counts))
    session_id = api.open()
    api.push(session_id, User=[{}])
    api.push(session_id, User=["no object"])
    assert api.status(session_id).json()["accepted_batches"] == batches


def test_counts_may_lag(timed: Timed) -> None:
    api = timed.api
    api.sandbox.configure(api.id, readings=Readings(counts_lag_seconds=5))
    session_id = api.open()
    assert api.push(session_id, User=[{}, {}]).json()["accepted_count_total"] == 2
    timed.now += 4
    status = api.status(session_id).json()
    assert (status["accepted_records_total"], status["accepted_batches"]) == (0, 0)
    assert status["accepted_records_by_entity"] == {}
    timed.now += 1
    status = api.status(session_id).json()
    assert (status["accepted_records_total"], status["accepted_batches"]) == (2, 1)
    assert status["accepted_records_by_entity"] == {"User": 2}


@pytest.mark.parametrize(("works", "status", "state"), [(False, 409, "expired"), (True, 202, "cancelled")])
def test_whether_discard_works_from_expired(api: Api, *, works: bool, status: int, state: str) -> None:
    readings = Readings(discard_from_expired=works)
    api.sandbox.configure(api.id, readings=readings, inactivity_timeout_seconds=0.03)
    session_id = api.open()
    api.wait(session_id, "expired")
    assert api.close(session_id, "discard").status_code == status
    assert api.state(session_id) == state


def test_a_failed_session_may_leave_a_part(api: Api) -> None:
    readings = Readings(failed_leaves="first_page")
    api.sandbox.configure(api.id, readings=readings, processing_outcomes=("failed", "failed"))
    session_id = api.open()
    api.push(session_id, User=[{"id": 1}])
    api.push(session_id, User=[{"id": 2}])
    api.close(session_id)
    api.wait(session_id, "failed")
    assert api.sandbox.applied(api.id)["User"] == [b'{"id": 1}']


@pytest.mark.parametrize("status", [415, 400])
def test_an_unknown_encoding(api: Api, status: Literal[415, 400]) -> None:
    api.sandbox.configure(api.id, readings=Readings(unknown_encoding_status=status))
    assert api.push_bytes(api.open(), b"{}", Content_Encoding="br").status_code == status


@pytest.mark.parametrize("postpones", [True, False])
def test_whether_a_status_call_moves_updated_at(api: Api, *, postpones: bool) -> None:
    api.sandbox.configure(api.id, readings=Readings(status_postpones_expiry=postpones))
    session_id = api.open()
    before = api.sandbox.sessions(api.id)[0].updated_at
    api.status(session_id)
    assert (api.sandbox.sessions(api.id)[0].updated_at > before) is postpones


@pytest.mark.parametrize("shows", [True, False])
def test_whether_the_log_shows_rejected_creates(api: Api, *, shows: bool) -> None:
    api.sandbox.configure(api.id, readings=Readings(log_shows_refused_creates=shows))
    session_id = api.create(client_reference_id="first").json()["id"]
    assert api.create(client_reference_id="second").status_code == 409
    events = [(event["type"], event["session_id"], event["details"]) for event in api.sandbox.events(api.id)]
    created = ("session_created", session_id, {"client_reference_id": "first"})
    refused = ("session_refused", session_id, {"client_reference_id": "second"})
    assert events == ([created, refused] if shows else [created])


def log(api: Api, **query: int) -> dict[str, Any]:
    body: dict[str, Any] = api.http.get(f"{api.url}/activity", params=query).json()
    return body


def test_the_log_may_lag(timed: Timed) -> None:
    api = timed.api
    api.sandbox.configure(api.id, readings=Readings(log_lag_seconds=5))
    api.open()
    timed.now += 4
    assert log(api)["items"] == []
    timed.now += 1
    assert [event["type"] for event in log(api)["items"]] == ["session_created"]


@pytest.mark.parametrize(("ends", "again"), [("with empty pages", []), ("by repeating", ["session_created"])])
def test_the_log_may_be_endless(
    api: Api, ends: Literal["with empty pages", "by repeating"], again: list[str]
) -> None:
    api.sandbox.configure(api.id, readings=Readings(log_ends=ends))
    api.open()
    for page, types in ((1, ["session_created"]), (2, again), (3, again)):
        body = log(api, page=page)
        assert [event["type"] for event in body["items"]] == types
        assert body["next_page"] == page + 1


def test_old_sessions_may_be_purged(api: Api) -> None:
    api.sandbox.configure(api.id, readings=Readings(old_sessions_are_purged=True))
    first = api.deliver(User=[{"id": 1}])
    assert api.state(first) == "processed"
    second = api.open()
    assert api.status(first).status_code == 404
    assert api.state(second) == "active"
    assert first in {event["session_id"] for event in log(api)["items"]}


def test_the_servers_clock_may_be_off(api: Api) -> None:
    days = 3 * 86_400
    api.sandbox.configure(api.id, readings=Readings(clock_offset_seconds=-days), processing_seconds=0.05)
    opened = api.create()
    times = [
        datetime.fromisoformat(opened.json()["created_at"].replace("Z", "+00:00")),
        parsedate_to_datetime(opened.headers["Date"]),
        datetime.fromisoformat(log(api)["items"][0]["at"].replace("Z", "+00:00")),
    ]
    for moment in times:
        assert abs(moment.timestamp() + days - time.time()) < 5
    assert api.close(opened.json()["id"]).status_code == 202
    # Scheduled transitions happen as the clock advances.
    api.wait(opened.json()["id"], "processed")


@pytest.mark.parametrize("retry_after", [True, False])
def test_requests_may_be_rate_limited(timed: Timed, *, retry_after: bool) -> None:
    api = timed.api
    limit = RateLimit(requests=3, seconds=1.5, retry_after=retry_after)
    api.sandbox.configure(api.id, rate_limit=limit)
    responses = [api.http.get(f"{api.url}/status") for _ in range(5)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429, 429]
    assert responses[-1].headers.get("Retry-After") == ("2" if retry_after else None)
    timed.now += 1.5
    assert api.http.get(f"{api.url}/status").status_code == 200
