"""The pages of schedulers that cannot run here: bash runs their unmodified scripts."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest
import yaml

from tests.support.commands import DOCS, blocks
from tests.support.front_door import API_KEY, PATIENCE_SECONDS, as_input, people, state_line
from tests.support.meltano_project import install_into
from tests.support.schedulers import file_of, program, programs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.front_door import FrontDoor

KUBERNETES = "1.37"


# systemd


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_service_and_its_timer(tmp_path: Path) -> None:
    units = [tmp_path / f"sprinto-hr.{kind}" for kind in ("service", "timer")]
    for unit in units:
        unit.write_text(file_of("pipe-and-cron.md", unit.name), encoding="utf-8")
    verified = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, encoding="utf-8", check=False
    )
    # The output also mentions the machine's own units.
    assert [line for line in (verified.stdout + verified.stderr).splitlines() if "sprinto" in line] == []


# Prometheus


def test_metrics_are_only_replaced_by_valid_metrics(tmp_path: Path) -> None:
    (script,) = (block.text for block in blocks(DOCS / "monitoring.md") if "openmetrics" in block.text)
    (tmp_path / "sprinto.prom").write_text("old")
    program(tmp_path / "bin/sprintoctl", "exit 1")
    env = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    script = script.replace("/var/lib/node_exporter", str(tmp_path))
    assert subprocess.run(["bash", "-c", script], env=env, check=False).returncode == 1
    assert (tmp_path / "sprinto.prom").read_text() == "old"


# Kubernetes


def cron_job() -> dict[str, Any]:
    return dict(yaml.safe_load(file_of("kubernetes.md", "cronjob.yaml")))


def container() -> dict[str, Any]:
    pod = cron_job()["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (only,) = pod["containers"]
    return dict(only)


WAYS = ("tap", "key", "code", "kept")
ENDINGS = {
    "applied": ("cat input.singer", API_KEY, 0, True),
    "the tap fails after its STATE": ("cat input.singer; exit 1", API_KEY, 1, True),
    "no final STATE": ("head -n 2 input.singer", API_KEY, 1, False),
    "a wrong key": ("cat input.singer", "another-key", 1, False),
}
HANGS = "for _ in $(seq 34); do cat input.singer; done; exec sleep 600"  # after more than a page


def run_script(door: FrontDoor, script: str, tap: str, **env: str) -> int:
    (door.folder / "input.singer").write_bytes(as_input(people(3)))
    path = programs(door.folder / "bin", tap, door.command("target-sprinto"))
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


def script_of_the_cron_job(door: FrontDoor, key: str) -> str:
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
    mounted = "|".join(one["mountPath"] for one in container()["volumeMounts"])
    script = re.sub(rf"(?=(?:{mounted})/)", str(door.folder), script)
    return script.replace("set -u", "set +e -u")


@pytest.mark.parametrize(
    WAYS, [*ENDINGS.values(), (HANGS, "another-key", 1, False)], ids=[*ENDINGS, "a tap that hangs"]
)
def test_the_script_of_the_cron_job(door: FrontDoor, tap: str, key: str, code: int, *, kept: bool) -> None:
    assert run_script(door, script_of_the_cron_job(door, key), tap) == code
    require_kept(door, door.folder / "state/state.json", kept=kept)


def test_a_job_beside_another_one_does_nothing(door: FrontDoor) -> None:
    """`Forbid` does not apply to a Job that a person creates."""
    script = script_of_the_cron_job(door, API_KEY)
    with (door.folder / "state/run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run_script(door, script, "cat input.singer") == 75
    require_kept(door, door.folder / "state/state.json", kept=False)


# Dagster


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_log_that_fails_does_not_hold_up_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Dagster's does if its storage cannot be reached."""
    monkeypatch.setitem(sys.modules, "dagster", MagicMock())
    definitions: dict[str, Any] = {}
    exec(file_of("dagster.md", "definitions.py"), definitions)  # noqa: S102 - our own file
    # More than a pipe holds.
    program(tmp_path / "push.sh", "seq 100000")
    context = MagicMock()
    context.log.info.side_effect = OSError
    definitions["push"](context, tmp_path)


# GitHub Actions

WORKFLOW = ".github/workflows/sprinto.yml"


def step_of_the_workflow(door: FrontDoor) -> str:
    steps = yaml.safe_load(file_of("github-actions.md", WORKFLOW))["jobs"]["push"]["steps"]
    (script,) = (step["run"] for step in steps if "run" in step)
    config = {"api_url": door.sandbox.base_url, "integration_id": door.integration_id}
    (door.folder / "config.json").write_text(json.dumps({**config, "entity_types": {"people": "User"}}))
    return str(script.replace("uvx ", ""))


@pytest.mark.parametrize(WAYS, ENDINGS.values(), ids=ENDINGS)
def test_the_step_of_the_workflow(door: FrontDoor, tap: str, key: str, code: int, *, kept: bool) -> None:
    tap = f'test -z "$TARGET_SPRINTO_API_KEY" && {{ {tap}; }}'
    assert run_script(door, step_of_the_workflow(door), tap, TARGET_SPRINTO_API_KEY=key) == code
    require_kept(door, door.folder / "state.json", kept=kept)


def test_a_step_that_cannot_keep_its_state_fails(door: FrontDoor) -> None:
    script = step_of_the_workflow(door)
    program(door.folder / "bin/mv", "exit 5")
    assert run_script(door, script, "cat input.singer", TARGET_SPRINTO_API_KEY=API_KEY) == 1
    assert len(door.applied()["User"]) == 3


def test_each_attempt_of_the_workflow_saves_and_restores_its_state() -> None:
    steps = yaml.safe_load(file_of("github-actions.md", WORKFLOW))["jobs"]["push"]["steps"]
    restored, saved = (step["with"] for step in steps if "cache" in step.get("uses", ""))
    assert restored["key"] == saved["key"]
    assert saved["key"].endswith("${{ github.run_id }}-${{ github.run_attempt }}")
    assert saved["key"].startswith(restored["restore-keys"])


def test_githubs_schema_accepts_the_workflow(tmp_path: Path) -> None:
    (tmp_path / "sprinto.yml").write_text(file_of("github-actions.md", WORKFLOW), encoding="utf-8")
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    checked = subprocess.run(
        [*check, str(tmp_path / "sprinto.yml")], capture_output=True, encoding="utf-8", check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.slow
def test_the_kubernetes_schema_accepts_the_cron_job(tmp_path: Path) -> None:
    validate = install_into(tmp_path / "env", f"kubernetes-validate=={KUBERNETES}.0") / "kubernetes-validate"
    (tmp_path / "cronjob.yaml").write_text(file_of("kubernetes.md", "cronjob.yaml"), encoding="utf-8")
    checked = subprocess.run(
        [validate, "--strict", "-k", KUBERNETES, tmp_path / "cronjob.yaml"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
