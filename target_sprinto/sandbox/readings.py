"""The points that Sprinto's documentation leaves open, with a switch for each.

A loader is correct only if it is correct for every value of every field here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Readings:
    """A reading of each point that Sprinto's documentation leaves open; each type lists its default first."""

    apply: Literal["upsert", "append", "replace"] = "upsert"
    """What applying does: update entities by key, append them, or replace all entities of their types."""

    ingest_total: Literal["page", "session"] = "page"
    """What an ingest response counts as accepted: that page, or the session so far."""

    status_postpones_expiry: bool = True
    """Whether a GET of a session's status counts as activity: it postpones expiry, changes `updated_at`."""

    errors_in: Literal["details", "validation_errors"] = "details"
    """Where a 400 lists the failing records: `error.details`, or `validation_errors` beside `error`."""

    index_within: Literal["type", "page"] = "type"
    """Whether a failing record's index counts within its entity type, or over the whole page."""

    index_base: Literal[0, 1] = 0
    """The index of the first record."""

    all_errors: bool = True
    """Whether a 400 names every issue of the page, or the first one only."""

    unknown_entity_types: Literal["accepted", "refused"] = "accepted"
    """What happens to records of an entity type that the account has not defined."""

    log_shows_reference: bool = True
    """Whether the session_created event shows the session's `client_reference_id`."""

    status_shows_reference: bool = False
    """Whether a session's status shows its `client_reference_id`."""

    conflict_shows_session: bool = False
    """Whether a 409 to a second session shows the active session's id."""

    close_response_state: Literal["active", "processing"] = "active"
    """The state that the response of close(apply) shows; the documented sample shows `active`."""

    activity_order: Literal["oldest_first", "newest_first"] = "oldest_first"
    """The order of the events in the activity log."""

    batches_count_rejected: bool = False
    """Whether `accepted_batches` counts rejected pages too."""

    counts_lag_seconds: float = 0.0
    """How long after its 202 an accepted page shows in the counts and batches of a status."""

    close_response_counts: Literal["exact", "stale", "empty", "null", "absent"] = "exact"
    """The counts that the response of close shows; `stale` lacks the page accepted last."""

    processed_counts_lag_seconds: float = 0.0
    """For how long the counts at `processed` lack the page accepted last."""

    session_hidden_seconds: float = 0.0
    """How long after its create a session is unknown (404), as to a replica that has not seen it yet."""

    response_seconds: float = 0.0
    """How long each response takes; the server acts at once."""

    discard_from_expired: bool = False
    """Whether close(discard) works from `expired`."""

    failed_leaves: Literal["nothing", "first_page"] = "nothing"
    """What a failed processing attempt leaves applied."""

    unknown_encoding_status: Literal[415, 400] = 415
    """The response to a Content-Encoding that is neither gzip nor identity."""

    log_shows_refused_creates: bool = False
    """Whether the log has an event for a rejected create: the active session's id, the caller's reference."""

    log_lag_seconds: float = 0.0
    """How long it takes until an event appears in the activity log."""

    log_ends: Literal["yes", "with empty pages", "by repeating"] = "yes"
    """Whether `next_page` ends: otherwise empty pages follow the last one, or all pages repeat."""

    old_sessions_are_purged: bool = False
    """Whether an ended session's status is 404 once a newer one is open, while the log still shows it."""

    clock_offset_seconds: float = 0.0
    """How far this server's clock, the `Date` header included, is ahead of the machine's."""

    date_header: Literal["this server's", "a proxy's", "none"] = "this server's"
    """Whose clock the `Date` header shows, if there is one: a proxy's is that of the machine."""
