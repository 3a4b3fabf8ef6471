"""The schedulers' pages: their files as they are, run by bash and by a real Dagster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from target_sprinto.sandbox import Sandbox, SandboxOptions
from tests.support.commands import DOCS, blocks
from tests.support.front_door import API_KEY, PATIENCE_SECONDS, as_input, people, state_line
from tests.support.meltano_project import uv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.front_door import FrontDoor

DAGSTER = "1.13.29"
KUBERNETES = "1.37"
INTEGRATIONS = [f"tap_{number}" for number in range(10)]


def file_of(page: str, name: str) -> str:
    (found,) = (block.text for block in blocks(DOCS / page) if block.mark == f"file: {name}")
    return found


def program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def programs(folder: Path, tap: str) -> str:
    """A PATH with the real target, and a tap that is `tap`."""
    program(folder / "target-sprinto", f'exec {sys.executable} -m target_sprinto "$@"')
    program(folder / "tap-hr", tap)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


# Kubernetes


def cron_job() -> dict[str, Any]:
    return dict(yaml.safe_load(file_of("kubernetes.md", "cronjob.yaml")))


def container() -> dict[str, Any]:
    pod = cron_job()["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (only,) = pod["containers"]
    return dict(only)


ENDINGS = pytest.mark.parametrize(
    ("tap", "key", "code", "kept"),
    [
        ("cat input.singer", API_KEY, 0, True),
        ("cat input.singer; exit 1", API_KEY, 1, True),
        ("head -n 2 input.singer", API_KEY, 1, False),
        ("cat input.singer", "another-key", 1, False),
    ],
    ids=["applied", "the tap fails after its STATE", "no final STATE", "a wrong key"],
)


def run_script(door: FrontDoor, script: str, tap: str, **env: str) -> int:
    (door.folder / "input.singer").write_bytes(as_input(people(3)))
    path = programs(door.folder / "bin", tap)
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=door.folder,
        env={**os.environ, "PATH": path, "NO_PROXY": "127.0.0.1", **env},
        stderr=subprocess.PIPE,
        encoding="utf-8",
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert env.get("TARGET_SPRINTO_API_KEY", API_KEY) not in done.stderr
    return done.returncode


def require_kept(door: FrontDoor, state: Path, *, kept: bool) -> None:
    assert (state.read_text() if state.exists() else "") == (state_line() if kept else "")
    assert len(door.applied().get("User", [])) == (3 if kept else 0)


@ENDINGS
def test_the_script_of_the_cron_job(door: FrontDoor, tap: str, key: str, code: int, *, kept: bool) -> None:
    for folder in ("config", "key", "state", "work"):
        (door.folder / folder).mkdir()
    target = {
        "integration_id": door.integration_id,
        "api_url": door.sandbox.base_url,
        "entity_types": {"people": "User"},
    }
    (door.folder / "config/target.json").write_text(json.dumps(target))
    (door.folder / "key/api-key").write_text(key)
    (script,) = container()["args"]
    for mounted in container()["volumeMounts"]:
        script = script.replace(mounted["mountPath"] + "/", f"{door.folder}{mounted['mountPath']}/")
    assert run_script(door, script.replace("set -u", "set +e -u"), tap) == code
    require_kept(door, door.folder / "state/state.json", kept=kept)


# GitHub Actions

WORKFLOW = ".github/workflows/sprinto.yml"


@ENDINGS
def test_the_step_of_the_workflow(door: FrontDoor, tap: str, key: str, code: int, *, kept: bool) -> None:
    steps = yaml.safe_load(file_of("github-actions.md", WORKFLOW))["jobs"]["push"]["steps"]
    (script,) = (step["run"] for step in steps if "run" in step)
    config = {"api_url": door.sandbox.base_url, "integration_id": door.integration_id}
    (door.folder / "config.json").write_text(json.dumps({**config, "entity_types": {"people": "User"}}))
    script = script.replace("uvx ", "")
    assert (
        run_script(
            door, script, f'test -z "$TARGET_SPRINTO_API_KEY" && {{ {tap}; }}', TARGET_SPRINTO_API_KEY=key
        )
        == code
    )
    require_kept(door, door.folder / "state.json", kept=kept)


def test_github_schema_accepts_the_workflow(tmp_path: Path) -> None:
    (tmp_path / "sprinto.yml").write_text(file_of("github-actions.md", WORKFLOW), encoding="utf-8")
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    checked = subprocess.run(
        [*check, str(tmp_path / "sprinto.yml")], capture_output=True, encoding="utf-8", check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.slow
def test_kubernetes_schema_accepts_the_cron_job(tmp_path: Path) -> None:
    uv("venv", "--python", sys.executable, tmp_path / "env")
    uv("pip", "install", "--python", tmp_path / "env", f"kubernetes-validate=={KUBERNETES}.0")
    (tmp_path / "cronjob.yaml").write_text(file_of("kubernetes.md", "cronjob.yaml"), encoding="utf-8")
    validate = tmp_path / "env/bin/kubernetes-validate"
    checked = subprocess.run(
        [validate, "--strict", "-k", KUBERNETES, tmp_path / "cronjob.yaml"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


# Dagster


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dagster")
    uv("venv", "--python", sys.executable, folder / "env")
    uv("pip", "install", "--python", folder / "env", f"dagster=={DAGSTER}")
    return folder / "env/bin/dagster"


@pytest.fixture
def slow_sandbox() -> Iterator[Sandbox]:
    """One that processes long enough to be interrupted meanwhile."""
    with Sandbox(SandboxOptions(integrations=None, processing_seconds=3)) as running:
        yield running


@dataclass(frozen=True)
class Deployment:
    """The page's `definitions.py`, and a folder for each tap."""

    program: Path
    folder: Path
    sandbox: Sandbox

    def add_tap(self, integration: str, **settings: object) -> Path:
        tap = self.folder / "taps" / integration
        tap.mkdir(parents=True)
        (tap / "push.sh").write_text(file_of("pipe-and-cron.md", "push.sh"), encoding="utf-8")
        config = {
            "api_key": API_KEY,
            "integration_id": integration,
            "api_url": self.sandbox.base_url,
            "entity_types": {"people": "User"},
            **settings,
        }
        (tap / "config.json").write_text(json.dumps(config))
        (tap / "config.json").chmod(0o600)
        (tap / "input.singer").write_bytes(as_input(people(250)))
        return tap

    def start(self) -> subprocess.Popen[str]:
        # A tap that waits after its last line is one that is still running.
        path = programs(self.folder / "bin", "cat input.singer; if [ -e waits ]; then exec sleep 600; fi")
        (self.folder / "definitions.py").write_text(file_of("dagster.md", "definitions.py"), encoding="utf-8")
        (self.folder / "home").mkdir(exist_ok=True)
        env = {
            **os.environ,
            "PATH": path,
            "NO_PROXY": "127.0.0.1",
            "DAGSTER_HOME": str(self.folder / "home"),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "SPRINTO_TAPS": str(self.folder / "taps"),
        }
        command = [str(self.program), "job", "execute", "-f", "definitions.py", "-j", "__ASSET_JOB"]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, run: subprocess.Popen[str]) -> str:
        log, _ = run.communicate(timeout=400)
        return log

    def processes(self) -> list[str]:
        """What still runs of the taps' pipes."""
        listed = subprocess.run(["ps", "-eo", "args"], stdout=subprocess.PIPE, text=True, check=True).stdout
        return [
            line for line in listed.splitlines() if str(self.folder) in line and "definitions" not in line
        ]


@pytest.fixture
def deployment(dagster: Path, slow_sandbox: Sandbox, tmp_path: Path) -> Deployment:
    return Deployment(dagster, tmp_path, slow_sandbox)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_dagster_runs_ten_integrations_side_by_side(deployment: Deployment) -> None:
    taps = [deployment.add_tap(name) for name in INTEGRATIONS]
    run = deployment.start()
    log = deployment.finish(run)
    assert run.returncode == 0, log[-3000:]
    assert log.count("has processed session") == len(taps)
    for tap in taps:
        assert (tap / "state.json").read_text() == state_line()
        assert len(deployment.sandbox.applied(tap.name)["User"]) == 250


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_step_that_failed_shows_why_and_is_not_tried_again(deployment: Deployment) -> None:
    deployment.add_tap("tap_0", api_key="another-key")
    run = deployment.start()
    log = deployment.finish(run)
    assert run.returncode != 0
    assert "Failure: push.sh ended with 1." in log
    assert "[unauthorized]" in log.partition("Failure: push.sh ended with 1.")[2]
    assert "STEP_UP_FOR_RETRY" not in log


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_terminated_run_discards_its_session_and_leaves_no_process(
    deployment: Deployment, number: signal.Signals
) -> None:
    (deployment.add_tap("tap_0") / "waits").touch()
    run = deployment.start()
    deployment.sandbox.wait_for(
        lambda sandbox: any(seen.operation == "push" and seen.status for seen in sandbox.requests("tap_0")),
        timeout=120,
    )
    run.send_signal(number)
    log = deployment.finish(run)
    (session,) = deployment.sandbox.sessions("tap_0")
    assert session.state == "cancelled", log[-3000:]
    assert deployment.processes() == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_that_is_terminated_while_sprinto_processes_keeps_its_state(deployment: Deployment) -> None:
    tap = deployment.add_tap("tap_0")
    run = deployment.start()
    deployment.sandbox.wait_for(
        lambda sandbox: any(seen.operation == "close" and seen.status for seen in sandbox.requests("tap_0")),
        timeout=120,
    )
    run.send_signal(signal.SIGTERM)
    log = deployment.finish(run)
    assert len(deployment.sandbox.applied("tap_0")["User"]) == 250, log[-3000:]
    assert deployment.processes() == []
    assert (tap / "state.json").read_text() == state_line(), log[-3000:]
