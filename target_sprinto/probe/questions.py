"""The questions of a probe, in order. `report.py` interprets the responses.

Nineteen requests if nothing goes wrong; more only if counts lag, or if an invalid record is accepted and has
to be made invalid in another way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from target_sprinto.errors import explained
from target_sprinto.probe.evidence import Evidence, PushAttempt, StatusSnapshot
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


def probe(
    client: ApiClient,
    examples: Sequence[Example],
    reference_prefix: str,
    retry_policy: RetryPolicy,
    interrupted: InterruptCheck,
) -> tuple[Evidence, SprintoError | None]:
    """Ask everything in one session, which is always discarded. The error is the one that ended it early."""
    session = ProbedSession(client, reference_prefix, retry_policy, interrupted)
    questions = _Questions(client, session, sorted(examples))
    evidence = questions.evidence
    failure: SprintoError | None = None
    try:
        questions.ask()
    except Exception as problem:  # noqa: BLE001 - reported once the session is discarded
        failure = explained(problem)
    finally:
        ends = session.discard()
    evidence.discarded = all(end.is_discarded for end in ends)
    evidence.left_open = session.left_open
    evidence.session_outcome = " ".join(end.sentence for end in ends) or "No session was opened."
    if failure is not None:
        failure.session_outcome = evidence.session_outcome
    elif not evidence.discarded:
        failure = NotDiscarded(evidence.session_outcome, temporary=any(end.temporary for end in ends))
    return evidence, failure


class _Questions:
    """The questions, one method for each, in the order in which they are asked."""

    def __init__(self, client: ApiClient, session: ProbedSession, examples: Sequence[Example]) -> None:
        types = tuple(example.entity_type for example in examples)
        self.evidence = Evidence(types, session.reference, lag=client.timings.max_count_lag)
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
        self.evidence.conflict = self._session.open_second()

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
        self.evidence.shown_after = self._wait_for_counts(pushed, seconds=self._client.timings.max_count_lag)

    def _push_it_again(self) -> None:
        page = valid_page(self._examples)
        body, gzipped = page.encode(), self.evidence.uncompressed is None
        repeated = self._push(page, compressed(body), "gzip") if gzipped else self._push(page, body)
        self.evidence.repeated = repeated
        self._wait_for_counts(repeated)

    def _push_with_a_page_hint(self) -> None:
        page = valid_page(self._examples, times=2)
        self.evidence.hinted = self._push(page, with_page_hint(page.encode()))

    def _push_in_an_unknown_encoding(self) -> None:
        page = valid_page(self._examples)
        self.evidence.unknown_encoding = unknown = self._push(page, page.encode(), UNKNOWN_ENCODING)
        self._wait_for_counts(*filter(None, (self.evidence.hinted, unknown)))

    def _push_invalid_records(self) -> None:
        sent = self.evidence.invalid
        for invalid in invalid_pages(self._examples):
            pushed = self._push(invalid.page, invalid.page.encode())
            sent.append((invalid, pushed))
            if not pushed.accepted:
                break
        # Together with the log, so that two connections are open when two pages are sent at once.
        events = self._session.start_reading_events()
        self._wait_for_counts(*(pushed for _, pushed in sent))
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
        self._wait_for_counts(*self.evidence.parallel)

    def _wait_for_counts(self, *pages: PushAttempt, seconds: float | None = None) -> float | None:
        """Note the first status that shows these pages, or the last one before the time limit.

        Returns after how many seconds it was requested; None if it does not show them, or has no counts.
        """
        if seconds is None:
            lag = self.evidence.shown_after or 0.0
            seconds = max(self._client.timings.recheck_interval, 2 * lag)
        accepted = sum(page.items for page in pages if page.accepted)
        before, began, shown_after = self._latest.total, time.monotonic(), None
        for wait in self._client.timings.poll_intervals():
            requested_after = time.monotonic() - began
            self._latest = self._session.look()
            total = self._latest.total
            if before is None or total is None:
                break
            if total >= before + accepted:
                shown_after = requested_after
                break
            if requested_after >= seconds:
                break
            self._session.sleep(wait)
        for page in pages:
            page.after = self._latest
        return shown_after

    def _push(self, page: Page, body: bytes, encoding: str | None = None) -> PushAttempt:
        return self._pushed(page, self._session.push(body, encoding))

    def _pushed(self, page: Page, response: Response) -> PushAttempt:
        return PushAttempt(len(page.items), response, before=self._latest)
