"""What one point came to. Pure."""

from __future__ import annotations

from dataclasses import dataclass

NOT_REACHED = "the probe ended before it came to this"


@dataclass(frozen=True)
class Finding:
    """One point: what was seen, and what that means for a run. Without a value it was not shown."""

    value: bool | float | str | None
    seen: str
    means: str = ""

    @property
    def shown(self) -> bool:
        """Whether the probe could tell."""
        return self.value is not None


Findings = dict[str, Finding]
"""By point."""


def not_shown(why: str, means: str = "") -> Finding:
    """A point that the probe could not tell."""
    return Finding(None, f"not shown: {why}", means)


def yes(seen: str, means: str) -> Finding:
    """A point that is so."""
    return Finding(value=True, seen=seen, means=means)


def no(seen: str, means: str) -> Finding:
    """A point that is not so."""
    return Finding(value=False, seen=seen, means=means)
