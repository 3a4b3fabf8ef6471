"""Stream → entity type. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


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
