"""Meltano as a user runs it: separate processes in a project's folder, with this repository's loader.

Meltano is installed from the package index into its own environment, because it pins many packages.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support import proxies
from tests.support.front_door import API_KEY, SECRET
from tests.support.process_group import process_group

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

ROOT = Path(__file__).parent.parent.parent
VERSION = "4.4.1"
"""The tested version; `docs/meltano.md` describes what it does."""

TAP = "tap-people"
LOADER = "target-sprinto"
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Called:
    """A finished Meltano command; its log and its plugins' logs are on stderr."""

    code: int
    stdout: str
    stderr: str

    def errors(self, logger: str) -> list[str]:
        """The errors that one plugin, or Meltano itself, logged."""
        return re.findall(rf"^\S+ \[error +\] {logger} +(.*)", self.stderr, re.MULTILINE)


@dataclass(frozen=True)
class Installed:
    """Meltano's program, and a project with its loader installed."""

    program: Path
    project: Path


@dataclass(frozen=True)
class Project:
    """A project's folder. `env` holds settings, as `TARGET_SPRINTO_*` and `TAP_PEOPLE_*`."""

    program: Path
    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def started(self, *words: str, **env: str) -> AbstractContextManager[subprocess.Popen[str]]:
        """Start a command in its own process group, as a terminal does."""
        command: list[str | Path] = [self.program, *words]
        return process_group(command, environment() | self.env | env, cwd=self.folder, stdout=subprocess.PIPE)

    def finish(self, process: subprocess.Popen[str]) -> Called:
        """Wait for a started command. Check that its log does not contain the key."""
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert API_KEY not in err
        return Called(process.returncode, out, err)

    def call(self, *words: str, **env: str) -> Called:
        with self.started(*words, **env) as process:
            return self.finish(process)

    def run(self, *words: str, **env: str) -> Called:
        """`meltano run` of the tap and the loader. Check that its log contains no record value."""
        called = self.call("run", *(words or (TAP, LOADER)), **env)
        assert SECRET not in called.stderr
        return called

    def state(self, tap: str = TAP) -> Any:  # noqa: ANN401 - any JSON
        """The state that Meltano keeps and passes to the next run's tap, or None."""
        got = self.call("state", "get", f"dev:{tap}-to-{LOADER}")
        assert got.code == 0, got.stderr
        return json.loads(got.stdout).get("singer_state")

    def write_rows(self, last: int) -> None:
        """Write the tap's source: rows 1 to `last`."""
        rows = [row(number) for number in range(1, last + 1)]
        Path(self.env["TAP_PEOPLE_PATH"]).write_text(json.dumps(rows), encoding="utf-8")

    def definition(self) -> dict[str, Any]:
        """The project's `meltano.yml`."""
        return read_yaml(self.folder / "meltano.yml")

    def define(self, definition: dict[str, Any]) -> None:
        write_yaml(self.folder / "meltano.yml", definition)


def row(number: int) -> dict[str, Any]:
    return {"id": number, "name": f"{SECRET} {number}", "updated_at": f"2026-11-21T09:{number:02d}:00Z"}


def state_at(number: int) -> dict[str, Any]:
    """The tap's STATE after row `number`."""
    bookmark = {"replication_key": "updated_at", "replication_key_value": row(number)["updated_at"]}
    return {"bookmarks": {"people": bookmark}}


def install(folder: Path) -> Installed:
    """Install Meltano into an environment under `folder`, next to a project with the loader; once."""
    installed = Installed(folder / "env" / "bin" / "meltano", folder / "project")
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        installed.project.mkdir(parents=True)
        install_into(folder / "env", f"meltano=={VERSION}")
        define_repository(installed.project)
        fetched([installed.program, "install"], cwd=installed.project)
        (folder / "done").touch()
    return installed


def define_repository(project: Path) -> None:
    """This repository's `meltano.yml`, adapted for use from another folder."""
    definition = read_yaml(ROOT / "meltano.yml")
    (loader,), (tap,) = definition["plugins"]["loaders"], definition["plugins"]["extractors"]
    assert loader["pip_url"] == "-e .[sandbox]"
    loader["pip_url"] = f"-e {ROOT}[sandbox]"
    tap["executable"] = str(ROOT / tap["executable"])
    write_yaml(project / "meltano.yml", definition)


def install_into(env: Path, package: str) -> Path:
    """Install a package into its own environment; return the folder of its programs."""
    uv("venv", "--python", sys.executable, env)
    uv("pip", "install", "--python", env, package)
    return env / "bin"


def uv(*words: str | Path) -> None:
    """Run uv; skip the test if it is not installed."""
    program = [found] if (found := shutil.which("uv")) else [sys.executable, "-m", "uv"]
    if not found and importlib.util.find_spec("uv") is None:
        pytest.skip("uv is not installed: it makes Meltano's own environment")
    fetched([*program, *words])


def fetched(command: Sequence[str | Path], cwd: Path | None = None) -> None:
    """Run a command that uses the package index. Skip the test if the index is unreachable."""
    done = subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, encoding="utf-8", check=False
    )
    said = done.stderr + done.stdout
    if done.returncode and "error sending request for url" in said:
        pytest.skip(
            f"the package index cannot be reached, which {Path(command[0]).name} needs: {said[-500:]}"
        )
    assert done.returncode == 0, said[-3000:]


def environment() -> dict[str, str]:
    """This environment without variables that configure Meltano or its plugins, and without its Python."""
    foreign = ("MELTANO_", "TARGET_SPRINTO_", "TAP_", "VIRTUAL_ENV", "PYTHON", "PYTEST")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    # Lower case takes precedence: set both, or the machine's proxy would be used for the sandbox.
    direct = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    own = {"MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false", "NO_COLOR": "1"}
    return kept | proxies.of_this_machine() | direct | own


def read_yaml(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
