"""Another session is active: name it, wait for it, or take its place."""

from __future__ import annotations

import enum
import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from target_sprinto.push.endpoint import require_text
from target_sprinto.push.errors import ApiError, SessionConflict
from target_sprinto.push.protocol.activity_log import LOOK_BACK, LoggedSession, logged_sessions
from target_sprinto.push.protocol.times import parse_time
from target_sprinto.push.run import options
from target_sprinto.push.run.discarding import Discard, discard_session
from target_sprinto.push.text import shown
from target_sprinto.push.transport import timing
from target_sprinto.push.transport.background import Deadline

if TYPE_CHECKING:
    from target_sprinto.push.client import Patience, SprintoClient

log = logging.getLogger("target_sprinto.push")

_SESSIONS_ASKED = 10
"""Of the sessions that the log shows, how many of the latest are asked for their state."""


class OnActiveSession(enum.Enum):
    """What a run does when another session is active."""

    FAIL = "fail"
    WAIT = "wait"
    DISCARD = "discard"


@dataclass(frozen=True)
class ConflictPolicy:
    """What to do, and its limits in seconds. `own_prefix` is this pipeline's `client_reference_prefix`."""

    choice: OnActiveSession = OnActiveSession.FAIL
    wait_seconds: float = 3900.0
    stale_seconds: float = 600.0
    own_prefix: str = "target-sprinto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "choice", options.choice("choice", OnActiveSession, self.choice))
        options.seconds("wait_seconds", self.wait_seconds)
        options.seconds("stale_seconds", self.stale_seconds)
        require_text("own_prefix", self.own_prefix)


@dataclass(frozen=True)
class Blocker:
    """The session in the way, as far as the activity log and its own status show it."""

    session: LoggedSession
    expiry: str
    now: datetime

    def describe(self) -> str:
        """Id, age, reference, last activity and expiry, in a clause."""
        parts = [f"session {self.session.id}"]
        if self.session.created_at:
            parts.append(f"opened {_ago(self.now - self.session.created_at)}")
        parts.append(
            f"reference '{shown(self.session.reference)}'"
            if self.session.reference
            else "reference not shown"
        )
        if self.session.last_at:
            parts.append(f"last active {_ago(self.now - self.session.last_at)}")
        return f"{', '.join(parts)}, expires {self.expiry}"

    def is_dead(self, policy: ConflictPolicy) -> bool:
        """Whether `discard` may take it over: this pipeline's own, not held, and silent for long enough."""
        reference = self.session.reference or ""
        return (
            reference.startswith(f"{policy.own_prefix}/")
            # A prefix may hold a slash itself: what follows it must be the uuid alone.
            and "/" not in reference.removeprefix(f"{policy.own_prefix}/")
            and self.session.last_at is not None
            and (self.now - self.session.last_at).total_seconds() >= policy.stale_seconds
        )


def find_blocker(client: SprintoClient, patience: Patience) -> Blocker | None:
    """The active session, if the activity log shows it. Raises ApiError where it cannot be asked."""
    now = datetime.now(timezone.utc)
    events = client.events(now - LOOK_BACK, patience)
    for session in logged_sessions(events)[:_SESSIONS_ASKED]:
        status = client.session_status(session.id, patience)
        if status.state == "active":
            heard = [at for at in (session.last_at, parse_time(status.updated_at)) if at]
            latest = max(heard) if heard else None
            known = LoggedSession(session.id, session.reference, session.created_at, latest)
            return Blocker(known, status.expiry, now)
    return None


class Conflict:
    """One run's dealings with the session in its way."""

    def __init__(self, client: SprintoClient, policy: ConflictPolicy, patience: Patience) -> None:
        self._client = client
        self._policy = policy
        self._patience = patience
        self._until = time.monotonic() + policy.wait_seconds
        self._said = False

    def make_way(self) -> None:
        """Return when `create` is worth another try. Raises SessionConflict where it is not."""
        if self._policy.choice is OnActiveSession.WAIT and self._said:
            return self._wait("")
        blocker = self._find()
        told = blocker.describe() if blocker else "the activity log does not show which"
        if self._policy.choice is OnActiveSession.WAIT:
            return self._wait(told)
        if self._policy.choice is OnActiveSession.FAIL or blocker is None:
            raise self.refuse(told, blocker)
        if not blocker.is_dead(self._policy):
            raise self.refuse(
                f"{told}; `on_active_session: discard` takes over only what this pipeline left", blocker
            )
        result = discard_session(
            self._client, blocker.session.id, blocker.expiry, Deadline(timing.current.end_after_error)
        )
        log.warning("Taking the place of %s. %s", told, result.sentence)
        if result.outcome is Discard.UNCONFIRMED:
            raise self.refuse(told, blocker)
        return None

    def refuse(self, told: str, blocker: Blocker | None = None) -> SessionConflict:
        """The error that names what is in the way, and what to do."""
        command = (
            f" If a run that died left it: sprintoctl discard {blocker.session.id} --config FILE."
            if blocker
            else ""
        )
        return SessionConflict(
            f"Another session is active ({self._client.address}): {told}.",
            f"Wait until it has ended or expired, or set `on_active_session` to `wait`.{command}",
        )

    def _find(self) -> Blocker | None:
        try:
            return find_blocker(self._client, self._patience)
        except ApiError as failure:
            log.warning("The activity log gave no answer. %s", failure)
            return None

    def _wait(self, told: str) -> None:
        if time.monotonic() >= self._until:
            raise self.refuse(told or "it did not end within `wait_timeout_seconds`")
        if not self._said:
            log.warning("Waiting for another session to end: %s.", told)
            self._said = True
        self._patience.stopped.wait(min(timing.current.ask, max(0.1, self._until - time.monotonic())))


def _ago(age: timedelta) -> str:
    minutes, seconds = divmod(max(0, int(age.total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min ago" if hours else f"{minutes} min {seconds} s ago"
