"""What a server can make the loader do is bounded, however its responses follow one another."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from target_sprinto.sandbox import Answer, Fault
from tests.support.front_door import people

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor

ROUNDS = 5


def test_a_run_discards_one_session_of_another_run_and_no_more(door: FrontDoor) -> None:
    """Every create conflicts, with a session that looks like one that a dead run of this pipeline left."""
    own = door.integration_id
    long_ago = f"{datetime.now(timezone.utc) - timedelta(hours=3):%Y-%m-%dT%H:%M:%SZ}"

    def respond(operation: Any, nth: int, status: int, body: dict[str, Any]) -> None:  # noqa: ANN401 - a literal
        answer = Answer(status, body=json.dumps(body).encode())
        door.sandbox.inject(Fault(operation, nth=nth, integration_id=own, effect=answer))

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
    assert "a run takes over one session, no more" in finished.error
    assert "left-1" in finished.error
    assert door.operations().count("close") == 1
    assert door.operations().count("create") <= 3
