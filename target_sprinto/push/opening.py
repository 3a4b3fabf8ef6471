"""The opening of a run's session, and finding out about it where its answer is missing."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import msgspec

from target_sprinto.push.answers import SessionStatus
from target_sprinto.push.discarding import brief
from target_sprinto.push.errors import ApiError, Certainty, SprintoError
from target_sprinto.push.waiting import in_background, wait_for, wait_until

if TYPE_CHECKING:
    from target_sprinto.push.client import Patience, SprintoClient
    from target_sprinto.push.waiting import Check

log = logging.getLogger("target_sprinto.push")

SESSION_EXPIRES_AFTER = timedelta(minutes=60)
"""Default time after its last request (Sprinto: Session Management)."""

_CLOCK_SKEW = timedelta(minutes=5)


class Opening:
    """One `create`, on its way from the moment it is made. `reference` names this run and no other."""

    def __init__(self, client: SprintoClient, reference: str, patience: Patience) -> None:
        self._client = client
        self._reference = reference
        self._began = datetime.now(timezone.utc)
        self._answer = in_background(lambda: client.create_session(reference, patience))

    def wait(self, check: Check) -> SessionStatus:
        """The session. Raises the ApiError that came instead, or what `check` raises."""
        return wait_for(self._answer, check)

    def settle(self, deadline: float) -> SessionStatus | None:
        """The session that was opened all the same, for a run that ends by `deadline` (monotonic seconds).

        Waits for the answer, then asks the activity log. None where nobody can tell; raises the ApiError
        where it surely was not opened.
        """
        # Half of the time is for the answer; the rest is for the log, and for the discard that follows.
        try:
            return wait_until(self._answer, _half_way_to(deadline))
        except ApiError as failure:
            if failure.certainty is Certainty.DID_NOT_HAPPEN:
                raise
        except TimeoutError:
            pass
        until = _half_way_to(deadline)
        try:
            return wait_until(in_background(lambda: self._find_in_log(until)), until)
        except (SprintoError, TimeoutError) as failure:
            log.warning("The activity log gave no answer. %s", failure)
            return None

    def describe_unknown(self) -> str:
        """What to say of a session that may be open, and until when."""
        latest = datetime.now(timezone.utc) + SESSION_EXPIRES_AFTER
        return (
            f"A session of this run may be open until {latest:%Y-%m-%dT%H:%M:%SZ} (reference"
            f" {self._reference!r}); until then another run may be answered with a conflict."
        )

    def _find_in_log(self, until: float) -> SessionStatus | None:
        since = f"{self._began - _CLOCK_SKEW:%Y-%m-%dT%H:%M:%SZ}"
        for event in self._client.events(since, brief(until)):
            session_id = event.get("session_id")
            # Where an event would show the reference is not documented; with its uuid it is found anywhere.
            if isinstance(session_id, str) and self._reference.encode() in msgspec.json.encode(event):
                return SessionStatus(id=session_id, state="active")
        return None


def _half_way_to(deadline: float) -> float:
    now = time.monotonic()
    return now + (deadline - now) / 2
