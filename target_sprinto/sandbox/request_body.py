"""Decodes a page: from bytes, which may be compressed, to records by entity type."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import msgspec

from target_sprinto.sandbox.readings import Readings
from target_sprinto.sandbox.refusal import Refused
from target_sprinto.sandbox.state import Entities

MAX_ITEMS = 100
"""Maximum records of one page (Sprinto: Pushing Entities Data)."""

MAX_BYTES = 5_000_000
"""Maximum bytes of one page (Sprinto: Pushing Entities Data), counted after decompression."""

_GZIP = 16 + zlib.MAX_WBITS


class Page(msgspec.Struct, frozen=True):
    """A page's records, as sent; `page_hint` is echoed, as its response's documentation suggests."""

    entities: Entities
    page_hint: int | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Records by entity type."""
        return {entity_type: len(records) for entity_type, records in self.entities.items()}

    @property
    def items(self) -> int:
        """Records, over all entity types."""
        return sum(map(len, self.entities.values()))


_decode = msgspec.json.Decoder(Page).decode


def uncompressed(body: bytes, headers: Mapping[str, str], readings: Readings) -> bytes:
    """Decompress a body; reject with 413 beyond `MAX_BYTES`, without decompressing more than that."""
    encoding = headers.get("Content-Encoding", "").strip().lower()
    if encoding == "gzip":
        body = _gunzip(body)
    elif encoding not in ("", "identity"):
        raise Refused(readings.unknown_encoding_status, f"Content-Encoding {encoding!r} is not supported")
    if len(body) > MAX_BYTES:
        raise Refused(413, f"The body exceeds {MAX_BYTES} bytes")
    return body


def _gunzip(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        plain = unpacker.decompress(body, MAX_BYTES + 1)
    except zlib.error:
        raise Refused(400, "The body is not valid gzip") from None
    if len(plain) <= MAX_BYTES and (not unpacker.eof or unpacker.unused_data):
        raise Refused(400, "The gzip body is incomplete")
    return plain


def parse_page(body: bytes) -> Page:
    """Read a page, or reject with 400 if it is not JSON or has another shape."""
    try:
        # Records stay raw here, and msgspec does not check the UTF-8 of raw values.
        body.decode()
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, f"Malformed body: {error}") from None
