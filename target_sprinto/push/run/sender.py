"""One page sent once, and what its response means for it: accepted, sent again later, divided, or in doubt.

A 429 or a failed connection is sent again; what follows any other error, `lifecycle.next_step_after` decides.
When a page may leave is decided in `send_queue.py`, and a page in doubt is resolved in `staged_pages.py`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from target_sprinto.push import errors
from target_sprinto.push.errors import ApiError, PageRefused, PageTooLarge
from target_sprinto.push.protocol.bisection import (
    FirstRejection,
    IndexConventions,
    Reject,
    SubPage,
    split_rejected,
)
from target_sprinto.push.protocol.lifecycle import NextStep, next_step_after
from target_sprinto.push.protocol.pages import Page, compressed
from target_sprinto.push.protocol.rejections import describe_details, describe_rejection
from target_sprinto.push.protocol.responses import objects
from target_sprinto.push.protocol.retry_delay import Backoff
from target_sprinto.push.retry_loop import RETRYABLE
from target_sprinto.push.run.observer import Rejects
from target_sprinto.push.run.run_options import RunOptions
from target_sprinto.push.run.staged_pages import StagedPages

log = logging.getLogger(__name__)


class Accepted(NamedTuple):
    """Sprinto has staged the page."""


class Retry(NamedTuple):
    """The page was definitely not accepted, and may be sent again after some seconds."""

    seconds: float
    slow_down: bool


class InDoubt(NamedTuple):
    """It is not known whether the page was staged."""

    failure: ApiError


class Split(NamedTuple):
    """Other pages are to be sent in the page's place, which may be none."""

    parts: Sequence[Page | SubPage]


SendOutcome = Accepted | Retry | InDoubt | Split


@dataclass(eq=False)
class PendingPage:
    """A page handed in and not yet accepted. `place` is its place in the order; the halves of a page take it.

    `body` is what goes over the wire, once it is made.
    """

    page: Page
    place: tuple[int, ...]
    part: SubPage | None = None
    sent_at: float = 0.0
    body: bytes = b""
    gzipped: bool = False
    backoff: Backoff | None = None

    @property
    def full_page(self) -> Page:
        """The page with what was taken out of it, which may have to be sent after all."""
        return self.part.full if self.part and self.part.full else self.page


@dataclass(eq=False)
class PageSender:
    """Sends pages into one session. Safe to use from several threads.

    `staged` is what Sprinto has accepted, `settled` the number of records that were accepted or rejected.
    """

    staged: StagedPages
    options: RunOptions
    settled = 0
    _compression_proven = False

    def __post_init__(self) -> None:
        self._client = self.staged.client
        self._retry_policy = self.staged.retry_policy
        # Whether and when a page is sent again is for the queue to say.
        self._one_try = self._retry_policy.once()
        self._compress = self.options.compress
        self._conventions = IndexConventions()
        self._disputes = threading.Lock()

    def encode(self, open_page: PendingPage, *, may_compress: bool = True) -> None:
        """Encode the page, and compress it where that is wanted."""
        open_page.gzipped = may_compress and self._compress
        body = open_page.page.encode()
        open_page.body = compressed(body) if open_page.gzipped else body

    def send(self, open_page: PendingPage) -> SendOutcome:
        """Send one page once, or have it divided first.

        Raises what ends the run: a rejection, or a page that may be sent no more.
        """
        if open_page.backoff is None:
            page = open_page.page
            if open_page.part is None and len(page.items) > 1 and self.staged.resembles_resent(page):
                # It was made before that one was lost, and gets other counts.
                return Split(list(page.halves()))
            open_page.backoff = Backoff(self._retry_policy.retry_seconds, self._client.timings)
        if not open_page.body or (open_page.gzipped and not self._compress):
            # A part of a page; or another page has shown meanwhile that compressed ones are rejected.
            self.encode(open_page)
        try:
            self._push(open_page)
        except RETRYABLE as failure:
            wait = open_page.backoff.next_delay(failure)
            log.warning("%s Trying again in %.1f s.", failure.brief, wait)
            return Retry(wait, isinstance(failure, errors.Throttled))
        except ApiError as refusal:
            return self._after(open_page, refusal)
        if self._compress and not open_page.gzipped:
            log.warning("Sprinto rejects compressed pages: sending them uncompressed from now on.")
            self._compress = False
        self._compression_proven = self._compression_proven or open_page.gzipped
        return Accepted()

    def count(self, open_page: PendingPage) -> None:
        """Note that the page was accepted. One thread at a time."""
        page, part, rejects = open_page.page, open_page.part, self.options.rejects
        self.staged.add(page)
        self.options.observer.on_page_accepted(page)
        with self._disputes:
            self.settled += len(page.items)
            if rejects is None:
                return
            rejects.accepted(page)
            if part is not None:
                if part.suspects:
                    self._confirm(part.suspects, rejects)
                self._conventions.rule_out(part.first, page)

    def _after(self, open_page: PendingPage, refusal: ApiError) -> SendOutcome:
        """What becomes of a page that was not accepted. Raises where nothing more can be done."""
        page = open_page.page
        action = next_step_after(
            refusal,
            items=len(page.items),
            compressed=open_page.gzipped,
            proven=self._compression_proven,
        )
        if action is NextStep.RESOLVE:
            return InDoubt(refusal)
        if action is NextStep.SEND_UNCOMPRESSED:
            self.encode(open_page, may_compress=False)
            return self.send(open_page)
        if self.options.rejects is not None and isinstance(refusal, PageRefused | PageTooLarge):
            return self._split(open_page, refusal, self.options.rejects)
        if action is NextStep.HALVE:
            return Split(list(page.halves()))
        if isinstance(refusal, PageRefused):
            raise describe_rejection(page, refusal, self.options.known_field) from None
        if isinstance(refusal, PageTooLarge):
            raise errors.RecordTooLarge(
                f"Sprinto rejects a page with this one record alone as too large: {page.items[0].origin},"
                f" {len(page.items[0].body):,} bytes."
            ) from None
        raise refusal from None

    def _split(
        self, open_page: PendingPage, refusal: PageRefused | PageTooLarge, rejects: Rejects
    ) -> SendOutcome:
        """Find the records that are to blame."""
        page = open_page.page
        part = open_page.part or SubPage(page, FirstRejection(page, refusal.details))
        with self._disputes:
            if part.suspects:
                rejects.withdraw(part.suspects)
            division = split_rejected(part, refusal, self._conventions, self.options.known_field)
            if division.blamed:
                rejects.keep(division.blamed)
                self._confirm(division.blamed, rejects)
            for one in division.parts:
                if one.suspects:
                    rejects.keep(one.suspects)
        return Split(division.parts)

    def _confirm(self, blamed: Sequence[Reject], rejects: Rejects) -> None:
        self.settled += len(blamed)
        rejects.confirm(blamed)

    def _push(self, open_page: PendingPage) -> None:
        if self._retry_policy.cancelled.is_set():
            raise errors.RunEnded("The run has ended; this page is abandoned.")
        self.options.observer.on_request(open_page.page)
        pushed = self._client.push_page(
            self.staged.session_id, open_page.body, self._one_try, gzipped=open_page.gzipped
        )
        page = open_page.page
        if pushed.rejected:
            faults = objects(pushed.validation_errors or ())
            named = f": {describe_details(page, faults, self.options.known_field)}" if faults else ""
            raise errors.InconsistentResponse(
                f"Sprinto accepted page {page.number} and reported that something in it was rejected{named}.",
                "No such response is documented; ask Sprinto's support.",
                pushed.response,
            )
        if pushed.session_id != self.staged.session_id:
            raise errors.InconsistentResponse(
                f"The response to page {page.number} names another session.", "Ask Sprinto's support."
            )
