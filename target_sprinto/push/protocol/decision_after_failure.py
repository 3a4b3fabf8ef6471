"""What to do after a failed call: retry it, check whether it was performed, split the page, give up. Pure."""

from __future__ import annotations

import enum

from target_sprinto.push import errors

RETRYABLE = (errors.NotConnected, errors.Throttled, errors.NotVisible)
"""Definitely not performed, and may succeed next time: for GETs and POSTs."""

RETRYABLE_GET = (*RETRYABLE, errors.ResponseLost)
"""A GET is also retried if it is in doubt."""


def is_in_doubt(failure: errors.ApiError) -> bool:
    """Whether a call may have been performed, so that this is checked before the call is repeated.

    A redirect is not checked: its sender is between this run and Sprinto, and would redirect the check, too.
    """
    return failure.outcome is errors.Outcome.IN_DOUBT and not isinstance(failure, errors.Redirected)


class NextStep(enum.Enum):
    """What to do with a page that was not accepted."""

    RETRY = enum.auto()
    SLOW_DOWN = enum.auto()
    """Retry, with fewer pages in flight (see `pages_in_flight.py`)."""
    RESOLVE = enum.auto()
    SEND_UNCOMPRESSED = enum.auto()
    FIND_REJECTS = enum.auto()
    HALVE = enum.auto()
    GIVE_UP = enum.auto()


def next_step_after(
    failure: errors.ApiError, *, items: int, compressed: bool, proven: bool, keeps_rejects: bool
) -> NextStep:
    """What to do next with a page that was not accepted.

    `compressed`: this try was compressed. `proven`: an earlier compressed page was accepted, so the
    failure cannot be about the compression. `keeps_rejects`: a rejected record does not fail the run.
    """
    if isinstance(failure, RETRYABLE):
        return NextStep.SLOW_DOWN if isinstance(failure, errors.Throttled) else NextStep.RETRY
    if is_in_doubt(failure) or isinstance(failure, errors.Conflict):
        return NextStep.RESOLVE
    refused, too_large = isinstance(failure, errors.PageRefused), isinstance(failure, errors.PageTooLarge)
    about_encoding = isinstance(failure, errors.EncodingRefused) or (refused and not failure.details)
    if about_encoding and compressed and not proven:
        return NextStep.SEND_UNCOMPRESSED
    if keeps_rejects and (refused or too_large):
        return NextStep.FIND_REJECTS
    if too_large and items > 1:
        return NextStep.HALVE
    return NextStep.GIVE_UP
