"""The commands in docs/meltano.md besides the first run, and what it says about Meltano's log."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto import __version__
from tests.support.commands import DOCS, blocks
from tests.support.front_door import SECRET
from tests.support.meltano_project import PATIENCE_SECONDS, ROOT, environment, row

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor
    from tests.support.meltano_project import Installed, Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BEFORE_THE_INDEX, A_JOB_EACH, RUN_EACH_JOB, FIND_THE_ERROR = (
    block.text for block in blocks(DOCS / "meltano.md") if block.mark == "meltano"
)


def typed(
    meltano: Path, folder: Path, commands: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    path = f"{meltano.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [shutil.which("bash") or "bash", "-ec", commands],
        cwd=folder,
        env=environment() | {"PATH": path} | (env or {}),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=2 * PATIENCE_SECONDS,
    )


def add_taps(project: Project, *taps: dict[str, Any]) -> None:
    definition = project.definition()
    definition["plugins"]["extractors"] += [{"inherit_from": "tap-people", **tap} for tap in taps]
    project.define(definition)


def test_before_publication_the_clone_is_installed(meltano: Installed, tmp_path: Path) -> None:
    (tmp_path / "target-sprinto").symlink_to(ROOT)
    walked = typed(
        meltano.program,
        tmp_path,
        f"meltano init evidence && cd evidence\n{BEFORE_THE_INDEX}meltano invoke target-sprinto --version",
    )
    assert walked.returncode == 0, walked.stderr[-3000:]
    assert f"target-sprinto v{__version__}" in walked.stdout


def test_pairs_in_one_command_stop_at_the_first_failure(project: Project, door: FrontDoor) -> None:
    project.write_rows(3)
    add_taps(project, {"name": "tap-a", "config": {"die_after": 1, "state_every": 9}}, {"name": "tap-b"})
    stopped = project.run("tap-a", "target-sprinto", "tap-b", "target-sprinto")
    assert stopped.code == 1
    assert door.applied() == {}

    both = typed(project.program, project.folder, A_JOB_EACH + RUN_EACH_JOB, project.env)
    assert both.returncode == 1, both.stderr[-3000:]
    assert door.applied() == {"User": [row(1), row(2), row(3)]}


def test_the_loaders_error_is_found_in_meltanos_log(project: Project) -> None:
    project.write_rows(1)
    add_taps(project, {"name": "tap-hr"})
    wrong = {**project.env, "TARGET_SPRINTO_API_KEY": "wr0ng-k3y"}
    *_, find = FIND_THE_ERROR.splitlines()
    typed(project.program, project.folder, FIND_THE_ERROR.removesuffix(f"{find}\n"), wrong)
    found = typed(project.program, project.folder, find)
    assert found.returncode == 0, (project.folder / "run.log").read_text()
    (line,) = found.stdout.splitlines()
    assert "While opening a session" in line
    assert line.endswith("[unauthorized]")


def test_meltanos_json_log_has_the_last_lines_fields(project: Project, door: FrontDoor) -> None:
    project.write_rows(3)
    ran = project.call("--log-format=json", "run", "tap-people", "target-sprinto")
    assert ran.code == 0, ran.stderr
    assert SECRET not in ran.stderr
    lines = [json.loads(line) for line in ran.stderr.splitlines() if line.startswith("{")]
    (last,) = [line for line in lines if "outcome" in line]
    assert (last["outcome"], last["records"], last["pages"]) == ("applied", {"User": 3}, 1)
    assert last["session_id"] == door.session().id
    assert "code" not in last


@pytest.mark.parametrize(
    "rule",
    [
        {"id": "id", "name": "name", "__else__": "__NULL__"},
        {"updated_at": "__NULL__", "_sdc_extracted_at": "__NULL__", "_file": "__NULL__"},
    ],
    ids=["all-unnamed", "each-by-name"],
)
def test_columns_added_by_a_tap_are_dropped(project: Project, door: FrontDoor, rule: dict[str, str]) -> None:
    added = {"_sdc_extracted_at": "2026-11-21T09:00:00Z", "_file": "/exports/people.csv"}
    Path(project.env["TAP_PEOPLE_PATH"]).write_text(json.dumps([row(1) | added]))
    definition = project.definition()
    definition["plugins"]["loaders"][0]["config"] = {"stream_maps": {"people": rule}}
    project.define(definition)
    ran = project.run()
    assert ran.code == 0, ran.stderr
    assert door.applied() == {"User": [{"id": 1, "name": row(1)["name"]}]}
