from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.push.protocol.activity_log import LoggedSession, is_latest, logged_sessions
from target_sprinto.push.protocol.times import parse_time
from target_sprinto.push.run.conflict import Blocker, ConflictPolicy
from target_sprinto.push.text import shown

UUID = "673e4ff4-f76b-40c6-81dd-ceb7f00a4324"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)


def event(session: str | None, minute: int, kind: str = "page_accepted", **details: object) -> dict[str, Any]:
    at = (NOW + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")
    return {"id": "e", "at": at, "type": kind, "session_id": session, "details": details}


@given(st.randoms())
def test_sessions_are_told_from_events_in_any_order(chance: Any) -> None:  # noqa: ANN401 - Hypothesis's random
    reference = f"evidence/{UUID}"
    events = [
        event("a", 0, "session_created", client_reference_id=reference),
        event("a", 5),
        event("b", 10, "session_created"),
        event(None, 20, "something"),
    ]
    chance.shuffle(events)
    first, second = logged_sessions(events)
    assert (first.id, first.reference, first.created_at) == ("b", None, NOW + timedelta(minutes=10))
    assert (second.id, second.reference, second.last_at) == ("a", reference, NOW + timedelta(minutes=5))


def test_the_latest_session_is_the_one_with_no_creation_after_it() -> None:
    events = [event("a", 0, "session_created"), event("b", 10, "session_created"), event("a", 20)]
    sessions = logged_sessions(events)
    assert is_latest("b", sessions)
    assert not is_latest("a", sessions)
    assert not is_latest("c", sessions)


def test_a_session_whose_own_creation_is_not_shown_is_not_the_latest() -> None:
    assert not is_latest("a", logged_sessions([event("a", 0)]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T12:00:00Z", NOW),
        ("2026-11-21T12:00:00.5Z", NOW + timedelta(seconds=0.5)),
        ("2026-11-21T12:00:00.123456789+00:00", NOW + timedelta(microseconds=123456)),
        ("2026-11-21T14:00:00+02:00", NOW),
        ("2026-11-21T12:00:00", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("9999-12-31T23:59:59-23:59", None),
        ("soon", None),
        (5, None),
        (None, None),
    ],
)
def test_times_are_read_or_unknown(text: object, expected: datetime | None) -> None:
    time = parse_time(text)
    assert time == expected
    assert time is None or time.tzinfo is timezone.utc


@given(
    st.lists(
        st.dictionaries(st.text(max_size=10), st.none() | st.integers() | st.text() | st.lists(st.text()))
    )
)
def test_any_log_is_read(events: list[dict[str, Any]]) -> None:
    logged_sessions(events)


@pytest.mark.parametrize(
    ("reference", "age", "dead"),
    [
        (f"evidence/{UUID}", 700, True),
        (f"evidence/{UUID}", 500, False),
        (f"evidence/{UUID}/hold", 700, False),
        (f"evidence-eu/{UUID}", 700, False),
        (f"evidence/eu/{UUID}", 700, False),
        (None, 700, False),
    ],
)
def test_discard_takes_over_only_what_this_pipeline_left(
    reference: str | None, age: int, *, dead: bool
) -> None:
    session = LoggedSession("s", reference, NOW, NOW - timedelta(seconds=age))
    policy = ConflictPolicy(stale_seconds=600, own_prefix="evidence")
    assert Blocker(session, "later", NOW).is_dead(policy) == dead


def test_a_session_of_unknown_age_is_not_taken_over() -> None:
    session = LoggedSession("s", f"evidence/{UUID}", None, None)
    assert not Blocker(session, "later", NOW).is_dead(ConflictPolicy(stale_seconds=0, own_prefix="evidence"))


@pytest.mark.parametrize("reference", ["nightly", "hr sync 2026-11-28", "x" * 300, "a\x1b[31m\nb\u202e"])
def test_a_reference_of_any_form_is_named_by_its_field(reference: str) -> None:
    (found,) = logged_sessions([event("a", 0, "session_created", client_reference_id=reference)])
    assert found.reference == reference
    told = Blocker(found, "later", NOW).describe()
    assert f"reference '{shown(reference)}'" in told
    assert told.isprintable()
    assert len(told) < 300
