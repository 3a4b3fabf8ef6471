"""Figures as a reader wants them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


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
