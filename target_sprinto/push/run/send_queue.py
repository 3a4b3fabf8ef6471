"""A bounded queue of pages, sent in parallel but in order for each entity, with backpressure.

The reading thread encodes a page, enqueues it and reads on; the queue's threads send it. Pages are sent in
the order in which they were enqueued, each as soon as

* fewer pages are in flight than the throttle allows, and its delay has passed;
* no page in flight may hold the same entity;
* the pages in flight can be distinguished by their sizes (see `pages.page_sizes`);
* no page is in doubt: that is resolved first, with nothing else in flight;
* every page that was sent again after a stale connection is confirmed (see `docs/pages-once.md`).

A page that has to be sent again keeps its place, so no other overtakes it. A run that has ended abandons the
pages in flight: one that arrives late finds a closed session.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from target_sprinto.push.errors import ApiError, ResponseLost, RunEnded
from target_sprinto.push.protocol.find_rejects import Split, SubPage
from target_sprinto.push.protocol.pages import MAX_DISTINGUISHABLE, Page
from target_sprinto.push.protocol.throttle import Throttle
from target_sprinto.push.run.sender import Accepted, InDoubt, PageSender, PendingPage, Retry
from target_sprinto.push.transport.background import POLL_INTERVAL, InterruptCheck, start_thread

_MAX_HELD_BYTES = 40_000_000
"""A page waits while it and the pending pages would keep more in memory."""


class RunProgress(NamedTuple):
    """Pages accepted, in flight and retried; and for how many seconds no page may be sent."""

    pages: int = 0
    in_flight: int = 0
    retries: int = 0
    throttled_for: float = 0.0


class SendQueue:
    """Sends pages in order, at most `parallel` at a time."""

    def __init__(self, sender: PageSender, parallel: int = 1) -> None:
        self._sender = sender
        self._parallel = parallel
        self._throttle = Throttle(parallel)
        self._pending: list[PendingPage] = []
        self._in_flight: list[PendingPage] = []
        self._in_doubt: dict[PendingPage, ApiError] = {}
        # Pages sent again after a stale connection, and when the lost copy was sent.
        self._unconfirmed: dict[PendingPage, float] = {}
        self._failure: BaseException | None = None
        self._closed = False
        self._threads = 0
        self._retries = 0
        lock = threading.RLock()
        self._sendable = threading.Condition(lock)
        """Wakes the sending threads: one for each page, and the thread that takes it wakes the next."""
        self._changed = threading.Condition(lock)
        """Wakes the reading thread."""

    def put(self, page: Page, check: InterruptCheck) -> None:
        """Enqueue a page, waiting while the queue is full. Raises a page's failure, or that of `check`."""
        pending = PendingPage(SubPage(page), (page.number,))
        # Encode here: compression leaves the GIL to the sending threads, one more hand-over would not.
        self._sender.encode(pending)
        while not self._try_enqueue(pending):
            check()

    def drain(self, check: InterruptCheck) -> None:
        """Wait until every page is accepted. Raises what `put` does."""
        while not self._is_drained():
            check()

    def close(self) -> None:
        """Stop the threads, after `drain` or to abandon the pages in flight. May be called twice."""
        self._end()
        # If the program leaves SIGINT to Python, a KeyboardInterrupt may come between any two steps, even
        # between acquiring the lock and entering its `with`: release what this thread still holds.
        with suppress(RuntimeError):
            while True:
                self._changed.release()

    @property
    def is_idle(self) -> bool:
        """Whether no page is in flight or waiting."""
        return not self._pending

    def progress(self) -> RunProgress:
        """The progress of the pages; callable from any thread."""
        throttled_for = max(0.0, self._throttle.not_before - time.monotonic())
        return RunProgress(self._sender.staged.pages, len(self._in_flight), self._retries, throttled_for)

    def raise_failure(self) -> None:
        """Raise a page's failure, if there is one."""
        if self._failure is not None:
            raise self._failure

    # Both wait only briefly: the caller's check may make an API call, so it runs without the lock.

    def _try_enqueue(self, pending: PendingPage) -> bool:
        """Whether the page was enqueued."""
        with self._changed:
            self.raise_failure()
            if self._closed:
                raise RunEnded(
                    "`finish` or `abort` was called: this run accepts no more records.", "Start a new run."
                )
            held_bytes = sum(one.held_bytes for one in (*self._pending, pending))
            if len(self._pending) > self._parallel or (self._pending and held_bytes > _MAX_HELD_BYTES):
                self._changed.wait(POLL_INTERVAL)
                return False
            self._insert(pending)
            if self._threads < self._parallel:
                self._threads += 1
                start_thread(self._work, "sprinto-pages")
            self._sendable.notify()
            return True

    def _is_drained(self) -> bool:
        """Whether every page was accepted."""
        with self._changed:
            self.raise_failure()
            if self._pending or self._unconfirmed:
                self._changed.wait(POLL_INTERVAL)
            return not self._pending and not self._unconfirmed and self._failure is None

    # On the queue's own threads

    def _work(self) -> None:
        try:
            while (pending := self._take()) is not None:
                self._send(pending)
                # An idle thread would keep its last page in memory.
                del pending
        except BaseException as failure:  # noqa: BLE001 - raised again on the reading thread
            self._end(failure)

    def _end(self, failure: BaseException | None = None) -> None:
        with self._changed:
            self._failure, self._closed = self._failure or failure, True
            self._sendable.notify_all()
            self._changed.notify_all()

    def _take(self) -> PendingPage | None:
        """Wait for a page that may be sent; None once the queue is closed."""
        with self._sendable:
            while not self._closed:
                now = time.monotonic()
                held = self._throttle.not_before - now
                if held <= 0 and (pending := self._next()) is not None:
                    pending.sent_at = now
                    self._in_flight.append(pending)
                    if self._next() is not None:
                        self._sendable.notify()
                    return pending
                self._sendable.wait(held if held > 0 else None)
            return None

    def _next(self) -> PendingPage | None:
        """The first page that is not in flight, if it may be sent: no other overtakes it."""
        pending = next((one for one in self._pending if one not in self._in_flight), None)
        if pending is None or self._in_doubt or len(self._in_flight) >= self._throttle.limit:
            return None
        if self._unconfirmed and pending not in self._unconfirmed:
            return None
        # Sizes repeat after that many pages. With more pages in flight than sizes, waiting does not help.
        apart = float("inf") if self._parallel > MAX_DISTINGUISHABLE else MAX_DISTINGUISHABLE
        must_wait = any(
            # The records taken out of a page may have to be sent after all.
            pending.part.full.may_overlap(other.part.full)
            or abs(pending.page.number - other.page.number) >= apart
            for other in self._in_flight
        )
        return None if must_wait else pending

    def _send(self, pending: PendingPage) -> None:
        outcome = self._sender.send(pending)
        with self._changed:
            if isinstance(outcome, InDoubt):
                self._in_doubt[pending] = outcome.failure
            else:
                self._in_flight.remove(pending)
                if isinstance(outcome, Accepted):
                    self._accept(pending)
                    self._throttle.speed_up()
                elif isinstance(outcome, Retry):
                    self._delay(pending, outcome)
                else:
                    self._replace(pending, outcome)
            all_lost = bool(self._in_doubt) and len(self._in_doubt) == len(self._in_flight)
            all_resent = self._all_resent()
            self._changed.notify()
        if all_lost:
            all_resent = self._resolve_in_doubt()
        if all_resent:
            self._confirm()

    def _delay(self, pending: PendingPage, retry: Retry) -> None:
        now = time.monotonic()
        if retry.slow_down:
            self._throttle.slow_down(pending.sent_at, now, retry.seconds)
        else:
            self._throttle.not_before = max(self._throttle.not_before, now + retry.seconds)
        self._retries += 1

    def _replace(self, pending: PendingPage, split: Split) -> None:
        if pending in self._unconfirmed:
            # Its parts are not copies of the lost page.
            self._confirm_at_the_end()
        self._pending.remove(pending)
        for index, part in enumerate(split.parts):
            self._insert(PendingPage(part, (*pending.place, index)))

    def _resolve_in_doubt(self) -> bool:
        """Resolve the pages in doubt: no other is in flight, and none is sent meanwhile.

        Returns whether the pages that were sent again are to be confirmed now.
        """
        lost, losses = list(self._in_doubt), list(self._in_doubt.values())
        loss = losses[-1]
        after_stale = all(isinstance(one, ResponseLost) and one.connection_was_stale for one in losses)
        landed = self._sender.staged.resolve(
            [pending.page for pending in lost], loss, after_stale=after_stale
        )
        missing = [pending for pending, has_landed in zip(lost, landed, strict=True) if not has_landed]
        with self._changed:
            if self._sender.staged.slow_losses > 1:
                self._throttle.one_at_a_time()
            if missing and not (after_stale and self._are_first(missing)):
                self._confirm_at_the_end()
            else:
                for pending in missing:
                    self._unconfirmed.setdefault(pending, pending.sent_at)
            for pending, has_landed in zip(lost, landed, strict=True):
                if has_landed:
                    self._accept(pending)
                elif pending.backoff and pending.backoff.is_over:
                    raise loss
                else:
                    self._retries += 1
            self._in_doubt.clear()
            self._in_flight.clear()
            self._changed.notify()
            return self._all_resent()

    def _are_first(self, pages: Sequence[PendingPage]) -> bool:
        """Whether no other page must be sent before them, because of a 429 or as part of a split page."""
        return all(one in pages for one in self._pending[: len(pages)])

    def _confirm_at_the_end(self) -> None:
        """Do not confirm pages sent again; instead, the counts must stay unchanged before the close."""
        self._sender.staged.late_copy_possible = True
        self._unconfirmed.clear()

    def _all_resent(self) -> bool:
        """Whether pages sent again after stale connections await confirmation, all of them accepted."""
        return bool(self._unconfirmed) and not any(one in self._pending for one in self._unconfirmed)

    def _confirm(self) -> None:
        self._sender.staged.confirm_resent(min(self._unconfirmed.values()))
        with self._changed:
            self._unconfirmed.clear()
            self._changed.notify()

    def _accept(self, pending: PendingPage) -> None:
        self._sender.count(pending)
        self._pending.remove(pending)

    def _insert(self, pending: PendingPage) -> None:
        bisect.insort(self._pending, pending, key=lambda one: one.place)
