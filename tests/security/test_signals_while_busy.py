"""A signal ends a run within ten seconds, whatever the reading thread is doing."""

from __future__ import annotations

import contextlib
import gzip
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.front_door import PAGE, SCHEMA, STATE, FrontDoor, as_input

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

LIMIT_SECONDS = 10.5
"""The contract's ten seconds, plus the test's own time."""


def end(door: FrontDoor, process: subprocess.Popen[bytes], *, opened: bool = True) -> str:
    """Send SIGTERM; return stderr."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    assert time.monotonic() - began < LIMIT_SECONDS
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (143, "")
    assert "Stopped by SIGTERM." in finished.error
    if opened:
        assert f"Session {door.session().id} was discarded; nothing was applied." in finished.error
        assert door.session().state == "cancelled"
    else:
        assert "No session was opened." in finished.error
    return finished.stderr


def test_a_signal_in_a_batch_file_of_newlines(door: FrontDoor, tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl.gz"
    # A gzip file may have several members.
    path.write_bytes(gzip.compress(b"\n" * 10_000_000) * 40)
    batch = {
        "type": "BATCH",
        "stream": "people",
        "encoding": {"format": "jsonl", "compression": "gzip"},
        "manifest": [path.as_uri()],
    }
    process = door.midway(messages=[*PAGE, batch])
    time.sleep(1)
    assert process.poll() is None
    end(door, process)


def open_for_writing(pipe: Path) -> int:
    """Open a pipe for writing, once its reader is waiting."""
    for _ in range(1000):
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.05)
    raise TimeoutError


@pytest.mark.parametrize("program", ["target-sprinto", pytest.param("sprintoctl", marks=pytest.mark.slow)])
def test_a_signal_while_the_config_pipe_is_silent(door: FrontDoor, tmp_path: Path, program: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    words = [*(["check"] if program == "sprintoctl" else []), "--config", str(tmp_path / "pipe")]
    process = door.start(*words, program=program, cold=True)
    writer = open_for_writing(tmp_path / "pipe")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    assert time.monotonic() - began < LIMIT_SECONDS
    _, err = process.communicate()
    os.close(writer)
    assert process.returncode == 143
    assert b"No session was opened." in err


@pytest.mark.parametrize(
    "setting",
    ["--input", *(pytest.param(name, marks=pytest.mark.slow) for name in ("api_key_file", "entity_schemas"))],
)
def test_a_signal_while_another_file_is_a_silent_pipe(door: FrontDoor, tmp_path: Path, setting: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    given: dict[str, Any] = {} if setting == "--input" else {setting: str(pipe)}
    if setting == "api_key_file":
        given["api_key"] = None
    words = ["--config", str(door.config(**given)), *([] if given else [setting, str(pipe)])]
    process = door.start(*words, cold=True)
    # Nothing shows that it is reading the pipe; an earlier signal is handled anyway.
    time.sleep(2)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    assert time.monotonic() - began < LIMIT_SECONDS
    _, err = process.communicate()
    assert process.returncode == 143
    assert b"No session was opened." in err


def doubling(levels: int, name: str = "a") -> dict[str, Any]:
    """Each level refers to the next one twice."""
    definitions = {f"n{i}": {"allOf": [{"$ref": f"#/$defs/n{i + 1}"}] * 2} for i in range(levels)}
    schema = {"$defs": {**definitions, f"n{levels}": {}}, "properties": {name: {"$ref": "#/$defs/n0"}}}
    return SCHEMA | {"stream": "costly", "schema": schema, "key_properties": []}


@pytest.mark.parametrize(
    "settings",
    [{}, {"validate_records": False}, {"flattening_enabled": True, "flattening_max_depth": 3}],
    ids=str,
)
def test_an_exponential_schema_is_rejected_or_costs_nothing(
    door: FrontDoor, settings: dict[str, Any]
) -> None:
    """It would take 2 ** 60 steps."""
    began = time.monotonic()
    finished = door.run([*PAGE, doubling(60), STATE], **settings)
    assert time.monotonic() - began < LIMIT_SECONDS
    # With flattening, the checked schema contains no reference.
    if settings:
        assert (finished.code, door.session().state) == (0, "processed")
    else:
        assert (finished.code, door.session().state) == (1, "cancelled")
        assert "[invalid-schema]" in finished.error


def test_a_signal_between_schemas_of_maximum_cost(door: FrontDoor) -> None:
    process = door.midway()
    assert process.stdin is not None
    pipe, costly = os.dup(process.stdin.fileno()), as_input([doubling(12, f"field_{n}") for n in range(500)])
    writing = threading.Thread(target=write_until_closed, args=(pipe, costly))
    writing.start()
    time.sleep(1)
    assert process.poll() is None
    end(door, process)
    writing.join()


def write_until_closed(pipe: int, content: bytes) -> None:
    """Write until the reader closes `pipe`, then close it: this thread owns it."""
    rest = memoryview(content)
    with contextlib.suppress(BrokenPipeError), os.fdopen(pipe, "wb", buffering=0):
        while rest:
            rest = rest[os.write(pipe, rest) :]


WORK = {
    "unique objects": ({"uniqueItems": True}, [{"i": number} for number in range(200_000)]),
    "a backtracking pattern": ({"pattern": "(?=a)(a+)+b"}, "a" * 95_000),
    "an enum of decimals": ({"items": {"enum": [i + 0.5 for i in range(5000)]}}, [4999.5] * 190),
    "far more decimals": ({"items": {"enum": [i + 0.5 for i in range(5000)]}}, [4999.5] * 50_000),
    "a pattern of many states": ({"pattern": "^[01]*1[01]{3000}$"}, f"{3**10_000:b}"),
    "far more bytes": ({"pattern": "^[ab]*a[ab]{3000}$"}, "ab" * 1_500_000),
}


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, marks=[pytest.mark.slow] if what != "a backtracking pattern" else [])
        for what in WORK
    ],
)
def test_a_signal_while_checking_a_schema_of_maximum_cost(door: FrontDoor, what: str) -> None:
    """Native code cannot be interrupted: limits keep the check of each record short."""
    rules, value = WORK[what]
    schema = SCHEMA | {"stream": "costly", "schema": {"properties": {"a": rules}}, "key_properties": []}
    message = {"type": "RECORD", "stream": "costly", "record": {"a": value}}
    process = door.midway(on_invalid_record="divert", max_rejects=50_000)
    assert process.stdin is not None
    pipe, costly = os.dup(process.stdin.fileno()), as_input([schema, *[message] * 40])
    writing = threading.Thread(target=write_until_closed, args=(pipe, costly))
    writing.start()
    time.sleep(1)
    assert process.poll() is None
    end(door, process)
    writing.join()
