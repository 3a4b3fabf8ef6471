"""Formatting of counts and names for messages. Pure."""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence

LONGEST_NAME = 255
"""In characters, for a stream, entity type or integration. Sprinto documents no limit."""

SHOWN_CHARACTERS = 100
_NAME_CHARACTERS = 40
_MAX_NAMES = 10
_ROOM = 150
"""Characters available in a message for two lists of counts."""

_QUOTED = re.compile(r"(?<!\w)'([^'/]+)'(?!\w)")
"""A quoted name: not an apostrophe, which follows a letter, nor a path, which is useless if cut."""


def printable(text: str) -> str:
    """The text with control characters escaped, as in JSON.

    These are line breaks, terminal escapes, and characters that change the text direction. Spaces and tabs
    are kept: a STATE on stderr must load again.
    """
    if text.isprintable():
        return text
    return "".join(char if _is_harmless(char) else json.dumps(char)[1:-1] for char in text)


def _is_harmless(char: str) -> bool:
    return char.isprintable() or char == "\t" or unicodedata.category(char) == "Zs"


def shown(text: str) -> str:
    """External text for display: printable, and at most about 100 characters."""
    return printable(text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…")


def quoted(text: str) -> str:
    """The result of `shown`, in quotes."""
    return f"'{shown(text)}'"


def short(name: str, limit: int = _NAME_CHARACTERS) -> str:
    """The name, shortened in the middle if it is long, so that several fit into one message."""
    half = limit // 2
    return printable(name if len(name) <= limit else f"{name[: half - 1]}…{name[-half:]}")


def fitted(message: str, room: int) -> str:
    """The message, with quoted names shortened until it fits into `room` characters."""
    cut = message
    for limit in (48, 32, 24, 16, 10, 6):
        if len(cut) <= room:
            break
        cut = _QUOTED.sub(lambda found, limit=limit: f"'{short(found[1], limit)}'", message)  # type: ignore[misc] # mypy infers no lambda with a default
    return cut


def in_json(name: str) -> str:
    """The name as JSON, for a suggestion in a message; an ellipsis if it is too long to type."""
    return json.dumps(name if len(name) <= _NAME_CHARACTERS else "…", ensure_ascii=False)


def suggested(*words: str, config: Sequence[str] = ()) -> str:
    """A command for a message to suggest, quoted for a shell; `config` are its `--config` files, if known."""
    named = [word for name in config for word in ("--config", name)]
    return shlex.join([*words, *(named or ["--config", "FILE"])])


def fitting(parts: Sequence[str], room: int, separator: str = "; ") -> list[str]:
    """As many parts as fit into `room` characters when joined, but at least one."""
    kept = list(parts[:1])
    for part in parts[1:]:
        if len(separator.join([*kept, part])) > room:
            break
        kept.append(part)
    return kept


def listed(parts: Sequence[str], room: int) -> str:
    """As many parts as fit into `room` characters, at least one, and the number of those left out."""
    kept = fitting(parts, room)
    more = [f"and {len(parts) - len(kept)} more"] if len(kept) < len(parts) else []
    return "; ".join([*kept, *more])


def pluralize(number: int, noun: str) -> str:
    """``3 pages``, ``1 page``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def in_columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def format_counts(
    counts: Mapping[str, int],
    sent: Collection[str] | None = None,
    limit: int = _MAX_NAMES,
    *,
    with_zeros: bool = False,
) -> str:
    """Counts by entity type, ``{entity_type: int}``, as text for a message.

    If `sent` is given, no other name is shown: in Sprinto's counts it could be anything. At most `limit`
    names are shown.
    """
    named = {name: count for name, count in counts.items() if sent is None or name in sent}
    parts = [f"{count} {short(name, 30)}" for name, count in sorted(named.items()) if count or with_zeros]
    if (more := len(parts) - limit) > 0:
        parts[limit:] = [f"{more} more types"]
    if others := sum(counts.values()) - sum(named.values()):
        parts.append(f"{others} of types that were not sent")
    return ", ".join(parts) or "nothing"


def format_difference(
    counted: Mapping[str, int], sent: Mapping[str, int], known: Collection[str] | None = None
) -> tuple[str, str]:
    """Sprinto's counts and ours; if they are long, only two types that differ. `known` may be shown."""
    known = sent if known is None else known
    both = format_counts(counted, known), format_counts(sent)
    if sum(map(len, both)) <= _ROOM:
        return both
    differing = {name for name in (*counted, *sent) if counted.get(name, 0) != sent.get(name, 0)}
    if not differing.intersection(known):
        return format_counts(counted, known, 2), format_counts(sent, limit=2)
    theirs = {name: counted.get(name, 0) for name in differing}
    ours = {name: sent.get(name, 0) for name in differing.intersection(known)}
    return format_counts(theirs, known, 2, with_zeros=True), format_counts(ours, limit=2, with_zeros=True)
