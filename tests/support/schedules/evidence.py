"""One run in the sandbox's record: its requests, pages that landed and when, and sessions."""

from __future__ import annotations

import gzip
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from tests.support.schedules.mishaps import Heard, heard

if TYPE_CHECKING:
    from target_sprinto.sandbox import Session
    from target_sprinto.sandbox.operations import Operation
    from tests.support.sandbox import Fault, FaultySandbox, RequestSeen

Page = dict[str, list[bytes]]

FOREVER = float("inf")
MILLISECONDS = 0.002
"""The precision of event times."""

STATES = {
    "session_created": "active",
    "session_closed": "processing",
    "session_cancelled": "cancelled",
    "session_expired": "expired",
    "session_processed": "processed",
    "session_failed": "failed",
    "processing_retried": "processing",
}
"""The state that an event of the activity log implies."""


@dataclass
class Clock:
    """The sandbox's clock, which can be advanced. `jumps` are (the time then shown, the seconds added)."""

    ahead: float = 0.0
    jumps: list[tuple[float, float]] = field(default_factory=list)

    def __call__(self) -> float:
        return time.time() + self.ahead

    def jump(self, seconds: float) -> None:
        self.ahead += seconds
        self.jumps.append((self(), seconds))

    def real(self, shown: float) -> float:
        """The real time when this clock showed `shown`."""
        return shown - sum(seconds for at, seconds in self.jumps if at <= shown)


@dataclass(frozen=True)
class Landing:
    """An accepted page: when it was accepted, and the request that sent it."""

    at: float
    page: Page
    request: RequestSeen


@dataclass(frozen=True)
class Evidence:
    """One integration at one moment. All times are by the sandbox's clock."""

    requests: list[RequestSeen]
    faults: dict[tuple[Operation, int], Fault]
    sessions: list[Session]
    staged: dict[str, list[Page]]
    events: list[dict[str, Any]]

    @classmethod
    def gather(cls, sandbox: FaultySandbox, integration_id: str, others: list[RequestSeen]) -> Evidence:
        with sandbox.changed:
            sessions = sandbox.sessions(integration_id)
            return cls(
                [*sandbox.requests(integration_id), *others],
                {(struck.operation, struck.nth): struck.fault for struck in sandbox.fired(integration_id)},
                sessions,
                {session.id: sandbox.staged(session.id) for session in sessions},
                sandbox.events(integration_id),
            )

    @cached_property
    def ours(self) -> list[RequestSeen]:
        """The loader's requests, oldest first; other clients use bare `requests`."""
        return [seen for seen in self.requests if is_ours(seen)]

    def of(self, operation: Operation, session_id: str | None = None) -> list[RequestSeen]:
        """The loader's requests of one kind, oldest first."""
        return [
            seen
            for seen in self.ours
            if seen.operation == operation and session_id in (None, seen.session_id)
        ]

    def closes(self, session_id: str, status: str) -> list[RequestSeen]:
        return [seen for seen in self.of("close", session_id) if wanted(seen) == status]

    def heard(self, seen: RequestSeen) -> Heard:
        return heard(seen, self.faults.get((seen.operation, seen.nth)))

    def status_reads(self, session_id: str, before: float = FOREVER) -> list[RequestSeen]:
        """A session's status reads that got a response and were acted on before a moment."""
        return [
            seen
            for seen in self.of("status", session_id)
            if self.heard(seen) is Heard.HAPPENED and seen.acted_at is not None and seen.acted_at < before
        ]

    def session(self, session_id: str) -> Session:
        (found,) = [session for session in self.sessions if session.id == session_id]
        return found

    def moment(self, session_id: str, event_type: str) -> float | None:
        """When something first happened to a session."""
        times = [
            moment(event)
            for event in self.events
            if event["session_id"] == session_id and event["type"] == event_type
        ]
        return times[0] if times else None

    def states(self, session_id: str, since: float) -> set[str]:
        """The states of a session from a moment on, according to the activity log."""
        found = {"active"}
        for event in self.events:
            if event["session_id"] == session_id and event["type"] in STATES:
                if moment(event) < since - MILLISECONDS:
                    found.clear()
                found.add(STATES[event["type"]])
        return found

    def landings(self, session_id: str) -> list[Landing]:
        """A session's accepted pages, each with the request that sent it."""
        pushes = sorted(
            (seen for seen in self.requests if seen.session_id == session_id and seen.operation == "push"),
            key=lambda seen: seen.acted_at or FOREVER,
        )
        found: list[Landing] = []
        pages = iter(self.staged[session_id])
        page = next(pages, None)
        for seen in pushes:
            if page is not None and content(seen) == page:
                # A request that is being acted on at this moment has no time yet.
                found.append(Landing(seen.acted_at or FOREVER, page, seen))
                page = next(pages, None)
        assert page is None, "a staged page that no request brought"
        return found

    def applied_by(self, session_id: str) -> RequestSeen | None:
        """The first request with `apply` that was acted on."""
        if self.moment(session_id, "session_closed") is None:
            return None
        closes = [
            seen
            for seen in self.requests
            if seen.session_id == session_id
            and seen.operation == "close"
            and wanted(seen) == "apply"
            and seen.acted_at is not None
        ]
        return min(closes, key=lambda seen: seen.acted_at or FOREVER)


def story(evidence: Evidence, clock: Clock, began: float) -> str:
    """The loader's requests in order of arrival, one per line, to explain a failure."""
    lines = []
    for seen in sorted(evidence.requests, key=lambda seen: seen.at):
        fault = evidence.faults.get((seen.operation, seen.nth)) if seen.nth else None
        what = wanted(seen) if seen.operation == "close" else f"{seen.items or ''}"
        acted = "" if seen.acted_at is None else f"acted {clock.real(seen.acted_at) - began:.3f}"
        struck = f"{fault.moment} {fault.effect}" if fault else ""
        who = "run" if is_ours(seen) else "another client"
        lines.append(
            f"{clock.real(seen.at) - began:8.3f} {who} {seen.operation} {seen.nth} {what}"
            f" {(seen.session_id or '')[:4]} -> {seen.status} {acted} {struck}"
        )
    return "\n".join(lines)


def moment(event: dict[str, Any]) -> float:
    return msgspec.convert(event["at"], datetime).timestamp()


def is_ours(seen: RequestSeen) -> bool:
    return seen.headers.get("User-Agent") == "target-sprinto"


def wanted(close: RequestSeen) -> str:
    """The status that a close requests."""
    status: str = msgspec.json.decode(close.body)["status"]
    return status


def reference(create: RequestSeen) -> str:
    found: str = msgspec.json.decode(create.body)["client_reference_id"]
    return found


def content(push: RequestSeen) -> Page:
    """A push's page, each record as its bytes; empty if it did not arrive completely."""
    return _decoded(push.body, push.headers.get("Content-Encoding"))


@lru_cache(maxsize=256)
def _decoded(body: bytes, encoding: str | None) -> Page:
    if not body:
        return {}
    raw = gzip.decompress(body) if encoding == "gzip" else body
    entities = msgspec.json.decode(raw, type=dict[str, dict[str, list[msgspec.Raw]]])["entities"]
    return {name: [bytes(record) for record in records] for name, records in entities.items()}


def counts(page: Page) -> Counter[str]:
    return Counter({name: len(records) for name, records in page.items()})
