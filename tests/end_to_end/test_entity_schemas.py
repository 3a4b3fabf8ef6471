"""`entity_schemas`: mapped records are checked before a session is opened."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.front_door import SCHEMA, STATE, people, record

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.front_door import Finished, FrontDoor

RULES: dict[str, Any] = {
    "key": ["id"],
    "schema": {
        "type": "object",
        "properties": {
            "id": {"type": "integer", "maximum": 100},
            "name": {"type": "string", "maxLength": 40},
            "kind": {"enum": ["a", "b"]},
            "since": {"type": "string", "format": "date-time"},
            "tags": {
                "type": "array",
                "items": {"type": "object", "properties": {"label": {"type": "string"}}},
            },
        },
        "required": ["id", "name"],
        "additionalProperties": False,
    },
}
PERSON = {"Person": RULES}
FIELDS = SCHEMA | {
    "schema": {"type": "object", "properties": {name: {} for name in RULES["schema"]["properties"]}}
}
BAD: dict[str, Any] = {
    "name": 5,
    "kind": "s3cr3t",
    "since": "2024-01-01",
    "tags": [{"label": "x"}, {"label": 1}],
}


def run(door: FrontDoor, messages: list[Any], schemas: object = PERSON, **settings: object) -> Finished:
    return door.run(messages, **{"entity_types": {"people": "Person"}, "entity_schemas": schemas} | settings)


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        ({"id": {"type": "string"}, "name": {}}, "field 'id' of stream 'people' is string, but entity type"),
        ({"id": {}, "name": {}, "pay": {}}, "stream 'people' sends field 'pay', and entity type 'Person'"),
        ({"id": {}}, "stream 'people' does not send field 'name', which entity type 'Person' requires"),
    ],
)
@pytest.mark.parametrize("named", ["peoples", "people"])
def test_a_misspelled_stream_in_the_maps_is_named(
    door: FrontDoor, properties: dict[str, Any], problem: str, named: str
) -> None:
    schema = SCHEMA | {"schema": {"type": "object", "properties": properties}}
    maps = {"others": {"id": "id"}, named: {"id": "id"}}
    finished = run(door, [schema, STATE], stream_maps=maps)
    assert finished.code == 1
    assert problem in finished.error
    hint = "No `stream_maps` entry is for this stream (nearest first: 'peoples', 'others')"
    assert (hint in finished.error) is (named == "peoples")


def test_all_problems_are_reported_before_a_session_is_opened(door: FrontDoor) -> None:
    finished = run(door, [FIELDS, record(1), record(2, **BAD), STATE])
    assert (finished.code, finished.stdout) == (1, "")
    assert "Input line 3: a record of stream 'people' does not fit entity type 'Person'" in finished.error
    for problem in (
        "field 'name' must be string",
        "field 'kind' must be one of a, b",
        "field 'since' must be a date-time",
        "field 'tags[1].label' must be string",
    ):
        assert problem in finished.error
    assert "[entity-schema]" in finished.error
    assert door.operations() == []


def test_types_without_a_schema_are_not_checked(door: FrontDoor) -> None:
    others = SCHEMA | {"stream": "others"}
    types = {"people": "Person", "others": "Thing"}
    messages = [SCHEMA, others, record(1), record(2, "others", extra=True), STATE]
    finished = run(door, messages, entity_types=types)
    assert finished.code == 0, finished.stderr
    assert {name: len(found) for name, found in door.applied().items()} == {"Person": 1, "Thing": 1}


def test_diverted_records_name_the_check_that_rejected_them(door: FrontDoor) -> None:
    finished = run(door, [FIELDS, record(1), record(2, **BAD), STATE], on_invalid_record="divert")
    assert finished.code == 0, finished.stderr
    (path,) = (door.folder / "rejects").glob("*.singer")
    reject = json.loads(path.read_bytes().splitlines()[-1])
    assert reject["reject"]["by"] == "entity-schema"
    assert reject["reject"]["code"] == "entity-schema"
    assert "field 'kind' must be one of a, b" in reject["reject"]["issue"]
    assert "s3cr3t" not in json.dumps(reject["reject"])
    assert len(door.applied()["Person"]) == 1


def test_records_are_checked_after_mapping(door: FrontDoor) -> None:
    """Even without `validate_records`, which is about the tap's own schema."""
    settings = {"stream_maps": {"people": {"id": "id * 60"}}, "validate_records": False}
    finished = run(door, people(3), **settings)
    assert "Input line 4: " in finished.error
    assert "field 'id' violates the rule 'maximum'" in finished.error


def test_key_properties_must_match_the_entity_type(door: FrontDoor) -> None:
    schema = FIELDS | {"key_properties": ["name"]}
    finished = run(door, [schema, *people(3)[1:]])
    assert finished.error.startswith(
        "Input line 1: stream 'people' identifies an entity by 'name', and entity type 'Person' by 'id'"
        " (`entity_schemas`). "
    )
    assert 'Write "__key_properties__": ["id"] in its stream map, or correct `key`. ' in finished.error
    assert "[stream-map]" in finished.error
    assert door.operations() == []
    followed = {"people": {"__key_properties__": ["id"]}}
    assert run(door, [schema, *people(3)[1:]], stream_maps=followed).code == 0
    # A stream without key properties is sent page by page.
    assert run(door, [FIELDS | {"key_properties": []}, *people(3)[1:]]).code == 0


@pytest.mark.parametrize("own", [True, False], ids=["of the entity type", "of the stream"])
def test_ordinary_patterns_check_a_record_of_20_kb(door: FrontDoor, *, own: bool) -> None:
    rules = {f"code{n}": {"type": "string", "pattern": "^[A-Z]-[0-9]+$"} for n in range(12)}
    schema = {"type": "object", "properties": {"id": {}, "name": {}, **rules}}
    unchecked: dict[str, Any] = {"properties": {name: {} for name in schema["properties"]}}
    stream = SCHEMA | {"schema": unchecked if own else schema}
    schemas = {"Person": {"schema": schema}} if own else None
    finished = run(door, [stream, record(1, name="n" * 20_000, code1="A-1"), STATE], schemas)
    assert finished.code == 0, finished.stderr
    bad = run(door, [stream, record(1, name="n" * 20_000, code1="A"), STATE], schemas)
    assert "field 'code1' violates the rule 'pattern'" in bad.error


@pytest.mark.parametrize("how", ["file", "environment", "file named in the environment"])
def test_schemas_may_come_from_a_file_or_the_environment(door: FrontDoor, how: str) -> None:
    text = json.dumps(PERSON)
    path = door.folder / "entities.json"
    path.write_text(text)
    value = str(path) if "file" in how else text
    config = door.config(entity_types={"people": "Person"}, entity_schemas=value if how == "file" else None)
    env = {} if how == "file" else {"TARGET_SPRINTO_ENTITY_SCHEMAS": value}
    messages = [FIELDS, record(1, name=5), STATE]
    finished = door.run(messages, "--config", str(config), "--config", "ENV", env=env)
    assert "[entity-schema]" in finished.error


def test_the_documented_user_is_bundled(door: FrontDoor) -> None:
    finished = run(door, people(1), "bundled:User", entity_types={"people": "User"})
    assert "entity type 'User' has no such field" in finished.error
    finished = run(door, people(1), {"User": "bundled:User"} | PERSON, entity_types={"people": "Person"})
    assert finished.code == 0, finished.stderr


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no\0where.json", "`entity_schemas` has a character that is invalid in a path"),
        ("nowhere.json", "the file 'nowhere.json' of `entity_schemas`: No such file or directory"),
        ({"Person": {"key": "id"}}, "`entity_schemas.Person` must be"),
        ({"Person": {"schema": {"type": "nonsense"}}}, "`entity_schemas.Person` must be"),
        (
            {"Person": {"schema": {"$ref": "https://example.com/x"}}},
            "`entity_schemas.Person` cannot be used: a `$ref` refers to another document",
        ),
        ({"Person": {"schema": {"$id": 5}}}, "`entity_schemas.Person` cannot be used: an `$id` in it is not"),
        (
            {"Person": {"schema": {"properties": {f"f{n}": {} for n in range(20_000)}}}},
            "`entity_schemas.Person` cannot be used: it has more than 20,000 subschemas",
        ),
        ({"Person": RULES | {"required": ["id"]}}, "`entity_schemas.Person` must be"),
        (
            {"Person": {"schema": {"properties": {"at": {"type": "string", "format": "datetime"}}}}},
            "`entity_schemas.Person` has the unknown `format` 'datetime'. Use a format of its",
        ),
        (
            {"Person": {"schema": {"$schema": "http://json-schema.org/draft-07/schema#", "format": "uuid"}}},
            "`entity_schemas.Person` has the unknown `format` 'uuid'",
        ),
        ({"Person": {"schema": {"properties": {"format": 5}}}}, "`entity_schemas.Person` must be"),
        ('{"Person": ', "`entity_schemas` is not a JSON object"),
        (5, "`entity_schemas` must be string or object"),
    ],
)
def test_invalid_schemas_are_settings_errors(door: FrontDoor, value: object, message: str) -> None:
    finished = run(door, people(1), value)
    assert finished.code == 1
    assert message in finished.error
    assert "[settings]" in finished.error
    assert door.operations() == []


def test_a_file_that_is_too_large_is_reported(door: FrontDoor) -> None:
    path = door.folder / "large.json"
    path.write_text(json.dumps({"Person": RULES}) + " " * 5_000_000)
    finished = run(door, people(1), str(path))
    assert finished.code == 1
    assert "of `entity_schemas` has more than 5,000,000 bytes" in finished.error


def test_the_files_content_is_part_of_the_settings_digest(door: FrontDoor) -> None:
    path: Path = door.folder / "entities.json"
    digests = set()
    for maximum in (100, 200):
        rules = json.loads(json.dumps(RULES))
        rules["schema"]["properties"]["id"]["maximum"] = maximum
        path.write_text(json.dumps({"Person": rules}))
        report = door.folder / f"receipt-{maximum}.json"
        assert run(door, people(1), str(path), report_path=str(report), rejects_dir="r").code == 0
        digests.add(json.loads(report.read_bytes())["settings_sha256"])
    assert len(digests) == 2


def test_a_backtracking_pattern_ends_soon(door: FrontDoor) -> None:
    """A validation cannot be interrupted, so it has the same step limit as for a tap's schema."""
    schema = {"properties": {"id": {}, "name": {"type": "string", "pattern": r"^(?=(a+)+$)b"}}}
    messages = [FIELDS, record(1, name="a" * 5000), STATE]
    finished = run(door, messages, {"Person": {"schema": schema}})
    assert "field 'name' violates the rule 'pattern'" in finished.error


def test_only_the_first_problems_of_a_record_are_listed(door: FrontDoor) -> None:
    schema = {"properties": {f"field_{number}": {"type": "string"} for number in range(1000)}}
    stream = SCHEMA | {
        "schema": {"type": "object", "properties": {name: {} for name in schema["properties"]}}
    }
    message = {"type": "RECORD", "stream": "people", "record": dict.fromkeys(schema["properties"], 5)}
    finished = run(door, [stream | {"key_properties": []}, message, STATE], {"Person": {"schema": schema}})
    assert "; and 16 more." in finished.error
    assert len(finished.error) < 500


@pytest.mark.parametrize(
    "schema",
    [
        {"required": ["employeeId"]},
        {},
        {"allOf": [{"properties": {"employeeId": {}}}]},
        {"properties": {"other": {}}, "patternProperties": {"^employee": {}}},
    ],
    ids=str,
)
def test_a_schema_may_name_its_fields_elsewhere_or_nowhere(door: FrontDoor, schema: dict[str, Any]) -> None:
    rules = {"key": ["employeeId"], "schema": schema}
    maps = {"people": {"employeeId": "str(id)", "__key_properties__": ["employeeId"], "__else__": None}}
    finished = door.run(people(2), entity_schemas={"people": rules}, stream_maps=maps)
    assert finished.code == 0, finished.stderr
    assert [one["employeeId"] for one in door.applied()["people"]] == ["0", "1"]
