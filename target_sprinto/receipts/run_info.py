# ruff: noqa: D102 - the attributes of a protocol have self-explanatory names
"""What a receipt needs to know about a run: settings, input, pages, and where its records came from."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from target_sprinto.push.protocol.lifecycle import Finish
from target_sprinto.push.protocol.pages import Item, Page
from target_sprinto.receipts import document as receipt


@dataclass
class InputCounts:
    """Counts of input records by stream: all, those skipped as deleted, and those a stream map left out.

    `dropped` are the fields of a stream that no stream map sends or reads.
    """

    # Counted for every record, and a Counter takes three times as long.
    records: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    skipped: Counter[str] = field(default_factory=Counter)
    filtered: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, list[str]] = field(default_factory=dict)


class RunInfo(Protocol):
    """The settings that a receipt shows, and its key."""

    @property
    def integration_id(self) -> str: ...
    @property
    def region(self) -> str | None: ...
    @property
    def base_url(self) -> str: ...
    @property
    def client_reference_prefix(self) -> str: ...
    @property
    def finish(self) -> Finish: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def provenance(self) -> Mapping[str, str]: ...
    @property
    def entity_types(self) -> Mapping[str, str]: ...
    @property
    def receipt_key_file(self) -> Path | None: ...


class Origin(Protocol):
    """Where a record came from; `batch_place` is empty unless the input line is a BATCH message."""

    @property
    def stream(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def batch_place(self) -> str: ...


def origin_of(item: Item) -> Origin:
    """Where an item came from, according to the caller of `Run.add`."""
    return cast("Origin", item.origin)


def unsent(page: Page) -> receipt.Page:
    """A page as it is before its first request."""
    body = page.encode()
    first, last = origin_of(page.items[0]), origin_of(page.items[-1])
    return receipt.Page(
        number=page.number,
        entities=len(page.items),
        bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        first_line=first.line,
        first_place=first.batch_place,
        last_line=last.line,
        last_place=last.batch_place,
        requests=0,
        accepted=0,
        first_sent_at=None,
        last_accepted_at=None,
    )
