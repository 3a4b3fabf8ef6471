"""Sends a page once, and interprets the response: accepted, to be retried, to be split, or in doubt.

`send_queue.py` decides when a page may be sent, and `staged_pages.py` resolves pages in doubt.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from target_sprinto.push import errors
from target_sprinto.push.errors import ApiError, PageRefused, PageTooLarge
from target_sprinto.push.protocol.find_rejects import (
    FirstRejection,
    IndexConventions,
    Reject,
    Split,
    SubPage,
    split_rejected,
)
from target_sprinto.push.protocol.pages import Page, compressed
from target_sprinto.push.protocol.rejections import describe_details, describe_rejection
from target_sprinto.push.protocol.responses import details_of
from target_sprinto.push.protocol.retries import RETRYABLE, Backoff, is_in_doubt
from target_sprinto.push.run.observer import Rejects
from target_sprinto.push.run.run_options import RunOptions
from target_sprinto.push.run.staged_pages import StagedPages

log = logging.getLogger(__name__)


class Accepted(NamedTuple):
    """Sprinto has staged the page."""


class Retry(NamedTuple):
    """The page was definitely not accepted, and may be sent again after `seconds`."""

    seconds: float
    slow_down: bool


class InDoubt(NamedTuple):
    """It is not known whether the page was staged."""

    failure: ApiError


SendOutcome = Accepted | Retry | InDoubt | Split


@dataclass(eq=False)
class PendingPage:
    """A page that was not accepted yet. `place` is its place in the order, which its parts inherit.

    `body` is the encoded request body, if there is one yet.
    """

    part: SubPage
    place: tuple[int, ...]
    sent_at: float = 0.0
    body: bytes = b""
    gzipped: bool = False
    backoff: Backoff | None = None

    @property
    def page(self) -> Page:
        """What is sent."""
        return self.part.page

    @property
    def held_bytes(self) -> int:
        """Bytes that it keeps in memory."""
        return self.page.held_bytes + len(self.body)


@dataclass(eq=False)
class PageSender:
    """Sends pages to one session. Thread-safe."""

    staged: StagedPages
    options: RunOptions
    _compression_proven = False

    def __post_init__(self) -> None:
        self._compress = self.options.compress
        self._conventions = IndexConventions()
        self._rejects_lock = threading.Lock()

    def encode(self, pending: PendingPage) -> None:
        """Encode the page, and compress it unless that is disabled."""
        pending.gzipped = self._compress
        body = pending.page.encode()
        pending.body = compressed(body) if pending.gzipped else body

    def send(self, pending: PendingPage) -> SendOutcome:
        """Send a page once, or return a Split first.

        Raises an error that ends the run: a rejection, or no time left for retries.
        """
        if pending.backoff is None:
            page = pending.page
            if pending.part.first is None and len(page.items) > 1 and self.staged.resembles_resent(page):
                # The page was built before the other was lost; its halves have other counts.
                return pending.part.halved()
            pending.backoff = Backoff(self.staged.retry_policy.retry_seconds, self.staged.client.timings)
        if not pending.body or (pending.gzipped and not self._compress):
            # It is a part of a page, or another page has shown that compressed ones are rejected.
            self.encode(pending)
        try:
            self._push(pending)
        except ApiError as failure:
            return self._after(failure, pending, pending.backoff)
        if self._compress and not pending.gzipped:
            log.warning("Sprinto rejects compressed pages: sending them uncompressed from now on.")
            self._compress = False
        self._compression_proven = self._compression_proven or pending.gzipped
        return Accepted()

    def count(self, pending: PendingPage) -> None:
        """Count a page that was accepted. Call it from one thread at a time."""
        page, part, rejects = pending.page, pending.part, self.options.rejects
        self.staged.sent += page.counts
        self.staged.pages += 1
        self.options.observer.on_page_accepted(page)
        with self._rejects_lock:
            self.staged.settled += len(page.items)
            if rejects is None:
                return
            rejects.accepted(page)
            if part.suspects:
                self._confirm(part.suspects, rejects)
            if part.first is not None:
                self._conventions.rule_out(part.first, page)

    def _after(self, failure: ApiError, pending: PendingPage, backoff: Backoff) -> SendOutcome:
        """What to do with a page that was not accepted. Raises if nothing can be done."""
        page, rejects = pending.page, self.options.rejects
        if isinstance(failure, RETRYABLE):
            wait = backoff.next_delay(failure)
            log.warning("%s Trying again in %.1f s.", failure.brief, wait)
            return Retry(wait, slow_down=isinstance(failure, errors.Throttled))
        if is_in_doubt(failure) or isinstance(failure, errors.Conflict):
            return InDoubt(failure)
        refused, too_large = isinstance(failure, PageRefused), isinstance(failure, PageTooLarge)
        about_encoding = isinstance(failure, errors.EncodingRefused) or (refused and not failure.details)
        if about_encoding and pending.gzipped and not self._compression_proven:
            pending.body, pending.gzipped = page.encode(), False
            return self.send(pending)
        if rejects is not None and (refused or too_large):
            return self._split(pending, failure, rejects)
        if too_large and len(page.items) > 1:
            return pending.part.halved()
        if isinstance(failure, PageRefused):
            raise describe_rejection(page, failure, self.options.known_field) from None
        if too_large:
            # Only the response of a gateway has a hint.
            by = "Sprinto or a gateway" if failure.hint else "Sprinto"
            raise errors.RecordTooLarge(
                f"{by} rejects this record as too large even on its own: {page.items[0].origin},"
                f" {len(page.items[0].body):,} bytes.",
                failure.hint,
            ) from None
        if isinstance(failure, errors.EncodingRefused) and pending.gzipped:
            failure.advise("Set `compress` to false.")
        raise failure from None

    def _split(self, pending: PendingPage, failure: ApiError, rejects: Rejects) -> SendOutcome:
        """Find the records that caused the rejection."""
        part = pending.part
        if part.first is None:
            part = SubPage(part.full, FirstRejection(part.full, failure.details))
        with self._rejects_lock:
            if part.suspects:
                rejects.withdraw(part.suspects)
            split = split_rejected(part, failure, self._conventions, self.options.known_field)
            if split.blamed:
                rejects.keep(split.blamed)
                self._confirm(split.blamed, rejects)
            for one in split.parts:
                if one.suspects:
                    rejects.keep(one.suspects)
        return split

    def _confirm(self, blamed: Sequence[Reject], rejects: Rejects) -> None:
        self.staged.settled += len(blamed)
        rejects.confirm(blamed)

    def _push(self, pending: PendingPage) -> None:
        page, staged = pending.page, self.staged
        if staged.retry_policy.cancelled.is_set():
            raise errors.RunEnded("The run has ended; this page is abandoned.")
        self.options.observer.on_request(page)
        # The queue decides whether and when a page is sent again.
        once = staged.retry_policy.once()
        pushed = staged.client.push_page(staged.id, pending.body, once, gzipped=pending.gzipped)
        if pushed.rejection:
            details = details_of(pushed.rejection)
            named = f": {describe_details(page, details, self.options.known_field)}" if details else ""
            raise errors.InconsistentResponse(
                f"Sprinto accepted page {page.number} and reported that something in it was rejected{named}.",
                "No such response is documented; ask Sprinto's support.",
                pushed.rejection,
            )
        if pushed.session_id.casefold() != staged.id.casefold():
            raise errors.InconsistentResponse(
                f"The response to page {page.number} names another session.", "Ask Sprinto's support."
            )
