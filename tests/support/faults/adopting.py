"""The response to create is lost, the next is a conflict, and finding the session's owner fails too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.faults.cells import CONTRARY, READINGS, Cell, read_as
from tests.support.faults.expectation import DISCARDED, PROCESSED, UNCONFIRMED, UNSEEN
from tests.support.faults.invalid_responses import MISHAPS
from tests.support.sandbox import Fault, Reset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_sprinto.sandbox.operations import Operation
    from tests.support.faults.traffic import Traffic

FINAL = ("401", "404", "503 for too long", "no fields")
FOR_GOOD = 9999


def adopting(traffic: Traffic) -> Iterator[Cell]:
    # The run's session exists throughout: the error must not claim that no session was opened.
    lost = Fault("create", moment="after", effect=Reset())
    asked: dict[Operation, str] = {"activity": "the activity log", "status": "the session's status"}
    for readings in (READINGS, CONTRARY):
        for operation, words in asked.items():
            unknown = UNSEEN if operation == "activity" else UNCONFIRMED.temporary
            for name in FINAL:
                # A replica that does not know the run's own session yet.
                lags = operation == "status" and name == "404"
                for often, times, expected in (
                    ("once", 1, PROCESSED if lags else DISCARDED.temporary),
                    ("permanently", FOR_GOOD, unknown),
                ):
                    refused = Fault(operation, times=times, effect=MISHAPS[name].effect(operation))
                    yield Cell(
                        f"create lost, then {words}: {name}, {often}{read_as(readings)}",
                        expected,
                        (lost, refused),
                        readings,
                        pace={"shutdown_timeout": 4.0},
                        traffic=traffic,
                        in_flight=0,
                    )
