"""From what was seen to what it means: one finding for each point that the documentation leaves open. Pure.

A point is named like the sandbox's reading of it, if there is one, and has the same values. What was not
shown has no value, and says why. No finding quotes a value of a record.
"""

from __future__ import annotations

from target_sprinto.probe import about_pages, about_rejections, about_sessions
from target_sprinto.probe.evidence import Evidence
from target_sprinto.probe.finding import Findings, NotShown

_POINTS = about_pages.POINTS | about_rejections.POINTS | about_sessions.POINTS

_NEVER_SHOWN = ("apply", "close_response_state", "discard_from_expired", "failed_leaves")
"""Readings that only applying or expiring could show."""


def read_findings(evidence: Evidence) -> Findings:
    """All points, in the order in which a reader wants them."""
    found: Findings = {}
    for point, conclude in _POINTS.items():
        try:
            found[point] = conclude(evidence)
        except NotShown as unknown:
            found[point] = unknown.finding
    never = NotShown("a session that is discarded does not show it").finding
    return found | dict.fromkeys(_NEVER_SHOWN, never)
