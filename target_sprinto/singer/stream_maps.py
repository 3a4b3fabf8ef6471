"""Stream → entity type. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Unmapped(enum.Enum):
    """What happens to streams that `entity_types` does not name."""

    KEEP = "keep"
    IGNORE = "ignore"
    FAIL = "fail"


@dataclass(frozen=True)
class EntityTypes:
    """Sprinto's name for each stream: ``{stream: entity_type}``. Stream maps may have renamed a stream."""

    names: Mapping[str, str] = field(default_factory=dict)
    unmapped: Unmapped = Unmapped.KEEP

    def of(self, stream: str) -> str | None:
        """The stream's entity type; None where its records are not to be sent.

        Raises LookupError for a stream that is not named, under `fail`.
        """
        if stream in self.names:
            return self.names[stream]
        if self.unmapped is Unmapped.FAIL:
            raise LookupError(stream)
        return stream if self.unmapped is Unmapped.KEEP else None


def unmet(named: Iterable[str], came: Iterable[str]) -> tuple[list[str], list[str]]:
    """Streams that settings name and that did not come, and streams that came and are not named.

    A name may be a pattern, as those of `stream_maps` are. Nothing named is nothing missed.
    """
    names, streams = list(named), list(came)
    absent = [name for name in names if not any(_is_named(stream, name) for stream in streams)]
    unnamed = [stream for stream in streams if not any(_is_named(stream, name) for name in names)]
    return absent, unnamed


def _is_named(stream: str, name: str) -> bool:
    # A name with a bracket in it is itself before it is a pattern, for the SDK's mapper too.
    return stream == name or fnmatchcase(stream, name)
