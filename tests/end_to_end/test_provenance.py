"""Where a run's data came from, in its receipt: only allow-listed names, and no record values."""

from __future__ import annotations

import os
import pwd
import socket
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto.receipts.provenance import provenance_of
from tests.support.front_door import SCHEMA, SECRET, STATE, as_input, people, record
from tests.support.receipts import receipt_of

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor

JSON: dict[str, Any] = {"report_path": "receipt.json"}


def test_a_receipt_names_source_host_and_ci_run(door: FrontDoor) -> None:
    env = {
        "MELTANO_EXTRACTOR_NAME": "tap-bamboohr",
        "GITHUB_RUN_ID": "1234567",
        "GITHUB_SHA": "0" * 40,
        "GITHUB_WORKFLOW": "Nightly HR sync (prod & test), push [é]",
        "LOGNAME": "another-user",
        "GITHUB_TOKEN": "ghp_secret",
        "TAP_PASSWORD": "hunter2",
        # Invalid as names, so they are left out.
        "CI_JOB_ID": "line\nbreak",
        "CI_PROJECT_PATH": "x" * 201,
        "CI_PIPELINE_ID": "\u202e1",
    }
    given = {"tap": "tap-bamboohr 1.4.0", "query": "all employees, <b>active</b>"}
    assert door.run(people(3), env=env, provenance=given, **JSON).code == 0
    receipt = receipt_of(door)
    found = receipt["provenance"]["environment"]
    assert {name: found[name] for name in env if name in found} == {
        "MELTANO_EXTRACTOR_NAME": "tap-bamboohr",
        "GITHUB_RUN_ID": "1234567",
        "GITHUB_SHA": "0" * 40,
        "GITHUB_WORKFLOW": "Nightly HR sync (prod & test), push [é]",
    }
    assert receipt["provenance"]["given"] == given
    assert receipt["provenance"]["host"] == socket.gethostname()
    assert receipt["provenance"]["user"] == pwd.getpwuid(os.getuid()).pw_name
    assert receipt["input_lines"] == 5
    assert receipt["final_state_required"] is True
    text = (door.folder / "receipt.json").read_text()
    assert "ghp_secret" not in text
    assert "hunter2" not in text
    page = door.finish(door.start("receipt", "receipt.json", "--html", program="sprintoctl")).stdout
    assert "all employees, &lt;b&gt;active&lt;/b&gt;" in page
    assert "tap-bamboohr" in page


def test_a_user_without_a_name_is_shown_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "another-user")
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    assert provenance_of({}).user == "3999999999"


@pytest.mark.parametrize("condition", ["id % 3 != 0", "str(id) not in ['0', '3', '6', '9']"])
def test_a_receipt_shows_the_mapping_and_dropped_fields(door: FrontDoor, condition: str) -> None:
    maps = {"people": {"nr": "id", "__filter__": condition, "__key_properties__": ["nr"], "__else__": None}}
    settings = {
        "stream_maps": maps,
        "stream_map_config": {"hash_seed": SECRET},
        "entity_types": {"people": "User"},
    }
    assert door.run(people(10), **settings, **JSON).code == 0
    receipt = receipt_of(door)
    assert receipt["stream_maps"] == maps
    assert receipt["entity_mapping"] == {"people": "User"}
    (stream,) = receipt["streams"]
    assert (stream["records"], stream["filtered"]) == (10, 4)
    assert stream["dropped"] == ["name"]
    assert receipt["entity_types"][0]["entities"] == 6


def test_a_failed_runs_receipt_explains_the_error_without_values(door: FrontDoor) -> None:
    messages = [SCHEMA, record(1), record(2, name=7), STATE]
    assert door.run(messages, **JSON).code == 1
    receipt = receipt_of(door)
    assert (receipt["error"], receipt["error_line"]) == ("invalid-record", 3)
    assert "field 'name'" in receipt["error_message"]
    assert SECRET not in receipt["error_message"]
    assert receipt["input_lines"] == 3


def extracted(number: int, at: object) -> dict[str, Any]:
    return record(number) | {"time_extracted": at}


def test_a_receipt_shows_the_first_and_last_extraction_time(door: FrontDoor) -> None:
    times = ["2026-11-28T01:00:00.123456+01:00", None, "2026-11-28T00:00:09Z"]
    messages = [SCHEMA, *(extracted(number, at) for number, at in enumerate(times)), STATE]
    assert door.run(messages, **JSON).code == 0
    (stream,) = receipt_of(door)["streams"]
    assert stream["first_extracted_at"] == "2026-11-28T00:00:00.123Z"
    assert stream["last_extracted_at"] == "2026-11-28T00:00:09.000Z"
    page = door.finish(door.start("receipt", "receipt.json", "--html", program="sprintoctl")).stdout
    assert "2026-11-28 00:00:00.123 to 2026-11-28 00:00:09.000" in page


@pytest.mark.parametrize(
    "at", [None, 7, {}, "", SECRET, f"2026-11-28T00:00:00Z {SECRET}", "2026-11-28T00:00:00", "x" * 100_000]
)
def test_an_invalid_time_extracted_is_not_shown(door: FrontDoor, at: object) -> None:
    assert door.run([SCHEMA, extracted(1, at), STATE], **JSON).code == 0
    (stream,) = receipt_of(door)["streams"]
    assert (stream["first_extracted_at"], stream["last_extracted_at"]) == (None, None)


@pytest.mark.parametrize("given", [{"tap": 5}, {"tap": "x" * 201}, "tap-hr"])
def test_provenance_must_map_names_to_short_texts(door: FrontDoor, given: object) -> None:
    finished = door.run(people(1), provenance=given, **JSON)
    assert finished.code == 1
    assert "provenance" in finished.error
    assert "[settings]" in finished.error


def test_lines_of_an_input_file_are_counted_too(door: FrontDoor) -> None:
    (door.folder / "tap.singer").write_bytes(as_input(people(7)))
    assert door.run(b"", "--input", "tap.singer", "--config", str(door.config(**JSON))).code == 0
    assert receipt_of(door)["input_lines"] == 9


def test_the_receipt_shows_whether_the_input_had_to_be_complete(door: FrontDoor) -> None:
    assert door.run(people(3), require_final_state=False, **JSON).code == 0
    assert receipt_of(door)["final_state_required"] is False
    (door.folder / "receipt.json").unlink()
    (door.folder / "tap.singer").write_bytes(as_input(people(3)))
    assert door.run(b"", "--config", str(door.config(**JSON)), "--input", "tap.singer").code == 0
    assert receipt_of(door)["final_state_required"] is False
