"""A probe's report: one finding for each point that the documentation leaves open, as a table or JSON. Pure.

A point has the name and the values of the sandbox's reading of it, if there is one. A finding without a value
gives a reason. No finding quotes a value of a record. The report also suggests settings, and has remarks on
what no setting can fix.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import msgspec

from target_sprinto.probe import about_pages, about_rejections, about_sessions
from target_sprinto.probe.evidence import Evidence
from target_sprinto.probe.finding import Findings, NotShown

_POINTS = about_pages.POINTS | about_rejections.POINTS | about_sessions.POINTS

_NEVER_SHOWN = ("apply", "close_response_state", "discard_from_expired", "failed_leaves")
"""Readings that only applying or expiry could show."""

_GAP = 2
_MIN_WIDTH = 20


def read_findings(evidence: Evidence) -> Findings:
    """All findings, in the order of a report."""
    found: Findings = {}
    for point, conclude in _POINTS.items():
        try:
            found[point] = conclude(evidence)
        except NotShown as unknown:
            found[point] = unknown.finding
    never = NotShown("a session that is discarded does not show it").finding
    return found | dict.fromkeys(_NEVER_SHOWN, never)


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
            "settings": _suggested_settings(findings),
            "remarks": list(_remarks(findings, evidence.entity_types)),
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
    settings = _suggested_settings(findings)
    yield f"Suggested settings: {msgspec.json.encode(settings).decode() if settings else 'the defaults'}"
    for remark in _remarks(findings, evidence.entity_types):
        yield from textwrap.wrap(remark, width, initial_indent="- ", subsequent_indent="  ")


def _lines(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    wrapped = [textwrap.wrap(cell, width) for cell, width in zip(cells, widths, strict=True)]
    for parts in zip_longest(*wrapped, fillvalue=""):
        padded = (part.ljust(width + _GAP) for part, width in zip(parts, widths, strict=True))
        yield "".join(padded).rstrip()


def _suggested_settings(found: Findings) -> dict[str, Any]:
    """The settings that should differ from their defaults."""
    settings: dict[str, Any] = {}
    if found["gzip"].value is False:
        settings["compress"] = False
    # Requests in doubt are resolved by the counts, so these must be reliable as well.
    if found["parallel_pages"].value and found["repeated_page_counts_twice"].value:
        settings["max_parallel_pages"] = 2
    return settings


def _remarks(found: Findings, entity_types: Sequence[str]) -> Iterator[str]:
    """Remarks on what a person has to decide."""
    if found["parallel_pages"].value:
        yield (
            "More than two pages at once were not tried. Up to 8 can be distinguished if a response is lost;"
            " above 1 the order of the input is kept for each entity key only."
        )
    if not found["log_shows_reference"].value and found["log_shows_reference"].means:
        yield (
            "`on_active_session: discard` would take nothing over. If runs may overlap, use `wait`;"
            " `sprintoctl discard SESSION` ends what a killed run left."
        )
    if found["status_postpones_expiry"].value is False:
        yield (
            "If the tap is idle for longer than the session's inactivity timeout, the session expires:"
            " let such a tap write a file, and load that."
        )
    if found["repeated_page_counts_twice"].value is False:
        yield (
            "A record sent twice in a run may not be counted twice, which `on_count_mismatch: discard`"
            " treats as a loss. Ask Sprinto what is counted before you set it to `apply`."
        )
    if not found["counts_lag_seconds"].shown and found["counts_lag_seconds"].means:
        yield (
            "Without counts that can be compared `on_count_mismatch: discard` discards every run. Ask"
            " Sprinto's support before you set it to `apply`."
        )
    if found["rejections_in_202"].value:
        yield "An accepted page may have rejected records: ask Sprinto's support what happens to the others."
    if found["discard_confirmed"].shown:
        expect = msgspec.json.encode({name: {"min_records": 1} for name in entity_types}).decode()
        yield (
            "What applying does to older records was not shown. Until you know that it does not replace them,"
            f' guard against runs with too few records: "expect": {expect}'
        )
