"""Base URLs by region; validation of API key, integration id and URL. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from target_sprinto.push.errors import ConfigError
from target_sprinto.push.text import LONGEST_NAME

REGIONS = {
    "us": "https://api.sprinto.com/api/external/push",
    "in": "https://in.sprinto.com/api/external/push",
    "eu": "https://eu.sprinto.com/api/external/push",
}
"""Base URL by region (Sprinto: Custom Integrations)."""

_KEYS = frozenset({"api_key", "api_key_file"})
_LONGEST_KEY = 4096
"""In characters: servers commonly limit headers to 8 KiB. Other texts: LONGEST_NAME."""


def base_url(region: str, api_url: str | None = None) -> str:
    """The region's base URL, or `api_url` if it is set."""
    return (api_url or REGIONS[region]).rstrip("/")


def validate_endpoint(api_key: str, integration_id: str, region: str, api_url: str | None) -> None:
    """Raise ConfigError if an argument is invalid, naming every problem but no value."""
    problems = [
        *text_problems("api_key", api_key),
        *text_problems("integration_id", integration_id),
        *(url_problems(api_url) if api_url is not None else ()),
    ]
    if region not in tuple(REGIONS):
        problems.append(f"`region` must be one of {', '.join(REGIONS)}")
    if problems:
        raise ConfigError(f"Invalid client settings: {'; '.join(problems)}.")


def require_text(name: str, value: object) -> str:
    """Return the text if it can be sent to Sprinto unchanged. Raises ConfigError."""
    if problems := list(text_problems(name, value)):
        raise ConfigError(f"{'; '.join(problems)}.")
    # As a plain str: a subclass such as `class Job(str, Enum)` may format itself differently.
    return str.__str__(value)


def text_problems(name: str, value: object) -> Iterator[str]:
    """Yield the problems of a text that is to be sent to Sprinto unchanged."""
    longest = _LONGEST_KEY if name in _KEYS else LONGEST_NAME
    if not isinstance(value, str):
        yield f"`{name}` is missing" if value is None else f"`{name}` must be text"
        return
    if not value.strip():
        yield f"`{name}` is empty"
    elif value != value.strip() or not value.isprintable():
        yield f"`{name}` has leading or trailing whitespace, or a non-printable character"
    elif len(value) > longest:
        yield f"`{name}` has more than {longest} characters"
    if name in _KEYS and not value.isascii():
        yield "`api_key` contains a non-ASCII character, which an HTTP header cannot carry"


def url_problems(url: object) -> Iterable[str]:
    """Yield the problems of `api_url`: it must not send the API key unencrypted."""
    if not isinstance(url, str):
        yield "`api_url` must be text"
        return
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not _HOST.fullmatch(host) or re.search(r"\s", url):
        yield "`api_url` must begin with https:// and name a host"
        return
    if parts.scheme not in {"http", "https"}:
        yield "`api_url` must begin with https://"
    elif parts.scheme == "http" and host not in _THIS_MACHINE:
        yield "`api_url` is plain http to another machine, which would expose the API key; use https"
    if parts.username or parts.password or parts.query or parts.fragment:
        yield "`api_url` must have no user, query or fragment"
    if len(url) > _LONGEST_URL:
        yield f"`api_url` has more than {_LONGEST_URL} characters"


_LONGEST_URL = 500
"""In characters: it is among the first fields of a receipt, of which a run reads a limited part."""

_HOST = re.compile(r"[0-9a-f:]*:[0-9a-f:.]*|[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)
"""An IPv6 address, or labels separated by dots."""

_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
