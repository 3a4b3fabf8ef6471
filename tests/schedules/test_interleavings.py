"""A run against the sandbox in random interleavings: pages, faults, other clients, time, interruptions.

The state machine is one integration with one run at a time. A rule gives the run's reader a task, or lets
another client act; while a fault holds a request, rules can act at exactly that moment of the run.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
import traceback
import uuid
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.run.opening_conflict import ConflictPolicy, OnActiveSession
from target_sprinto.push.run.run_options import Timeouts
from target_sprinto.push.timing import Timings
from target_sprinto.sandbox import Readings, SandboxOptions
from tests.support.sandbox import Fault, FaultySandbox, Hang, Late
from tests.support.schedules.evidence import Clock, Evidence, Page, is_ours, story
from tests.support.schedules.mishaps import ACTS, TROUBLES, Act, Trouble
from tests.support.schedules.other_client import OtherClient
from tests.support.schedules.reader import Reader, Setting
from tests.support.schedules.verdict import SECRET, Limit, Verdict, as_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_sprinto.sandbox.options import ProcessingOutcome

INTEGRATION = "integration"
PREFIX = "target-sprinto"
PACE = Timings(
    recheck_interval=0.02,
    quiet_period=0.1,
    max_count_lag=0.15,
    failed_final_after=0.15,
    keep_alive=0.0,
    shutdown_timeout=1.2,
    signal_shutdown_timeout=1.0,
    first_retry_delay=0.02,
    status_poll_interval=0.02,
    create_retry_delay=0.02,
    conflict_poll_interval=0.02,
    shutdown_request_timeout=0.25,
)
PATIENCES = Timeouts(request=0.3, retry=1.0, processing=0.3)
NEVER_SECONDS = 1e6
ENOUGH_SECONDS = 8.0
POLL_INTERVAL = 0.01

READINGS = st.builds(
    Readings,
    # Under `append`, duplicates show.
    apply=st.sampled_from(["append", "append", "upsert", "replace"]),
    ingest_total=st.sampled_from(["page", "session"]),
    status_postpones_expiry=st.booleans(),
    log_shows_reference=st.sampled_from([True, True, False]),
    status_shows_reference=st.booleans(),
    conflict_shows_session=st.booleans(),
    close_response_state=st.sampled_from(["active", "processing"]),
    activity_order=st.sampled_from(["oldest_first", "newest_first"]),
    batches_count_rejected=st.booleans(),
    discard_from_expired=st.booleans(),
    log_shows_refused_creates=st.booleans(),
    log_ends=st.sampled_from(["yes", "yes", "by repeating"]),
)
"""`failed_leaves` is not drawn, because nothing that a loader does could change it; nor is a clock offset,
because the sandbox's clock jumps mid-run."""


@dataclass(frozen=True)
class Batch:
    """Records to add: their entity types, and how many bytes of padding each has."""

    entity_types: list[str]
    padding: int = 0


OUTCOMES: st.SearchStrategy[tuple[ProcessingOutcome, ...]] = st.sampled_from(
    [(), ("failed",), ("failed", "failed")]
)
BATCHES = st.one_of(
    st.builds(Batch, st.lists(st.sampled_from(["User", "Device", "Team"]), max_size=7)),
    st.builds(Batch, st.lists(st.sampled_from(["User", "Team"]), max_size=2), st.just(2_600_000)),
)
ENOUGH_TO_REST = 1.0
PATIENCE = st.sampled_from([ENOUGH_TO_REST, ENOUGH_TO_REST, ENOUGH_TO_REST, 0.0])
"""How long to wait after an action, in seconds: mostly until the run is at rest."""

SETTINGS = st.builds(
    Setting,
    policy=st.builds(
        ConflictPolicy,
        choice=st.sampled_from(OnActiveSession),
        wait_seconds=st.just(0.2),
        # A run waits for the rest of this time.
        stale_seconds=st.sampled_from([0.0, 0.5]),
        own_prefix=st.just(PREFIX),
    ),
    page_size=st.sampled_from([1, 2, 3, 100]),
    compress=st.booleans(),
    timeouts=st.sampled_from([PATIENCES, PATIENCES, replace(PATIENCES, retry=0.0)]),
)


class Interleavings(RuleBasedStateMachine):
    """One integration; `reader` is the current run, `readers` are all runs so far."""

    def __init__(self) -> None:
        super().__init__()
        # Ignore unfinished runs of other tests.
        self._before = set(threading.enumerate())
        self.clock = Clock()
        self.sandbox = FaultySandbox(
            SandboxOptions(integrations=None, processing_seconds=0.0), clock=self.clock
        )
        self.sandbox.start()
        self.other_client = OtherClient(self.sandbox, INTEGRATION)
        self.readers: list[Reader] = []
        self.reader: Reader | None = None
        self.ending = False
        self.limits: set[Limit] = set()
        self.held_back: list[Fault] = []
        self.acts: dict[Fault, Act] = {}
        self.released: set[Fault] = set()
        self.numbers = itertools.count(1)

    @initialize(
        readings=READINGS,
        silence=st.sampled_from([0.0, 240.0]),
        setting=SETTINGS,
        batch=BATCHES,
        troubles=TROUBLES,
        last_troubles=TROUBLES,
    )
    def begin(  # noqa: PLR0913, PLR0917 - all drawn for every example
        self,
        readings: Readings,
        silence: float,
        setting: Setting,
        batch: Batch,
        troubles: list[Trouble],
        last_troubles: list[Trouble],
    ) -> None:
        self.readings = readings
        self.sandbox.configure(INTEGRATION, readings=readings)
        ApiClient.timings = replace(PACE, keep_alive=silence)
        self.last_troubles = last_troubles
        self.start(setting, batch, troubles)

    # The run

    @precondition(lambda self: self.reader is None and len(self.readers) < 3)
    @rule(setting=SETTINGS, batch=BATCHES, troubles=TROUBLES)
    def start(self, setting: Setting, batch: Batch, troubles: list[Trouble]) -> None:
        client = ApiClient(
            api_key=self.sandbox.options.api_key, integration_id=INTEGRATION, api_url=self.sandbox.base_url
        )
        self.reader = Reader(client, setting, self.sandbox.changed)
        self.readers.append(self.reader)
        self.ending = False
        self.add(batch, troubles, ENOUGH_TO_REST)

    @precondition(lambda self: self.reader and not self.ending)
    @rule(batch=BATCHES, troubles=TROUBLES, seconds=PATIENCE)
    def add(self, batch: Batch, troubles: list[Trouble], seconds: float) -> None:
        self._inject(troubles)
        self._reader.add([(entity_type, self._record(batch.padding)) for entity_type in batch.entity_types])
        self._look_on(seconds)

    @precondition(lambda self: self.reader and not self.ending)
    @rule(troubles=TROUBLES, seconds=PATIENCE)
    def check(self, troubles: list[Trouble], seconds: float) -> None:
        self._inject(troubles)
        self._reader.check()
        self._look_on(seconds)

    @precondition(lambda self: self.reader and not self.ending)
    @rule(whole=st.sampled_from([True, True, True, False]), troubles=TROUBLES, seconds=PATIENCE)
    def end_of_input(self, whole: bool, troubles: list[Trouble], seconds: float) -> None:  # noqa: FBT001 - drawn by name
        self.ending = True
        self._inject(troubles)
        if whole:
            self._reader.finish()
        else:
            self._reader.give_up()
        self._look_on(seconds)

    @precondition(lambda self: self.reader and self.ending)
    @rule()
    def end(self) -> None:
        self._await_end()

    # Other events

    @rule(act=ACTS, seconds=PATIENCE)
    def meanwhile(self, act: Act, seconds: float) -> None:
        self._do(act)
        self._look_on(seconds)

    @rule(seconds=st.sampled_from([0.0, NEVER_SECONDS]), outcomes=OUTCOMES)
    def processing(self, seconds: float, outcomes: tuple[ProcessingOutcome, ...]) -> None:
        """Set how long processing takes from now on, and its outcome."""
        self.sandbox.configure(INTEGRATION, processing_seconds=seconds, processing_outcomes=outcomes)

    # Checks

    def teardown(self) -> None:
        try:
            if self.reader is not None:
                if not self.ending:
                    self._inject(self.last_troubles)
                    self._reader.finish()
                self._await_end()
            self._settle()
            for number, reader in enumerate(self.readers):
                later = self.readers[number + 1 :]
                self._judge(reader, partial(Verdict.after_all, others=later))
            self._compare_applied()
            try:
                self._wait_until(lambda: not self.sandbox.connections)
            except AssertionError:
                for reader in self.readers:
                    verdict = self._verdict(reader)
                    message = story(verdict.evidence, self.clock, reader.began_at)
                    print(reader.setting, reader.ending, message, sep="\n")
                raise
        finally:
            self.sandbox.stop()
        struck = len(self.sandbox.fired(INTEGRATION))
        event(f"struck: {min(struck, 9)}")
        for limit in self.limits:
            event(f"met: {limit.value}")

    # Helpers

    @property
    def _reader(self) -> Reader:
        assert self.reader is not None
        return self.reader

    def _record(self, padding: int) -> bytes:
        number = next(self.numbers)
        return b'{"id":%d,"name":"%s %s"}' % (number, SECRET.encode(), b"x" * padding)

    def _inject(self, troubles: list[Trouble]) -> None:
        seen = Counter(seen.operation for seen in self.sandbox.requests(INTEGRATION))
        for trouble in troubles:
            nth = seen[trouble.operation] + 1 + trouble.skipped
            fault = Fault(trouble.operation, nth, trouble.times, INTEGRATION, trouble.moment, trouble.effect)
            self.sandbox.inject(fault)
            if trouble.act is not None:
                self.acts[fault] = trouble.act
            elif isinstance(trouble.effect, Late):
                self.held_back.append(fault)

    def _release(self, fault: Fault) -> None:
        self.released.add(fault)
        self.sandbox.release(fault)

    def _do(self, act: Act) -> None:
        target = next(
            (s for s in reversed(self.sandbox.sessions(INTEGRATION)) if s.state in {"active", "expired"}),
            None,
        )
        match act:
            case Act.LATE_ONES_LAND:
                for fault in self.held_back:
                    self._release(fault)
            case Act.INTERRUPT if self.reader is not None:
                self.reader.interrupt()
            case Act.OPEN:
                self.other_client.open("another-client")
            case Act.LEAVE:
                self.other_client.open(f"{PREFIX}/{uuid.uuid4()}")
            case Act.HOLD:
                self.other_client.open(f"{PREFIX}/{uuid.uuid4()}/hold")
            case Act.PUSH if target:
                self.other_client.push(target.id, Stranger=[{"id": next(self.numbers)}])
            case Act.APPLY | Act.DISCARD if target:
                self.other_client.close(target.id, "apply" if act is Act.APPLY else "discard")
            case Act.EXPIRE:
                self._jump(3601)

    def _jump(self, seconds: float) -> None:
        with self.sandbox.changed:
            self.clock.jump(seconds)

    def _look_on(self, seconds: float) -> None:
        """Wait until the run is at rest, or waits for a request that is held for the rules."""
        if self.reader is None:
            return
        until = time.monotonic() + seconds
        while not self.reader.at_rest and time.monotonic() < until:
            if (fault := self._held()) is None:
                with self.sandbox.changed:
                    self.sandbox.changed.wait(POLL_INTERVAL)
            elif fault in self.acts:
                self._do(self.acts.pop(fault))
                self._release(fault)
            elif seconds < ENOUGH_SECONDS:
                return

    def _held(self) -> Fault | None:
        """Return the trouble that holds the run's latest request, if any."""
        ours = [seen for seen in self.sandbox.requests(INTEGRATION) if is_ours(seen)]
        if not ours or ours[-1].responded_at is not None:
            return None
        for struck in self.sandbox.fired(INTEGRATION):
            fault = struck.fault
            if (struck.operation, struck.nth) == (ours[-1].operation, ours[-1].nth):
                there = fault.moment == "before" or ours[-1].acted_at is not None
                holds = isinstance(fault.effect, Hang) and fault not in self.released
                return fault if there and holds else None
        return None

    def _await_end(self) -> None:
        self._look_on(ENOUGH_SECONDS)
        reader = self._reader
        if reader.ending is None:
            raise AssertionError(f"the run does not end:\n{stacks()}")
        reader.client.close()
        self.reader = None
        self._judge(reader, Verdict.at_the_end)
        failure = reader.ending.failure
        event(f"ended: {getattr(failure, 'code', 'processed')}")

    def _wait_until(self, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + ENOUGH_SECONDS
        while not holds():
            assert time.monotonic() < until, stacks()
            with self.sandbox.changed:
                self.sandbox.changed.wait(POLL_INTERVAL)

    def _settle(self) -> None:
        """Release everything that is held, and advance time until nothing more can happen."""
        for fault in (*self.held_back, *self.acts):
            self._release(fault)
        late = {
            (fault.operation, nth)
            for fault in self.held_back
            for nth in range(fault.nth, fault.nth + fault.times)
        }
        self.sandbox.wait_for(
            lambda box: all(
                seen.acted_at
                for seen in box.requests(INTEGRATION)
                if (seen.operation, seen.nth) in late
                and (seen.operation, seen.nth)
                in {(f.operation, f.nth) for f in box.fired() if isinstance(f.fault.effect, Late)}
            )
        )
        for thread in set(threading.enumerate()) - self._before:
            if thread.name in {"sprinto-pages", "reader"}:
                thread.join(5.0)
                assert not thread.is_alive(), stacks()
        self._wait_until(lambda: all(one.name != "sprinto-call" for one in threading.enumerate()))
        self._jump(NEVER_SECONDS * 3)

    def _judge(self, reader: Reader, hold: Callable[[Verdict], None]) -> None:
        verdict = self._verdict(reader)
        try:
            hold(verdict)
        except BaseException:
            # In addition to Hypothesis' output: an interleaving that cannot be reproduced would be lost.
            print(
                f"{reader.setting}\n{reader.ending}\n{story(verdict.evidence, self.clock, reader.began_at)}"
            )
            raise
        self.limits |= verdict.limits

    def _verdict(self, reader: Reader) -> Verdict:
        evidence = Evidence.gather(self.sandbox, INTEGRATION, self.other_client.requests)
        return Verdict(reader, evidence, self.clock, ApiClient.timings, self.readings)

    def _compare_applied(self) -> None:
        """The applied records are complete runs that may be applied, in order, and other clients' records."""
        evidence = Evidence.gather(self.sandbox, INTEGRATION, self.other_client.requests)
        whole: dict[str, list[Page]] = {}
        for reader in self.readers:
            verdict = self._verdict(reader)
            verdict.so_far()
            for session in verdict.own:
                if session.state == "processed" and not verdict.limits:
                    whole[session.id] = [as_page(reader.records)]
        tables: dict[str, list[bytes]] = {}
        for entry in evidence.events:
            if entry["type"] == "session_processed":
                pages = whole.get(entry["session_id"], evidence.staged[entry["session_id"]])
                if self.readings.apply == "replace":
                    tables.update({name: [] for page in pages for name in page})
                for page in pages:
                    for name, records in page.items():
                        known = tables.setdefault(name, [])
                        known += [r for r in records if self.readings.apply != "upsert" or r not in known]
        assert self.sandbox.applied(INTEGRATION) == tables


def stacks() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"{names.get(ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    )


@pytest.fixture(autouse=True)
def restored_pace() -> Iterator[None]:
    before = ApiClient.timings
    yield
    ApiClient.timings = before


def interleave(examples: int, *, derandomize: bool) -> None:
    run_state_machine_as_test(
        Interleavings,
        settings=settings(
            max_examples=examples,
            stateful_step_count=16,
            deadline=None,
            database=None,
            derandomize=derandomize,
            # No shrinking: each try takes seconds, and some failures depend on timing alone.
            phases=(Phase.explicit, Phase.generate),
            print_blob=True,
        ),
    )


def test_interleavings() -> None:
    interleave(4, derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("shard", range(8))
def test_many_interleavings(shard: int) -> None:
    """400 in total, in shards spread over the test processes; each draws its own courses."""
    del shard
    interleave(50, derandomize=False)
