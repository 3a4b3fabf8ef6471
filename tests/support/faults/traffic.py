"""A cell's input, and how its pages are sent: one by one, or eight in flight at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, cycle, takewhile
from typing import TYPE_CHECKING, Any

from tests.support.front_door import SCHEMA, STATE, record
from tests.support.sandbox import Delay, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SCHEMAS = [SCHEMA, SCHEMA | {"stream": "teams"}]
EARLIER_STATE = {"type": "STATE", "value": {"bookmarks": {"people": {"at": "2026-01-01T00:00:00Z"}}}}
EARLIER_AT = 12

REFUSED_KEYS = 1000
"""Keys of records that Sprinto rejects start here, so that none occurs again."""


def marker(number: int) -> bytes:
    """Bytes that identify the valid record with this number."""
    return b'"S3CR3T %d"' % number


def stream_of(number: int) -> str:
    return "people" if number % 2 == 0 else "teams"


@dataclass(frozen=True)
class Traffic:
    """Records of two alternating streams, each identified by its name.

    `words` describe the traffic in cell names. `key` gives a record's key by its number, from 0. `sizes`
    are the page sizes, in turn; `page_size` is the first of them. The
    first `together` pages have different keys, and are in flight at once. `moments` are
    the pages at which something goes wrong. Sprinto rejects the records with the numbers in `bad`
    if a cell gives it rules.
    """

    words: str
    parallel: int
    count: int
    key: Callable[[int], int]
    sizes: tuple[int, ...]
    together: int
    moments: Mapping[str, int]
    bad: tuple[int, ...] = ()

    @property
    def page_size(self) -> int:
        return self.sizes[0]

    @cached_property
    def pages(self) -> list[range]:
        """The numbers of each page's records."""
        starts = list(takewhile(lambda start: start < self.count, accumulate(cycle(self.sizes), initial=0)))
        return [range(*ends) for ends in zip(starts, [*starts[1:], self.count], strict=True)]

    @property
    def volley(self) -> int:
        """The number of records in the first pages, which are in flight at once."""
        return self.pages[self.together - 1].stop

    @property
    def settings(self) -> dict[str, Any]:
        return {"page_size": self.page_size, "max_parallel_pages": self.parallel}

    @property
    def timeout(self) -> float:
        """A short request timeout that still leaves the pages time to gather."""
        return 0.6 if self.together == 1 else 1.2

    def records(self) -> list[dict[str, Any]]:
        return [self._record(number) for number in range(self.count)]

    def _record(self, number: int) -> dict[str, Any]:
        if number in self.bad:
            name = f"S3CR3T {number} {'y' * 20}"
            return record(REFUSED_KEYS + number, stream_of(number), name=name)
        return record(self.key(number), stream_of(number), name=f"S3CR3T {number}")

    @property
    def input(self) -> list[Any]:
        """Everything the tap sends."""
        records = self.records()
        return [*SCHEMAS, *records[:EARLIER_AT], EARLIER_STATE, *records[EARLIER_AT:], STATE]

    def line(self, number: int) -> int:
        """A record's line in the input, from 1. The earlier STATE is a line too."""
        return len(SCHEMAS) + number + 1 + (number >= EARLIER_AT)

    def entities(self, copies: int = 1) -> dict[str, list[Any]]:
        """The records to be applied for `copies` whole inputs, by entity type, in order."""
        whole: dict[str, list[Any]] = {}
        for number, message in [*enumerate(self.records())] * copies:
            if number not in self.bad:
                whole.setdefault(message["stream"], []).append(message["record"])
        return whole

    @cached_property
    def counts(self) -> Counter[str]:
        """The number of records of each entity type to be accepted."""
        return Counter(stream_of(number) for number in range(self.count) if number not in self.bad)

    def counts_of(self, *pages: int) -> Counter[str]:
        """The number of records of each entity type in these pages, numbered from 1."""
        return Counter(stream_of(number) for page in pages for number in self.pages[page - 1])

    def format_counts(self, *only: str, **more: int) -> str:
        """The counts of these types, or of all, as in an error, with `more` added."""
        counts = Counter(self.counts)
        counts.update(more)
        return ", ".join(f"{counts[name]} {name}" for name in sorted(only or counts))

    def with_bad(self, *numbers: int) -> Traffic:
        return replace(self, bad=numbers)

    # Faults

    def marker(self, page: int) -> bytes:
        """Bytes that identify the page with this number, from 1."""
        return marker(self.pages[page - 1].start)

    def page(self, number: int, **fault: Any) -> Fault:  # noqa: ANN401 - the rest of a fault's fields
        """A fault that strikes this page, the first time that it is sent or the `nth` time.

        A page that is in flight with others is struck when all of them have arrived.
        """
        company = self.together if number <= self.together else 0
        return Fault("push", **{"contains": self.marker(number), "company": company, **fault})

    def gathered(self, seconds: float = 0.0) -> Fault:
        """Hold the pages in flight together until all of them have arrived."""
        return Fault("push", times=self.together, company=self.together, effect=Delay(seconds))

    def strike(self, where: str, **fault: Any) -> tuple[Fault, ...]:  # noqa: ANN401 - a fault's fields
        """A fault at a moment, and faults that hold the other pages: at the first, none was accepted.

        In the middle, some were accepted before and some are accepted after.
        """
        number = self.moments[where]
        if self.together == 1 or number > self.together:
            return (self.page(number, **fault),)
        if where == "first page":
            return self.page(number, **fault), self.gathered(0.15)
        sooner = replace(self.gathered(), times=number - 1)
        later = replace(self.gathered(0.3), nth=number, times=self.together - number + 1)
        return self.page(number, pause=0.15, **fault), sooner, later


def _recurring(distinct: int) -> Callable[[int], int]:
    """`distinct` keys in order; then they occur again, those of later pages first."""

    def key(number: int) -> int:
        place = number // 2
        return place if place < distinct else (place + distinct // 2 + 1) % distinct

    return key


def _by_fours(number: int) -> int:
    return number // 2 % 4


DISTINGUISHABLE = (100, 99, 98, 96, 93, 87, 76, 56)
TEN = (10, 9, 8, 6)
"""With at most ten records per page, eight pages cannot all be distinguished: sizes repeat after four."""

SINGLE = Traffic(
    words="1 in flight",
    parallel=1,
    count=25,
    # They occur again in later pages.
    key=_by_fours,
    sizes=(10,),
    together=1,
    moments={"first page": 1, "middle page": 2, "last page": 3},
)
EIGHT = Traffic(
    words="8 in flight",
    parallel=8,
    count=3 * sum(TEN),
    key=_recurring(sum(TEN)),
    sizes=TEN,
    together=8,
    moments={"first page": 1, "middle page": 4, "last page": 12},
)
ALL_DISTINGUISHABLE = replace(
    EIGHT,
    words="8 in flight, all of different sizes",
    count=sum(DISTINGUISHABLE) + sum(DISTINGUISHABLE[:4]),
    key=_recurring((sum(DISTINGUISHABLE) + 1) // 2),
    sizes=DISTINGUISHABLE,
)
IN_TURN = replace(
    SINGLE,
    words="8 allowed, every page with the same keys",
    parallel=8,
    sizes=TEN,
)
