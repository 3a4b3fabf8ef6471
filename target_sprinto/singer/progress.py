"""How far a run is, while it is under way; and at its end, what its time was spent on.

On a terminal that is one live line, elsewhere a line in the log now and then. Nothing is counted here:
the figures come from callables.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field

from target_sprinto.push.run.run import Run
from target_sprinto.push.run.send_queue import RunProgress
from target_sprinto.push.text import pluralize
from target_sprinto.push.timing import Timings
from target_sprinto.push.transport.background import start_thread

log = logging.getLogger(__name__)

_LIVE_SECONDS = 0.2
_COLUMNS = 80


@dataclass(eq=False)
class Progress:
    """Reports on a run from `begin` to `end`, on a thread of its own.

    `records` is asked for how many were read so far, `input_seconds` for how long they were waited for.
    Called from Python, not `by_command`, it keeps silent until the summary. A log gets a line every
    `interval` seconds.
    """

    run: Run
    records: Callable[[], int]
    input_seconds: Callable[[], float]
    _: KW_ONLY
    by_command: bool
    interval: float = Timings.progress_interval
    _ended: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _began: float = field(default_factory=time.monotonic, init=False)

    def begin(self) -> None:
        """The first line of input is about to be read."""
        self._began = time.monotonic()
        if not self.by_command:
            return
        live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        report = self._report_live if live else self._log_now_and_then
        self._thread = start_thread(report, "sprinto-progress")

    def end(self) -> None:
        """No more lines: what follows is the last word."""
        self._ended.set()
        if self._thread is not None:
            # It may be about to write to a terminal that takes nothing.
            self._thread.join(timeout=1.0)

    def summary(self) -> str:
        """How long the run took, and what held it up most: input, Sprinto, or the work done here."""
        took = time.monotonic() - self._began
        spent = {"input": self.input_seconds(), "Sprinto": self.run.blocked_seconds}
        spent["encoding"] = max(0.0, took - sum(spent.values()))
        bottleneck = max(spent, key=lambda name: spent[name])
        others = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in spent.items() if name != bottleneck)
        most = f"bottleneck: {bottleneck}, {spent[bottleneck]:.1f} s"
        return f"in {took:.1f} s; {most} ({others})"

    def _log_now_and_then(self) -> None:
        message, records = "", 0
        while not self._ended.wait(self.interval):
            before, records = records, self.records()
            now = describe(records, self.run.progress())
            if now != message:
                rate = (records - before) / self.interval
                log.info("Progress: %s (%s records a second).", now, f"{rate:,.0f}")
                message = now

    def _report_live(self) -> None:
        from tqdm import tqdm  # noqa: PLC0415 - only a terminal needs it, and start-up is short
        from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415 - as above

        layout = "{desc} | {elapsed}, {rate_fmt}"
        # A terminal that does not know its width says 0, and tqdm would show nothing.
        columns = os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
        with contextlib.ExitStack() as line:
            line.enter_context(logging_redirect_tqdm())
            begun = describe(0, self.run.progress())
            bar = line.enter_context(
                tqdm(
                    file=sys.stderr,
                    desc=begun,
                    unit=" records",
                    bar_format=layout,
                    leave=False,
                    ncols=columns - 1,
                )
            )
            while not self._ended.wait(_LIVE_SECONDS):
                bar.n = self.records()
                bar.set_description_str(describe(bar.n, self.run.progress()))


def describe(records: int, standing: RunProgress) -> str:
    """How far a run has come that has read so many records, in words."""
    pages = pluralize(standing.pages, "page")
    message = f"{pluralize(records, 'record')} read, {pages} accepted, {standing.in_flight} in flight"
    if standing.retries:
        message += f", {standing.retries} sent again"
    if standing.throttled_for:
        message += f", waiting {standing.throttled_for:.0f} s as Sprinto asked"
    return message
