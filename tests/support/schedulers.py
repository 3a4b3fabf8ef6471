"""Schedulers set up as documented: the files in their pages, run once by the real program."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.commands import DOCS, blocks
from tests.support.front_door import API_KEY, as_input, people
from tests.support.meltano_project import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.support.meltano_project import Project
    from tests.support.sandbox import FaultySandbox

PATIENCE_SECONDS = 400


def file_of(page: str, name: str) -> str:
    (found,) = (block.text for block in blocks(DOCS / page) if block.mark == f"file: {name}")
    return found


def program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def programs(folder: Path, tap: str, target: Sequence[str] = (sys.executable, "-m", "target_sprinto")) -> str:
    """A PATH with the real target, and a tap that runs `tap`."""
    program(folder / "target-sprinto", f'exec {shlex.join(target)} "$@"')
    program(folder / "tap-hr", tap)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def add_script(folder: Path, sandbox: FaultySandbox, integration: str, **settings: object) -> Path:
    """A folder with the pipe-and-cron.md script, its config, and the output of `tap-hr`: 250 people."""
    folder.mkdir(parents=True)
    (folder / "push.sh").write_text(file_of("pipe-and-cron.md", "push.sh"), encoding="utf-8")
    config = {
        "api_key": API_KEY,
        "integration_id": integration,
        "api_url": sandbox.base_url,
        "entity_types": {"people": "User"},
        **settings,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "config.json").chmod(0o600)
    (folder / "input.singer").write_bytes(as_input(people(250)))
    return folder


def add_meltano(project: Project) -> dict[str, str]:
    """Add a `tap-hr` to the project; return the variables with which a scheduler finds Meltano and it."""
    definition = project.definition()
    definition["plugins"]["extractors"].append({"name": "tap-hr", "inherit_from": "tap-people"})
    project.define(definition)
    path = f"{project.program.parent}{os.pathsep}{os.environ['PATH']}"
    return project.env | {"PATH": path, "SPRINTO_PROJECT": str(project.folder)}


@dataclass(frozen=True)
class Scheduler:
    """Runs a page's file once: `command` in `home`."""

    home: Path
    command: Sequence[str | Path]
    env: Mapping[str, str]

    @contextmanager
    def started(self, **env: str) -> Iterator[subprocess.Popen[bytes]]:
        with (
            (self.home / "console.log").open("wb") as console,
            subprocess.Popen(
                self.command,
                cwd=self.home,
                env={**environment(), **self.env, **env},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def run(self, **env: str) -> int:
        with self.started(**env) as process:
            return process.wait(timeout=PATIENCE_SECONDS)

    def console(self) -> str:
        return (self.home / "console.log").read_text(encoding="utf-8")

    def log(self) -> str:
        """Everything it shows about a run: its console, and the files with each step's stderr."""
        kept = [path.read_text(encoding="utf-8") for path in self.home.rglob("*.err")]
        return "\n".join([self.console(), *kept])

    def left_running(self) -> list[str]:
        """Remaining processes of the pipes that it started."""
        listed = subprocess.run(["ps", "-eo", "args"], stdout=subprocess.PIPE, text=True, check=True).stdout
        return [line for line in listed.splitlines() if str(self.home) in line and "definitions" not in line]
