"""Reads the server's record of requests."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.sandbox import RequestSeen

FOR_EVER = float("inf")


def page_of(push: RequestSeen) -> bytes:
    """The page's bytes, uncompressed."""
    return gzip.decompress(push.body) if push.headers.get("Content-Encoding") == "gzip" else push.body


def keys_of(push: RequestSeen) -> set[tuple[str, object]]:
    """The entities in a page."""
    found: dict[str, list[dict[str, Any]]] = json.loads(page_of(push))["entities"]
    return {(name, entity["id"]) for name, entities in found.items() for entity in entities}


def most_in_flight(pushes: list[RequestSeen]) -> int:
    """The maximum number of requests at the same time."""
    return max(
        (sum(other.at <= one.at < (other.ended_at or FOR_EVER) for other in pushes) for one in pushes),
        default=0,
    )


def were_together(one: RequestSeen, other: RequestSeen) -> bool:
    return one.at < (other.ended_at or FOR_EVER) and other.at < (one.ended_at or FOR_EVER)


def is_close(seen: RequestSeen, how: str) -> bool:
    return seen.operation == "close" and bool(seen.body) and json.loads(seen.body) == {"status": how}


def is_by_the_target(seen: RequestSeen) -> bool:
    """Whether a request was sent by the target, not by another client."""
    return seen.headers.get("User-Agent") == "target-sprinto"
