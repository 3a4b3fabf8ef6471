"""Checks whether the parts of a receipt agree; after a manual edit they seldom do. Pure.

Checks only what is true of every run's receipt. A consistent receipt is not necessarily genuine: only its
signature shows that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from target_sprinto.push.protocol.timestamps import CLOCK_SKEW, parse_time
from target_sprinto.push.text import quoted
from target_sprinto.receipts.document import COMPLETE, Receipt
from target_sprinto.receipts.errors import CountsForged, OutcomeForged, ReceiptForged, TimesForged


def contradiction(receipt: Receipt, name: str) -> ReceiptForged | None:
    """The first contradiction in a receipt as an error, or None. The error's message calls it `name`."""
    for error, find in ((OutcomeForged, _outcome), (CountsForged, _counts), (TimesForged, _times)):
        if found := next(find(receipt), None):
            return error(f"{name} contradicts itself: {found}.", "Do not trust it: it was probably changed.")
    return None


def _outcome(receipt: Receipt) -> Iterator[str]:
    code, error = receipt.exit_code, receipt.error
    if (code == 0) != (receipt.outcome in COMPLETE and error is None):
        yield f"`outcome` {receipt.outcome}, `exit_code` {code}, `error` {error or 'none'}"
    state = receipt.session.state if receipt.session else None
    needed = {"applied": "processed", "held": "active"}.get(receipt.outcome, state)
    if state != needed:
        yield f"`outcome` is {receipt.outcome}, but the session is {state or 'missing'}"
    if receipt.outcome in COMPLETE and receipt.input_sha256 is None:
        yield f"`outcome` is {receipt.outcome}, but `input_sha256` is missing"
    if receipt.outcome != "unfinished" and receipt.number is None:
        yield f"`outcome` is {receipt.outcome}, but `number` is missing"


def _counts(receipt: Receipt) -> Iterator[str]:
    types, pages = receipt.entity_types, receipt.pages
    rejected = Counter(one.entity_type for one in receipt.rejects if one.rejected_by == "sprinto")
    for one in types:
        name = quoted(one.entity_type)
        if sum(one.streams.values()) != one.entities:
            yield f"`entities` of {name} is not the sum over its streams"
        known = one.accepted + rejected[one.entity_type]
        if known != one.entities and receipt.outcome in {"applied", "held"}:
            yield f"`entities` of {name} is {one.entities}, but accepted plus rejected is {known}"
    for field in ("entities", "accepted"):
        by_type, by_page = (sum(getattr(one, field) for one in parts) for parts in (types, pages))
        if by_type != by_page:
            yield f"`{field}` is {by_type} by entity type and {by_page} by page"


def _times(receipt: Receipt) -> Iterator[str]:
    if receipt.outcome == "unfinished":
        return
    begin, end = parse_time(receipt.started_at), parse_time(receipt.ended_at)
    if begin is None or end is None:
        yield "`started_at` or `ended_at` is not a time"
        return
    session, pages = receipt.session, receipt.pages
    times: dict[str, list[str | None]] = {
        "`ended_at`": [receipt.ended_at],
        "a time in `phases`": [step.at for step in receipt.phases],
        "a time in `session`": [session.opened_at, session.state_read_at] if session else [],
        "a time in `pages`": [at for one in pages for at in (one.first_sent_at, one.last_accepted_at)],
    }
    for where, those in times.items():
        moments = [parse_time(at) for at in those if at is not None]
        if not all(one and begin - CLOCK_SKEW <= one <= end + CLOCK_SKEW for one in moments):
            yield f"{where} is not between `started_at` and `ended_at`"
