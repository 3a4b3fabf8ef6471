"""Sprinto's responses to what it rejected, in a file for its owner alone: their text may quote values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from target_sprinto import private_files
from target_sprinto.push.errors import InconsistentResponse, PageRefused
from target_sprinto.singer.rejects.rejected_records import Rejected

_MAX_BYTES = 1_000_000
"""Of all responses together; what comes after it is left out."""


@dataclass
class ResponseFile:
    """The file of one run, made when there is something to keep: ``[{"about": …, "response": …}]``."""

    path: Path
    written: bool = False

    def keep(self, failure: BaseException | None, rejected: Iterable[Rejected] = ()) -> str:
        """Write the response that led to a failure, if one did, and what Sprinto said of rejected records.

        Returns a sentence that says where it is. That this fails is in the sentence: it changes no ending.
        """
        responses = [(str(one.source), one.response) for one in rejected if one.response]
        if isinstance(failure, PageRefused | InconsistentResponse) and failure.response:
            responses.insert(0, (failure.message, failure.response))
        if not responses:
            return ""
        try:
            private_files.make_folder(self.path.parent)
            private_files.write_new(self.path, b"[" + b",\n".join(_entries(responses)) + b"]\n")
        except OSError as problem:
            return f"Sprinto's response could not be kept in {self.path} ({private_files.reason(problem)})."
        self.written = True
        return f"Sprinto's own words are in {self.path}."


def _entries(responses: Iterable[tuple[str, bytes]]) -> Iterable[bytes]:
    """What each was about, and a response's body, or what it says of one record as JSON."""
    left = _MAX_BYTES
    for about, body in responses:
        said = body[:left].decode(errors="replace")
        try:
            response = msgspec.json.decode(said)
        except (msgspec.DecodeError, RecursionError):
            response = said
        yield msgspec.json.encode({"about": about, "response": response})
        left -= len(body)
        if left <= 0:
            return
