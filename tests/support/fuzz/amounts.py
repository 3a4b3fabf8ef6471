"""How many inputs are tried: a few hundred, the same each time, by default; more than 10,000 in `full`.

A slow test is split into shards so that it spreads over the test processes; each draws inputs of its own.
When one fails it prints a `@reproduce_failure` that brings the same input back.
"""

from __future__ import annotations

from hypothesis import Phase, settings

_COMMON = settings(
    # A run's time is held by the test itself; Hypothesis' clock would see the machine's other work.
    deadline=None,
    # Inputs of earlier failures are kept as tests of their own, not on one machine's disk.
    database=None,
    # `explain` runs a failing input many times over, to tell what does not matter in it.
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)


def same_each_time(examples: int) -> settings:
    return settings(_COMMON, max_examples=examples, derandomize=True)


def at_random(examples: int) -> settings:
    return settings(_COMMON, max_examples=examples, print_blob=True)


def unshrunk(amount: settings) -> settings:
    """Without making a failing input smaller: where each try takes seconds, reading it is quicker."""
    return settings(amount, phases=(Phase.explicit, Phase.generate))
