"""Determines from the session's counts which pages landed although their responses were lost. Pure.

Sprinto documents no idempotency keys, so a page in doubt is never simply sent again. The session's status
counts accepted records by entity type. With nothing else in flight, the growth of these counts since the last
known ones identifies the pages that landed, if exactly one combination of pages adds up to it.

A page that was sent again has been in flight more than once, and each of its tries may land late. This is
true of pages in doubt and of pages that were accepted since. If a late try could explain the counts as well,
the result is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

_MAX_SUMS = 100_000
"""With more sums than this, the pages stay in doubt. Sixteen pages have 65,536 combinations."""

_Sum = tuple[int, ...]


def committed_pages(
    before: Mapping[str, int],
    now: Mapping[str, int],
    open_pages: Sequence[Mapping[str, int]],
    resent: Sequence[Mapping[str, int]] = (),
    tries: Sequence[int] | None = None,
) -> frozenset[int] | None:
    """The indexes of the open pages that landed, or None unless the counts identify exactly one combination.

    All counts are ``{entity_type: int}``: `before` is what this run knows to be accepted, `now` is from the
    status, and each open page has its own. `resent` are other pages that were lost and sent again: each may
    land a second time, which looks as if an open page had landed. `tries` is how often each open page was
    sent, by default once.
    """
    may_land = [
        *zip(open_pages, tries or [1] * len(open_pages), strict=True),
        *((page, 1) for page in resent),
    ]
    names = sorted({*before, *now, *chain.from_iterable(page for page, _ in may_land)})
    grown = tuple(now.get(name, 0) - before.get(name, 0) for name in names)
    counted = [(tuple(page.get(name, 0) for name in names), maximum) for page, maximum in may_land]
    choice = _unique_subset(grown, counted)
    if choice is None:
        return None
    times, others = choice[: len(open_pages)], choice[len(open_pages) :]
    if any(others) or max(times, default=0) > 1:
        return None
    return frozenset(index for index, landed in enumerate(times) if landed)


def _unique_subset(target: _Sum, terms: Sequence[tuple[_Sum, int]]) -> tuple[int, ...] | None:
    """How often to add each term, up to its maximum, to reach the target; None unless there is one way."""
    # For each sum within the target: the one choice that reaches it, or None if there are several.
    choices: dict[_Sum, tuple[int, ...] | None] = {(0,) * len(target): ()}
    for term, maximum in terms:
        extended: dict[_Sum, tuple[int, ...] | None] = {}
        for total, choice in choices.items():
            for times in range(maximum + 1):
                reached = tuple(one + times * more for one, more in zip(total, term, strict=True))
                if any(one > limit for one, limit in zip(reached, target, strict=True)):
                    break
                is_new = reached not in extended
                extended[reached] = (*choice, times) if choice is not None and is_new else None
        if len(extended) > _MAX_SUMS:
            return None
        choices = extended
    return choices.get(target)
