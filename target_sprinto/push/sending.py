"""Pages in flight: bounded, in order, with backpressure to whoever makes them.

The reading thread hands pages in and goes on reading; a lane of its own sends them. A run that has ended
abandons what is in flight: a page that arrives late meets a closed session.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from target_sprinto.push import errors, pace
from target_sprinto.push.errors import ApiError, SprintoError
from target_sprinto.push.finding import could_be_others, which_landed
from target_sprinto.push.lifecycle import AfterRefusal, Comparison, after_refusal, compare_counts, figures
from target_sprinto.push.refusals import describe_refusal
from target_sprinto.push.waiting import TICK_SECONDS, Check

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_sprinto.push.client import Patience, SprintoClient
    from target_sprinto.push.pages import Page


log = logging.getLogger("target_sprinto.push")


class PageSender:
    """Sends pages into one session and counts what was accepted.

    `accepted` is ``{entity_type: int}``, `pages` the number of requests that Sprinto accepted; `resent` are
    the counts of the pages that were lost and sent again: the lost one may yet land.
    """

    def __init__(self, client: SprintoClient, session_id: str, patience: Patience, *, compress: bool) -> None:
        self.accepted: Counter[str] = Counter()
        self.pages = 0
        self.resent: list[Counter[str]] = []
        self._client = client
        self._session_id = session_id
        self._patience = patience
        self._compress = compress
        self._compression_proven = False

    def send(self, page: Page) -> None:
        """Send one page, as two where Sprinto finds it too large. Raises what it was refused with.

        A page that nobody knows about is found out, and sent again only where it surely did not land.
        """
        compress = self._compress
        deadline = time.monotonic() + self._patience.retry_seconds
        while True:
            try:
                self._push(page, compress=compress)
            except ApiError as refusal:
                action = after_refusal(
                    refusal, items=len(page.items), compressed=compress, proven=self._compression_proven
                )
                if action is AfterRefusal.SEND_UNCOMPRESSED:
                    compress = False
                    continue
                if action is AfterRefusal.FIND_OUT:
                    if self._has_landed(page, refusal):
                        return self._count(page)
                    if time.monotonic() >= deadline:
                        raise
                    self.resent.append(page.counts)
                    continue
                if action is AfterRefusal.HALVE:
                    return self._send_halves(page)
                raise self._explain(page, refusal) from None
            if compress != self._compress:
                log.warning("Sprinto refuses compressed pages: sending them uncompressed from now on.")
                self._compress = compress
            self._compression_proven = self._compression_proven or compress
            return self._count(page)

    def _send_halves(self, page: Page) -> None:
        for half in page.halves():
            self.send(half)

    def _count(self, page: Page) -> None:
        self.accepted += page.counts
        self.pages += 1

    def _has_landed(self, page: Page, loss: ApiError) -> bool:
        """Whether a page that nobody knows about was staged. Raises where Sprinto's counts do not tell."""
        if self._patience.stopped.is_set():
            raise loss
        log.warning("%s Finding out whether page %d has arrived.", loss, page.number)
        found = self._steady_counts(loss)
        landed = which_landed(self.accepted, found, [page.counts])
        # Another page that was lost and sent again may have landed just now, late and twice.
        others = [counts for counts in self.resent if counts is not page.counts]
        if landed is None or (landed and could_be_others(page.counts, others)):
            raise errors.AnswerLost(
                f"The answer to page {page.number} was lost, and Sprinto's counts do not tell whether it"
                f" arrived: it counts {figures(found)}, and {figures(self.accepted)} were accepted before.",
                "Run again; if it stays, ask Sprinto's support.",
            )
        log.warning(
            "Page %d %s.", page.number, "has arrived" if landed else "has not arrived: sending it again"
        )
        return bool(landed)

    def _steady_counts(self, loss: ApiError) -> dict[str, int]:
        """The session's counts once two looks in a row agree and show at least what was accepted."""
        until = time.monotonic() + pace.current.lag
        before: dict[str, int] | None = None
        while True:
            status = self._client.session_status(self._session_id, self._patience)
            if status.state != "active":
                raise self._session_ended(status.state)
            counts = status.counts()
            below = compare_counts(self.accepted, counts) is Comparison.BELOW
            # One look alone says nothing, however long it took.
            if before is not None and ((counts == before and not below) or time.monotonic() >= until):
                return counts
            before = counts
            if self._patience.stopped.wait(pace.current.settle):
                raise loss

    def _push(self, page: Page, *, compress: bool) -> None:
        if self._patience.stopped.is_set():
            raise errors.RunEnded("The run has ended; this page is abandoned.")
        answer = self._client.push_page(self._session_id, page.encode(), self._patience, compress=compress)
        if answer.rejected:
            raise errors.ContradictoryAnswer(
                f"Sprinto accepted page {page.number} and said that something in it was rejected"
                f" (rejected_count_total {answer.rejected_count_total}).",
                "The documents know no such answer; ask Sprinto's support.",
            )
        if answer.session_id != self._session_id:
            raise errors.ContradictoryAnswer(
                f"The answer to page {page.number} names another session ({answer.session_id}).",
                "Ask Sprinto's support.",
            )

    def _session_ended(self, state: str) -> errors.SessionEnded:
        return errors.SessionEnded(
            f"Session {self._session_id} takes no more pages: its state is {state!r}.",
            "Run again; look in Sprinto's activity log for what ended it.",
        )

    def _explain(self, page: Page, refusal: ApiError) -> SprintoError:
        if isinstance(refusal, errors.PageRefused):
            return describe_refusal(page, refusal)
        if isinstance(refusal, errors.TooLarge):
            return errors.RecordTooLarge(
                f"Sprinto takes no page with this one record alone: {page.items[0].origin},"
                f" {len(page.items[0].body):,} bytes.",
                "Leave large fields out with a stream map.",
            )
        return refusal


class Lane:
    """Sends pages one after another on its own thread: at most one in flight and one waiting.

    `send` is called with each page, in order. After its first failure nothing more is sent.
    """

    def __init__(self, send: Callable[[Page], None]) -> None:
        self._send = send
        self._pages: queue.Queue[Page | None] = queue.Queue(maxsize=1)
        self._unsettled = 0
        self._settled = threading.Event()
        self._settled.set()
        self._lock = threading.Lock()
        self._closed = False
        self._failure: BaseException | None = None
        threading.Thread(target=self._work, name="sprinto-lane", daemon=True).start()

    def put(self, page: Page, check: Check) -> None:
        """Hand a page over, waiting while the lane is full. Raises what a page failed with, or `check`."""
        with self._lock:
            self._unsettled += 1
            self._settled.clear()
        while True:
            self.raise_failure()
            check()
            try:
                return self._pages.put(page, timeout=TICK_SECONDS)
            except queue.Full:
                continue

    def drain(self, check: Check) -> None:
        """Wait until every page was accepted. Raises as `put` does."""
        while not self._settled.wait(TICK_SECONDS):
            check()
        self.raise_failure()

    def close(self) -> None:
        """Let the thread go, after `drain` or to abandon what is in flight. May be called twice."""
        self._closed = True
        with contextlib.suppress(queue.Full):
            self._pages.put_nowait(None)

    @property
    def is_idle(self) -> bool:
        """Whether no page is in flight or waiting."""
        return self._settled.is_set()

    def raise_failure(self) -> None:
        """Raise what a page failed with, if one did."""
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while (page := self._pages.get()) is not None and not self._closed:
            try:
                self._send(page)
            except BaseException as failure:  # noqa: BLE001 - raised again on the reading thread
                self._failure = failure
                self._settled.set()
                return
            with self._lock:
                self._unsettled -= 1
                if not self._unsettled:
                    self._settled.set()
