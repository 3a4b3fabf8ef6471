"""Another pipeline with the same key: what a run detects, and what the API does not let it detect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from tests.support.front_door import API_KEY, STATE, feed, record, state_line
from tests.support.sandbox import Fault, Respond

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor

FORGED = [{"id": number, "name": "forged"} for number in range(100)]


def act(door: FrontDoor, path: str, body: object) -> None:
    """A request by the other pipeline on this run's session."""
    url = f"{door.sandbox.base_url}/v1/integrations/{door.integration_id}/sessions/{door.session().id}/{path}"
    response = requests.post(url, json=body, headers={"api-key": API_KEY}, timeout=5)
    assert response.status_code == 202, response.text


@pytest.mark.parametrize("entity_type", ["people", "others"])
@pytest.mark.parametrize("number", [1, 100])
def test_records_pushed_by_another_pipeline_discard_the_run(
    door: FrontDoor, entity_type: str, number: int
) -> None:
    process = door.midway()
    act(door, "entities", {"entities": {entity_type: FORGED[:number]}})
    finished = door.finish(process, [STATE])
    assert (finished.code, finished.stdout) == (1, "")
    assert "[count-mismatch]" in finished.error
    assert door.session().state == "cancelled"
    assert door.applied() == {}


CLOSED = {
    "apply": ("processed", "it is processed, and what it had accepted was applied"),
    "discard": ("cancelled", "nothing was applied"),
}


@pytest.mark.parametrize("status", CLOSED)
def test_a_close_by_another_pipeline_fails_the_run(door: FrontDoor, status: str) -> None:
    state, outcome = CLOSED[status]
    process = door.midway()
    act(door, "close", {"status": status})
    door.sandbox.wait_for(lambda box: box.sessions(door.integration_id)[0].state == state)
    finished = door.finish(process, [record(100), STATE])
    assert finished.code in {1, 75}
    assert finished.stdout == ""
    assert outcome in finished.error


def test_as_many_forged_records_as_lost_ones_go_undetected(door: FrontDoor) -> None:
    """SECURITY.md states this limit: the API shows only counts. If this fails, remove that sentence."""
    process = door.midway()
    lie = {"accepted_count_total": 200, "accepted_count_by_entity": {"people": 200}}
    lost = Respond(202, body={"session_id": door.session().id, **lie})
    door.sandbox.inject(Fault("push", nth=2, integration_id=door.integration_id, effect=lost))
    feed(process, [record(number) for number in range(100, 200)])
    door.wait_for_operation("push", nth=2, responded=True)
    act(door, "entities", {"entities": {"people": FORGED}})
    finished = door.finish(process, [STATE])
    assert (finished.code, finished.stdout) == (0, state_line())
    assert [one["name"] for one in door.applied()["people"]].count("forged") == 100
    assert not any(one["id"] >= 100 for one in door.applied()["people"])
