"""Times as Sprinto writes them. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache

CLOCK_SKEW = timedelta(minutes=5)
"""How far two clocks may differ: those of two machines, or one machine's before and after it was set."""

_YEARS = range(1970, 3000)
"""Arithmetic with others may overflow. A machine without a clock begins in 1970."""

_SERVER_YEARS = range(2001, 3000)

_LONGEST = 40
"""In characters. A time is shown unchanged, so it must be short and printable."""


def parse_time(value: object) -> datetime | None:
    """An ISO 8601 date-time with its zone, in UTC; None for anything else, and for an implausible year."""
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable():
        return None
    try:
        # Python 3.10 does not parse `Z`, nor fractions unless they have three or six digits.
        text = re.sub(r"\.(\d+)", lambda found: f".{found[1][:6]:0<6}", value.replace("Z", "+00:00"))
        time = datetime.fromisoformat(text)
        return time.astimezone(timezone.utc) if time.tzinfo and time.year in _YEARS else None
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=1)
def parse_http_date(value: str | None) -> datetime | None:
    """An HTTP date (RFC 9110) in UTC; None for anything else, and for an implausible year."""
    # Cached, because it changes once a second, and many responses arrive in a second.
    try:
        date = parsedate_to_datetime(value or "")
        date = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
        return date.astimezone(timezone.utc) if date.year in _SERVER_YEARS else None
    except (TypeError, ValueError, OverflowError):
        return None


def iso(moment: datetime | None) -> str:
    """A time in UTC, to the second, as Sprinto writes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment is not None else "at an unknown time"


def with_time_left(expiry: str, now: datetime | None) -> str:
    """An expiry as Sprinto reports it, with the time left from `now`, by Sprinto's clock, if known."""
    expires_at = parse_time(expiry)
    if expires_at is None or now is None:
        return expiry
    return f"{expiry} (in {max(0.0, (expires_at - now).total_seconds()) / 60:.0f} min)"
