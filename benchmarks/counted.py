"""What the light sandbox counts of one integration.

Imports little: what the benchmark itself holds is the least peak that it can measure of a child.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counted:
    """Requests, their bodies' bytes as sent, and of pages the most bytes of JSON and the most records.

    `state`, `records` and `pages` are what the integration's last session has accepted.
    """

    state: str = "none"
    records: int = 0
    pages: int = 0
    requests: int = 0
    sent_bytes: int = 0
    most_bytes: int = 0
    most_records: int = 0
