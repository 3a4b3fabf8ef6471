"""The records that a probe sends: the user's own, unchanged or made invalid. Pure.

Sprinto's rules for an entity type are not known here, so a record is made invalid in several ways, one after
the other, until one of them is rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from target_sprinto.push.errors import ConfigError
from target_sprinto.push.protocol.pages import MAX_BYTES, Item, Page

MAX_ENTITY_TYPES = 2
"""The maximum number of entity types: two show everything that a probe can show."""

VALID_BEFORE = 4
"""Valid records of the first entity type in a page whose second type has invalid ones: enough that no two
index conventions give the same index."""

INVALID_AT = (0, 2)
"""Positions of the invalid records within their entity type."""

PAGE_HINT = 7301
"""A number that no counter is likely to reach."""

_MAX_EXAMPLE_BYTES = MAX_BYTES // 10
"""Maximum bytes of one example, so that no page of a probe is too large."""

_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class Example(NamedTuple):
    """A record that Sprinto should accept, as its JSON bytes."""

    entity_type: str
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """The record's fields by name."""
        return _decoder.decode(self.body)

    @property
    def with_other_types(self) -> bytes:
        """An object with the same fields, whose values have other types."""
        return msgspec.json.encode(
            {name: [] if isinstance(value, dict) else {} for name, value in self.fields.items()}
        )

    def item(self) -> Item:
        """The record as an item of a page. Its origin is its name in messages."""
        return Item(self.entity_type, self.body, f"the example of {self.entity_type!r}")


class InvalidPage(NamedTuple):
    """A page whose last entity type has invalid records at INVALID_AT, with valid ones between and before.

    `how` is what a finding calls them.
    """

    how: str
    page: Page
    invalid: tuple[Item, ...]


def read_examples(entity_types: Sequence[str], files: Iterable[tuple[str, bytes]]) -> list[Example]:
    """One example for each entity type; `files` are names and contents, in the same order.

    Raises ConfigError; no content is quoted.
    """
    return [
        Example(entity_type, _object(name, content))
        for entity_type, (name, content) in zip(entity_types, files, strict=True)
    ]


def _object(name: str, content: bytes) -> bytes:
    body = content.removeprefix(b"\xef\xbb\xbf").strip()
    if len(body) > _MAX_EXAMPLE_BYTES:
        raise ConfigError(
            f"The example {name!r} has more than {_MAX_EXAMPLE_BYTES:,} bytes.", "Choose a smaller record."
        )
    try:
        body.decode()
        _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        raise ConfigError(
            f"The example {name!r} is not a JSON object in UTF-8.",
            "Use one record with Sprinto's own field names, as the target would send it.",
        ) from None
    return body


def valid_page(examples: Sequence[Example], times: int = 1) -> Page:
    """A page with each of the examples, repeated `times` times."""
    return Page(1, tuple(example.item() for example in examples for _ in range(times)))


def invalid_pages(examples: Sequence[Example]) -> Iterator[InvalidPage]:
    """Pages with invalid records, in the order in which to try them, until one is rejected.

    A record that is not an object comes last: it may be rejected before anything is validated.
    """
    orders = [order for order in [examples, examples[::-1]][: len(examples)] if order[-1].fields]
    for order in orders:
        yield _invalid_page(order, "an empty object", b"{}")
    for order in orders:
        how = "an object whose fields have other types"
        yield _invalid_page(order, how, order[-1].with_other_types)
    yield _invalid_page(examples, "a number instead of an object", b"0")


def _invalid_page(examples: Sequence[Example], how: str, body: bytes) -> InvalidPage:
    *before, last = examples
    items = [example.item() for example in before for _ in range(VALID_BEFORE)]
    invalid = []
    for position in range(max(INVALID_AT) + 1):
        item = last.item()
        if position in INVALID_AT:
            item = msgspec.structs.replace(item, body=body)
            invalid.append(item)
        items.append(item)
    return InvalidPage(how, Page(1, tuple(items)), tuple(invalid))


def with_page_hint(body: bytes) -> bytes:
    """A page's body with `page_hint`, which only the response's documentation suggests."""
    return body.removesuffix(b"}") + b',"page_hint":%d}' % PAGE_HINT
