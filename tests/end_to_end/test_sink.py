"""The sink as the SDK uses it: `process_record` takes records, `process_batch` sends pages."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from singer_sdk import Target
from singer_sdk.sinks import BatchSink

from target_sprinto.errors import InvalidRecord, MissingKeyProperty
from target_sprinto.singer.input.messages import decode_object
from target_sprinto.singer.sink import SprintoSink
from target_sprinto.singer.target import SprintoTarget
from tests.support.front_door import SCHEMA, FrontDoor, as_input, people

DOCS = Path(__file__).parents[2] / "docs"


class SdkPath(SprintoTarget):
    """Processes records on the SDK's own path: its maps, its validation, its draining of full sinks."""

    def _process_record_message(self, message_dict: dict[str, Any]) -> None:
        Target._process_record_message(
            self, message_dict | {"record": decode_object(bytes(message_dict["record"]))}
        )


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def config(door: FrontDoor, **settings: object) -> dict[str, Any]:
    return {
        "api_key": "sandbox-key",
        "integration_id": door.integration_id,
        "api_url": door.sandbox.base_url,
        "entity_types": {"people": "User"},
    } | settings


def sink_of(target: SprintoTarget, stream: str = "people") -> SprintoSink:
    schema: Any = SCHEMA["schema"]
    sink = target.get_sink(stream, schema=schema, key_properties=["id"])
    assert isinstance(sink, SprintoSink)
    return sink


def test_the_sink_is_a_batch_sink_of_pages() -> None:
    target = SprintoTarget(config={"api_key": "k3y", "integration_id": "x", "unmapped_streams": "keep"})
    sink = sink_of(target)
    assert isinstance(sink, BatchSink)
    assert sink.max_size == 100


def test_the_sdks_own_record_path_delivers_the_same_records(door: FrontDoor) -> None:
    rename = {"people": {"employeeId": "id", "__key_properties__": ["employeeId"], "__else__": None}}
    target = SdkPath(config=config(door, stream_maps=rename))
    target.listen(io.StringIO(as_input(people(250)).decode()))
    assert door.applied() == {"User": [{"employeeId": number} for number in range(250)]}
    assert door.pages() == [100, 100, 50]


def test_process_batch_sends_the_collected_records_as_a_page(door: FrontDoor) -> None:
    target = SprintoTarget(config=config(door, entity_types={"people": "User", "others": "Vendor"}))
    people_sink, others = sink_of(target), sink_of(target, "others")
    context = people_sink._get_context({})
    for number in range(3):
        people_sink.process_record({"id": number, "name": None}, context)
    others.process_record({"id": 7}, others._get_context({}))
    assert door.pages() == []
    people_sink.process_batch(context)
    others.process_batch({})
    door.sandbox.wait_for(lambda _: door.pages() == [4])
    target.process_endofpipe()
    assert door.applied() == {"User": [{"id": n, "name": None} for n in range(3)], "Vendor": [{"id": 7}]}


@pytest.mark.parametrize(
    ("record", "expected"), [({"id": "s3cr3t"}, InvalidRecord), ({"name": "x"}, MissingKeyProperty)]
)
def test_an_invalid_record_raises(door: FrontDoor, record: dict[str, Any], expected: type[Exception]) -> None:
    sink = sink_of(SprintoTarget(config=config(door)))
    with pytest.raises(expected) as raised:
        sink.process_record(record, {})
    assert "s3cr3t" not in str(raised.value)


def test_an_invalid_record_on_the_sdks_path_is_diverted(
    door: FrontDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = SprintoTarget(config=config(door, on_invalid_record="divert"))
    sink = sink_of(target)
    for values in ({"id": 1}, {"id": "two"}):
        sink.process_record(values, {})
    target.process_endofpipe()
    assert door.applied() == {"User": [{"id": 1}]}
    (file,) = (tmp_path / "rejects").iterdir()
    schema, rejected = map(json.loads, file.read_text().splitlines())
    assert (schema["type"], rejected["record"]) == ("SCHEMA", {"id": "two"})


def test_a_run_logs_only_what_a_reader_needs(door: FrontDoor) -> None:
    finished = door.run(people(400), env={"TARGET_SPRINTO_LOGLEVEL": "INFO"})
    lines = [line.split(" | ", 3) for line in finished.stderr.splitlines()]
    said = [text for _, level, _, text in lines if level.strip() == "INFO" and not text.startswith("METRIC")]
    assert [text.split(" ", 2)[0] for text in said] == ["Session", "Sprinto", "STATE"]
    assert {level.strip() for _, level, *_ in lines} == {"INFO"}
    examples = (DOCS / "reference" / "lines.md").read_text(encoding="utf-8")
    assert all(f"| `{text.split(' ', 1)[0]} " in examples for text in said)


def test_the_sdks_own_log_lines_are_debug(door: FrontDoor) -> None:
    finished = door.run(people(1), stream_maps={"people": {"n": "name"}, "__else__": None})
    levels = {
        line.split(" | ", 3)[3]: line.split(" | ", 3)[1].strip() for line in finished.stderr.splitlines()
    }
    for start in ("Skipping parse of env var", "Reader 'target-sprinto' completed", "Found '__else__=None'"):
        (level,) = {level for text, level in levels.items() if text.startswith(start)}
        assert level == logging.getLevelName(logging.DEBUG)
