"""Whatever comes in on stdin, a run ends properly, logs one clear line, leaks nothing, is all or nothing."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from target_sprinto.sandbox import Readings, SandboxOptions
from tests.support.fuzz.amounts import at_random, same_each_time
from tests.support.fuzz.oracle import Asked, asked, by_value, exactly, may_be_named
from tests.support.fuzz.running import Place, check_end, check_receipt
from tests.support.fuzz.singer_input import BATCH_URL, KINDS, Input
from tests.support.sandbox import FaultySandbox

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis import settings

    from tests.support.fuzz.running import Ran
    from tests.support.fuzz.variants import Variant

BY_DEFAULT = 8
SHARDS = 8
IN_A_SHARD = {"whole": 200, "odd parts": 300, "nearly whole": 300, "JSON lines": 50, "invalid bytes": 150}

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
    "missing-final-state",
    "final-state-unfinished",
    "input",
    "nothing-accepted",
    "stream-missing",
    "would-be-refused",
}
"""The error codes for invalid input. Sprinto always works here, so nothing else can go wrong."""


def play(place: Place, given_input: Input) -> tuple[str, Input, Ran]:
    """Run it; return the input with the real batch URL."""
    integration_id = place.new_integration()
    file = place.folder_of(integration_id) / "batch"
    file.write_bytes(given_input.batch)
    stdin = given_input.stdin.replace(BATCH_URL.encode(), file.as_uri().encode())
    ran = place.run(integration_id, stdin, given_input.variant.settings, piece=given_input.piece)
    return integration_id, replace(given_input, stdin=stdin), ran


def check(place: Place, integration_id: str, given_input: Input, ran: Ran) -> None:
    variant = given_input.variant
    hidden = not may_be_named(given_input.stdin, given_input.batch)
    check_end(ran, values=hidden)
    if receipt := place.receipt(integration_id):
        check_receipt(receipt, ran, values=hidden)
    assert (receipt is not None) == ("report_path" in variant.settings), ran
    if ran.code != 0:
        assert given_input.taken is not True, ran
        assert ran.ending in CODES, ran
        check_nothing_applied(place, integration_id, {"cancelled"}, ran)
        return
    wanted = asked(given_input.stdin, variant)
    assert not (wanted.unfollowed and variant.needs_final_state), ran
    if variant.is_dry_run:
        assert ran.stdout == b"", ran
        check_nothing_applied(place, integration_id, {"cancelled"}, ran)
    elif variant.holds and wanted.counts:
        assert ran.stdout == b"", ran
        assert receipt is None or exactly(place.held_state(integration_id)) == wanted.state, ran
        check_nothing_applied(place, integration_id, {"active"}, ran)
    else:
        check_applied(place, integration_id, variant, wanted, ran)
        check_state(wanted, ran)


def check_nothing_applied(place: Place, integration_id: str, states: set[str], ran: Ran) -> None:
    sessions = place.sessions(integration_id)
    assert place.applied(integration_id) == {}, ran
    assert {session.state for session in sessions} <= states, ran
    assert all(session.id in ran.stderr for session in sessions), ran


def check_applied(place: Place, integration_id: str, variant: Variant, wanted: Asked, ran: Ran) -> None:
    """Check that everything but diverted records was applied, in order where the order is defined."""
    applied = place.applied(integration_id)
    message = re.search(r"([\d,]+) records? rejected", ran.stderr)
    rejected = int(message[1]) if message else 0
    assert sum(wanted.counts.values()) == sum(map(len, applied.values())) + rejected, ran
    assert len(place.rejected(integration_id)) <= rejected, ran
    states = [session.state for session in place.sessions(integration_id)]
    assert states == ["processed"] * bool(applied), ran
    if rejected == 0:
        assert {name: len(records) for name, records in applied.items()} == wanted.counts, ran
    if rejected == 0 and variant.makes is not None:
        read = exactly if variant.is_exact else by_value
        arrived = {name: list(map(read, records)) for name, records in applied.items()}
        assert in_order(arrived, variant) == in_order(wanted.records, variant), ran


def in_order(records: dict[str, list[Any]], variant: Variant) -> dict[str, list[Any]]:
    if variant.ordered:
        return records
    return {name: sorted(found, key=repr) for name, found in records.items()}


def check_state(wanted: Asked, ran: Ran) -> None:
    """Check that the last STATE was written once, unchanged."""
    if wanted.state_line is None:
        assert ran.stdout == b"", ran
    else:
        assert exactly(ran.stdout) == wanted.state, ran
        assert ran.stdout.removesuffix(b"\n") in wanted.state_line, ran


def fuzz(kind: str, warm: str, folder: Path, amount: settings) -> None:
    options = SandboxOptions(integrations=None, processing_seconds=0, readings=Readings(apply="append"))
    with FaultySandbox(options) as sandbox:
        place = Place(sandbox, warm, folder)
        endings: Counter[str] = Counter()

        @amount
        @given(KINDS[kind])
        def each(given_input: Input) -> None:
            integration_id, really_given, ran = play(place, given_input)
            endings[ran.ending] += 1
            check(place, integration_id, really_given, ran)
            place.forget(integration_id)

        each()
    print(place.runs, "runs:", dict(endings))  # noqa: T201 - pytest shows it on request
    assert place.runs >= amount.max_examples


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_any_input_ends_properly(kind: str, warm: str, tmp_path: Path) -> None:
    fuzz(kind, warm, tmp_path, same_each_time(BY_DEFAULT))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("kind", KINDS)
def test_any_input_ends_properly_in_many_examples(kind: str, shard: int, warm: str, tmp_path: Path) -> None:  # noqa: ARG001 - each shard draws its own examples
    fuzz(kind, warm, tmp_path, at_random(IN_A_SHARD[kind]))
