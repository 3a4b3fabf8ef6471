"""Rows that a log-based tap marks as deleted: not sent as live records unless the user allows it."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.front_door import SCHEMA, SECRET, STATE, FrontDoor, record, state_line
from tests.support.receipts import read_receipt

if TYPE_CHECKING:
    from pathlib import Path

WHEN = "2026-11-20T10:00:00Z"
DELETED = {"_sdc_deleted_at": WHEN}
MARK = {"type": ["string", "null"], "format": "date-time"}
"""The declaration of SDK taps."""
PROPERTIES: dict[str, Any] = {"id": {"type": "integer"}, "name": {"type": ["string", "null"]}}
DECLARED = SCHEMA | {"schema": {"type": "object", "properties": PROPERTIES | {"_sdc_deleted_at": MARK}}}
NESTED = SCHEMA | {"schema": {"properties": PROPERTIES | {"_sdc_deleted_at": {"anyOf": [MARK]}}}}
UNDECLARED = SCHEMA
SCHEMAS = {"declared": DECLARED, "not a plain schema": NESTED, "not declared": UNDECLARED}
MAPS: dict[str, dict[str, Any] | None] = {
    "no map": None,
    "a map that drops it": {"employeeId": "id", "__key_properties__": ["employeeId"], "__else__": None},
    "a map that removes it": {"_sdc_deleted_at": None},
    "a map that names it in a text": {"note": "'_sdc_deleted_at'"},
}
MAPS_READING_THE_MARK: dict[str, dict[str, Any]] = {
    "renames it": {"endDate": "_sdc_deleted_at", "_sdc_deleted_at": None},
    "gets it": {"endDate": "record.get('_sdc_deleted_at')", "_sdc_deleted_at": None},
    "takes it from the record": {"endDate": "_['_sdc_deleted_at']", "_sdc_deleted_at": None},
    "uses it in an expression": {"status": "'gone' if _sdc_deleted_at else 'there'"},
    "keeps it as itself": {"_sdc_deleted_at": "self"},
}


def mapped(stream_map: dict[str, Any] | None) -> dict[str, Any]:
    return {"stream_maps": {"people": stream_map}} if stream_map else {}


def rows() -> list[dict[str, Any]]:
    return [record(1, _sdc_deleted_at=None), record(2, **DELETED), record(3, _sdc_deleted_at=None)]


def as_batch(schema: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    path = folder / "batch.jsonl"
    path.write_text("".join(json.dumps(row["record"]) + "\n" for row in rows()))
    message = {"type": "BATCH", "stream": "people", "encoding": {"format": "jsonl"}}
    return [schema, message | {"manifest": [path.as_uri()]}, STATE]


def ids(door: FrontDoor) -> list[int]:
    return [entity.get("employeeId", entity.get("id")) for entity in door.applied().get("people", [])]


# A map must not name a field that is not in the schema.
FITTING = [pair for pair in product(SCHEMAS, MAPS) if pair != ("not declared", "a map that removes it")]


@pytest.mark.parametrize(("schema", "stream_map"), FITTING)
def test_by_default_a_deleted_record_fails_the_run(door: FrontDoor, schema: str, stream_map: str) -> None:
    finished = door.run([SCHEMAS[schema], *rows(), STATE], **mapped(MAPS[stream_map]))
    assert (finished.code, finished.stdout) == (1, "")
    assert finished.error.startswith("Input line 3: a record of stream 'people' is marked as deleted")
    end_date = """`stream_maps: {"people": {"employmentEndDate": "record.get('_sdc_deleted_at')"}}`"""
    assert end_date in finished.error
    assert "[deleted-record]" in finished.error
    assert WHEN not in finished.stderr
    assert door.applied() == {}


def test_a_deleted_record_is_not_diverted(door: FrontDoor) -> None:
    finished = door.run([DECLARED, *rows(), STATE], on_invalid_record="divert")
    assert finished.code == 1
    assert "[deleted-record]" in finished.error


def test_the_suggested_stream_map_sends_an_end_date(door: FrontDoor) -> None:
    messages = [DECLARED, *rows(), record(4), STATE]
    (shown,) = [part for part in door.run(messages).error.split("`") if part.startswith("stream_maps: ")]
    maps = json.loads(shown.removeprefix("stream_maps: "))
    assert door.run(messages, stream_maps=maps).code == 0
    ends = {entity["id"]: entity["employmentEndDate"] for entity in door.applied()["people"]}
    assert ends == {1: None, 2: WHEN, 3: None, 4: None}


@pytest.mark.parametrize("stream_map", MAPS_READING_THE_MARK)
@pytest.mark.parametrize("setting", ["fail", "skip"])
def test_a_map_that_reads_the_mark_handles_deleted_records(
    door: FrontDoor, setting: str, stream_map: str
) -> None:
    messages = [DECLARED, *rows(), STATE]
    finished = door.run(messages, on_deleted_record=setting, **mapped(MAPS_READING_THE_MARK[stream_map]))
    assert finished.code == 0
    assert ids(door) == [1, 2, 3]


def test_a_filter_that_reads_the_mark_handles_deleted_records(door: FrontDoor) -> None:
    maps = mapped({"__filter__": "not _sdc_deleted_at"})
    assert door.run([DECLARED, *rows(), STATE], **maps).code == 0
    assert ids(door) == [1, 3]


@pytest.mark.parametrize("form", ["records", "batch"])
@pytest.mark.parametrize("stream_map", ["no map", "a map that drops it"])
@pytest.mark.parametrize("schema", SCHEMAS)
def test_deleted_records_are_skipped_under_skip(
    door: FrontDoor, tmp_path: Path, schema: str, stream_map: str, form: str
) -> None:
    messages = [SCHEMAS[schema], *rows(), STATE]
    if form == "batch":
        messages = as_batch(SCHEMAS[schema], tmp_path)
    finished = door.run(
        messages, on_deleted_record="skip", report_path="receipt.json", **mapped(MAPS[stream_map])
    )
    assert (finished.code, finished.stdout) == (0, state_line())
    assert ids(door) == [1, 3]
    assert "Skipped 1 record marked as deleted (`on_deleted_record` is `skip`)." in finished.stderr
    receipt = read_receipt(door.folder / "receipt.json")
    (stream,) = receipt["streams"]
    assert (stream["stream"], stream["records"], stream["skipped"]) == ("people", 3, 1)
    assert SECRET not in finished.stderr


def test_deleted_records_are_sent_under_send(door: FrontDoor) -> None:
    assert door.run([DECLARED, *rows(), STATE], on_deleted_record="send").code == 0
    assert ids(door) == [1, 2, 3]
    assert door.applied()["people"][1]["_sdc_deleted_at"] == WHEN


def test_a_deleted_record_in_a_batch_fails_the_run(door: FrontDoor, tmp_path: Path) -> None:
    finished = door.run(as_batch(DECLARED, tmp_path))
    assert (finished.code, finished.stdout) == (1, "")
    assert "batch.jsonl', line 2: a record of stream 'people' is marked as deleted" in finished.error


def test_each_map_of_a_stream_decides_for_itself(door: FrontDoor) -> None:
    leavers = {"__source__": "people", "id": "id", "end": "_sdc_deleted_at", "__else__": None}
    finished = door.run(
        [DECLARED, *rows(), STATE],
        on_deleted_record="skip",
        stream_maps={"leavers": leavers},
        report_path="receipt.json",
    )
    assert finished.code == 0
    assert ids(door) == [1, 3]
    assert [entity["end"] for entity in door.applied()["leavers"]] == [None, WHEN, None]
    assert read_receipt(door.folder / "receipt.json")["streams"][0]["skipped"] == 1
