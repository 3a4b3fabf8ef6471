"""Draws conclusions from the evidence: one finding for each point that the documentation leaves open. Pure.

A point has the name and the values of the sandbox's reading of it, if there is one. A finding without a value
gives a reason. No finding quotes a value of a record. The findings lead to suggested settings, and to remarks
on what no setting fixes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from target_sprinto.probe import about_pages, about_rejections, about_sessions
from target_sprinto.probe.evidence import Evidence
from target_sprinto.probe.finding import Findings, NotShown

_POINTS = about_pages.POINTS | about_rejections.POINTS | about_sessions.POINTS

_NEVER_SHOWN = ("apply", "close_response_state", "discard_from_expired", "failed_leaves")
"""Readings that only applying or expiry could show."""


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


def suggest_settings(found: Findings) -> dict[str, Any]:
    """The settings that should differ from their defaults."""
    settings: dict[str, Any] = {}
    if found["gzip"].value is False:
        settings["compress"] = False
    # Requests in doubt are resolved by the counts, so these must be reliable as well.
    if found["parallel_pages"].value and found["repeated_page_counts_twice"].value:
        settings["max_parallel_pages"] = 2
    return settings


def remarks(found: Findings, entity_types: Sequence[str]) -> Iterator[str]:
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
