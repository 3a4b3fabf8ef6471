"""The unmodified files of docs/airflow.md, run by a real Airflow: Meltano, and the script."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.front_door import API_KEY, SECRET, state_line
from tests.support.meltano_project import PATIENCE_SECONDS, environment, install_into, row, state_at
from tests.support.schedulers import Scheduler, add_meltano, add_script, file_of, programs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.front_door import FrontDoor
    from tests.support.meltano_project import Project
    from tests.support.sandbox import FaultySandbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

VERSION = "3.3.2"
STALLED = {"TAP_PEOPLE_STALL_AFTER": "3", "TARGET_SPRINTO_PAGE_SIZE": "1"}


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Scheduler:
    """Airflow with its database and the page's DAGs."""
    home = tmp_path_factory.mktemp("airflow")
    program = install_into(home / "env", f"apache-airflow=={VERSION}") / "airflow"
    (home / "dags").mkdir()
    for dag in ("sprinto_meltano", "sprinto_hr"):
        (home / f"dags/{dag}.py").write_text(file_of("airflow.md", f"{dag}.py"), encoding="utf-8")
    env = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "false"}
    subprocess.run([program, "db", "migrate"], env=environment() | env, capture_output=True, check=True)
    return Scheduler(home, [program, "dags", "test"], env)


def running(airflow: Scheduler, dag: str, env: dict[str, str]) -> Scheduler:
    return Scheduler(airflow.home, [*airflow.command, dag], {**airflow.env, **env})


# Meltano


@pytest.fixture
def evidence(airflow: Scheduler, project: Project) -> Scheduler:
    project.write_rows(5)
    return running(airflow, "sprinto_meltano", add_meltano(project))


def test_airflow_runs_meltano(evidence: Scheduler, project: Project, door: FrontDoor) -> None:
    assert evidence.run() == 0, evidence.log()[-3000:]
    assert "has processed session" in evidence.log()
    assert SECRET not in evidence.log()
    assert door.applied() == {"User": [row(number) for number in range(1, 6)]}
    assert project.state("tap-hr") == state_at(5)


def test_the_loaders_error_is_in_the_tasks_log(
    evidence: Scheduler, project: Project, door: FrontDoor
) -> None:
    assert evidence.run(TARGET_SPRINTO_API_KEY="wr0ng-k3y") != 0
    assert "returned a non-zero exit code 1" in evidence.log()
    assert "[unauthorized]" in evidence.log()
    assert "wr0ng-k3y" not in evidence.log()
    assert (door.applied(), project.state("tap-hr")) == ({}, None)


@pytest.mark.parametrize("killed", [False, True], ids=["and-waited-for", "and-killed-after-it"])
def test_a_run_of_a_stopped_task_is_discarded(
    evidence: Scheduler, project: Project, door: FrontDoor, *, killed: bool
) -> None:
    """Airflow sends SIGTERM to its task, and SIGKILL 5 s later; here, as soon as the loader discards."""
    with evidence.started(**STALLED) as run:
        door.wait_for_operation("push", 3, responded=True, within=PATIENCE_SECONDS)
        os.kill(run.pid, signal.SIGTERM)
        if killed:
            door.wait_for_operation("close", within=PATIENCE_SECONDS)
            os.kill(run.pid, signal.SIGKILL)
        assert run.wait(timeout=PATIENCE_SECONDS) != 0
        door.sandbox.wait_for(lambda _: door.session().state == "cancelled", timeout=PATIENCE_SECONDS)
    assert (door.applied(), project.state("tap-hr")) == ({}, None)


# The script


@pytest.fixture
def tap(sandbox: FaultySandbox, integration_id: str, tmp_path: Path) -> Path:
    return add_script(tmp_path / "hr", sandbox, integration_id)


@pytest.fixture
def script(airflow: Scheduler, tap: Path, tmp_path: Path) -> Scheduler:
    path = programs(tmp_path / "bin", "cat input.singer; if [ -e waits ]; then exec sleep 600; fi")
    return running(airflow, "sprinto_hr", {"PATH": path, "SPRINTO_SCRIPT": str(tap / "push.sh")})


def test_airflow_runs_the_script(script: Scheduler, tap: Path, door: FrontDoor) -> None:
    assert script.run() == 0, script.log()[-3000:]
    assert (tap / "state.json").read_text() == state_line()
    assert len(door.applied()["User"]) == 250


def test_only_temporary_failures_are_retried(script: Scheduler, tap: Path) -> None:
    config = tap / "config.json"
    config.write_text(config.read_text().replace(API_KEY, "another-key"))
    assert script.run() != 0
    assert "[unauthorized]" in script.log()
    assert "push.sh ended with 1; its last lines say what to do." in script.log()
    assert "new_state=failed" in script.log()


def test_a_conflict_with_another_run_is_retried_later(script: Scheduler, tap: Path, door: FrontDoor) -> None:
    # `dags test` would wait for that retry.
    once = Scheduler(script.home, [script.command[0], "tasks", "test", "sprinto_hr", "push"], script.env)
    with (tap / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        once.run()
    assert "RuntimeError: push.sh ended with 75; the task is tried again." in once.log()
    assert "new_state=up_for_retry" in once.log()
    assert door.operations() == []


def test_a_script_of_a_stopped_task_is_discarded(script: Scheduler, tap: Path, door: FrontDoor) -> None:
    (tap / "waits").touch()
    with script.started() as run:
        door.wait_for_operation("push", 2, responded=True, within=PATIENCE_SECONDS)
        os.kill(run.pid, signal.SIGTERM)
        assert run.wait(timeout=PATIENCE_SECONDS) != 0
        assert door.session().state == "cancelled", script.log()[-3000:]
    assert not (tap / "state.json").exists()
