"""What Sprinto said of a page, told without any value from the page's records. Pure.

Sprinto's texts may quote values, whole or in part, trimmed, escaped, or as another spelling of a number. They
are shown only for a page that is still held, with every word and number masked that stands in its records.
"""

from __future__ import annotations

import re
from decimal import Decimal, DecimalException
from typing import TYPE_CHECKING, Any

import msgspec

from target_sprinto.push.errors import PageRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_sprinto.push.protocol.pages import Page

MASK = "•••"
_SHOWN = 5
_LONGEST_TEXT = 300
_SHORTEST = 2

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?"
_TOKEN = re.compile(rf"(?P<number>{_NUMBER})(?!\w)|(?P<word>\w+)")
_WORD = re.compile(r"\w+")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def describe_refusal(page: Page, refusal: PageRefused, api_key: str = "") -> PageRefused:
    """The refusal as a user can act on it: where the page came from, and what Sprinto named in it.

    Neither a value of the page nor the `api_key` is in it.
    """
    first, last = str(page.items[0].origin), str(page.items[-1].origin)
    places = first if first == last else f"{first} to {last}"
    span = f"Sprinto refused page {page.number} ({places})"
    if not refusal.faults:
        return PageRefused(
            f"{span} and named no record.",
            "Check with Sprinto what this entity type must look like, and the stream maps and entity types.",
        )
    mask = Masking(page, api_key)
    named = "; ".join(_describe_fault(page, fault, mask) for fault in refusal.faults[:_SHOWN])
    more = len(refusal.faults) - _SHOWN
    return PageRefused(
        f"{span}: {named}{f'; and {more} more' if more > 0 else ''}.",
        "Mend the records at their source or with a stream map, then run again.",
        refusal.faults,
    )


def _describe_fault(page: Page, fault: dict[str, object], mask: Masking) -> str:
    def shown(name: str) -> str | None:
        value = fault.get(name)
        if not isinstance(value, str) or not value:
            return None
        return mask.apply(value)[:_LONGEST_TEXT]

    entity_type, index = fault.get("entity_type"), fault.get("index")
    items = page.by_entity_type.get(entity_type, []) if isinstance(entity_type, str) else []
    # Only a name that the page itself holds is surely no value.
    parts = [f"entity type {entity_type!r}" if items else "a record"]
    # From 0 or from 1: what is more is no index in this page, and may be a value.
    if isinstance(index, int) and not isinstance(index, bool) and 0 <= index <= len(page.items):
        parts.append(f"index {index}")
        if 0 <= index < len(items):
            # The documents leave open how records are counted, so this is a hint and says so.
            parts.append(f"which is {items[index].origin} if Sprinto counts within the type from 0")
    field = fault.get("field")
    if isinstance(field, str) and field:
        parts.append(f"field {mask.apply_to_path(field)[:_LONGEST_TEXT]!r}")
    if issue := shown("issue"):
        parts.append(f"“{issue}”")
    return ", ".join(parts)


class Masking:
    """What the records of one page hold, and the API key: to be kept out of texts."""

    def __init__(self, page: Page, api_key: str = "") -> None:
        self._fields: set[str] = set()
        self._words: set[str] = set()
        self._numbers: set[Decimal] = set()
        texts = [api_key.casefold()]
        for item in page.items:
            for value in self._leaves(_decoder.decode(item.body)):
                if isinstance(value, str):
                    texts.append(value.casefold())
                else:
                    self._numbers.add(Decimal(value))
        self._texts = "\n".join(texts)
        self._words = set(_WORD.findall(self._texts))

    def apply(self, text: str) -> str:
        """The text with every word and number masked that stands in the page's records."""
        unescaped = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
        masked = _TOKEN.sub(lambda token: MASK if self._holds(token) else token[0], unescaped)
        return masked.encode(errors="replace").decode()

    def apply_to_path(self, text: str) -> str:
        """The text as it is where it is a path of field names of the page's records, else masked."""
        return text if self._is_path(text) else self.apply(text)

    def _is_path(self, text: str) -> bool:
        """Whether a text is a path of field names of the page's records, and so no value."""
        parts = _WORD.findall(text)
        return bool(parts) and all(part in self._fields or len(part) < _SHORTEST for part in parts)

    def _holds(self, token: re.Match[str]) -> bool:
        text = token[0].casefold()
        if len(text) < _SHORTEST and text.isascii():
            return False
        if token["number"]:
            number = _decimal(text.replace(",", ""))
            return number in self._numbers or text in self._texts
        # Scripts that put no blanks between words can be quoted in part.
        return text in self._words or (not text.isascii() and text in self._texts)

    def _leaves(self, value: Any) -> Iterator[Any]:  # noqa: ANN401 - any JSON
        if isinstance(value, dict):
            self._fields.update(part for name in value for part in _WORD.findall(name))
            for inner in value.values():
                yield from self._leaves(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from self._leaves(inner)
        elif value is not None and not isinstance(value, bool):
            yield value


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except DecimalException:
        return None
