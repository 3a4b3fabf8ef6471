"""Reports the progress of a run and, at its end, where the time was spent.

On a terminal this is one live line, elsewhere a periodic log line. Nothing is counted here.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from dataclasses import dataclass, field

from target_sprinto.push.run.run import Run
from target_sprinto.push.run.send_queue import RunProgress
from target_sprinto.push.text import pluralize
from target_sprinto.push.timing import Timings
from target_sprinto.push.transport.background import start_thread
from target_sprinto.singer.intake import Intake

log = logging.getLogger(__name__)

_LIVE_SECONDS = 0.2
_COLUMNS = 80


@dataclass(eq=False)
class Progress:
    """Reports on a run from `begin` to `end`, on its own thread; when called from Python, only at the end.

    The log line is written every `interval` seconds.
    """

    run: Run
    intake: Intake
    interval: float = Timings.progress_interval
    _ended: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _began: float = field(default_factory=time.monotonic, init=False)

    def begin(self) -> None:
        """Start, before the first line of input is read."""
        self._began = time.monotonic()
        if not self.intake.reader.by_command:
            return
        live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        report = self._report_live if live else self._log_periodically
        self._thread = start_thread(report, "sprinto-progress")

    def end(self) -> None:
        """Stop, before the outcome is logged."""
        self._ended.set()
        if self._thread is not None:
            # It may be blocked by a terminal that accepts no output.
            self._thread.join(timeout=1.0)

    def summary(self) -> str:
        """How long the run took, and its bottleneck: input, Sprinto, or the work done here."""
        took = time.monotonic() - self._began
        spent = {"input": self.intake.reader.waited_seconds, "Sprinto": self.run.blocked_seconds}
        spent["encoding"] = max(0.0, took - sum(spent.values()))
        bottleneck = max(spent, key=lambda name: spent[name])
        others = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in spent.items() if name != bottleneck)
        return f"in {took:.1f} s; bottleneck: {bottleneck}, {spent[bottleneck]:.1f} s ({others})"

    def _log_periodically(self) -> None:
        message, records = "", 0
        while not self._ended.wait(self.interval):
            before, records = records, self.intake.records
            now = describe(records, self.run.progress())
            if now != message:
                rate = (records - before) / self.interval
                log.info("Progress: %s (%s records a second).", now, f"{rate:,.0f}")
                message = now

    def _report_live(self) -> None:
        from tqdm import tqdm  # noqa: PLC0415 - only a terminal needs it: keeps start-up short
        from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415 - as above

        # tqdm's default lock works between processes, and for that Python 3.14 starts one.
        tqdm.set_lock(threading.RLock())
        layout = "{desc} | {elapsed}, {rate_fmt}"
        # A terminal that does not know its width reports 0, and tqdm would show nothing.
        columns = os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
        with (
            logging_redirect_tqdm(),
            tqdm(
                file=sys.stderr,
                desc=describe(0, self.run.progress()),
                unit=" records",
                bar_format=layout,
                leave=False,
                ncols=columns - 1,
            ) as bar,
        ):
            while not self._ended.wait(_LIVE_SECONDS):
                bar.n = self.intake.records
                bar.set_description_str(describe(bar.n, self.run.progress()))


def describe(records: int, progress: RunProgress) -> str:
    """The progress of a run in words."""
    pages = pluralize(progress.pages, "page")
    message = f"{pluralize(records, 'record')} read, {pages} accepted, {progress.in_flight} in flight"
    if progress.retries:
        message += f", {progress.retries} sent again"
    if progress.throttled_for:
        message += f", waiting {progress.throttled_for:.0f} s as Sprinto asked"
    return message
