"""The pages of a run as its receipt lists them, kept in 80 bytes each: a run may have any number of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from struct import Struct

from target_sprinto.receipts import document as receipt
from target_sprinto.receipts.events import iso

_ROW = Struct("<II32sQQIIQQ")
_SENT = Struct("<IIQQ")
"""The end of a row: requests, accepted, and the two times."""

_SENT_AT = _ROW.size - _SENT.size
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TICK = timedelta(milliseconds=1)


class PageTable(Sequence[receipt.Page]):
    """Pages numbered from 1, without gaps. Each becomes a `receipt.Page` when it is read."""

    def __init__(self) -> None:
        self._rows = bytearray()
        # Only pages of a batch file have places.
        self._places: dict[int, tuple[str, str]] = {}

    def append(self, page: receipt.Page) -> None:
        """Add the next page, which was not sent yet."""
        if page.first_place or page.last_place:
            self._places[len(self)] = page.first_place, page.last_place
        sha256 = bytes.fromhex(page.sha256)
        self._rows += _ROW.pack(
            page.entities, page.bytes, sha256, page.first_line, page.last_line, 0, 0, 0, 0
        )

    def count_request(self, number: int, at: datetime) -> None:
        """Count a request with the page or a part of it."""
        place = self._place(number)
        requests, accepted, first, last = _SENT.unpack_from(self._rows, place)
        _SENT.pack_into(self._rows, place, requests + 1, accepted, first or _ticks(at), last)

    def count_accepted(self, number: int, entities: int, at: datetime) -> None:
        """Count entities of the page that Sprinto accepted."""
        place = self._place(number)
        requests, accepted, first, _ = _SENT.unpack_from(self._rows, place)
        _SENT.pack_into(self._rows, place, requests, accepted + entities, first, _ticks(at))

    def __len__(self) -> int:
        return len(self._rows) // _ROW.size

    def __getitem__(self, index: int) -> receipt.Page:  # type: ignore[override] # it is never sliced
        if index >= len(self):
            raise IndexError(index)
        row = _ROW.unpack_from(self._rows, index * _ROW.size)
        entities, size, sha256, first_line, last_line, requests, accepted, first_sent, last_accepted = row
        first_place, last_place = self._places.get(index, ("", ""))
        return receipt.Page(
            number=index + 1,
            entities=entities,
            bytes=size,
            sha256=sha256.hex(),
            first_line=first_line,
            first_place=first_place,
            last_line=last_line,
            last_place=last_place,
            requests=requests,
            accepted=accepted,
            first_sent_at=_moment(first_sent),
            last_accepted_at=_moment(last_accepted),
        )

    @staticmethod
    def _place(number: int) -> int:
        return (number - 1) * _ROW.size + _SENT_AT


def _ticks(moment: datetime) -> int:
    return (moment - _EPOCH) // _TICK


def _moment(ticks: int) -> str | None:
    return iso(_EPOCH + ticks * _TICK) if ticks else None
