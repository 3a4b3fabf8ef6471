"""A receipt's pages: 80 bytes each in memory, and the same file as from a list."""

from __future__ import annotations

import sys
from datetime import datetime, timezone

from target_sprinto.receipts import document as receipt
from target_sprinto.receipts.document import _value
from target_sprinto.receipts.page_table import PageTable

AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=timezone.utc)
SHA256 = "0a" * 32


def page(number: int, place: str = "") -> receipt.Page:
    return receipt.Page(
        number=number,
        entities=2,
        bytes=99,
        sha256=SHA256,
        first_line=number,
        first_place="",
        last_line=number + 2**32,
        last_place=place,
        requests=0,
        accepted=0,
        first_sent_at=None,
        last_accepted_at=None,
    )


def test_a_page_is_read_as_it_was_noted() -> None:
    table = PageTable()
    for made in (page(1), page(2, "line 7")):
        table.append(made)
    assert list(table) == [page(1), page(2, "line 7")]
    table.count_request(2, AT)
    table.count_request(2, AT.replace(second=6))
    table.count_accepted(2, 2, AT.replace(second=7))
    assert (table[1].requests, table[1].accepted) == (2, 2)
    times = table[1].first_sent_at, table[1].last_accepted_at
    assert times == ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:07.678Z")
    assert table[0] == page(1)


def test_the_parts_of_a_list_are_the_same_file_and_its_pages_take_little_memory() -> None:
    table, pages = PageTable(), [page(number) for number in range(1, 2_502)]
    for made in pages:
        table.append(made)
    parts = list(_value(table))
    assert parts == list(_value(pages))
    assert b"".join(parts).count(b"\n") == 2_501 + 1
    assert sys.getsizeof(table._rows) < 100 * 2_501
