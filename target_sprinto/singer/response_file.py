"""Sprinto's responses to what it rejected, in a file for its owner alone: their text may quote values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from target_sprinto import private_files
from target_sprinto.push.errors import InconsistentResponse, PageRefused
from target_sprinto.singer.rejects import Rejected

_MAX_BYTES = 1_000_000
"""Of all responses together; what comes after it is left out."""


class Response(NamedTuple):
    """A response's body, or what it says of one record as JSON, and what it was about."""

    about: str
    body: bytes


def response_of(failure: BaseException) -> list[Response]:
    """The response that led to a failure, if one did."""
    if isinstance(failure, PageRefused | InconsistentResponse) and failure.response:
        return [Response(failure.message, failure.response)]
    return []


def responses_about(rejected: Iterable[Rejected]) -> list[Response]:
    """What Sprinto said of rejected records."""
    return [Response(str(one.source), one.response) for one in rejected if one.response]


@dataclass
class ResponseFile:
    """The file of one run, made when there is something to keep: ``[{"about": …, "response": …}]``."""

    path: Path
    written: bool = False

    def keep(self, responses: Iterable[Response]) -> str:
        """Write the file, and say where it is. That this fails is in the sentence: it changes no ending."""
        entries = list(_entries(responses))
        if not entries:
            return ""
        try:
            private_files.make_folder(self.path.parent)
            private_files.write_new(self.path, b"[" + b",\n".join(entries) + b"]\n")
        except OSError as problem:
            return f"Sprinto's response could not be kept in {self.path} ({private_files.reason(problem)})."
        self.written = True
        return f"Sprinto's own words are in {self.path}."


def _entries(responses: Iterable[Response]) -> Iterable[bytes]:
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
