"""`listen()`, and `process_lines()` with `process_endofpipe()`: as the command, but errors are raised."""

from __future__ import annotations

import gzip
import io
import os
import signal
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
import requests
from singer_sdk.exceptions import (
    ConfigValidationError,
    InvalidInputLine,
    InvalidJSONSchema,
    MissingKeyPropertiesError,
    RecordsWithoutSchemaException,
)
from singer_sdk.testing.runners import TargetTestRunner

from target_sprinto.errors import SettingsError, TapSilent
from target_sprinto.push.errors import ConfigError, RunEnded, SprintoError
from target_sprinto.receipts import recorder
from target_sprinto.sandbox import SandboxOptions
from target_sprinto.singer.target import SprintoTarget
from tests.support.front_door import PAGE, SCHEMA, STATE, FrontDoor, as_input, people, record, state_line
from tests.support.sandbox import Fault, FaultySandbox, Respond

if TYPE_CHECKING:
    from collections.abc import Iterator


def config(door: FrontDoor, **settings: object) -> dict[str, Any]:
    return {
        "api_key": "sandbox-key",
        "integration_id": door.integration_id,
        "api_url": door.sandbox.base_url,
        "unmapped_streams": "keep",
    } | settings


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_listen_applies_and_writes_the_state(
    door: FrontDoor, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    SprintoTarget(config=config(door)).listen(io.StringIO(as_input(people(120)).decode()))
    assert capfdbinary.readouterr().out.decode() == state_line()
    assert len(door.applied()["people"]) == 120


def test_listen_accepts_bytes(door: FrontDoor) -> None:
    SprintoTarget(config=config(door)).listen(io.BytesIO(as_input(people(3))))  # type: ignore[arg-type] # more than the SDK asks
    assert len(door.applied()["people"]) == 3


@pytest.mark.parametrize("last", [STATE, b"{"])
def test_listen_leaves_no_connection_open(last: Any) -> None:  # noqa: ANN401 - a message or an invalid line
    with FaultySandbox(SandboxOptions(integrations=None)) as sandbox:
        settings = {
            "api_key": "sandbox-key",
            "integration_id": "some",
            "api_url": sandbox.base_url,
            "unmapped_streams": "keep",
        }
        messages = [SCHEMA, *(record(number) for number in range(100)), last]
        with suppress(InvalidInputLine):
            SprintoTarget(config=settings).listen(io.StringIO(as_input(messages).decode()))
        assert sandbox.sessions("some")[0].state == ("processed" if last == STATE else "cancelled")
        until = time.monotonic() + 5
        while sandbox.connections and time.monotonic() < until:
            time.sleep(0.01)
        assert not sandbox.connections


def test_the_sdks_test_runner_works(door: FrontDoor) -> None:
    messages = io.StringIO(as_input(people(120)).decode())
    runner = TargetTestRunner(SprintoTarget, config=config(door), input_io=messages)
    runner.sync_all()
    assert runner.state_messages == [STATE["value"]]
    assert len(door.applied()["people"]) == 120


def test_the_sdks_test_runner_writes_no_state_without_finalize(door: FrontDoor) -> None:
    messages = io.StringIO(as_input(people(120)).decode())
    runner = TargetTestRunner(SprintoTarget, config=config(door), input_io=messages)
    runner.sync_all(finalize=False)
    assert runner.state_messages == []
    assert door.session().state == "active"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"{", InvalidInputLine),
        (record(1, "others"), RecordsWithoutSchemaException),
        (b'{"type":"RECORD","stream":"people","record":{}}', MissingKeyPropertiesError),
        (SCHEMA | {"schema": {"type": "wat"}}, InvalidJSONSchema),
    ],
)
def test_bad_input_discards_and_raises_the_sdks_exception(
    door: FrontDoor, line: object, expected: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [SCHEMA, *(record(number) for number in range(100)), line, STATE]
    target = SprintoTarget(config=config(door))
    with pytest.raises(expected) as caught:
        target.listen(io.StringIO(as_input(messages).decode()))
    assert isinstance(caught.value, SprintoError)
    assert "was discarded" in str(caught.value)
    assert door.session().state == "cancelled"
    assert capsys.readouterr().out == ""


def test_a_failed_run_cannot_be_finished(door: FrontDoor, capsys: pytest.CaptureFixture[str]) -> None:
    target = SprintoTarget(config=config(door))
    messages = [SCHEMA, *(record(number) for number in range(100)), b"{"]
    with pytest.raises(InvalidInputLine):
        target.process_lines(io.StringIO(as_input(messages).decode()))
    with pytest.raises(RunEnded):
        target.process_endofpipe()
    assert door.session().state == "cancelled"
    assert capsys.readouterr().out == ""


def test_a_callers_exception_discards_and_propagates(
    door: FrontDoor, caplog: pytest.LogCaptureFixture
) -> None:
    def lines() -> Iterator[str]:
        yield from as_input(PAGE).decode().splitlines()
        door.wait_for_operation("push", responded=True)
        raise KeyboardInterrupt

    target = SprintoTarget(config=config(door))
    with pytest.raises(KeyboardInterrupt):
        target.process_lines(lines())  # type: ignore[arg-type] # lines are all it asks for
    assert door.session().state == "cancelled"
    assert f"Session {door.session().id} was discarded; nothing was applied." in caplog.messages


def test_a_failure_at_the_end_discards_and_raises(door: FrontDoor) -> None:
    door.sandbox.inject(Fault("status", integration_id=door.integration_id, effect=Respond(401)))
    target = SprintoTarget(config=config(door))
    with pytest.raises(SprintoError, match="unauthorized"):
        target.listen(io.StringIO(as_input(people(3)).decode()))
    assert door.session().state == "cancelled"


def test_a_file_object_needs_no_final_state(door: FrontDoor) -> None:
    SprintoTarget(config=config(door)).listen(io.StringIO(as_input([SCHEMA, record(1)]).decode()))
    assert door.session().state == "processed"


def test_signal_handlers_are_left_alone(door: FrontDoor) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    SprintoTarget(config=config(door))
    assert {number: signal.getsignal(number) for number in before} == before


def test_bad_settings_raise_the_sdks_error_without_values() -> None:
    with pytest.raises(ConfigValidationError) as caught:
        SprintoTarget(config={"api_key": 987654321, "integration_id": "x"})
    assert "987654321" not in str(caught.value)
    assert "987654321" not in repr(caught.value.errors)


def test_a_config_is_not_modified_and_can_be_reused(door: FrontDoor) -> None:
    given = config(door, stream_maps={"people": {"mail": "name"}, "__else__": None})
    before = repr(given)
    for _ in range(2):
        messages = [SCHEMA, SCHEMA | {"stream": "others"}, record(1), record(2, "others"), STATE]
        SprintoTarget(config=given).listen(io.StringIO(as_input(messages).decode()))
    assert repr(given) == before
    assert list(door.applied()) == ["people"]


def test_a_fraction_in_the_config_of_stream_maps_is_exact_as_in_a_file(door: FrontDoor) -> None:
    schema = SCHEMA | {"schema": {"properties": {"id": {"type": "number"}}}}
    messages = [schema, {"type": "RECORD", "stream": "people", "record": {"id": 8.3}}, STATE]
    maps = {"people": {"id": "id", "high": "id >= config['limits'][0]", "__else__": None}}
    given: dict[str, Any] = {"stream_maps": maps, "stream_map_config": {"limits": [8.3]}}
    assert door.run(messages, **given).code == 0
    in_file = door.applied()["people"][0]["high"]
    # NumPy's floats have another `repr`.
    given["stream_map_config"]["limits"] = [type("float64", (float,), {"__repr__": lambda _: "x"})(8.3)]
    SprintoTarget(config=config(door, **given)).listen(io.StringIO(as_input(messages).decode()))
    assert [in_file, door.applied()["people"][0]["high"]] == [True, True]


def test_replaced_sinks_are_not_kept(door: FrontDoor) -> None:
    messages: list[Any] = []
    for number in range(50):
        messages += [SCHEMA | {"schema": {"properties": {f"f{number}": {}}}}, record(number)]
    target = SprintoTarget(config=config(door))
    target.listen(io.StringIO(as_input([*messages, STATE]).decode()))
    assert target._sinks_to_clear == []
    assert len(door.applied()["people"]) == 50


def test_a_partly_read_file_is_read_from_its_position(door: FrontDoor, tmp_path: Path) -> None:
    path = tmp_path / "input.singer"
    path.write_bytes(b"not a message\n" + as_input(people(3)))
    with path.open("rb") as file:
        file.readline()
        SprintoTarget(config=config(door)).listen(file)  # type: ignore[arg-type] # more than the SDK asks
    assert len(door.applied()["people"]) == 3


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[IO[bytes]]:
    """The write end of a pipe that is this process's standard input."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "wb") as tap:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield tap


def test_listen_ends_a_run_whose_tap_hangs(door: FrontDoor, piped: IO[bytes]) -> None:
    piped.write(as_input(PAGE))
    piped.flush()
    with pytest.raises(TapSilent):
        SprintoTarget(config=config(door, input_timeout_seconds=0.3)).listen()
    assert door.session().state == "cancelled"


def test_listen_reads_what_python_has_read_ahead_of_stdin(door: FrontDoor, piped: IO[bytes]) -> None:
    piped.write(b"not a message\n" + as_input(people(300)))
    piped.close()
    sys.stdin.buffer.readline()
    SprintoTarget(config=config(door)).listen()
    assert len(door.applied()["people"]) == 300


def test_listen_reads_a_stdin_that_is_decompressed(
    door: FrontDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "input.singer.gz"
    path.write_bytes(gzip.compress(as_input(people(3))))
    with gzip.open(path, "rt") as file:
        monkeypatch.setattr(sys, "stdin", file)
        SprintoTarget(config=config(door)).listen()
    assert len(door.applied()["people"]) == 3


def test_a_gzip_file_object_is_read_decompressed(door: FrontDoor, tmp_path: Path) -> None:
    path = tmp_path / "input.singer.gz"
    path.write_bytes(gzip.compress(as_input(people(3))))
    with gzip.open(path) as file:
        SprintoTarget(config=config(door)).listen(file)  # type: ignore[arg-type] # more than the SDK asks
    assert len(door.applied()["people"]) == 3


class SourceFailedError(Exception):
    """The program's own."""


@pytest.mark.parametrize(
    "error",
    [SourceFailedError(), requests.HTTPError(), UnicodeDecodeError("utf-8", b"", 0, 1, "")],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_the_programs_own_lines_is_raised_as_it_is(
    door: FrontDoor, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def lines() -> Iterator[str]:
        yield from as_input(people(120)[:-1]).decode().splitlines(keepends=True)
        raise error

    with pytest.raises(type(error)) as caught:
        SprintoTarget(config=config(door)).listen(lines())  # type: ignore[arg-type] # more than the SDK asks
    assert caught.value is error
    notes = caught.value.__notes__ if sys.version_info >= (3, 11) else [caplog.text]
    assert "was discarded; nothing was applied." in notes[0]
    assert door.applied() == {}


def test_a_line_that_cannot_be_encoded_is_an_error_of_the_input(door: FrontDoor) -> None:
    with pytest.raises(InvalidInputLine, match="Input line 2: the line is not UTF-8"):
        SprintoTarget(config=config(door)).listen(["\n", "\ud800"])  # type: ignore[arg-type] # more than the SDK asks


@pytest.mark.parametrize("empty", ["", b"", "\n"])
def test_an_empty_line_does_not_end_the_input(door: FrontDoor, empty: str | bytes) -> None:
    """As in `text.split("\\n")`: what comes after it is not lost."""
    lines: list[str | bytes] = list(as_input(people(3)).decode().splitlines())
    lines.insert(3, empty)
    SprintoTarget(config=config(door)).listen(lines)  # type: ignore[arg-type] # more than the SDK asks
    assert len(door.applied()["people"]) == 3


@pytest.mark.parametrize("given", [Path("input.singer"), "input.singer", 7])
def test_an_input_that_is_not_a_file_is_an_error(door: FrontDoor, given: Any) -> None:  # noqa: ANN401 - as a user may
    with pytest.raises(ConfigError, match=f"`file_input` is of type {type(given).__name__}"):
        SprintoTarget(config=config(door)).listen(given)


def test_a_closed_file_is_an_error(door: FrontDoor) -> None:
    file = io.StringIO()
    file.close()
    with pytest.raises(ConfigError, match="`file_input` is closed"):
        SprintoTarget(config=config(door)).listen(file)


@pytest.mark.parametrize("given", [{"rejects_dir": Path("x")}, {"api_key": b"x"}, {1: 2}])
def test_settings_that_are_not_json_are_named(door: FrontDoor, given: dict[Any, Any]) -> None:
    with pytest.raises(SettingsError, match=f"`{next(iter(given))}` is not JSON"):
        SprintoTarget(config=config(door) | given)


def test_an_empty_config_raises_even_without_validation() -> None:
    with pytest.raises(ConfigValidationError, match="`api_key` is missing"):
        SprintoTarget(config={}, validate_config=False)


@pytest.mark.parametrize("finish", ["apply", "hold"])
def test_a_clock_that_is_set_back_during_the_run(
    door: FrontDoor, monkeypatch: pytest.MonkeyPatch, finish: str
) -> None:
    """A machine's clock cannot be set for one process, so this run is in the test's own."""
    monkeypatch.chdir(door.folder)
    target = SprintoTarget(config=config(door, finish=finish, report_path="receipt.json"))
    target.process_lines(io.StringIO(as_input(people(3)).decode()))
    now = recorder._now
    monkeypatch.setattr(recorder, "_now", lambda: now() - timedelta(minutes=10))
    if finish == "hold":
        with pytest.raises(SprintoError, match="clock set back"):
            target.process_endofpipe()
        assert door.session().state == "cancelled"
    else:
        target.process_endofpipe()
        assert door.session().state == "processed"
        verified = door.finish(door.start("verify", "receipt.json", program="sprintoctl"))
        assert "[receipt-times]" in verified.stderr
