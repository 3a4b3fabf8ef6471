"""The file of a run's receipt: created, later replaced as a whole, chained to the previous one, signed."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import msgspec

from target_sprinto import private_files
from target_sprinto.push.errors import SprintoError
from target_sprinto.push.text import pluralize, short
from target_sprinto.receipts import chain, signing
from target_sprinto.receipts.document import Receipt, encode
from target_sprinto.receipts.errors import ReceiptNotWritten
from target_sprinto.receipts.folder import may_be_receipt, read_checked
from target_sprinto.receipts.run_info import RunInfo

log = logging.getLogger(__name__)

_RUNS_LOOKED_BACK = 1000
_LONGEST_PATH = 150
"""Characters of a path in a message."""


class Applied(NamedTuple):
    """How many records of an entity type a run applied, and the name of its receipt."""

    records: int
    receipt: str


def _is_file(requested: Path) -> bool:
    """Whether a receipt's path names a file; otherwise it is a folder."""
    return requested.suffix.lower() == ".json"


def require_writable(requested: Path) -> None:
    """Raise ReceiptNotWritten if permissions do not allow a file in the receipt's folder."""
    folder = requested.parent if _is_file(requested) else requested
    # Not `Path.exists`, which raises in a folder that may not be entered.
    existing = next(one for one in (folder, *folder.absolute().parents) if os.path.exists(one))  # noqa: PTH110 - see above
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        code = errno.EACCES if existing.is_dir() else errno.ENOTDIR
        raise _not_written(requested, OSError(code, os.strerror(code)))


class ReceiptFile:
    """The file of one run's receipt.

    `path` is set once it exists: `requested`, with the run's uuid before its suffix if that already exists.
    If `requested` is a folder, the file is named after the time and the uuid.
    """

    def __init__(self, requested: Path, info: RunInfo, run_uuid: str, started_at: datetime) -> None:
        self.path: Path | None = None
        self._requested = Path(str(requested).replace("{run}", run_uuid))
        if not _is_file(self._requested):
            self._requested /= f"{started_at:%Y-%m-%dT%H%M%SZ}.{run_uuid}.json"
        self._other = self._requested.with_name(f"{self._requested.stem}.{run_uuid}{self._requested.suffix}")
        self._pipeline = chain.Pipeline(info.integration_id, info.client_reference_prefix, info.base_url)
        self._key_file = info.receipt_key_file
        self._signed_by: str | None = None

    @cached_property
    def _key(self) -> signing.PrivateKey | None:
        """The key that signs the receipt. Raises ReceiptKeyUnusable."""
        if self._key_file is None:
            return None
        key: signing.PrivateKey
        key, is_private = signing.keys().read_private(self._key_file)
        if not is_private:
            log.warning(
                "`receipt_key_file` can be read by every user of this machine: chmod 600 %s", self._key_file
            )
        return key

    def make(self, unfinished: Receipt) -> None:
        """Create the file. Raises ReceiptNotWritten, ReceiptKeyUnusable."""
        self._signed_by = signing.keys().id_of(self._key) if self._key else None
        content = b"".join(encode(unfinished))
        try:
            private_files.make_folder(self._requested.parent)
            self._last(self._requested.parent)
            path = self._requested
            try:
                private_files.write_new(path, content)
            except FileExistsError:
                path = self._other
                private_files.write_new(path, content)
            try:
                # The file is replaced when the run ends: if that is not possible, fail now.
                private_files.replace(path, [content])
                if self._key:
                    private_files.try_replace(signing.envelope_path(path))
            except OSError:
                path.unlink()
                raise
        except OSError as problem:
            raise _not_written(self._requested, problem) from None
        self.path = path

    def _last(self, folder: Path) -> tuple[int, str | None]:
        """The number and the digest of the previous receipt. Raises ReceiptNotWritten."""
        try:
            return chain.last_of(folder, self._pipeline)
        except OSError as problem:
            raise _not_readable(folder, problem) from None

    def last_applied(self, entity_types: Collection[str]) -> dict[str, Applied]:
        """By entity type, the last run of this pipeline that applied any records of it.

        Ignores receipts that contradict themselves and, if this run signs, those not signed with its key.
        Raises ReceiptKeyUnusable, or ReceiptNotWritten if a receipt cannot be read.
        """
        folder, found = self._requested.parent, dict[str, Applied]()
        try:
            if not (entity_types and folder.is_dir()):
                return found
            files = chain.heads_in(folder)
        except OSError as problem:
            raise _not_readable(folder, problem) from None
        # One of them may be the pipeline's last.
        damaged = [path for head, path in files if head is None and may_be_receipt(path)]
        if damaged:
            more = f", and {pluralize(len(damaged) - 1, 'other')}" if len(damaged) > 1 else ""
            log.warning(
                "`max_shrink_percent` ignores %s, which is not an intact receipt%s.",
                short(str(damaged[0]), _LONGEST_PATH),
                more,
            )
        applied = [
            path for head, path in chain.newest_first(files, self._pipeline) if head.outcome == "applied"
        ]
        public_keys = [self._key.public_key()] if self._key else []
        for path in applied[:_RUNS_LOOKED_BACK]:
            if found.keys() >= set(entity_types):
                break
            try:
                receipt, _ = read_checked(path, public_keys)
            except SprintoError as problem:
                log.warning("%s This receipt is ignored.", problem)
                continue
            for one in receipt.entity_types:
                if one.accepted:
                    found.setdefault(one.entity_type, Applied(one.accepted, path.name))
        return found

    def write(self, finished: Callable[[], Receipt], lock_seconds: float = chain.LOCK_SECONDS) -> None:
        """Replace the file with the receipt of a run that ends now. Raises ReceiptNotWritten.

        Waits for other runs that end in the same folder for at most `lock_seconds`.
        """
        if self.path is None:
            raise AssertionError("a receipt's file must be made before it is written")
        digest = hashlib.sha256()
        try:
            with chain.locked(self.path.parent, lock_seconds):
                number, previous = self._last(self.path.parent)
                document = msgspec.structs.replace(
                    finished(), number=number + 1, previous=previous, signed_by=self._signed_by
                )
                private_files.replace(self.path, _hashed(encode(document), digest))
        except OSError as problem:
            raise _not_written(self.path, problem) from None
        if self._key is None:
            return
        try:
            envelope = signing.envelope(self._key, document, self.path.name, digest.hexdigest())
            private_files.replace(signing.envelope_path(self.path), [envelope])
        except OSError as problem:
            # A missing signature must not change the run's outcome.
            log.warning(
                "The receipt %s has no signature: its envelope cannot be written (%s).",
                self.path,
                private_files.reason(problem),
            )


def _hashed(parts: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for part in parts:
        digest.update(part)
        yield part


def _not_readable(folder: Path, problem: OSError) -> ReceiptNotWritten:
    found = Path(str(problem.filename or folder))
    what = "the folder of the receipts" if found == folder else "possibly the receipt of the previous run"
    return ReceiptNotWritten(
        f"{short(str(found), _LONGEST_PATH)}, {what}, cannot be read ({private_files.reason(problem)}).",
        "Make it readable; move it only if it is not a receipt.",
    )


def _not_written(path: Path, problem: OSError) -> ReceiptNotWritten:
    shown = short(str(path), _LONGEST_PATH)
    return ReceiptNotWritten(
        f"The receipt cannot be written to {shown} ({private_files.reason(problem)}).",
        "Set `report_path` to a file (.json) or a folder that this target can write to.",
    )
