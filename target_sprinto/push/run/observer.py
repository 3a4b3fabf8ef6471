"""Callbacks for observing a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from target_sprinto.push.protocol.lifecycle import Phase
    from target_sprinto.push.protocol.pages import Page
    from target_sprinto.push.protocol.responses import SessionStatus


class RunObserver:
    """Does nothing. `on_request` and `on_page_accepted` are called from several threads."""

    def on_phase(self, phase: Phase) -> None:
        """The run has come to this phase."""

    def on_session(self, session: SessionStatus) -> None:
        """This is the run's session."""

    def on_page_built(self, page: Page) -> None:
        """A page is complete, in the order of the input; it has not been sent."""

    def on_request(self, page: Page) -> None:
        """A request with the page, or with a part of it, is about to go out."""

    def on_page_accepted(self, page: Page) -> None:
        """Sprinto has staged the page, or a part of it."""

    def before_hold(self) -> None:
        """The session is about to be left for a user to apply: if this raises, it is discarded."""
