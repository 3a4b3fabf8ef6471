"""Groups the problems of many records by entity type, field and rule. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from target_sprinto.push.protocol.field_paths import FieldProblem
from target_sprinto.push.text import pluralize, quoted
from target_sprinto.singer.rejects.rejected_records import Rejected

_LINES_SHOWN = 5


@dataclass(frozen=True)
class ProblemGroup:
    """Records with the same problem; `lines` are their input lines, in order, and `first` is one of them."""

    entity_type: str
    problem: FieldProblem
    code: str
    lines: list[int]
    first: Rejected

    def __str__(self) -> str:
        if len(self.lines) == 1:
            return str(self.first)
        shown = ", ".join(map(str, self.lines[:_LINES_SHOWN]))
        more = len(self.lines) - _LINES_SHOWN
        return (
            f"{pluralize(len(self.lines), 'record')} of entity type {quoted(self.entity_type)}:"
            f" {self.problem} [{self.code}],"
            f" input lines {shown}{f' and {more:,} more' if more > 0 else ''}"
        )


def grouped(rejected: Iterable[Rejected]) -> list[ProblemGroup]:
    """The groups, the most frequent problem first. A record with several problems is in the group of each."""
    groups: dict[tuple[str, FieldProblem, str], ProblemGroup] = {}
    for one in rejected:
        for field, issue in one.problems or [one.problem]:
            kind = (one.entity_type, FieldProblem(field or None, issue), one.code)
            groups.setdefault(kind, ProblemGroup(*kind, [], one)).lines.append(one.source.line)
    return sorted(groups.values(), key=lambda group: -len(group.lines))
