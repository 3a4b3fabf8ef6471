"""`sprintoctl map draft`: turns a tap's output or catalog into a config to complete."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.front_door import STATE, Finished, FrontDoor, as_input
from tests.support.tap_fields import schema

if TYPE_CHECKING:
    from pathlib import Path

STREAM = {
    "type": "SCHEMA",
    "stream": "public-employees",
    "schema": schema(
        "id:integer firstName lastName email hireDate contract salary:integer created:date-time"
    ),
    "key_properties": ["id"],
}
ADA = {
    "id": 1,
    "firstName": "Ada",
    "lastName": "s3cr3t",
    "email": "s3cr3t@example.com",
    "hireDate": "2024-01-15",
    "contract": "s3cr3t",
    "salary": 7,
    "created": "2026-01-01T00:00:00Z",
}
MESSAGES = [STREAM, {"type": "RECORD", "stream": "public-employees", "record": ADA}, STATE]
CATALOG = {
    "streams": [
        {
            "tap_stream_id": "public-employees",
            "schema": STREAM["schema"],
            "metadata": [{"breadcrumb": [], "metadata": {"table-key-properties": ["id"]}}],
        },
        {"tap_stream_id": "devices", "schema": {}, "key_properties": ["id"]},
    ]
}


def run(door: FrontDoor, *words: str, typed: bytes = b"") -> Finished:
    return door.finish(door.start("map", "draft", *words, program="sprintoctl"), typed)


def write(door: FrontDoor, messages: list[Any]) -> Path:
    path = door.folder / "tap.singer"
    path.write_bytes(as_input(messages))
    return path


def test_draft_then_preview_then_run(door: FrontDoor) -> None:
    tap, drafted = write(door, MESSAGES), door.folder / "mapping.json"
    finished = run(door, "--input", str(tap), "-o", str(drafted))
    assert finished.code == 0, finished.stderr
    assert "public-employees → User" in finished.stderr
    assert "Not sent: contract, salary, created" in finished.stderr
    assert 'Fill in each "?"; then: sprintoctl map preview' in finished.stderr
    connection = door.config(unmapped_streams=None, require_final_state=False)
    words = ["--config", str(connection), "--config", str(drafted)]
    unfinished = door.run(MESSAGES, *words)
    assert '`stream_maps.public-employees.employmentType` is still "?"' in unfinished.error
    assert door.operations() == []
    config = json.loads(drafted.read_bytes())
    config["stream_maps"]["public-employees"]["employmentType"] = "'EMPLOYEE'"
    drafted.write_text(json.dumps(config))
    preview = ["map", "preview", "--input", str(tap), *words]
    assert door.finish(door.start(*preview, program="sprintoctl")).code == 0
    assert door.run(MESSAGES, *words).code == 0
    assert door.applied() == {
        "User": [
            {
                "employeeId": "1",
                "firstName": "Ada",
                "lastName": "s3cr3t",
                "employmentStartDate": "2024-01-15T00:00:00Z",
                "workEmail": "s3cr3t@example.com",
                "employmentType": "EMPLOYEE",
            }
        ]
    }


def test_two_streams_of_one_type_are_pointed_out(door: FrontDoor) -> None:
    sessions = STREAM | {"stream": "user_sessions"}
    finished = run(door, "--input", str(write(door, [STREAM, sessions, STATE])))
    assert finished.code == 0, finished.stderr
    assert "user_sessions: another stream also has entity type User." in finished.stderr


def test_a_catalog_and_chosen_types_are_accepted(door: FrontDoor) -> None:
    path = door.folder / "catalog.json"
    path.write_text(json.dumps(CATALOG))
    entities = door.folder / "entities.json"
    entities.write_text(json.dumps({"Laptop": {"key": ["id"], "schema": {"properties": {"id": {}}}}}))
    finished = run(door, "--catalog", str(path))
    assert finished.code == 0
    assert json.loads(finished.stdout)["entity_types"] == {"public-employees": "User"}
    assert "devices: no entity type; set one with --type devices=TYPE." in finished.stderr
    finished = run(door, "--catalog", str(path), "--entities", str(entities), "--type", "devices=Laptop")
    assert json.loads(finished.stdout) == {
        "entity_types": {"devices": "Laptop"},
        "entity_schemas": str(entities),
        "stream_maps": {"devices": {"id": "?", "__key_properties__": ["id"], "__else__": None}},
    }


def test_a_draft_reads_from_a_pipe_and_overwrites_nothing(door: FrontDoor) -> None:
    drafted = door.folder / "mapping.json"
    drafted.write_text("mine")
    finished = run(door, "--input", "-", "-o", str(drafted), typed=as_input(MESSAGES))
    assert finished.code == 1
    assert "cannot be written (File exists). Choose another name, or delete it." in finished.stderr
    assert drafted.read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "Use either --input or --catalog."),
        (["--input", "tap.singer", "--type", "employees=User"], 2, "nearest first: 'public-employees'"),
        (["--input", "tap.singer", "--type", "public-employees=Usr"], 2, "nearest first: 'User'"),
        (["--input", "devices.singer"], 1, "no stream is named like an entity type. Name one with --type"),
        (["--input", "empty.singer", "-o", "m.json"], 1, "The input contains no streams. Pass the tap's"),
        (["--input", "bad.singer"], 1, "Input line 1: the line is not a Singer message."),
        (["--catalog", "tap.singer"], 1, "this is not a Singer catalog."),
        (["--input", "tap.singer", "--entities", "nowhere.json"], 1, "of `entity_schemas`: No such file"),
    ],
)
def test_each_mistake_has_a_hint(door: FrontDoor, words: list[str], code: int, message: str) -> None:
    write(door, MESSAGES)
    (door.folder / "bad.singer").write_bytes(b'{"type": s3cr3t')
    (door.folder / "devices.singer").write_bytes(as_input([STREAM | {"stream": "devices"}]))
    (door.folder / "empty.singer").touch()
    finished = run(door, *words)
    assert not (door.folder / "m.json").exists()
    assert (finished.code, message in finished.stderr) == (code, True), finished.stderr
