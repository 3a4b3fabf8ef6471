"""Makes the inputs: SCHEMA, RECORDs, STATE. The same words give the same bytes.

`records.py employees COUNT`, `records.py staff COUNT`, `records.py many_streams STREAMS COUNT_OF_EACH`,
`records.py large COUNT`.
"""

from __future__ import annotations

import json
import random
import sys
import uuid
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STREAM = "employees"

SCHEMA = th.PropertiesList(
    th.Property("employeeId", th.StringType(nullable=False), required=True),
    th.Property("fullName", th.StringType(nullable=False), required=True),
    th.Property("workEmail", th.StringType),
    th.Property("managerId", th.StringType),
    th.Property("role", th.StringType),
    th.Property("badge", th.IntegerType),
    th.Property("hoursPerWeek", th.NumberType),
    th.Property("isActive", th.BooleanType),
    th.Property("employmentStartDate", th.DateTimeType),
    th.Property("employmentEndDate", th.DateTimeType),
    th.Property(
        "office",
        th.ObjectType(
            th.Property("city", th.StringType),
            th.Property("floor", th.IntegerType),
        ),
    ),
).to_dict()

STAFF_SCHEMA = th.PropertiesList(
    th.Property("employee_id", th.StringType(nullable=False), required=True),
    th.Property("first_name", th.StringType),
    th.Property("last_name", th.StringType),
    th.Property("work_email", th.StringType),
    th.Property("manager_id", th.StringType),
    th.Property("job_title", th.StringType),
    th.Property("job_description", th.StringType),
    th.Property("contract_type", th.StringType),
    th.Property("start_date", th.DateTimeType),
    th.Property("end_date", th.DateTimeType),
    th.Property("cost_center", th.StringType),
).to_dict()

_FIRST = ("Asha", "Bruno", "Chloé", "Dmitri", "Eun-ji", "Fatima", "Gül", "Hana", "Ivo", "Jürgen")
_LAST = ("Adeyemi", "Bakker", "Castro", "Dvořák", "Eriksen", "Fischer", "Gupta", "Haddad", "Ito", "Jensen")
_ROLES = ("Engineer", "Team Lead", "Accountant", "Security Analyst", "People Partner")
_CITIES = ("Bengaluru", "São Paulo", "Amsterdam", "San Francisco")
_EPOCH = datetime(2015, 1, 5, 9, tzinfo=timezone.utc)
_EXTRACTED = datetime(2026, 1, 15, 6, tzinfo=timezone.utc)


LARGE_BYTES = 200_000
LARGE_SCHEMA = th.PropertiesList(
    th.Property("id", th.StringType(nullable=False), required=True),
    th.Property("text", th.StringType),
).to_dict()


def employees(count: int) -> Iterator[dict[str, Any]]:
    """One stream of `count` records."""
    yield from _stream(STREAM, count)
    yield _state({STREAM: {"badge": count}})


def staff(count: int) -> Iterator[dict[str, Any]]:
    """The same people as an HR tap names their fields: the input of the README's stream map."""
    for message in employees(count):
        if message["type"] == "SCHEMA":
            yield message | {"schema": STAFF_SCHEMA, "key_properties": ["employee_id"]}
        elif message["type"] == "RECORD":
            yield message | {"record": _of_staff(message["record"])}
        else:
            yield message


def _of_staff(record: dict[str, Any]) -> dict[str, Any]:
    first, _, last = record["fullName"].partition(" ")
    return {
        "employee_id": record["employeeId"],
        "first_name": first,
        "last_name": last,
        "work_email": record["workEmail"],
        "manager_id": record["managerId"],
        "job_title": record["role"],
        "job_description": f"{record['role']} in {record['office']['city']}",
        "contract_type": "employee",
        "start_date": record["employmentStartDate"],
        "end_date": record["employmentEndDate"],
        "cost_center": f"{record['badge']:08}",
    }


def many_streams(streams: int, count: int) -> Iterator[dict[str, Any]]:
    """`streams` streams of `count` records each, one after the other."""
    names = [f"{STREAM}_{number}" for number in range(1, streams + 1)]
    for name in names:
        yield from _stream(name, count)
    yield _state({name: {"badge": count} for name in names})


def large(count: int) -> Iterator[dict[str, Any]]:
    """One stream of `count` records of LARGE_BYTES each: made-up words, which compress as prose does."""
    yield {"type": "SCHEMA", "stream": "documents", "schema": LARGE_SCHEMA, "key_properties": ["id"]}
    chance = random.Random(count)  # noqa: S311 - made-up words, not secrets
    words = [f"{chance.getrandbits(28):x}" for _ in range(5000)]
    envelope = len(_line({"id": f"{0:010}", "text": ""}))
    for number in range(1, count + 1):
        text = " ".join(chance.choices(words, k=LARGE_BYTES // 6))[: LARGE_BYTES - envelope]
        yield {"type": "RECORD", "stream": "documents", "record": {"id": f"{number:010}", "text": text}}
    yield _state({"documents": {"id": count}})


INPUTS: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    made.__name__: made for made in (employees, staff, many_streams, large)
}


def _stream(name: str, count: int) -> Iterator[dict[str, Any]]:
    yield {"type": "SCHEMA", "stream": name, "schema": SCHEMA, "key_properties": ["employeeId"]}
    chance = random.Random(f"{name} {count}")  # noqa: S311 - made-up people, not secrets
    for number in range(1, count + 1):
        yield {
            "type": "RECORD",
            "stream": name,
            "record": _record(number, chance),
            "time_extracted": _iso(_EXTRACTED + timedelta(seconds=number // 1000)),
        }


def _state(bookmarks: dict[str, Any]) -> dict[str, Any]:
    return {"type": "STATE", "value": {"bookmarks": bookmarks}}


def _line(value: dict[str, Any]) -> str:
    """Encoded as the SDK's taps do."""
    return json.dumps(value, separators=(",", ":"))


def _record(number: int, chance: random.Random) -> dict[str, Any]:
    first, last = chance.choice(_FIRST), chance.choice(_LAST)
    started = _EPOCH + timedelta(minutes=chance.randrange(5_000_000))
    left = chance.random() < 0.2  # noqa: PLR2004 - one in five
    return {
        "employeeId": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "fullName": f"{first} {last}",
        "workEmail": f"{first}.{last}.{number}@example.com".lower(),
        "managerId": str(uuid.UUID(int=chance.getrandbits(128), version=4)) if number % 10 else None,
        "role": chance.choice(_ROLES),
        "badge": number,
        "hoursPerWeek": chance.randrange(800, 4000) / 100,
        "isActive": not left,
        "employmentStartDate": _iso(started),
        "employmentEndDate": _iso(started + timedelta(days=400)) if left else None,
        "office": {"city": chance.choice(_CITIES), "floor": chance.randrange(12)},
    }


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def main() -> None:
    kind, *numbers = sys.argv[1:]
    for message in INPUTS[kind](*map(int, numbers)):
        sys.stdout.write(_line(message) + "\n")


if __name__ == "__main__":
    main()
