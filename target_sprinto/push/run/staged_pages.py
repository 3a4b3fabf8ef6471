"""Keeps track of the pages that Sprinto has staged, and resolves pages in doubt by its counts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from target_sprinto.push import errors
from target_sprinto.push.protocol.in_doubt import committed_pages
from target_sprinto.push.protocol.lifecycle import Comparison, OnCountMismatch, compare_counts, session_ended
from target_sprinto.push.protocol.pages import Page
from target_sprinto.push.protocol.responses import SessionStatus
from target_sprinto.push.run.staged_session import StagedSession
from target_sprinto.push.text import format_difference

log = logging.getLogger(__name__)


@dataclass(eq=False)
class StagedPages(StagedSession):
    """The session of a run that is sending pages.

    `pages` is the number of requests that Sprinto accepted, `settled` that of the records accepted or
    rejected. `slow_losses` counts losses that were not on a stale connection.
    """

    retire_sizes: Callable[[Collection[int]], None] = field(kw_only=True)
    pages = 0
    settled = 0
    slow_losses = 0
    _losses = 0
    _resent: list[tuple[float, Page]] = field(default_factory=list, init=False)

    def resolve(self, pages: Sequence[Page], loss: errors.ApiError, *, after_stale: bool) -> list[bool]:
        """Whether each page in doubt was staged. No other page may be in flight.

        `after_stale`: all were lost on stale connections, so those sent again are confirmed soon afterwards.
        Raises if Sprinto's counts do not show it.
        """
        if self.retry_policy.cancelled.is_set():
            raise loss
        timings = self.client.timings
        names = ", ".join(str(page.number) for page in pages)
        log.warning("%s Checking whether Sprinto received page %s.", loss.brief, names)
        interval = timings.recheck_interval_stale if after_stale else timings.recheck_interval
        counts, agreed = self._stable_counts(loss, interval)
        # A late copy of a page sent again may have landed just now: of another page, or of one of these.
        resent = [page for _, page in self._resent]
        others = [other.counts for other in resent if not any(other is page for page in pages)]
        tries = [1 + sum(other is page for other in resent) for page in pages]
        open_counts, accepted = [page.counts for page in pages], self.sent
        landed = committed_pages(accepted, counts, open_counts, others, tries) if agreed else None
        if landed is None:
            sent = {*accepted, *(name for page in pages for name in page.counts)}
            counted, before = format_difference(counts, accepted, sent)
            unclear = (
                "do not show whether it arrived: they are" if agreed else "did not settle: they were last"
            )
            raise errors.ResponseLost(
                f"The response to page {names} was lost, and Sprinto's counts {unclear} {counted}; {before}"
                " were accepted before."
            )
        for index, page in enumerate(pages):
            message = "has arrived" if index in landed else "has not arrived: sending it again"
            log.warning("Page %d %s.", page.number, message)
        self._losses += 1
        self.slow_losses += not after_stale
        # Two reads agreed, and left no room for a late copy. After `quiet_period` no late copy of a page that
        # was sent again is expected.
        now = time.monotonic()
        self._resent = [(at, page) for at, page in self._resent if now - at < timings.quiet_period]
        self._resent += [(now, page) for index, page in enumerate(pages) if index not in landed]
        if len(landed) < len(pages):
            self.resent_at = now
        self.retire_sizes({len(page.items) for _, page in self._resent})
        return [index in landed for index in range(len(pages))]

    def resembles_resent(self, page: Page) -> bool:
        """Whether the page has the same counts as another that was sent again.

        If it were lost too, a late copy of the other could be mistaken for it. After a run's first loss this
        risk is accepted: a second loss so soon is unlikely.
        """
        if self._losses <= 1:
            return False
        return any(resent is not page and resent.counts == page.counts for _, resent in self._resent)

    def confirm_resent(self, lost_at: float) -> None:
        """After a stale connection: check twice that the pages sent again were staged only once.

        No other page may be in flight. Lagging counts may show a lost page that was staged after all before
        the last page, by at most the time between sending the two: the two reads are a little further apart.
        `lost_at`, in monotonic seconds, is when the first lost page was sent. Raises CountMismatch.
        """
        timings, began = self.client.timings, time.monotonic()
        apart = began - lost_at + timings.recheck_interval_stale
        equal_at: float | None = None
        while True:
            status = self._active_status()
            now = time.monotonic()
            comparison = self.compare(status)
            if comparison is Comparison.EQUAL:
                equal_at = now if equal_at is None else equal_at
                if now - equal_at >= apart:
                    return
            elif (
                comparison is Comparison.DIFFERENT or equal_at is not None
            ) and self.on_count_mismatch is OnCountMismatch.DISCARD:
                self.report_mismatch(status)
            elif comparison is Comparison.DIFFERENT or now - began >= timings.max_count_lag:
                # `reconcile` decides.
                self.late_copy_possible = True
                return
            if self.retry_policy.cancelled.wait(
                timings.recheck_interval_stale if equal_at is None else apart
            ):
                raise errors.RunEnded("The run has ended.")

    def _stable_counts(self, loss: errors.ApiError, interval: float) -> tuple[dict[str, int], bool]:
        """The counts that two statuses show, and True; those of the last one, and False, if none agree.

        Counts below what was accepted, or below those of another status, come from a replica that lags,
        unless they last for longer than any may lag. Only `accepted_records_by_entity` is compared: it is
        not documented whether `accepted_batches` is as exact.
        """
        lag = self.client.timings.max_count_lag
        began = time.monotonic()
        until, latest = began + lag, began + 3 * lag
        highest, is_seen = dict(self.sent), False
        before: dict[str, int] | None = None
        while True:
            counts = self._active_status().counts()
            if is_seen and counts == highest:
                return counts, True
            if compare_counts(highest, counts) is not Comparison.BELOW:
                if counts != highest:
                    until = min(time.monotonic() + lag, latest)
                highest, is_seen = counts, True
            # A single read proves nothing, however long it took.
            if before is not None and time.monotonic() >= until:
                is_below = compare_counts(self.sent, counts) is Comparison.BELOW
                return counts, counts == before and not is_below
            before = counts
            if self.retry_policy.cancelled.wait(interval):
                raise loss

    def _active_status(self) -> SessionStatus:
        status = self.client.session_status(self.id, self.retry_policy)
        if status.state != "active":
            raise session_ended(status, "accepts no more pages")
        return status
