"""The JSON bodies of the responses, field by field as documented (Sprinto: Models)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from target_sprinto.sandbox.integration import Integration
from target_sprinto.sandbox.readings import Readings
from target_sprinto.sandbox.request_body import Page
from target_sprinto.sandbox.state import Event, Session, State

_COUNTS = "accepted_records_by_entity"
_COUNTED_STATES: tuple[State, ...] = ("active", "processing", "processed", "failed", "expired")


def iso(seconds: float) -> str:
    """Write a time (seconds since the epoch) as ISO 8601 in UTC, to the millisecond, with Z."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def session_body(session: Session, integration: Integration) -> dict[str, Any]:
    """Show a session (Sprinto: Models, Session)."""
    shown = _shown_counts(session, integration.now)
    return {
        "id": session.id,
        "integration_id": integration.id,
        "state": session.state,
        "created_at": iso(session.created_at),
        "updated_at": iso(session.updated_at),
        "expires_at": iso(session.expires_at),
        "inactivity_timeout_seconds": round(session.inactivity_timeout_seconds),
        "accepted_records_total": sum(shown.values()),
        _COUNTS: shown,
        "last_error": session.last_error,
    }


def _shown_counts(session: Session, now: float) -> dict[str, int]:
    """Count the accepted records by entity type, without pages that the counts do not show yet."""
    hidden = sum((Counter(page) for shows_at, page in session.unshown if shows_at > now), Counter[str]())
    return dict(Counter(session.accepted_by_entity) - hidden)


def _without_the_last_page(session: Session, counts: dict[str, int]) -> dict[str, int]:
    """The counts as they were before the page accepted last."""
    return dict(Counter(counts) - Counter(session.last_page))


def close_body(session: Session, integration: Integration) -> dict[str, Any]:
    """Respond to a close: the session's status, with the counts that the reading shows."""
    body = status_body(session, integration)
    how = integration.options.readings.close_response_counts
    if how == "stale":
        body[_COUNTS] = _without_the_last_page(session, body[_COUNTS])
    elif how in {"empty", "null"}:
        body[_COUNTS] = {} if how == "empty" else None
    elif how == "absent":
        del body[_COUNTS]
    return body


def status_body(session: Session, integration: Integration) -> dict[str, Any]:
    """Show a session's status: itself, its batches and its retries (Sprinto: Session Management)."""
    readings, now = integration.options.readings, integration.now
    batches = session.accepted_batches - sum(shows_at > now for shows_at, _ in session.unshown)
    if readings.batches_count_rejected:
        batches += session.rejected_batches
    body = session_body(session, integration)
    body |= {"accepted_batches": batches, "retry_count": session.retry_count}
    lag = readings.processed_counts_lag_seconds
    if lag and session.state == "processed" and now < session.updated_at + lag:
        body[_COUNTS] = _without_the_last_page(session, body[_COUNTS])
    if readings.status_shows_reference:
        body["client_reference_id"] = session.client_reference_id
    return body


def ingest_body(session: Session, page: Page, readings: Readings) -> dict[str, Any]:
    """Respond to an accepted page (Sprinto: Pushing Entities Data)."""
    counts = page.counts if readings.ingest_total == "page" else session.accepted_by_entity
    return {
        "session_id": session.id,
        "accepted_count_total": sum(counts.values()),
        "accepted_count_by_entity": dict(counts),
        "rejected_count_total": 0,
        "validation_errors": [],
        "echoes": {} if page.page_hint is None else {"page_hint": page.page_hint},
    }


def integration_body(integration: Integration) -> dict[str, Any]:
    """Show an integration's sessions by state (Sprinto: Integration Monitoring)."""
    states = Counter(session.state for session in integration.state.sessions.values())
    events = integration.state.events
    return {
        "integration_id": integration.id,
        "sessions": {state: states[state] for state in _COUNTED_STATES},
        "last_activity_at": iso(events[-1].at) if events else None,
    }


def event_body(event: Event) -> dict[str, Any]:
    """Show an event (Sprinto: Integration Monitoring)."""
    body = {"id": event.id, "at": iso(event.at), "level": event.level, "type": event.type}
    return {**body, "message": event.message, "session_id": event.session_id, "details": dict(event.details)}


def activity_body(events: Iterable[Event], page: int, page_size: int, readings: Readings) -> dict[str, Any]:
    """Show one page of the activity log."""
    shown = [event_body(event) for event in events]
    if readings.activity_order == "newest_first":
        shown.reverse()
    pages = max(1, -(-len(shown) // page_size))
    start = ((page - 1) % pages if readings.log_ends == "by repeating" else page - 1) * page_size
    return {
        "items": shown[start : start + page_size],
        "page": page,
        "page_size": page_size,
        "next_page": page + 1 if page < pages or readings.log_ends != "yes" else None,
    }
