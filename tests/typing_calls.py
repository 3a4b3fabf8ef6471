"""Calls of the Python API as a program would write them: mypy checks this file, nothing runs it.

A call that must fail is marked with its error; `warn_unused_ignores` fails if there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, TypedDict

from typing_extensions import assert_type

import target_sprinto
from target_sprinto import (
    ConflictPolicy,
    Finish,
    OnActiveSession,
    OnCountMismatch,
    Run,
    RunOutcome,
    RunResult,
    SprintoClient,
    SprintoError,
    Timeouts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Employee(TypedDict):
    """A typed dict is a mapping of strings to objects."""

    employeeId: str
    managerId: str | None


@dataclass
class Device:
    """A dataclass is not a mapping: `dataclasses.asdict` makes it one."""

    serial: str


def a_client() -> SprintoClient:
    SprintoClient(api_key="…", integration_id="…", region="eu")
    SprintoClient(api_key="…", integration_id="…", api_url=None)
    SprintoClient("…", "…")  # type: ignore[call-arg] # by name only: two strings are easily mixed up
    SprintoClient(api_key="…")  # type: ignore[call-arg] # no integration
    SprintoClient(api_key=b"key", integration_id="…")  # type: ignore[arg-type] # bytes are not text
    return assert_type(
        SprintoClient(api_key="…", integration_id="…"),
        SprintoClient,
    )


def a_run(client: SprintoClient) -> None:
    client.run(
        reference_prefix="hr",
        page_size=50,
        max_parallel_pages=4,
        compress=False,
        timeouts=Timeouts(request=10),
        on_conflict=ConflictPolicy(OnActiveSession.WAIT, wait_seconds=60),
        on_count_mismatch="apply",
        finish=Finish.DISCARD,
        expected={"User": 1},
    )
    client.run("hr")  # type: ignore[call-arg] # settings are keyword-only
    client.run(finish="hold", on_count_mismatch=OnCountMismatch.APPLY)
    client.run(on_conflict=ConflictPolicy(choice="discard"))
    client.run(on_conflict=ConflictPolicy("discard", own_prefix=None))
    client.run(on_conflict="discard")  # type: ignore[arg-type] # a policy has limits too
    ConflictPolicy(choice=1)  # type: ignore[arg-type] # one of `OnActiveSession`, or its value
    client.run(interrupted=None)  # type: ignore[arg-type] # a function
    client.run(rejects=[])  # type: ignore[call-arg] # for the Singer target alone
    client.run(finish=1)  # type: ignore[arg-type] # one of `Finish`, or its value
    client.run(expected={"User": "1"})  # type: ignore[dict-item] # a number


def what_is_pushed(client: SprintoClient, employees: list[Employee], devices: list[Device]) -> None:
    def generated() -> Iterator[Mapping[str, object]]:
        yield {"employeeId": "E-1", "salary": Decimal("1.10")}

    with client, client.run() as run:
        assert_type(run, Run)
        run.push("User", [{"employeeId": "E-1", "tags": ["a"], "manager": None}])
        run.push("User", ({"n": n} for n in range(3)))
        run.push("User", generated(), key="employeeId")
        run.push("User", employees, key=["employeeId", "managerId"])
        run.push("User", {"employeeId": "E-1"})  # type: ignore[dict-item] # one record, not a list
        run.push("User", ["E-1"])  # type: ignore[list-item] # not a mapping
        run.push("User", [{1: "E-1"}])  # type: ignore[dict-item] # names are strings
        run.push("Device", devices)  # type: ignore[arg-type] # see Device
        run.push(employees, "User")  # type: ignore[arg-type] # the other way round
        run.push("User", employees, "employeeId")  # type: ignore[call-arg] # the key is keyword-only
        run.push("User", None)  # type: ignore[arg-type] # for no records, pass an empty list
        run.add("User", b'{"employeeId": "E-1"}', key="E-1")
        run.add("User", '{"employeeId": "E-1"}')  # type: ignore[arg-type] # the record's bytes
        run.push("User", employees, key=1)  # type: ignore[arg-type] # a name
    assert_type(run.result, RunResult)
    assert_type(run.session_outcome, str)
    assert_type(run.result.outcome, RunOutcome)
    assert_type(run.result.expires_at, datetime | None)
    assert_type(run.result.records, dict[str, int])
    run.result.records = {}  # type: ignore[misc] # a result is read-only


def an_error(error: SprintoError) -> None:
    assert_type(error.code, str)
    assert_type(error.exit_code, int)
    assert_type(error.session_outcome, str)
    _ = target_sprinto.Nothing  # type: ignore[attr-defined] # no such attribute
