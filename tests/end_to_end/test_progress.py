"""Progress of a run: the live line, occasional lines, the SDK's metrics, and the last line."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto import SprintoClient
from target_sprinto.push.run.send_queue import RunProgress
from target_sprinto.singer.progress import Progress, describe
from target_sprinto.singer.target import SprintoTarget
from tests.support.front_door import (
    PATIENCE_SECONDS,
    SCHEMA,
    STATE,
    FrontDoor,
    as_input,
    feed,
    people,
    record,
    state_line,
)
from tests.support.sandbox import Fault, Respond

if TYPE_CHECKING:
    import subprocess

PAGES = 30


def throttle_second_page(door: FrontDoor, seconds: int) -> None:
    door.sandbox.inject(
        Fault(
            "push",
            nth=2,
            integration_id=door.integration_id,
            effect=Respond(429, {"Retry-After": str(seconds)}),
        )
    )


def metrics(stderr: str) -> list[dict[str, Any]]:
    found = re.findall(r"METRIC: (\{.*\})", stderr)
    return [json.loads(one) for one in found]


class Terminal:
    """A terminal that shows a run's stderr and keeps everything it showed."""

    def __init__(self, columns: int) -> None:
        self._ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.shown = b""
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65_536)
            except OSError:  # the other end is closed
                return
            with self._changed:
                self.shown += data
                self._changed.notify_all()

    def wait_for(self, text: bytes) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.shown, PATIENCE_SECONDS), self.shown

    def close(self) -> str:
        os.close(self.theirs)
        self._thread.join()
        os.close(self._ours)
        return self.shown.decode()


@pytest.fixture(params=[120, 0], ids=["120 columns", "width not known"])
def terminal(request: pytest.FixtureRequest) -> Terminal:
    return Terminal(request.param)


def start_on(door: FrontDoor, terminal: Terminal, **env: str) -> subprocess.Popen[bytes]:
    return door.start(stderr=terminal.theirs, env={"TERM": "xterm", "TARGET_SPRINTO_LOGLEVEL": "INFO", **env})


def test_a_terminal_shows_one_live_line(door: FrontDoor, terminal: Terminal) -> None:
    throttle_second_page(door, 1)
    process = start_on(door, terminal)
    feed(process, [SCHEMA, *(record(n) for n in range(250))])
    terminal.wait_for(b"\r250 records read, 1 page accepted, 0 in flight, 1 sent again, waiting 1 s ")
    out, _ = process.communicate(as_input([STATE]), timeout=PATIENCE_SECONDS)
    shown = terminal.close()
    assert process.returncode == 0
    assert out.decode() == state_line()
    # Each log line starts on its own line, and the live line is gone at the end.
    lines = [line.rpartition("\r")[2] for line in shown.replace("\r\n", "\n").rstrip("\n").split("\n")]
    # The SDK's warning about an end-of-life Python takes two lines.
    lines = [line for line in lines if line.strip() and "warn_python_eol()" not in line]
    assert lines == [line for line in lines if re.match(r"\d{4}-", line)]
    assert all(" | INFO " in line for line in lines[-2:])
    assert "Sprinto has processed session" in lines[-2]
    assert "STATE was written to stdout." in lines[-1]
    assert "Progress: " not in shown


@pytest.mark.parametrize("terminal", [120], indirect=True, ids=["120 columns"])
def test_a_single_record_uses_the_singular(door: FrontDoor, terminal: Terminal) -> None:
    process = start_on(door, terminal)
    feed(process, [SCHEMA, record(1)])
    terminal.wait_for(b"\r1 record read, 0 pages accepted, 0 in flight | ")
    process.communicate(as_input([STATE]), timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    terminal.close()


@pytest.mark.parametrize("terminal", [120], indirect=True, ids=["120 columns"])
def test_a_dumb_terminal_shows_no_live_line(door: FrontDoor, terminal: Terminal) -> None:
    process = start_on(door, terminal, TERM="dumb")
    process.communicate(as_input(people(10)), timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert "\r" not in terminal.close().replace("\r\n", "\n")


def test_progress_is_logged_periodically_without_a_terminal(door: FrontDoor) -> None:
    door.pace["progress_interval"] = 0.1
    throttle_second_page(door, 1)
    began = time.monotonic()
    finished = door.run(people(PAGES * 10), page_size=10)
    took = time.monotonic() - began
    assert finished.code == 0
    message = [line for line in finished.stderr.splitlines() if "Progress: " in line]
    assert all("| INFO " in line for line in message)
    # A slow run logs more lines, but at most one per interval.
    assert 1 <= len(message) <= took / door.pace["progress_interval"]
    form = (
        r"Progress: [\d,]+ records read, \d+ pages? accepted, \d in flight.* \([\d,]+ records a second\)\.$"
    )
    assert all(re.search(form, line) for line in message)
    assert any("1 sent again, waiting 1 s as Sprinto asked" in line for line in message)


def test_a_short_run_logs_no_progress(door: FrontDoor) -> None:
    finished = door.run(people(250))
    assert "Progress: " not in finished.stderr
    assert finished.stderr.count("pages") == 1


def test_the_last_line_shows_where_the_time_went(door: FrontDoor) -> None:
    finished = door.run(people(250))
    last = finished.stderr.splitlines()[-2]
    seconds = r"(\d+\.\d) s"
    found = re.search(
        rf"Sprinto has processed session \S+: 250 people, in 3 pages, in {seconds};"
        rf" bottleneck: (\w+), {seconds} \((\w+) {seconds}, (\w+) {seconds}\)\.$",
        last,
    )
    assert found, last
    assert {found[2], found[4], found[6]} == {"input", "Sprinto", "encoding"}
    parts = [float(found[number]) for number in (3, 5, 7)]
    assert parts[0] == max(parts)
    assert sum(parts) == pytest.approx(float(found[1]), abs=0.2)


@pytest.mark.parametrize(
    ("input_seconds", "sprinto_seconds", "bottleneck"),
    [(9.0, 1.0, "input"), (1.0, 9.0, "Sprinto"), (0.0, 0.0, "encoding")],
)
def test_the_bottleneck_is_the_largest_share_of_time(
    input_seconds: float, sprinto_seconds: float, bottleneck: str
) -> None:
    run = SprintoClient(api_key="key", integration_id="demo", api_url="http://127.0.0.1:1").run()
    run.blocked_seconds = sprinto_seconds
    target = SprintoTarget(config={"api_key": "k3y", "integration_id": "x"})
    target.reader.waited_seconds = input_seconds
    assert f"bottleneck: {bottleneck}, " in Progress(run, target.intake).summary()


def test_metrics_count_records_by_stream_and_requests(door: FrontDoor) -> None:
    other = {**SCHEMA, "stream": "devices"}
    devices = [record(n, "devices") for n in range(7)]
    finished = door.run([SCHEMA, *(record(n) for n in range(250)), other, *devices, STATE])
    found = metrics(finished.stderr)
    records = {one["tags"]["stream"]: one["value"] for one in found if one["metric"] == "record_count"}
    assert records == {"people": 250, "devices": 7}
    seen = door.sandbox.requests(door.integration_id)
    assert [one["value"] for one in found if one["metric"] == "http_request_count"] == [len(seen)]
    (seconds,) = [one["value"] for one in found if one["metric"] == "http_request_duration"]
    assert 0 < seconds < PATIENCE_SECONDS


def test_a_failed_run_logs_its_metrics_before_its_error(door: FrontDoor) -> None:
    finished = door.run(as_input(people(150)) + b"no json\n")
    assert finished.code == 1
    assert [one["value"] for one in metrics(finished.stderr) if one["metric"] == "record_count"] == [150]
    assert "| ERROR" in finished.stderr.splitlines()[-1]


def test_a_structured_log_is_json_line_by_line(door: FrontDoor) -> None:
    """Configured as Meltano does for plugins with the capability `structured-logging`."""
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "singer_sdk.logging.StructuredFormatter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"level": "INFO", "handlers": ["stderr"]},
    }
    path = door.folder / "logging.yaml"
    path.write_text(json.dumps(config))
    process = door.start(env={"SINGER_SDK_LOG_CONFIG": str(path)})
    finished = door.finish(process, people(150))
    assert finished.code == 0
    message = [json.loads(line) for line in finished.stderr.splitlines() if line.startswith("{")]
    assert len(message) >= len(finished.stderr.splitlines()) - 1
    assert any("Sprinto has processed session" in one["message"] for one in message)
    counted = [one for one in message if one.get("metric_info", {}).get("metric") == "record_count"]
    assert [one["metric_info"]["value"] for one in counted] == [150]


def test_absent_values_are_not_shown() -> None:
    assert (
        describe(123_400, RunProgress(1_234, 8)) == "123,400 records read, 1,234 pages accepted, 8 in flight"
    )
