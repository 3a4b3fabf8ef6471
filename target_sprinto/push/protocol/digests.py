"""Digests for an auditor to compare: SHA-256 over the contents of pages, in the order of the input. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict

from target_sprinto.push.protocol.pages import Page


class EntityDigests:
    """One digest for each entity type: of its entities' JSON bytes, joined by newlines, as pages are added.

    `counts` is the number of entities: ``{entity_type: int}``.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._digests: defaultdict[str, hashlib._Hash] = defaultdict(hashlib.sha256)

    def add(self, page: Page) -> None:
        """Add a page's entities."""
        for entity_type, items in page.by_entity_type.items():
            digest = self._digests[entity_type]
            if self.counts[entity_type]:
                digest.update(b"\n")
            digest.update(b"\n".join(item.body for item in items))
            self.counts[entity_type] += len(items)

    def hexdigests(self) -> dict[str, str]:
        """``{entity_type: SHA-256 in hexadecimal}``, types in the order of their first entity."""
        return {entity_type: digest.hexdigest() for entity_type, digest in self._digests.items()}
