from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.push.protocol.activity_log import (
    LoggedSession,
    SessionLook,
    created_under,
    is_latest,
    logged_sessions,
    moves_with_each_look,
    shows_life,
)
from target_sprinto.push.protocol.timestamps import parse_time
from target_sprinto.push.text import short

UUID = "673e4ff4-f76b-40c6-81dd-ceb7f00a4324"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)


def event(session: str | None, minute: int, kind: str = "page_accepted", **details: object) -> dict[str, Any]:
    at = (NOW + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")
    return {"id": "e", "at": at, "type": kind, "session_id": session, "details": details}


@given(st.randoms())
def test_sessions_are_read_from_events_in_any_order(chance: Any) -> None:  # noqa: ANN401 - Hypothesis's random
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


def test_a_session_whose_creation_is_not_in_the_log_is_older() -> None:
    """An event long after its end, such as that its records were purged."""
    events = [event("active", 0, "session_created"), event("expired", 10, "session_purged")]
    assert [session.id for session in logged_sessions(events)] == ["active", "expired"]


@pytest.mark.parametrize(
    ("minutes", "moves"), [([], False), ([0], False), ([0, 1, 2], True), ([0, 1, 1], False), ([1, 0], False)]
)
def test_activity_that_moves_with_each_status_read_is_caused_by_it(
    minutes: list[int], *, moves: bool
) -> None:
    assert moves_with_each_look([NOW + timedelta(minutes=minute) for minute in minutes]) is moves


def test_no_session_was_created_after_the_latest_one() -> None:
    events = [event("a", 0, "session_created"), event("b", 10, "session_created"), event("a", 20)]
    assert is_latest("b", events)
    assert not is_latest("a", events)
    assert not is_latest("c", events)


@pytest.mark.parametrize(
    "other",
    [event("b", 10, "session_created") | {"at": None}, event(None, 10, "session_created")],
    ids=["without a time", "without a session"],
)
def test_a_creation_of_unknown_order_counts_as_later(other: dict[str, Any]) -> None:
    assert not is_latest("a", [event("a", 0, "session_created"), other])


def test_a_session_without_a_creation_event_is_not_the_latest() -> None:
    assert not is_latest("a", [event("a", 0)])


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
        ("0001-01-01T00:00:00Z", None),
        ("soon", None),
        (5, None),
        (None, None),
    ],
)
def test_times_are_parsed_or_unknown(text: object, expected: datetime | None) -> None:
    time = parse_time(text)
    assert time == expected
    assert time is None or time.tzinfo is timezone.utc


ANYTHING = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["session_created", "page_accepted"]) | ANYTHING,
        "session_id": st.sampled_from(["a", "b", "c d"]) | ANYTHING,
        "at": st.sampled_from(["2026-11-21T12:00:00Z", "2026-11-21T12:00:00"]) | ANYTHING,
        "details": st.fixed_dictionaries({"client_reference_id": ANYTHING}) | ANYTHING,
    },
)


@given(st.lists(EVENTS, max_size=6))
def test_any_log_is_parsed(events: list[dict[str, Any]]) -> None:
    found = {session.id for session in logged_sessions(events)}
    named = {event["session_id"] for event in events if isinstance(event.get("session_id"), str)}
    assert named & {"a", "b"} <= found <= named - {"c d"}


@pytest.mark.parametrize(
    ("reference", "own"),
    [
        (f"evidence/{UUID}", True),
        (f"evidence/{UUID}/hold", False),
        (f"evidence-eu/{UUID}", False),
        (f"evidence/eu/{UUID}", False),
        ("evidence/nightly", False),
        ("evidence/hold", False),
        (None, False),
    ],
)
def test_discard_takes_over_only_this_pipelines_sessions(reference: str | None, *, own: bool) -> None:
    session = LoggedSession("s", reference, NOW, NOW)
    assert session.was_left_by("evidence") == own


@pytest.mark.parametrize("reference", ["nightly", "hr sync 2026-11-28", "x" * 300, "a\x1b[31m\nb\u202e"])
def test_any_reference_is_shown_escaped_and_cut(reference: str) -> None:
    (found,) = logged_sessions([event("a", 0, "session_created", client_reference_id=reference)])
    assert found.reference == reference
    message = found.describe(NOW)
    assert f"reference '{short(reference, 64)}'" in message
    assert message.isprintable()
    assert len(message) < 300


def refused_create(session: str, minute: int, reference: str) -> dict[str, Any]:
    return event(session, minute, "session_refused", client_reference_id=reference)


def test_only_the_creation_event_shows_the_owner() -> None:
    ours, theirs = f"evidence/{UUID}", f"other/{UUID}"
    (session,) = logged_sessions(
        [refused_create("a", 5, ours), event("a", 0, "session_created", client_reference_id=theirs)]
    )
    assert session.reference == theirs
    created = event("a", 0, "session_created", client_reference_id=theirs)
    assert created_under(ours, [refused_create("a", 5, ours), created]) is None
    assert created_under(theirs, [refused_create("a", 5, theirs), created]) == "a"
    assert created_under(theirs, [event("x" * 200, 0, "session_created", client_reference_id=theirs)]) is None


@pytest.mark.parametrize(
    ("details", "found"),
    [
        ({"client_reference_id": 'the "evidence" pipeline/' + UUID}, True),
        ({"text": f'Session created (reference the "evidence" pipeline/{UUID}).'}, True),
        ({"client_reference_id": f'the "evidence" pipeline/{UUID}/hold'}, False),
        ({"client_reference_id": f'breathe "evidence" pipeline/{UUID}'}, False),
    ],
)
def test_a_reference_is_found_only_as_a_whole(details: dict[str, str], *, found: bool) -> None:
    created = event("a", 0, "session_created", **details)
    assert (created_under(f'the "evidence" pipeline/{UUID}', [created]) == "a") == found


def test_a_rejected_create_is_not_a_sign_of_life() -> None:
    own = f"evidence/{UUID}"
    (session,) = logged_sessions(
        [
            event("a", 0, "session_created", client_reference_id=own),
            event("a", 1),
            refused_create("a", 9, f"evidence/{UUID.replace('6', '7')}"),
        ]
    )
    assert session.last_at == NOW + timedelta(minutes=1)


def test_sessions_are_sorted_by_creation_latest_first() -> None:
    sessions = logged_sessions(
        [event("a", 0, "session_created"), event("b", 10, "session_created"), event("a", 20)]
    )
    assert [session.id for session in sessions] == ["b", "a"]


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


FIRST = SessionLook(at(0), {"User": 1}, at(-900), at(-700), at(-700))


@pytest.mark.parametrize(
    ("second", "alive"),
    [
        (FIRST._replace(at=at(600)), False),
        (FIRST._replace(at=at(600), counts={"User": 2}), True),
        (FIRST._replace(at=at(600), event_at=at(300)), True),
        # Updated by the first or second status read: no sign of life.
        (FIRST._replace(at=at(600), updated_at=at(0.9), requested_at=at(-0.5)), False),
        (FIRST._replace(at=at(600), updated_at=at(600.9), requested_at=at(599.5)), False),
        # Updated by another client in between.
        (FIRST._replace(at=at(600), requested_at=at(300)), True),
        (FIRST._replace(at=at(600), updated_at=None, requested_at=None), False),
    ],
)
def test_effects_of_our_own_status_reads_are_not_signs_of_life(second: SessionLook, *, alive: bool) -> None:
    assert shows_life(FIRST, second) == alive


def test_silence_is_measured_from_the_latest_sign_of_life() -> None:
    assert FIRST.silence_seconds == 700
    assert FIRST._replace(event_at=at(-50)).silence_seconds == 50
    assert FIRST._replace(updated_at=at(-60)).silence_seconds == 60


def test_silence_is_unknown_without_the_expiry() -> None:
    assert FIRST._replace(requested_at=None).silence_seconds == 0


CREATED = "session_created"


def test_the_latest_session_has_no_later_one_among_several() -> None:
    """An expired session must not be applied over a newer one, however many older ones there are."""
    log = [event("old", 0, CREATED), event("own", 5, CREATED), event("new", 9, CREATED)]
    assert not is_latest("own", log)
    assert is_latest("new", log)


def test_a_session_created_in_the_same_moment_counts_as_later() -> None:
    assert not is_latest("own", [event("own", 5, CREATED), event("other", 5, CREATED)])


def test_a_creation_that_is_listed_twice_counts_from_the_first_time() -> None:
    log = [event("own", 0, CREATED), event("other", 5, CREATED), event("own", 9, CREATED)]
    assert not is_latest("own", log)


def test_an_own_creation_without_a_time_shows_no_order() -> None:
    assert not is_latest("own", [event("own", 0, CREATED) | {"at": None}])


def test_two_looks_show_that_looking_moves_the_activity() -> None:
    assert moves_with_each_look([NOW, NOW + timedelta(minutes=1)])


def test_a_reference_is_found_behind_an_event_without_a_session() -> None:
    reference = f"evidence/{UUID}"
    log = [event(each, 0, CREATED, client_reference_id=reference) for each in (None, "x y", "a")]
    assert created_under(reference, log) == "a"


def test_sessions_without_a_creation_are_sorted_by_their_first_event() -> None:
    log = [event("a", 5), event("a", 99), event("b", 10), event("b", 20)]
    assert [one.id for one in logged_sessions(log)] == ["b", "a"]


@pytest.mark.parametrize("shown", [{"reference": f"evidence/{UUID}"}, {"any": [f"evidence/{UUID}"]}])
def test_a_reference_is_recognised_by_its_form_in_any_field(shown: dict[str, Any]) -> None:
    (session,) = logged_sessions([event("a", 0, CREATED, **shown)])
    assert session.reference == f"evidence/{UUID}"


def test_an_empty_reference_is_none() -> None:
    (session,) = logged_sessions([event("a", 0, CREATED, client_reference_id="")])
    assert session.reference is None


def test_silence_is_measured_without_an_event() -> None:
    assert FIRST._replace(event_at=None).silence_seconds == 700


def test_a_sign_of_life_in_the_future_means_no_silence() -> None:
    assert FIRST._replace(event_at=at(50)).silence_seconds == 0


@pytest.mark.parametrize("which", [0, 1])
def test_request_times_are_not_compared_if_one_look_has_no_time(which: int) -> None:
    looks = [FIRST, FIRST._replace(at=at(600), requested_at=at(300))]
    looks[which] = looks[which]._replace(at=None, updated_at=None, requested_at=None)
    assert not shows_life(*looks)


def test_a_request_time_that_only_the_expiry_showed_shows_no_life() -> None:
    first = SessionLook(at(0), {"User": 1}, None, at(-700), at(-100))
    assert not shows_life(first, first._replace(at=at(600), updated_at=at(-100)))
