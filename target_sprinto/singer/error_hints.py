"""Hints for users of the commands: the hints in `push` are written for Python programs."""

from __future__ import annotations

from collections.abc import Sequence

from target_sprinto.push.errors import SessionConflict, SprintoError
from target_sprinto.push.text import suggested

_HINTS = {
    "page-refused": "Fix them at the source or with a stream map.",
    "processing-failed": "Ask Sprinto's support. No STATE was written: a new run sends everything again.",
    "record-too-large": "Leave large fields out at the tap or with a stream map.",
    "too-few-records": "Check the tap's log; if the low number is correct, lower `expect`.",
}
"""By error code; each replaces the hint of the error's class."""

_SETTINGS = {
    "`Timeouts(processing=…)`": "`processing_timeout_seconds`",
    "`Timeouts(retry=…)`": "`retry_timeout_seconds`",
    "`stale_seconds`": "`stale_session_seconds`",
}
"""By the argument that a hint mentions."""

_CONFLICT_HINTS = {
    "fail": "Wait until it ends, or set `on_active_session: wait`.",
    "wait": "Wait, or raise `wait_timeout_seconds`.",
}
"""By `on_active_session`."""


def advise(failure: SprintoError) -> SprintoError:
    """The error, with a hint that names settings. A hint for the specific case is otherwise kept."""
    hint = failure.hint
    if isinstance(failure, SessionConflict):
        hint = _CONFLICT_HINTS.get(failure.policy, hint)
    elif hint == type(failure).hint:
        hint = _HINTS.get(failure.code, hint)
    for argument, setting in _SETTINGS.items():
        hint = hint.replace(argument, setting)
    failure.advise(hint)
    return failure


def name_blocker(failure: SprintoError, config: Sequence[str]) -> None:
    """Add the commands that end the other session to a session conflict's hint."""
    if not isinstance(failure, SessionConflict) or not failure.session_id:
        return
    discard = suggested("sprintoctl", "discard", failure.session_id, config=config)
    # A command is never shortened, and does not count towards the maximum length.
    if failure.is_to_be_held:
        failure.advise("If it waits for approval: ")
        apply = suggested("sprintoctl", "apply", failure.session_id, "--receipt", "FILE", config=config)
        failure.hint += f"{apply}; or: {discard}."
    else:
        failure.advise(f"{failure.hint} If its run crashed: ")
        failure.hint += f"{discard}."


def how_to_discard(session_id: str | None, config: Sequence[str]) -> str:
    """The command that discards a session that was left open; empty if there is none."""
    if session_id is None:
        return ""
    return f"To discard it: {suggested('sprintoctl', 'discard', session_id, config=config)}."
