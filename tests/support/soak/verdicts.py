"""The verdict on a run: how it ended, broken promises, and whether it had to be processed. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.support.front_door import API_KEY, SECRET, SIGNALS, state_line
from tests.support.soak.courses import RECEIPT, SECRET_NUMBER, Aim, Demand, Plot
from tests.support.soak.strikes import HORIZON, REFUSED
from tests.support.soak.wholeness import is_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_sprinto.sandbox import Session
    from tests.support.soak.courses import Course
    from tests.support.soak.plays import Evidence, Output, Page

MAY_BE_APPLIED = "may still be applied"
USER_AGENT = "target-sprinto"
"""Distinguishes the run's requests from another client's."""


class Broken(enum.Enum):
    """What no run may do, whatever happens to it."""

    PARTIAL = "partial applies"
    EARLY = "early STATEs"
    LEFT = "sessions left open"
    DISCARD_AFTER_CLOSE = "discards after a close that happened"
    LEAK = "keys, record values or tracebacks on stderr"
    UNTRUE = "messages or exit codes that do not match what happened"
    UNDRAWN = "requests beyond those with a planned fault"


class Ending(enum.Enum):
    PROCESSED = "processed, STATE written"
    APPROVED = "held, then applied by a person: STATE written"
    DECLINED = "held, then discarded by a person"
    DRY_RUN = "a dry run to its end: discarded, no STATE"
    DISCARDED = "discarded"
    NOTHING_OPENED = "no session was opened"
    ENDED = "expired, nothing applied"
    MAY_BE_APPLIED = "sent an apply request, and the line says that it may still be applied"
    SLIPPED_IN = "a late page arrived between the last status and the close: detected after it"
    NAMED = "left active: the discard was rejected, the line names the session and the command"
    UNSEEN = "left active: a lost create that is not visible, the line says until when"


WANTED = {
    Aim.APPLIED: Ending.PROCESSED,
    Aim.HELD_AND_APPLIED: Ending.APPROVED,
    Aim.HELD_AND_DISCARDED: Ending.DECLINED,
    Aim.DRY_RUN: Ending.DRY_RUN,
}


@dataclass(frozen=True)
class Verdict:
    """`not_recoverable` gives the reasons why the contract does not promise the intended end, if any.

    `struck` are the faults that struck, by kind and operation. Other evidence is not kept: 300 runs
    have too much of it.
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
        """Whether the run had to reach its intended end, and did not."""
        return not self.not_recoverable and self.ending is not WANTED[self.course.aim]


def judge(evidence: Evidence) -> Verdict:
    broken: dict[Broken, list[str]] = {}
    for kind, text in _broken(evidence):
        broken.setdefault(kind, []).append(text)
    course, ending = evidence.course, _ending(evidence)
    not_recoverable = tuple(_not_recoverable(evidence))
    return Verdict(
        course=replace(course),
        ending=ending,
        by_signal=evidence.run.code in SIGNALS.values(),
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
    """Everything needed to replay the run alone, and what happened."""
    course = evidence.course
    again = f"SOAK_SEED={course.seed} SOAK_RATE={course.rate} SOAK_RUN={course.number}"
    yield f"{course.name}, again alone: {again} pytest -n 0 tests/soak -k one_run"
    yield f"  beside faults: {course.plot.value}; settings: {course.settings | course.finish}"
    yield f"  to be {course.aim.value}; `expect` asks for {course.demand.value}"
    codes = [(output.words or "run", output.code) for output in (evidence.run, *evidence.persons)]
    yield f"  ended: {ending.value}; exit codes {codes}, {evidence.seconds:.1f} s"
    for kind, texts in broken.items():
        yield from (f"  broken: {kind.value}: {text}" for text in texts)
    yield from (f"  not recoverable: {reason}" for reason in not_recoverable)
    yield from (f"  struck: {struck}" for struck in evidence.struck)
    yield f"  requests: {' '.join(f'{seen.operation}:{seen.status}' for seen in evidence.requests)}"
    yield from (f"  | {line}" for line in evidence.stderr.splitlines() if "| DEBUG" not in line)


def _not_recoverable(evidence: Evidence) -> Iterator[str]:
    if evidence.course.demand is Demand.MORE:
        yield "`expect` requires more than the input has"
    elif not evidence.course.is_recoverable:
        yield evidence.course.plot.value
    for struck in evidence.struck:
        if not struck.recoverable:
            yield str(struck)


def _ending(evidence: Evidence) -> Ending:
    """The run's ending, according to the sandbox."""
    if not evidence.sessions:
        return Ending.NOTHING_OPENED
    state, code = evidence.sessions[-1].state, evidence.last.code
    if state == "processed" and code == 0:
        return Ending.APPROVED if evidence.persons else Ending.PROCESSED
    if state == "cancelled":
        return _of_cancelled(evidence)
    if state == "processed" and not _is_whole(evidence, evidence.applied):
        return Ending.SLIPPED_IN
    if state == "active" and MAY_BE_APPLIED not in error_line(evidence):
        return Ending.UNSEEN if "may be open until" in error_line(evidence) else Ending.NAMED
    return Ending.ENDED if state == "expired" else Ending.MAY_BE_APPLIED


def _of_cancelled(evidence: Evidence) -> Ending:
    if evidence.persons:
        return Ending.DECLINED
    return Ending.DRY_RUN if is_dry_run(evidence) else Ending.DISCARDED


def is_dry_run(evidence: Evidence) -> bool:
    """Whether it was a complete dry run, with or without rejections."""
    run = evidence.run
    ended = run.code == 0 or "[would-be-refused]" in error_line(evidence)
    return evidence.course.aim is Aim.DRY_RUN and ended and "Dry run: " in run.stderr


def error_line(evidence: Evidence) -> str:
    """The error line of the last command."""
    return _error_line(evidence.last)


def _error_line(output: Output) -> str:
    lines = output.stderr.splitlines()
    errors = [line for line in lines if "| ERROR" in line or line.startswith("sprintoctl: ")]
    return errors[0] if len(errors) == 1 else ""


def _broken(evidence: Evidence) -> Iterator[tuple[Broken, str]]:
    for kind, found in (
        (Broken.PARTIAL, _partial(evidence)),
        (Broken.EARLY, _early(evidence)),
        (Broken.LEFT, _left(evidence)),
        (Broken.DISCARD_AFTER_CLOSE, _discarded_after_close(evidence)),
        (Broken.LEAK, _leaks(evidence)),
        (Broken.UNTRUE, _untrue(evidence)),
        (Broken.UNTRUE, _untrue_of_hold(evidence)),
        (Broken.UNDRAWN, _undrawn(evidence)),
    ):
        for text in found:
            yield kind, text


def _partial(evidence: Evidence) -> Iterator[str]:
    """The complete input must be applied, in order, or nothing."""
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
    """The stated limit: all is applied, plus copies that landed between the last status and the close."""
    if evidence.last.code == 0 or evidence.last.stdout or not evidence.course.may_be_applied:
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
    status_times = [at for at in _acted(evidence, "status") if at < closed]
    seen_until = max(status_times, default=0.0) - evidence.course.readings.counts_lag_seconds
    slipped = [at for at in _acted(evidence, "push") if seen_until < at < closed]
    return (
        _is_whole(evidence, whole)
        and len(staged) - len(once) == len(slipped)
        and "This was seen only after session" in evidence.stderr
    )


def _acted(evidence: Evidence, operation: str) -> list[float]:
    return [seen.acted_at for seen in evidence.requests if seen.operation == operation and seen.acted_at]


def _applied_at(evidence: Evidence) -> float:
    """When the first close(apply) was performed."""
    return min(
        (
            seen.acted_at
            for seen in evidence.requests
            if seen.operation == "close" and b"apply" in seen.body and seen.acted_at
        ),
        default=float("inf"),
    )


def _early(evidence: Evidence) -> Iterator[str]:
    """STATE may be on stdout only once the session is processed and the command has read that status."""
    lets_out = [output for output in (evidence.run, *evidence.persons) if output.words != "discard"]
    for output in lets_out:
        if output.stdout:
            yield from _early_from(output, evidence)
    for output in evidence.persons:
        if output.words == "discard" and state_line() in output.stdout:
            yield "STATE from a discard"


def _early_from(output: Output, evidence: Evidence) -> Iterator[str]:
    if output.states_at_output != ["processed"]:
        yield f"something came out of stdout while the sessions were {output.states_at_output}"
    if output.code != 0:
        yield f"STATE with exit code {output.code}"
    ahead = evidence.course.readings.clock_offset_seconds
    processed = [one.updated_at - ahead for one in evidence.sessions if one.state == "processed"]
    if not any(
        request.operation == "status" and request.status == 200 and (request.acted_at or 0) >= moment
        for request in evidence.requests
        for moment in processed
    ):
        yield "STATE before any status said `processed`"


def _left(evidence: Evidence) -> Iterator[str]:
    """No session may be left active unless the line names it, or reports it as not visible."""
    line = error_line(evidence)
    log_is_silent = not evidence.course.readings.log_shows_reference or any(
        struck.request.operation == "activity" for struck in evidence.struck
    )
    for session in evidence.sessions:
        message = "sprintoctl discard" in line or MAY_BE_APPLIED in line
        named = session.id in line and message
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
    """Compare stderr, stdout and the exit code with the sandbox's record."""
    code, line = evidence.run.code, error_line(evidence)
    signalled = SIGNALS[evidence.course.signal] if evidence.course.plot is Plot.SIGNAL else 0
    if code not in {0, signalled} and code not in _due(evidence.run):
        yield f"exit code {code}"
    if evidence.last.code != 0:
        yield from _untrue_failure(evidence, line)
    elif evidence.last.words != "discard":
        yield from _untrue_success(evidence)


TEMPORARY = frozenset(
    {"response-lost", "conflict", "not-connected", "throttled", "processing-timeout", "session-conflict"}
)
"""Codes of errors that may not recur on a later try without changes (the contract's exit code 75)."""
BY_FACT = frozenset({"count-mismatch", "not-discarded", "session-ended"})


def _due(output: Output) -> set[int]:
    """The exit codes that match the error code at the end of the line."""
    code = _error_line(output).rpartition("[")[2].rstrip("]")
    return {75} if code in TEMPORARY else {1, 75} if code in BY_FACT else {1}


def _untrue_success(evidence: Evidence) -> Iterator[str]:
    states = [session.state for session in evidence.sessions]
    dry = evidence.course.aim is Aim.DRY_RUN
    if evidence.last.stdout != ("" if dry else state_line()):
        yield f"exit code 0, and stdout has {len(evidence.last.stdout)} characters"
    if states != ["cancelled" if dry else "processed"]:
        yield f"exit code 0, and the sessions are {states}"
    if evidence.diverted and " rejected (" not in evidence.stderr:
        yield "exit code 0, and no line about what was diverted"
    if "| ERROR" in evidence.stderr:
        yield "exit code 0, and an ERROR"


def _untrue_of_hold(evidence: Evidence) -> Iterator[str]:
    """A run that holds writes no STATE and names the next steps; a person's command reports how it ended."""
    if not evidence.persons:
        return
    session = evidence.sessions[-1].id
    if evidence.run.stdout:
        yield "a run that holds wrote to stdout"
    for command in (f"sprintoctl apply {session} --receipt {RECEIPT}", f"sprintoctl discard {session}"):
        if command not in evidence.run.stderr:
            yield f"a run that holds does not say `{command}`"
    for output in evidence.persons:
        if output.code != 0 and output.code not in _due(output):
            yield f"exit code {output.code} of sprintoctl {output.words}"
        if output.words == "discard" and output.code == 0 and evidence.sessions[-1].state != "cancelled":
            yield f"discarded, and the session is {evidence.sessions[-1].state}"


def _untrue_failure(evidence: Evidence, line: str) -> Iterator[str]:
    if not line:
        yield "no one line that says what happened"
    if is_dry_run(evidence):
        if f"Session {evidence.sessions[-1].id} was discarded" not in evidence.stderr:
            yield "a dry run that does not say that its session was discarded"
        return
    if "othing was applied" in line and evidence.applied:
        yield "it says that nothing was applied"
    if "o session was opened" in line and evidence.sessions:
        yield "it says that no session was opened"
    # Any session before the last has expired, or it would have blocked the last one.
    for session in evidence.sessions[-1:]:
        if not _is_reported(session, line):
            yield f"session {session.id} is {session.state}, which the line does not tell"


def _is_reported(session: Session, line: str) -> bool:
    if session.state == "active":
        # `_left` checks it in detail.
        return True
    if session.id not in line:
        return "may be open until" in line
    if session.state in {"cancelled", "expired"}:
        return "othing was applied" in line or "its discard is not confirmed" in line
    return "applied" in line


def _undrawn(evidence: Evidence) -> Iterator[str]:
    for request in evidence.requests:
        if request.nth > HORIZON[request.operation]:
            yield f"{request.operation} {request.nth}"
