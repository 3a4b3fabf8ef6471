"""The life of a run's one session, from the first page to the final status. Pure.

Theory of operation
-------------------
A run has at most one session, which is opened for the first page; until then the run is `UNOPENED`. While the
response to `create` is outstanding (`OPENING`), it is not known whether there is a session. Once the response
or the activity log names it, the session is `OPEN`. If `create` was definitely not performed, the run is
`UNOPENED` again. There are three ways out of `OPEN`:

* `APPLYING`: a `close(apply)` may have reached Sprinto, so nothing is discarded here. The session is `OPEN`
  again only if every attempt of that close was definitely not performed.
* `DISCARDING`: something went wrong before that, or the run was a dry run; no record will be applied.
* held: the session stays open, for another client to review and apply.

`ENDED` is final: the outcome of the session is known, or this run cannot learn more about it. One exception:
another thread has ended the run while its close was in flight, and that close was definitely not performed.
The session is `OPEN` again then, to be discarded.

All transitions are in the table below, which `RunPhase` follows. Any other is a programming error and raises
LookupError.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from target_sprinto.push import errors
from target_sprinto.push.protocol.responses import SessionStatus


class Phase(enum.Enum):
    """How far a run has come with its session."""

    UNOPENED = enum.auto()
    OPENING = enum.auto()
    OPEN = enum.auto()
    APPLYING = enum.auto()
    DISCARDING = enum.auto()
    ENDED = enum.auto()


TRANSITIONS: Mapping[Phase, tuple[Phase, ...]] = {
    Phase.UNOPENED: (Phase.OPENING, Phase.ENDED),
    Phase.OPENING: (Phase.OPEN, Phase.UNOPENED, Phase.ENDED),
    Phase.OPEN: (Phase.APPLYING, Phase.DISCARDING, Phase.ENDED),
    Phase.APPLYING: (Phase.OPEN, Phase.ENDED),
    Phase.DISCARDING: (Phase.DISCARDING, Phase.ENDED),
    Phase.ENDED: (Phase.OPEN,),
}
"""The phases to which each phase may lead."""


class Finish(enum.Enum):
    """What to do with a session once it has accepted all pages."""

    APPLY = "apply"
    HOLD = "hold"
    DISCARD = "discard"


class OnCountMismatch(enum.Enum):
    """What to do if Sprinto's counts differ from those of the sent records."""

    DISCARD = "discard"
    APPLY = "apply"


class Comparison(enum.Enum):
    """Sprinto's counts by entity type, compared with those of the sent records."""

    EQUAL = enum.auto()
    BELOW = enum.auto()
    DIFFERENT = enum.auto()


def compare_counts(sent: Mapping[str, int], accepted: Mapping[str, int]) -> Comparison:
    """EQUAL, BELOW (nothing above, so it may only lag), or DIFFERENT. Both are ``{entity_type: int}``."""
    if dict(sent) == dict(accepted):
        return Comparison.EQUAL
    if all(count <= sent.get(entity_type, 0) for entity_type, count in accepted.items()):
        return Comparison.BELOW
    return Comparison.DIFFERENT


def keep_alive_interval(session: SessionStatus, longest: float) -> float:
    """How long an open session may be idle: a third of its inactivity timeout, at most `longest` seconds."""
    timeout = session.inactivity_timeout_seconds
    documented = isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout > 0
    # Compared before the division: an integer in JSON may be too large for a float.
    return timeout / 3 if documented and timeout < 3 * longest else longest


@dataclass
class ProcessingWatch:
    """Interprets each status after `close(apply)` was accepted. Times are monotonic seconds.

    `failed` is final once it has lasted `failed_seconds` without a retry. An undocumented state is final,
    and never a success.
    """

    failed_seconds: float
    failed_since: float | None = None

    def is_pending(self, status: SessionStatus, now: float) -> bool:
        """Whether Sprinto may still process the session, given this status and the earlier ones."""
        if status.state in {"active", "expired", "processing"}:
            # After a 202, the state before the close means "not yet": the documentation's own sample response
            # still shows `active`, and a close is also allowed from `expired`.
            self.failed_since = None
            return True
        if status.state == "failed" and not status.retried:
            self.failed_since = now if self.failed_since is None else self.failed_since
            return now - self.failed_since < self.failed_seconds
        return False


def nothing_was_applied(state: str) -> bool:
    """Whether Sprinto documents this for a session in this state (Sprinto: Session Management)."""
    return state in {"expired", "cancelled"}


def session_ended(status: SessionStatus, what: str) -> errors.SessionEnded:
    """The error of a run whose session ended early; `what` is the predicate of its message."""
    return errors.SessionEnded(
        f"Session {status.id} {what}: its state is {status.state!r}.",
        temporary=nothing_was_applied(status.state),
    )


def describe_end(state: str) -> str:
    """The outcome, as a clause, of a session that this run did not end itself.

    "Nothing was applied" is stated only if it is documented (Sprinto: Session Management).
    """
    if nothing_was_applied(state):
        return f"it is {state}; nothing was applied"
    if state == "processed":
        return "it is processed, and what it had accepted was applied"
    return f"it is {state!r}, and may still be applied"
