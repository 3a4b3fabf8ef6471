"""Formatting of counts and names for messages. Pure."""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence

LONGEST_NAME = 255
"""Characters of a stream's, entity type's or integration's name. Sprinto documents no limit."""

SHOWN_CHARACTERS = 100
_NAME_CHARACTERS = 40
_MOST_NAMES = 10
_ROOM = 150
"""Characters of a message for two lists of counts."""

_QUOTED = re.compile(r"(?<!\w)'([^'/]+)'(?!\w)")
"""Neither an apostrophe, which has a letter before it, nor a path, which is of use only as a whole."""


def printable(text: str) -> str:
    """A text with its control characters escaped, as in JSON.

    Those are line ends, terminal escapes, and characters that change the direction of writing.
    Spaces and tabs stay: a STATE on stderr must load again.
    """
    if text.isprintable():
        return text
    return "".join(one if _is_harmless(one) else json.dumps(one)[1:-1] for one in text)


def _is_harmless(one: str) -> bool:
    return one.isprintable() or one == "\t" or unicodedata.category(one) == "Zs"


def shown(text: str) -> str:
    """A text from outside as it may be shown: printable, and at most about 100 characters."""
    return printable(text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…")


def quoted(text: str) -> str:
    """The same, in quotes."""
    return f"'{shown(text)}'"


def short(name: str, most: int = _NAME_CHARACTERS) -> str:
    """A name, cut in the middle, for where several have to fit into one message."""
    half = most // 2
    return printable(name if len(name) <= most else f"{name[: half - 1]}…{name[-half:]}")


def fitted(message: str, room: int) -> str:
    """The message, with the names in quotes cut as far as it takes to fit into `room` characters."""
    cut = message
    for most in (48, 32, 24, 16, 10, 6):
        if len(cut) <= room:
            break
        cut = _QUOTED.sub(lambda found, most=most: f"'{short(found[1], most)}'", message)  # type: ignore[misc] # mypy infers no lambda with a default
    return cut


def in_json(name: str) -> str:
    """A name as a message suggests it for a JSON file; an ellipsis for one that is too long to be typed."""
    return json.dumps(name if len(name) <= _NAME_CHARACTERS else "…", ensure_ascii=False)


def suggested(*words: str, config: Sequence[str] = ()) -> str:
    """A command as a message suggests it, quoted for a shell; `config` is what `--config` names, if known."""
    named = [word for name in config for word in ("--config", name)]
    return shlex.join([*words, *(named or ["--config", "FILE"])])


def fitting(parts: Sequence[str], room: int, separator: str = "; ") -> list[str]:
    """As many of the parts as fit into `room` characters once they are joined, at least one."""
    kept = list(parts[:1])
    for part in parts[1:]:
        if len(separator.join([*kept, part])) > room:
            break
        kept.append(part)
    return kept


def listed(parts: Sequence[str], room: int) -> str:
    """As many of the parts as fit into `room` characters, at least one, and how many are left out."""
    kept = fitting(parts, room)
    more = [f"and {len(parts) - len(kept)} more"] if len(kept) < len(parts) else []
    return "; ".join([*kept, *more])


def pluralize(number: int, noun: str) -> str:
    """``3 pages``, ``1 page``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def in_columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines whose cells are below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def format_counts(
    counts: Mapping[str, int],
    sent: Collection[str] | None = None,
    most: int = _MOST_NAMES,
    *,
    with_zeros: bool = False,
) -> str:
    """``{entity_type: int}`` as a reader wants it.

    In counts of Sprinto's a name that was not `sent` is not repeated: it may be anything. Of many names the
    first `most` are shown.
    """
    named = {name: count for name, count in counts.items() if sent is None or name in sent}
    message = [f"{count} {short(name, 30)}" for name, count in sorted(named.items()) if count or with_zeros]
    if (more := len(message) - most) > 0:
        message[most:] = [f"{more} more types"]
    if others := sum(counts.values()) - sum(named.values()):
        message.append(f"{others} of types that were not sent")
    return ", ".join(message) or "nothing"


def format_difference(
    counted: Mapping[str, int], sent: Mapping[str, int], known: Collection[str] | None = None
) -> tuple[str, str]:
    """Sprinto's counts and our own; of many types two in which they differ. `known` may be named."""
    known = sent if known is None else known
    both = format_counts(counted, known), format_counts(sent)
    if sum(map(len, both)) <= _ROOM:
        return both
    differing = {name for name in (*counted, *sent) if counted.get(name, 0) != sent.get(name, 0)}
    if not differing.intersection(known):
        return format_counts(counted, known, 2), format_counts(sent, most=2)
    theirs = {name: counted.get(name, 0) for name in differing}
    ours = {name: sent.get(name, 0) for name in differing.intersection(known)}
    return format_counts(theirs, known, 2, with_zeros=True), format_counts(ours, most=2, with_zeros=True)
