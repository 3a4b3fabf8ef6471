"""The process around a command: stderr never blocks, and no signal changes the exit code at the end.

Imports little, because it is set up first.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
import traceback
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from target_sprinto.private_files import write_all
from target_sprinto.push.transport.background import ResourcesExhausted, start_thread
from target_sprinto.signals import process_signals

if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE_BYTES = 4096
_MAX_WAITING_BYTES = 1 << 20
_STALLED_SECONDS = 1.0
_DRAIN_SECONDS = 10.0
_MIN_DRAIN_SECONDS = 0.2
"""For the last line, if the run took all of its time to end."""


def run(command: Callable[[], object]) -> NoReturn:
    """Run a command and end the process with its exit code.

    Signals are noted until the process is gone. The interpreter's own shutdown would restore handlers that
    end the process, and the exit code of an applied run would be lost.
    """
    if sys.platform == "win32":
        sys.exit("Windows is not supported: run this on Linux or macOS, or in WSL. Nothing was sent.")
    _open_standard_descriptors()
    process_signals.install()
    writer = BackgroundWriter(2)
    encoding = sys.stderr.encoding if sys.stderr is not None else "utf-8"
    stderr = sys.stderr = io.TextIOWrapper(writer, encoding, errors="backslashreplace", write_through=True)
    # `reconfigure` raises if the descriptor of stdout was replaced.
    if isinstance(sys.stdout, io.TextIOWrapper):
        with suppress(OSError):
            sys.stdout.reconfigure(errors="backslashreplace")
    process_signals.before_exit = lambda: _drain(writer)
    code: object = 0
    try:
        command()
    except SystemExit as leaving:
        code = leaving.code
    except ImportError as broken:
        code = f"{broken}. The installation is broken: install target-sprinto in a separate environment."
    except BaseException:  # noqa: BLE001 - Python itself would write it after stderr is gone
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        stderr.write(f"{code}\n")
        code = 1
    logging.shutdown()
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        code = code or 1
    _drain(writer)
    os._exit(code if isinstance(code, int) else 0)


def _drain(stderr: BackgroundWriter) -> None:
    left = max(_MIN_DRAIN_SECONDS, process_signals.exit_by - time.monotonic())
    stderr.drain(_STALLED_SECONDS, min(_DRAIN_SECONDS, left))


def _open_standard_descriptors() -> None:
    """Open those of descriptors 0 to 2 that are closed, or the next file or socket could become stderr."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - stderr
        pass
    os.close(descriptor)


class BackgroundWriter(io.FileIO):
    """Writes to a descriptor on a daemon thread: `write` never waits for it.

    A terminal after Ctrl-S, or a pipe that nothing reads, would otherwise block the run, its keep-alive and
    its signals. At most 1 MiB waits, or the last write if that is larger. The oldest lines beyond that are
    dropped, and a line says how many.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped_lines = 0
        self._busy = False
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def write(self, data: Any) -> int:  # noqa: ANN401 - the buffer protocol has no type before Python 3.12
        """Queue all of it and return at once."""
        chunk = bytes(data)
        with self._changed:
            self._waiting.append(chunk)
            self._waiting_bytes += len(chunk)
            while self._waiting_bytes > _MAX_WAITING_BYTES and len(self._waiting) > 1:
                self._dropped_lines += self._take().count(b"\n")
            if self._thread is None:
                try:
                    self._thread = start_thread(self._write_all, "sprinto-stderr")
                except ResourcesExhausted:
                    # The line may be about this very problem.
                    self._write(self._take())
            self._changed.notify_all()
        return len(chunk)

    def drain(self, stalled_seconds: float, seconds: float) -> None:
        """Wait until all is written: at most `seconds`, and at most `stalled_seconds` without progress."""
        until = time.monotonic() + seconds
        with self._changed:
            while self._busy or self._waiting:
                left = min(until - time.monotonic(), stalled_seconds)
                if left <= 0 or not self._changed.wait(left):
                    return

    def _take(self) -> bytes:
        chunk = self._waiting.popleft()
        self._waiting_bytes -= len(chunk)
        return chunk

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                chunk, self._busy = self._take(), True
                dropped, self._dropped_lines = self._dropped_lines, 0
            if dropped:
                self._write(b"(%d lines were not shown: stderr was blocked.)\n" % dropped)
            self._write(chunk)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _write(self, chunk: bytes) -> None:
        for start in range(0, len(chunk), _PIECE_BYTES):
            try:
                write_all(self.fileno(), chunk[start : start + _PIECE_BYTES])
            except OSError:
                # The reader is gone, or the disk is full: there is no other place to report it.
                return
            with self._changed:
                self._changed.notify_all()
