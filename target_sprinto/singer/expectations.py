"""The checks of `expect` besides the minimum: a maximum, no large loss since the last run, unique values.

The maximum and unique values are checked before a record is added to a page; the loss, and whether the
unique fields exist, before the session is closed.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from hashlib import blake2b

from target_sprinto.errors import ExpectationNotMet
from target_sprinto.push.protocol.entity_keys import comparable
from target_sprinto.push.text import quoted, short, shown
from target_sprinto.receipts.receipt_file import Applied
from target_sprinto.similar_names import nearest_first
from target_sprinto.singer.input.messages import decode_object
from target_sprinto.singer.settings.settings import Expectation

log = logging.getLogger(__name__)

MAX_UNIQUE_VALUES = 1_000_000
"""For all unique fields of a run together: about 70 MB of digests."""


class Expectations:
    """Checks one run. `last_applied` finds the last applied run by entity type; None to compare with none.

    `holds`: the run's session is held, so its receipt never shows that it was applied.
    """

    def __init__(
        self,
        expect: Mapping[str, Expectation],
        last_applied: Callable[[Collection[str]], Mapping[str, Applied]] | None = None,
        *,
        holds: bool = False,
    ) -> None:
        self._expect = expect
        self._counts: Counter[str] = Counter()
        self._seen: dict[tuple[str, str], set[bytes]] = {}
        self._unique_values = 0
        self._never_seen = {(name, field) for name, wanted in expect.items() for field in wanted.unique}
        compared = [name for name, wanted in expect.items() if wanted.max_shrink_percent is not None]
        self._applied: Mapping[str, Applied] = {}
        if last_applied is None or not compared:
            return
        self._applied = last_applied(compared)
        if holds:
            log.warning(
                "Under `finish: hold`, `max_shrink_percent` compares with the last run under `finish: apply`,"
                " if there is one, and never with a held run, even if it was applied later."
            )
            return
        for name in compared:
            if name not in self._applied:
                log.warning(
                    "`max_shrink_percent`: no receipt shows that %s was applied before; its count is not"
                    " compared in this run.",
                    short(name),
                )

    def minimums(self) -> dict[str, int]:
        """The minimum number of accepted records: ``{entity_type: int}``."""
        return {name: max(wanted.min_records, self._min_count(name)) for name, wanted in self._expect.items()}

    def before(self, add: Callable[..., None]) -> Callable[..., None]:
        """`add`, or a function that first checks the record, and may raise ExpectationNotMet."""

        def checked(entity_type: str, body: bytes, origin: object = None, key: object = None) -> None:
            if entity_type in self._expect:
                self._check(entity_type, body, origin)
            add(entity_type, body, origin, key)

        return checked if self._expect else add

    def require_no_loss(self) -> None:
        """Compare with the last applied run. Raises ExpectationNotMet."""
        for name, wanted in self._expect.items():
            if self._counts[name] < self._min_count(name):
                before, percent = self._applied[name], wanted.max_shrink_percent
                raise ExpectationNotMet(
                    f"Received {self._counts[name]} {short(name)}; the last applied run had"
                    f" {before.records} (receipt {shown(before.receipt)}), and `expect` allows {percent:g} %"
                    " less.",
                    "If that is correct, raise `max_shrink_percent` for one run; but load rejects as another"
                    " pipeline.",
                )

    def require_unique_fields(self, fields_of: Callable[[str], Collection[str]]) -> None:
        """Raise ExpectationNotMet for a unique field that no record has and `fields_of` does not name."""
        for name, field in sorted(self._never_seen):
            if self._counts[name] and field not in (known := fields_of(name)):
                raise ExpectationNotMet(
                    f"`expect` says that field {quoted(field)} of {short(name)} is unique, and no record has"
                    f" such a field{nearest_first(field, known, limit=3)}.",
                    "Name the field as Sprinto gets it, after the stream map.",
                )

    def _min_count(self, name: str) -> int:
        percent, before = self._expect[name].max_shrink_percent, self._applied.get(name)
        if before is None or percent is None:
            return 0
        # As Decimal: with floats, 13.6 % of 375 would be one record too few.
        return math.ceil(before.records * (100 - Decimal(str(percent))) / 100)

    def _check(self, name: str, body: bytes, origin: object) -> None:
        wanted = self._expect[name]
        self._counts[name] += 1
        if wanted.max_records is not None and self._counts[name] > wanted.max_records:
            raise ExpectationNotMet(
                f"`expect` allows at most {wanted.max_records} {short(name)}; received {self._counts[name]}.",
                "Check the tap's selection; if the high number is correct, raise `max_records`.",
            )
        if wanted.unique:
            record = decode_object(body)
            for field in wanted.unique:
                if field in record:
                    self._never_seen.discard((name, field))
                if record.get(field) is not None:
                    self._require_new(name, field, record[field], origin)

    def _require_new(self, name: str, field: str, value: object, origin: object) -> None:
        seen = self._seen.setdefault((name, field), set())
        digest = blake2b(repr(comparable(value)).encode(), digest_size=8).digest()
        if digest in seen:
            raise ExpectationNotMet(
                f"A {short(name)} ({origin}) has a {quoted(field)} that an earlier record of this run has;"
                " `expect` says that it is unique.",
                "Fix it at the source, or take the field out of `unique`.",
            )
        seen.add(digest)
        self._unique_values += 1
        if self._unique_values > MAX_UNIQUE_VALUES:
            raise ExpectationNotMet(
                f"`unique` is checked for at most {MAX_UNIQUE_VALUES:,} values in a run.",
                "Name fewer fields in `unique`, or split the input.",
            )
