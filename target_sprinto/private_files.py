"""Files that their owner alone can read, because they hold records or STATE; bytes that are written whole."""

from __future__ import annotations

import os
import select
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

_LARGEST_SECRET = 1 << 16


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write all of `content`; `os.write` may write a part of it. Raises OSError."""
    rest = memoryview(content)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            # Another process that shares the descriptor has made it non-blocking.
            select.select([], [descriptor], [], 0.1)


def append(descriptor: int, content: Iterable[bytes | memoryview]) -> None:
    """Write all of `content`, in parts, or none of it. Raises OSError."""
    before = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        for part in content:
            write_all(descriptor, part)
    except OSError:
        os.ftruncate(descriptor, before)
        os.lseek(descriptor, before, os.SEEK_SET)
        raise


def make_folder(path: Path) -> None:
    """Make a folder that its owner alone can enter, and those above it, if there is none. Raises OSError."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in (*reversed(missing), path):
        folder.mkdir(mode=0o700, exist_ok=True)


def reason(problem: OSError) -> str:
    """Why a file could not be used, without its name."""
    return problem.strerror or type(problem).__name__


def read_secret(path: Path) -> tuple[bytes, bool]:
    """A small secret, and whether it is kept from other users. Raises OSError, ValueError if it is large."""
    with path.open("rb") as opened:
        content = opened.read(_LARGEST_SECRET + 1)
        is_private = not os.fstat(opened.fileno()).st_mode & stat.S_IROTH
    if len(content) > _LARGEST_SECRET:
        raise ValueError("too large for a secret")
    return content, is_private


def create(path: Path) -> int:
    """Make a file that was not there and return its descriptor. Raises OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)


def write_new(path: Path, content: bytes) -> None:
    """Make a file that was not there, with this content, on disk when this returns.

    Raises OSError, and leaves no new file then.
    """
    descriptor = create(path)
    try:
        _fill(descriptor, [content])
    except OSError:
        path.unlink(missing_ok=True)
        raise


def replace(path: Path, content: Iterable[bytes]) -> None:
    """Put `content`, in parts, in the place of a file, which is seen as all of the old or all of the new.

    Raises OSError; the file is then as it was.
    """
    descriptor, fresh = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)
    try:
        _fill(descriptor, content)
        Path(fresh).replace(path)
    except OSError:
        Path(fresh).unlink(missing_ok=True)
        raise


def _fill(descriptor: int, content: Iterable[bytes]) -> None:
    try:
        for part in content:
            write_all(descriptor, part)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
