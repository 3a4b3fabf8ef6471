"""The outcome of a run, as data."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class RunOutcome(enum.Enum):
    """How a run ended. IN_DOUBT: Sprinto may have applied it, or may still do so."""

    APPLIED = "applied"
    HELD = "held"
    DISCARDED = "discarded"
    NOTHING_SENT = "nothing sent"
    IN_DOUBT = "in doubt"


@dataclass(frozen=True)
class RunResult:
    """What a run did. `records` counts the accepted records, ``{entity_type: int}``, `pages` their pages.

    `session_id` is None if no session is known. `expires_at` is when a session that is held or still open
    expires; for an open one it is estimated if Sprinto gave no time. Otherwise it is None.
    `session_outcome` describes the session of a run that ended early, as a sentence.
    """

    outcome: RunOutcome
    session_id: str | None
    records: dict[str, int]
    pages: int
    expires_at: datetime | None = None
    session_outcome: str = ""

    @property
    def left_open(self) -> str | None:
        """The id of a session that may still be open because its discard could not be confirmed."""
        return self.session_id if self.outcome is RunOutcome.IN_DOUBT and self.expires_at else None
