"""The queue drains and never stalls, whatever the outcome of each try of each page, in any order."""

from __future__ import annotations

import threading
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.push.errors import ResponseLost
from target_sprinto.push.protocol.find_rejects import Split, SubPage
from target_sprinto.push.protocol.pages import Item, Page
from target_sprinto.push.run.send_queue import RunProgress, SendQueue
from target_sprinto.push.run.sender import Accepted, InDoubt, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_sprinto.push.errors import ApiError
    from target_sprinto.push.run.sender import PageSender, PendingPage, SendOutcome

SECONDS = 20.0
"""A queue that has not drained after this time has stalled."""

OUTCOMES = st.tuples(
    st.sampled_from(["accepted", "throttled", "lost", "stale", "stale, arrived", "divided"]),
    # So that responses arrive in a different order than the pages were sent.
    st.sampled_from([0.0, 0.002, 0.004]),
)


@dataclass
class Staged:
    """The part of a session's state that the queue uses."""

    pages: int = 0
    late_copy_possible: bool = False
    arrived: set[int] = field(default_factory=set)
    confirmed: int = 0
    slow_losses: int = 0

    def resolve(self, pages: Sequence[Page], _loss: ApiError, *, after_stale: bool) -> list[bool]:
        assert pages
        assert after_stale in {True, False}
        self.slow_losses += not after_stale
        return [id(page) in self.arrived for page in pages]

    def confirm_resent(self, lost_at: float) -> None:
        assert lost_at <= time.monotonic()
        self.confirmed += 1


class Sender:
    """Gives each try of a page its next outcome, after its delay; once they run out, accepts it."""

    def __init__(self, outcomes: dict[int, list[tuple[str, float]]]) -> None:
        self.staged = Staged()
        self.accepted: list[Item] = []
        self._outcomes = outcomes
        self._lock = threading.Lock()

    def encode(self, open_page: PendingPage) -> None:
        open_page.body = b"{}"

    def send(self, open_page: PendingPage) -> SendOutcome:
        page = open_page.page
        with self._lock:
            left = self._outcomes.get(page.number, [])
            outcome, seconds = left.pop(0) if left else ("accepted", 0.0)
        time.sleep(seconds)
        if outcome == "throttled":
            return Retry(0.001, slow_down=True)
        if outcome == "divided" and len(page.items) > 1:
            return Split([SubPage(half) for half in page.halves()])
        if outcome in {"lost", "stale", "stale, arrived"}:
            loss = ResponseLost("The connection broke.")
            loss.connection_was_stale = outcome != "lost"
            if outcome == "stale, arrived":
                self.staged.arrived.add(id(page))
            return InDoubt(loss)
        return Accepted()

    def count(self, open_page: PendingPage) -> None:
        self.accepted += open_page.page.items
        self.staged.pages += 1


def within(seconds: float) -> Callable[[], None]:
    until = time.monotonic() + seconds

    def check() -> None:
        assert time.monotonic() < until, "the queue has stalled"

    return check


@given(
    parallel=st.integers(1, 8),
    outcomes=st.lists(st.lists(OUTCOMES, max_size=3), min_size=1, max_size=10),
    one_key=st.booleans(),
)
def test_every_page_is_accepted_exactly_once(
    *, parallel: int, outcomes: list[list[tuple[str, float]]], one_key: bool
) -> None:
    sender = Sender({number: list(each) for number, each in enumerate(outcomes, 1)})
    queue = SendQueue(cast("PageSender", sender), parallel)
    items: list[Item] = []
    check = within(SECONDS)
    for number in range(1, len(outcomes) + 1):
        key: Any = "same" if one_key else None
        page = Page(number, tuple(Item("User", b"{}", at, key or (number, at)) for at in range(4)))
        items += page.items
        queue.put(page, check)
    queue.drain(check)
    queue.close()
    assert sorted(map(id, sender.accepted)) == sorted(map(id, items))
    if one_key or parallel == 1:
        assert list(map(id, sender.accepted)) == list(map(id, items))


def test_the_parts_of_a_resent_page_are_confirmed_by_the_counts_before_the_close() -> None:
    """They are no copies of the lost page, which may still arrive."""
    sender, check = Sender({1: [("stale", 0.0), ("divided", 0.0)]}), within(SECONDS)
    queue = SendQueue(cast("PageSender", sender), 2)
    for number in (1, 2):
        queue.put(Page(number, tuple(Item("User", b"{}", at, (number, at)) for at in range(4))), check)
    queue.drain(check)
    queue.close()
    assert len(sender.accepted) == 8
    assert (sender.staged.late_copy_possible, sender.staged.confirmed) == (True, 0)


def test_a_queue_is_idle_once_its_pages_are_accepted() -> None:
    class Held(Sender):
        may_end = threading.Event()

        def send(self, open_page: PendingPage) -> SendOutcome:
            assert self.may_end.wait(SECONDS)
            return super().send(open_page)

    sender, check = Held({}), within(SECONDS)
    queue = SendQueue(cast("PageSender", sender))
    idle = [queue.is_idle]
    queue.put(Page(1, (Item("User", b"{}", None),)), check)
    idle.append(queue.is_idle)
    sender.may_end.set()
    queue.drain(check)
    idle.append(queue.is_idle)
    assert idle == [True, False, True]
    assert queue.progress() == RunProgress(pages=1, in_flight=0, retries=0, throttled_for=0.0)
    queue.close()


def test_an_accepted_page_is_kept_by_no_thread() -> None:
    queue, check = SendQueue(cast("PageSender", Sender({})), 4), within(SECONDS)
    items = [Item("User", b"{}", at, at) for at in range(8)]
    pages = [Page(number, (item,)) for number, item in enumerate(items, 1)]
    kept = [weakref.ref(page) for page in pages]
    while pages:
        queue.put(pages.pop(), check)
    queue.drain(check)
    # A thread drops its page just after it is counted.
    while any(page() is not None for page in kept):
        check()
    queue.close()


@pytest.mark.parametrize(
    ("record", "origin", "together"), [(15_000_000, 0, 2), (15_000_000, 15_000_000, 1), (50_000_000, 0, 1)]
)
def test_the_pending_pages_keep_a_limited_number_of_bytes(record: int, origin: int, together: int) -> None:
    """A page that has more alone is sent alone."""

    class Gate(Sender):
        most = now = 0

        def send(self, open_page: PendingPage) -> SendOutcome:
            with self._lock:
                self.now += 1
                self.most = max(self.most, self.now)
            time.sleep(0.02)
            with self._lock:
                self.now -= 1
            return super().send(open_page)

    sender, check = Gate({}), within(SECONDS)
    queue, body = SendQueue(cast("PageSender", sender), 8), bytes(record)
    for number in range(1, 5):
        queue.put(Page(number, (Item("User", body, None, number, origin),)), check)
    queue.drain(check)
    queue.close()
    assert sender.most == together


class Halves(Sender):
    """The first page is too large, and each half's response waits for the other half to be sent."""

    def __init__(self) -> None:
        super().__init__({1: [("divided", 0.0)]})
        self.waited_for_each_other = threading.Barrier(2)

    def send(self, open_page: PendingPage) -> SendOutcome:
        if len(open_page.page.items) == 1:
            self.waited_for_each_other.wait(SECONDS)
        return super().send(open_page)


def test_both_halves_of_a_page_are_sent_in_parallel() -> None:
    sender = Halves()
    queue = SendQueue(cast("PageSender", sender), 2)
    check = within(SECONDS)
    # Starts both threads; one of them is idle when the large page is sent.
    for number in (3, 4):
        queue.put(Page(number, (Item("User", b"{}", None, key=number), Item("User", b"{}", None))), check)
    queue.drain(check)
    queue.put(Page(1, tuple(Item("User", b"{}", None, key=key) for key in (10, 11))), check)
    queue.drain(check)
    assert len(sender.accepted) == 6
    queue.close()
