"""Which pages landed, if their responses were lost: derived from the session's counts alone. Pure.

Sprinto documents no idempotency keys, so a page in doubt is never simply sent again. The
session's status counts accepted records by entity type; with nothing else in flight, what the counts have
grown by since the last known moment names the pages that landed, if only one choice of them adds up to it.

A page that was sent again has been under way more than once, and each of its tries may land late: of one that
is asked about as well as of one that was accepted since. If that could explain the counts too, there is
no response.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

_MOST_SUMS = 100_000
"""With more sums than these the pages stay in doubt: all choices of sixteen pages are 65,536."""

_Sum = tuple[int, ...]


def committed_pages(
    before: Mapping[str, int],
    now: Mapping[str, int],
    open_pages: Sequence[Mapping[str, int]],
    resent: Sequence[Mapping[str, int]] = (),
    tries: Sequence[int] | None = None,
) -> frozenset[int] | None:
    """The indexes of the open pages that landed, or None where the counts do not name one choice only.

    All counts are ``{entity_type: int}``: `before` what this run knows to be accepted, `now` what the status
    says, and one for each open page. `resent` are other pages that were lost and sent again: they may land a
    second time, and then look like an open one. `tries` says how often each open page was sent, by default
    once.
    """
    may_land = [
        *zip(open_pages, tries or [1] * len(open_pages), strict=True),
        *((page, 1) for page in resent),
    ]
    names = sorted({*before, *now, *chain.from_iterable(page for page, _ in may_land)})
    grown = tuple(now.get(name, 0) - before.get(name, 0) for name in names)
    counted = [(tuple(page.get(name, 0) for name in names), most) for page, most in may_land]
    choice = _unique_subset(grown, counted)
    if choice is None:
        return None
    times, others = choice[: len(open_pages)], choice[len(open_pages) :]
    if any(others) or max(times, default=0) > 1:
        return None
    return frozenset(index for index, landed in enumerate(times) if landed)


def _unique_subset(target: _Sum, terms: Sequence[tuple[_Sum, int]]) -> tuple[int, ...] | None:
    """How many of each term add up to the target, each at most so often; None unless there is one choice."""
    # To each sum within the target the one choice that leads there, or None where there are several.
    choices: dict[_Sum, tuple[int, ...] | None] = {(0,) * len(target): ()}
    for term, most in terms:
        extended: dict[_Sum, tuple[int, ...] | None] = {}
        for total, choice in choices.items():
            for times in range(most + 1):
                reached = tuple(one + times * more for one, more in zip(total, term, strict=True))
                if any(one > limit for one, limit in zip(reached, target, strict=True)):
                    break
                is_new = reached not in extended
                extended[reached] = (*choice, times) if choice is not None and is_new else None
        if len(extended) > _MOST_SUMS:
            return None
        choices = extended
    return choices.get(target)
