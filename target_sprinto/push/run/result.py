"""What became of a run, as data."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    """What a run did: `records` are those accepted, ``{entity_type: int}``, in so many `pages`.

    `session_id` is None where no session is known, `expires_at` where Sprinto gave no time. That is when a
    session that is held, or still open, expires by itself.
    """

    outcome: RunOutcome
    session_id: str | None
    records: dict[str, int]
    pages: int
    expires_at: datetime | None = None
