"""A response has one of three meanings: performed, not performed, in doubt."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.push import errors
from target_sprinto.push.errors import Outcome
from target_sprinto.push.protocol.responses import (
    ACTIVITY,
    CLOSE,
    CREATE,
    INTEGRATION,
    PUSH,
    STATUS,
    IngestResult,
    Operation,
    SessionStatus,
    parse_response,
)

OPERATIONS: list[Operation[Any]] = [CREATE, STATUS, PUSH, CLOSE, INTEGRATION, ACTIVITY]

SESSION = b'{"id":"s","state":"active"}'
UNDOCUMENTED = [402, 405, 406, 410, 411, 418, 422, 451]
NOT_PERFORMED = [400, 401, 403, 404, 407, 409, 413, 415, 425, 429, *UNDOCUMENTED]
IN_DOUBT = [408, 500, 501, 502, 503, 504, 599, 301, 307]


def read(operation: Operation[Any], status: int, body: bytes = b"", **headers: str) -> object:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return parse_response(operation, status, named, body, "integration 'x'")


def test_success_means_performed() -> None:
    assert isinstance(read(CREATE, 201, SESSION), SessionStatus)
    assert isinstance(read(STATUS, 200, SESSION), SessionStatus)
    assert isinstance(read(CLOSE, 202, SESSION), SessionStatus)
    pushed = read(PUSH, 202, b'{"session_id":"s","accepted_count_total":1}')
    assert isinstance(pushed, IngestResult)
    assert not pushed.rejection


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("status", NOT_PERFORMED)
def test_4xx_means_not_performed(operation: Operation[Any], status: int) -> None:
    with pytest.raises(errors.ApiError) as caught:
        read(operation, status)
    assert caught.value.outcome is Outcome.NOT_PERFORMED


@pytest.mark.parametrize("body", [b"", b"<html>"])
@pytest.mark.parametrize("status", [413, 415])
def test_only_a_page_is_too_large_or_encoded(status: int, body: bytes) -> None:
    for operation in OPERATIONS:
        with pytest.raises(errors.ApiError) as caught:
            read(operation, status, body)
        is_about_a_page = caught.value.code in {"page-too-large", "encoding-refused"}
        assert is_about_a_page is (operation is PUSH)
        assert is_about_a_page or "gateway" in caught.value.hint


@pytest.mark.parametrize("operation", OPERATIONS)
def test_503_means_not_performed_only_with_retry_after(operation: Operation[Any]) -> None:
    with pytest.raises(errors.Throttled) as caught:
        read(operation, 503, Retry_After="3")
    assert caught.value.outcome is Outcome.NOT_PERFORMED
    assert caught.value.retry_after == 3
    with pytest.raises(errors.ResponseLost):
        read(operation, 503, Retry_After="soon")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_407_is_the_proxys_refusal(operation: Operation[Any]) -> None:
    with pytest.raises(errors.ProxyRefused, match="asks for a login"):
        read(operation, 407)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("status", IN_DOUBT)
def test_other_statuses_are_in_doubt(operation: Operation[Any], status: int) -> None:
    with pytest.raises(errors.ApiError) as caught:
        read(operation, status)
    assert caught.value.outcome is Outcome.IN_DOUBT


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"[]", b"null", b'{"id":1}', b"\xff", b"[" * 100_000])
def test_an_unreadable_success_is_in_doubt(operation: Operation[Any], body: bytes) -> None:
    documented = {CREATE: 201, PUSH: 202, CLOSE: 202}.get(operation, 200)
    with pytest.raises(errors.ApiError) as caught:
        read(operation, documented, body)
    assert caught.value.outcome is Outcome.IN_DOUBT


@given(status=st.integers(100, 599), body=st.binary(max_size=200))
def test_any_response_is_parsed_or_classified(status: int, body: bytes) -> None:
    for operation in OPERATIONS:
        try:
            read(operation, status, body)
        except errors.ApiError as failure:
            assert failure.code in str(failure)  # noqa: PT017 - any subclass is right


INNER = st.none() | st.integers() | st.text(max_size=5)
FAULTS = st.lists(INNER | st.dictionaries(st.sampled_from(["index", "field"]), INNER)) | INNER
SHAPES = st.fixed_dictionaries(
    {},
    optional={
        "error": st.fixed_dictionaries({}, optional={"details": FAULTS}) | FAULTS,
        "validation_errors": FAULTS,
    },
)


@given(SHAPES | FAULTS)
def test_rejection_details_of_any_shape_are_handled(response: object) -> None:
    with pytest.raises(errors.PageRefused) as caught:
        read(PUSH, 400, msgspec.json.encode(response))
    assert all(isinstance(detail, dict) for detail in caught.value.details)


@pytest.mark.parametrize("place", ["details", "validation_errors"])
def test_error_details_are_read_from_both_places(place: str) -> None:
    detail = {"entity_type": "User", "index": 0, "field": "a", "issue": "b"}
    response = {"error": {"details": [detail]}} if place == "details" else {"validation_errors": [detail]}
    with pytest.raises(errors.PageRefused) as caught:
        read(PUSH, 400, msgspec.json.encode(response))
    assert caught.value.details == (detail,)


def test_a_response_of_over_two_million_bytes_is_not_decoded() -> None:
    status = b'{"id":"s","state":"active"}'.ljust(2_000_000)
    assert isinstance(read(STATUS, 200, status), SessionStatus)
    with pytest.raises(errors.UnexpectedResponse, match="up to 2,000,000 are read"):
        read(STATUS, 200, status + b" ")
    refusal = b'{"validation_errors":[{"index":0}]}'.ljust(2_000_000)
    for body, details in ((refusal, ({"index": 0},)), (refusal + b" ", ())):
        with pytest.raises(errors.PageRefused) as caught:
            read(PUSH, 400, body)
        assert caught.value.details == details
        assert caught.value.response == body


@pytest.mark.parametrize("text", ["", "k3y of Zoe", "a\nb", "x" * 300])
@pytest.mark.parametrize("name", ["id", "state"])
def test_an_invalid_id_or_state_is_unexpected_and_not_quoted(name: str, text: str) -> None:
    body = msgspec.json.encode({"id": "s", "state": "active"} | {name: text})
    with pytest.raises(errors.UnexpectedResponse) as caught:
        read(STATUS, 200, body)
    assert name in str(caught.value)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("message", [None, 5, "soon, k3y", "2026-11-21T12:00:00"])
def test_an_invalid_expiry_is_not_quoted(message: object) -> None:
    assert SessionStatus("s", "active", expires_at=message).expiry == "60 minutes after its last request"


def test_an_expiry_is_reported_as_sprinto_sent_it() -> None:
    assert SessionStatus("s", "active", expires_at="2026-11-21T12:00:00Z").expiry == "2026-11-21T12:00:00Z"


def test_missing_counts_are_an_error() -> None:
    with pytest.raises(errors.UnexpectedResponse, match="accepted_records_by_entity"):
        SessionStatus(id="s", state="active").counts()
    assert SessionStatus(id="s", state="active", accepted_records_by_entity={"a": 0, "b": 1}).counts() == {
        "b": 1
    }


def test_a_status_may_count_ten_thousand_entity_types() -> None:
    counts = {f"Type{number}": 1 for number in range(10_000)}
    assert SessionStatus("s", "active", accepted_records_by_entity=counts).counts() == counts
    with pytest.raises(errors.UnexpectedResponse, match="more than 10,000 entity types"):
        SessionStatus("s", "active", accepted_records_by_entity=counts | {"more": 0}).counts()


AT_ONCE = """
import os, sys, threading
from target_sprinto.push.protocol.responses import ACTIVITY, INTEGRATION, PUSH, STATUS, parse_response

def decode(gate):
    gate.wait()
    parse_response(STATUS, 200, {}, b'{"id": "s", "state": "active"}', "")
    parse_response(PUSH, 202, {}, b'{"session_id": "s", "accepted_count_total": 1}', "")
    parse_response(INTEGRATION, 200, {}, b'{"integration_id": "i", "sessions": {"processing": 0}}', "")
    parse_response(ACTIVITY, 200, {}, b'{"items": []}', "")

def decode_at_once():
    gate = threading.Barrier(8)
    threads = [threading.Thread(target=decode, args=[gate]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

sys.setswitchinterval(1e-6)
for _ in range(30):
    if (child := os.fork()) == 0:
        decode_at_once()
        os._exit(0)
    print(os.waitpid(child, 0)[1])
"""
"""Thirty processes in which eight threads parse their first responses at once. Most used to crash."""


def test_several_threads_can_parse_the_first_responses() -> None:
    ended = subprocess.run([sys.executable, "-c", AT_ONCE], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["0"] * 30
