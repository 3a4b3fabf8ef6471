"""The outcome of each fault according to the contract. Pure, and written from the contract alone."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from itertools import compress, product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_sprinto.sandbox import Readings


class Ending(enum.Enum):
    """The outcome of the run's session."""

    PROCESSED = "recovers"
    DRY_RUN = "a complete dry run: everything was staged, and is discarded"
    NOTHING_OPENED = "opens nothing"
    DISCARDED = "discards"
    UNCONFIRMED = "discards, but cannot confirm it"
    ENDED = "expired, or closed by someone else"
    LEFT_ACTIVE = "left active, and named with its expiry and the command"
    UNSEEN = "left active, and its owner cannot be determined: the line says so"
    MAY_BE_APPLIED = "may still be applied, and named"
    APPLIED_DIFFERS = "applied, and the counts differ: seen only after the close"


@dataclass(frozen=True)
class Expected:
    """`inputs` is how many times the whole input is finally applied; None if the fault makes that undefined.

    `says` is in the single ERROR line, `logs` anywhere on stderr. `others` is the final state of sessions
    that are not this run's.
    """

    ending: Ending
    code: int
    inputs: int | None = 0
    says: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    others: str | None = None

    @property
    def writes_state(self) -> bool:
        """The contract's table: STATE is written only with exit 0, and never by a dry run."""
        return self.code == 0 and self.ending is not Ending.DRY_RUN

    @property
    def temporary(self) -> Expected:
        """The same, but a later try may succeed without changes (the contract: exit 75)."""
        return replace(self, code=75)

    def saying(self, *words: str) -> Expected:
        return replace(self, says=(*self.says, *words))

    def logging(self, *words: str) -> Expected:
        return replace(self, logs=(*self.logs, *words))

    def ending_with(self, code: int) -> Expected:
        """The same with another exit code, such as a signal's."""
        return replace(self, code=code)


PROCESSED = Expected(Ending.PROCESSED, 0, inputs=1)
DRY_RUN = Expected(Ending.DRY_RUN, 0)
WOULD_BE_REFUSED = Expected(Ending.DRY_RUN, 1, says=("[would-be-refused]",))
NOTHING_OPENED = Expected(Ending.NOTHING_OPENED, 1)
DISCARDED = Expected(Ending.DISCARDED, 1)
UNCONFIRMED = Expected(Ending.UNCONFIRMED, 1)
ENDED = Expected(Ending.ENDED, 1).temporary
"""Nothing was applied, and the next run opens another session."""
APPLIED_IN_PART = Expected(Ending.ENDED, 1, inputs=None)
"""Another client applied a part: no loader can undo that, so the applied records are not checked."""
LEFT_ACTIVE = Expected(Ending.LEFT_ACTIVE, 1)
UNSEEN = Expected(Ending.UNSEEN, 1).temporary
MAY_BE_APPLIED = Expected(Ending.MAY_BE_APPLIED, 1, inputs=1)
"""Reported before it is known: everything may be applied after the run has stopped checking."""
NOT_APPLIED_YET = replace(MAY_BE_APPLIED, inputs=0)
APPLIED_DIFFERS = Expected(Ending.APPLIED_DIFFERS, 1, inputs=1)


class Kind(enum.Enum):
    """What a response means."""

    LOST = "in doubt"
    ODD = "in doubt: a 2xx with an undocumented shape or state"
    NOT_NOW = "not performed, may be retried"
    NOT_NOW_AT_ALL = "not performed, may be retried only after the budget is spent"
    FINAL = "not performed, and not retryable"
    UNKNOWN = "404"
    UNAUTHORIZED = "401"
    REDIRECT = "never followed"
    CONFLICT = "409"
    BAD_REQUEST = "400 that names no record"
    TOO_LARGE = "413"
    ENCODING = "415"
    REJECTED = "202 that says something was rejected"


NEVER_PERFORMED = frozenset({400, 401, 403, 404, 407, 409, 413, 415, 425, 429})
"""Responses that mean "not performed". So does 503 with a `Retry-After`."""

PAGES = ("first page", "middle page", "last page")
GETS = ("status", "integration status", "poll")


TEMPORARY = (Kind.LOST, Kind.NOT_NOW, Kind.NOT_NOW_AT_ALL, Kind.CONFLICT)
"""In doubt, 429 or 5xx, another session: a run that fails for this reason may be retried."""


def failed(expected: Expected, kind: Kind) -> Expected:
    """The outcome of a run that fails because of a response of this kind."""
    return expected.temporary if kind in TEMPORARY else expected


def refused(moment: str, kind: Kind) -> Expected:
    """Not performed and not retried: the run fails there."""
    if moment == "create":
        return failed(NOTHING_OPENED, kind)
    # Nothing is discarded after the close, unless the close was definitely not performed.
    return failed(MAY_BE_APPLIED if moment == "poll" else DISCARDED, kind)


def lost_create(readings: Readings) -> Expected:
    """Retried; the session behind the 409 is adopted only if the activity log shows this run's uuid."""
    return PROCESSED if readings.log_shows_reference else UNSEEN


def after_one(moment: str, kind: Kind, readings: Readings, *, acted: bool) -> Expected:  # noqa: C901, PLR0911 - the rows
    """One invalid response at `moment`; `acted` says whether the server acted anyway."""
    if kind is Kind.NOT_NOW:
        return PROCESSED
    if kind is Kind.UNKNOWN and moment not in {"create", "integration status"}:
        # A replica may not know the session yet.
        return PROCESSED
    if kind is Kind.UNAUTHORIZED and moment == "poll":
        # Once everything may be applied, a single 401 does not end the run.
        return PROCESSED
    if kind in {Kind.NOT_NOW_AT_ALL, Kind.FINAL, Kind.UNKNOWN, Kind.UNAUTHORIZED, Kind.REDIRECT}:
        return refused(moment, kind)
    if kind is Kind.REJECTED:
        return DISCARDED
    if kind is Kind.CONFLICT:
        # Push and close read the status, find `active`, and continue as if in doubt; a create is retried
        # once if the conflicting session is gone.
        return PROCESSED
    if kind is Kind.TOO_LARGE:
        return PROCESSED
    if kind in {Kind.ENCODING, Kind.BAD_REQUEST}:
        # The first compressed page is retried uncompressed. Later, the records are the cause.
        return PROCESSED if moment == "first page" else refused(moment, kind)
    if kind is Kind.ODD and moment in GETS:
        return refused(moment, kind)
    if moment == "create" and acted:
        return lost_create(readings)
    return PROCESSED


def while_dividing(kind: Kind) -> Expected:
    """One invalid response to a part of a rejected page, under `divert`.

    Parts are reduced or halved until each record is accepted or alone. 415 is covered elsewhere.
    """
    hopeless = {Kind.FINAL, Kind.UNAUTHORIZED, Kind.REDIRECT, Kind.NOT_NOW_AT_ALL, Kind.REJECTED}
    return failed(DISCARDED, kind) if kind in hopeless else PROCESSED


def after_losses(pages: Sequence[Mapping[str, int]], landed: Sequence[bool]) -> Expected:
    """Several pages whose responses are lost at once. `landed` says for each whether it was staged.

    Only one subset of the pages may explain the increase of the counts.
    """

    entity_types = {entity_type for page in pages for entity_type in page}
    counts = [[page.get(entity_type, 0) for page in pages] for entity_type in entity_types]

    def raised(subset: Sequence[bool]) -> list[int]:
        return [sum(compress(of_type, subset)) for of_type in counts]

    really = raised(landed)
    same = [subset for subset in product((False, True), repeat=len(pages)) if raised(subset) == really]
    return PROCESSED if len(same) == 1 else DISCARDED.temporary


def after_all(moment: str, kind: Kind, readings: Readings, *, acted: bool) -> Expected:  # noqa: PLR0911 - the rows
    """Every response from `moment` on is invalid, until the retry budget is spent."""
    if moment == "status":
        # The discard is sent, but no status confirms it.
        return failed(UNCONFIRMED, kind)
    if moment == "close":
        if kind is not Kind.LOST:
            # The close was not performed, so a discard follows, which is not performed either.
            return failed(LEFT_ACTIVE, kind)
        return PROCESSED if acted else NOT_APPLIED_YET.temporary
    if moment == "poll" or kind is not Kind.LOST:
        return refused(moment, kind)
    if moment == "create":
        if not acted:
            return NOTHING_OPENED.temporary.saying("may be open until")
        # The activity log is read, and a session with this run's uuid is discarded.
        return DISCARDED.temporary if readings.log_shows_reference else UNSEEN
    # Each lost page that landed is resolved.
    return PROCESSED if acted else DISCARDED.temporary
