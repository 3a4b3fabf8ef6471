"""A probe's findings as a table or as JSON. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import msgspec

from target_sprinto.probe.conclusions import read_findings, remarks, suggest_settings
from target_sprinto.probe.evidence import Evidence

_GAP = 2
_MIN_WIDTH = 20


def render_json(evidence: Evidence) -> str:
    """One JSON document: the findings by point, the settings that they suggest, and remarks."""
    findings = read_findings(evidence)
    return msgspec.json.encode(
        {
            "session_id": evidence.session_id or None,
            "discarded": evidence.discarded,
            "entity_types": evidence.entity_types,
            "findings": [
                {"point": point, "shown": finding.shown, **msgspec.to_builtins(finding)}
                for point, finding in findings.items()
            ],
            "settings": suggest_settings(findings),
            "remarks": list(remarks(findings, evidence.entity_types)),
        }
    ).decode()


def render_table(evidence: Evidence, width: int) -> Iterator[str]:
    """The report's lines: a table of points, observations and meanings, then settings and remarks."""
    findings = read_findings(evidence)
    rows = [("Point", "Seen", "Means for a run")]
    rows += [(point, finding.seen, finding.means) for point, finding in findings.items()]
    first = max(len(point) for point, _, _ in rows)
    left = max(2 * _MIN_WIDTH, width - first - 2 * _GAP)
    widths = (first, left // 2, left - left // 2)
    for row in rows:
        yield from _lines(row, widths)
    yield ""
    settings = suggest_settings(findings)
    yield f"Suggested settings: {msgspec.json.encode(settings).decode() if settings else 'the defaults'}"
    for remark in remarks(findings, evidence.entity_types):
        yield from textwrap.wrap(remark, width, initial_indent="- ", subsequent_indent="  ")


def _lines(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    wrapped = [textwrap.wrap(cell, width) for cell, width in zip(cells, widths, strict=True)]
    for parts in zip_longest(*wrapped, fillvalue=""):
        padded = (part.ljust(width + _GAP) for part, width in zip(parts, widths, strict=True))
        yield "".join(padded).rstrip()
