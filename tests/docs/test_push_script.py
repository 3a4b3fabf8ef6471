"""The script in pipe-and-cron.md with the real target: hanging taps, signals, its lock and its log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support.commands import DOCS, blocks
from tests.support.front_door import API_KEY, PAGE, PATIENCE_SECONDS, as_input, state_line
from tests.support.process_group import kill_group, process_group
from tests.support.schedulers import add_script, program, programs

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.support.front_door import FrontDoor

HANGS = "cat input.singer; exec sleep 600"


@dataclass(frozen=True)
class Script:
    """Runs `push.sh` like a scheduler; `tap` contains the commands of its tap."""

    folder: Path
    tap: str
    target: list[str] | None = None

    def started(self, *words: str) -> AbstractContextManager[subprocess.Popen[str]]:
        path = programs(self.folder.parent / "bin", self.tap, *filter(None, [self.target]))
        env = {**os.environ, "PATH": path, "NO_PROXY": "127.0.0.1"}
        return process_group(["bash", self.folder / "push.sh", *words], env)

    def run(self, *words: str) -> tuple[int, str]:
        """Return the exit code, and the output until it ended."""
        with self.started(*words) as process:
            code = process.wait(PATIENCE_SECONDS)
            kill_group(process)
            assert process.stderr is not None
            return code, process.stderr.read()


@pytest.fixture
def folder(door: FrontDoor) -> Path:
    return add_script(door.folder / "hr", door.sandbox, door.integration_id)


def set_in(folder: Path, **settings: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))


def edit(folder: Path, old: str, new: str) -> None:
    script = (folder / "push.sh").read_text()
    assert script.count(old) == 1
    (folder / "push.sh").write_text(script.replace(old, new))


@pytest.mark.parametrize("ending", ["tap-silent", "unauthorized"])
@pytest.mark.parametrize(
    "tap", [HANGS, f"trap '' TERM; {HANGS.replace('exec ', '')}"], ids=["", "no SIGTERM"]
)
def test_a_hanging_tap_ends_with_the_target(door: FrontDoor, folder: Path, tap: str, ending: str) -> None:
    set_in(folder, input_timeout_seconds=0.3, api_key=API_KEY if ending == "tap-silent" else "another-key")
    edit(folder, "{1..100}", "{1..5}")
    code, log = Script(folder, tap, door.command("target-sprinto")).run()
    assert (code, f"[{ending}]" in log) == (1, True)
    assert not (folder / "state.json").exists()


def test_a_tap_that_lingers_after_its_state_is_reported(door: FrontDoor, folder: Path) -> None:
    edit(folder, "{1..100}", "{1..5}")
    tap = "cat input.singer; exec sleep 600 > /dev/null"
    code, log = Script(folder, tap, door.command("target-sprinto")).run()
    assert (code, "The tap ended with 137" in log) == (1, True)
    assert (folder / "state.json").read_text() == state_line()


@pytest.mark.parametrize(
    ("number", "send"),
    [(signal.SIGTERM, os.kill), (signal.SIGHUP, os.kill), (signal.SIGINT, os.killpg)],
    ids=["SIGTERM to the script", "SIGHUP to the script", "SIGINT to the group"],
)
def test_a_signal_discards(
    door: FrontDoor, folder: Path, number: int, send: Callable[[int, int], None]
) -> None:
    (folder / "input.singer").write_bytes(as_input(PAGE))
    with Script(folder, HANGS).started() as process:
        door.wait_for_operation("push", responded=True)
        send(process.pid, number)
        assert process.wait(15) == 143
    assert door.session().state == "cancelled"


def test_a_taps_leftover_process_does_not_hold_the_lock(door: FrontDoor, folder: Path) -> None:
    script = Script(folder, "cat input.singer; sleep 600 > /dev/null 2>&1 &", door.command("target-sprinto"))
    with script.started() as first:
        assert first.wait(PATIENCE_SECONDS) == 0
        assert script.run()[0] == 0
    assert (folder / "state.json").read_text() == state_line()


@pytest.mark.parametrize(
    ("line", "fails", "code"),
    [
        ("flock --nonblock 9", "flock-is-missing --nonblock 9", 127),
        ("flock --nonblock 9", "flock --nonblock 8 2> /dev/null", 65),
        ("exec 9> run.lock", "exec 9> missing/run.lock", 1),
        ("\ntarget-sprinto --config", "\ntarget-is-missing --config", 127),
    ],
    ids=["no flock", "flock fails", "no lock file", "no target"],
)
def test_a_failed_lock_is_not_reported_as_another_run(folder: Path, line: str, fails: str, code: int) -> None:
    edit(folder, line, fails)
    ended, log = Script(folder, HANGS).run()
    assert (ended, "under way" in log) == (code, False)


def test_the_log_is_private_and_written_only_with_the_lock(door: FrontDoor, folder: Path) -> None:
    os.mkfifo(folder / "more")
    script, log = Script(folder, "cat input.singer more", door.command("target-sprinto")), folder / "run.log"
    with script.started("run.log") as first:
        with (folder / "more").open("w"):
            door.wait_for_operation("push", responded=True)
            code, said = script.run("run.log")
            assert (code, "is under way; this one did nothing." in said) == (75, True)
        assert first.wait(PATIENCE_SECONDS) == 0
    assert " is open (" in log.read_text()
    assert "has processed session" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600

    set_in(folder, api_key="another-key")
    (folder / "more").unlink()
    (folder / "more").touch()
    code, said = script.run("run.log")
    assert (code, said) == (1, log.read_text())
    assert "[unauthorized]" in said


(ALERT,) = (block.text for block in blocks(DOCS / "monitoring.md") if "SLACK_WEBHOOK" in block.text)
TALKS_LAST = "trap 'echo gone [broken-pipe] >&2; kill $!; exit 1' TERM; cat input.singer; sleep 600 & wait"


@pytest.mark.parametrize("ending", ["tap-silent", "state-not-written"])
def test_an_alert_contains_the_targets_error_but_no_state(door: FrontDoor, folder: Path, ending: str) -> None:
    tap = TALKS_LAST
    if ending == "tap-silent":
        set_in(folder, input_timeout_seconds=0.3)
    else:
        tap = "cat input.singer"
        edit(folder, "> state.new 3>&-", "> /dev/full 3>&-")
    (folder / "push.sh").chmod(0o755)
    path = programs(folder.parent / "bin", tap, door.command("target-sprinto"))
    program(folder.parent / "bin/curl", "cat > sent.json")
    env = {**os.environ, "PATH": path, "NO_PROXY": "127.0.0.1", "SLACK_WEBHOOK": "x"}
    subprocess.run(["bash", "-eu", "-c", ALERT], cwd=folder, env=env, check=True, timeout=PATIENCE_SECONDS)
    text = json.loads((folder / "sent.json").read_text())["text"]
    assert text.startswith("push.sh ended with 1. 20")
    assert text.endswith(f"[{ending}]")
    assert state_line().strip() in (folder / "run.log").read_text() or ending == "tap-silent"
