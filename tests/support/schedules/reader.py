"""The thread that reads the input and calls the run, like a target's main thread."""

from __future__ import annotations

import queue
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.errors import Interrupted, SprintoError
from target_sprinto.push.run.run import Run
from target_sprinto.push.run.run_options import RunOptions, Timeouts
from target_sprinto.push.transport.background import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Condition

    from target_sprinto.push.run.opening_conflict import ConflictPolicy
    from target_sprinto.push.run.result import RunResult


class BadInput(SprintoError):
    """A tap's output that cannot be read: the reader's own reason to end a run."""

    code = "bad-input"


@dataclass(frozen=True)
class Setting:
    """A run's settings."""

    policy: ConflictPolicy
    page_size: int
    compress: bool
    timeouts: Timeouts


@dataclass
class Ending:
    """How a run ended. `took_seconds` is the duration of its `abort`."""

    summary: RunResult | None = None
    failure: BaseException | None = None
    session_outcome: str = ""
    took_seconds: float = 0.0


@dataclass
class Reader:
    """One run and its thread. `changed` is notified whenever a call returns.

    `records` are the added records, as (entity type, JSON bytes), in order. `ending` is None while the run is
    in progress; `finishing` shows whether `finish` was called.
    """

    client: ApiClient
    setting: Setting
    changed: Condition
    records: list[tuple[str, bytes]] = field(default_factory=list)
    finishing: bool = False
    ending: Ending | None = None
    interrupted_at: float | None = None

    def __post_init__(self) -> None:
        self.began_at = time.time()
        self.ended_at = float("inf")
        self._interrupted = threading.Event()
        prefix = self.setting.policy.own_prefix
        assert prefix is not None
        options = RunOptions(
            reference_prefix=prefix,
            page_size=self.setting.page_size,
            compress=self.setting.compress,
            timeouts=self.setting.timeouts,
            on_conflict=self.setting.policy,
            interrupted=self._listen,
        )
        self.run = Run(self.client, options)
        self._deeds: queue.Queue[Callable[[], object]] = queue.Queue()
        self._asked = 0
        self._thread = threading.Thread(target=self._work, name="reader", daemon=True)
        self._thread.start()

    @property
    def reference(self) -> str:
        return f"{self.setting.policy.own_prefix}/{self.run.uuid}"

    @property
    def at_rest(self) -> bool:
        """Whether the run has ended, or every call has returned and no page is in flight."""
        opened = self.run._session._open
        return self.ending is not None or (not self._asked and (opened is None or opened.queue.is_idle))

    # Tasks from the state machine, done by the thread in order.

    def add(self, records: list[tuple[str, bytes]]) -> None:
        def add() -> None:
            for entity_type, body in records:
                self.records.append((entity_type, body))
                self.run.add(entity_type, body, origin=f"line {len(self.records)}")

        self._ask(add)

    def check(self) -> None:
        self._ask(self.run.check)

    def finish(self) -> None:
        def finish() -> None:
            self.finishing = True
            summary = self.run.finish()
            self._end(Ending(summary))

        self._ask(finish)

    def give_up(self) -> None:
        def give_up() -> None:
            raise BadInput("A line could not be read.")

        self._ask(give_up)

    def interrupt(self) -> None:
        if self.interrupted_at is None:
            self.interrupted_at = time.time()
        self._interrupted.set()
        # A reader that waits for input polls at each interval; this reader waits for tasks.
        self._ask(self.run.check)

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _ask(self, deed: Callable[[], object]) -> None:
        with self.changed:
            self._asked += 1
        self._deeds.put(deed)

    def _listen(self) -> None:
        if self._interrupted.is_set():
            raise Interrupted(signal.SIGTERM)

    def _work(self) -> None:
        while self.ending is None:
            deed = self._deeds.get()
            try:
                deed()
            except BaseException as failure:  # noqa: BLE001 - any error ends the run in one place
                self._end(self._abort(failure))
            with self.changed:
                self._asked -= 1
                self.changed.notify_all()

    def _abort(self, failure: BaseException) -> Ending:
        stopped = isinstance(failure, Interrupted)
        began = time.monotonic()
        try:
            timings = ApiClient.timings
            seconds = timings.signal_shutdown_timeout if stopped else timings.shutdown_timeout
            deadline = Deadline(seconds, self._listen, timings.signal_shutdown_timeout)
            sentence = self.run.abort(deadline).session_outcome
        except BaseException as second:  # noqa: BLE001 - `abort` must not raise: the verdict checks it
            return Ending(None, second)
        own = failure.session_outcome if isinstance(failure, SprintoError) else ""
        return Ending(None, failure, own or sentence, time.monotonic() - began)

    def _end(self, ending: Ending) -> None:
        self.ended_at = time.time()
        with self.changed:
            self.ending = ending
            self.changed.notify_all()
