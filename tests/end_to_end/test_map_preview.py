"""`sprintoctl map preview`: what a run would send, offline, with values only on request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.front_door import SCHEMA, STATE, Finished, FrontDoor, as_input, people, record

if TYPE_CHECKING:
    from pathlib import Path

PERSON = {
    "Person": {
        "key": ["personId"],
        "schema": {
            "type": "object",
            "properties": {
                "personId": {"type": "integer", "maximum": 250},
                "fullName": {"type": "string"},
                "leader": {"type": ["string", "null"]},
            },
            "required": ["personId", "fullName"],
            "additionalProperties": False,
        },
    }
}
STREAM = SCHEMA | {
    "schema": {
        "type": "object",
        "properties": SCHEMA["schema"]["properties"] | {"salary": {}, "boss": {}},  # type: ignore[index] # a dict
    }
}
MAP = {
    "personId": "id",
    "fullName": "name",
    "leader": "boss",
    "__filter__": "id != 3",
    "__key_properties__": ["personId"],
    "__else__": None,
}
SETTINGS: dict[str, Any] = {
    "entity_types": {"people": "Person"},
    "entity_schemas": PERSON,
    "stream_maps": {"people": MAP},
    # The preview is offline: no key is needed.
    "api_key": None,
    "integration_id": None,
    "api_url": None,
}
GOOD = [STREAM, *(record(number, salary=1, boss=None) for number in range(250)), STATE]
BAD = [*GOOD[:-1], *(record(number, name=None, boss=None) for number in range(251, 261)), STATE]


def preview(door: FrontDoor, messages: list[Any], *words: str, **settings: object) -> Finished:
    path = door.folder / "tap.singer"
    path.write_bytes(as_input(messages))
    config = door.config(**SETTINGS | settings)
    command = ["map", "preview", "--input", str(path), "--config", str(config), *words]
    finished = door.finish(door.start(*command, program="sprintoctl"))
    assert door.operations() == []
    return finished


def test_a_preview_shows_sent_and_dropped_fields(door: FrontDoor) -> None:
    finished = preview(door, GOOD, "-n", "1")
    assert (finished.code, finished.stderr) == (0, "")
    assert finished.stdout.splitlines() == [
        "people → Person: 250 records in, 249 to send, 0 rejected, 1 left out",
        "  personId  ← id",
        "  fullName  ← name",
        "  leader    ← boss",
        "  Dropped: salary",
        "  Null in every record: leader",
        "  Input line 2:",
        "    personId  9",
        "    fullName  “x9xx9x 9”",
        "    leader    null",
        f"A run would make 3 pages of {bytes_of(GOOD)} bytes in all.",
    ]


def bytes_of(messages: list[Any]) -> str:
    """The size of the three pages that a run would send."""
    sent = [
        {"personId": one["record"]["id"], "fullName": one["record"]["name"], "leader": None}
        for one in messages
        if one["type"] == "RECORD" and one["record"]["id"] != 3
    ]
    pages = [{"entities": {"Person": sent[at : at + 100]}} for at in range(0, len(sent), 100)]
    return f"{sum(len(json.dumps(page, separators=(',', ':'))) for page in pages):,}"


def test_a_preview_counts_the_pages_of_a_parallel_run(door: FrontDoor) -> None:
    settings = {"max_parallel_pages": 8, "page_size": 10}
    found = json.loads(preview(door, GOOD, "--json", **settings).stdout)
    online = {name: value for name, value in SETTINGS.items() if value is not None}
    assert door.run(GOOD, **online, **settings).code == 0
    assert found["pages"] == len(door.pages())


def test_problems_are_grouped_and_the_preview_fails(door: FrontDoor) -> None:
    finished = preview(door, BAD, "-n", "0")
    assert finished.code == 1
    assert "250 records in" not in finished.stdout
    assert "260 records in, 249 to send, 10 rejected, 1 left out" in finished.stdout
    problems = finished.stdout.splitlines()[-2:]
    lines = "[entity-schema], input lines 252, 253, 254, 255, 256, …"
    assert sorted(problems) == [
        f"10 records of Person: field 'fullName' must be string {lines}",
        f"10 records of Person: field 'personId' violates the rule 'maximum' {lines}",
    ]
    assert "A run would fail: 10 records would be rejected." in finished.stderr
    assert finished.stderr.endswith("[would-be-refused]\n")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_rejects": 9}, "than `max_rejects` (9) allows"),
        ({"max_rejects": 10}, ""),
        ({"expect": {"Person": {"max_records": 248}}}, "`expect` allows at most 248 Person; received 249"),
        (
            {
                "expect": {"Person": {"unique": ["leader", "personId"], "max_shrink_percent": 5}},
                "report_path": "receipts",
            },
            "",
        ),
        ({"expect": {"Person": {"min_records": 300}}}, "249 Person (at least 300)"),
    ],
)
def test_a_preview_uses_the_runs_settings(door: FrontDoor, settings: dict[str, Any], message: str) -> None:
    finished = preview(door, BAD, on_invalid_record="divert", **settings)
    assert finished.code == bool(message)
    assert message in finished.stderr


def test_a_duplicate_value_is_found(door: FrontDoor) -> None:
    twice = [record(number, boss="the same") for number in (251, 252)]
    finished = preview(
        door, [*GOOD[:-1], *twice, STATE], entity_schemas=None, expect={"Person": {"unique": ["leader"]}}
    )
    assert finished.code == 1
    assert "input line 253) has a 'leader' that an earlier record of this run has" in finished.stderr


@pytest.mark.parametrize(
    ("messages", "settings", "code"),
    [
        (GOOD, {"entity_types": {}, "unmapped_streams": "fail"}, "unmapped-stream"),
        (GOOD, {"entity_types": {"people": "Person", "devices": "Device"}}, "stream-missing"),
        (GOOD, {"stream_maps": {"people": MAP | {"leader": "bos"}}}, "stream-map"),
        (GOOD, {"stream_maps": {"people": MAP | {"leader": "?"}}}, "settings"),
        (GOOD, {"stream_maps": {"people": MAP | {"leader": "boss.upper()"}}}, "stream-map"),
        ([*GOOD, b"{"], {}, "invalid-line"),
        (GOOD, {"page_size": "50"}, "settings"),
    ],
)
def test_errors_that_end_a_run_end_a_preview(
    door: FrontDoor, messages: list[Any], settings: dict[str, Any], code: str
) -> None:
    finished = preview(door, messages, **settings)
    assert finished.code == 1
    assert finished.stderr.endswith(f"[{code}]\n")


def test_values_are_shown_only_on_request(door: FrontDoor) -> None:
    path = door.folder / "tap.singer"
    path.write_bytes(as_input(GOOD))
    words = ["map", "preview", "--input", str(path), "--config", str(door.config(**SETTINGS))]
    out = {}
    for option in ("--json", "--show"):
        process = door.start(*words, option, program="sprintoctl")
        out[option] = process.communicate(timeout=45)[0].decode()
    assert "s3cr3t" not in out["--json"]
    assert "s3cr3t 0" in out["--show"]


def keep(door: FrontDoor, messages: list[Any]) -> Path:
    path = door.folder / "kept.json"
    path.write_text(preview(door, messages, "--json").stdout)
    return path


def test_json_output_can_be_compared_with_a_later_preview(door: FrontDoor) -> None:
    path = keep(door, GOOD)
    found = json.loads(path.read_text())
    assert (found["pages"], found["problems"], found["error"]) == (3, [], None)
    (stream,) = found["streams"]
    assert (stream["stream"], stream["entity_type"]) == ("people", "Person")
    assert (stream["records"], stream["sent"], stream["rejected"]) == (250, 249, 0)
    assert stream["fields"] == {"personId": "id", "fullName": "name", "leader": "boss"}
    assert stream["dropped"] == ["salary"]
    assert preview(door, GOOD, "--expect", str(path)).code == 0
    changed = preview(door, GOOD, "--expect", str(path), stream_maps={"people": MAP | {"leader": "name"}})
    assert changed.code == 1
    assert "streams[0].fields.leader: 'boss' → 'name'" in changed.stderr
    assert changed.stderr.endswith("[preview-differs]\n")


@pytest.mark.parametrize(
    "content", [{"api_key": "s3cr3t"}, {"streams": [], "salary": "s3cr3t"}, ["s3cr3t"], "s3cr3t", None]
)
def test_no_value_of_another_file_is_shown(door: FrontDoor, content: object) -> None:
    path = door.folder / "another.json"
    path.write_text(json.dumps(content))
    finished = preview(door, GOOD, "--expect", str(path))
    assert finished.code == 1
    assert "is not a saved preview. Save the output of --json. [preview-differs]\n" in finished.stderr


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"__filter__": "id != 200"}, "streams[0].filter: 'id != 3' → 'id != 200'"),
        ({"__key_properties__": ["fullName"]}, "streams[0].key[0]: 'personId' → 'fullName'"),
    ],
)
def test_another_filter_or_key_is_a_difference(door: FrontDoor, change: dict[str, Any], path: str) -> None:
    kept = keep(door, GOOD)
    maps = MAP | change
    person = {"Person": PERSON["Person"] | {"key": maps["__key_properties__"]}}
    settings = {"stream_maps": {"people": maps}, "entity_schemas": person}
    changed = preview(door, GOOD, "--expect", str(kept), **settings)
    assert changed.code == 1
    assert path in changed.stderr


def test_a_changed_value_is_a_difference_but_is_not_shown(door: FrontDoor) -> None:
    maps = {"stream_maps": {"people": MAP | {"fullName": "config['name'] if id == 240 else name"}}}
    path = door.folder / "kept.json"
    path.write_text(preview(door, GOOD, "--json", **maps, stream_map_config={"name": "one"}).stdout)
    assert preview(door, GOOD, "--expect", str(path), **maps, stream_map_config={"name": "one"}).code == 0
    changed = preview(door, GOOD, "--expect", str(path), **maps, stream_map_config={"name": "two"})
    assert changed.code == 1
    assert "streams[0].sha256" in changed.stderr
    assert "two" not in changed.stderr


def test_two_maps_into_one_entity_type_are_counted_separately(door: FrontDoor) -> None:
    maps = {
        "people": MAP,
        "leaders": MAP | {"__source__": "people", "__filter__": "id < 2", "personId": "id + 240"},
        "bad": MAP | {"__source__": "people", "__filter__": "id > 247", "personId": "id + 10"},
    }
    types = dict.fromkeys(maps, "Person")
    finished = preview(
        door, GOOD, "-n", "0", stream_maps=maps, entity_types=types, on_invalid_record="divert"
    )
    assert [line.partition(", ")[2] for line in finished.stdout.splitlines() if "→" in line] == [
        "249 to send, 0 rejected, 1 left out",
        "2 to send, 0 rejected, 248 left out",
        "0 to send, 2 rejected, 248 left out",
    ]


def test_records_on_which_the_map_fails_are_counted(door: FrontDoor) -> None:
    deleted = record(1, boss=None, _sdc_deleted_at="2026-01-01")
    messages = [STREAM, deleted, record(3, boss=None), record(4, boss="x"), record(5, boss=None), STATE]
    maps = {"people": MAP | {"leader": "boss.upper()"}}
    finished = preview(door, messages, "-n", "0", stream_maps=maps, on_deleted_record="skip")
    assert "4 records in, 1 to send, 0 rejected, 2 left out, 1 failed" in finished.stdout
    assert finished.code == 1
    assert "A run would make" not in finished.stdout


def test_an_unknown_optional_field_causes_a_warning(door: FrontDoor) -> None:
    maps = {"people": MAP | {"leader": "record.get('bos')"}}
    finished = preview(door, GOOD, "-n", "0", stream_maps=maps)
    assert (finished.code, finished.stderr.count("\n")) == (0, 1)
    assert "reads 'bos' for field 'leader'" in finished.stderr
    assert "Null in every record: leader" in finished.stdout


def test_a_preview_warns_of_a_misspelled_stream_as_a_run_does(door: FrontDoor) -> None:
    misspelled = {"stream_maps": {"peoples": {"id": "str(id)"}}, "entity_types": {"*": "Person"}}
    finished = preview(door, GOOD, "-n", "0", entity_schemas=None, **misspelled)
    assert finished.code == 0
    assert "`stream_maps` names 'peoples', which the tap did not send, but not 'people'" in finished.stderr


def test_a_preview_reads_from_a_pipe(door: FrontDoor) -> None:
    config = door.config(**SETTINGS)
    words = ["map", "preview", "--input", "-", "--config", str(config)]
    finished = door.run(people(3), *words, program="sprintoctl")
    assert "[stream-map]" in finished.stderr
    assert "reads 'boss' for field 'leader'" in finished.stderr
    finished = door.run(GOOD, *words, program="sprintoctl")
    assert finished.code == 0, finished.stderr
