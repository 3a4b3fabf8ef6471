"""What is to be thought of a run: how it ended, what was broken, and whether it had to be processed. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from courses import SECRET_NUMBER, Plot
from front_door import API_KEY, SECRET, SIGNALS, state_line
from strikes import HORIZON, REFUSED
from wholeness import is_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from courses import Course
    from plays import Evidence, Page

    from target_sprinto.sandbox import SessionView

MAY_BE_APPLIED = "may yet be applied"
USER_AGENT = "target-sprinto"
"""Tells the run's requests from those of somebody else."""


class Broken(enum.Enum):
    """What no run may do, whatever befalls it."""

    PARTIAL = "partial applies"
    EARLY = "early STATEs"
    LEFT = "sessions left behind"
    DISCARD_AFTER_CLOSE = "discards after a close that happened"
    LEAK = "keys, record values or tracebacks on stderr"
    UNTRUE = "words or exit codes that do not fit what happened"
    UNDRAWN = "requests beyond those that faults were drawn for"


class Ending(enum.Enum):
    PROCESSED = "processed, STATE written"
    DISCARDED = "discarded"
    NOTHING_OPENED = "nothing was opened"
    ENDED = "expired, nothing applied"
    MAY_BE_APPLIED = "told to apply, and the line says that it may yet be applied"
    SLIPPED_IN = "a late page slipped in between the last status and the close: seen after it"
    NAMED = "left active: the discard was refused, the line names the session and the command"
    UNSEEN = "left active: a lost create that nobody can see, the line says until when"


@dataclass(frozen=True)
class Verdict:
    """`not_recoverable` says why the contract does not promise `processed`; empty where it does.

    `struck` are the faults that struck, by kind and operation. All else of the evidence is let go: 300 runs
    have more of it than fits.
    """

    course: Course
    ending: Ending
    by_signal: bool
    not_recoverable: tuple[str, ...]
    broken: dict[Broken, list[str]]
    struck: tuple[tuple[str, str], ...]
    pages: int
    records: int
    requests: int
    accepted_pages: int
    story: str

    @property
    def missed(self) -> bool:
        """Whether the run had to be processed and was not."""
        return not self.not_recoverable and self.ending is not Ending.PROCESSED


def judge(evidence: Evidence) -> Verdict:
    broken: dict[Broken, list[str]] = {}
    for kind, text in _broken(evidence):
        broken.setdefault(kind, []).append(text)
    course, ending = evidence.course, _ending(evidence)
    not_recoverable = tuple(_not_recoverable(evidence))
    return Verdict(
        course=replace(course),
        ending=ending,
        by_signal=evidence.code in SIGNALS.values(),
        not_recoverable=not_recoverable,
        broken=broken,
        struck=tuple((struck.strike.kind.name, struck.request.operation) for struck in evidence.struck),
        pages=course.pages,
        records=len(course.records),
        requests=len(evidence.requests),
        accepted_pages=sum(session.accepted_batches for session in evidence.sessions),
        story="\n".join(_story(evidence, ending, broken, not_recoverable)),
    )


def _story(
    evidence: Evidence, ending: Ending, broken: dict[Broken, list[str]], not_recoverable: tuple[str, ...]
) -> Iterator[str]:
    """All that is needed to play it again alone, and what went on."""
    course = evidence.course
    again = f"SOAK_SEED={course.seed} SOAK_RATE={course.rate} SOAK_RUN={course.number}"
    yield f"{course.name}, again alone: {again} pytest -n 0 tests/soak -k one_run"
    yield f"  beside faults: {course.plot.value}; settings: {course.settings}"
    yield f"  ended: {ending.value}; exit code {evidence.code}, {evidence.seconds:.1f} s"
    for kind, texts in broken.items():
        yield from (f"  broken: {kind.value}: {text}" for text in texts)
    yield from (f"  not recoverable: {reason}" for reason in not_recoverable)
    yield from (f"  struck: {struck}" for struck in evidence.struck)
    yield f"  requests: {' '.join(f'{seen.operation}:{seen.status}' for seen in evidence.requests)}"
    yield from (f"  | {line}" for line in evidence.stderr.splitlines() if "| DEBUG" not in line)


def _not_recoverable(evidence: Evidence) -> Iterator[str]:
    if not evidence.course.is_recoverable:
        yield evidence.course.plot.value
    for struck in evidence.struck:
        if not struck.recoverable:
            yield str(struck)


def _ending(evidence: Evidence) -> Ending:
    """Where the session stands, by the sandbox's own word."""
    if not evidence.sessions:
        return Ending.NOTHING_OPENED
    state = evidence.sessions[-1].state
    if state == "processed" and evidence.code == 0:
        return Ending.PROCESSED
    if state == "processed" and not _is_whole(evidence, evidence.applied):
        return Ending.SLIPPED_IN
    if state == "active" and MAY_BE_APPLIED not in error_line(evidence):
        return Ending.UNSEEN if "may be open until" in error_line(evidence) else Ending.NAMED
    return {"cancelled": Ending.DISCARDED, "expired": Ending.ENDED}.get(state, Ending.MAY_BE_APPLIED)


def error_line(evidence: Evidence) -> str:
    lines = [line for line in evidence.stderr.splitlines() if "| ERROR" in line]
    return lines[0] if len(lines) == 1 else ""


def _broken(evidence: Evidence) -> Iterator[tuple[Broken, str]]:
    for kind, found in (
        (Broken.PARTIAL, _partial(evidence)),
        (Broken.EARLY, _early(evidence)),
        (Broken.LEFT, _left(evidence)),
        (Broken.DISCARD_AFTER_CLOSE, _discarded_after_close(evidence)),
        (Broken.LEAK, _leaks(evidence)),
        (Broken.UNTRUE, _untrue(evidence)),
        (Broken.UNDRAWN, _undrawn(evidence)),
    ):
        for text in found:
            yield kind, text


def _partial(evidence: Evidence) -> Iterator[str]:
    """All of the input, in order, or nothing."""
    applied, course = evidence.applied, evidence.course
    if not applied or (course.may_be_applied and _is_whole(evidence, applied)) or _slipped_in(evidence):
        return
    counts = {name: len(records) for name, records in applied.items()}
    sent = {name: len(records) for name, records in course.whole.items()}
    yield f"applied {counts} of {sent}, {len(evidence.diverted)} diverted"


def _is_whole(evidence: Evidence, applied: Page) -> bool:
    course = evidence.course
    refused = any(struck.strike.kind.name == REFUSED for struck in evidence.struck)
    may_be_missing = course.diverts and (refused or course.plot is Plot.REFUSED_RECORD)
    diverted = evidence.diverted if may_be_missing else None
    return is_whole(applied, course.whole, diverted, in_order=course.settings["max_parallel_pages"] == 1)


def _slipped_in(evidence: Evidence) -> bool:
    """The stated limit: all is applied, and once more what landed between the last look and the close."""
    if evidence.code == 0 or evidence.stdout or not evidence.course.may_be_applied:
        return False
    staged = [page for pages in evidence.staged.values() for page in pages]
    once: list[Page] = []
    for page in staged:
        if page not in once:
            once.append(page)
    whole: Page = {}
    for page in once:
        for name, records in page.items():
            whole.setdefault(name, []).extend(records)
    closed = _applied_at(evidence)
    looks = [at for at in _acted(evidence, "status") if at < closed]
    seen_until = max(looks, default=0.0) - evidence.course.readings.counts_lag_seconds
    slipped = [at for at in _acted(evidence, "push") if seen_until < at < closed]
    return (
        _is_whole(evidence, whole)
        and len(staged) - len(once) == len(slipped)
        and "This was seen only after session" in evidence.stderr
    )


def _acted(evidence: Evidence, operation: str) -> list[float]:
    return [seen.acted_at for seen in evidence.requests if seen.operation == operation and seen.acted_at]


def _applied_at(evidence: Evidence) -> float:
    """When the first close(apply) was acted on."""
    return min(
        (
            seen.acted_at
            for seen in evidence.requests
            if seen.operation == "close" and b"apply" in seen.body and seen.acted_at
        ),
        default=float("inf"),
    )


def _early(evidence: Evidence) -> Iterator[str]:
    """STATE is on stdout only once Sprinto has processed the session, and the run has seen that."""
    if not evidence.stdout:
        return
    if evidence.states_at_output != ["processed"]:
        yield f"something came out of stdout while the sessions were {evidence.states_at_output}"
    if evidence.code != 0:
        yield f"STATE with exit code {evidence.code}"
    processed = [session.updated_at for session in evidence.sessions if session.state == "processed"]
    if not any(
        request.operation == "status" and request.status == 200 and (request.acted_at or 0) >= moment
        for request in evidence.requests
        for moment in processed
    ):
        yield "STATE before any status said `processed`"


def _left(evidence: Evidence) -> Iterator[str]:
    """No session is left active but one that the line names, or that nobody can see, which it says."""
    line = error_line(evidence)
    log_is_silent = not evidence.course.readings.log_shows_reference or any(
        struck.request.operation == "activity" for struck in evidence.struck
    )
    for session in evidence.sessions:
        told = "sprintoctl discard" in line or MAY_BE_APPLIED in line
        named = session.id in line and told
        unseen = f"{session.client_reference_id!r}" in line and "may be open until" in line and log_is_silent
        if session.state == "active" and not named and not unseen:
            yield f"session {session.id} is active, and not named"


def _discarded_after_close(evidence: Evidence) -> Iterator[str]:
    if not any(session.state in {"processing", "processed", "failed"} for session in evidence.sessions):
        return
    applied = _applied_at(evidence)
    for seen in evidence.requests:
        own = seen.headers["User-Agent"] == USER_AGENT
        if own and seen.operation == "close" and b"discard" in seen.body and seen.at > applied:
            yield f"close {seen.nth} discards what an earlier one applied"


def _leaks(evidence: Evidence) -> Iterator[str]:
    for secret in (API_KEY, SECRET, str(SECRET_NUMBER)[:-6]):
        if secret in evidence.stderr.lower():
            yield repr(secret)
    if "Traceback" in evidence.stderr:
        yield "a traceback"


def _untrue(evidence: Evidence) -> Iterator[str]:
    """What stderr, stdout and the exit code say against what the sandbox knows."""
    code, line = evidence.code, error_line(evidence)
    signalled = SIGNALS[evidence.course.signal] if evidence.course.plot is Plot.SIGNAL else 1
    if code not in {0, 1, signalled}:
        yield f"exit code {code}"
    yield from _untrue_success(evidence) if code == 0 else _untrue_failure(evidence, line)


def _untrue_success(evidence: Evidence) -> Iterator[str]:
    states = [session.state for session in evidence.sessions]
    if evidence.stdout != state_line():
        yield f"exit code 0, and stdout has {len(evidence.stdout)} characters"
    if states != ["processed"]:
        yield f"exit code 0, and the sessions are {states}"
    if evidence.diverted and "were rejected" not in evidence.stderr:
        yield "exit code 0, and nothing told of what was diverted"
    if "| ERROR" in evidence.stderr:
        yield "exit code 0, and an ERROR"


def _untrue_failure(evidence: Evidence, line: str) -> Iterator[str]:
    if not line:
        yield "no one line that says what happened"
    if "othing was applied" in line and evidence.applied:
        yield "it says that nothing was applied"
    if "othing was opened" in line and evidence.sessions:
        yield "it says that nothing was opened"
    # One before the last has expired, or it would have been in the way.
    for session in evidence.sessions[-1:]:
        if not _is_told(session, line):
            yield f"session {session.id} is {session.state}, which the line does not tell"


def _is_told(session: SessionView, line: str) -> bool:
    if session.state == "active":
        # `_left` looks at it more closely.
        return True
    if session.id not in line:
        return "may be open until" in line
    if session.state in {"cancelled", "expired"}:
        return "othing was applied" in line or "could not be discarded for certain" in line
    return "applied" in line


def _undrawn(evidence: Evidence) -> Iterator[str]:
    for request in evidence.requests:
        if request.nth > HORIZON[request.operation]:
            yield f"{request.operation} {request.nth}"
