"""A project that the README's commands create with `meltano init` in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.front_door import API_KEY
from tests.support.meltano_project import PATIENCE_SECONDS, ROOT, environment, read_yaml, row, uv, write_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.front_door import FrontDoor
    from tests.support.meltano_project import Installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """The wheels that the package index will have once this version is published."""
    folder = tmp_path / "wheels"
    uv("build", "--quiet", "--wheel", "--out-dir", folder, ROOT)
    return folder


def tap_named_hr(people: Path) -> dict[str, object]:
    (tap,) = read_yaml(ROOT / "meltano.yml")["plugins"]["extractors"]
    for setting in tap["settings"]:
        if setting["name"] == "path":
            setting["value"] = str(people)
    named = {"name": "tap-hr", "namespace": "tap_hr", "executable": str(ROOT / tap["executable"])}
    return {**tap, **named}


def test_the_readmes_commands_create_a_working_project(
    meltano: Installed, door: FrontDoor, wheels: Path, tmp_path: Path
) -> None:
    found = re.search(r"<!-- meltano -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert found
    empty = tmp_path / "empty"
    empty.mkdir()
    people, tap = tmp_path / "people.json", tmp_path / "tap-hr.yml"
    people.write_text(json.dumps([row(1), row(2)]))
    write_yaml(tap, tap_named_hr(people))
    commands = found[1].replace("../target-sprinto", str(ROOT)).replace("employees", "people")
    commands = commands.replace("meltano run ", f"meltano add tap-hr --from-ref {tap}\nmeltano run ")
    walked = subprocess.run(
        [shutil.which("bash") or "bash", "-ec", commands],
        cwd=empty,
        env=environment()
        | {
            "PATH": f"{meltano.program.parent}{os.pathsep}{os.environ['PATH']}",
            "UV_FIND_LINKS": str(wheels),
            "SPRINTO_API_KEY": API_KEY,
            "SPRINTO_INTEGRATION_ID": door.integration_id,
            "TARGET_SPRINTO_API_URL": door.sandbox.base_url,
        },
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=2 * PATIENCE_SECONDS,
    )
    assert walked.returncode == 0, walked.stderr[-3000:]
    assert "OK: the API key is accepted for integration " in walked.stdout
    assert door.applied() == {"User": [row(1), row(2)]}
    assert API_KEY not in walked.stdout + walked.stderr
    assert API_KEY not in (empty / "evidence" / "meltano.yml").read_text()
    (loader,) = read_yaml(empty / "evidence" / "meltano.yml")["plugins"]["loaders"]
    assert loader["pip_url"] == "target-sprinto"
    package = next((empty / "evidence/.meltano/loaders").glob("*/venv/lib/*/site-packages/target_sprinto"))
    assert package.is_dir()
