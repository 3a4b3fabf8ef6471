"""Callbacks of a run: for observing it, and for the records that Sprinto rejects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from target_sprinto.push.protocol.find_rejects import Reject
from target_sprinto.push.protocol.lifecycle import Phase
from target_sprinto.push.protocol.pages import Page
from target_sprinto.push.protocol.responses import SessionStatus


class RunObserver:
    """Callbacks that do nothing. `on_request` and `on_page_accepted` are called from several threads."""

    def on_phase(self, phase: Phase) -> None:
        """The run has entered this phase."""

    def on_session(self, session: SessionStatus) -> None:
        """The run's session has been created."""

    def on_page_built(self, page: Page) -> None:
        """A page is complete, in the order of the input; it has not been sent."""

    def on_request(self, page: Page) -> None:
        """A request with the page, or with a part of it, is about to be sent."""

    def on_page_accepted(self, page: Page) -> None:
        """Sprinto has staged the page, or a part of it."""

    def before_hold(self) -> None:
        """The session is about to be held for approval; if this raises, it is discarded."""


class Rejects(Protocol):
    """Receives the records that Sprinto rejects, if they are not to fail the run.

    Called from several threads.
    """

    def keep(self, rejects: Sequence[Reject]) -> None:
        """These are presumably invalid. Store them before this returns: the rest is sent next."""

    def withdraw(self, rejects: Sequence[Reject]) -> None:
        """These were not the invalid records, or not the only ones."""

    def confirm(self, rejects: Sequence[Reject]) -> None:
        """These were the invalid records. Raises if there are too many."""

    def accepted(self, page: Page) -> None:
        """The page was accepted."""

    def raise_if_none_accepted(self, accepted: Mapping[str, int]) -> None:
        """Raise if no record of an entity type was accepted. `accepted` is ``{entity_type: int}``."""
