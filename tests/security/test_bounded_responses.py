"""What a server can make the loader do is bounded, whatever the sequence of responses."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.front_door import as_input, people
from tests.support.peak_memory import MB, peak
from tests.support.sandbox import Edit, Fault, Raw, Respond

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor

ROUNDS = 5


def test_a_run_discards_at_most_one_session_of_another_run(door: FrontDoor) -> None:
    """Every create conflicts with a session that looks left over from a crashed run of this pipeline."""
    own = door.integration_id
    long_ago = f"{datetime.now(timezone.utc) - timedelta(hours=3):%Y-%m-%dT%H:%M:%SZ}"

    def respond(operation: Any, nth: int, status: int, body: dict[str, Any]) -> None:  # noqa: ANN401 - a literal
        response = Respond(status, body=json.dumps(body).encode())
        door.sandbox.inject(Fault(operation, nth=nth, integration_id=own, effect=response))

    for turn in range(ROUNDS):
        session = {"id": f"left-{turn}", "updated_at": long_ago}
        event = {
            "id": str(turn),
            "at": long_ago,
            "level": "info",
            "type": "session_created",
            "session_id": session["id"],
            "details": {"client_reference_id": f"target-sprinto/{uuid.uuid4()}"},
        }
        respond("create", turn + 1, 409, {})
        respond("activity", turn + 1, 200, {"items": [event], "page": 1, "page_size": 200})
        respond("status", 2 * turn + 1, 200, session | {"state": "active"})
        respond("status", 2 * turn + 2, 200, session | {"state": "cancelled"})
        respond("close", turn + 1, 202, session | {"state": "cancelled"})
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=0)
    assert finished.code == 75
    assert "a run takes over, or waits for, only one session" in finished.error
    assert "left-1" in finished.error
    assert door.operations().count("close") == 1
    assert door.operations().count("create") <= 3


def objects(size: int) -> bytes:
    """The content of a list of `size` bytes."""
    return b",".join(b'{"index":%d}' % number for number in range(size // 18))


LOG = b'{"items":[%b],"page":1,"page_size":200,"next_page":%d}'
BODIES = {
    "a large log": ("activity", 200, 15 * MB, LOG),
    "a log of many pages": ("activity", 200, 1_900_000, LOG),
    "a rejection": ("push", 400, 15 * MB, b'{"error":{"code":"x","message":"","details":[%b]}}'),
    "an accepted page": (
        "push",
        202,
        15 * MB,
        b'{"session_id":"s","accepted_count_total":3,"validation_errors":[%b]}',
    ),
    "a status": (
        "status",
        200,
        15 * MB,
        b'{"id":"s","state":"active","accepted_records_by_entity":[%b]}',
    ),
}


LONG = {"a large log", "a log of many pages", "an accepted page"}
"""The slowest ones. By default, one body of each other operation is tried."""


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[pytest.mark.slow] * (what in LONG)) for what in BODIES]
)
def test_no_response_takes_more_than_300_mb(door: FrontDoor, what: str) -> None:
    """The activity log has as many pages as are requested."""
    operation, status, size, form = BODIES[what]
    for nth in range(1, 40):
        body = form.replace(b"%d", b"%d" % (nth + 1)).replace(b"%b", objects(size))
        effect = Respond(status, body=body)
        fault = Fault(operation, nth=nth, integration_id=door.integration_id, effect=effect)  # type: ignore[arg-type] # a literal
        door.sandbox.inject(fault)
        if operation != "activity":
            break
    if operation == "activity":
        conflict = Respond(409, body=b"{}")
        door.sandbox.inject(Fault("create", times=9, integration_id=door.integration_id, effect=conflict))
    exit_code, memory, stderr = peak(door, iter([as_input(people(3))]), on_invalid_record="divert")
    print(what, f"{memory / MB:.0f} MB")  # noqa: T201 - pytest shows it on request
    # A page rejected once while compressed is resent uncompressed.
    assert exit_code in ({0} if what == "a rejection" else {1, 75}), stderr
    assert memory < 300 * MB


def test_a_chunk_of_negative_size_takes_little_memory(door: FrontDoor) -> None:
    """http.client reads it until the connection ends."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"
    effect = Raw(head + b"x" * 150 * MB)
    door.sandbox.inject(Fault("integration_status", integration_id=door.integration_id, effect=effect))
    exit_code, memory, stderr = peak(door, iter([as_input(people(3))]))
    assert exit_code == 0, stderr
    assert memory < 300 * MB


@pytest.mark.parametrize("number", [-1, 10**30, 10**4000], ids=["negative", "large", "endless"])
def test_an_invalid_count_is_not_shown(door: FrontDoor, number: int) -> None:
    def change(body: dict[str, Any]) -> dict[str, Any]:
        return body | {"accepted_records_by_entity": {"people": number}}

    fault = Fault("status", times=99, integration_id=door.integration_id, effect=Edit(change))
    door.sandbox.inject(fault)
    finished = door.run(people(3))
    assert finished.code in {1, 75}
    assert finished.stdout == ""
    assert "[internal]" not in finished.stderr
    assert max(map(len, finished.error.split())) < 100
