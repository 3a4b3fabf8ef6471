"""Reads the record files that a BATCH message names, line by line: no file is held in memory as a whole.

Supported are JSON Lines, plain or gzip, from `file://` on this machine (singer-sdk: Batch Messages).
"""

from __future__ import annotations

import contextlib
import gzip
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal, cast
from urllib.parse import unquote

import msgspec

from target_sprinto import private_files
from target_sprinto.errors import BatchFileUnreadable, BatchNotSupported, InvalidLine
from target_sprinto.push.text import LONGEST_NAME, quoted, short
from target_sprinto.push.transport.background import InterruptCheck
from target_sprinto.singer.input.messages import MAX_LINE_BYTES
from target_sprinto.singer.input.reader import interruptible_reader

_GZIP_MAGIC = b"\x1f\x8b"


class _Encoding(msgspec.Struct, forbid_unknown_fields=True):
    format: Literal["jsonl"]
    compression: Literal["gzip", "none"] | None = None


def read_batch(message: dict[str, Any], own: frozenset[tuple[int, int]]) -> Iterator[BatchFile]:
    """The files of a BATCH message; see BatchFile for `own`. Raises BatchNotSupported or InvalidLine."""
    stream = message["stream"]
    try:
        files = msgspec.json.decode(message["manifest"], type=list[str])
    except msgspec.DecodeError:
        raise InvalidLine(
            f"the `manifest` of a BATCH message for stream {quoted(stream)} is not a list of URLs.",
            "Fix the tap.",
        ) from None
    try:
        encoding = msgspec.json.decode(message["encoding"], type=_Encoding)
    except msgspec.DecodeError:
        raise BatchNotSupported(
            f"the encoding of a BATCH message for stream {quoted(stream)} is not JSON Lines, plain or gzip.",
            "Set the tap's `batch_config.encoding` to format `jsonl` and compression `gzip` or `none`.",
        ) from None
    yield from (BatchFile(_path(url), encoding.compression == "gzip", own) for url in files)


@dataclass
class BatchFile:
    """One file of a batch. `str()` names it and its current line, from 1.

    `own` are the loader's config files, by device and inode: none of them is read.
    """

    path: str
    compressed: bool
    own: frozenset[tuple[int, int]]
    line: int = 0

    def __str__(self) -> str:
        return f"batch file '{short(self.path, LONGEST_NAME)}'" + (f", line {self.line}" if self.line else "")

    def records(self, check: InterruptCheck) -> Iterator[bytes]:
        """The lines of the records. `check` is called for each block that is read, and may raise.

        Raises BatchFileUnreadable for a file that is missing, cut off or corrupt.
        """
        with contextlib.ExitStack() as opened:
            try:
                source = self._open(opened, check)
                while line := source.readline(MAX_LINE_BYTES):
                    self.line += 1
                    if len(line) >= MAX_LINE_BYTES:
                        raise self._unreadable(f"the line is longer than {MAX_LINE_BYTES:,} bytes")
                    if not line.isspace():
                        yield line
            except (EOFError, gzip.BadGzipFile, zlib.error):
                self.line += 1
                raise self._unreadable("it is cut off or corrupt") from None
            except OSError as problem:
                raise self._unreadable(private_files.reason(problem)) from None

    def _open(self, opened: contextlib.ExitStack, check: InterruptCheck) -> IO[bytes]:
        # If it is a named pipe, do not wait for a process to open the other end.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        opened.callback(os.close, descriptor)
        status = os.fstat(descriptor)
        if _identity(status) in self.own:
            raise self._unreadable("it is this loader's own config file")
        if not stat.S_ISREG(status.st_mode):
            raise self._unreadable("it is not a regular file")
        source = interruptible_reader(descriptor, check)
        head = source.peek(len(_GZIP_MAGIC))[: len(_GZIP_MAGIC)]
        if self.compressed and head != _GZIP_MAGIC:
            raise self._unreadable("it is not a gzip file")
        if head != _GZIP_MAGIC:
            return source
        # Whatever the message says: singer-sdk 0.54 compresses under `compression: none`, too.
        return cast("IO[bytes]", opened.enter_context(gzip.GzipFile(fileobj=source)))

    def _unreadable(self, why: str) -> BatchFileUnreadable:
        return BatchFileUnreadable(
            f"the batch file cannot be read: {why}.",
            "Look at the tap's log; target and tap must see the same files.",
        )


def identities(names: Iterable[str]) -> frozenset[tuple[int, int]]:
    """Device and inode of each file that exists: they are the same for all its names and links."""
    return frozenset(_identity(os.stat(name)) for name in names if os.path.exists(name))  # noqa: PTH110, PTH116 - a name may be any text


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _path(url: str) -> str:
    """The file that a URL names. Raises BatchNotSupported for anything but a file on this machine."""
    scheme, _, place = url.partition("://")
    spelled = place.removeprefix("localhost")
    decoded = unquote(spelled)
    if scheme != "file" or not spelled.startswith("/") or "\0" in decoded:
        raise BatchNotSupported(
            "a BATCH message names something that is not a file on this machine (`file:///…`).",
            "Set the tap's `batch_config.storage.root` to a folder that this target can read.",
        )
    # SDK taps percent-encode a root that is a path, but not one that is a URL.
    return spelled if os.path.exists(spelled) else decoded  # noqa: PTH110 - `Path.exists` raises for a name too long
