"""Requests in doubt are resolved after lost responses; also conflicting sessions and silent taps."""

from __future__ import annotations

import signal
import time
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

import pytest
import requests

from target_sprinto.sandbox import Readings
from tests.support.front_door import (
    PAGE,
    SCHEMA,
    STATE,
    FrontDoor,
    end_of_input,
    feed,
    people,
    record,
    state_line,
)
from tests.support.sandbox import Delay, Drop, Edit, Fault, Hang, Late, Reset, Respond

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from target_sprinto.sandbox.operations import Operation
    from tests.support.sandbox import Effect

Moment = Literal["before", "after"]
HTML = b"<html>a proxy's page</html>"
APPEND = Readings(apply="append")


def feed_all(process: subprocess.Popen[bytes], messages: list[Any]) -> None:
    """Write a whole input and close the pipe."""
    feed(process, messages)
    end_of_input(process)


def request_seconds(effect: Effect) -> int:
    """The request timeout: short only if nothing but a timeout ends the request."""
    return 2 if isinstance(effect, Hang) else 20


def ids(door: FrontDoor) -> list[int]:
    return [entity["id"] for entity in door.applied().get("people", [])]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "effect", [Reset(), Drop(), Hang(), Respond(500), Respond(200, body=HTML), Respond(503)]
)
def test_a_lost_page_is_resolved_and_applied_once(door: FrontDoor, effect: Effect, moment: Moment) -> None:
    door.sandbox.configure(door.integration_id, readings=APPEND)
    fault = Fault("push", nth=2, integration_id=door.integration_id, effect=effect, moment=moment)
    door.sandbox.inject(fault)
    finished = door.run(people(300), request_timeout_seconds=request_seconds(effect))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert len(door.sandbox.fired(door.integration_id)) == 1
    assert ids(door) == list(range(300))
    assert door.operations().count("push") == (4 if moment == "before" else 3)


def test_a_lost_page_is_checked_twice_even_if_the_first_check_is_slow(door: FrontDoor) -> None:
    door.pace["max_count_lag"] = 0.3
    door.sandbox.inject(Fault("push", nth=2, integration_id=door.integration_id, effect=Reset()))
    door.sandbox.inject(Fault("status", integration_id=door.integration_id, effect=Delay(seconds=0.8)))
    finished = door.run(people(300))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert door.operations()[:6] == ["create", "push", "push", "status", "status", "push"]


@pytest.mark.parametrize("choice", ["apply", "discard"])
def test_on_count_mismatch_decides_about_a_page_that_landed_twice(door: FrontDoor, choice: str) -> None:
    door.sandbox.configure(door.integration_id, readings=APPEND)
    late = Fault("push", nth=2, integration_id=door.integration_id, effect=Late(reset=True))
    held = Fault("status", nth=3, integration_id=door.integration_id, effect=Hang())
    for fault in (late, held):
        door.sandbox.inject(fault)
    process = door.start(on_count_mismatch=choice)
    feed_all(process, people(300))
    door.sandbox.wait_for(lambda box: len(box.fired(door.integration_id)) == 2)
    door.sandbox.release(late)
    door.sandbox.wait_for(lambda box: box.sessions(door.integration_id)[0].accepted_total == 300)
    door.sandbox.release(held)
    finished = door.finish(process, None)
    # With `discard` the run fails at the first mismatch.
    counted = (
        "400 people, but this run sent 300" if choice == "apply" else "300 people, but this run sent 200"
    )
    assert f"Sprinto counts {counted} people." in finished.stderr
    assert finished.code == (0 if choice == "apply" else 75)
    assert len(ids(door)) == (400 if choice == "apply" else 0)


@pytest.mark.parametrize("late_by", [2.0, 30.0])
def test_a_stale_page_that_is_counted_late_is_not_missed(door: FrontDoor, late_by: float) -> None:
    """It was staged before its connection was lost, and is counted later than all other pages."""
    door.pace["quiet_period"] = 4.0
    door.sandbox.configure(door.integration_id, readings=APPEND)
    lost = Fault("push", nth=2, integration_id=door.integration_id, moment="after", effect=Reset())

    first_read: list[float] = []

    def without_it(body: dict[str, Any]) -> dict[str, Any]:
        first_read.append(time.monotonic())
        hidden = 100 if first_read[-1] - first_read[0] < late_by else 0
        counts = {name: count - hidden for name, count in body["accepted_records_by_entity"].items()}
        return body | {"accepted_records_by_entity": counts}

    shown = Fault("status", 1, 99, door.integration_id, effect=Edit(without_it))
    closed = Fault("close", 1, 99, door.integration_id, effect=Edit(without_it))
    for fault in (lost, shown, closed):
        door.sandbox.inject(fault)
    finished = door.run(people(300))
    if late_by < door.pace["quiet_period"]:
        assert (finished.code, finished.stdout) == (1, "")
        assert "Sprinto counts 400 people, but this run sent 300 people." in finished.error
        assert "This was seen only after session" in finished.error
    else:
        # Nothing can show a page that stays invisible for longer than any page may.
        assert (finished.code, finished.stdout) == (0, state_line())


def with_counts(change: Callable[[int], int]) -> Edit:
    """A status whose count of people is changed: a replica that lags."""

    def changed(body: dict[str, Any]) -> dict[str, Any]:
        counts = body["accepted_records_by_entity"]
        return body | {"accepted_records_by_entity": {name: change(count) for name, count in counts.items()}}

    return Edit(changed)


def test_a_page_that_one_of_two_replicas_shows_is_not_sent_again(door: FrontDoor) -> None:
    """Every other status lags; two consecutive ones never agree."""
    door.sandbox.configure(door.integration_id, readings=APPEND)
    lost = Fault("push", nth=2, integration_id=door.integration_id, moment="after", effect=Reset())
    lags = [
        Fault("status", nth, integration_id=door.integration_id, effect=with_counts(lambda _: 100))
        for nth in (1, 3, 5, 7, 9)
    ]
    for fault in (lost, *lags):
        door.sandbox.inject(fault)
    finished = door.run(people(300))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert door.operations().count("push") == 3


def test_counts_that_never_agree_discard_the_run(door: FrontDoor) -> None:
    door.pace["max_count_lag"] = 0.5
    rising = count(0)
    lost = Fault("push", nth=2, integration_id=door.integration_id, effect=Reset())
    seen = with_counts(lambda _: 100 + next(rising))
    for fault in (lost, Fault("status", 1, 99, door.integration_id, effect=seen)):
        door.sandbox.inject(fault)
    finished = door.run(people(300))
    assert (finished.code, finished.stdout) == (75, "")
    assert "Sprinto's counts did not settle: they were last 1" in finished.error
    assert door.operations().count("push") == 2


def test_counts_that_one_status_showed_and_no_other_are_not_believed(door: FrontDoor) -> None:
    door.pace["max_count_lag"] = 0.5
    door.sandbox.configure(door.integration_id, readings=APPEND)
    lost = Fault("push", nth=2, integration_id=door.integration_id, effect=Reset())
    once = Fault("status", integration_id=door.integration_id, effect=with_counts(lambda all_: all_ + 100))
    for fault in (lost, once):
        door.sandbox.inject(fault)
    finished = door.run(people(300))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert door.operations().count("push") == 4


def test_counts_that_a_429_delays_are_read_once_more(door: FrontDoor) -> None:
    door.pace["max_count_lag"] = 0.5
    lost = Fault("push", nth=2, integration_id=door.integration_id, moment="after", effect=Reset())
    lags = Fault("status", integration_id=door.integration_id, effect=with_counts(lambda _: 100))
    busy = Fault(
        "status", nth=2, integration_id=door.integration_id, effect=Respond(429, {"Retry-After": "1"})
    )
    for fault in (lost, lags, busy):
        door.sandbox.inject(fault)
    finished = door.run(people(300))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert door.operations().count("push") == 3


def test_a_late_copy_after_its_page_was_confirmed_is_temporary(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, readings=APPEND)
    late = Fault("push", nth=2, integration_id=door.integration_id, effect=Late(reset=True))
    door.sandbox.inject(late)
    *messages, state = people(300)
    process = door.fed(messages)
    # The third page leaves only once the second one is confirmed.
    door.wait_for_operation("push", 4, responded=True)
    door.sandbox.release(late)
    door.sandbox.wait_for(lambda box: box.sessions(door.integration_id)[0].accepted_total == 400)
    finished = door.finish(process, [state])
    assert (finished.code, finished.stdout) == (75, "")
    assert "Sprinto counts 400 people, but this run sent 300 people." in finished.error


def test_a_state_after_the_close_that_is_not_documented_is_named(door: FrontDoor) -> None:
    queued = Edit(lambda body: body | {"state": "queued"})
    door.sandbox.inject(Fault("close", integration_id=door.integration_id, effect=queued))
    # The status before the close is the first one.
    door.sandbox.inject(Fault("status", 2, 99, door.integration_id, effect=queued))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert "is in an undocumented state" in finished.error
    assert "it is 'queued', and may still be applied" in finished.error


def test_a_replica_that_does_not_know_a_recovered_session_yet_is_read_again(door: FrontDoor) -> None:
    lost = Fault("create", integration_id=door.integration_id, moment="after", effect=Reset())
    unknown = Fault("status", integration_id=door.integration_id, effect=Respond(404))
    for fault in (lost, unknown):
        door.sandbox.inject(fault)
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert len(door.sandbox.fired(door.integration_id)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("last", [1, 100])
def test_a_stale_connection_delays_the_close_by_at_most_eight_seconds(door: FrontDoor, last: int) -> None:
    """With production timings; a gateway dropped the connection while the tap paused."""
    door.pace = {}
    door.sandbox.configure(door.integration_id, readings=APPEND, forgets_idle_after=4)
    messages = people(100 + last)
    process = door.midway(messages=messages[:101])
    time.sleep(5)
    finished = door.finish(process, messages[101:])
    assert (finished.code, finished.stdout) == (0, state_line())
    assert ids(door) == list(range(100 + last))
    requests = door.sandbox.requests(door.integration_id)
    (lost,) = [seen for seen in requests if seen.operation == "push" and seen.status is None]
    (closed,) = [seen for seen in requests if seen.operation == "close"]
    assert closed.at - lost.at <= 8


@pytest.mark.slow
def test_a_long_idle_connection_is_not_reused(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, readings=APPEND, forgets_idle_after=4)
    messages = people(200)
    process = door.midway(messages=messages[:101])
    time.sleep(11)
    finished = door.finish(process, messages[101:])
    assert (finished.code, finished.stdout) == (0, state_line())
    assert [seen for seen in door.sandbox.requests(door.integration_id) if seen.status is None] == []


@pytest.mark.parametrize("last", [b'"id": 397', b'"id": 298'])
def test_a_stale_connection_beside_a_throttled_page(door: FrontDoor, last: bytes) -> None:
    """The page before the lost one, or the one after it, is throttled while both are in flight."""
    door.sandbox.configure(door.integration_id, readings=APPEND)
    strikes: list[tuple[bytes, Effect, int, float]] = [
        # Both connections have been used before.
        (b'"id": 0,', Delay(0.5), 0, 0.0),
        (b'"id": 298' if last == b'"id": 397' else b'"id": 397', Respond(429, {"Retry-After": "1"}), 5, 0.0),
        (last, Reset(), 5, 0.5),
    ]
    for contains, effect, company, pause in strikes:
        door.sandbox.inject(
            Fault(
                "push",
                integration_id=door.integration_id,
                effect=effect,
                contains=contains,
                company=company,
                pause=pause,
            )
        )
    finished = door.run(people(500), max_parallel_pages=2)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert len(door.sandbox.fired(door.integration_id)) == len(strikes)
    assert sorted(ids(door)) == list(range(500))


def test_a_page_that_lands_late_and_twice_discards_the_run(door: FrontDoor) -> None:
    late = Fault("push", nth=2, integration_id=door.integration_id, effect=Delay(seconds=2.5))
    door.sandbox.inject(late)
    door.pace |= {"recheck_interval": 0.2, "quiet_period": 4.0}
    finished = door.run(people(300), request_timeout_seconds=1)
    assert (finished.code, finished.stdout) == (75, "")
    assert "Sprinto counts 400 people, but this run sent 300 people." in finished.error
    assert door.session().state == "cancelled"
    assert door.applied() == {}


def test_a_page_that_lands_late_is_not_mistaken_for_another_lost_page(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, readings=APPEND)
    late = Fault("push", integration_id=door.integration_id, effect=Late())
    lost = Fault("push", nth=3, integration_id=door.integration_id, effect=Reset())
    status_read = Fault("status", nth=3, integration_id=door.integration_id, effect=Hang())
    for fault in (late, lost, status_read):
        door.sandbox.inject(fault)
    process = door.fed(people(300), request_timeout_seconds=2)
    door.sandbox.wait_for(lambda box: any(fired.fault is status_read for fired in box.fired()), timeout=20)
    door.sandbox.release(late)
    door.sandbox.wait_for(lambda box: box.sessions(door.integration_id)[0].accepted_total == 200)
    door.sandbox.release(status_read)
    finished = door.finish(process, b"")
    assert door.applied() == {}
    assert (finished.code, finished.stdout) == (75, "")
    assert "do not show whether it arrived" in finished.error
    assert door.session().state == "cancelled"


def test_a_page_of_the_same_size_as_a_resent_page_is_split(
    door: FrontDoor,
) -> None:
    """Page 2 is resent when page 3, of the same size, is already built. Then page 3 is lost too."""
    door.sandbox.configure(door.integration_id, readings=APPEND)
    losses = [
        Fault("push", integration_id=door.integration_id, effect=Hang(), moment="after"),
        Fault("push", nth=2, integration_id=door.integration_id, effect=Reset()),
        Fault("push", nth=4, integration_id=door.integration_id, effect=Reset(), moment="after"),
    ]
    for fault in losses:
        door.sandbox.inject(fault)
    finished = door.run(people(400), request_timeout_seconds=1)
    assert len(door.sandbox.fired(door.integration_id)) == len(losses)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert ids(door) == list(range(400))


def test_a_slow_status_response_does_not_count_as_quiet_time(door: FrontDoor) -> None:
    """A status shows the counts at the time Sprinto read them, which may be long before its response."""
    door.sandbox.configure(door.integration_id, readings=APPEND)
    door.pace["quiet_period"] = 1.0
    late = Fault("push", nth=2, integration_id=door.integration_id, effect=Late())
    status_read = Fault(
        "status", nth=4, integration_id=door.integration_id, moment="after", effect=Delay(seconds=1.3)
    )
    door.sandbox.inject(late)
    door.sandbox.inject(status_read)
    process = door.start(request_timeout_seconds=2)
    feed_all(process, people(300))
    door.sandbox.wait_for(lambda box: any(fired.fault is status_read for fired in box.fired()), timeout=20)
    assert door.session().accepted_total == 300
    door.sandbox.release(late)
    finished = door.finish(process, None)
    assert door.applied() == {}
    assert (finished.code, finished.stdout) == (75, "")
    assert "Sprinto counts 400 people, but this run sent 300 people." in finished.error
    assert door.session().state == "cancelled"


def test_counts_that_match_no_subset_discard_the_run(door: FrontDoor) -> None:
    door.sandbox.inject(Fault("push", nth=2, integration_id=door.integration_id, effect=Reset()))
    odd = Edit(lambda response: response | {"accepted_records_by_entity": {"people": 150}})
    door.sandbox.inject(Fault("status", times=99, integration_id=door.integration_id, effect=odd))
    finished = door.run(people(300))
    assert (finished.code, finished.stdout) == (75, "")
    assert "do not show whether it arrived" in finished.error
    assert door.operations().count("push") == 2


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("effect", [Reset(), Hang(), Respond(502, body=HTML)])
def test_a_lost_create_is_adopted_or_retried(door: FrontDoor, effect: Effect, moment: Moment) -> None:
    fault = Fault("create", integration_id=door.integration_id, effect=effect, moment=moment)
    door.sandbox.inject(fault)
    finished = door.run(people(3), request_timeout_seconds=request_seconds(effect))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert door.session().state == "processed"
    assert door.operations().count("create") == 2


def test_a_lost_create_is_not_adopted_if_the_log_does_not_show_it(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, readings=Readings(log_shows_reference=False))
    fault = Fault("create", integration_id=door.integration_id, effect=Reset(), moment="after")
    door.sandbox.inject(fault)
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (75, "")
    assert "[session-conflict]" in finished.error
    assert "may be open until 20" in finished.error
    assert (door.session().client_reference_id or "-") in finished.error
    assert door.session().state == "active"


@pytest.mark.parametrize("session_id", ["x" * 3000, "a b", "../x", "é"])
def test_an_invalid_session_id_is_neither_requested_nor_shown(door: FrontDoor, session_id: str) -> None:
    def renamed(response: Any) -> Any:  # noqa: ANN401 - any JSON
        items = [event | {"session_id": session_id} for event in response.get("items", [])]
        return response | ({"items": items} if "items" in response else {"id": session_id})

    for operation in ("create", "activity"):
        named = Fault(operation, times=99, integration_id=door.integration_id, effect=Edit(renamed))
        door.sandbox.inject(named)
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (75, "")
    assert "[session-conflict]" in finished.error
    assert session_id not in finished.stderr
    assert "status" not in door.operations()


def test_an_unresolved_create_is_reported_as_possibly_open(door: FrontDoor) -> None:
    door.sandbox.inject(Fault("create", integration_id=door.integration_id, effect=Reset(), moment="after"))
    refused = Fault("activity", times=99, integration_id=door.integration_id, effect=Respond(403))
    door.sandbox.inject(refused)
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (75, "")
    assert "which run opened it could not be determined: While reading the activity log" in finished.error
    assert "may be open until 20" in finished.error
    assert door.session().state == "active"


def test_a_lost_create_is_discarded_if_its_status_cannot_be_read(door: FrontDoor) -> None:
    door.sandbox.inject(Fault("create", integration_id=door.integration_id, effect=Reset(), moment="after"))
    door.sandbox.inject(Fault("status", integration_id=door.integration_id, effect=Respond(403)))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (75, "")
    assert f"Session {door.session().id} was discarded; nothing was applied." in finished.error
    assert door.session().state == "cancelled"


@pytest.mark.parametrize(
    ("operation", "status"),
    [("activity", 401), ("activity", 404), ("activity", 425), ("status", 401), ("status", 425)],
)
def test_a_lost_create_is_discarded_after_a_failed_lookup(
    door: FrontDoor, operation: Operation, status: int
) -> None:
    lost = Fault("create", integration_id=door.integration_id, effect=Reset(), moment="after")
    response = Respond(status, {"Retry-After": "100"})
    door.sandbox.inject(lost)
    door.sandbox.inject(Fault(operation, integration_id=door.integration_id, effect=response))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (75, "")
    assert "[session-conflict]" in finished.error
    assert f"Sprinto returned {status}" in finished.stderr
    assert f"Session {door.session().id} was discarded; nothing was applied." in finished.error
    assert door.session().state == "cancelled"


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "effect", [Reset(), Hang(), Respond(500), Respond(200, body={"id": "x", "state": "active"})]
)
def test_a_lost_close_is_resolved(door: FrontDoor, effect: Effect, moment: Moment) -> None:
    door.sandbox.configure(door.integration_id, readings=APPEND)
    fault = Fault("close", integration_id=door.integration_id, effect=effect, moment=moment)
    door.sandbox.inject(fault)
    finished = door.run(people(3), request_timeout_seconds=request_seconds(effect))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert ids(door) == [0, 1, 2]


def test_an_unresolved_close_is_not_followed_by_a_discard(door: FrontDoor) -> None:
    lost = Fault("close", times=99, integration_id=door.integration_id, effect=Reset())
    door.sandbox.inject(lost)
    finished = door.run(people(3), processing_timeout_seconds=1)
    assert (finished.code, finished.stdout) == (75, "")
    assert (
        f"Session {door.session().id} was sent an apply request, and may still be applied." in finished.error
    )
    closes = [seen for seen in door.sandbox.requests(door.integration_id) if seen.operation == "close"]
    assert {b"apply" in seen.body for seen in closes} == {True}


def lose_the_close_and_expire(door: FrontDoor) -> tuple[Fault, subprocess.Popen[bytes]]:
    """The close is performed late, if at all, and the session expires while the run awaits its response."""
    readings = Readings(status_postpones_expiry=False, discard_from_expired=True)
    door.sandbox.configure(door.integration_id, readings=readings)
    late = Fault("close", integration_id=door.integration_id, effect=Late())
    door.sandbox.inject(late)
    process = door.start(request_timeout_seconds=2)
    feed_all(process, people(3))
    expire_during(door, late)
    return late, process


def expire_during(door: FrontDoor, fault: Fault) -> None:
    """Expire the session while the fault holds a request."""
    door.sandbox.wait_for(lambda box: any(fired.fault is fault for fired in box.fired()), timeout=20)
    door.sandbox.expire(door.integration_id)
    assert door.session().state == "expired"


def test_a_lost_close_of_an_expired_session_is_not_followed_by_a_discard(
    door: FrontDoor,
) -> None:
    door.sandbox.inject(Fault("activity", times=99, integration_id=door.integration_id, effect=Respond(403)))
    late, process = lose_the_close_and_expire(door)
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (75, "")
    assert (
        f"Session {door.session().id} was sent an apply request, and may still be applied." in finished.error
    )
    assert door.operations().count("close") == 1
    door.sandbox.release(late)
    door.sandbox.wait_for(lambda box: box.sessions(door.integration_id)[0].state == "processed")


def test_a_lost_close_may_still_apply_an_expired_session(door: FrontDoor) -> None:
    late, process = lose_the_close_and_expire(door)
    open_another_session(door)
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (75, "")
    mine = door.sessions()[0]
    assert f"Session {mine.id} was sent an apply request, and may still be applied." in finished.error
    assert "nothing was applied" not in finished.error
    door.sandbox.release(late)
    door.sandbox.wait_for(lambda box: box.sessions(door.integration_id)[0].state == "processed")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_hanging_close_is_resolved_after_a_signal(door: FrontDoor, moment: Moment) -> None:
    hung = Fault("close", integration_id=door.integration_id, effect=Hang(), moment=moment)
    door.sandbox.inject(hung)
    process = door.start()
    feed_all(process, people(3))
    door.sandbox.wait_for(lambda box: any(fired.fault is hung for fired in box.fired()), timeout=20)
    process.terminate()
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert ids(door) == [0, 1, 2]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_hanging_close_is_resolved_before_the_processing_timeout(door: FrontDoor, moment: Moment) -> None:
    hung = Fault("close", integration_id=door.integration_id, effect=Hang(), moment=moment)
    door.sandbox.inject(hung)
    door.pace["shutdown_request_timeout"] = 1.0
    finished = door.run(people(3), request_timeout_seconds=60, processing_timeout_seconds=4)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert ids(door) == [0, 1, 2]


def test_a_lost_close_is_not_retried_if_the_counts_differ(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, readings=APPEND)
    late = Fault("push", nth=2, integration_id=door.integration_id, effect=Late())
    lost = Fault("close", integration_id=door.integration_id, effect=Hang())
    door.sandbox.inject(late)
    door.sandbox.inject(lost)
    process = door.start(request_timeout_seconds=1)
    feed_all(process, people(300))
    door.wait_for_operation("close")
    door.sandbox.release(late)
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (75, "")
    assert "Sprinto counts 400 people, but this run sent 300 people." in finished.error
    assert "was sent an apply request, and may still be applied." in finished.error
    assert door.operations().count("close") == 1
    assert door.session().state == "active"


def test_the_next_run_names_a_killed_runs_session(door: FrontDoor) -> None:
    left = door.kill_midway().id
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (75, "")
    assert f"session {left}, opened 0 min" in finished.error
    assert "reference 'target-sprinto/" in finished.error
    assert f"sprintoctl discard {left} --config {door.folder}/" in finished.error
    assert door.session().state == "active"


def test_a_conflicting_sessions_odd_reference_is_escaped_and_cut(door: FrontDoor) -> None:
    open_another_session(door, client_reference_id="nightly \x1b[2J" + "x" * 200)
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (75, "")
    assert "reference 'nightly \\u001b[2Jxxx" in finished.error
    assert "x" * 100 not in finished.error
    assert "\x1b" not in finished.error


def test_discard_recovers_from_a_killed_run(door: FrontDoor) -> None:
    door.kill_midway()
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=0)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert sorted(session.state for session in door.sessions()) == ["cancelled", "processed"]
    assert ids(door) == [0, 1, 2]


@pytest.mark.parametrize(
    "settings",
    [{"stale_session_seconds": 0, "client_reference_prefix": "other"}],
)
def test_discard_leaves_another_pipelines_session_alone(door: FrontDoor, settings: dict[str, object]) -> None:
    door.kill_midway()
    finished = door.run(people(3), on_active_session="discard", **settings)
    assert (finished.code, finished.stdout) == (75, "")
    assert "only sessions that this pipeline left are taken over" in finished.error
    assert door.session().state == "active"


def test_discard_leaves_a_session_without_a_visible_reference_alone(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, readings=Readings(log_shows_reference=False))
    door.kill_midway()
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=0)
    assert (finished.code, finished.stdout) == (75, "")
    assert "reference not shown" in finished.error
    assert door.session().state == "active"


def test_wait_waits_for_the_other_run_to_end(door: FrontDoor) -> None:
    first = door.midway()
    second = door.fed(PAGE, on_active_session="wait")
    door.wait_for_operation("create", 2, responded=True)
    assert door.finish(first, [STATE]).code == 0
    finished = door.finish(second, [STATE])
    assert (finished.code, finished.stdout) == (0, state_line())
    assert finished.stderr.count("Waiting for another session to end") == 1


def test_wait_ends_after_its_timeout_with_a_conflict(door: FrontDoor) -> None:
    door.kill_midway()
    finished = door.run(people(3), on_active_session="wait", wait_timeout_seconds=0.5)
    assert (finished.code, finished.stdout) == (75, "")
    assert "[session-conflict]" in finished.error


def test_a_signal_ends_the_wait_for_another_session(door: FrontDoor) -> None:
    door.kill_midway()
    process = door.fed(PAGE, on_active_session="wait")
    door.wait_for_operation("create", 2, responded=True)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=9)
    finished = door.finish(process, None)
    assert finished.code == 143
    assert "No session was opened" in finished.error


def test_a_silent_tap_keeps_its_session_alive(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, inactivity_timeout_seconds=1.5)
    process = door.fed([SCHEMA, *(record(number) for number in range(100)), record(100)])
    # The part-filled page is sent first, then the status is read repeatedly.
    door.wait_for_operation("push", 2, responded=True)
    door.wait_for_operation("status", 4, responded=True)
    finished = door.finish(process, [record(101), STATE])
    assert (finished.code, finished.stdout) == (0, state_line())
    assert door.pages() == [100, 1, 1]
    assert "does not extend the session" not in finished.stderr


@pytest.mark.parametrize("operation", ["integration_status", "close"])
def test_a_session_is_kept_alive_while_a_retry_is_waited_for(door: FrontDoor, operation: Operation) -> None:
    door.pace["keep_alive"] = 0.2
    busy = Respond(429, {"Retry-After": "0.9"})
    door.sandbox.inject(Fault(operation, integration_id=door.integration_id, effect=busy))
    process = door.fed(people(3))
    end_of_input(process)
    door.wait_for_operation(operation, responded=True)
    # A read that fails does not end the run.
    nth = 1 + door.operations().count("status")
    door.sandbox.inject(Fault("status", nth, integration_id=door.integration_id, effect=Respond(403)))
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (0, state_line())
    first, second = [index for index, name in enumerate(door.operations()) if name == operation][:2]
    assert door.operations()[first:second].count("status") >= 2


def test_a_status_that_does_not_extend_the_session_is_logged_once(door: FrontDoor) -> None:
    readings = Readings(status_postpones_expiry=False)
    door.sandbox.configure(door.integration_id, inactivity_timeout_seconds=4, readings=readings)
    door.pace["keep_alive"] = 0.4
    process = door.fed(PAGE)
    door.wait_for_operation("status", 4, responded=True)
    finished = door.finish(process, [record(100), STATE])
    assert finished.code == 0
    assert finished.stderr.count("does not extend the session's expiry") == 1


def open_another_session(door: FrontDoor, **body: str) -> None:
    url = f"{door.sandbox.base_url}/v1/integrations/{door.integration_id}/sessions"
    assert requests.post(url, json=body, headers={"api-key": "sandbox-key"}, timeout=5).status_code == 201


def expire_before_the_close(door: FrontDoor) -> tuple[Fault, subprocess.Popen[bytes]]:
    """The session expires between its last page and the first status read, which hangs."""
    hang = Fault("status", integration_id=door.integration_id, effect=Hang(), moment="before")
    door.sandbox.inject(hang)
    process = door.start()
    feed_all(process, people(3))
    expire_during(door, hang)
    return hang, process


def test_the_latest_session_is_applied_even_if_it_just_expired(door: FrontDoor) -> None:
    hang, process = expire_before_the_close(door)
    door.sandbox.release(hang)
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert "has expired; it is the latest" in finished.stderr


def test_an_expired_session_is_not_applied_over_a_later_one(door: FrontDoor) -> None:
    hang, process = expire_before_the_close(door)
    open_another_session(door)
    door.sandbox.release(hang)
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (75, "")
    assert "[session-ended]" in finished.error
    assert door.applied() == {}
