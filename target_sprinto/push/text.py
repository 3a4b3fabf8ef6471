"""Figures as a reader wants them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


SHOWN_CHARACTERS = 100


def shown(text: str) -> str:
    """A text from outside as it may be shown: at most 100 characters, each of them printable.

    Control characters, line ends, terminal escapes and characters that change the direction of writing are
    escaped, as in a Python literal.
    """
    cut = text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in cut)


def counted(number: int, noun: str) -> str:
    """``3 pages``, ``1 page``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def figures(counts: Mapping[str, int], sent: Collection[str] | None = None) -> str:
    """``{entity_type: int}`` as a reader wants it.

    In counts of Sprinto's a name that was not `sent` and does not look like one is not repeated: it may be
    anything.
    """
    named = {
        name: count for name, count in counts.items() if sent is None or name in sent or name.isidentifier()
    }
    told = [f"{count} {name}" for name, count in sorted(named.items()) if count]
    if others := sum(counts.values()) - sum(named.values()):
        told.append(f"{others} of types that were not sent")
    return ", ".join(told) or "nothing"
