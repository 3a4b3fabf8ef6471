"""Sessions as the activity log shows them: who opened them, when, and their last sign of life. Pure.

It is not documented whether an event shows a session's `client_reference_id`, or in which field. A reference
is recognised by that field name, whatever its value, or by its form if it ends in a run's UUID. Only a
`session_created` event shows who owns a session: any other event that names a reference may be about a caller
that was rejected because of that session.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from target_sprinto.push.protocol.arguments import RUN_UUID
from target_sprinto.push.protocol.responses import SESSION_ID, SessionStatus
from target_sprinto.push.protocol.timestamps import iso, parse_time
from target_sprinto.push.text import short

CREATED = "session_created"
"""The type of the event of a session's creation (Sprinto: Integration Monitoring)."""

LOOK_BACK = timedelta(days=2)
"""How far the log is read back for a session that may still matter."""

_REFERENCE = re.compile(rf".+/{RUN_UUID}(/hold)?")


@dataclass(frozen=True)
class LoggedSession:
    """A session as its events show it, by Sprinto's clock. A field that the log does not show is None.

    `last_at` is the time of its latest event, not counting events that name another caller's reference.
    `log_is_whole`: the log was not cut off; otherwise another session may be the newest one.
    """

    id: str
    reference: str | None
    created_at: datetime | None
    last_at: datetime | None
    first_at: datetime | None = None
    log_is_whole: bool = True

    @property
    def is_to_be_held(self) -> bool:
        """Whether its run will hold it for approval, or already has."""
        return self.reference is not None and self.reference.endswith("/hold")

    def describe(self, now: datetime | None) -> str:
        """Id, age, reference and last event, in a clause. `now` is Sprinto's time, if known."""
        parts = [f"{'' if self.log_is_whole else 'perhaps '}session {self.id}"]
        if self.created_at:
            parts.append(f"opened {_when(self.created_at, now)}")
        parts.append(f"reference '{short(self.reference, 64)}'" if self.reference else "reference not shown")
        if self.last_at:
            parts.append(f"last event {_when(self.last_at, now)}")
        return ", ".join(parts)

    def was_opened_by_another(self, reference: str) -> bool:
        """Whether the log shows that a run with another reference opened it."""
        return self.log_is_whole and self.reference not in {None, reference}

    def was_left_by(self, own_prefix: str | None) -> bool:
        """Whether it belongs to this pipeline and is not held."""
        # The prefix may itself contain a slash: only the uuid may follow it.
        prefix, _, run_uuid = (self.reference or "").rpartition("/")
        return prefix == own_prefix and re.fullmatch(RUN_UUID, run_uuid) is not None


def _when(moment: datetime, now: datetime | None) -> str:
    if now is None:
        return f"at {iso(moment)}"
    minutes, seconds = divmod(max(0, int((now - moment).total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min ago" if hours else f"{minutes} min {seconds} s ago"


def logged_sessions(events: Iterable[dict[str, Any]]) -> list[LoggedSession]:
    """The sessions that events name, newest first; those whose creation is not among the events come last.

    The events may be in any order.
    """
    by_session: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if session_id := _session_id(event):
            by_session.setdefault(session_id, []).append(event)
    sessions = [_logged(session_id, its_events) for session_id, its_events in by_session.items()]
    earliest = datetime.min.replace(tzinfo=timezone.utc)
    return sorted(
        sessions,
        key=lambda each: (each.created_at is not None, each.created_at or each.first_at or earliest),
        reverse=True,
    )


def created_under(reference: str, events: Iterable[dict[str, Any]]) -> str | None:
    """The id of the session that was created under `reference`, if an event shows that."""
    # Escaped as in a JSON string: a prefix may contain a quote. Not a part of another reference.
    quoted = re.escape(msgspec.json.encode(reference)[1:-1])
    whole = re.compile(rb"(?<![\w/-])" + quoted + rb"(?![\w/-])")
    for event in events:
        session_id = _session_id(event)
        if session_id and event.get("type") == CREATED and whole.search(msgspec.json.encode(event)):
            return session_id
    return None


def _session_id(event: dict[str, Any]) -> str | None:
    """The session id in the event, if it is one that can be put into a path and into messages."""
    named = event.get("session_id")
    return named if isinstance(named, str) and re.match(SESSION_ID, named) else None


def is_latest(session_id: str, events: Iterable[dict[str, Any]]) -> bool:
    """Whether the log shows this session's creation, and every other creation is earlier."""
    creations = [
        (_session_id(event), parse_time(event.get("at"))) for event in events if event.get("type") == CREATED
    ]
    own = [at for found, at in creations if found == session_id and at]
    others = [at for found, at in creations if found != session_id]
    return bool(own) and all(at is not None and at < min(own) for at in others)


def newest_time(events: Iterable[dict[str, Any]]) -> datetime | None:
    """The time of the newest event, whether or not it belongs to a session."""
    return max(_times(events), default=None)


def moves_with_each_look(times: Sequence[datetime]) -> bool:
    """Whether each status check found a later last activity, so that the checks themselves move it."""
    return len(times) > 1 and all(earlier < later for earlier, later in pairwise(times))


def _logged(session_id: str, events: list[dict[str, Any]]) -> LoggedSession:
    creations = [event for event in events if event.get("type") == CREATED]
    reference = next((found for event in creations for found in _references(event)), None)
    # An event about a rejected caller is not a sign of life of the session that blocked it.
    own = [event for event in events if all(found == reference for found in _references(event))]
    created, times = _times(creations), _times(own)
    return LoggedSession(
        session_id, reference, min(created, default=None), max(times, default=None), min(times, default=None)
    )


def _times(events: Iterable[dict[str, Any]]) -> list[datetime]:
    return [time for event in events if (time := parse_time(event.get("at")))]


def _references(value: object, name: str = "") -> Iterator[str]:
    """Strings that are a reference, by the name of their field or by their form."""
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
    """The result of one status check of a session. Times are by Sprinto's clock.

    `at` is the time of the check; if it is unknown, so are the last two. `counts` are the accepted records,
    and `event_at` is the time of the last event. `updated_at` and `requested_at`, which follows from
    `expires_at`, are the times that the status implies for the last request, which may be this very check.
    """

    at: datetime | None
    counts: object
    event_at: datetime | None
    updated_at: datetime | None
    requested_at: datetime | None

    @classmethod
    def of(cls, status: SessionStatus, logged: LoggedSession, at: datetime | None) -> SessionLook:
        """The check that read this status at `at`."""
        expires_at, timeout = parse_time(status.expires_at), status.inactivity_timeout_seconds
        requested_at = None
        if at and expires_at and isinstance(timeout, int | float) and 0 < timeout < _LONGEST_TIMEOUT:
            requested_at = expires_at - timedelta(seconds=timeout)
        updated_at = parse_time(status.updated_at) if at else None
        return cls(at, status.accepted_records_by_entity, logged.last_at, updated_at, requested_at)

    @property
    def request_times(self) -> list[datetime]:
        """The times of the last request that are known."""
        return [time for time in (self.updated_at, self.requested_at) if time]

    @property
    def silence_seconds(self) -> float:
        """Seconds from the session's last sign of life to this check; 0 if that is unknown.

        Only `expires_at` is documented to move with each request: a page may neither change `updated_at` nor
        appear in the log, and a single check does not show that counts grow.
        """
        if self.at is None or self.requested_at is None:
            return 0.0
        latest = max(time for time in (self.event_at, *self.request_times) if time)
        # If clocks differ, a sign of life may appear to be in the future.
        return max(0.0, (self.at - latest).total_seconds())


def shows_life(first: SessionLook, second: SessionLook) -> bool:
    """Whether a session showed a sign of life between two checks, between which this run left it alone.

    A request time that one of the checks itself has moved does not count.
    """
    if second.counts != first.counts or second.event_at != first.event_at:
        return True
    if first.at is None or second.at is None:
        return False
    latest = max(first.request_times, default=first.at)
    checks = (first.at, second.at)
    return any(
        time > latest and all(abs(time - check) > _CHECK_TOLERANCE for check in checks)
        for time in second.request_times
    )


_CHECK_TOLERANCE = timedelta(seconds=3)
"""The `Date` header has whole seconds only, and a request takes time."""

_LONGEST_TIMEOUT = 366 * 86_400
