"""What the activity log shows of sessions: who opened them, when, and their last sign of life. Pure.

Whether an event shows a session's `client_reference_id`, and where, is not documented. It is recognised by
that name, whatever it looks like, and where it ends in a run's uuid by its form. Only a `session_created`
event says whose a session is: another one that names a reference may be about a caller who was refused
because of that session.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from target_sprinto.push.protocol.responses import SESSION_ID, SessionStatus
from target_sprinto.push.protocol.timestamps import parse_time

CREATED = "session_created"
"""The type of the event of a session's creation (Sprinto: Integration Monitoring)."""

LOOK_BACK = timedelta(days=2)
"""How far the log is read back for a session that may still matter."""

_REFERENCE = re.compile(r".+/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(/hold)?")


@dataclass(frozen=True)
class LoggedSession:
    """A session as its events show it, by Sprinto's clock. What the log does not show is None.

    `last_at` is its last sign of life: its latest event, except those that name another caller's reference.
    """

    id: str
    reference: str | None
    created_at: datetime | None
    last_at: datetime | None
    first_at: datetime | None = None

    @property
    def is_to_be_held(self) -> bool:
        """Whether its run leaves it for approval, or has done so."""
        return self.reference is not None and self.reference.endswith("/hold")


def logged_sessions(events: Iterable[dict[str, Any]]) -> list[LoggedSession]:
    """The sessions that events name, the one opened last first. Events may come in any order."""
    by_session: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if session_id := _session_id(event):
            by_session.setdefault(session_id, []).append(event)
    sessions = [_logged(session_id, its_events) for session_id, its_events in by_session.items()]
    beginning = datetime.min.replace(tzinfo=timezone.utc)
    return sorted(sessions, key=lambda one: one.created_at or one.first_at or beginning, reverse=True)


def created_under(reference: str, events: Iterable[dict[str, Any]]) -> str | None:
    """The session that an event says was created under `reference`, by id."""
    # As it is inside a JSON string: a prefix may hold a quote.
    quoted = msgspec.json.encode(reference)[1:-1]
    for event in events:
        session_id = _session_id(event)
        if session_id and event.get("type") == CREATED and quoted in msgspec.json.encode(event):
            return session_id
    return None


def _session_id(event: dict[str, Any]) -> str | None:
    """The session that it names, unless that could not be asked for, or shown."""
    named = event.get("session_id")
    return named if isinstance(named, str) and re.match(SESSION_ID, named) else None


def is_latest(session_id: str, events: Iterable[dict[str, Any]]) -> bool:
    """Whether the log shows this session's own creation, and every other creation before it."""
    creations = [
        (_session_id(event), parse_time(event.get("at"))) for event in events if event.get("type") == CREATED
    ]
    own = [at for found, at in creations if found == session_id and at]
    others = [at for found, at in creations if found != session_id]
    return bool(own) and all(at is not None and at < min(own) for at in others)


def newest_time(events: Iterable[dict[str, Any]]) -> datetime | None:
    """When the newest event was, of any session and of none."""
    return max(_times(events), default=None)


def moves_with_each_look(times: Sequence[datetime]) -> bool:
    """Whether the integration's last activity, looked at repeatedly, is that of the looks themselves."""
    return len(times) > 1 and all(one < later for one, later in pairwise(times))


def _logged(session_id: str, events: list[dict[str, Any]]) -> LoggedSession:
    births = [event for event in events if event.get("type") == CREATED]
    reference = next((found for event in births for found in _references(event)), None)
    # What a refused caller leaves in the log is not a sign of life of the session in its way.
    own = [event for event in events if all(found == reference for found in _references(event))]
    created, times = _times(births), _times(own)
    return LoggedSession(
        session_id, reference, min(created, default=None), max(times, default=None), min(times, default=None)
    )


def _times(events: Iterable[dict[str, Any]]) -> list[datetime]:
    return [time for event in events if (time := parse_time(event.get("at")))]


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


class SessionLook(NamedTuple):
    """What one look at a session shows. Times are Sprinto's.

    `at` is when it was read, None if Sprinto's time is not known; request times say nothing then. `counts` is
    what it holds, `event_at` its last event, `request_times` when its last request came by its own status,
    which may be this very look.
    """

    at: datetime | None
    counts: object
    event_at: datetime | None
    request_times: tuple[datetime, ...]

    @classmethod
    def of(cls, status: SessionStatus, logged: LoggedSession, at: datetime | None) -> SessionLook:
        """The look at a status that was read at `at`."""
        expires_at, timeout = parse_time(status.expires_at), status.inactivity_timeout_seconds
        times = [parse_time(status.updated_at)]
        if expires_at and isinstance(timeout, int | float) and 0 < timeout < _LONGEST_TIMEOUT:
            times.append(expires_at - timedelta(seconds=timeout))
        found = tuple(time for time in times if time and at)
        return cls(at, status.accepted_records_by_entity, logged.last_at, found)

    @property
    def silence_seconds(self) -> float:
        """How long before this look the session showed its last sign of life; 0 where that is not known."""
        if self.at is None:
            return 0.0
        latest = max((time for time in (self.event_at, *self.request_times) if time), default=self.at)
        # Where clocks differ, a sign of life may seem to lie ahead.
        return max(0.0, (self.at - latest).total_seconds())


def shows_life(first: SessionLook, second: SessionLook) -> bool:
    """Whether a session that was looked at twice, and left alone between, showed a sign of life between.

    A request time that one of the looks has moved itself is none.
    """
    if second.counts != first.counts or second.event_at != first.event_at:
        return True
    if first.at is None or second.at is None:
        return False
    latest = max(first.request_times, default=first.at)
    looks = (first.at, second.at)
    return any(
        time > latest and all(abs(time - look) > _LOOK_TOLERANCE for look in looks)
        for time in second.request_times
    )


_LOOK_TOLERANCE = timedelta(seconds=3)
"""The `Date` header counts whole seconds, and the request takes its time."""

_LONGEST_TIMEOUT = 366 * 86_400
