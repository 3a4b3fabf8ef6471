"""The unmodified files of docs/dagster.md, run by a real Dagster: the script, and Meltano."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from target_sprinto.sandbox import SandboxOptions
from tests.support.front_door import SECRET, state_line
from tests.support.meltano_project import PATIENCE_SECONDS, install_into, row, state_at
from tests.support.sandbox import FaultySandbox
from tests.support.schedulers import Scheduler, add_meltano, add_script, file_of, programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.front_door import FrontDoor
    from tests.support.meltano_project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

VERSION = "1.13.29"
INTEGRATIONS = [f"tap_{number}" for number in range(10)]
STALLED = {"TAP_PEOPLE_STALL_AFTER": "3", "TARGET_SPRINTO_PAGE_SIZE": "1"}


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_into(tmp_path_factory.mktemp("dagster") / "env", f"dagster=={VERSION}") / "dagster"


@pytest.fixture
def slow_sandbox() -> Iterator[FaultySandbox]:
    """A sandbox that processes long enough for an interruption."""
    with FaultySandbox(SandboxOptions(integrations=None, processing_seconds=3)) as running:
        yield running


def scheduler(dagster: Path, folder: Path, name: str, env: dict[str, str]) -> Scheduler:
    home = folder / "home"
    home.mkdir()
    (folder / name).write_text(file_of("dagster.md", name), encoding="utf-8")
    command: list[str | Path] = [dagster, "job", "execute", "-f", folder / name, "-j", "__ASSET_JOB"]
    return Scheduler(home, command, env | {"DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "yes"})


# The script


@pytest.fixture
def scripts(dagster: Path, tmp_path: Path) -> Scheduler:
    # Taps log bytes that are not UTF-8. One waits after its last line and keeps running; one leaves a process
    # behind that keeps its stderr open.
    path = programs(
        tmp_path / "bin",
        r"printf 'caf\351\n' >&2; cat input.singer; if [ -e waits ]; then exec sleep 600; fi"
        "; while [ -e leaves ]; do sleep 1; done > /dev/null &",
    )
    env = {"PATH": path, "SPRINTO_TAPS": str(tmp_path / "taps")}
    return scheduler(dagster, tmp_path, "definitions.py", env)


def test_dagster_runs_ten_integrations_side_by_side(
    scripts: Scheduler, slow_sandbox: FaultySandbox, tmp_path: Path
) -> None:
    taps = [add_script(tmp_path / "taps" / name, slow_sandbox, name) for name in INTEGRATIONS]
    (taps[0] / "leaves").touch()
    assert scripts.run() == 0, scripts.log()[-3000:]
    (taps[0] / "leaves").unlink()
    assert scripts.console().count("has processed session") == len(taps)
    for tap in taps:
        assert (tap / "state.json").read_text() == state_line()
        assert len(slow_sandbox.applied(tap.name)["User"]) == 250


def test_a_failed_step_shows_the_error_and_is_not_retried(
    scripts: Scheduler, slow_sandbox: FaultySandbox, tmp_path: Path
) -> None:
    add_script(tmp_path / "taps/tap_0", slow_sandbox, "tap_0", api_key="another-key")
    assert scripts.run() != 0
    assert "[unauthorized]" in scripts.log().partition("Failure: push.sh ended with 1.")[2]
    assert "STEP_UP_FOR_RETRY" not in scripts.log()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_terminated_run_discards_and_leaves_no_process(
    scripts: Scheduler, slow_sandbox: FaultySandbox, tmp_path: Path, number: signal.Signals
) -> None:
    (add_script(tmp_path / "taps/tap_0", slow_sandbox, "tap_0") / "waits").touch()
    with scripts.started() as run:
        slow_sandbox.wait_for(
            lambda sandbox: any(
                seen.operation == "push" and seen.status for seen in sandbox.requests("tap_0")
            ),
            timeout=PATIENCE_SECONDS,
        )
        run.send_signal(number)
        run.wait(timeout=PATIENCE_SECONDS)
    (session,) = slow_sandbox.sessions("tap_0")
    assert session.state == "cancelled", scripts.log()[-3000:]
    assert scripts.left_running() == []


def test_a_run_terminated_during_processing_keeps_its_state(
    scripts: Scheduler, slow_sandbox: FaultySandbox, tmp_path: Path
) -> None:
    tap = add_script(tmp_path / "taps/tap_0", slow_sandbox, "tap_0")
    with scripts.started() as run:
        slow_sandbox.wait_for(
            lambda sandbox: any(
                seen.operation == "close" and seen.status for seen in sandbox.requests("tap_0")
            ),
            timeout=PATIENCE_SECONDS,
        )
        run.send_signal(signal.SIGTERM)
        run.wait(timeout=PATIENCE_SECONDS)
    assert len(slow_sandbox.applied("tap_0")["User"]) == 250, scripts.log()[-3000:]
    assert scripts.left_running() == []
    assert (tap / "state.json").read_text() == state_line(), scripts.log()[-3000:]


# Meltano


@pytest.fixture
def evidence(dagster: Path, project: Project, tmp_path: Path) -> Scheduler:
    project.write_rows(5)
    return scheduler(dagster, tmp_path, "meltano_definitions.py", add_meltano(project))


def test_dagster_runs_meltano(evidence: Scheduler, project: Project, door: FrontDoor) -> None:
    assert evidence.run() == 0, evidence.log()[-3000:]
    assert "has processed session" in evidence.log()
    assert SECRET not in evidence.log()
    assert door.applied() == {"User": [row(number) for number in range(1, 6)]}
    assert project.state("tap-hr") == state_at(5)


def test_the_loaders_error_is_in_the_stderr_that_dagster_keeps(
    evidence: Scheduler, project: Project, door: FrontDoor
) -> None:
    assert evidence.run(TARGET_SPRINTO_API_KEY="wr0ng-k3y") != 0
    assert "External execution process failed with code 1" in evidence.log()
    assert [line for line in evidence.log().splitlines() if line.endswith("[unauthorized]")]
    assert "wr0ng-k3y" not in evidence.log()
    assert (door.applied(), project.state("tap-hr")) == ({}, None)


def test_a_run_terminated_by_dagster_is_discarded(
    evidence: Scheduler, project: Project, door: FrontDoor
) -> None:
    with evidence.started(**STALLED) as run:
        door.wait_for_operation("push", 3, responded=True, within=PATIENCE_SECONDS)
        run.send_signal(signal.SIGTERM)
        run.wait(timeout=PATIENCE_SECONDS)
        assert door.session().state == "cancelled", evidence.log()[-3000:]
    assert (door.applied(), project.state("tap-hr")) == ({}, None)
