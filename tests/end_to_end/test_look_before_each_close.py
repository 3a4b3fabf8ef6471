"""The look before a second attempt to close: counts that lag are waited for, other counts are not closed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto import SprintoClient
from target_sprinto.push.api_calls import RetryPolicy
from target_sprinto.push.errors import CountMismatch
from target_sprinto.push.protocol.lifecycle import OnCountMismatch
from target_sprinto.push.protocol.responses import SessionStatus
from target_sprinto.push.run.staged_session import StagedSession
from tests.support.front_door import people, state_line
from tests.support.sandbox import Edit, Fault, Reset

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor


def after_a_lost_close(door: FrontDoor, times: int, people_counted: int) -> None:
    """The first close is lost and not performed; the `times` statuses after it show another count."""

    def counted(body: dict[str, Any]) -> dict[str, Any]:
        return body | {"accepted_records_by_entity": {"people": people_counted}}

    lost = Fault("close", integration_id=door.integration_id, effect=Reset())
    shown = Fault("status", 2, times, door.integration_id, effect=Edit(counted))
    for fault in (lost, shown):
        door.sandbox.inject(fault)


def around_the_closes(door: FrontDoor) -> list[str]:
    operations = door.operations()
    return [name for name in operations[operations.index("close") :] if name in {"close", "status"}]


def test_counts_that_lag_are_read_again_before_the_second_close(door: FrontDoor) -> None:
    door.pace["max_count_lag"] = 10.0
    after_a_lost_close(door, 3, 2)
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert around_the_closes(door)[:6] == ["close", "status", "status", "status", "status", "close"]


@pytest.mark.parametrize(("counted", "reads"), [(2, 3), (4, 1)])
def test_other_counts_are_not_closed(door: FrontDoor, counted: int, reads: int) -> None:
    """Lower ones once they can no longer lag, higher ones at once."""
    door.pace["max_count_lag"] = 1.0
    after_a_lost_close(door, 9999, counted)
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert f"Sprinto counts {counted} people, but this run sent 3 people" in finished.error
    seen = around_the_closes(door)
    # The only further close is a discard, if there is one.
    until_the_next_close = [*seen[1:], "close"].index("close")
    assert until_the_next_close >= reads
    assert reads > 1 or until_the_next_close == 1
    assert door.applied() == {}


@pytest.mark.parametrize("counted", [2, 4])
def test_other_counts_are_closed_if_the_user_wants_that(door: FrontDoor, counted: int) -> None:
    door.pace["max_count_lag"] = 0.5
    after_a_lost_close(door, 9999, counted)
    finished = door.run(people(3), on_count_mismatch="apply")
    assert (finished.code, finished.stdout) == (0, state_line())
    assert f"Sprinto counts {counted} people, but this run sent 3 people" in finished.stderr
    assert door.session().state == "processed"


def test_other_counts_just_before_the_close_are_a_mismatch() -> None:
    client = SprintoClient(api_key="key", integration_id="demo")._api
    discard = OnCountMismatch.DISCARD
    staged = StagedSession(client, "session", Counter(User=4), RetryPolicy(), lambda: None, discard)
    status = SessionStatus("session", "active", accepted_records_by_entity={"User": 4})
    staged.require_closable(status)
    late = SessionStatus("session", "active", accepted_records_by_entity={"User": 8})
    with pytest.raises(CountMismatch, match="but this run sent 4 User"):
        staged.require_closable(late)


def test_other_counts_are_no_longer_tolerated_once_the_session_has_expired() -> None:
    client = SprintoClient(api_key="key", integration_id="demo")._api
    staged = StagedSession(
        client, "session", Counter(User=4), RetryPolicy(), lambda: None, OnCountMismatch.APPLY
    )
    counts = {"User": 8}
    assert staged.is_decided(SessionStatus("session", "active", accepted_records_by_entity=counts), 0.0)
    with pytest.raises(CountMismatch, match="but this run sent 4 User"):
        staged.is_decided(SessionStatus("session", "expired", accepted_records_by_entity=counts), 0.0)
