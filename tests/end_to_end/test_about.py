"""`--about`, `--version`, `--help` and `--input` describe what the command does."""

from __future__ import annotations

import json
import os
import re
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from target_sprinto.singer.settings import settings, settings_checks
from tests.support.front_door import SCHEMA, SECRET, STATE, FrontDoor, as_input, people, record, state_line

if TYPE_CHECKING:
    from pathlib import Path

SDK_SETTINGS = {
    "validate_records",
    "stream_maps",
    "stream_map_config",
    "flattening_enabled",
    "flattening_max_depth",
    "flattening_max_key_length",
    "flattening_separator",
}
"""Settings that the SDK adds and that the target honours; each has a test in `tests/end_to_end`."""

SHOWN_BY_FORMAT = {
    "": (r"^  - Name: (\w+)$", r"^  - ([a-z-]+)$"),
    "markdown": (r"^\| ([a-z]\w*) \|", r"^- `([a-z-]+)`$"),
}
"""How each text format shows a setting and a capability."""


def about(door: FrontDoor, form: str) -> str:
    finished = door.run(b"", "--about", *([f"--format={form}"] if form else []))
    assert (finished.code, finished.stderr) == (0, "")
    return finished.stdout


@pytest.mark.parametrize("form", ["", "markdown", "json"])
def test_about_shows_only_honoured_settings_and_capabilities(door: FrontDoor, form: str) -> None:
    shown = about(door, form)
    if form == "json":
        message = json.loads(shown)
        names, capabilities = list(message["settings"]["properties"]), message["capabilities"]
    else:
        names, capabilities = (re.findall(how, shown, re.MULTILINE) for how in SHOWN_BY_FORMAT[form])
    assert sorted(names) == sorted(set(settings.SCHEMA["properties"]) | SDK_SETTINGS)
    assert not [name for name in settings_checks.NOT_FOR_SPRINTO if name in shown]
    # Each has a test: here (about, logging), test_batch, test_fidelity (flattening, maps), test_bad_input.
    assert sorted(capabilities) == [
        "about",
        "batch",
        "schema-flattening",
        "stream-maps",
        "structured-logging",
        "validate-records",
    ]


def test_about_as_json_contains_a_json_schema_with_secrets_marked(door: FrontDoor) -> None:
    message = json.loads(about(door, "json"))
    assert (message["name"], message["version"]) == ("target-sprinto", metadata.version("target-sprinto"))
    Draft202012Validator.check_schema(message["settings"])
    secret = [name for name, setting in message["settings"]["properties"].items() if setting.get("secret")]
    assert secret == ["api_key"]
    assert message["settings"]["required"] == ["integration_id"]


def test_version_names_this_package_and_the_sdk(door: FrontDoor) -> None:
    finished = door.run(b"", "--version")
    ours, sdk = metadata.version("target-sprinto"), metadata.version("singer-sdk")
    assert finished.stdout == f"target-sprinto v{ours}, Meltano SDK v{sdk}\n"
    assert (finished.code, finished.stderr) == (0, "")


def test_help_explains_every_option(door: FrontDoor) -> None:
    finished = door.run(b"", "--help")
    assert (finished.code, finished.stderr) == (0, "")
    options = re.findall(r"^  (--[a-z]+)(?: \S+)?\s+[A-Z]", finished.stdout, re.MULTILINE)
    assert options == ["--version", "--about", "--format", "--config", "--input", "--help"]


def test_an_unknown_option_is_a_usage_error(door: FrontDoor) -> None:
    finished = door.run(b"", "--abuot")
    assert (finished.code, finished.stdout) == (2, "")
    assert "--abuot" in finished.stderr


@pytest.mark.parametrize("name", ["no-such-file", pytest.param(".", marks=pytest.mark.slow)])
def test_an_unreadable_input_file_is_a_usage_error(door: FrontDoor, name: str) -> None:
    finished = door.run(b"", "--config", str(door.config()), "--input", name)
    assert (finished.code, finished.stdout) == (2, "")
    assert f"'{name}'" in finished.stderr
    assert door.operations() == []


def test_input_reads_the_file_instead_of_stdin(door: FrontDoor, tmp_path: Path) -> None:
    path = tmp_path / "input.singer"
    path.write_bytes(as_input(people(120)))
    finished = door.run([b"no message"], "--config", str(door.config()), "--input", str(path))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert len(door.applied()["people"]) == 120


def test_a_dash_as_input_is_stdin_and_requires_a_final_state(door: FrontDoor) -> None:
    finished = door.run([SCHEMA, record(1)], "--config", str(door.config()), "--input", "-")
    assert (finished.code, finished.stdout) == (1, "")
    assert "[missing-final-state]" in finished.error
    assert door.run(people(3), "--config", str(door.config()), "--input", "-").code == 0
    assert len(door.applied()["people"]) == 3


def test_stream_map_config_reaches_expressions(door: FrontDoor) -> None:
    maps = {"people": {"office": "config['office']", "id": "id", "__else__": None}}
    given: dict[str, Any] = {"stream_maps": maps, "stream_map_config": {"office": "Pune"}}
    assert door.run([SCHEMA, record(1), STATE], **given).code == 0
    assert door.applied() == {"people": [{"id": 1, "office": "Pune"}]}


def test_flattening_respects_separator_and_key_length(door: FrontDoor) -> None:
    address = {"type": "object", "properties": {"city": {"type": "string"}}}
    schema = SCHEMA | {"schema": {"properties": {"id": {"type": "integer"}, "address": address}}}
    line = {"type": "RECORD", "stream": "people", "record": {"id": 1, "address": {"city": "Pune"}}}
    flat: dict[str, Any] = {
        "flattening_enabled": True,
        "flattening_max_depth": 1,
        "flattening_separator": ".",
    }
    assert door.run([schema, line, STATE], **flat).code == 0
    assert door.applied() == {"people": [{"id": 1, "address.city": "Pune"}]}
    assert door.run([schema, line, STATE], **flat, flattening_max_key_length=9).code == 0
    assert door.applied() == {"people": [{"id": 1, "add.city": "Pune"}]}
    schema |= {"schema": {"properties": {"identifier": {}}}, "key_properties": ["identifier"]}
    line["record"] = {"identifier": "1"}
    finished = door.run([schema, line, STATE], **flat, flattening_max_key_length=9)
    assert "lacks its key property 'identifier'" in finished.error
    assert "raise `flattening_max_key_length`" in finished.error
    maps = {"people": {"id": "identifier", "identifier": None, "__key_properties__": ["id"]}}
    assert door.run([schema, line, STATE], **flat, flattening_max_key_length=9, stream_maps=maps).code == 0


def test_the_log_can_be_written_as_json_lines(door: FrontDoor, tmp_path: Path) -> None:
    (tmp_path / "logging.yaml").write_text(
        "version: 1\n"
        "disable_existing_loggers: false\n"
        "formatters: {json: {(): singer_sdk.logging.StructuredFormatter}}\n"
        "handlers: {json: {class: logging.StreamHandler, formatter: json, stream: 'ext://sys.stderr'}}\n"
        "root: {level: DEBUG, handlers: [json]}\n"
    )
    env = {"SINGER_SDK_LOG_CONFIG": str(tmp_path / "logging.yaml")}
    finished = door.run([*people(3)[:-1], record(4, name=5), STATE], env=env)
    assert finished.code == 1
    (error,) = [line for line in map(json.loads, finished.stderr.splitlines()) if line["level"] == "error"]
    assert error["message"].endswith("[invalid-record]")
    assert error["logger_name"] == "target-sprinto"
    assert SECRET not in finished.stderr


@pytest.mark.parametrize("input_", ["/dev/stdin", "pipe"])
def test_an_input_that_is_a_pipe_needs_a_final_state(door: FrontDoor, input_: str) -> None:
    os.mkfifo(door.folder / "pipe")
    messages = as_input([SCHEMA, record(1)])
    process = door.start("--config", str(door.config()), "--input", input_)
    if input_ == "pipe":
        (door.folder / "pipe").write_bytes(messages)
        messages = b""
    finished = door.finish(process, messages)
    assert finished.code == 1
    assert "[missing-final-state]" in finished.error
    assert door.applied() == {}


def test_a_second_input_is_an_error(door: FrontDoor) -> None:
    for name in ("a", "b"):
        (door.folder / name).write_bytes(as_input(people(3)))
    finished = door.run(b"", "--config", str(door.config()), "--input", "a", "--input", "b")
    assert finished.code != 0
    assert "Use --input only once" in finished.stderr
    assert door.operations() == []
