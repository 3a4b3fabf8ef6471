"""The receipts of a pipeline as a chain: each contains the digest of the previous run's receipt.

A chain is within one folder. Receipts of runs that were killed (`unfinished`) are not part of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec

from target_sprinto.push.protocol.timestamps import CLOCK_SKEW, parse_time
from target_sprinto.receipts.document import FORMAT_NUMBER, Receipt

log = logging.getLogger(__name__)

LOCK_SECONDS = 5.0
_HEAD_END = b',\n  "session": '
HEAD_BYTES = 8192
"""More than the head of any run: the texts in it are limited."""


class Pipeline(NamedTuple):
    """An integration, a `client_reference_prefix` and the API's address, which may be a sandbox's."""

    integration_id: str
    prefix: str
    api_url: str


class Head(msgspec.Struct, frozen=True):
    """The first fields of a receipt, enough to find its place in its chain."""

    outcome: str
    run: str
    reference: str
    ended_at: str | None
    number: int | None
    previous: str | None
    integration_id: str
    api_url: str


def pipeline_of(one: Head | Receipt) -> Pipeline:
    """The pipeline that a receipt belongs to."""
    prefix = one.reference.removesuffix("/hold").removesuffix(f"/{one.run}")
    return Pipeline(one.integration_id, prefix, one.api_url)


def read_head(path: Path) -> Head | None:
    """Read a receipt's head, from at most 8 KiB of the file; None if it is not a receipt. Raises OSError."""
    try:
        with path.open("rb") as opened:
            return head_of(opened.read(HEAD_BYTES))
    except FileNotFoundError:
        # Removed since the folder was listed.
        return None
    except OSError as problem:
        # A failed read, unlike a failed open, does not name the file.
        problem.filename = str(path)
        raise


def head_of(content: bytes) -> Head | None:
    """A receipt's head, from the first bytes of its file or from all; None if it is not a receipt."""
    start, more, _ = content.partition(_HEAD_END)
    try:
        return msgspec.json.decode(start + b"}", type=Head) if more and FORMAT_NUMBER.match(start) else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class Link(NamedTuple):
    """A receipt as a link of its chain: its name in messages, and the digest of its file."""

    name: str
    sha256: str
    head: Head


def heads_in(folder: Path) -> list[tuple[Head | None, Path]]:
    """The files of a folder with their heads. Reads at most 8 KiB of each.

    Raises OSError if the folder cannot be listed, or a file that may be a receipt cannot be read.
    """
    return [(read_head(path), path) for path in receipt_files(folder)]


def newest_first(found: Iterable[tuple[Head | None, Path]], pipeline: Pipeline) -> list[tuple[Head, Path]]:
    """A pipeline's receipts of runs that ended, among the files that were `found`."""
    own = [(head, path) for head, path in found if head and head.number and pipeline_of(head) == pipeline]
    return sorted(own, key=lambda one: (one[0].number, one[1]), reverse=True)


def last_of(folder: Path, pipeline: Pipeline) -> tuple[int, str | None]:
    """The number of a pipeline's last receipt and the SHA-256 of its file; 0 and None if there is none.

    Raises the OSErrors of `heads_in`.
    """
    if not (receipts := newest_first(heads_in(folder), pipeline)):
        return 0, None
    head, path = receipts[0]
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        # In parts: it may be large.
        while part := opened.read(1_000_000):
            digest.update(part)
    return head.number or 0, digest.hexdigest()


def receipt_files(folder: Path) -> Iterator[Path]:
    """The files of a folder that may be receipts. Raises OSError."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.lower().endswith(".json") and _may_be_file(entry):
                yield Path(entry.path)


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        # Such as a link into a folder that may not be entered: the attempt to read it is reported.
        return True


@contextlib.contextmanager
def locked(folder: Path, seconds: float) -> Iterator[None]:
    """Let one run at a time end in this folder. Continues without the lock after `seconds`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not _lock(descriptor, seconds):
            log.warning(
                "The receipts folder %s could not be locked: if another run ends now, both receipts may have"
                " the same number.",
                folder,
            )
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        except OSError:
            return False
        else:
            return True


def broken_links(links: Sequence[Link]) -> list[str]:
    """The problems in the chains of these receipts, one sentence each; pure."""
    pipelines: defaultdict[Pipeline, defaultdict[int, list[Link]]]
    pipelines = defaultdict(lambda: defaultdict(list))
    for link in links:
        if link.head.number is not None:
            pipelines[pipeline_of(link.head)][link.head.number].append(link)
    return [problem for chain in pipelines.values() for problem in _broken(chain)]


def _broken(chain: dict[int, list[Link]]) -> Iterator[str]:
    numbers = sorted(chain)
    first = chain[numbers[0]][0]
    if numbers[0] != 1:
        yield f"{first.name} is receipt {numbers[0]} of its pipeline; the ones before it are not here."
    for number in numbers:
        if len(chain[number]) > 1:
            names = " and ".join(sorted(link.name for link in chain[number]))
            yield f"{names} have the same number, {number}: one of them was added."
    for number, following in pairwise(numbers):
        before = chain[number]
        for link in chain[following]:
            yield from _between(before, link, following - number - 1)


def _between(before: list[Link], link: Link, missing: int) -> Iterator[str]:
    followed = next((one for one in before if one.sha256 == link.head.previous), before[0])
    if missing:
        what = "a receipt is" if missing == 1 else f"{missing} receipts are"
        yield f"Between {followed.name} and {link.name} {what} missing."
    elif followed.sha256 != link.head.previous:
        yield f"{link.name} does not follow {followed.name}, which was changed or replaced."
    elif _is_later(followed.head.ended_at, link.head.ended_at):
        yield f"{link.name} follows {followed.name}, but its `ended_at` is earlier: was the clock set back?"


def _is_later(first: str | None, second: str | None) -> bool:
    before, after = parse_time(first), parse_time(second)
    return before is not None and after is not None and before - after > CLOCK_SKEW
