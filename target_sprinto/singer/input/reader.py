"""Reads the input line by line, each line a message. Waiting for input can be interrupted."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import select
import stat
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

from singer_sdk.singerlib.encoding.base import GenericSingerReader

from target_sprinto import private_files
from target_sprinto.errors import InternalError, InvalidRecord, TapSilent
from target_sprinto.push.errors import ConfigError, SprintoError
from target_sprinto.push.transport.background import POLL_INTERVAL, InterruptCheck
from target_sprinto.singer.input.messages import MAX_LINE_BYTES, invalid_line, parse_message

log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class SprintoReader(GenericSingerReader[bytes]):
    """Reads messages line by line. `line` is the number of the current line, from 1.

    `check` is called while waiting for input, and may raise to stop reading. `reject` is passed a line that
    is invalid only because of a number that JSON cannot represent; it raises unless the record may be left
    out. `guard` is the context in which lines are read. `longest_silence` is the number of seconds without
    input after which a tap on stdin is assumed to have crashed; 0 for none. `by_command`: Python's buffer
    of a file is bypassed, too, so nothing else may have read from the file.
    """

    check: InterruptCheck
    reject: Callable[[bytes, InvalidRecord], None]
    guard: Callable[[], AbstractContextManager[None]]
    by_command: bool
    longest_silence: float = field(default=0.0, init=False)
    line: int = field(default=0, init=False)
    from_tap: bool = field(default=False, init=False)
    """Whether the input is a stream that a tap may write: stdin, or another pipe."""
    waited_seconds: float = field(default=0.0, init=False)
    failure_of_source: Exception | None = field(default=None, init=False)
    """What a caller's iterable of lines has raised."""

    def __post_init__(self) -> None:
        super().__init__()
        self._digest: hashlib._Hash | None = None

    def start_digest(self) -> hashlib._Hash:
        """A SHA-256 that is updated with each line from now on."""
        self._digest = hashlib.sha256()
        return self._digest

    @property
    def default_input(self) -> IO[bytes]:
        """Standard input, as bytes."""
        # None if the shell has closed it; in a caller's tests, a substitute without `buffer`.
        stdin: Any = sys.stdin
        if stdin is None:
            return io.BytesIO()
        if self.by_command and stdin.isatty():
            log.warning(
                "Nothing is piped in: waiting for Singer messages from this terminal. Run"
                " `tap-x | target-sprinto --config FILE`, or name a file with --input. Ctrl-C ends it."
            )
        opened: IO[bytes] = getattr(stdin, "buffer", stdin)
        # Any other may not be what its descriptor holds: a substitute, or a decompressing one.
        if not isinstance(opened, io.BufferedReader) or not isinstance(opened.raw, io.FileIO):
            return opened
        head = b"" if self.by_command else _read_ahead(opened)
        return interruptible_reader(opened.fileno(), self.check, self._add_wait, self.longest_silence, head)

    def _add_wait(self, seconds: float) -> None:
        self.waited_seconds += seconds

    def process_lines(
        self,
        file_input: IO[bytes] | IO[str] | None,
        callbacks: dict[Any, Callable[[dict[str, Any]], None]],
    ) -> Counter[str]:
        """Pass every message to the callback of its type; return the number of messages of each type.

        Raises the error that `guard` makes of the first failure.
        """
        self.from_tap = file_input is None or (self.by_command and _is_pipe(file_input))
        # For every line, so not a Counter, which takes three times as long.
        seen: dict[str, int] = defaultdict(int)
        with self.guard():
            for line in self._lines(self._source(file_input)):
                if len(line) >= MAX_LINE_BYTES:
                    raise invalid_line(f"the line is longer than {MAX_LINE_BYTES:,} bytes.", self.line + 1)
                self.line += 1
                if self._digest is not None:
                    self._digest.update(line)
                if not line.strip():
                    continue
                try:
                    message = parse_message(line)
                except InvalidRecord as problem:
                    self.reject(line, problem)
                    continue
                kind = message["type"]
                callbacks[kind](message)
                seen[kind] += 1
        return Counter(seen)

    def _source(self, file_input: IO[bytes] | IO[str] | None) -> IO[bytes] | IO[str]:
        if file_input is None:
            return self.default_input
        if self.by_command:
            silence = self.longest_silence if self.from_tap else 0.0
            return interruptible_reader(file_input.fileno(), self.check, self._add_wait, silence)
        if isinstance(file_input, str | bytes) or not isinstance(file_input, Iterable):
            kind = type(file_input).__name__
            raise ConfigError(f"`file_input` is of type {kind}.", "Pass an open file, or lines.")
        if getattr(file_input, "closed", False):
            raise ConfigError("`file_input` is closed.", "Pass an open file, or lines.")
        return file_input

    def deserialize_json(self, line: bytes) -> dict[str, Any]:
        """One line as a message. Raises InvalidLine."""
        return parse_message(line)

    def _lines(self, source: IO[bytes] | IO[str]) -> Iterator[bytes]:
        lines: Iterator[bytes] = (one if isinstance(one, bytes) else self._encoded(one) for one in source)
        if isinstance(source, io.BufferedIOBase):
            # Reads no more of an endless line than the maximum.
            lines = iter(partial(source.readline, MAX_LINE_BYTES), b"")
        try:
            yield from lines
        except Exception as failure:
            # The error of any other source is the caller's own: those of `requests` are OSErrors.
            is_file = hasattr(source, "read")
            if is_file and isinstance(failure, UnicodeError):
                raise invalid_line("the line is not UTF-8.", self.line + 1) from None
            if is_file and isinstance(failure, OSError):
                reason = private_files.reason(failure)
                raise invalid_line(f"the input cannot be read ({reason}).", self.line + 1) from None
            if not (self.by_command or isinstance(failure, SprintoError)):
                self.failure_of_source = failure
            raise

    def _encoded(self, line: str) -> bytes:
        try:
            return line.encode()
        except UnicodeError:
            raise invalid_line("the line is not UTF-8.", self.line + 1) from None


def _is_pipe(file: IO[bytes] | IO[str]) -> bool:
    mode = os.fstat(file.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)


def _read_ahead(file: io.BufferedReader) -> bytes:
    """What Python has read of a file and not passed on; removed from its buffer. Does not wait."""
    blocking = os.get_blocking(file.fileno())
    os.set_blocking(file.fileno(), False)
    try:
        return file.read1(len(file.peek()))
    finally:
        os.set_blocking(file.fileno(), blocking)


@dataclass(eq=False, repr=False)
class _InterruptibleInput(io.RawIOBase):
    """A file descriptor whose reads poll for an interruption while they wait for data."""

    descriptor: int
    check: InterruptCheck
    waited: Callable[[float], None]
    longest_silence: float
    head: bytes

    def __post_init__(self) -> None:
        # `select` does not support descriptors above 1023.
        self._poll = select.poll()
        self._poll.register(self.descriptor, select.POLLIN)

    def _check_interrupt(self) -> None:
        try:
            self.check()
        except (OSError, UnicodeError) as bug:
            # Otherwise it would look like a failure of the input.
            raise InternalError(bug) from None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - the buffer protocol has no type before Python 3.12
        self._check_interrupt()
        data, self.head = self.head[: len(buffer)], self.head[len(buffer) :]
        if not data:
            began = time.monotonic()
            while not self._poll.poll(POLL_INTERVAL * 1000):
                if 0 < self.longest_silence <= time.monotonic() - began:
                    raise TapSilent(self.longest_silence)
                self._check_interrupt()
            data = os.read(self.descriptor, len(buffer))
            self.waited(time.monotonic() - began)
        buffer[: len(data)] = data
        return len(data)


def interruptible_reader(
    descriptor: int,
    check: InterruptCheck,
    waited: Callable[[float], None] = lambda _: None,
    longest_silence: float = 0.0,
    head: bytes = b"",
) -> io.BufferedReader:
    """A readable file whose reads can be interrupted: `check` is polled while they wait, and may raise.

    `waited` is called after each read with the seconds it took. Reading raises TapSilent after
    `longest_silence` seconds without data; 0 means never. `head` is what was read of the file before.
    """
    return io.BufferedReader(_InterruptibleInput(descriptor, check, waited, longest_silence, head), 1 << 16)
