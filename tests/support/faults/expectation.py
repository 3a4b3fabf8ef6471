"""What the contract says must come of a fault. Pure, and written from the contract alone."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from itertools import compress, product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_sprinto.sandbox import Readings


class Ending(enum.Enum):
    """What becomes of the run's session."""

    PROCESSED = "recovers"
    DRY_RUN = "a dry run to its end: all was staged, and is discarded"
    NOTHING_OPENED = "opens nothing"
    DISCARDED = "discards"
    UNCONFIRMED = "discards, and cannot see it"
    ENDED = "expired, or closed by someone else"
    LEFT_ACTIVE = "left active, and named with its expiry and the command"
    UNSEEN = "left active, and its owner cannot be determined: the line says so"
    MAY_BE_APPLIED = "may still be applied, and named"
    APPLIED_DIFFERS = "applied, and the counts differ: seen only after the close"


@dataclass(frozen=True)
class Expected:
    """`inputs` is how many times the whole input is applied in the end; None where that is the fault's point.

    `says` is in the one ERROR line, `logs` anywhere on stderr. `others` is the state in which sessions
    that are not this run's end up.
    """

    ending: Ending
    code: int
    inputs: int | None = 0
    says: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    others: str | None = None

    @property
    def writes_state(self) -> bool:
        """The contract's table: STATE goes with exit 0, and with nothing else; a dry run has none."""
        return self.code == 0 and self.ending is not Ending.DRY_RUN

    @property
    def temporary(self) -> Expected:
        """The same, where a later try may succeed with nothing changed (the contract: exit 75)."""
        return replace(self, code=75)

    def saying(self, *words: str) -> Expected:
        return replace(self, says=(*self.says, *words))

    def logging(self, *words: str) -> Expected:
        return replace(self, logs=(*self.logs, *words))

    def ending_with(self, code: int) -> Expected:
        """The same, with another exit code: a signal's, say."""
        return replace(self, code=code)


PROCESSED = Expected(Ending.PROCESSED, 0, inputs=1)
DRY_RUN = Expected(Ending.DRY_RUN, 0)
WOULD_BE_REFUSED = Expected(Ending.DRY_RUN, 1, says=("[would-be-refused]",))
NOTHING_OPENED = Expected(Ending.NOTHING_OPENED, 1)
DISCARDED = Expected(Ending.DISCARDED, 1)
UNCONFIRMED = Expected(Ending.UNCONFIRMED, 1)
ENDED = Expected(Ending.ENDED, 1).temporary
"""Nothing of it was applied, and the next run opens another."""
APPLIED_IN_PART = Expected(Ending.ENDED, 1, inputs=None)
"""another client applied a part: no loader can undo that, so what is applied is not looked at."""
LEFT_ACTIVE = Expected(Ending.LEFT_ACTIVE, 1)
UNSEEN = Expected(Ending.UNSEEN, 1).temporary
MAY_BE_APPLIED = Expected(Ending.MAY_BE_APPLIED, 1, inputs=1)
"""Said before it is known: all of it may be there when the run looks no longer."""
NOT_APPLIED_YET = replace(MAY_BE_APPLIED, inputs=0)
APPLIED_DIFFERS = Expected(Ending.APPLIED_DIFFERS, 1, inputs=1)


class Kind(enum.Enum):
    """What a response means."""

    LOST = "in doubt"
    ODD = "in doubt: a 2xx in a shape or with a state that is not documented"
    NOT_NOW = "did not happen, may be sent again"
    NOT_NOW_AT_ALL = "did not happen, may be sent again after the budget is spent"
    FINAL = "did not happen, and will not"
    UNKNOWN = "404"
    UNAUTHORIZED = "401"
    REDIRECT = "never followed"
    CONFLICT = "409"
    BAD_REQUEST = "400 that names no record"
    TOO_LARGE = "413"
    ENCODING = "415"
    REJECTED = "202 that says something was rejected"


NEVER_PERFORMED = frozenset({400, 401, 403, 404, 407, 409, 413, 415, 425, 429})
"""Responses that say: it did not happen. So does 503 with a `Retry-After`."""

PAGES = ("first page", "middle page", "last page")
GETS = ("status", "integration status", "poll")


TEMPORARY = (Kind.LOST, Kind.NOT_NOW, Kind.NOT_NOW_AT_ALL, Kind.CONFLICT)
"""In doubt, 429 or 5xx, another session: a run that fails for it may be tried again."""


def failed(expected: Expected, kind: Kind) -> Expected:
    """A run that fails for a response of this kind."""
    return expected.temporary if kind in TEMPORARY else expected


def refused(moment: str, kind: Kind) -> Expected:
    """It did not happen and is not tried again: the run fails there."""
    if moment == "create":
        return failed(NOTHING_OPENED, kind)
    # After the close nothing is discarded; one that was definitely not performed is followed by a discard.
    return failed(MAY_BE_APPLIED if moment == "poll" else DISCARDED, kind)


def lost_create(readings: Readings) -> Expected:
    """Tried again; the 409 is adopted only where the activity log shows this run's own uuid."""
    return PROCESSED if readings.log_shows_reference else UNSEEN


def after_one(moment: str, kind: Kind, readings: Readings, *, acted: bool) -> Expected:  # noqa: C901, PLR0911 - the rows
    """One invalid response at `moment`; `acted` says whether the server acted anyway."""
    if kind is Kind.NOT_NOW:
        return PROCESSED
    if kind is Kind.UNKNOWN and moment not in {"create", "integration status"}:
        # A replica may not know the session yet.
        return PROCESSED
    if kind is Kind.UNAUTHORIZED and moment == "poll":
        # Once all may be applied, one of these does not end the run.
        return PROCESSED
    if kind in {Kind.NOT_NOW_AT_ALL, Kind.FINAL, Kind.UNKNOWN, Kind.UNAUTHORIZED, Kind.REDIRECT}:
        return refused(moment, kind)
    if kind is Kind.REJECTED:
        return DISCARDED
    if kind is Kind.CONFLICT:
        # Push and close read the status, find `active`, and go on as if in doubt; a create whose obstacle
        # has gone by the time of the look is sent once more.
        return PROCESSED
    if kind is Kind.TOO_LARGE:
        return PROCESSED
    if kind in {Kind.ENCODING, Kind.BAD_REQUEST}:
        # On the first compressed page: once more uncompressed. Later it is about the records.
        return PROCESSED if moment == "first page" else refused(moment, kind)
    if kind is Kind.ODD and moment in GETS:
        return refused(moment, kind)
    if moment == "create" and acted:
        return lost_create(readings)
    return PROCESSED


def while_dividing(kind: Kind) -> Expected:
    """One invalid response to what is sent of a page in place of which others are sent, under `divert`.

    Taken out, or halved again, until each record was accepted or stood alone. 415 is for others to tell.
    """
    hopeless = {Kind.FINAL, Kind.UNAUTHORIZED, Kind.REDIRECT, Kind.NOT_NOW_AT_ALL, Kind.REJECTED}
    return failed(DISCARDED, kind) if kind in hopeless else PROCESSED


def after_losses(pages: Sequence[Mapping[str, int]], landed: Sequence[bool]) -> Expected:
    """Several pages whose responses are lost at once. `landed` says of each whether it was staged.

    The counts must be raised by the items of one possible subset only.
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
        # The discard goes out, and no status confirms it.
        return failed(UNCONFIRMED, kind)
    if moment == "close":
        if kind is not Kind.LOST:
            # The close did not happen, so a discard follows, which does not happen either.
            return failed(LEFT_ACTIVE, kind)
        return PROCESSED if acted else NOT_APPLIED_YET.temporary
    if moment == "poll" or kind is not Kind.LOST:
        return refused(moment, kind)
    if moment == "create":
        if not acted:
            return NOTHING_OPENED.temporary.saying("may be open until")
        # The activity log is asked, and what it shows under this run's uuid is discarded.
        return DISCARDED.temporary if readings.log_shows_reference else UNSEEN
    # A page that landed each time is found out each time.
    return PROCESSED if acted else DISCARDED.temporary
