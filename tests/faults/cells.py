"""A cell of the matrix: what goes wrong, under which reading, and what must come of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest
from front_door import SCHEMA, STATE, Finished, record

from target_sprinto.sandbox import Fault, Readings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from _pytest.mark import ParameterSet
    from expectation import Expected
    from stage import Stage

SEED = "target-sprinto"
RECORDS = 25
PAGE_SIZE = 10

READINGS = Readings(apply="append")
"""Appending shows whatever comes twice."""

CONTRARY = Readings(
    apply="append",
    ingest_total="session",
    status_postpones_expiry=False,
    errors_in="validation_errors",
    index_within="page",
    index_base=1,
    all_errors=False,
    status_shows_reference=True,
    conflict_shows_session=True,
    close_answer_state="processing",
    activity_order="newest_first",
    batches_count_rejected=True,
    discard_from_expired=True,
)
"""Every silent place read the other way, but for whether the log shows references: cells say that."""

Acts = Literal["not acted", "acted"]


def stream_of(number: int) -> str:
    return "people" if number % 2 == 0 else "teams"


def records(count: int = RECORDS, **fields: object) -> list[dict[str, Any]]:
    """Two streams by turns, with keys that come back in later pages."""
    return [
        record(number // 2 % 4, stream_of(number), name=f"S3CR3T {number}", **fields)
        for number in range(count)
    ]


SCHEMAS = [SCHEMA, SCHEMA | {"stream": "teams"}]
EARLIER_STATE = {"type": "STATE", "value": {"bookmarks": {"people": {"at": "2026-01-01T00:00:00Z"}}}}
INPUT = [*SCHEMAS, *records()[:12], EARLIER_STATE, *records()[12:], STATE]


def entities(copies: int) -> dict[str, list[Any]]:
    """What is to be applied of so many whole inputs, by entity type, in order."""
    whole: dict[str, list[Any]] = {}
    for message in records() * copies:
        whole.setdefault(message["stream"], []).append(message["record"])
    return whole


def run_all(stage: Stage) -> Finished:
    """The script of most cells: the whole input at once."""
    return stage.run(INPUT)


@dataclass(frozen=True)
class Cell:
    """`server` is what the integration is configured with beside readings; `script` drives the run.

    `pace` shortens the contract's waits for this cell, in seconds.
    """

    name: str
    expected: Expected
    faults: tuple[Fault, ...] = ()
    readings: Readings = READINGS
    settings: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)
    pace: Mapping[str, float] = field(default_factory=dict)
    script: Callable[[Stage], Finished] = run_all

    def as_parameter(self) -> ParameterSet:
        marks = [] if in_default_suite(self.name) else [pytest.mark.slow]
        return pytest.param(self, id=self.name, marks=marks)


def in_default_suite(name: str) -> bool:
    """A seeded tenth, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{SEED}:{name}".encode()).digest()[:4], "big") % 10 == 0


def read_as(readings: Readings) -> str:
    """The part of a cell's name that tells its readings, where they are not the usual ones."""
    usual = Readings(apply="append")
    differing = [name for name in vars(usual) if getattr(readings, name) != getattr(usual, name)]
    if len(differing) > 2:
        unseen = "" if readings.log_shows_reference else ", log shows no reference"
        return f", contrary readings{unseen}"
    return "".join(f", {name}={getattr(readings, name)}" for name in differing)
