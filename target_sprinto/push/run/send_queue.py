"""Pages in flight: bounded, in the order of their entity keys, with backpressure for the caller.

The reading thread encodes a page, hands it in and goes on reading; threads of the queue send it. Pages
leave in the order in which they were handed in, each as soon as

* fewer pages are in flight than the throttle allows, and it lets any page leave at all;
* no page in flight may hold the same entity;
* the pages in flight can be distinguished by their sizes (see `pages.page_sizes`);
* no response is lost: whether a lost page arrived is resolved first, with nothing else in flight;
* no page that was sent again after a stale connection is unconfirmed (see `docs/pages-once.md`).

A page that has to be sent again takes its old place, so nothing overtakes it. A run that has ended abandons
what is in flight: a page that arrives late meets a closed session.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from target_sprinto.push.errors import ApiError, ResponseLost
from target_sprinto.push.protocol.bisection import SubPage
from target_sprinto.push.protocol.pages import MAX_DISTINGUISHABLE, Page
from target_sprinto.push.protocol.throttle import Throttle
from target_sprinto.push.run.sender import Accepted, InDoubt, PageSender, PendingPage, Retry, Split
from target_sprinto.push.transport.background import POLL_INTERVAL, InterruptCheck, start_thread

_MAX_OPEN_BYTES = 40_000_000
"""Once the pages that are open hold more, the next one waits: each takes up to three times its bytes."""


class RunProgress(NamedTuple):
    """Pages accepted, in flight and sent once more; and for how many seconds none may be sent yet."""

    pages: int = 0
    in_flight: int = 0
    retries: int = 0
    throttled_for: float = 0.0


class SendQueue:
    """Takes pages in order and has them sent, at most `parallel` at a time."""

    def __init__(self, sender: PageSender, parallel: int = 1) -> None:
        self._sender = sender
        self._parallel = parallel
        self._throttle = Throttle(parallel)
        self._open: list[PendingPage] = []
        self._in_flight: list[PendingPage] = []
        self._in_doubt: dict[PendingPage, ApiError] = {}
        # Sent again after a stale connection: when the copy that was lost had left.
        self._unconfirmed: dict[PendingPage, float] = {}
        self._failure: BaseException | None = None
        self._closed = False
        self._threads = 0
        self._retries = 0
        lock = threading.RLock()
        self._sendable = threading.Condition(lock)
        """What the threads that send wait for. One is woken for one page; who takes it wakes the next."""
        self._changed = threading.Condition(lock)
        """What the reading thread waits for."""

    def put(self, page: Page, check: InterruptCheck) -> None:
        """Hand a page over, waiting while there is no room. Raises what a page failed with, or `check`."""
        open_page = PendingPage(page, (page.number,))
        # Not by the threads that send: compressing leaves them Python's lock, one more hand-over would not.
        self._sender.encode(open_page)
        while not self._try_enqueue(open_page):
            check()

    def drain(self, check: InterruptCheck) -> None:
        """Wait until every page was accepted. Raises as `put` does."""
        while not self._is_drained():
            check()

    def close(self) -> None:
        """Let the threads go, after `drain` or to abandon what is in flight. May be called twice."""
        self._end()
        # In a program that leaves SIGINT to Python, a KeyboardInterrupt comes between any two steps, also
        # between the taking of the lock and its `with`: what this thread has kept of it is given back.
        with suppress(RuntimeError):
            while True:
                self._changed.release()

    @property
    def is_idle(self) -> bool:
        """Whether no page is in flight or waiting."""
        return not self._open

    def progress(self) -> RunProgress:
        """How far the pages have come; callable from any thread."""
        throttled_for = max(0.0, self._throttle.not_before - time.monotonic())
        return RunProgress(self._sender.staged.pages, len(self._in_flight), self._retries, throttled_for)

    def raise_failure(self) -> None:
        """Raise what a page failed with, if one did."""
        if self._failure is not None:
            raise self._failure

    # Both wait a moment at most: the check of a waiting caller may make a call, so it runs without the lock.

    def _try_enqueue(self, open_page: PendingPage) -> bool:
        """Whether there was room for the page."""
        with self._changed:
            self.raise_failure()
            open_bytes = sum(one.page.record_bytes for one in self._open)
            if len(self._open) > self._parallel or open_bytes > _MAX_OPEN_BYTES:
                self._changed.wait(POLL_INTERVAL)
                return False
            self._insert(open_page)
            if self._threads < self._parallel:
                self._threads += 1
                start_thread(self._work, "sprinto-pages")
            self._sendable.notify()
            return True

    def _is_drained(self) -> bool:
        """Whether every page was accepted."""
        with self._changed:
            self.raise_failure()
            if self._open or self._unconfirmed:
                self._changed.wait(POLL_INTERVAL)
            return not self._open and not self._unconfirmed and self._failure is None

    # On the queue's own threads

    def _work(self) -> None:
        try:
            while (open_page := self._take()) is not None:
                self._send(open_page)
        except BaseException as failure:  # noqa: BLE001 - raised again on the reading thread
            self._end(failure)

    def _end(self, failure: BaseException | None = None) -> None:
        with self._changed:
            self._failure, self._closed = self._failure or failure, True
            self._sendable.notify_all()
            self._changed.notify_all()

    def _take(self) -> PendingPage | None:
        """Wait until a page may leave; None if none may any more."""
        with self._sendable:
            while not self._closed:
                now = time.monotonic()
                held = self._throttle.not_before - now
                if held <= 0 and (open_page := self._next()) is not None:
                    open_page.sent_at = now
                    self._in_flight.append(open_page)
                    if self._next() is not None:
                        self._sendable.notify()
                    return open_page
                self._sendable.wait(held if held > 0 else None)
            return None

    def _next(self) -> PendingPage | None:
        """The first page that is not in flight, if it may leave: no other overtakes it."""
        open_page = next((one for one in self._open if one not in self._in_flight), None)
        if open_page is None or self._in_doubt or len(self._in_flight) >= self._throttle.limit:
            return None
        if self._unconfirmed and open_page not in self._unconfirmed:
            return None
        # Sizes come again after so many pages. With more in flight than there are sizes nothing helps.
        apart = float("inf") if self._parallel > MAX_DISTINGUISHABLE else MAX_DISTINGUISHABLE
        must_wait = any(
            open_page.full_page.may_overlap(other.full_page)
            or abs(open_page.page.number - other.page.number) >= apart
            for other in self._in_flight
        )
        return None if must_wait else open_page

    def _send(self, open_page: PendingPage) -> None:
        outcome = self._sender.send(open_page)
        with self._changed:
            if isinstance(outcome, InDoubt):
                self._in_doubt[open_page] = outcome.failure
            else:
                self._in_flight.remove(open_page)
                if isinstance(outcome, Accepted):
                    self._accept(open_page)
                    self._throttle.speed_up()
                elif isinstance(outcome, Retry):
                    self._delay(open_page, outcome)
                else:
                    self._replace(open_page, outcome)
            all_lost = bool(self._in_doubt) and len(self._in_doubt) == len(self._in_flight)
            all_resent = self._all_resent()
            self._changed.notify()
        if all_lost:
            all_resent = self._resolve_in_doubt()
        if all_resent:
            self._confirm()

    def _delay(self, open_page: PendingPage, retry: Retry) -> None:
        now = time.monotonic()
        if retry.slow_down:
            self._throttle.slow_down(open_page.sent_at, now, retry.seconds)
        else:
            self._throttle.not_before = max(self._throttle.not_before, now + retry.seconds)
        self._retries += 1

    def _replace(self, open_page: PendingPage, split: Split) -> None:
        if open_page in self._unconfirmed:
            # Its parts are not copies of what was lost.
            self._stand_still()
        self._open.remove(open_page)
        for index, one in enumerate(split.parts):
            part = one if isinstance(one, SubPage) else None
            page = one.page if isinstance(one, SubPage) else one
            self._insert(PendingPage(page, (*open_page.place, index), part))

    def _resolve_in_doubt(self) -> bool:
        """Settle the lost pages: they are all that is in flight, and nothing leaves meanwhile.

        Returns whether all that was sent again is now to be confirmed.
        """
        lost, losses = list(self._in_doubt), list(self._in_doubt.values())
        loss = losses[-1]
        quick = all(isinstance(one, ResponseLost) and one.connection_was_stale for one in losses)
        landed = self._sender.staged.resolve([open_page.page for open_page in lost], loss, quick=quick)
        missing = [open_page for open_page, has_landed in zip(lost, landed, strict=True) if not has_landed]
        with self._changed:
            if self._sender.staged.slow_losses > 1:
                self._throttle.one_at_a_time()
            if missing and not (quick and self._are_first(missing)):
                self._stand_still()
            else:
                for open_page in missing:
                    self._unconfirmed.setdefault(open_page, open_page.sent_at)
            for open_page, has_landed in zip(lost, landed, strict=True):
                if has_landed:
                    self._accept(open_page)
                elif open_page.backoff and open_page.backoff.is_over:
                    raise loss
                else:
                    self._retries += 1
            self._in_doubt.clear()
            self._in_flight.clear()
            self._changed.notify()
            return self._all_resent()

    def _are_first(self, pages: Sequence[PendingPage]) -> bool:
        """Whether no other page has to leave before one of these: after a 429, or as a part of a page."""
        return all(one in pages for one in self._open[: len(pages)])

    def _stand_still(self) -> None:
        """What was sent again is not confirmed on the way: the counts must stand still at the end instead."""
        self._sender.staged.has_resent = True
        self._unconfirmed.clear()

    def _all_resent(self) -> bool:
        """Whether all that was sent again after stale connections was accepted, and none is confirmed."""
        return bool(self._unconfirmed) and not any(one in self._open for one in self._unconfirmed)

    def _confirm(self) -> None:
        self._sender.staged.confirm_resent(min(self._unconfirmed.values()))
        with self._changed:
            self._unconfirmed.clear()
            self._changed.notify()

    def _accept(self, open_page: PendingPage) -> None:
        self._sender.count(open_page)
        self._open.remove(open_page)

    def _insert(self, open_page: PendingPage) -> None:
        bisect.insort(self._open, open_page, key=lambda one: one.place)
