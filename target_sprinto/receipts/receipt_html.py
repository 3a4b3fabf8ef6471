"""A receipt as an HTML report to read and to print: self-contained, no scripts, all text escaped. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from string import Template

import msgspec

from target_sprinto.push.text import printable
from target_sprinto.receipts.document import Receipt, Stream

HEADLINES = {
    "unfinished": (
        "open",
        "Unfinished",
        "The run is in progress, was killed, or could not write its receipt: what it did is not shown.",
    ),
    "applied": (
        "good",
        "Applied",
        "Sprinto has processed the session: the records listed as accepted are applied.",
    ),
    "held": (
        "open",
        "Held for approval",
        "The records listed as accepted were staged for approval, and may have been applied since.",
    ),
    "dry-run": ("plain", "Dry run", "Every page was sent to Sprinto, then the session was discarded."),
    "nothing-to-send": ("plain", "Nothing to send", "There was no record to send, so no session was opened."),
    "failed": ("bad", "Failed", ""),
    "interrupted": ("bad", "Interrupted", ""),
}
"""By outcome: the report's colour, its headline, and what it means; empty if the run's error says so."""

_REJECTED_BY = {"sprinto": "Sprinto", "target": "target-sprinto"}

_ENDS = {
    "processed": "Sprinto processed the session anyway: the accepted records were applied.",
    "cancelled": "The session was discarded: nothing was applied.",
    "expired": "The session has expired: nothing was applied.",
}


def render(receipt: Receipt, signature: str) -> bytes:
    """The report's bytes. `signature` says who signed the receipt, and whether that was checked."""
    mood, headline, explained = HEADLINES[receipt.outcome]
    # A failed run's error comes first; otherwise it is one fact among others.
    reason = None if explained else receipt.error_message
    return fill(
        "receipt.html",
        title=escape(f"{headline}: run {receipt.run}"),
        run=escape(receipt.run),
        version=escape(receipt.target_version),
        mood=mood,
        headline=escape(headline + (f" [{receipt.error}]" if receipt.error else "")),
        explained=escape(" ".join(filter(None, (reason, _explain(receipt))))),
        facts=_facts(receipt, signature),
        tables="" if receipt.outcome == "unfinished" else _tables(receipt),
    )


def _tables(receipt: Receipt) -> str:
    return fill(
        "receipt_tables.html",
        entities=table(
            "Entity type, From streams, Entities:number, Accepted:number, Counted by Sprinto:number,"
            " SHA-256:digest",
            (
                (
                    *(one.entity_type, _by_stream(one.streams), one.entities, one.accepted),
                    *(_counted(receipt, one.entity_type), one.sha256),
                )
                for one in receipt.entity_types
            ),
            "No entity was put into a page.",
        ),
        streams=table(
            "Stream, Records read:number, Skipped as deleted:number, Left out by a map:number,"
            " Dropped fields, Extracted by the tap",
            (
                (one.stream, one.records, one.skipped, one.filtered, ", ".join(one.dropped), _extracted(one))
                for one in receipt.streams
            ),
            "No record was read.",
        ),
        rejects=table(
            "Input line:number, In batch file, Stream, Entity type, Reason:code, Rejected by",
            (
                (one.line, one.place, one.stream, one.entity_type, one.code, _REJECTED_BY[one.rejected_by])
                for one in receipt.rejects
            ),
            "None.",
        ),
        pages=table(
            "Page:number, Input lines, Entities:number, Accepted:number, Bytes:number, Requests:number,"
            " Sent at:tight, Accepted at:tight, SHA-256:digest",
            (
                (
                    *(one.number, one.lines, one.entities, one.accepted, one.bytes, one.requests),
                    *(_clock(one.first_sent_at), _clock(one.last_accepted_at), one.sha256),
                )
                for one in receipt.pages
            ),
            "No page was made.",
        ),
        phases=table(
            "At:tight, Phase",
            ((_moment(step.at), step.phase) for step in receipt.phases),
            "No session was opened.",
            stacked=False,
        ),
        events=table(
            "At:tight, Level, Event:code, Id:code",
            ((_moment(event.at), event.level, event.type, event.id) for event in receipt.events or ()),
            "The log could not be read." if receipt.events is None else "None.",
        ),
    ).decode()


def fill(template: str, **parts: str) -> bytes:
    """Fill a template of this folder with `parts`, which are HTML."""
    folder = resources.files("target_sprinto.receipts")
    style = (folder / "style.css").read_text(encoding="utf-8")
    text = Template((folder / template).read_text(encoding="utf-8"))
    return text.substitute(parts, style=style).encode()


def _explain(receipt: Receipt) -> str:
    message = HEADLINES[receipt.outcome][2]
    if message:
        rejected = len(receipt.rejects)
        more = f"Records that were rejected: {rejected}." if rejected else ""
        return " ".join(filter(None, (message, receipt.count_mismatch, more)))
    session = receipt.session
    phases = [step.phase for step in receipt.phases]
    if session is None:
        if "opening" in phases and "unopened" not in phases:
            return "Whether a session was opened is unknown; nothing was sent to it."
        return "No session was opened."
    # After a close that was definitely not performed, the session is discarded; one in doubt may still apply,
    # even from `expired`.
    may_be_applied = "applying" in phases and "discarding" not in phases
    if session.state in _ENDS and not (session.state == "expired" and may_be_applied):
        return _ENDS[session.state]
    if may_be_applied:
        return "The apply request was sent; the session may still be applied."
    return "The session's end was not observed. Nothing is applied unless someone applies it."


def _facts(receipt: Receipt, signature: str) -> str:
    session = receipt.session
    facts: list[tuple[str, object]] = [
        ("Integration", receipt.integration_id),
        ("Region", receipt.region or "set by api_url"),
        ("API", receipt.api_url),
        ("Session", session.id if session else None),
        ("Reference", receipt.reference),
    ]
    if session is not None:
        counts = session.accepted_records
        counted = ", ".join(f"{count:,} {_isolated(name)}" for name, count in sorted((counts or {}).items()))
        facts += [
            (
                "Session is",
                session.state + (f", read {_moment(session.state_read_at)}" if session.state_read_at else ""),
            ),
            ("Counted by Sprinto", "not read" if counts is None else counted or "nothing"),
            ("Of other types", session.accepted_others or None),
        ]
    facts += [
        ("Started", _moment(receipt.started_at)),
        ("Ended", _moment(receipt.ended_at) if receipt.ended_at else None),
        ("Exit code", receipt.exit_code),
        ("Error", receipt.error_message if HEADLINES[receipt.outcome][2] else None),
        ("Input line of the error", receipt.error_line),
        ("Settings (SHA-256)", receipt.settings_sha256),
    ]
    if receipt.outcome != "unfinished":
        facts += [
            ("STATE went to", receipt.state_went_to),
            ("Input (SHA-256)", receipt.input_sha256),
            ("Input lines", receipt.input_lines),
            ("Final STATE required", "yes" if receipt.final_state_required else "no"),
        ]
    facts += [
        ("Host", receipt.provenance.host),
        ("User", receipt.provenance.user),
        # Marked, so that they are not mistaken for facts that the run established.
        *((f"Given: {name}", value) for name, value in receipt.provenance.given.items()),
        *receipt.provenance.environment.items(),
        ("Entity types by stream", _indented(msgspec.json.encode(receipt.entity_mapping))),
        ("Stream maps", _indented(receipt.stream_maps)),
        ("Number", receipt.number),
        ("Follows (SHA-256)", receipt.previous),
        ("Signature", signature),
    ]
    shown = (f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in facts if value is not None)
    return f"<dl>{''.join(shown)}</dl>"


def _counted(receipt: Receipt, entity_type: str) -> int | None:
    counts = receipt.session.accepted_records if receipt.session else None
    return None if counts is None else counts.get(entity_type, 0)


def _indented(value: bytes) -> str:
    return msgspec.json.format(bytes(value), indent=2).decode()


def table(columns: str, rows: Iterable[Sequence[object]], empty: str, *, stacked: bool = True) -> str:
    """A table, or a sentence if there are no rows.

    `columns` are headings, each with an optional kind after a colon: `number`, `tight` for text on one line,
    `code` or `digest`. `stacked`: narrow screens show the cells below each other, each with its heading.
    """
    kinds = {head: kind for head, _, kind in (column.partition(":") for column in columns.split(", "))}
    body = [
        "".join(_cell(head, kind, value) for (head, kind), value in zip(kinds.items(), row, strict=True))
        for row in rows
    ]
    if not body:
        return f'<p class="empty">{escape(empty)}</p>'
    heads = "".join(f'<th scope="col"{_class(kind)}>{escape(head)}</th>' for head, kind in kinds.items())
    lines = "".join(f"<tr>{cells}</tr>" for cells in body)
    style = ' class="stacked"' if stacked else ""
    return f"<table{style}><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"


def _cell(head: str, kind: str, value: object) -> str:
    shown = text(f"{value:,}" if isinstance(value, int) else value or "-")
    if kind in {"code", "digest"}:
        shown = f'<code class="{kind}">{shown}</code>'
    return f'<td{_class(kind)} data-head="{escape(head)}">{shown}</td>'


_ISOLATE, _END = "\u2068", "\u2069"


def _isolated(name: str) -> str:
    """A name to use within other text; the writing direction of one does not affect the other."""
    return f"{_ISOLATE}{printable(name)}{_END}"


def text(value: object) -> str:
    """A value as HTML: control characters are escaped, and its writing direction is isolated."""
    parts = re.split(f"([\n{_ISOLATE}{_END}])", str(value))
    shown = "".join(part if number % 2 else printable(part) for number, part in enumerate(parts))
    return escape(shown) if shown.isascii() else f"<bdi>{escape(shown)}</bdi>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind in {"number", "tight"} else ""


def _by_stream(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{_isolated(stream)} {count:,}" for stream, count in counts.items())


def _extracted(stream: Stream) -> str:
    times = (stream.first_extracted_at, stream.last_extracted_at)
    return " to ".join(dict.fromkeys(_moment(at) for at in times if at is not None))


def _moment(at: str) -> str:
    return at.replace("T", " ").removesuffix("Z")


def _clock(at: str | None) -> str | None:
    return at.partition("T")[2].removesuffix("Z") if at else None
