"""The questions of a probe, in order. `conclusions.py` interprets the responses.

Nineteen requests if nothing goes wrong; more only if counts lag, or if an invalid record is accepted and has
to be made invalid in another way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from target_sprinto.errors import InternalError
from target_sprinto.probe.evidence import Evidence, PushAttempt, RawResponse, StatusSnapshot
from target_sprinto.probe.examples import Example, invalid_pages, valid_page, with_page_hint
from target_sprinto.probe.session import ProbedSession
from target_sprinto.push.api_calls import ApiClient, RetryPolicy
from target_sprinto.push.errors import ApiError, NotDiscarded, PageRefused, SprintoError
from target_sprinto.push.protocol.field_paths import FieldPaths
from target_sprinto.push.protocol.pages import Page, compressed
from target_sprinto.push.protocol.rejections import describe_rejection
from target_sprinto.push.protocol.responses import PUSH
from target_sprinto.push.transport.background import InterruptCheck
from target_sprinto.push.transport.base import Response

UNKNOWN_ENCODING = "x-target-sprinto-probe"
"""A Content-Encoding that no server supports."""


@dataclass(frozen=True)
class ProbeResult:
    """The evidence of a probe, the outcome of its session, and the error that ended it early, if any.

    `left_open` are the ids of sessions whose discard was not confirmed.
    """

    evidence: Evidence
    session_outcome: str
    failure: SprintoError | None
    left_open: list[str]


def probe(
    client: ApiClient,
    examples: Sequence[Example],
    reference_prefix: str,
    retry_policy: RetryPolicy,
    interrupted: InterruptCheck,
) -> ProbeResult:
    """Ask everything in one session, and discard it, whatever happens."""
    session = ProbedSession(client, reference_prefix, retry_policy, interrupted)
    questions = _Questions(client, session, sorted(examples))
    failure: SprintoError | None = None
    try:
        questions.ask()
    except SprintoError as problem:
        failure = problem
    except Exception as bug:  # noqa: BLE001 - reported as a bug, once the session is discarded
        failure = InternalError(bug)
    finally:
        ends = session.discard()
    questions.evidence.discarded = all(end.is_discarded for end in ends)
    session_outcome = " ".join(end.sentence for end in ends) or "No session was opened."
    if failure is not None:
        failure.session_outcome = session_outcome
    elif not questions.evidence.discarded:
        failure = NotDiscarded(session_outcome, temporary=any(end.temporary for end in ends))
    return ProbeResult(questions.evidence, session_outcome, failure, session.left_open)


class _Questions:
    """The questions, one method for each, in the order in which they are asked."""

    def __init__(self, client: ApiClient, session: ProbedSession, examples: Sequence[Example]) -> None:
        self.evidence = Evidence(tuple(example.entity_type for example in examples), session.reference)
        self.evidence.lag = client.timings.max_count_lag
        self._client = client
        self._session = session
        self._examples = examples
        self._fields = FieldPaths()
        for example in examples:
            properties: dict[str, Any] = {name: {} for name in example.fields}
            self._fields.add(example.entity_type, "", {"properties": properties})
        self._latest: StatusSnapshot

    def ask(self) -> None:
        """Ask all questions. Raises the error that prevents the next one."""
        self._session.open()
        self.evidence.session_id = self._session.id
        self._read_status_twice()
        self._push_an_example()
        self._push_it_again()
        self._push_with_a_page_hint()
        self._push_in_an_unknown_encoding()
        self._push_invalid_records()
        self._push_two_pages_at_once()
        self.evidence.conflict = RawResponse.of(self._session.open_second())

    def _read_status_twice(self) -> None:
        for _ in range(2):
            self._session.sleep(self._client.timings.expiry_margin)
            self._latest = self._session.look()
            self.evidence.idle.append(self._latest)

    def _push_an_example(self) -> None:
        page = valid_page(self._examples)
        body = page.encode()
        response = self._session.push(compressed(body), "gzip")
        self.evidence.compressed = pushed = self._pushed(page, response)
        if response.status >= HTTPStatus.BAD_REQUEST:
            response = self._session.push(body)
            self.evidence.uncompressed = pushed = self._pushed(page, response)
        try:
            self._client.read(PUSH, response)
        except PageRefused as refusal:
            message = describe_rejection(page, refusal, self._fields.find)
            message.advise("Fix the example, then probe again.")
            raise message from None
        self._latest, self.evidence.shown_after = self._session.look_until(
            self._wanted(pushed), self._client.timings.max_count_lag
        )
        self.evidence.after_first = self._latest

    def _push_it_again(self) -> None:
        page = valid_page(self._examples)
        body, gzipped = page.encode(), self.evidence.uncompressed is None
        repeated = self._push(page, compressed(body), "gzip") if gzipped else self._push(page, body)
        self.evidence.repeated = repeated
        self.evidence.after_repeated = self._wait_for_counts(repeated)

    def _push_with_a_page_hint(self) -> None:
        page = valid_page(self._examples, times=2)
        self.evidence.hinted = self._push(page, with_page_hint(page.encode()))

    def _push_in_an_unknown_encoding(self) -> None:
        page = valid_page(self._examples)
        self.evidence.unknown_encoding = unknown = self._push(page, page.encode(), UNKNOWN_ENCODING)
        self.evidence.before_invalid = self._wait_for_counts(*filter(None, (self.evidence.hinted, unknown)))

    def _push_invalid_records(self) -> None:
        sent = self.evidence.invalid
        for invalid in invalid_pages(self._examples):
            pushed = self._push(invalid.page, invalid.page.encode())
            sent.append((invalid, pushed))
            if not pushed.accepted:
                break
        # Together with the log, so that two connections are open when two pages are sent at once.
        events = self._session.start_reading_events()
        self.evidence.after_invalid = self._wait_for_counts(*(pushed for _, pushed in sent))
        try:
            self.evidence.events = self._session.wait(events)
        except ApiError:
            self.evidence.events = None

    def _push_two_pages_at_once(self) -> None:
        pages = [valid_page(self._examples, times) for times in (1, 2)]
        responses = self._session.push_at_once([page.encode() for page in pages])
        self.evidence.parallel = [
            self._pushed(page, response) for page, response in zip(pages, responses, strict=True)
        ]
        self.evidence.after_parallel = self._wait_for_counts(*self.evidence.parallel)

    def _wait_for_counts(self, *pages: PushAttempt) -> StatusSnapshot:
        """The first status that shows these pages, or the last one before the time limit."""
        lag = self.evidence.shown_after or 0.0
        self._latest, _ = self._session.look_until(
            self._wanted(*pages), max(self._client.timings.recheck_interval, 2 * lag)
        )
        return self._latest

    def _wanted(self, *pages: PushAttempt) -> int | None:
        accepted = sum(page.items for page in pages if page.accepted)
        return None if self._latest.total is None else self._latest.total + accepted

    def _push(self, page: Page, body: bytes, encoding: str | None = None) -> PushAttempt:
        return self._pushed(page, self._session.push(body, encoding))

    def _pushed(self, page: Page, response: Response) -> PushAttempt:
        return PushAttempt(len(page.items), self._latest.total, RawResponse.of(response))
