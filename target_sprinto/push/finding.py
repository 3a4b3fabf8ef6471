"""Which pages landed, where their answers were lost: told from the session's counts alone. Pure.

Sprinto documents no idempotency keys, so a page that nobody knows about is never simply sent again. The
session's status counts accepted records by entity type; with nothing else in flight, what the counts have
grown by since the last known moment names the pages that landed, if only one subset of them adds up to it.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def which_landed(
    before: Mapping[str, int],
    now: Mapping[str, int],
    open_pages: Sequence[Mapping[str, int]],
    batches: int | None = None,
    resent: Sequence[Mapping[str, int]] = (),
) -> frozenset[int] | None:
    """The indexes of the open pages that landed, or None where the counts do not name one subset only.

    All counts are ``{entity_type: int}``: `before` what this run knows to be accepted, `now` what the status
    says, and one for each open page. `batches` is by how much `accepted_batches` has grown, given only where
    that figure has so far equalled this run's accepted pages. `resent` are other pages that were lost and
    sent again: they may land a second time, and then look like an open one.
    """
    grown = Counter(now)
    grown.subtract(before)
    late = _all_sums(resent, grown)
    sizes = [size for size in range(len(open_pages) + 1) if batches in (None, size)]
    found = [
        frozenset(subset)
        for size in sizes
        for subset in combinations(range(len(open_pages)), size)
        if _sum(open_pages, subset) == _without_zeros(grown)
    ]
    doubted = any(
        frozenset((grown - Counter(_sum(open_pages, subset))).items()) in late
        for size in range(len(open_pages) + 1)
        for subset in combinations(range(len(open_pages)), size)
        if Counter(_sum(open_pages, subset)) <= grown
    )
    return found[0] if len(found) == 1 and not doubted else None


def _all_sums(pages: Sequence[Mapping[str, int]], most: Counter[str]) -> set[frozenset[tuple[str, int]]]:
    """What some of the pages, one at least, may add up to, as far as it is no more than `most`."""
    nothing: frozenset[tuple[str, int]] = frozenset()
    reached = {nothing}
    for page in pages:
        grown = (Counter(dict(counts)) + Counter(page) for counts in reached)
        reached |= {frozenset(counts.items()) for counts in grown if counts <= most}
    return reached - {nothing}


def _sum(pages: Sequence[Mapping[str, int]], subset: tuple[int, ...]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for index in subset:
        total.update(pages[index])
    return _without_zeros(total)


def _without_zeros(counts: Mapping[str, int]) -> dict[str, int]:
    return {entity_type: count for entity_type, count in counts.items() if count}
