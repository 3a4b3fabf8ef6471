"""What the activity log shows of sessions: who opened them, when, and when they were last heard of. Pure.

Whether an event shows a session's `client_reference_id`, and where, is not documented. It is recognised by
that name, whatever it looks like, and where it ends in a run's uuid by its form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from target_sprinto.push.protocol.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CREATED = "session_created"
"""The type of the event that tells a session's creation (Sprinto: Integration Monitoring)."""

LOOK_BACK = timedelta(days=2)
"""How far the log is read back for a session that may still matter."""

_REFERENCE = re.compile(r".+/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(/hold)?")


@dataclass(frozen=True)
class LoggedSession:
    """A session as its events tell it. What the log does not show is None."""

    id: str
    reference: str | None
    created_at: datetime | None
    last_at: datetime | None


def logged_sessions(events: Iterable[dict[str, Any]]) -> list[LoggedSession]:
    """The sessions that events tell of, the latest heard of first. Events may come in any order."""
    by_session: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        session_id = event.get("session_id")
        if isinstance(session_id, str):
            by_session.setdefault(session_id, []).append(event)
    sessions = [_logged(session_id, its_events) for session_id, its_events in by_session.items()]
    beginning = datetime.min.replace(tzinfo=timezone.utc)
    return sorted(sessions, key=lambda session: session.last_at or beginning, reverse=True)


def is_latest(session_id: str, sessions: Iterable[LoggedSession]) -> bool:
    """Whether the log shows this session's own creation, and no creation after it."""
    created = {session.id: session.created_at for session in sessions if session.created_at}
    own = created.pop(session_id, None)
    return own is not None and all(other < own for other in created.values())


def _logged(session_id: str, events: list[dict[str, Any]]) -> LoggedSession:
    times = [time for event in events if (time := parse_time(event.get("at")))]
    created = [
        time for event in events if event.get("type") == CREATED and (time := parse_time(event.get("at")))
    ]
    references = [text for event in events for text in _references(event)]
    return LoggedSession(
        session_id,
        references[0] if references else None,
        min(created) if created else None,
        max(times) if times else None,
    )


def _references(value: object, name: str = "") -> Iterator[str]:
    """Texts that are a reference by the name of their field, or by their form."""
    if isinstance(value, str):
        if value and (name == "client_reference_id" or _REFERENCE.fullmatch(value)):
            yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _references(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner, name)
