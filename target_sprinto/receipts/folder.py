"""All receipts in a folder, checked one by one and as a chain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from target_sprinto.push.errors import CountMismatch, SprintoError
from target_sprinto.push.protocol.timestamps import parse_time
from target_sprinto.push.text import pluralize, printable
from target_sprinto.receipts import chain, document, signing
from target_sprinto.receipts.consistency import contradiction
from target_sprinto.receipts.errors import ChainBroken, ReceiptUnusable


class PastRun(NamedTuple):
    """A run that ended, according to its receipt, without its pages.

    `applied` is ``{entity_type: int}``: empty unless its outcome is `applied`.
    """

    path: Path
    sha256: str
    pipeline: chain.Pipeline
    run: str
    outcome: document.ReceiptOutcome
    error: str | None
    count_mismatch: str
    ended_at: datetime
    applied: dict[str, int]
    rejects: int
    signed_by: str | None


@dataclass
class ReceiptFolder:
    """The contents of a folder. `problems` are sentences, each with an error code."""

    runs: list[PastRun] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    receipts: int = 0
    unfinished: int = 0
    others: int = 0

    def __str__(self) -> str:
        files = f"{self.unfinished} unfinished, {pluralize(self.others, 'other file')}"
        return f"{pluralize(self.receipts, 'receipt')}, {files}"


def read_checked(
    path: Path, public_keys: Sequence[signing.PublicKey], content: bytes | None = None
) -> tuple[document.Receipt, str | None]:
    """A receipt, and the id of the key that signed it if there are keys to check that with.

    `content` is the file's, if it has been read. Raises if the receipt is damaged, contradicts itself, or is
    not signed with one of the keys.
    """
    content = document.read_bytes(path) if content is None else content
    signer = signing.require_signed(path, content, public_keys) if public_keys else None
    receipt = document.parse(path, content)
    if wrong := contradiction(receipt, str(path)):
        raise wrong
    return receipt, signer


def read_folder(
    path: Path, public_keys: Sequence[signing.PublicKey], check: Callable[[], None]
) -> ReceiptFolder:
    """Read a folder's receipts; `runs` leaves out those with a problem. `check` may raise to stop.

    Raises OSError if the folder cannot be listed.
    """
    found, links = ReceiptFolder(), []
    for file in sorted(chain.receipt_files(path)):
        check()
        if not may_be_receipt(file):
            found.others += 1
            continue
        try:
            content = document.read_bytes(file)
            head = chain.head_of(content)
            if head is not None and _is_unfinished(file, head):
                document.parse(file, content)
                found.unfinished += 1
                continue
            digest = hashlib.sha256(content).hexdigest()
            if head is not None:
                links.append(chain.Link(printable(file.name), digest, head))
            found.runs.append(_past_run(file, digest, *read_checked(file, public_keys, content)))
        except SprintoError as problem:
            found.problems.append(str(problem))
        found.receipts += 1
    broken = [*chain.broken_links(links), *_orphans(path)]
    found.problems += [f"{problem} [{ChainBroken.code}]" for problem in broken]
    return found


def _orphans(folder: Path) -> Iterator[str]:
    """A sentence for each envelope without its receipt."""
    for envelope in sorted(folder.glob(f"*{signing.ENVELOPE_SUFFIX}")):
        receipt = envelope.with_suffix("")
        if receipt.suffix.lower() == ".json" and not _exists(receipt):
            yield f"{printable(envelope.name)} signs a receipt that is not here."


def count_mismatches(runs: Iterable[PastRun]) -> Iterator[str]:
    """A sentence for each run whose records Sprinto counted differently."""
    for run in runs:
        if run.count_mismatch:
            yield f"{printable(str(run.path))}: {run.count_mismatch} [{CountMismatch.code}]"


def distinct(runs: Iterable[PastRun]) -> tuple[list[PastRun], list[str]]:
    """The runs in the order in which they ended, without duplicates; and the problems, as sentences.

    If two receipts of one run differ, neither is returned.
    """
    kept: dict[str, PastRun] = {}
    differing: dict[str, str] = {}
    for run in runs:
        first = kept.setdefault(run.run, run)
        if run.sha256 != first.sha256:
            problem = f"{first.path} and {run.path} are of the same run and differ: one was changed."
            differing[run.run] = f"{problem} [{ChainBroken.code}]"
    own = (run for run in kept.values() if run.run not in differing)
    return sorted(own, key=lambda run: run.ended_at), [*differing.values()]


def may_be_receipt(path: Path) -> bool:
    """Whether a file looks like a receipt, even a damaged one, or cannot be read. Any other may be huge."""
    try:
        with path.open("rb") as opened:
            start = opened.read(chain.HEAD_BYTES)
    except OSError:
        return True
    is_cut = document.BEGIN.startswith(start[: len(document.BEGIN)])
    return is_cut or bool(document.REWRITTEN.match(start)) or signing.has_envelope(path)


def _exists(path: Path) -> bool:
    """Whether a file exists, or may exist, such as in a folder that may not be entered."""
    try:
        return path.exists()
    except OSError:
        return True


def _is_unfinished(path: Path, head: chain.Head) -> bool:
    """Whether its run is in progress or was killed: the receipt is not in the chain, and not signed."""
    ended = head.number is not None or head.ended_at is not None
    return head.outcome == "unfinished" and not ended and not _exists(signing.envelope_path(path))


def _past_run(path: Path, sha256: str, receipt: document.Receipt, signer: str | None) -> PastRun:
    # Not checked: the receipt's own claim, if it has an envelope at all.
    claimed = receipt.signed_by if signing.has_envelope(path) else None
    types = receipt.entity_types if receipt.outcome == "applied" else []
    ended_at = parse_time(receipt.ended_at)
    if ended_at is None:
        raise ReceiptUnusable(f"{path} does not say when its run ended.")
    return PastRun(
        path,
        sha256,
        chain.pipeline_of(receipt),
        receipt.run,
        receipt.outcome,
        receipt.error or (CountMismatch.code if receipt.count_mismatch else None),
        receipt.count_mismatch,
        ended_at,
        {one.entity_type: one.accepted for one in types if one.accepted},
        len(receipt.rejects),
        signer or claimed,
    )
