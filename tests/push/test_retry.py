from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.push.errors import NotConnected, Throttled
from target_sprinto.push.protocol.retries import Backoff, parse_retry_after
from target_sprinto.push.protocol.throttle import Throttle
from target_sprinto.push.timing import Timings

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("-5", None),
        ("soon", None),
        ("NaN", None),
        ("1e9", None),
        ("9" * 400, 1e9),
        ("3, 3", 3),
        ("3,7", 7),
        (f"{format_datetime(NOW + timedelta(seconds=9), usegmt=True)}, 4", 9),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("Sat, 21 Nov 2026 12:00:30 +0000", 30),
        ("Sat, 99 Nov 2026 12:00:30 GMT", None),
        (f"Sat, 21 Nov {'9' * 30} 12:00:30 GMT", None),
        (f"Sat, 21 Nov 2026 12:00:30 +{'9' * 30}", None),
    ],
)
def test_retry_after_in_seconds_or_as_a_date_is_parsed(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text())
def test_any_retry_after_is_parsed_or_ignored(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or seconds >= 0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_delays_grow_with_jitter() -> None:
    longest = [0.0] * 8
    for _ in range(200):
        backoff = Backoff(1e9, Timings(), Clock())
        for number in range(8):
            longest[number] = max(longest[number], backoff.next_delay(NotConnected("x")))
    for ceiling, wait in zip([0.5, 1, 2, 4, 8, 16, 30, 30], longest, strict=True):
        assert ceiling * 0.8 < wait <= ceiling


@given(st.floats(0, 100), st.floats(0, 100))
def test_retry_after_is_the_minimum_delay_or_ends_retries(budget: float, requested: float) -> None:
    backoff = Backoff(budget, Timings(), Clock())
    try:
        wait = backoff.next_delay(Throttled("x", retry_after=requested))
    except Throttled:
        assert budget == 0 or requested > budget
    else:
        assert requested <= wait <= budget


def test_the_budget_ends_retries() -> None:
    clock = Clock()
    backoff = Backoff(10, Timings(), clock)
    clock.now = 9.999
    assert backoff.next_delay(NotConnected("x")) <= 0.001 + 1e-9
    clock.now = 10
    assert backoff.is_over
    with pytest.raises(NotConnected):
        backoff.next_delay(NotConnected("x"))


def test_simultaneous_429s_halve_the_limit_once() -> None:
    throttle = Throttle(8)
    for _ in range(8):
        throttle.slow_down(sent_at=1.0, now=2.0, wait_seconds=3.0)
    assert (throttle.limit, throttle.not_before) == (4, 5.0)
    throttle.slow_down(sent_at=5.0, now=6.0, wait_seconds=0.5)
    assert (throttle.limit, throttle.not_before) == (2, 6.5)
    for sent_at in (7.0, 9.0, 11.0):
        throttle.slow_down(sent_at, sent_at + 1, 0)
    assert throttle.limit == 1
    for limit in (2, 3, 4, 5, 6, 7, 8, 8):
        throttle.speed_up()
        assert throttle.limit == limit


def test_the_longest_requested_wait_applies() -> None:
    throttle = Throttle(2)
    throttle.slow_down(0, 1, 60)
    throttle.slow_down(0, 2, 1)
    assert throttle.not_before == 61


@pytest.mark.parametrize("value", ["3, 5", "5, 3", "5, soon"])
def test_the_longest_of_several_waits_counts(value: str) -> None:
    assert parse_retry_after(value) == 5
