"""Run behaviour that the command line's exit hides."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.protocol.lifecycle import Phase
from target_sprinto.push.run.observer import RunObserver
from target_sprinto.push.run.result import RunOutcome
from target_sprinto.push.run.run import Run
from target_sprinto.push.run.run_options import RunOptions, Timeouts
from target_sprinto.push.transport.background import ResourcesExhausted
from tests.support.sandbox import Delay, Fault, Hang

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import Effect, FaultySandbox


@pytest.fixture
def client(sandbox: FaultySandbox, integration_id: str) -> Iterator[ApiClient]:
    made = ApiClient(api_key=sandbox.options.api_key, integration_id=integration_id, api_url=sandbox.base_url)
    yield made
    made.close()


@pytest.mark.parametrize("effect", [Hang(), Delay(0.5)])
def test_an_ended_run_sends_no_requests_about_pages_in_flight(
    sandbox: FaultySandbox, integration_id: str, client: ApiClient, effect: Effect
) -> None:
    in_flight = Fault("push", integration_id=integration_id, effect=effect, moment="after")
    sandbox.inject(in_flight)
    run = Run(client, RunOptions(page_size=2, timeouts=Timeouts(request=1.0)))
    for number in range(4):
        run.add("people", b'{"id":%d}' % number)
    sandbox.wait_for(lambda box: bool(box.fired(integration_id)))
    assert "was discarded" in run.abort().session_outcome
    for thread in threading.enumerate():
        if thread.name.startswith("sprinto-"):
            thread.join(5)
    operations = [seen.operation for seen in sandbox.requests(integration_id)]
    assert operations == ["create", "push", "close", "status"]


class FailsAtTheEnd(RunObserver):
    def on_phase(self, phase: Phase) -> None:
        if phase is Phase.ENDED:
            raise OSError("the disk is full")


def test_a_close_without_a_thread_is_not_sent(
    sandbox: FaultySandbox, integration_id: str, client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    class NoThreadFromTheClose(RunObserver):
        def on_phase(self, phase: Phase) -> None:
            if phase is Phase.APPLYING:
                monkeypatch.setattr(threading.Thread, "start", start_no_call)

    def start_no_call(thread: threading.Thread) -> None:
        if thread.name == "sprinto-call":
            raise RuntimeError("can't start new thread")
        start(thread)

    run = Run(client, RunOptions(observer=NoThreadFromTheClose()))
    run.add("people", b"{}")
    with pytest.raises(ResourcesExhausted, match="No thread could be started"):
        run.finish()
    assert run.abort().outcome is RunOutcome.DISCARDED
    operations = [seen.operation for seen in sandbox.requests(integration_id)]
    assert operations == ["create", "push", "integration_status", "status", "close", "status"]


def test_a_failing_observer_does_not_hide_the_outcome(client: ApiClient) -> None:
    run = Run(client, RunOptions(observer=FailsAtTheEnd()))
    run.add("people", b"{}")
    with pytest.raises(OSError, match="the disk is full"):
        run.finish()
    assert run.abort() is run.result
    assert run.result.outcome is RunOutcome.APPLIED
