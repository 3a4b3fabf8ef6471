"""Whatever comes in on stdin: an orderly end, one clear line, no leak, all or nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from amounts import at_random, same_each_time
from hypothesis import given
from oracle import asked, by_value, exactly, may_be_named
from running import Place, check_quiet
from singer_input import BATCH_URL, KINDS, Input

from target_sprinto.sandbox import Readings, Sandbox, SandboxOptions

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis import settings
    from running import Ran
    from variants import Variant

import os

BY_DEFAULT = int(os.environ.get("N", 60))
SHARDS = 8
IN_A_SHARD = 320
"""Of each kind."""

CODES = {
    "invalid-line",
    "invalid-schema",
    "invalid-record",
    "missing-key-property",
    "record-before-schema",
    "stream-map",
    "unmapped-stream",
    "batch-not-supported",
    "batch-file",
    "final-state-missing",
    "input",
}
"""What a run may say of its input. Sprinto is well throughout, so nothing else can have gone wrong."""


def in_order(records: dict[str, list[Any]], variant: Variant) -> dict[str, list[Any]]:
    if variant.ordered:
        return records
    return {name: sorted(found, key=repr) for name, found in records.items()}


def play(place: Place, given_input: Input) -> tuple[str, Input, Ran]:
    """Run it; what is returned is the input as it was really given."""
    integration_id = place.new_integration()
    file = place.folder / f"{integration_id}.batch"
    file.write_bytes(given_input.batch)
    given_input = replace(
        given_input, stdin=given_input.stdin.replace(BATCH_URL.encode(), file.as_uri().encode())
    )
    variant = given_input.variant
    return (
        integration_id,
        given_input,
        place.run(integration_id, given_input.stdin, variant.settings, piece=given_input.piece),
    )


def check(place: Place, integration_id: str, given_input: Input, ran: Ran) -> None:
    check_quiet(ran, values=not may_be_named(given_input.stdin, given_input.batch))
    states = [session.state for session in place.sessions(integration_id)]
    applied = place.applied(integration_id)
    if ran.code != 0:
        assert given_input.taken is not True, ran
        assert ran.error_code in CODES, ran
        assert (applied, set(states) - {"cancelled"}) == ({}, set()), ran
        return
    wanted = asked(given_input.stdin, given_input.variant)
    assert not (wanted.unfollowed and given_input.variant.needs_final_state), ran
    assert states == ["processed"] * bool(wanted.counts), ran
    assert {name: len(records) for name, records in applied.items()} == wanted.counts, ran
    if given_input.variant.makes is not None:
        read = exactly if given_input.variant.is_exact else by_value
        arrived = {name: list(map(read, records)) for name, records in applied.items()}
        assert in_order(arrived, given_input.variant) == in_order(wanted.records, given_input.variant), ran
    if wanted.state_line is None:
        assert ran.stdout == b"", ran
    else:
        assert exactly(ran.stdout) == wanted.state, ran
        assert ran.stdout.removesuffix(b"\n") in wanted.state_line, ran


def fuzz(kind: str, warm: str, folder: Path, amount: settings) -> None:
    options = SandboxOptions(integrations=None, processing_seconds=0, readings=Readings(apply="append"))
    with Sandbox(options) as sandbox:
        place = Place(sandbox, warm, folder)
        ends: Counter[str] = Counter()

        @amount
        @given(KINDS[kind])
        def each(given_input: Input) -> None:
            integration_id, really_given, ran = play(place, given_input)
            ends[ran.error_code if ran.code else "taken"] += 1
            check(place, integration_id, really_given, ran)

        each()
    assert place.runs >= amount.max_examples
    print(kind, place.runs, dict(ends))  # noqa: T201 - shown on request


@pytest.mark.parametrize("kind", KINDS)
def test_any_input_ends_in_order(kind: str, warm: str, tmp_path: Path) -> None:
    fuzz(kind, warm, tmp_path, (at_random if "N" in os.environ else same_each_time)(BY_DEFAULT))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("kind", KINDS)
def test_any_input_ends_in_order_at_length(kind: str, shard: int, warm: str, tmp_path: Path) -> None:  # noqa: ARG001 - each shard draws anew
    fuzz(kind, warm, tmp_path, at_random(IN_A_SHARD))
