"""`api_key_file`: the key from a mounted secret, for every command that needs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.front_door import API_KEY, FrontDoor, people, state_line

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.front_door import Finished


def key_file(door: FrontDoor, content: bytes = API_KEY.encode() + b"\n", mode: int = 0o600) -> str:
    path = door.folder / "sprinto.key"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def sprintoctl(door: FrontDoor, *words: str, **settings: Any) -> Finished:  # noqa: ANN401 - settings
    given: dict[str, Any] = {"api_key": None, **settings}
    return door.sprintoctl(*words, **given)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_every_command_reads_the_key_file(door: FrontDoor, end: bytes) -> None:
    path = key_file(door, API_KEY.encode() + end)
    finished = door.run(people(3), api_key=None, api_key_file=path)
    assert (finished.code, finished.stdout) == (0, state_line()), finished.stderr
    assert "WARNING" not in finished.stderr
    for command in ("check", "status"):
        done = sprintoctl(door, command, api_key_file=path)
        assert (done.code, done.stderr) == (0, "")


def test_the_key_file_can_be_set_in_the_environment(door: FrontDoor) -> None:
    env = {"TARGET_SPRINTO_API_KEY_FILE": key_file(door)}
    config = str(door.config(api_key=None))
    for program, words in (("target-sprinto", []), ("sprintoctl", ["check"])):
        process = door.start(*words, "--config", config, "--config", "ENV", env=env, program=program)
        assert door.finish(process, people(3)).code == 0


def test_the_settings_digest_does_not_depend_on_where_the_key_is(door: FrontDoor) -> None:
    path = key_file(door)
    for settings in ({}, {"api_key": None, "api_key_file": path}):
        assert door.run(people(3), report_path="receipts/{run}.json", **settings).code == 0
    first, second = (json.loads(path.read_bytes()) for path in (door.folder / "receipts").iterdir())
    assert first["settings_sha256"] == second["settings_sha256"]


def test_a_file_readable_by_others_causes_a_warning(door: FrontDoor) -> None:
    path = key_file(door, mode=0o644)
    finished = door.run(people(3), api_key=None, api_key_file=path)
    assert finished.code == 0
    (warning,) = [line for line in finished.stderr.splitlines() if "| WARNING" in line]
    assert f"chmod 600 {path}" in warning
    checked = sprintoctl(door, "check", api_key_file=path)
    assert checked.code == 0
    assert "chmod 600" in checked.stderr


@pytest.mark.parametrize("place", ["api_key", "api_key_file"])
def test_a_long_key_may_come_from_either_place(door: FrontDoor, place: str) -> None:
    long = "k" * 4096
    value = long if place == "api_key" else key_file(door, long.encode())
    refused = sprintoctl(door, "check", **{place: value})
    assert "[unauthorized]" in refused.stderr
    value = long + "k" if place == "api_key" else key_file(door, long.encode() + b"k")
    refused = sprintoctl(door, "check", **{place: value})
    assert f"`{place}` has more than 4096 characters" in refused.stderr


BAD = {
    "empty": (b"\n", "`api_key_file` is empty"),
    "two newlines": (b"sandbox-key\n\n", "`api_key_file` has leading or trailing whitespace"),
    "not text": (b"\xff\xfe", "`api_key_file` does not hold a key"),
    "too large": (b"k" * 70_000, "`api_key_file` does not hold a key"),
    "not ASCII": ("schlüssel".encode(), "which an HTTP header cannot carry"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("program", ["target-sprinto", "sprintoctl"])
def test_a_file_without_a_key_is_reported(door: FrontDoor, what: str, program: str) -> None:
    content, shown = BAD[what]
    check_settings_error(door, program, shown, api_key_file=key_file(door, content))


@pytest.mark.parametrize("program", ["target-sprinto", "sprintoctl"])
def test_a_missing_file_is_reported(door: FrontDoor, program: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    check_settings_error(door, program, "`api_key_file` cannot be read (No such file", api_key_file=missing)


@pytest.mark.parametrize("program", ["target-sprinto", "sprintoctl"])
def test_exactly_one_of_the_two_settings_is_required(door: FrontDoor, program: str) -> None:
    check_settings_error(door, program, "cannot be combined", api_key=API_KEY, api_key_file=key_file(door))
    check_settings_error(door, program, "`api_key` is missing")


def check_settings_error(door: FrontDoor, program: str, shown: str, **settings: object) -> None:
    words = ["check"] if program == "sprintoctl" else []
    config = str(door.config(**{"api_key": None, **settings}))
    finished = door.finish(door.start(*words, "--config", config, program=program), people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert shown in finished.stderr
    assert "[settings]" in finished.stderr
    assert door.operations() == []
