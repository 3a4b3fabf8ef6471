"""Sprinto's responses to rejected records, in a file that only its owner can read: they may quote values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from target_sprinto import private_files
from target_sprinto.push.errors import InconsistentResponse, PageRefused
from target_sprinto.singer.rejects.rejected_records import MAX_RESPONSE_BYTES, Rejected


@dataclass
class ResponseFile:
    """The file of one run, created if there is a response to keep: ``[{"about": …, "response": …}]``."""

    path: Path
    written: bool = False

    def keep(self, failure: BaseException | None, rejected: Iterable[Rejected] = ()) -> str:
        """Write the response that caused a failure, if any, and the responses to rejected records.

        Returns a sentence that says where they are, or that they could not be written: no error is raised.
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
            return f"Sprinto's response could not be saved in {self.path} ({private_files.reason(problem)})."
        self.written = True
        return f"Sprinto's response is in {self.path}."


def _entries(responses: Iterable[tuple[str, bytes]]) -> Iterable[bytes]:
    """What each response is about, and the response: a body, or the part about one record, as JSON."""
    left = MAX_RESPONSE_BYTES
    for about, body in responses:
        text = body[:left].decode(errors="replace")
        try:
            response = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            response = text
        yield msgspec.json.encode({"about": about, "response": response})
        left -= len(body)
        if left <= 0:
            return
