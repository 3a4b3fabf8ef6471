"""A cell of the matrix: the fault, the reading, and the expected outcome."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest

from target_sprinto.sandbox import Readings
from tests.support.faults.traffic import SINGLE, Traffic
from tests.support.sandbox import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from _pytest.mark import ParameterSet

    from tests.support.faults.expectation import Expected
    from tests.support.faults.stage import Stage
    from tests.support.front_door import Finished

SEED = "target-sprinto"

READINGS = Readings(apply="append")
"""Under `append`, duplicates show."""

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
    close_response_state="processing",
    activity_order="newest_first",
    batches_count_rejected=True,
    discard_from_expired=True,
)
"""The opposite of the default readings that affect most cells; separate cells set the others."""

Acts = Literal["not acted", "acted"]


def run_all(stage: Stage) -> Finished:
    """The script of most cells: send the whole input at once."""
    return stage.run(stage.traffic.input)


@dataclass(frozen=True)
class Cell:
    """`server` is the integration's configuration besides readings; `script` drives the run.

    `pace` shortens the contract's waits for this cell, in seconds. `in_flight` is the number of pages that
    the server must see at once, if it differs from the traffic's.
    """

    name: str
    expected: Expected
    faults: tuple[Fault, ...] = ()
    readings: Readings = READINGS
    settings: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)
    pace: Mapping[str, float] = field(default_factory=dict)
    script: Callable[[Stage], Finished] = run_all
    traffic: Traffic = SINGLE
    in_flight: int | None = None

    @property
    def id(self) -> str:
        return f"{self.name}; {self.traffic.words}"

    @property
    def keeps_receipt(self) -> bool:
        """True for a seeded half: for each name, either with one page in flight or with several."""
        return lot(f"receipt of {self.name}") % 2 == (self.traffic.parallel > 1)

    def as_parameter(self, *, slow: bool) -> ParameterSet:
        return pytest.param(self, id=self.id, marks=[pytest.mark.slow] if slow else [])


def lot(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{SEED}:{name}".encode()).digest()[:4], "big")


def read_as(readings: Readings) -> str:
    """The part of a cell's name that shows its readings, if they are not the usual ones."""
    usual = Readings(apply="append")
    differing = [name for name in vars(usual) if getattr(readings, name) != getattr(usual, name)]
    if len(differing) > 2:
        unseen = "" if readings.log_shows_reference else ", log shows no reference"
        return f", contrary readings{unseen}"
    return "".join(f", {name}={getattr(readings, name)}" for name in differing)
