"""Pages in flight together: how many, which ones never, and what happens if responses are lost."""

from __future__ import annotations

import gzip
import json
import math
import random
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto.sandbox import Readings
from tests.support.front_door import SCHEMA, STATE, FrontDoor, people, record, state_line
from tests.support.sandbox import Delay, Drop, Fault, Hang, Late, RequestSeen, Reset, Respond

if TYPE_CHECKING:
    from tests.support.sandbox import Effect

SIZES = [100, 99, 98, 96, 93, 87, 76, 56]
EIGHT = {"max_parallel_pages": 8}


def delay(door: FrontDoor, seconds: float, *, nth: int = 1) -> None:
    """Delay every response to a page, so that other pages are seen in flight at the same time."""
    inject(door, Delay(seconds), nth=nth, times=10_000)


def gather(door: FrontDoor, pages: int) -> None:
    """Respond to the first pages only when `pages` have arrived and one more has had time to arrive."""
    together = Fault(
        "push", times=pages, integration_id=door.integration_id, company=pages, pause=0.15, effect=Delay(0)
    )
    door.sandbox.inject(together)


def inject(door: FrontDoor, effect: Effect, *, nth: int = 1, times: int = 1, acted: bool = False) -> None:
    door.sandbox.inject(
        Fault(
            "push",
            nth=nth,
            times=times,
            integration_id=door.integration_id,
            moment="after" if acted else "before",
            effect=effect,
        )
    )


def pushes(door: FrontDoor) -> list[RequestSeen]:
    return [seen for seen in door.sandbox.requests(door.integration_id) if seen.operation == "push"]


def together(one: RequestSeen, other: RequestSeen) -> bool:
    return one.at < (other.responded_at or 0) and other.at < (one.responded_at or 0)


def most_in_flight(seen: list[RequestSeen]) -> int:
    return max(sum(other.at <= one.at < (other.responded_at or 0) for other in seen) for one in seen)


def entities(seen: RequestSeen) -> dict[str, list[dict[str, Any]]]:
    body = gzip.decompress(seen.body) if seen.headers.get("Content-Encoding") == "gzip" else seen.body
    found: dict[str, list[dict[str, Any]]] = json.loads(body)["entities"]
    return found


def append(door: FrontDoor) -> None:
    """Under `append`, duplicates show."""
    door.sandbox.configure(door.integration_id, readings=Readings(apply="append"))


def ids(door: FrontDoor) -> list[int]:
    return [entity["id"] for entity in door.applied()["people"]]


@pytest.mark.parametrize("parallel", [1, 2, 8, 16])
def test_the_allowed_number_of_pages_is_in_flight(door: FrontDoor, parallel: int) -> None:
    append(door)
    gather(door, parallel)
    delay(door, 0.02)
    finished = door.run(people(2500), max_parallel_pages=parallel)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert most_in_flight(pushes(door)) == parallel
    assert sorted(ids(door)) == list(range(2500))
    # Distinct sizes distinguish lost pages; a page that is alone in flight needs none.
    assert max(door.pages()) == 100
    if parallel > 1:
        # They arrive in any order; 88 records are left for the last page.
        assert sorted(door.pages()) == sorted([*SIZES, *SIZES, *SIZES, *SIZES[:3], 88])
    else:
        assert door.pages() == [100] * 25
        assert ids(door) == list(range(2500))


def test_pages_with_the_same_entity_are_never_in_flight_together(door: FrontDoor) -> None:
    append(door)
    delay(door, 0.05)
    chosen = random.Random(7)  # noqa: S311 - a test that draws the same each time
    numbers = [chosen.randrange(100_000) for _ in range(2000)]
    for index in range(150, 2000, 150):
        numbers[index] = numbers[index - chosen.randrange(1, 150)]
    messages = [record(number, nr=index) for index, number in enumerate(numbers)]
    finished = door.run([SCHEMA, *messages, STATE], page_size=20, **EIGHT)
    assert finished.code == 0
    seen = pushes(door)
    assert most_in_flight(seen) > 2
    keys = [{entity["id"] for entity in entities(one)["people"]} for one in seen]
    shared = [(a, b) for a in range(len(seen)) for b in range(a) if keys[a] & keys[b]]
    assert shared
    assert not [pair for pair in shared if together(seen[pair[0]], seen[pair[1]])]
    by_key: dict[int, list[int]] = {}
    for entity in door.applied()["people"]:
        by_key.setdefault(entity["id"], []).append(entity["nr"])
    assert sum(map(len, by_key.values())) == 2000
    assert all(order == sorted(order) for order in by_key.values())


KEYLESS = SCHEMA | {"key_properties": []}
NAMED = {"type": "SCHEMA", "stream": "staff", "schema": {"properties": {}}, "key_properties": ["name"]}


@pytest.mark.parametrize(
    ("schemas", "parallel"),
    [
        ([SCHEMA], 8),
        ([KEYLESS], 1),
        ([SCHEMA, NAMED], 1),
        ([NAMED, SCHEMA], 1),
        ([SCHEMA | {"key_properties": ["id", "name"]}], 8),
        ([SCHEMA, KEYLESS], 1),
        ([SCHEMA, SCHEMA | {"stream": "staff"}], 8),
    ],
)
def test_pages_of_a_type_without_a_single_key_are_sent_one_by_one(
    door: FrontDoor, schemas: list[dict[str, Any]], parallel: int
) -> None:
    append(door)
    gather(door, parallel)
    delay(door, 0.02)
    messages = [*schemas, *people(900)[1:]]
    finished = door.run(messages, entity_types={"people": "User", "staff": "User"}, **EIGHT)
    assert finished.code == 0
    assert most_in_flight(pushes(door)) == parallel
    if parallel == 1:
        assert [entity["id"] for entity in door.applied()["User"]] == list(range(900))


def test_keys_may_be_any_json_value(door: FrontDoor) -> None:
    schema = {"type": "SCHEMA", "stream": "people", "schema": {"properties": {}}, "key_properties": ["id"]}
    keys: list[Any] = [[1, {"a": 2}], {"b": None}, None, True, 1.5, "1", ""]
    messages = [record(0, id=key) for key in keys * 60]
    append(door)
    finished = door.run([schema, *messages, STATE], page_size=10, **EIGHT)
    assert finished.code == 0
    assert ids(door) == keys * 60


def test_one_429_pauses_all_pages_and_then_full_parallelism_resumes(door: FrontDoor) -> None:
    append(door)
    inject(door, Respond(429, {"Retry-After": "2"}), nth=9)
    delay(door, 0.5)
    finished = door.run(people(3000), **EIGHT)
    assert finished.code == 0
    assert sorted(ids(door)) == list(range(3000))
    seen = pushes(door)
    (throttled,) = [one for one in seen if one.status == 429]
    message = throttled.responded_at or 0
    # A page sent before the 429 was read may still arrive.
    assert not [one for one in seen if message + 0.7 < one.at < message + 1.99]
    after = [one for one in seen if one.at >= message + 1.99]
    assert most_in_flight(after) == 8


def test_pages_throttled_together_halve_the_parallel_limit_once(door: FrontDoor) -> None:
    append(door)
    throttled = Respond(429, {"Retry-After": "1"})
    here = door.integration_id
    # No page is accepted in between: that would raise the limit again before the test sees it.
    door.sandbox.inject(Fault("push", times=8, integration_id=here, company=8, effect=throttled))
    # Halved eight times, the limit would be below four. The pause gives a fifth page time to arrive.
    door.sandbox.inject(
        Fault("push", nth=9, times=4, integration_id=here, company=12, pause=0.3, effect=Delay(0))
    )
    delay(door, 0.5)
    finished = door.run(people(3000), **EIGHT)
    assert finished.code == 0
    assert sorted(ids(door)) == list(range(3000))
    seen = pushes(door)
    assert [one.status for one in seen[:8]] == [429] * 8
    after = seen[8:]
    assert most_in_flight(after[:4]) == 4
    assert after[4].at >= min(one.responded_at or math.inf for one in after[:4])
    assert most_in_flight(after) == 8


def test_many_503_at_once_are_waited_out(door: FrontDoor) -> None:
    append(door)
    inject(door, Respond(503, {"Retry-After": "0"}), nth=3, times=8)
    finished = door.run(people(1500), retry_timeout_seconds=30, **EIGHT)
    assert finished.code == 0
    assert sorted(ids(door)) == list(range(1500))


LOSSES: dict[str, tuple[Effect, bool]] = {
    "not acted": (Reset(), False),
    "acted": (Drop(), True),
    "timeout": (Hang(), False),
    "acted, timeout": (Hang(), True),
    "acted late": (Late(0.0), False),
}


@pytest.mark.parametrize("nth", [1, 4])
@pytest.mark.parametrize("what", LOSSES)
def test_several_responses_lost_at_once_are_resolved(door: FrontDoor, what: str, nth: int) -> None:
    append(door)
    effect, acted = LOSSES[what]
    # Alternating, so that some of the pages in flight together have landed and some have not.
    for offset in (0, 1, 3, 4):
        inject(door, effect, nth=nth + offset, acted=acted)
    inject(door, Drop(), nth=nth + 2, acted=not acted)
    delay(door, 0.1)
    # If only a timeout ends the lost requests, no other request may take as long.
    seconds = 3 if isinstance(effect, Hang | Late) else 20
    # With several losses in a row, a slow machine would use up the usual retry budget of 5 s.
    finished = door.run(people(1500), request_timeout_seconds=seconds, retry_timeout_seconds=60, **EIGHT)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert sorted(ids(door)) == list(range(1500))
    assert len(door.sandbox.fired(door.integration_id)) >= 5
    assert "Checking whether Sprinto received page" in finished.stderr


def test_no_page_is_sent_while_a_lost_one_is_resolved(door: FrontDoor) -> None:
    append(door)
    inject(door, Reset(), nth=3)
    delay(door, 0.05)
    assert door.run(people(1500), **EIGHT).code == 0
    seen = door.sandbox.requests(door.integration_id)
    lost = next(one for one in seen if one.operation == "push" and one.nth == 3)
    status_reads = [one for one in seen if one.operation == "status" and one.at > lost.at][:2]
    between = [
        one for one in pushes(door) if status_reads[0].at <= one.at <= (status_reads[1].responded_at or 0)
    ]
    assert between == []
    responded = [one.responded_at for one in pushes(door) if one.at < status_reads[0].at and one is not lost]
    assert all(at and at <= status_reads[0].at for at in responded if at)


def test_losses_that_cannot_be_distinguished_discard_the_run(door: FrontDoor) -> None:
    append(door)
    # Records of 600 kB: every page has eight records.
    inject(door, Hang(), nth=1)
    inject(door, Hang(), nth=2, acted=True)
    messages = [record(number, name=f"S3CR3T {'x' * 600_000}") for number in range(40)]
    finished = door.run([SCHEMA, *messages, STATE], request_timeout_seconds=2, **EIGHT)
    assert (finished.code, finished.stdout) == (75, "")
    assert "do not show" in finished.error
    assert door.session().state == "cancelled"
    assert door.applied() == {}


def test_pages_too_large_are_halved_with_others_in_flight(door: FrontDoor) -> None:
    append(door)
    inject(door, Respond(413), nth=2, times=3)
    delay(door, 0.05, nth=5)
    finished = door.run(people(1000), **EIGHT)
    assert finished.code == 0
    assert sorted(ids(door)) == list(range(1000))


def test_a_rejected_page_ends_the_run_with_others_in_flight(door: FrontDoor) -> None:
    inject(door, Respond(400, body={"error": {"code": "x", "message": "no", "details": [{"field": "id"}]}}))
    delay(door, 1.0)
    finished = door.run(people(2000), **EIGHT)
    assert (finished.code, finished.stdout) == (1, "")
    assert "[page-refused]" in finished.error
    assert door.session().state == "cancelled"
