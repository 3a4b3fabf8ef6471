"""What Sprinto said of a page, told without any value from the page's records. Pure.

Sprinto's texts may quote values. They are shown only for a page that is still held, with every string of
three characters or more and every number of two digits or more of its records masked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from target_sprinto.push.errors import PageRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_sprinto.push.pages import Page

MASK = "•••"
_SHOWN = 5
_LONGEST_TEXT = 300
_SHORTEST_STRING = 3
_SHORTEST_NUMBER = 2

_decoder = msgspec.json.Decoder(float_hook=str)


def describe_refusal(page: Page, refusal: PageRefused) -> PageRefused:
    """The refusal as a user can act on it: where the page came from, and what Sprinto named in it."""
    span = f"Sprinto refused page {page.number} ({page.items[0].origin} to {page.items[-1].origin})"
    if not refusal.faults:
        return PageRefused(
            f"{span} and named no record.",
            "Check with Sprinto what this entity type must look like, and the stream maps and entity types.",
        )
    mask = masking(page)
    named = "; ".join(_describe_fault(page, fault, mask) for fault in refusal.faults[:_SHOWN])
    more = len(refusal.faults) - _SHOWN
    return PageRefused(
        f"{span}: {named}{f'; and {more} more' if more > 0 else ''}.",
        "Mend the records at their source or with a stream map, then run again.",
        refusal.faults,
    )


def _describe_fault(page: Page, fault: dict[str, object], mask: re.Pattern[str] | None) -> str:
    def shown(name: str) -> str | None:
        value = fault.get(name)
        if not isinstance(value, str) or not value:
            return None
        return (mask.sub(MASK, value) if mask else value)[:_LONGEST_TEXT]

    entity_type, index = fault.get("entity_type"), fault.get("index")
    items = page.by_entity_type().get(entity_type, []) if isinstance(entity_type, str) else []
    # Only a name that the page itself holds is surely no value.
    parts = [f"entity type {entity_type!r}" if items else "a record"]
    if isinstance(index, int) and not isinstance(index, bool):
        parts.append(f"index {index}")
        if 0 <= index < len(items):
            # The documents leave open how records are counted, so this is a hint and says so.
            parts.append(f"which is {items[index].origin} if Sprinto counts within the type from 0")
    if field := shown("field"):
        parts.append(f"field {field!r}")
    if issue := shown("issue"):
        parts.append(f"“{issue}”")
    return ", ".join(parts)


def masking(page: Page) -> re.Pattern[str] | None:
    """A pattern that finds every value of the page's records in a text, or None if there is none to find."""
    values: set[str] = set()
    for item in page.items:
        for value in _leaves(_decoder.decode(item.body)):
            # A text that quotes a value may quote it as JSON does.
            values.update((value, msgspec.json.encode(value).decode()[1:-1]))
    if not values:
        return None
    longest_first = sorted(values, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)


def _leaves(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, str):
        if len(value) >= _SHORTEST_STRING or _is_number(value):
            yield value
    elif isinstance(value, int) and not isinstance(value, bool) and len(str(abs(value))) >= _SHORTEST_NUMBER:
        yield str(value)


def _is_number(text: str) -> bool:
    return len(text) >= _SHORTEST_NUMBER and text.replace(".", "").isdigit()
