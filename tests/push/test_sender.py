"""What follows each error of a page."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, cast

import pytest

from target_sprinto.push import errors
from target_sprinto.push.api_calls import RetryPolicy
from target_sprinto.push.protocol.find_rejects import Split, SubPage
from target_sprinto.push.protocol.lifecycle import OnCountMismatch
from target_sprinto.push.protocol.pages import Item, Page
from target_sprinto.push.protocol.responses import IngestResult
from target_sprinto.push.run.run_options import RunOptions
from target_sprinto.push.run.sender import Accepted, InDoubt, PageSender, PendingPage, Retry, SendOutcome
from target_sprinto.push.run.staged_pages import StagedPages
from target_sprinto.push.timing import Timings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_sprinto.push.api_calls import ApiClient
    from target_sprinto.push.protocol.find_rejects import Reject


class Client:
    """Raises these failures in turn, and then accepts every page; `gzipped` says which were compressed."""

    timings = Timings()

    def __init__(self, *failures: errors.ApiError) -> None:
        self.failures = list(failures)
        self.gzipped: list[bool] = []

    def push_page(self, session_id: str, _body: bytes, _: RetryPolicy, *, gzipped: bool) -> IngestResult:
        self.gzipped.append(gzipped)
        if self.failures:
            raise self.failures.pop(0)
        return IngestResult(session_id, 1)


class KeptRejects:
    def __init__(self) -> None:
        self.confirmed: list[Reject] = []

    def keep(self, rejects: Sequence[Reject]) -> None: ...

    def withdraw(self, rejects: Sequence[Reject]) -> None: ...

    def confirm(self, rejects: Sequence[Reject]) -> None:
        self.confirmed += rejects

    def accepted(self, page: Page) -> None: ...

    def raise_if_none_accepted(self, accepted: Mapping[str, int]) -> None: ...


def sender_of(client: Client, *, compress: bool = True, rejects: KeptRejects | None = None) -> PageSender:
    staged = StagedPages(
        cast("ApiClient", client),
        "session",
        Counter(),
        RetryPolicy(),
        lambda: None,
        OnCountMismatch.DISCARD,
        retire_sizes=lambda _: None,
    )
    return PageSender(staged, RunOptions(compress=compress, rejects=rejects))


def page_of(items: int) -> PendingPage:
    return PendingPage(SubPage(Page(1, tuple(Item("User", b"{}", at) for at in range(items)))), (1,))


def outcome_of(
    failure: errors.ApiError, *, items: int = 5, compress: bool = True, keeps_rejects: bool = False
) -> SendOutcome:
    rejects = KeptRejects() if keeps_rejects else None
    return sender_of(Client(failure), compress=compress, rejects=rejects).send(page_of(items))


@pytest.mark.parametrize("keeps_rejects", [False, True])
def test_a_page_that_was_not_performed_is_retried(*, keeps_rejects: bool) -> None:
    for failure in (errors.NotConnected("x"), errors.NotVisible("x"), errors.Throttled("x")):
        outcome = outcome_of(failure, keeps_rejects=keeps_rejects)
        assert isinstance(outcome, Retry)
        assert outcome.slow_down == isinstance(failure, errors.Throttled)


@pytest.mark.parametrize("keeps_rejects", [False, True])
def test_a_page_in_doubt_is_resolved(*, keeps_rejects: bool) -> None:
    for unknown in (errors.ResponseLost("x"), errors.UnexpectedResponse("x"), errors.Conflict("x")):
        assert outcome_of(unknown, keeps_rejects=keeps_rejects) == InDoubt(unknown)
    with pytest.raises(errors.Redirected):
        outcome_of(errors.Redirected("x"), keeps_rejects=keeps_rejects)


@pytest.mark.parametrize("about_encoding", [errors.PageRefused, errors.EncodingRefused])
@pytest.mark.parametrize("keeps_rejects", [False, True])
def test_a_page_is_sent_uncompressed_if_the_compression_may_be_the_reason(
    about_encoding: type[errors.ApiError], *, keeps_rejects: bool
) -> None:
    client = Client(about_encoding("x"))
    sender = sender_of(client, rejects=KeptRejects() if keeps_rejects else None)
    assert sender.send(page_of(5)) == Accepted()
    assert client.gzipped == [True, False]


@pytest.mark.parametrize("about_encoding", [errors.PageRefused, errors.EncodingRefused])
def test_a_page_is_not_sent_uncompressed_if_that_changes_nothing(
    about_encoding: type[errors.ApiError],
) -> None:
    with pytest.raises(about_encoding):
        outcome_of(about_encoding("x"), compress=False)
    for gzipped in (True, False):
        client = Client()
        proven, pending = sender_of(client), page_of(5)
        assert proven.send(page_of(5)) == Accepted()
        client.failures.append(about_encoding("x"))
        pending.body, pending.gzipped = b"{}", gzipped
        with pytest.raises(about_encoding):
            proven.send(pending)
        assert client.gzipped == [True, gzipped]


def test_rejected_records_fail_the_run_or_are_found() -> None:
    named = errors.PageRefused("x", details=({"index": 0},))
    with pytest.raises(errors.PageRefused):
        outcome_of(named)
    assert isinstance(outcome_of(named, keeps_rejects=True), Split)
    assert isinstance(outcome_of(errors.PageRefused("x"), compress=False, keeps_rejects=True), Split)
    client = Client()
    proven = sender_of(client, rejects=KeptRejects())
    assert proven.send(page_of(5)) == Accepted()
    client.failures.append(errors.PageRefused("x"))
    assert isinstance(proven.send(page_of(5)), Split)


def test_a_page_that_is_too_large_is_halved_or_searched() -> None:
    large = errors.PageTooLarge("x")
    halved = outcome_of(large, items=2)
    assert isinstance(halved, Split)
    assert [len(part.full.items) for part in halved.parts] == [1, 1]
    with pytest.raises(errors.RecordTooLarge):
        outcome_of(large, items=1)
    rejects = KeptRejects()
    assert sender_of(Client(large), rejects=rejects).send(page_of(1)) == Split([], rejects.confirmed)
    assert [reject.code for reject in rejects.confirmed] == ["page-too-large"]
