"""What holds after every cell, whatever went wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cells import entities
from expectation import Ending
from front_door import state_line

if TYPE_CHECKING:
    from front_door import Finished
    from stage import Stage

    from target_sprinto.sandbox import SessionView

SLACK_SECONDS = 1.5
"""What starting and ending a process may add to the contract's limits, where a cell shortens them."""


def check(stage: Stage, finished: Finished) -> None:
    fired = stage.door.sandbox.fired(stage.door.integration_id)
    missing = [fault for fault in stage.faults if not any(struck.fault is fault for struck in fired)]
    assert not missing, (missing, stage.door.operations(), finished.stderr)
    expected = stage.cell.expected
    assert finished.code == expected.code, finished.stderr
    assert finished.stdout == (state_line() if expected.writes_state else ""), finished.stderr
    if expected.code == 0:
        assert "| ERROR" not in finished.stderr
    else:
        check_words(finished.error, expected.says)
    check_words(finished.stderr, expected.logs)
    check_time(stage, fired[-1].at if fired else None)
    check_applied(stage)
    check_sessions(stage, finished)


def check_words(text: str, words: tuple[str, ...]) -> None:
    for word in words:
        assert word in text, text


def check_time(stage: Stage, fired_at: float | None) -> None:
    """10 s after a signal; 30 s after an error, which came after the last fault at the latest."""
    if stage.ended_after_signal is not None:
        shortened = stage.cell.pace.get("end_after_signal", 10.0)
        assert stage.ended_after_signal < min(10.0, shortened + SLACK_SECONDS)
    elif fired_at is not None and stage.cell.expected.code != 0:
        assert time.time() - fired_at < 30


def check_applied(stage: Stage) -> None:
    """All of the input or nothing, in order, nothing twice, nothing else."""
    expected = stage.cell.expected
    if expected.ending is Ending.MAY_BE_APPLIED and expected.inputs:
        # The run has ended without waiting for it.
        stage.wait_for_session(lambda session: session.state == "processed")
    if expected.inputs is not None:
        assert stage.door.applied() == entities(expected.inputs)


def check_sessions(stage: Stage, finished: Finished) -> None:
    expected, own = stage.cell.expected, stage.own_sessions()
    states = [session.state for session in own]
    if expected.others is not None:
        others = [session.state for session in stage.door.sessions() if session.id in stage.others]
        assert set(others) == {expected.others}
    if expected.ending is Ending.NOTHING_OPENED:
        assert states == []
        return
    assert len(own) == 1, states
    if expected.ending is Ending.PROCESSED:
        assert states == ["processed"]
    else:
        check_failed(expected.ending, own[0], finished.error)


def check_failed(ending: Ending, session: SessionView, error: str) -> None:
    """The session is where the cell says, and the one line tells of it."""
    allowed, words = {
        Ending.DISCARDED: ({"cancelled"}, (session.id, "was discarded, nothing was applied")),
        Ending.UNCONFIRMED: ({"cancelled"}, (session.id, "sprintoctl discard")),
        Ending.ENDED: ({"expired", "cancelled", "processing", "processed"}, (session.id,)),
        Ending.LEFT_ACTIVE: ({"active"}, (session.id, "it expires by itself 20", "sprintoctl discard")),
        Ending.UNSEEN: ({"active"}, ("may be open until 20",)),
        Ending.MAY_BE_APPLIED: (
            {"active", "processing", "processed", "failed"},
            (session.id, "may yet be applied"),
        ),
        Ending.APPLIED_DIFFERS: ({"processed"}, (session.id, "applied", "counts")),
    }[ending]
    assert session.state in allowed, error
    check_words(error, words)
