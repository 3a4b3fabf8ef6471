"""Who keeps account of a run, if anybody does: what was put into pages, what became of them, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from target_sprinto.push.protocol.lifecycle import Phase
    from target_sprinto.push.protocol.pages import Page
    from target_sprinto.push.protocol.responses import SessionStatus


class Witness(Protocol):
    """Told of a run's course. `sending` and `accepted` are called from several threads."""

    def moved(self, phase: Phase) -> None:
        """The run has come to this phase."""

    def opened(self, session: SessionStatus) -> None:
        """This is the run's session."""

    def made(self, page: Page) -> None:
        """A page is complete, in the order of the input; it has not been sent."""

    def sending(self, page: Page) -> None:
        """A request with the page, or with a part of it, is about to go out."""

    def accepted(self, page: Page) -> None:
        """Sprinto has staged the page, or a part of it."""

    def holding(self) -> None:
        """The session is about to be left for somebody to apply: where this raises, it is discarded."""


class NoWitness:
    """Nobody keeps account."""

    def moved(self, phase: Phase) -> None:
        """Not noted."""

    def opened(self, session: SessionStatus) -> None:
        """Not noted."""

    def made(self, page: Page) -> None:
        """Not noted."""

    def sending(self, page: Page) -> None:
        """Not noted."""

    def accepted(self, page: Page) -> None:
        """Not noted."""

    def holding(self) -> None:
        """Not noted."""
