"""Checks the contract's promises about a run against the sandbox's record, whatever else happened.

It knows injected faults only through what each response showed the loader: a run is judged by what it could
know and by what it did.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from target_sprinto.push.errors import SprintoError
from target_sprinto.push.run.opening_conflict import OnActiveSession
from tests.support.schedules.evidence import FOREVER, MILLISECONDS, content, counts, is_ours, reference
from tests.support.schedules.mishaps import Heard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from target_sprinto.push.timing import Timings
    from target_sprinto.sandbox import Readings, Session
    from tests.support.sandbox import RequestSeen
    from tests.support.schedules.evidence import Clock, Evidence, Landing, Page
    from tests.support.schedules.reader import Ending, Reader

APPLIED = frozenset({"processing", "processed", "failed"})
SECRET = "s3cr3t"
"""Part of every record: no error may contain it."""

MOMENT_SECONDS = 0.1
"""How long a request sent just before a run's end may take to be recorded."""

SLACK_SECONDS = 3.0
"""How much a busy machine may add to the time limits of a run's end."""


class Limit(enum.Enum):
    """Limits of "all or nothing": cases that the contract excludes because of this API."""

    SLIPPED_IN = "a page lands between the last status and the close: it is seen after the close"
    APPLIED_BY_ANOTHER = "another client applies the session: no loader can undo that"
    ORPHAN = "a create without a response is acted on late: that session stays open until it expires"


@dataclass
class Verdict:
    """The verdict on one run. Every method asserts one row of the contract.

    `limits` are the stated limits that this run has hit.
    """

    reader: Reader
    evidence: Evidence
    clock: Clock
    pace: Timings
    readings: Readings
    limits: set[Limit] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.own = [s for s in self.evidence.sessions if s.client_reference_id == self.reader.reference]

    def so_far(self) -> None:
        """Check what must hold at every moment."""
        for session in self.own:
            self.is_whole(session)
            self.is_checked_before_it_is_applied(session)
            self.lets_others_be_processed_first(session)
            self.counts_are_unchanged_after_a_resend(session)
            self.is_never_discarded_once_it_may_be_applied(session)
            self.is_applied_from_expired_only_as_the_latest(session)
            self.sends_no_page_twice_unless_it_was_lost(session)
        self.touches_no_other_session()

    def at_the_end(self) -> None:
        """Check what must hold once the run has ended."""
        self.so_far()
        ending = self.reader.ending
        assert ending is not None
        if ending.summary is not None:
            self.was_processed(ending)
        else:
            self.reports_the_truth(ending)
            self.ended_in_time(ending)
        self.reports_every_open_session(ending)

    # All or nothing

    def is_whole(self, session: Session) -> None:
        """A run is applied completely or not at all: at the last status before the close, it was complete."""
        close = self.evidence.applied_by(session.id)
        if close is None:
            assert session.state not in APPLIED
            return
        if not is_ours(close):
            self.limits.add(Limit.APPLIED_BY_ANOTHER)
            return
        status_reads = self.evidence.status_reads(session.id, before=close.at)
        assert status_reads, "applied without reading the counts"
        last_read = status_reads[-1].acted_at or 0
        landings = self.evidence.landings(session.id)
        seen = [landing for landing in landings if landing.at <= last_read]
        assert is_the_run(self.reader.records, seen), (self.reader.records, seen)
        for late in landings[len(seen) :]:
            self.limits.add(Limit.SLIPPED_IN)
            # Only a page that was checked and had not landed may arrive late: no client could know about it.
            assert not is_ours(late.request) or (
                self.evidence.heard(late.request) is Heard.UNKNOWN and late.request.at < last_read
            ), late

    def is_checked_before_it_is_applied(self, session: Session) -> None:
        """All pages accepted, no other session processing, the status read; then the close (A run, 4)."""
        for close in self.evidence.closes(session.id, "apply")[:1]:
            status_reads = self._status_reads_after_the_pages(session, close)
            assert status_reads, "applied without reading the counts"
            asked = self._checks_of_others(session, close)
            assert asked, "applied without checking for other sessions"
            # After an expired status comes a check that the session is the latest, with the same call.
            last = asked[0] if self._was_expired(session, status_reads[-1]) else asked[-1]
            assert status_reads[-1].at > last.at

    def lets_others_be_processed_first(self, session: Session) -> None:
        """While another session is processing, wait, at most `processing_timeout_seconds` (A run, 4)."""
        for close in self.evidence.closes(session.id, "apply")[:1]:
            accepted = max(seen.at for seen in self.evidence.of("push", session.id))
            asked = self._checks_of_others(session, close)
            # The wait began with the first check, which may have had no response.
            first = next(seen for seen in self.evidence.of("integration_status") if seen.at > accepted)
            waited = self.clock.real(close.at) - self.clock.real(first.at)
            if waited < self.reader.setting.timeouts.processing * 0.9:
                last = asked[-1].acted_at or 0
                assert not any(self._was_processing(other, last) for other in self.evidence.sessions)

    def _status_reads_after_the_pages(self, session: Session, close: RequestSeen) -> list[RequestSeen]:
        pushes = [seen.at for seen in self.evidence.of("push", session.id)]
        return [
            seen for seen in self.evidence.status_reads(session.id, before=close.at) if seen.at > max(pushes)
        ]

    def _checks_of_others(self, session: Session, close: RequestSeen) -> list[RequestSeen]:
        accepted = max(seen.at for seen in self.evidence.of("push", session.id))
        return [
            seen
            for seen in self.evidence.of("integration_status")
            if self.evidence.heard(seen) is Heard.HAPPENED and accepted < seen.at < close.at
        ]

    def _was_processing(self, session: Session, moment: float) -> bool:
        closed = self.evidence.moment(session.id, "session_closed") or FOREVER
        # After a failed attempt, the session is not `processing` until the retry.
        done = min(
            self.evidence.moment(session.id, ended) or FOREVER
            for ended in ("session_processed", "session_failed")
        )
        return closed < moment - MILLISECONDS and done > moment + MILLISECONDS

    def counts_are_unchanged_after_a_resend(self, session: Session) -> None:
        """After a resend, the counts must be unchanged for a while before the close (What a response means).

        After a stale connection, it is enough that they are unchanged before another page is sent, for
        longer than the interval between the two attempts.
        """
        pushes = self.evidence.of("push", session.id)
        closes = self.evidence.closes(session.id, "apply")
        if not closes:
            return
        at_the_end = [look.at for look in self._status_reads_after_the_pages(session, closes[0])]
        for first, second in self._resends(pushes):
            if self._span(at_the_end) >= self.pace.quiet_period / 2:
                return
            # A further copy may be lost as well; the pairs with the last one hold for all.
            others = (push for push in pushes if not share_a_record(content(first), content(push)))
            left = min((push.at for push in others if push.at > second.at), default=closes[0].at)
            status_reads = [
                look.at for look in self.evidence.status_reads(session.id, before=left) if look.at > second.at
            ]
            between = self.clock.real(second.at) - self.clock.real(first.at)
            assert self._may_have_been_stale(first), "a page that was sent again may have landed twice"
            assert self._span(status_reads) >= between, "a page on a stale connection may have landed twice"

    def _span(self, status_reads: list[float]) -> float:
        return self.clock.real(status_reads[-1]) - self.clock.real(status_reads[0])

    def _may_have_been_stale(self, push: RequestSeen) -> bool:
        """Whether its connection ended without a response, long before its timeout."""
        if push.status is not None or push.ended_at is None:
            return False
        took = self.clock.real(push.ended_at) - self.clock.real(push.at)
        return took < self.reader.setting.timeouts.request / 2

    def _resends(self, pushes: list[RequestSeen]) -> Iterator[tuple[RequestSeen, RequestSeen]]:
        """Pairs of a push in doubt and a later push with a record of the same page."""
        for number, first in enumerate(pushes):
            if self.evidence.heard(first) is not Heard.DID_NOT or first.status == 409:
                for second in pushes[number + 1 :]:
                    if share_a_record(content(first), content(second)):
                        yield first, second

    def sends_no_page_twice_unless_it_was_lost(self, session: Session) -> None:
        """A page in doubt is resolved by two status reads, some time apart, before it is resent."""
        landed = {landing.request.nth: landing.at for landing in self.evidence.landings(session.id)}
        for first, second in self._resends(self.evidence.of("push", session.id)):
            status_reads = [
                seen
                for seen in self.evidence.status_reads(session.id, before=second.at)
                if seen.at > first.at
            ]
            # A keep-alive read may follow the two. After a stale connection,
            # they are closer together than after other losses.
            shown = [at + self.readings.counts_lag_seconds for at in landed.values()]
            assert any(
                self.clock.real(later.at) - self.clock.real(look.at) >= self.pace.recheck_interval_stale / 2
                and not any((look.acted_at or 0) < at <= (later.acted_at or 0) for at in shown)
                for look, later in combinations(status_reads, 2)
            )
            assert landed.get(first.nth, FOREVER) > (status_reads[-1].acted_at or 0), (first, second)

    def is_never_discarded_once_it_may_be_applied(self, session: Session) -> None:
        """Nothing is discarded once a close(apply) may have reached Sprinto (A run, 6)."""
        sent = [
            seen.at
            for seen in self.evidence.closes(session.id, "apply")
            if self.evidence.heard(seen) is not Heard.DID_NOT
        ]
        for discard in self.evidence.closes(session.id, "discard"):
            assert discard.at < min(sent, default=FOREVER), "discarded what may be applied"

    def is_applied_from_expired_only_as_the_latest(self, session: Session) -> None:
        """An expired session is applied only if the activity log shows no later creation."""
        for close in self.evidence.closes(session.id, "apply"):
            status_reads = self.evidence.status_reads(session.id, before=close.at)
            if not self._was_expired(session, status_reads[-1]):
                continue
            asked = [
                seen.acted_at
                for seen in self.evidence.of("activity")
                if self.evidence.heard(seen) is Heard.HAPPENED and seen.acted_at and seen.at < close.at
            ]
            later = [s.created_at for s in self.evidence.sessions if s.created_at > session.created_at]
            assert asked[-1] < min(later, default=FOREVER)

    def _was_expired(self, session: Session, status_read: RequestSeen) -> bool:
        expired = self.evidence.moment(session.id, "session_expired")
        return expired is not None and (status_read.acted_at or 0) > expired + MILLISECONDS

    def touches_no_other_session(self) -> None:
        """Pages and `apply` go to the run's own session; of others, only a stale one may be discarded."""
        references = {session.id: session.client_reference_id for session in self.evidence.sessions}
        policy = self.reader.setting.policy
        dead = re.compile(rf"{policy.own_prefix}/[0-9a-f-]{{36}}")
        for seen in self.own_requests():
            if seen.operation == "create":
                assert reference(seen) == self.reader.reference
            if seen.operation not in {"push", "close"}:
                continue
            meant = references[seen.session_id or ""]
            if meant == self.reader.reference:
                continue
            assert seen.operation == "close"
            assert b"discard" in seen.body
            assert policy.choice is OnActiveSession.DISCARD
            assert self._silence(seen) >= policy.stale_seconds
            assert dead.fullmatch(meant or ""), meant

    def _silence(self, discard: RequestSeen) -> float:
        """How long the session had shown no sign of life at the last status read before its discard."""
        session = self.evidence.session(discard.session_id or "")
        look = self.evidence.status_reads(session.id, before=discard.at)[-1].acted_at or 0
        pages = [one.at for one in self.evidence.landings(session.id) if one.at < look]
        return look - max([session.created_at, *pages])

    def is_own(self, seen: RequestSeen) -> bool:
        """Whether any client's request is about this run's session."""
        if seen.operation == "create":
            return reference(seen) == self.reader.reference
        return seen.session_id in {session.id for session in self.own}

    def own_requests(self) -> list[RequestSeen]:
        """The requests of this run's client, identified by time: runs do not overlap."""
        ended = self.reader.ended_at if self.reader.ending else FOREVER
        return [
            seen for seen in self.evidence.ours if self.reader.began_at <= self.clock.real(seen.at) <= ended
        ]

    # The end

    def was_processed(self, ending: Ending) -> None:
        """`finish` returned: the session is processed with exactly the run's records."""
        summary = ending.summary
        assert summary is not None
        assert summary.records == Counter(name for name, _ in self.reader.records)
        if not self.reader.records:
            assert summary.session_id is None
            assert not [s for s in self.own_requests() if s.operation != "activity"]
            return
        session = self.evidence.session(summary.session_id or "")
        assert session in self.own
        assert session.state == "processed"
        landings = self.evidence.landings(session.id)
        assert is_the_run(self.reader.records, landings), (self.reader.records, landings)
        assert summary.pages == len(landings)

    def reports_the_truth(self, ending: Ending) -> None:
        """One clear line with a code and the session's outcome, and without record values."""
        failure = ending.failure
        assert isinstance(failure, SprintoError), repr(failure)
        failure.session_outcome = ending.session_outcome
        assert SECRET not in str(failure)
        assert str(failure).endswith(f"[{failure.code}]")
        for pattern, holds in SENTENCES:
            if found := re.fullmatch(pattern, ending.session_outcome):
                assert holds(self, *found.groups()), ending.session_outcome
                return
        raise AssertionError(f"not a sentence of the contract: {ending.session_outcome!r}")

    def ended_in_time(self, ending: Ending) -> None:
        """At most 10 s after a signal, 30 s after an error (A run, 5 and 6)."""
        assert ending.took_seconds < self.pace.shutdown_timeout + SLACK_SECONDS
        if self.reader.interrupted_at is not None:
            took = self.reader.ended_at - self.reader.interrupted_at
            assert took < self.pace.signal_shutdown_timeout + SLACK_SECONDS

    def reports_every_open_session(self, ending: Ending) -> None:
        """No session is left active except one that the sentence names or mentions as possible."""
        message = re.search(
            r"discard is not confirmed|may be open until|an apply request", ending.session_outcome
        )
        kept = ending.summary.session_id if ending.summary else None
        for session in self.own:
            if session.state == "active" and not message:
                assert session.id != kept
                assert self.is_orphan(session), ending.session_outcome
                self.limits.add(Limit.ORPHAN)

    def is_orphan(self, session: Session) -> bool:
        """Whether a session was created by a create without a response, and is not the one in use."""
        creates = [seen for seen in self.evidence.of("create") if reference(seen) == self.reader.reference]
        lost = [seen for seen in creates if self.evidence.heard(seen) is Heard.UNKNOWN]
        used = {seen.session_id for seen in self.evidence.of("push")}
        return bool(lost) and session.id not in used

    def after_all(self, others: Iterable[Reader]) -> None:
        """Check what must hold finally, after everything that was held was released."""
        self.so_far()
        ending = self.reader.ending
        assert ending is not None
        for seen in self.evidence.ours:
            at = self.clock.real(seen.at)
            reads = seen.operation == "status" or (seen.operation == "close" and b"discard" in seen.body)
            # A later run may read this run's session, and discard it.
            by_another = reads and any(other.began_at <= at <= other.ended_at for other in others)
            if self.is_own(seen) and not by_another:
                assert at < self.reader.ended_at + MOMENT_SECONDS, seen
        if (
            "nothing was applied" in ending.session_outcome
            or "No session was opened" in ending.session_outcome
        ):
            for session in self.own:
                assert session.state not in APPLIED or Limit.APPLIED_BY_ANOTHER in self.limits

    # Sentences

    def nothing_opened(self) -> bool:
        return not self.own

    def discarded(self, session_id: str) -> bool:
        return self.evidence.session(session_id).state == "cancelled"

    def ended_otherwise(self, session_id: str, what: str) -> bool:
        """The sentence reports what the run saw; another client may have changed it since."""
        status_reads = [seen.acted_at or 0 for seen in self.evidence.status_reads(session_id)]
        states = self.evidence.states(session_id, since=max(status_reads, default=FOREVER))
        return any(what == clause for state in states for clause in CLAUSES[state])

    def named_with_its_expiry(self, session_id: str) -> bool:
        return self.evidence.session(session_id) in self.own

    def may_be_open(self, message: str) -> bool:
        creates = [seen for seen in self.own_requests() if seen.operation == "create"]
        lost = [seen for seen in creates if self.evidence.heard(seen) is Heard.UNKNOWN]
        # After a signal, a pending response gets a fraction of a second, which a busy machine may exceed.
        stopped = self.reader.interrupted_at or FOREVER
        late = [
            seen for seen in creates if self.clock.real(seen.at) > stopped - self.pace.signal_shutdown_timeout
        ]
        return message == self.reader.reference and bool(lost or late)

    def may_be_applied(self, session_id: str) -> bool:
        closes = self.evidence.closes(session_id, "apply")
        lost = any(self.evidence.heard(seen) is not Heard.DID_NOT for seen in closes)
        # A close rejected because another client had closed the session.
        return lost or (bool(closes) and self.evidence.session(session_id).state in APPLIED)

    def by_its_status(self, what: str) -> bool:
        return any(self.ended_otherwise(session.id, what) for session in self.own)

    def applied_anyway(self, session_id: str) -> bool:
        return self.evidence.session(session_id).state == "processed"


SENTENCES = (
    (r"No session was opened\.", Verdict.nothing_opened),
    (r"Session (\S+) was discarded; nothing was applied\.", Verdict.discarded),
    (r"Session (\S+) was not discarded: (.+)\.", Verdict.ended_otherwise),
    (
        (
            r"Session (\S+) may still be open(?: \(\S+\))?: its discard is not confirmed\. It expires"
            r" (?:2.+Z \(in \d+ min\)|60 minutes after its last request)\."
        ),
        Verdict.named_with_its_expiry,
    ),
    (
        r"A session of this run may be open until 2.+Z \(reference '(.+)'\); .+\.",
        Verdict.may_be_open,
    ),
    (r"Session (\S+) was sent an apply request, and may still be applied\.", Verdict.may_be_applied),
    (r"According to its status (.+)\.", Verdict.by_its_status),
    (r"This was seen only after session (\S+) was applied\.", Verdict.applied_anyway),
)
"""Every sentence that a run may report about its session, and when it is true."""


CLAUSES = {
    "active": (),
    "cancelled": ("it is cancelled; nothing was applied",),
    "expired": ("it is expired; nothing was applied",),
    "processing": ("it is 'processing', and may still be applied",),
    "failed": ("it is 'failed', and may still be applied",),
    "processed": ("it is processed, and what it had accepted was applied",),
}
"""The clauses for a session that the run did not end itself, by state."""


def is_the_run(records: Iterable[tuple[str, bytes]], landings: Iterable[Landing]) -> bool:
    """Whether the pages contain exactly the records: all, in order, without duplicates."""
    left = list(records)
    for landing in landings:
        size = counts(landing.page).total()
        items, left = left[:size], left[size:]
        if landing.page != as_page(items):
            return False
    return not left


def as_page(records: Iterable[tuple[str, bytes]]) -> Page:
    page: Page = {}
    for entity_type, body in records:
        page.setdefault(entity_type, []).append(body)
    return page


def share_a_record(first: Page, second: Page) -> bool:
    return any(set(first[name]) & set(second[name]) for name in first.keys() & second.keys())
