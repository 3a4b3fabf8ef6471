"""Stream → entity type. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from target_sprinto.errors import UnmappedStream
from target_sprinto.push.text import LONGEST_NAME, in_json, quoted, short
from target_sprinto.similar_names import nearest_first


class Unmapped(enum.Enum):
    """How to treat streams that `entity_types` does not name."""

    KEEP = "keep"
    IGNORE = "ignore"
    FAIL = "fail"


@dataclass(frozen=True)
class EntityTypes:
    """Sprinto's name for each stream, after its stream maps: ``{stream or pattern: entity_type}``."""

    names: Mapping[str, str] = field(default_factory=dict)
    unmapped: Unmapped = Unmapped.FAIL

    def named(self, stream: str) -> str | None:
        """The entity type that the settings name for the stream, if any.

        The stream's own name wins over patterns; of several patterns, the last one wins, as in `stream_maps`.
        """
        if stream in self.names:
            return self.names[stream]
        found = [entity_type for name, entity_type in self.names.items() if fnmatchcase(stream, name)]
        return found[-1] if found else None

    def of(self, stream: str) -> str | None:
        """The stream's entity type; None if its records are not to be sent.

        Raises UnmappedStream, under `fail` for a stream that is not named, and under `keep` for one whose own
        name cannot be an entity type.
        """
        named = self.named(stream)
        if named is None and self.unmapped is Unmapped.FAIL:
            names = nearest_first(stream, self.names, self._described)
            example = "User" if not self.names or "User" in self.names.values() else "TYPE"
            raise UnmappedStream(
                f"stream {quoted(stream)} has no entity type:"
                f" `entity_types` {f'does not name it{names}' if names else 'is empty'}.",
                f'Name it there: {{{in_json(stream)}: "{example}"}}; or set `unmapped_streams` to `ignore`,'
                " or to `keep` (under its own name).",
            )
        if named is not None or self.unmapped is Unmapped.IGNORE:
            return named
        if not stream.strip() or len(stream) > LONGEST_NAME:
            raise UnmappedStream(
                f"stream {quoted(stream)} has a name that cannot be an entity type: it is blank or longer"
                f" than {LONGEST_NAME} characters.",
                "Name its entity type in `entity_types`.",
            )
        return stream

    def _described(self, name: str) -> str:
        return f"{quoted(name)} as {short(self.names[name])}"


def is_named(stream: str, name: str) -> bool:
    """Whether a name in the settings, which may be a pattern, matches the stream."""
    # A name with a bracket also matches literally, as in the SDK's mapper.
    return stream == name or fnmatchcase(stream, name)
