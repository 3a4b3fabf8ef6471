"""Finds similar names, for suggestions when one is misspelled. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import SequenceMatcher

from target_sprinto.push.text import fitting, short

_SHOWN = 5
_ROOM = 80


def within_one_edit(first: str, second: str) -> bool:
    """Whether one insertion, deletion, substitution or swap of neighbours turns one into the other."""
    if first == second:
        return True
    short, long = sorted((first, second), key=len)
    start = next((at for at, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    rest, other = short[start:], long[start:]
    if len(short) < len(long):
        return rest == other[1:]
    return rest[1:] == other[1:] or (rest[:2] == other[1::-1] and rest[2:] == other[2:])


def by_nearness(name: str, known: Iterable[str]) -> list[str]:
    """The known names, those most similar to `name` first. Case, `_`, `-` and `.` do not count."""
    letters = _letters(name)

    def similarity(other: str) -> tuple[bool, float]:
        others = _letters(other)
        # A prefix is the most frequent difference: `public-employees`.
        contained = bool(letters and others) and (letters.endswith(others) or others.endswith(letters))
        return contained, SequenceMatcher(None, letters, others).ratio()

    return sorted(known, key=similarity, reverse=True)


def nearest_first(
    name: str,
    known: Iterable[str],
    show: Callable[[str], str] = lambda name: f"'{short(name)}'",
    *,
    limit: int = _SHOWN,
) -> str:
    """A clause that lists the known names, the nearest first, as many as fit; empty if there are none."""
    names = by_nearness(name, known)
    parts = fitting([show(one) for one in names[:limit]], _ROOM, ", ")
    more = f" and {len(names) - len(parts)} more" if len(names) > len(parts) else ""
    return f" (nearest first: {', '.join(parts)}{more})" if names else ""


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
