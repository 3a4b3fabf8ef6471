"""The pages about containers: their images are built and run if a container engine is available."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.test_schedulers import container
from tests.support.commands import DOCS, blocks
from tests.support.front_door import API_KEY, SECRET, as_input, people, state_line
from tests.support.meltano_project import ROOT, define_repository, read_yaml, row, state_at, uv, write_yaml
from tests.support.sandbox import Fault, Hang
from tests.support.schedulers import file_of, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.front_door import FrontDoor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BUILD, PIPE, STOP, ENV_FILE, STATUS, MELTANO = (
    block.text for block in blocks(DOCS / "docker.md") if block.mark == "docker"
)
PATIENCE_SECONDS = 400


@pytest.fixture(scope="module")
def engine() -> str:
    """A container engine that can run the pages' base image."""
    reasons = []
    for found in filter(None, map(shutil.which, ("docker", "podman"))):
        try_it = [found, "run", "--rm", "--network", "host", "python:3.13-slim", "true"]
        tried = subprocess.run(try_it, capture_output=True, encoding="utf-8", check=False)
        if tried.returncode == 0:
            return found
        reasons.append(f"{found}: {' '.join(tried.stderr.split())[:400]}")
    pytest.skip("; ".join(["no container engine runs here", *reasons]))


@dataclass(frozen=True)
class Shell:
    """Runs a page's commands unmodified, except for a unique container name."""

    folder: Path
    name: str

    @contextmanager
    def started(self, commands: str, options: str = "") -> Iterator[subprocess.Popen[str]]:
        commands = commands.replace("sprinto-hr", self.name).replace("--name evidence", f"--name {self.name}")
        with subprocess.Popen(
            ["bash", "-eu", "-o", "pipefail", "-c", commands],
            cwd=self.folder,
            env={**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "OPTIONS": options},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as process:
            try:
                yield process
            finally:
                removed = [str(self.folder / "bin/docker"), "rm", "--force", self.name]
                subprocess.run(removed, capture_output=True, check=False)

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """Return the exit code and the output."""
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert API_KEY not in out + err
        assert SECRET not in err
        return process.returncode, out + err

    def run(self, commands: str, options: str = "") -> str:
        with self.started(commands, options) as process:
            code, printed = self.finish(process)
        assert code == 0, printed[-3000:]
        return printed

    def stop(self) -> None:
        with self.started(STOP) as process:
            assert self.finish(process)[0] == 0


@pytest.fixture
def shell(door: FrontDoor, engine: str) -> Shell:
    """A shell whose `docker` is the engine; containers reach the sandbox as they would reach Sprinto."""
    on_host = 'if [ "$1" = run ]; then shift; set -- run --network host ${OPTIONS-} "$@"; fi'
    program(door.folder / "bin/docker", f'{on_host}\nexec {engine} "$@"')
    program(door.folder / "bin/tap-hr", "exec cat tap/*")
    (door.folder / "tap").mkdir()
    return Shell(door.folder, f"sprinto-{uuid.uuid4().hex[:8]}")


def settings(door: FrontDoor) -> dict[str, Any]:
    where = {"integration_id": door.integration_id, "api_url": door.sandbox.base_url}
    return {**where, "entity_types": {"people": "User"}}


def states(door: FrontDoor) -> list[str]:
    return [session.state for session in door.sessions()]


def build_wheel(folder: Path) -> str:
    """Build the wheel into `folder`; return its file name."""
    uv("build", "--quiet", "--wheel", "--out-dir", folder, ROOT)
    return next(folder.glob("*.whl")).name


def require_stopped(door: FrontDoor, shell: Shell, commands: str) -> None:
    """Check that the engine stops the container before the tap has finished."""
    (door.folder / "tap/1").write_bytes(as_input(people(100)[:-1]))
    os.mkfifo(door.folder / "tap/2")
    accepted = len(door.pages())
    with shell.started(commands) as process:
        with (door.folder / "tap/2").open("w"):
            door.wait_for_operation("push", accepted + 1, responded=True, within=PATIENCE_SECONDS)
            shell.stop()
        code, printed = shell.finish(process)
    assert code == 143, printed
    assert "Stopped by SIGTERM. Session " in printed
    assert states(door)[-1] == "cancelled"


def test_the_image_behind_a_pipe(door: FrontDoor, shell: Shell) -> None:
    shell.run(f"cd {ROOT}\n{BUILD}")
    config = {**settings(door), "api_key": API_KEY, "report_path": "receipt.json"}
    (door.folder / "config.json").touch(mode=0o600)
    (door.folder / "config.json").write_text(json.dumps(config))
    (door.folder / "tap/1").write_bytes(as_input(people(250)))
    shell.run(PIPE)
    assert (door.pages(), door.session().state) == ([100, 100, 50], "processed")
    assert (door.folder / "state.new").read_text() == state_line()
    receipt = json.loads((door.folder / "receipts/receipt.json").read_text())
    assert receipt["session"]["id"] == door.session().id
    assert "processed   1" in shell.run(STATUS)

    require_stopped(door, shell, PIPE)
    assert (door.folder / "state.new").read_text() == ""

    (door.folder / "tap/2").unlink()
    (door.folder / "tap/1").write_bytes(as_input(people(3)))
    variables = {f"TARGET_SPRINTO_{name.upper()}": value for name, value in config.items()}
    variables["TARGET_SPRINTO_ENTITY_TYPES"] = json.dumps(config["entity_types"])
    del variables["TARGET_SPRINTO_REPORT_PATH"]
    lines = [f"{name}={value}\n" for name, value in variables.items()]
    (door.folder / "sprinto.env").write_text("".join(lines))
    shell.run(ENV_FILE)
    assert states(door) == ["processed", "cancelled", "processed"]


def test_the_cron_jobs_script_in_its_image(door: FrontDoor, shell: Shell) -> None:
    page, folder = file_of("kubernetes.md", "Dockerfile"), door.folder / "image"
    program(folder / "tap-hr", "exec cat /tap/*")
    name = build_wheel(folder)
    for installed, instead in {
        "/opt/tap/bin/pip install --no-cache-dir tap-hr": "cp /tap-hr /opt/tap/bin/",
        "pip install --no-cache-dir target-sprinto": f"pip install --no-cache-dir /{name}",
        "RUN apt-get": f"COPY {name} tap-hr /\nRUN apt-get",
    }.items():
        assert page.count(installed) == 1
        page = page.replace(installed, instead)
    (folder / "Dockerfile").write_text(page)
    shell.run("docker build -t sprinto-cron-job image")

    for mounted in ("config", "key", "state", "work"):
        (door.folder / mounted).mkdir()
        (door.folder / mounted).chmod(0o777)
    (door.folder / "config/target.json").write_text(json.dumps(settings(door)))
    (door.folder / "key/api-key").write_text(API_KEY)
    mounts = [f"-v={door.folder}/{name}:/{name}" for name in ("config", "key", "state", "work", "tap")]
    rights = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=10001:10001"]
    words = [*container()["command"], *container()["args"]]
    run = ["docker", "run", "--rm", f"--name={shell.name}", *rights, *mounts, f"--entrypoint={words[0]}"]
    job = shlex.join([*run, "sprinto-cron-job", *words[1:]])

    (door.folder / "tap/1").write_bytes(as_input(people(250)))
    shell.run(job)
    require_stopped(door, shell, job)
    assert states(door) == ["processed", "cancelled"]
    assert (door.folder / "state/state.json").read_text() == state_line()


def test_meltano_in_a_container(door: FrontDoor, shell: Shell) -> None:
    plugins = door.folder / "plugins"
    for name in ("Dockerfile", ".dockerignore"):
        (door.folder / name).write_text(file_of("docker.md", name))
    define_repository(door.folder)
    definition = read_yaml(door.folder / "meltano.yml")
    (loader,), (tap,) = definition["plugins"]["loaders"], definition["plugins"]["extractors"]
    shutil.copytree(ROOT / "tests/meltano", plugins)
    (plugins / "people.json").write_text(json.dumps([row(number) for number in range(1, 4)]))
    loader["pip_url"] = f"./plugins/{build_wheel(plugins)}"
    tap.update(name="tap-hr", namespace="tap_hr", executable="./plugins/tap_people.py")
    definition["environments"] = [{"name": "dev"}]
    loader["config"], tap["config"] = settings(door), {"path": "plugins/people.json"}
    write_yaml(door.folder / "meltano.yml", definition)
    for secret in (".env", "sprinto.key"):
        (door.folder / secret).write_text(API_KEY)

    # The tap stalls after two rows, and Sprinto is slow to perform the discard.
    discard = Fault("close", integration_id=door.integration_id, effect=Hang(3))
    door.sandbox.inject(discard)
    with shell.started(MELTANO, "-e TAP_HR_STALL_AFTER=2 -e TARGET_SPRINTO_PAGE_SIZE=1") as process:
        door.wait_for_operation("push", 2, responded=True, within=PATIENCE_SECONDS)
        shell.stop()
        code, printed = shell.finish(process)
    assert code == 143, printed
    assert "Stopped by SIGTERM. Session " in printed
    assert states(door) == ["cancelled"]

    copied = shell.run("docker run --rm --entrypoint ls evidence -A /project")
    assert copied.split() == [".meltano", "meltano.yml", "plugins"]
    assert "3 rows since the beginning" in shell.run(MELTANO)
    assert "No records to send: no session was opened." in shell.run(MELTANO)
    assert (states(door), len(door.applied()["User"])) == (["cancelled", "processed"], 3)
    (kept,) = (door.folder / "state").rglob("state.json")
    assert json.loads(kept.read_text())["completed"]["singer_state"] == state_at(3)
