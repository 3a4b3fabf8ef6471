from __future__ import annotations

import pytest

from target_sprinto.push import errors
from target_sprinto.push.protocol.decision_after_failure import NextStep, next_step_after


def step_after(
    failure: errors.ApiError,
    *,
    items: int = 5,
    compressed: bool = True,
    proven: bool = False,
    keeps_rejects: bool = False,
) -> NextStep:
    return next_step_after(
        failure, items=items, compressed=compressed, proven=proven, keeps_rejects=keeps_rejects
    )


@pytest.mark.parametrize("keeps_rejects", [False, True])
def test_a_page_that_was_not_performed_is_retried(*, keeps_rejects: bool) -> None:
    for failure in (errors.NotConnected("x"), errors.NotVisible("x")):
        assert step_after(failure, keeps_rejects=keeps_rejects) is NextStep.RETRY
    assert step_after(errors.Throttled("x"), keeps_rejects=keeps_rejects) is NextStep.SLOW_DOWN


@pytest.mark.parametrize("keeps_rejects", [False, True])
def test_a_page_in_doubt_is_resolved(*, keeps_rejects: bool) -> None:
    for unknown in (errors.ResponseLost("x"), errors.UnexpectedResponse("x"), errors.Conflict("x")):
        assert step_after(unknown, keeps_rejects=keeps_rejects) is NextStep.RESOLVE
    assert step_after(errors.Redirected("x"), keeps_rejects=keeps_rejects) is NextStep.GIVE_UP


def test_a_page_is_sent_uncompressed_if_the_compression_may_be_the_reason() -> None:
    for about_encoding in (errors.PageRefused("x"), errors.EncodingRefused("x")):
        assert step_after(about_encoding) is NextStep.SEND_UNCOMPRESSED
        for compressed, proven in [(False, False), (True, True), (False, True)]:
            assert step_after(about_encoding, compressed=compressed, proven=proven) is NextStep.GIVE_UP


def test_rejected_records_fail_the_run_or_are_found() -> None:
    named = errors.PageRefused("x", details=({"index": 0},))
    assert step_after(named) is NextStep.GIVE_UP
    assert step_after(named, keeps_rejects=True) is NextStep.FIND_REJECTS
    assert step_after(errors.PageRefused("x"), keeps_rejects=True) is NextStep.SEND_UNCOMPRESSED
    assert step_after(errors.PageRefused("x"), proven=True, keeps_rejects=True) is NextStep.FIND_REJECTS


def test_a_page_that_is_too_large_is_halved_or_searched() -> None:
    large = errors.PageTooLarge("x")
    assert step_after(large, items=2) is NextStep.HALVE
    assert step_after(large, items=1) is NextStep.GIVE_UP
    assert step_after(large, items=1, keeps_rejects=True) is NextStep.FIND_REJECTS
