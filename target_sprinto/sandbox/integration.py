"""The rules of one integration: its sessions, pages, events and applied records.

Pure: no I/O, and the time is passed to `advance`, which every caller calls first. It makes all automatic
changes (expiry, processing, its one retry): no caller sees a session that is past its `due`.
All changes of a session's state are in this file, and go through `TRANSITIONS`.
"""

from __future__ import annotations

import math
import uuid
from collections import Counter, deque
from http import HTTPStatus
from operator import itemgetter
from typing import Any, Literal

from target_sprinto.sandbox.entities import find_errors, put_in_place
from target_sprinto.sandbox.options import SandboxOptions
from target_sprinto.sandbox.refusal import Refused
from target_sprinto.sandbox.request_body import MAX_ITEMS, Page
from target_sprinto.sandbox.state import (
    TRANSITIONS,
    Event,
    IntegrationState,
    Level,
    Rejection,
    Session,
    Trigger,
)

EVENTS: dict[str, tuple[Level, str]] = {
    "session_created": ("info", "Session created"),
    "session_refused": ("warning", "Session not created: another one is active"),
    "page_accepted": ("info", "Page accepted"),
    "page_rejected": ("warning", "Page rejected; none of it was accepted"),
    "session_closed": ("info", "Session closed; processing"),
    "session_cancelled": ("info", "Session discarded; nothing was applied"),
    "session_expired": ("warning", "Session expired: no request for too long; nothing was applied"),
    "session_processed": ("info", "Session processed"),
    "session_failed": ("error", "Processing failed"),
    "processing_retried": ("info", "Processing again"),
}
"""Level and message by event type. Only session_created is documented (Sprinto: Integration Monitoring)."""

EVENTS_KEPT = 10_000
"""The number of events that an activity log keeps: older ones are deleted."""

REJECTIONS_KEPT = 100


class Integration:
    """An integration as Sprinto would keep it, at `now` (seconds since the epoch).

    `changed`: whether a session's state has changed since the last snapshot.
    """

    def __init__(self, integration_id: str, options: SandboxOptions, state: IntegrationState) -> None:
        self.id = integration_id
        self.options = options
        self.state = state
        self.now = 0.0
        self.changed = False
        self._admitted: deque[float] = deque()
        self._outcomes = deque(options.processing_outcomes)

    def advance(self, now: float) -> None:
        """Set the time to `now`, and make all changes that were due by then, in chronological order."""
        while due := [(s.due, s) for s in self.state.sessions.values() if s.due is not None and s.due <= now]:
            self.now, session = min(due, key=itemgetter(0))
            self._come_due(session)
        self.now = now

    def admit(self) -> None:
        """Count a request against the rate limit, or reject it with 429."""
        limit = self.options.rate_limit
        if limit is None:
            return
        while self._admitted and self._admitted[0] <= self.now - limit.seconds:
            self._admitted.popleft()
        if len(self._admitted) >= limit.requests:
            wait = math.ceil(self._admitted[0] + limit.seconds - self.now)
            if limit.counts_rejected:
                self._admitted.append(self.now)
            raise Refused(429, "Too many requests", retry_after=wait if limit.retry_after else None)
        self._admitted.append(self.now)

    def create(self, client_reference_id: str | None) -> Session:
        """Start a session: one may be active at a time (Sprinto: Session Management)."""
        active = next((s for s in self.state.sessions.values() if s.state == "active"), None)
        if active is not None:
            if self.options.readings.log_shows_refused_creates:
                self._log("session_refused", active, self._reference_details(client_reference_id))
            shown = [{"session_id": active.id}] if self.options.readings.conflict_shows_session else None
            raise Refused(409, "A session is already active", code="session_already_active", details=shown)
        timeout = self.options.inactivity_timeout_seconds
        session = Session(
            id=str(uuid.uuid4()),
            client_reference_id=client_reference_id,
            created_at=self.now,
            updated_at=self.now,
            expires_at=self.now + timeout,
            inactivity_timeout_seconds=timeout,
            due=self.now + timeout,
        )
        self.state.sessions[session.id] = session
        self.changed = True
        self._log("session_created", session, self._reference_details(client_reference_id))
        return session

    def _reference_details(self, client_reference_id: str | None) -> dict[str, Any]:
        shown = self.options.readings.log_shows_reference and client_reference_id is not None
        return {"client_reference_id": client_reference_id} if shown else {}

    def session(self, session_id: str) -> Session:
        """Find a session, or reject with 404 if there is none, or if it is still hidden."""
        session = self.state.sessions.get(session_id)
        if session is None or self.now < session.created_at + self.options.readings.session_hidden_seconds:
            raise Refused(404, "No such session")
        return session

    def look(self, session: Session) -> None:
        """Note a status request, which may postpone the session's expiry."""
        ended = session.state in {"processed", "cancelled", "expired"}
        is_latest = session is next(reversed(self.state.sessions.values()))
        if self.options.readings.old_sessions_are_purged and ended and not is_latest:
            raise Refused(404, "No such session")
        if self.options.readings.status_postpones_expiry:
            self._postpone(session)

    def open_for_pages(self, session: Session) -> None:
        """Reject with 409 unless the session accepts pages."""
        if session.state != "active":
            raise Refused(409, f"The session is {session.state}, not active", code="session_not_active")
        self._postpone(session)

    def stage(self, session: Session, page: Page) -> None:
        """Accept a page as a whole, or reject it as a whole with 400 (Sprinto: Pushing Entities Data)."""
        if page.items > MAX_ITEMS:
            raise Refused(413, f"The page has {page.items} records; {MAX_ITEMS} are allowed")
        found = [] if self.options.light else find_errors(page.entities, self.options)
        if found:
            self._note_rejected(session, found)
            errors = [error for error, _ in found]
            here = self.options.readings.errors_in == "details"
            raise Refused(
                400,
                "The page has invalid records; none of it was accepted",
                code="validation_failed",
                details=errors if here else None,
                validation_errors=None if here else errors,
            )
        for entity_type, count in page.counts.items():
            session.accepted_by_entity[entity_type] = session.accepted_by_entity.get(entity_type, 0) + count
        session.accepted_batches += 1
        session.last_page = dict(page.counts)
        session.updated_at = self.now
        if lag := self.options.readings.counts_lag_seconds:
            session.unshown.append((self.now + lag, dict(page.counts)))
        if not self.options.light:
            session.pages.append(page.entities)
        self._log("page_accepted", session, page.counts)

    def _note_rejected(self, session: Session, found: list[tuple[dict[str, Any], str]]) -> None:
        places = Counter((error["entity_type"], error["field"], rule) for error, rule in found)
        self.state.rejections += (
            Rejection(self.now, session.id, *place, records)
            for place, records in places.most_common(REJECTIONS_KEPT)
        )
        del self.state.rejections[:-REJECTIONS_KEPT]

    def note_rejected_page(self, session: Session, refused: Refused) -> None:
        """Record a page rejected with 400 as an anomaly (Sprinto: Integration Monitoring)."""
        if refused.reply.status != HTTPStatus.BAD_REQUEST:
            return
        session.rejected_batches += 1
        details = {"code": refused.reply.body["error"]["code"], "reason": str(refused)}
        self._log("page_rejected", session, details)

    def close(self, session: Session, status: Literal["apply", "discard"]) -> None:
        """Close a session, or reject with 409 if its state does not allow that."""
        discards_expired = (session.state, status) == ("expired", "discard")
        if status not in TRANSITIONS[session.state] or (
            discards_expired and not self.options.readings.discard_from_expired
        ):
            message = f"The session is {session.state}: it cannot be closed with {status}"
            raise Refused(409, message, code="session_not_closable")
        self._move(session, status, "session_cancelled" if status == "discard" else "session_closed")

    def _come_due(self, session: Session) -> None:
        session.due = None
        if session.state == "active":
            self._move(session, "silence", "session_expired")
        elif session.state == "processing":
            self._process(session)
        elif session.state == "failed":
            self._move(session, "retry", "processing_retried")
            session.retry_count += 1

    def _process(self, session: Session) -> None:
        if self._outcomes and self._outcomes.popleft() == "failed":
            self._move(session, "failure", "session_failed")
            session.last_error = "Processing failed"
            if self.options.readings.failed_leaves == "first_page":
                put_in_place(self.state.applied, session.pages[:1], self.options)
            if session.retry_count == 0:
                session.due = self.now + self.options.processing_seconds
        else:
            put_in_place(self.state.applied, session.pages, self.options)
            self._move(session, "success", "session_processed")
            session.last_error = None

    def _postpone(self, session: Session) -> None:
        if session.state == "active":
            session.due = session.expires_at = self.now + session.inactivity_timeout_seconds
            session.updated_at = self.now

    def _move(self, session: Session, trigger: Trigger, event_type: str) -> None:
        session.state = TRANSITIONS[session.state][trigger]
        session.updated_at, session.due = self.now, None
        if session.state == "processing":
            session.due = self.now + self.options.processing_seconds
        self.changed = True
        self._log(event_type, session)

    def _log(self, event_type: str, session: Session, details: dict[str, Any] | None = None) -> None:
        level, message = EVENTS[event_type]
        events = self.state.events
        events.append(
            Event(str(uuid.uuid4()), self.now, level, event_type, message, session.id, details or {})
        )
        if len(events) > EVENTS_KEPT + EVENTS_KEPT // 10:
            del events[:-EVENTS_KEPT]
