"""How many inputs are tried: by default a few hundred, the same each time; more than 10,000 in `full`.

A slow test is split into shards so that it spreads over the test processes; each draws its own inputs.
A failing one prints a `@reproduce_failure` that reproduces the input.
"""

from __future__ import annotations

from hypothesis import Phase, settings

_COMMON = settings(
    # The test itself limits a run's time; Hypothesis' deadline would include other load on the machine.
    deadline=None,
    # Failing inputs become separate tests; they are not kept on one machine's disk.
    database=None,
    # `explain` would run a failing input many times to find its irrelevant parts.
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)


def same_each_time(examples: int) -> settings:
    return settings(_COMMON, max_examples=examples, derandomize=True)


def at_random(examples: int) -> settings:
    return settings(_COMMON, max_examples=examples, print_blob=True)


def unshrunk(amount: settings) -> settings:
    """Do not shrink failing inputs: if each try takes seconds, reading the input is quicker."""
    return settings(amount, phases=(Phase.explicit, Phase.generate))
