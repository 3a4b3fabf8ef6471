"""What responses mean: for GETs, and for POSTs that were definitely not performed."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.support.front_door import API_KEY, SCHEMA, STATE, FrontDoor, people, record, state_line

if TYPE_CHECKING:
    from target_sprinto.sandbox.operations import Operation
    from tests.support.sandbox import Effect

from tests.support.sandbox import CutOff, Drop, Edit, Fault, Informational, Raw, Reset, Respond

POSTS: list[Operation] = ["create", "push", "close"]
GETS: list[Operation] = ["status", "integration_status"]
Moment = Literal["before", "after"]


def moments(door: FrontDoor, operation: Operation) -> list[float]:
    return [seen.at for seen in door.sandbox.requests(door.integration_id) if seen.operation == operation]


@pytest.mark.parametrize("status", [pytest.param(425, marks=pytest.mark.slow), 429, 503])
def test_a_throttled_request_is_retried_after_retry_after(door: FrontDoor, status: int) -> None:
    def play(beside: FrontDoor, operation: Operation) -> None:
        response = Respond(status, {"Retry-After": "1"})
        beside.sandbox.inject(Fault(operation, integration_id=beside.integration_id, effect=response))
        # Once all pages are accepted, another setting limits the retries.
        limit = {"create": 5, "push": 5}.get(operation, 0.5)
        finished = beside.run(people(3), retry_timeout_seconds=limit)
        assert (finished.code, finished.stdout) == (0, state_line())
        first, second = moments(beside, operation)[:2]
        assert second - first >= 1
        assert len(beside.applied()["people"]) == 3
        assert "[throttled] Trying again in" in finished.stderr
        assert "Run again later" not in finished.stderr

    door.side_by_side(play, [*POSTS, *GETS])


def test_a_discard_also_waits_as_long_as_retry_after_asks(door: FrontDoor) -> None:
    own, wait = door.integration_id, 2
    busy = Respond(429, {"Retry-After": str(wait)})
    door.sandbox.inject(Fault("push", integration_id=own, effect=Respond(401)))
    door.sandbox.inject(Fault("close", integration_id=own, effect=busy))
    finished = door.run(people(3))
    assert finished.code == 1
    assert "was discarded" in finished.error
    first, second = moments(door, "close")
    assert second - first >= wait


def test_a_discard_is_not_given_up_for_a_retry_after_beyond_its_deadline(door: FrontDoor) -> None:
    own, busy = door.integration_id, Respond(429, {"Retry-After": "60"})
    door.sandbox.inject(Fault("push", integration_id=own, effect=Respond(401)))
    door.sandbox.inject(Fault("close", integration_id=own, effect=busy))
    finished = door.run(people(3))
    assert "was discarded" in finished.error


def test_retry_after_may_be_a_date(door: FrontDoor) -> None:
    at = datetime.now(timezone.utc) + timedelta(seconds=3)
    response = Respond(429, {"Retry-After": format_datetime(at, usegmt=True)})
    door.sandbox.inject(Fault("push", integration_id=door.integration_id, effect=response))
    assert door.run(people(3), retry_timeout_seconds=30).code == 0
    assert moments(door, "push")[1] >= int(at.timestamp())


def test_a_retry_after_beyond_the_budget_fails_at_once(door: FrontDoor) -> None:
    response = Respond(429, {"Retry-After": "100"})
    door.sandbox.inject(Fault("push", integration_id=door.integration_id, effect=response))
    began = time.monotonic()
    finished = door.run(people(3), retry_timeout_seconds=5)
    # Far less than the requested 100 s.
    assert time.monotonic() - began < 40
    assert (finished.code, finished.stdout) == (75, "")
    assert "asks to wait 100 s, which the time for retries (5 s in all) does not allow" in finished.error
    assert "`retry_timeout_seconds`" in finished.error
    assert door.session().state == "cancelled"


@pytest.mark.parametrize(
    ("operation", "nth"), [("integration_status", 1), ("status", 1), ("close", 1), ("status", 2)]
)
def test_processing_timeout_limits_retries_once_all_pages_are_accepted(
    door: FrontDoor, operation: Operation, nth: int
) -> None:
    response = Respond(429, {"Retry-After": "100"})
    door.sandbox.inject(Fault(operation, nth, integration_id=door.integration_id, effect=response))
    finished = door.run(people(3), processing_timeout_seconds=5)
    assert finished.code == 75
    assert "asks to wait 100 s" in finished.error
    assert "`processing_timeout_seconds`" in finished.error
    assert "retry_timeout_seconds" not in finished.error


def test_no_discard_is_suggested_if_another_client_cancelled_the_session(door: FrontDoor) -> None:
    door.pace["shutdown_timeout"] = 1.0
    cancelled = Edit(lambda status: status | {"state": "cancelled"})
    for fault in [
        Fault("close", 1, effect=Respond(429)),
        Fault("status", 2, effect=cancelled),
        Fault("close", 2, 99, effect=Respond(500)),
        Fault("status", 3, 99, effect=Respond(500)),
    ]:
        door.sandbox.inject(replace(fault, integration_id=door.integration_id))
    finished = door.run(people(3))
    assert "According to its status it is cancelled; nothing was applied" in finished.error
    assert "sprintoctl discard" not in finished.error


@pytest.mark.parametrize(
    ("operation", "limit"),
    [
        ("create", "retry_timeout_seconds"),
        ("push", "retry_timeout_seconds"),
        ("status", "processing_timeout_seconds"),
        ("integration_status", "processing_timeout_seconds"),
    ],
)
def test_endless_429_fails_when_the_budget_is_spent(
    door: FrontDoor, operation: Operation, limit: str
) -> None:
    door.sandbox.inject(Fault(operation, times=99, integration_id=door.integration_id, effect=Respond(429)))
    # The discard is not confirmed either.
    door.pace["shutdown_timeout"] = 1.0
    finished = door.run(people(3), **{limit: 3})
    assert (finished.code, finished.stdout) == (75, "")
    assert len(moments(door, operation)) >= 2
    assert door.applied() == {}


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("operation", [*POSTS, *GETS])
def test_a_denied_key_fails_at_once(door: FrontDoor, operation: Operation, status: int) -> None:
    door.sandbox.inject(Fault(operation, integration_id=door.integration_id, effect=Respond(status)))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert "[unauthorized]" in finished.error
    assert door.integration_id in finished.error
    assert len(door.sandbox.fired(door.integration_id)) == 1
    assert door.applied() == {}


@pytest.mark.parametrize(
    ("operation", "unknown"), [("create", "integration"), ("push", "session"), ("status", "session")]
)
def test_404_names_the_unknown_resource(door: FrontDoor, operation: Operation, unknown: str) -> None:
    door.pace["max_replica_lag"] = 0.3
    door.sandbox.inject(Fault(operation, times=99, integration_id=door.integration_id, effect=Respond(404)))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert f"the {unknown} does not exist there" in finished.error
    assert "[not-found]" in finished.error


@pytest.mark.parametrize("operation", GETS)
@pytest.mark.parametrize(
    "effect",
    [Reset(), Drop(), CutOff(10), Respond(500), Respond(502, body=b"<html>proxy</html>"), Respond(408)],
)
def test_a_failed_get_is_retried(door: FrontDoor, operation: Operation, effect: Effect) -> None:
    door.sandbox.inject(Fault(operation, integration_id=door.integration_id, effect=effect))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert len(door.sandbox.fired(door.integration_id)) == 1


UNEXPECTED: dict[str, Edit | Respond] = {
    "an unknown state": Edit(lambda response: response | {"state": "paused"}),
    "no state": Edit(lambda response: {name: value for name, value in response.items() if name != "state"}),
    "no counts": Edit(lambda response: response | {"accepted_records_by_entity": None}),
    "counts of another type": Edit(
        lambda response: response | {"accepted_records_by_entity": {"people": "3"}}
    ),
    "counts that are a list": Edit(lambda response: response | {"accepted_records_by_entity": [3]}),
    "another status": Respond(206, body={"state": "active"}),
    "an undocumented 4xx": Respond(418),
}


def test_a_page_accepted_by_another_session_fails_the_run(door: FrontDoor) -> None:
    another = Edit(lambda response: response | {"session_id": "another"})
    door.sandbox.inject(Fault("push", integration_id=door.integration_id, effect=another))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert "The response to page 1 names another session." in finished.error
    assert door.session().state == "cancelled"
    assert door.applied() == {}


@pytest.mark.parametrize("what", UNEXPECTED)
def test_undocumented_responses_are_never_success(door: FrontDoor, what: str) -> None:
    door.sandbox.inject(Fault("status", integration_id=door.integration_id, effect=UNEXPECTED[what]))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert door.session().state == "cancelled"
    assert door.applied() == {}


@pytest.mark.parametrize(
    ("what", "session"),
    [
        ("an unknown state", "may still be applied"),
        ("no state", "may still be applied"),
        ("counts of another type", "was applied"),
    ],
)
def test_undocumented_responses_after_the_close_are_not_success(
    door: FrontDoor, what: str, session: str
) -> None:
    door.pace["max_count_lag"] = 0.3
    door.sandbox.inject(
        Fault("status", nth=2, times=999, integration_id=door.integration_id, effect=UNEXPECTED[what])
    )
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert session in finished.error


@pytest.mark.parametrize("setting", [{}, {"dry_run": True}, {"on_invalid_record": "divert"}], ids=str)
def test_an_api_key_in_a_rejection_is_not_logged(door: FrontDoor, setting: dict[str, Any]) -> None:
    fault = {"entity_type": "people", "index": 0, "issue": f"the key {API_KEY} may not write s3cr3t 0"}
    response = Respond(400, body={"error": {"code": "x", "message": API_KEY, "details": [fault]}})
    door.sandbox.inject(Fault("push", times=99, integration_id=door.integration_id, effect=response))
    finished = door.run(people(3), **setting)
    assert "may not write" not in finished.stderr
    (kept,) = (door.folder / "rejects").iterdir()
    assert "may not write s3cr3t 0" in kept.read_text()
    assert API_KEY not in kept.read_text()


@pytest.mark.parametrize("line", [b"no colon, but sandbox-key s3cr3t", b": sandbox-key s3cr3t"])
def test_invalid_headers_are_not_logged(door: FrontDoor, line: bytes) -> None:
    raw = Raw(b"HTTP/1.1 500 No\r\n" + line + b"\r\nContent-Length: 0\r\n\r\n")
    door.sandbox.inject(Fault("push", integration_id=door.integration_id, effect=raw))
    assert door.run(people(3)).code == 0


def test_unknown_response_fields_are_ignored(door: FrontDoor) -> None:
    for operation in [*POSTS, *GETS]:
        effect = Edit(
            lambda response: response | {"new": {"field": [1]}, "expires_at": response.get("expires_at", 5)}
        )
        door.sandbox.inject(Fault(operation, times=99, integration_id=door.integration_id, effect=effect))
    assert door.run(people(3)).code == 0


def test_an_accepted_page_with_rejections_discards_the_run(door: FrontDoor) -> None:
    effect = Edit(lambda response: response | {"rejected_count_total": 1})
    door.sandbox.inject(Fault("push", integration_id=door.integration_id, effect=effect))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert "reported that something in it was rejected" in finished.error
    assert door.session().state == "cancelled"


REJECTED = [{"entity_type": "people", "index": 0, "field": "name", "issue": "required"}]
SAYS_SO: dict[str, Effect] = {
    "no session id": Edit(lambda _: {"accepted_count_total": 2, "rejected_count_total": 1}),
    "no count of the accepted": Edit(
        lambda body: {"session_id": body["session_id"], "validation_errors": REJECTED}
    ),
    "a count that is a string": Edit(lambda body: body | {"rejected_count_total": "1"}),
    "errors in an object": Edit(lambda body: body | {"validation_errors": {"people": REJECTED}}),
    "more than is read": Edit(lambda body: body | {"validation_errors": REJECTED * 30_000}),
    "another status": Respond(200, body={"rejected_count_total": 1}),
    "an error that is not UTF-8": Respond(202, body=b'{"rejected_count_total": 1, "error": "Ren\xe9"}'),
}


@pytest.mark.parametrize("effect", SAYS_SO.values(), ids=SAYS_SO)
def test_a_rejection_counts_whatever_else_is_wrong_with_the_response(door: FrontDoor, effect: Effect) -> None:
    """Such a page used to be in doubt: resolved by its counts, it was applied, or sent again."""
    door.sandbox.inject(Fault("push", 1, 99, door.integration_id, moment="after", effect=effect))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert "reported that something in it was rejected" in finished.error
    assert door.session().state == "cancelled"
    assert door.operations().count("push") == 1


def test_a_page_too_large_for_sprinto_is_halved(door: FrontDoor) -> None:
    door.sandbox.inject(Fault("push", times=2, integration_id=door.integration_id, effect=Respond(413)))
    assert door.run(people(100)).code == 0
    assert [
        seen.items
        for seen in door.sandbox.requests(door.integration_id)
        if seen.status == 202 and seen.operation == "push"
    ] == [25, 25, 50]
    assert [entity["id"] for entity in door.applied()["people"]] == list(range(100))


def test_a_record_too_large_for_sprinto_is_named(door: FrontDoor) -> None:
    door.sandbox.inject(Fault("push", times=99, integration_id=door.integration_id, effect=Respond(413)))
    finished = door.run(people(2))
    assert (finished.code, finished.stdout) == (1, "")
    assert "stream 'people', input line 2" in finished.error
    assert "Leave large fields out at the tap or with a stream map. [record-too-large]" in finished.error


@pytest.mark.parametrize("status", [415, 400])
def test_pages_are_sent_uncompressed_if_compression_is_rejected(door: FrontDoor, status: int) -> None:
    door.sandbox.inject(Fault("push", integration_id=door.integration_id, effect=Respond(status)))
    finished = door.run(people(250))
    assert finished.code == 0
    encodings = [
        seen.headers.get("Content-Encoding")
        for seen in door.sandbox.requests(door.integration_id)
        if seen.operation == "push"
    ]
    assert encodings == ["gzip", None, None, None]
    assert "sending them uncompressed" in finished.stderr


@pytest.mark.parametrize(("nth", "hint"), [(1, "Ask Sprinto's support."), (2, "Set `compress` to false.")])
def test_the_hint_about_an_encoding_depends_on_what_was_tried(door: FrontDoor, nth: int, hint: str) -> None:
    refused = Fault("push", nth, 99, integration_id=door.integration_id, effect=Respond(415))
    door.sandbox.inject(refused)
    finished = door.run(people(250))
    assert (finished.code, finished.stdout) == (1, "")
    assert finished.error.endswith(f"{hint} [encoding-refused]")
    assert door.session().state == "cancelled"


def test_a_rejection_not_about_compression_keeps_it(door: FrontDoor) -> None:
    door.sandbox.inject(Fault("push", times=2, integration_id=door.integration_id, effect=Respond(400)))
    finished = door.run([SCHEMA, record(1), STATE])
    assert finished.code == 1
    assert "[page-refused]" in finished.error
    assert "named no record" in finished.error


def test_a_refused_connection_is_retried_and_then_reported(door: FrontDoor) -> None:
    finished = door.run(people(3), api_url="http://127.0.0.1:9/api/external/push", retry_timeout_seconds=1)
    assert (finished.code, finished.stdout) == (75, "")
    assert "connection refused" in finished.error
    assert "[not-connected]" in finished.error
    assert "No session was opened" in finished.error
    assert "Trying again" in finished.stderr


def test_an_unresolvable_host_is_reported(door: FrontDoor) -> None:
    finished = door.run(
        people(3), api_url="https://sprinto.invalid/api/external/push", retry_timeout_seconds=0
    )
    assert finished.code == 75
    assert "the host name does not resolve" in finished.error


@pytest.mark.parametrize("operation", ["create", "push", "status", "close"])
@pytest.mark.parametrize("status", [402, 405, 410, 422])
def test_an_undocumented_4xx_fails_at_once(door: FrontDoor, operation: Operation, status: int) -> None:
    door.sandbox.inject(Fault(operation, integration_id=door.integration_id, effect=Respond(status)))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert "[unexpected-response]" in finished.error
    assert f"Sprinto returned {status}" in finished.error
    assert len(door.sandbox.fired(door.integration_id)) == 1
    assert "Trying again" not in finished.stderr
    assert "Checking whether Sprinto received" not in finished.stderr
    if operation == "create":
        assert door.operations() == ["create"]
        assert "No session was opened" in finished.error
    else:
        assert door.session().state == "cancelled"
        assert "was discarded; nothing was applied" in finished.error


@pytest.mark.parametrize("operation", [*POSTS, *GETS])
@pytest.mark.parametrize(("status", "times"), [(100, 1), (102, 2), (103, 1), (103, 100)])
def test_informational_responses_are_skipped(
    door: FrontDoor, operation: Operation, status: int, times: int
) -> None:
    early = Informational(status, times)
    door.sandbox.inject(Fault(operation, times=99, integration_id=door.integration_id, effect=early))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert door.sandbox.fired(door.integration_id)
    assert "WARNING" not in finished.stderr


def test_the_number_of_informational_responses_is_limited(door: FrontDoor) -> None:
    early = Informational(103, 101)
    door.sandbox.inject(Fault("push", integration_id=door.integration_id, effect=early))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert "Page 1 has arrived." in finished.stderr
