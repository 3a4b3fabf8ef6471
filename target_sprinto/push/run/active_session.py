"""The integration's active session, as the activity log shows it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from target_sprinto.push.activity_log_reader import cut_off, read_events
from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.protocol.activity_log import LOOK_BACK, LoggedSession, logged_sessions
from target_sprinto.push.protocol.arguments import RUN_UUID
from target_sprinto.push.protocol.timestamps import iso
from target_sprinto.push.retries import RetryPolicy
from target_sprinto.push.text import short

_RECENT = timedelta(hours=2)
"""Read first, because two days may have more events than can be read in time."""


@dataclass(frozen=True)
class ActiveSession:
    """The active session according to the activity log. `now` is Sprinto's time, if known.

    `log_is_whole`: the log was not cut off; otherwise it may be another session.
    """

    session: LoggedSession
    now: datetime | None
    log_is_whole: bool = True

    def describe(self) -> str:
        """Id, age, reference and last event, in a clause."""
        parts = [f"{'' if self.log_is_whole else 'perhaps '}session {self.session.id}"]
        if self.session.created_at:
            parts.append(f"opened {_when(self.session.created_at, self.now)}")
        reference = self.session.reference
        parts.append(f"reference '{short(reference, 64)}'" if reference else "reference not shown")
        if self.session.last_at:
            parts.append(f"last event {_when(self.session.last_at, self.now)}")
        return ", ".join(parts)

    def was_opened_by_another(self, reference: str) -> bool:
        """Whether the log shows that a run with another reference opened it."""
        return self.log_is_whole and self.session.reference not in {None, reference}

    def was_left_by(self, own_prefix: str | None) -> bool:
        """Whether it belongs to this pipeline and is not held."""
        # The prefix may itself contain a slash: only the uuid may follow it.
        prefix, _, run_uuid = (self.session.reference or "").rpartition("/")
        return prefix == own_prefix and re.fullmatch(RUN_UUID, run_uuid) is not None


def find_active_session(client: ApiClient, retry_policy: RetryPolicy) -> ActiveSession | None:
    """The session opened last, if the activity log shows one. Raises ApiError if it cannot be read.

    The API allows only one active session, so if one is active, it is this one.
    """
    found = None
    for age in (_RECENT, LOOK_BACK):
        events, is_whole = cut_off(read_events(client, age, retry_policy))
        if sessions := logged_sessions(events):
            found = ActiveSession(sessions[0], client.known_server_time(), is_whole)
        if not is_whole or (found and found.session.created_at):
            break
    return found


def _when(moment: datetime, now: datetime | None) -> str:
    if now is None:
        return f"at {iso(moment)}"
    minutes, seconds = divmod(max(0, int((now - moment).total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min ago" if hours else f"{minutes} min {seconds} s ago"
