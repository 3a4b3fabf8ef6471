"""The sandbox's state, and the transitions between a session's states as one table.

The dataclasses here are also the format of the snapshot file, so they hold data only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

State = Literal["active", "processing", "processed", "failed", "expired", "cancelled"]
Level = Literal["info", "warning", "error"]
Trigger = Literal["apply", "discard", "silence", "success", "failure", "retry"]

TRANSITIONS: dict[State, dict[Trigger, State]] = {
    "active": {"apply": "processing", "discard": "cancelled", "silence": "expired"},
    # Discarding from expired is a reading: by default it is rejected.
    "expired": {"apply": "processing", "discard": "cancelled"},
    "processing": {"success": "processed", "failure": "failed"},
    "failed": {"retry": "processing"},
    "processed": {},
    "cancelled": {},
}
"""State by trigger (Sprinto: Session Management). A missing pair is rejected with 409."""

Entities = dict[str, list[msgspec.Raw]]
"""Records by entity type, each as the exact bytes that were sent."""


@dataclass
class Session:
    """A session; times in seconds since the epoch. `due` is when it next changes automatically, if ever."""

    id: str
    client_reference_id: str | None
    created_at: float
    updated_at: float
    expires_at: float
    inactivity_timeout_seconds: float
    state: State = "active"
    accepted_by_entity: dict[str, int] = field(default_factory=dict)
    accepted_batches: int = 0
    rejected_batches: int = 0
    retry_count: int = 0
    last_error: str | None = None
    due: float | None = None
    pages: list[Entities] = field(default_factory=list)
    last_page: dict[str, int] = field(default_factory=dict)
    """Items by entity type of the page accepted last."""
    unshown: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    """Accepted pages that the counts do not show yet: when they will, and items by entity type."""

    @property
    def accepted_total(self) -> int:
        """Records accepted so far, over all entity types."""
        return sum(self.accepted_by_entity.values())


@dataclass
class Event:
    """An entry of the activity log (Sprinto: Integration Monitoring); `at` in seconds since the epoch."""

    id: str
    at: float
    level: Level
    type: str
    message: str
    session_id: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Rejection:
    """How many records of a rejected page break one rule in one field; `at` in seconds since the epoch."""

    at: float
    session_id: str
    entity_type: str
    field: str
    rule: str
    records: int


@dataclass
class IntegrationState:
    """The state of one integration; `applied` is {entity type: {key: record}} in apply order."""

    sessions: dict[str, Session] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    applied: dict[str, dict[str, msgspec.Raw]] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
