"""Local attack vectors: shell quoting, file modes, the working folder, odd values."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.front_door import API_KEY, SCHEMA, STATE, as_input, people, record, state_line

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor

ROOT = Path(__file__).parent.parent.parent


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Suggested commands


def suggested(text: str, verb: str) -> list[str]:
    """The words of the suggested `sprintoctl VERB`, as a shell reads them."""
    found = re.search(rf"(sprintoctl {verb} .*?config\.json'?)\.(?: |$)", text)
    assert found, text
    return shlex.split(found[1])


@pytest.mark.parametrize("name", ["$(touch gone) config.json", "plain-config.json", "it's; rm config.json"])
def test_a_suggested_command_is_quoted_and_works_when_pasted(door: FrontDoor, name: str) -> None:
    receipt = door.folder / "a $(touch gone2) receipt.json"
    path = door.config(finish="hold", report_path=str(receipt)).rename(door.folder / name)
    held = door.run(people(3), "--config", name)
    assert held.code == 0
    (line,) = [line for line in held.stderr.splitlines() if "is held" in line]
    session = door.session().id
    assert suggested(line, "apply") == [
        *("sprintoctl", "apply", session, "--receipt", str(receipt), "--config", name)
    ]
    blocked = door.run(people(1), "--config", name)
    assert suggested(blocked.error.replace(". [session-conflict]", "."), "discard")[2:] == [
        session,
        "--config",
        name,
    ]
    words = suggested(line, "discard")
    assert words == ["sprintoctl", "discard", session, "--config", name]
    pasted = door.finish(door.start(*words[1:], program="sprintoctl"))
    assert (pasted.code, door.session().state) == (0, "cancelled")
    assert path.exists()
    assert not list(door.folder.glob("gone*"))


def test_a_config_that_meltano_removes_is_not_suggested(door: FrontDoor) -> None:
    folder = door.folder / ".meltano" / "run"
    folder.mkdir(parents=True)
    path = door.config(finish="hold", report_path="receipt.json").rename(folder / "config.json")
    held = door.run(people(1), "--config", str(path))
    assert f"sprintoctl discard {door.session().id} --config FILE." in held.stderr


# Files


def test_folders_for_rejects_and_receipts_are_private(door: FrontDoor) -> None:
    schema = {**SCHEMA, "schema": {"properties": {"id": {"type": "integer"}}}}
    messages = [schema, record(1), {**record(2), "record": {"id": "no number"}}, STATE]
    finished = door.run(
        messages, on_invalid_record="divert", rejects_dir="a/b/rejects", report_path="c/d/receipt.json"
    )
    assert finished.code == 0, finished.stderr
    for name in ("a", "a/b", "a/b/rejects", "c", "c/d"):
        assert mode(door.folder / name) == 0o700, name
    (kept,) = (door.folder / "a/b/rejects").iterdir()
    assert mode(kept) == 0o600


@pytest.mark.parametrize("readable", [True, False])
def test_a_world_readable_config_with_a_key_causes_a_warning(door: FrontDoor, readable: bool) -> None:  # noqa: FBT001 - a test parameter
    path = door.config()
    path.chmod(0o644 if readable else 0o640)
    finished = door.run(people(1), "--config", str(path))
    assert (finished.code, finished.stdout) == (0, state_line())
    warned = [line for line in finished.stderr.splitlines() if "every user can read" in line]
    assert len(warned) == readable
    assert all(str(path) in line for line in warned)
    checked = door.finish(door.start("check", "--config", str(path), program="sprintoctl"))
    assert checked.code == 0
    assert checked.stderr.count("every user can read") == readable


def test_a_config_without_a_key_may_be_world_readable(door: FrontDoor) -> None:
    path = door.config(api_key=None)
    path.chmod(0o644)
    finished = door.run(
        people(1), "--config", str(path), "--config", "ENV", env={"TARGET_SPRINTO_API_KEY": API_KEY}
    )
    assert finished.code == 0
    assert "every user can read" not in finished.stderr


@pytest.mark.parametrize("way", ["itself", "link", "hard link"])
def test_the_loaders_config_is_rejected_as_a_batch_file(door: FrontDoor, way: str) -> None:
    path = door.config()
    named = door.folder / "batch.jsonl"
    if way == "link":
        named.symlink_to(path)
    elif way == "hard link":
        named.hardlink_to(path)
    else:
        named = path
    batch = {
        "type": "BATCH",
        "stream": "people",
        "encoding": {"format": "jsonl"},
        "manifest": [named.as_uri()],
    }
    finished = door.run([{**SCHEMA, "schema": {"properties": {}}}, batch, STATE], "--config", str(path))
    assert (finished.code, finished.stdout) == (1, "")
    assert "own config file" in finished.error
    assert "[batch-file]" in finished.error
    assert door.applied() == {}
    assert door.pages() == []


# The working folder


@pytest.mark.slow
def test_the_demo_imports_nothing_from_the_working_folder(tmp_path: Path) -> None:
    for name in ("target_sprinto", "json", "click", "singer_sdk"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').close()\n")
    program = Path(sys.executable).with_name("sprintoctl")
    shown = subprocess.run([program, "demo"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert not (tmp_path / "imported").exists()
    assert (shown.returncode, "160  User" in shown.stdout) == (0, True), shown.stderr


# The process

STRIKE = """
import importlib, signal, sys

class Strike:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}" and self in sys.meta_path:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Strike())
sys.argv = ["sprintoctl", "check", "--config", "config.json"]
getattr(importlib.import_module("{room}"), "{function}")()
"""


@pytest.mark.parametrize(
    "module",
    [
        "click",
        *(
            pytest.param(module, marks=pytest.mark.slow)
            for module in ("target_sprinto.cli.app", "singer_sdk", "msgspec")
        ),
    ],
)
def test_ctrl_c_during_sprintoctl_imports_logs_one_line(tmp_path: Path, module: str) -> None:
    script = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split('sprintoctl = "')[1].split('"')[0]
    room, function = script.split(":")
    program = STRIKE.format(module=module, room=room, function=function)
    struck = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (struck.returncode, struck.stdout) == (130, ""), struck.stderr
    (line,) = struck.stderr.splitlines()
    assert "SIGINT" in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("sprintoctl", []),
        pytest.param("sprintoctl", ["--version"], marks=pytest.mark.slow),
        pytest.param("target-sprinto", ["--about"], marks=pytest.mark.slow),
    ],
)
def test_a_full_stdout_is_reported(door: FrontDoor, program: str, words: list[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    command = [str(Path(sys.executable).with_name(program)), *words]
    finished = subprocess.run(
        command, cwd=door.folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(full)
    assert finished.returncode == 1
    assert "[output-not-written]" in finished.stderr
    assert "No space left on device" in finished.stderr
    assert "Traceback" not in finished.stderr


# Odd values: a proper error, never [internal]

TINY = "1e-99999999999999999999"
DEEP = "[" * 100_000 + "]" * 100_000
NUL = json.dumps("a\0b")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *((name, value) for name in ("page_size", "expect", "integration_id") for value in (TINY, DEEP)),
        *((name, value) for name in ("rejects_dir", "report_path") for value in (NUL, r'"\ud800"')),
        ("provenance", r'{"tap": "\ud800"}'),
        ("integration_id", NUL),
        ("client_reference_prefix", NUL),
        ("api_url", NUL),
    ],
)
def test_odd_settings_are_settings_errors(door: FrontDoor, setting: str, value: str) -> None:
    path = door.config(**{setting: "@"})
    path.write_text(path.read_text().replace('"@"', value))
    finished = door.run(b"", "--config", str(path))
    assert (finished.code, "[settings]" in finished.error) == (1, True)
    if setting in {"expect", "integration_id", "api_url"}:
        checked = door.finish(door.start("check", "--config", str(path), program="sprintoctl"))
        assert "[internal]" not in checked.stderr


@pytest.mark.parametrize("value", [TINY, DEEP])
@pytest.mark.parametrize("place", ["record", "key", "state", "schema", "stream"])
def test_odd_input_is_an_input_error(door: FrontDoor, value: str, place: str) -> None:
    messages: list[Any] = [SCHEMA, record(1), STATE]
    if place == "record":
        messages[1] = {**record(1), "record": {"id": 1, "name": "@"}}
    elif place == "key":
        messages[1] = {**record(1), "record": {"id": "@"}}
    elif place == "state":
        messages[2] = {"type": "STATE", "value": {"bookmarks": {"people": {"replication_key_value": "@"}}}}
    elif place == "schema":
        messages[0] = {**SCHEMA, "schema": {"properties": {"id": {"minimum": "@"}}}}
    else:
        messages[1] = {**record(1), "stream": "@"}
    given = as_input(messages).replace(b'"@"', value.encode())
    finished = door.run(given, max_parallel_pages=2, on_invalid_record="divert")
    assert "[internal]" not in finished.stderr
    if finished.code == 0:
        assert place in {"state", "record", "key", "schema"}
    else:
        assert finished.stdout == ""


@pytest.mark.parametrize("url", ["file:///a\0b", "file:///a%00b", "file:///%FF\x01", "file:///" + "a" * 5000])
def test_odd_batch_files_are_input_errors(door: FrontDoor, url: str) -> None:
    batch = {"type": "BATCH", "stream": "people", "encoding": {"format": "jsonl"}, "manifest": [url]}
    finished = door.run([SCHEMA, batch, STATE])
    assert (finished.code, finished.stdout) == (1, "")
    assert "[batch-" in finished.error
