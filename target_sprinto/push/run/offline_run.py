"""A run that sends nothing: it builds the pages, and a subclass inspects them."""

from __future__ import annotations

from target_sprinto.push.protocol.pages import Page, PageBuilder
from target_sprinto.push.run.result import RunOutcome, RunResult
from target_sprinto.push.transport.background import Deadline, InterruptCheck


class OfflineRun:
    """Builds the pages of a run. `interrupted` may raise to end it."""

    def __init__(self, interrupted: InterruptCheck) -> None:
        self.check = interrupted
        self._builder = PageBuilder()

    def add_valid(self, entity_type: str, body: bytes, origin: object = None, key: object = None) -> None:
        """Add one record."""
        if page := self._builder.add(entity_type, body, origin, key):
            self._look_at(page)

    def flush(self) -> None:
        """Make a page of the records gathered so far, if there are any."""
        if page := self._builder.flush():
            self._look_at(page)

    def finish(self) -> RunResult:
        """Make the last page at the end of the input."""
        self.flush()
        return self.abort()

    def abort(self, deadline: Deadline | None = None) -> RunResult:  # noqa: ARG002 - there is nothing to wait for
        """End the run; no session was opened."""
        return RunResult(RunOutcome.NOTHING_SENT, None, {}, 0)

    def _look_at(self, page: Page) -> None:
        raise NotImplementedError
