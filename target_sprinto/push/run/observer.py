"""Callbacks of a run: who observes it, and who takes the records that Sprinto rejects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from target_sprinto.push.protocol.bisection import Reject
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


class Rejects(Protocol):
    """Where records go that Sprinto rejects, if the run is not to fail for them.

    Called from several threads.
    """

    def keep(self, rejects: Sequence[Reject]) -> None:
        """They seem to be to blame: on disk, if anywhere, when this returns. Then the rest is sent."""

    def withdraw(self, rejects: Sequence[Reject]) -> None:
        """They were not, or not they alone."""

    def confirm(self, rejects: Sequence[Reject]) -> None:
        """They were. Raises where these are too many."""

    def accepted(self, page: Page) -> None:
        """The page was accepted."""

    def raise_if_none_accepted(self, accepted: Mapping[str, int]) -> None:
        """Raise where nothing of an entity type was accepted: ``{entity_type: int}`` is what was."""
