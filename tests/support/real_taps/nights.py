"""Where a tap reads, and the expected result of each run."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

MORNING = 1767261845
"""2026-01-01T10:04:05Z, when a source is written; it is changed an hour later."""


@dataclass
class Place:
    """Where a tap reads, and its environment."""

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    catalog: dict[str, Any] = field(default_factory=dict)
    """Metadata for every discovered stream; without it, the tap runs without a catalog."""

    def write(self, name: str, content: str | bytes, *, at: int = MORNING) -> str:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (at, at))
        return str(path)


class Night(NamedTuple):
    """A run's expected records, `{stream: [record as JSON]}`, or its expected error."""

    records: dict[str, list[str]] = {}  # noqa: RUF012 - never changed
    error: str = ""
    settings: dict[str, Any] = {}  # noqa: RUF012 - never changed
    batches: int = 0
    """The number of BATCH messages that the tap must send."""
