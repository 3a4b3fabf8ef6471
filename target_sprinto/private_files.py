"""Files that only their owner can read, because they hold records or STATE; writes are complete or undone."""

from __future__ import annotations

import os
import select
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

_LARGEST_SECRET = 1 << 16


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write all of `content`; `os.write` may write only a part. Raises OSError."""
    rest = memoryview(content)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            # Another process that shares the descriptor has made it non-blocking.
            select.select([], [descriptor], [], 0.1)


def append(descriptor: int, content: Iterable[bytes | memoryview]) -> None:
    """Write all parts of `content`, or none. Raises OSError."""
    before = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        for part in content:
            write_all(descriptor, part)
    except OSError:
        os.ftruncate(descriptor, before)
        os.lseek(descriptor, before, os.SEEK_SET)
        raise


def make_folder(path: Path) -> None:
    """Make a folder that only its owner can enter, and any missing parents. Raises OSError."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in (*reversed(missing), path):
        folder.mkdir(mode=0o700, exist_ok=True)


def reason(problem: OSError) -> str:
    """Why a file could not be used, without its name."""
    return problem.strerror or type(problem).__name__


def read_secret(path: Path) -> tuple[bytes, bool]:
    """A small secret, and whether it is hidden from other users. Raises OSError, or ValueError if large."""
    with path.open("rb") as opened:
        content = opened.read(_LARGEST_SECRET + 1)
        is_private = not os.fstat(opened.fileno()).st_mode & stat.S_IROTH
    if len(content) > _LARGEST_SECRET:
        raise ValueError("too large for a secret")
    return content, is_private


def create(path: Path) -> int:
    """Create a new file and return its descriptor. Raises OSError, also if the file exists."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)


def write_new(path: Path, content: bytes) -> None:
    """Create a file with this content, and return once it is on disk. Raises OSError, leaving no file."""
    descriptor = create(path)
    try:
        _fill(descriptor, [content])
    except OSError:
        path.unlink(missing_ok=True)
        raise


def replace(path: Path, content: Iterable[bytes]) -> None:
    """Replace a file atomically: readers see the whole old content or the whole new one.

    Raises OSError; the file is then unchanged.
    """
    descriptor, fresh = _fresh(path)
    try:
        _fill(descriptor, content)
        Path(fresh).replace(path)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise


def try_replace(path: Path) -> None:
    """Raise the OSError that `replace` would raise before it writes, as for a name that is too long."""
    descriptor, fresh = _fresh(path)
    os.close(descriptor)
    Path(fresh).unlink()


def _fresh(path: Path) -> tuple[int, str]:
    return tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)


def _fill(descriptor: int, content: Iterable[bytes]) -> None:
    try:
        for part in content:
            write_all(descriptor, part)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
