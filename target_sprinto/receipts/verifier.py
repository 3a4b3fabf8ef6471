"""Reads a run's input again, without Sprinto, and compares the resulting pages with the receipt's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from target_sprinto.push.errors import SprintoError
from target_sprinto.push.protocol.digests import EntityDigests
from target_sprinto.push.protocol.pages import Page
from target_sprinto.push.run.offline_run import OfflineRun
from target_sprinto.push.run.result import RunResult
from target_sprinto.push.text import pluralize
from target_sprinto.push.transport.background import InterruptCheck
from target_sprinto.receipts import document as receipt
from target_sprinto.receipts.errors import ReceiptDiffers, ReceiptUnusable
from target_sprinto.receipts.run_info import unsent


class Matched(SprintoError):
    """Stops reading: all pages that a failed run made are the same; the rest of the input was not sent."""


class ReceiptVerifier(OfflineRun):
    """Closes pages where the run closed them, even those that it closed while the tap was idle."""

    def __init__(self, document: receipt.Receipt, interrupted: InterruptCheck) -> None:
        """Raises ReceiptUnusable if the run has not ended, or failed before it made a page."""
        self._complete = document.outcome in receipt.COMPLETE
        if document.outcome == "unfinished" or not (self._complete or document.pages):
            raise ReceiptUnusable("The receipt's run made no page to compare an input with.")
        super().__init__(interrupted)
        self._receipt = document
        self._digests = EntityDigests()
        self._made = 0

    def add_valid(self, entity_type: str, body: bytes, origin: object = None, key: object = None) -> None:
        """Add one record. Raises ReceiptDiffers for the first page that differs, or Matched."""
        super().add_valid(entity_type, body, origin, key)
        pages = self._receipt.pages
        size = pages[self._made].entities if self._made < len(pages) else 1
        if self._builder.added - self._digests.counts.total() == size:
            super().flush()

    def flush(self) -> None:
        """Do nothing: pages are closed where the run closed them."""

    def finish(self) -> RunResult:
        """Compare the rest. Raises ReceiptDiffers, or Matched."""
        super().flush()
        if self._made < len(self._receipt.pages):
            missing = self._receipt.pages[self._made]
            raise ReceiptDiffers(
                f"The input ends before page {missing.number}, which spanned {_lines(missing)}."
            )
        self._compare_entities()
        return self.abort()

    def compare_rejects(self, rejected: Sequence[receipt.Reject]) -> None:
        """Compare the records that target-sprinto's own checks rejected. Raises ReceiptDiffers."""
        in_run = [one for one in self._receipt.rejects if one.rejected_by == "target"]
        here, there = ([(one.line, one.place, one.code) for one in those] for those in (rejected, in_run))
        if here != there:
            more, fewer = Counter(here) - Counter(there), Counter(there) - Counter(here)
            line, place, code = min(more | fewer, default=(0, "", ""))
            where = f"input line {line}{f', {place}' if place else ''}"
            raise ReceiptDiffers(
                "All pages are the same, but target-sprinto's own checks reject"
                f" {pluralize(len(here), 'record')} here and rejected {len(there)} in the run; the first that"
                f" differs is in {where} [{code}]."
            )

    def compare_input(self, sha256: str) -> None:
        """Compare the whole input, parts of which may not be in any page. Raises ReceiptDiffers."""
        if self._receipt.input_sha256 not in {None, sha256}:
            raise ReceiptDiffers(
                "All pages are the same, but the input is not the run's: its SHA-256 differs.",
                "Something differs that is not sent: a record or field that the settings leave out, a STATE,"
                " the end of the input.",
            )

    def _look_at(self, page: Page) -> None:
        self._digests.add(page)
        here = unsent(page)
        if page.number > len(self._receipt.pages):
            raise ReceiptDiffers(f"The input has records that the run did not send: {_lines(here)}.")
        there = self._receipt.pages[page.number - 1]
        if here.sha256 != there.sha256:
            raise ReceiptDiffers(
                f"Page {page.number} differs: here it holds {pluralize(here.entities, 'record')} of"
                f" {_lines(here)}, in the run {there.entities} of {_lines(there)}.",
                "Check that the input and the settings are the run's.",
            )
        self._made = page.number
        if not self._complete and self._made == len(self._receipt.pages):
            self._compare_entities()
            raise Matched("All pages that the run made are the same.")

    def _compare_entities(self) -> None:
        """Compare once all pages are the same: a difference means that the receipt contradicts itself."""
        sha256, counts = self._digests.hexdigests(), self._digests.counts
        here = [(name, counts[name], sha256[name]) for name in sha256]
        there = [(one.entity_type, one.entities, one.sha256) for one in self._receipt.entity_types]
        if here != there:
            raise ReceiptDiffers(
                "All pages are the same, but the receipt's counts or digests by entity type do not match.",
                "The receipt contradicts itself: it was changed.",
            )


def _lines(page: receipt.Page) -> str:
    several = (page.first_line, page.first_place) != (page.last_line, page.last_place)
    return f"input line{'s' if several else ''} {page.lines}"
