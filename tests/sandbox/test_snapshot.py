from __future__ import annotations

import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from target_sprinto.sandbox import Sandbox, SandboxOptions
from tests.support.bare_api import Api
from tests.support.sandbox import FaultySandbox

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.front_door import FrontDoor

RECORD = b'{"id": 1.10,  "name": "\xc5\x81ukasz"}'


def fill(api: Api) -> str:
    """Deliver one record and leave a session active with another; return its id."""
    first = api.open()
    api.push_bytes(first, b'{"entities": {"User": [' + RECORD + b"]}}")
    api.close(first)
    api.wait(first, "processed")
    second = api.open()
    api.push(second, Device=[{"id": 2}])
    return second


def test_a_snapshot_survives_a_restart(tmp_path: Path) -> None:
    options = SandboxOptions(data_dir=tmp_path / "data", processing_seconds=0)
    with FaultySandbox(options) as sandbox, Api(sandbox, "demo") as api:
        active = fill(api)
        sessions, events = sandbox.sessions("demo"), sandbox.events("demo")
    with FaultySandbox(options) as sandbox, Api(sandbox, "demo") as api:
        assert sandbox.applied("demo") == {"User": [RECORD]}
        assert sandbox.sessions("demo") == sessions
        assert sandbox.events("demo") == events
        api.close(active)
        api.wait(active, "processed")
        assert sandbox.applied("demo")["Device"] == [b'{"id": 2}']
        assert (tmp_path / "data" / "sandbox.json").read_text("utf-8").count("ukasz") == 1


def test_a_snapshot_is_private_and_written_at_each_change(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with FaultySandbox(SandboxOptions(data_dir=data)) as sandbox, Api(sandbox, "demo") as api:
        api.open()
        assert len(FaultySandbox(SandboxOptions(data_dir=data)).sessions("demo")) == 1
    assert [path.name for path in data.iterdir()] == ["sandbox.json"]
    assert (data / "sandbox.json").stat().st_mode & 0o777 == 0o600
    assert data.stat().st_mode & 0o777 == 0o700


def test_processing_continues_after_a_restart(tmp_path: Path) -> None:
    options = SandboxOptions(data_dir=tmp_path, processing_seconds=2)
    with FaultySandbox(options) as sandbox, Api(sandbox, "demo") as api:
        session_id = api.open()
        api.close(session_id)
        assert sandbox.sessions("demo")[0].state == "processing"
    with FaultySandbox(options) as sandbox, Api(sandbox, "demo") as api:
        api.wait(session_id, "processed")


def test_processing_due_before_a_restart_happened_before_it(tmp_path: Path) -> None:
    """Even if the session was not read in between."""
    with (
        FaultySandbox(SandboxOptions(data_dir=tmp_path, processing_seconds=0)) as sandbox,
        Api(sandbox, "demo") as api,
    ):
        api.close(api.open())
    failing = SandboxOptions(data_dir=tmp_path, processing_outcomes=("failed", "failed"))
    assert [session.state for session in FaultySandbox(failing).sessions("demo")] == ["processed"]


def test_a_foreign_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "sandbox.json").write_bytes(b"[]")
    with pytest.raises(ValueError, match="not a sandbox snapshot"):
        FaultySandbox(SandboxOptions(data_dir=tmp_path))


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)]
)
def test_a_signal_ends_serving_with_a_snapshot(door: FrontDoor, number: signal.Signals) -> None:
    process = door.start("sandbox", "--port", "0", "--data", "data", "--any-type", program="sprintoctl")
    assert process.stdout is not None
    found = re.search(r"at (http://\S+)", process.stdout.readline().decode())
    assert found
    away = FaultySandbox()
    away.url = found[1]
    with Api(away, "demo") as api:
        session_id = api.open()
        assert api.push(session_id, people=[{}]).status_code == 202
    process.send_signal(number)
    assert door.finish(process).code == 0
    remembered = Sandbox(SandboxOptions(data_dir=door.folder / "data")).sessions("demo")
    assert [(s.id, s.accepted_batches) for s in remembered] == [(session_id, 1)]


TWO_SIGNALS = """
import signal
import sys
from itertools import count

import click

from target_sprinto.cli.sandbox import sandbox
from target_sprinto.signals import process_signals

def serve_and_strike_twice(line):
    "SIGINT, and SIGTERM while Python is at its so-manieth line after that: at first, in the handler."
    lines = count()

    def trace(*_):
        if next(lines) == line:
            signal.raise_signal(signal.SIGTERM)
        return trace

    def strike(_message):
        sys.settrace(trace)
        signal.raise_signal(signal.SIGINT)

    click.echo = strike
    process_signals.first = None
    with process_signals:
        sandbox.main(["--port", "0"], standalone_mode=False)
    sys.settrace(None)
    assert next(lines) > line
    assert process_signals.first in {signal.SIGINT, signal.SIGTERM}

for line in range(20):
    serve_and_strike_twice(line)
"""


def test_two_signals_at_once_end_serving() -> None:
    ended = subprocess.run([sys.executable, "-c", TWO_SIGNALS], check=False, timeout=30)
    assert ended.returncode == 0
