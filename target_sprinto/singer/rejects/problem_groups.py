"""Groups the problems of many records by entity type, field and rule. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from target_sprinto.push.protocol.field_paths import FieldProblem
from target_sprinto.push.text import pluralize, quoted
from target_sprinto.singer.rejects.rejected_records import Rejected, Source

_LINES_SHOWN = 5


@dataclass(frozen=True)
class ProblemGroup:
    """Records with the same problem; `sources` are in input order."""

    entity_type: str
    problem: FieldProblem
    code: str
    sources: list[Source]

    @property
    def places(self) -> list[str]:
        """Where the first records are in the input."""
        return [
            f"{source.line} ({source.batch_place})" if source.batch_place else str(source.line)
            for source in self.sources[:_LINES_SHOWN]
        ]

    def __str__(self) -> str:
        problem = f"entity type {quoted(self.entity_type)}: {self.problem} [{self.code}]"
        if len(self.sources) == 1:
            return f"{self.sources[0]}, {problem}"
        more = len(self.sources) - _LINES_SHOWN
        lines = ", ".join(self.places) + (f" and {more:,} more" if more > 0 else "")
        return f"{pluralize(len(self.sources), 'record')} of {problem}, input lines {lines}"


def grouped(rejected: Iterable[Rejected]) -> list[ProblemGroup]:
    """The groups, the most frequent problem first. A record with several problems is in the group of each."""
    groups: dict[tuple[str, FieldProblem, str], ProblemGroup] = {}
    for one in rejected:
        for field, issue in one.problems or [one.problem]:
            kind = (one.entity_type, FieldProblem(field or None, issue), one.code)
            groups.setdefault(kind, ProblemGroup(*kind, [])).sources.append(one.source)
    return sorted(groups.values(), key=lambda group: -len(group.sources))
