"""A run's receipt as a document: its fields, its JSON, its published schema.

`receipt.schema.json` is generated from the types below. The last field is a checksum: the SHA-256 of all
bytes before it, which shows whether a receipt was truncated or edited. It is not a signature: anyone who
edits a receipt on purpose can recompute it (see `signing`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from target_sprinto.push.text import format_difference
from target_sprinto.receipts.errors import ReceiptFromNewerVersion, ReceiptUnusable

FORMAT: Literal["target-sprinto receipt 1"] = "target-sprinto receipt 1"
NO_CHECKSUM = "0" * 64
"""The checksum of a receipt that has not been written yet."""


def _about(description: str) -> Meta:
    return Meta(description=description)


Count = Annotated[int, Meta(ge=0)]
Line = Annotated[int, Meta(ge=1, description="Line number in the input, from 1.")]
Moment = Annotated[str, _about("ISO 8601 in UTC.")]
Place = Annotated[str, _about("Position in a batch file, if the line is a BATCH message.")]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 in hexadecimal.")]

ReceiptOutcome = Literal[
    "unfinished", "applied", "held", "dry-run", "nothing-to-send", "failed", "interrupted"
]
COMPLETE: frozenset[ReceiptOutcome] = frozenset({"applied", "held", "dry-run", "nothing-to-send"})
"""Outcomes of runs that read all of the input."""

State = Literal["active", "processing", "processed", "cancelled", "expired", "failed", "unknown"]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The base class of all parts of a receipt."""


class Step(_Part, frozen=True):
    """When the run entered a phase of its session's life."""

    phase: Literal["opening", "unopened", "open", "applying", "discarding", "ended"]
    at: Moment


class Session(_Part, frozen=True):
    """The run's session, according to the last status that the run read."""

    id: str
    opened_at: Moment
    state: Annotated[State, _about("`unknown`: no status was read, or it shows another state.")]
    state_read_at: Moment | None
    expires_at: Moment | None
    accepted_records: Annotated[
        dict[str, Count] | None, _about("Sprinto's own count of records by entity type.")
    ]
    accepted_others: Annotated[
        Count | None, _about("Sprinto's own count of records of entity types that the run did not send.")
    ]
    accepted_batches: Count | None
    retry_count: Count | None


class Stream(_Part, frozen=True):
    """A stream of the input."""

    stream: str
    records: Annotated[Count, _about("Records read, including filtered, skipped and rejected ones.")]
    skipped: Annotated[Count, _about("Records marked as deleted that `on_deleted_record: skip` left out.")]
    filtered: Annotated[Count, _about("Records that a stream map left out, counted once for each map.")]
    dropped: Annotated[list[str], _about("Fields of its last SCHEMA that no stream map sends or reads.")]
    first_extracted_at: Annotated[
        Moment | None, _about("The `time_extracted` of its first record; null if that has none.")
    ]
    last_extracted_at: Annotated[Moment | None, _about("The same for its last record.")]


class Provenance(_Part, frozen=True):
    """Where the run and its data came from: names only."""

    given: Annotated[dict[str, str], _about("The setting `provenance`, unchanged.")]
    environment: Annotated[
        dict[str, str], _about("Environment variables that Meltano, a CI system or a scheduler sets.")
    ]
    host: str | None
    user: str | None


class EntityType(_Part, frozen=True):
    """The entities of one entity type."""

    entity_type: str
    streams: Annotated[dict[str, Count], _about("Number of entities put into pages, by stream.")]
    entities: Annotated[Count, _about("Number of entities put into pages.")]
    sha256: Annotated[
        Sha256,
        _about(
            "SHA-256 of the JSON bytes of all entities put into pages, in input order, joined by newlines;"
            " includes entities that Sprinto rejected."
        ),
    ]
    accepted: Annotated[Count, _about("Number of these entities that Sprinto accepted.")]


class Page(_Part, frozen=True):
    """A page as it was built. If Sprinto rejected it, its records were sent again in several parts."""

    number: Annotated[int, Meta(ge=1)]
    entities: Annotated[int, Meta(ge=1)]
    bytes: Annotated[int, Meta(ge=1, description="Size of the request's body before compression.")]
    sha256: Annotated[Sha256, _about("SHA-256 of the request's body before compression.")]
    first_line: Line
    first_place: Place
    last_line: Line
    last_place: Place
    requests: Annotated[Count, _about("How often the page, or a part of it, was sent.")]
    accepted: Annotated[Count, _about("Number of its entities that Sprinto accepted.")]
    first_sent_at: Moment | None
    last_accepted_at: Moment | None

    @property
    def lines(self) -> str:
        """``1 to 100``, or ``1``: its lines of the input, each with its place in a batch file, if any."""
        ends = dict.fromkeys(((self.first_line, self.first_place), (self.last_line, self.last_place)))
        return " to ".join(f"{line} ({place})" if place else str(line) for line, place in ends)


class Reject(_Part, frozen=True):
    """A rejected record, identified by its position, with target-sprinto's error code."""

    line: Line
    place: Place
    stream: str
    entity_type: str
    code: str
    rejected_by: Literal["target", "sprinto"]


class Event(_Part, frozen=True):
    """An event of Sprinto's activity log, without its text, which may quote values."""

    at: Moment
    level: Literal["info", "warning", "error", "other"]
    type: str
    id: str


class Receipt(_Part, frozen=True, kw_only=True):
    """The pages of a run, their outcome, and how the run ended. It contains no values of records."""

    format: Literal["target-sprinto receipt 1"]
    outcome: Annotated[
        ReceiptOutcome,
        _about(
            "How the run ended. `unfinished`: in progress, or killed."
            " `nothing-to-send`: there was no record to send, so no session was opened."
        ),
    ]
    exit_code: int | None
    error: Annotated[str | None, _about("target-sprinto's error code for what ended the run or went wrong.")]
    error_message: Annotated[str | None, _about("The error's message, without any value of a record.")]
    error_line: Line | None
    target_version: str
    run: Annotated[str, _about("The run's uuid.")]
    reference: Annotated[str, _about("The session's `client_reference_id`.")]
    started_at: Moment
    ended_at: Moment | None
    number: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        _about(
            "Position in the chain of this pipeline's receipts in this folder, from 1, in the order in which"
            " the runs ended. A pipeline is an integration, a `client_reference_prefix` and an API address."
            " null if `unfinished`."
        ),
    ]
    previous: Annotated[
        Sha256 | None, _about("SHA-256 of the previous receipt's file; null for the first receipt.")
    ]
    signed_by: Annotated[
        Sha256 | None,
        _about(
            "SHA-256 of the public key (DER) for the signature in `….json.dsse`, next to this file."
            " null if this receipt is unsigned."
        ),
    ]
    integration_id: str
    region: Annotated[str | None, _about("null if `api_url` was set instead.")]
    api_url: str
    finish: Literal["apply", "hold", "discard"]
    settings_sha256: Annotated[Sha256, _about("SHA-256 of all settings but API key and signing key.")]
    session: Session | None
    input_sha256: Annotated[
        Sha256 | None, _about("SHA-256 of all bytes of the input; null unless the run read all of it.")
    ]
    input_lines: Annotated[Count, _about("Number of input lines that the run read.")]
    final_state_required: Annotated[
        bool,
        _about(
            "Whether the input had to end with a STATE that covers its records: it was a pipe, and"
            " `require_final_state` was set."
        ),
    ]
    provenance: Provenance
    entity_mapping: Annotated[dict[str, str], _about("The setting `entity_types`.")]
    stream_maps: Annotated[msgspec.Raw, _about("The setting `stream_maps`; never `stream_map_config`.")]
    phases: list[Step]
    streams: list[Stream]
    entity_types: list[EntityType]
    pages: Sequence[Page]
    rejects: list[Reject]
    response_kept: Annotated[
        bool, _about("Whether Sprinto's response is kept in a file in the rejects folder.")
    ]
    events: Annotated[
        list[Event] | None, _about("Sprinto's events of the session; null if the log could not be read.")
    ]
    state_went_to: Annotated[
        Literal["stdout", "stderr", "receipt", "nowhere"],
        _about("Where the Singer STATE went. `stderr`: stdout was broken."),
    ]
    state: Annotated[msgspec.Raw, _about("The STATE of a run that holds its session, else null.")]
    checksum: Annotated[
        Sha256, _about("SHA-256 of all bytes of the file before the comma that precedes this field.")
    ]

    @property
    def count_mismatch(self) -> str:
        """A sentence if Sprinto's counts differ from the records of a complete run; else empty."""
        session = self.session
        if session is None or session.accepted_records is None or self.outcome not in {"applied", "held"}:
            return ""
        sent = {one.entity_type: one.accepted for one in self.entity_types}
        counted = {name: session.accepted_records.get(name, 0) for name in sent}
        if counted == sent and not session.accepted_others:
            return ""
        # The receipt has only the number of records of other types, not their names.
        theirs, ours = format_difference({**counted, "": session.accepted_others or 0}, sent)
        return f"Sprinto counted {theirs}, but the run sent {ours}."


BEGIN = b'{\n  "format": "target-sprinto receipt '
"""The first bytes of a receipt, in every format."""

FORMAT_NUMBER = re.compile(re.escape(BEGIN) + rb'([0-9]{1,9})"')
REWRITTEN = re.compile(rb'(\xef\xbb\xbf)?\s*\{\s*"format"\s*:\s*"target-sprinto receipt ')
"""Also matches a receipt that another program has formatted, such as an editor or `jq`."""

_CHECKSUM = b',\n  "checksum": "'
_END = b'"\n}\n'
_PART = 1_000
"""Entries of a list that are encoded together."""


def encode(receipt: Receipt) -> Iterator[bytes]:
    """The receipt's file: one field per line, one list entry per line, and the STATE byte for byte.

    In parts, because a long run has many pages.
    """
    digest = hashlib.sha256()
    for part in _body(receipt):
        digest.update(part)
        yield part
    yield _CHECKSUM + digest.hexdigest().encode() + _END


def _body(receipt: Receipt) -> Iterator[bytes]:
    before = b"{\n"
    for name in receipt.__struct_fields__:
        if name != "checksum":
            yield b'%b  "%b": ' % (before, name.encode())
            yield from _value(getattr(receipt, name))
            before = b",\n"


def _value(value: object) -> Iterator[bytes]:
    entries = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
    for start in range(0, len(entries), _PART):
        part = (entries[index] for index in range(start, min(start + _PART, len(entries))))
        lines = b",\n".join(b"    " + msgspec.json.encode(entry) for entry in part)
        yield (b",\n" if start else b"[\n") + lines
    yield b"\n  ]" if entries else msgspec.json.encode(value)


def parse(path: Path, content: bytes) -> Receipt:
    """Parse a receipt's file. Raises ReceiptUnusable if it is damaged, or ReceiptFromNewerVersion."""
    if (found := FORMAT_NUMBER.match(content)) and found[1] != b"1":
        raise ReceiptFromNewerVersion(
            f"{path} has the receipt format {int(found[1])}, which this version does not read.",
            "Use the target-sprinto that wrote it, or a newer one.",
        )
    body, _, checksum = content.rpartition(_CHECKSUM)
    if checksum != hashlib.sha256(body).hexdigest().encode() + _END:
        raise ReceiptUnusable(
            f"{path} is not an intact receipt: it was truncated or changed, or is another file.",
            "Use the file that the run wrote, byte for byte.",
        )
    try:
        return msgspec.json.decode(content, type=Receipt)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ReceiptUnusable(f"{path} is not a receipt that this version reads.") from None


def read_bytes(path: Path) -> bytes:
    """Read a receipt's file. Raises ReceiptUnusable."""
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ReceiptUnusable(f"The receipt cannot be read ({problem.strerror}): {path}.") from None


def published_schema() -> dict[str, Any]:
    """The JSON Schema of a receipt, as in `receipt.schema.json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:target-sprinto:receipt:1",
        **msgspec.json.schema(Receipt),
    }
