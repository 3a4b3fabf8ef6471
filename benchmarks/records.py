"""Makes the input: one SCHEMA, any number of RECORDs, one STATE. The same number gives the same bytes."""

from __future__ import annotations

import json
import random
import sys
import uuid
from datetime import datetime, timedelta, timezone
from typing import IO, TYPE_CHECKING, Any

from singer_sdk import typing as th

if TYPE_CHECKING:
    from collections.abc import Iterator

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

_FIRST = ("Asha", "Bruno", "Chloé", "Dmitri", "Eun-ji", "Fatima", "Gül", "Hana", "Ivo", "Jürgen")
_LAST = ("Adeyemi", "Bakker", "Castro", "Dvořák", "Eriksen", "Fischer", "Gupta", "Haddad", "Ito", "Jensen")
_ROLES = ("Engineer", "Team Lead", "Accountant", "Security Analyst", "People Partner")
_CITIES = ("Bengaluru", "São Paulo", "Amsterdam", "San Francisco")
_EPOCH = datetime(2015, 1, 5, 9, tzinfo=timezone.utc)
_EXTRACTED = datetime(2026, 1, 15, 6, tzinfo=timezone.utc)


def messages(count: int) -> Iterator[dict[str, Any]]:
    """`count` records between their schema and a STATE."""
    yield {"type": "SCHEMA", "stream": STREAM, "schema": SCHEMA, "key_properties": ["employeeId"]}
    chance = random.Random(count)  # noqa: S311 - made-up people, not secrets
    for number in range(1, count + 1):
        yield {
            "type": "RECORD",
            "stream": STREAM,
            "record": _record(number, chance),
            "time_extracted": _iso(_EXTRACTED + timedelta(seconds=number // 1000)),
        }
    yield {"type": "STATE", "value": {"bookmarks": {STREAM: {"badge": count}}}}


def write(count: int, out: IO[str]) -> None:
    """Write the messages one by one, encoded as the SDK's taps do."""
    for message in messages(count):
        out.write(json.dumps(message, separators=(",", ":")) + "\n")


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


if __name__ == "__main__":
    write(int(sys.argv[1]), sys.stdout)
