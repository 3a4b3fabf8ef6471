"""Times as Sprinto writes them. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timezone


def parse_time(value: object) -> datetime | None:
    """An ISO 8601 date-time with its zone, in UTC; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        # Python 3.10 reads no `Z`, and fractions of three or six digits only.
        text = re.sub(r"\.(\d+)", lambda found: f".{found[1][:6]:0<6}", value.replace("Z", "+00:00"))
        time = datetime.fromisoformat(text)
        return time.astimezone(timezone.utc) if time.tzinfo else None
    except (ValueError, OverflowError):
        return None
