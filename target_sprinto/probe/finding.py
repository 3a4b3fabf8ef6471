"""The conclusion about one point. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from target_sprinto.probe.evidence import Evidence

_T = TypeVar("_T")


@dataclass(frozen=True)
class Finding:
    """One point: what was seen, and what that means for a run. `value` is None if it was not shown."""

    value: bool | float | str | None
    seen: str
    means: str = ""

    @property
    def shown(self) -> bool:
        """Whether the probe could decide it."""
        return self.value is not None


Findings = dict[str, Finding]
"""By point."""

Points = dict[str, Callable[[Evidence], Finding]]
"""The function that concludes each point from the evidence. Raises NotShown."""


class NotShown(Exception):
    """The probe could not decide a point: why, and what that means for a run."""

    def __init__(self, why: str, means: str = "") -> None:
        super().__init__(why)
        self.finding = Finding(None, f"not shown: {why}", means)


def reached(seen: _T | None) -> _T:
    """Return `seen`. Raises NotShown if the probe ended before this step."""
    if not seen:
        raise NotShown("the probe ended before this step")
    return seen


def yes(seen: str, means: str) -> Finding:
    """A finding whose value is True."""
    return Finding(value=True, seen=seen, means=means)


def no(seen: str, means: str) -> Finding:
    """A finding whose value is False."""
    return Finding(value=False, seen=seen, means=means)
