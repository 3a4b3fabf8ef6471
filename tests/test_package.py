"""The package as users get it: built, inspected, installed in a fresh environment, run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from tests.support import proxies
from tests.support.front_door import API_KEY, as_input, people, state_line

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parent.parent
ENV = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
ENV["NO_PROXY"] = "127.0.0.1"


def uv(*words: str | Path) -> None:
    # In the project's folder: its pyproject.toml limits packages to a date.
    subprocess.run(["uv", *words], check=True, cwd=ROOT, env=ENV | proxies.of_this_machine())


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel, built from the working tree, and the source distribution."""
    folder = tmp_path_factory.mktemp("built")
    uv("build", "--quiet", "--wheel", "--sdist", "--out-dir", folder)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


class Environment:
    """A virtual environment with the wheel, isolated from this one."""

    def __init__(self, folder: Path, wheel: Path, extra: str = "") -> None:
        self._bin = folder / "venv" / "bin"
        self.folder = folder
        uv("venv", "--quiet", "--python", sys.executable, folder / "venv")
        uv(
            "pip",
            "install",
            "--quiet",
            "--python",
            self._bin / "python",
            f"target-sprinto{extra} @ {wheel.as_uri()}",
        )

    def command(self, *words: str) -> list[str]:
        return [str(self._bin / words[0]), *words[1:]]

    def run(self, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[str]:
        finished = subprocess.run(
            self.command(*words), input=given, capture_output=True, check=False, cwd=self.folder, env=ENV
        )
        out, err = finished.stdout.decode(), finished.stderr.decode()
        assert "Traceback" not in err
        return subprocess.CompletedProcess(words, finished.returncode, out, err)


@pytest.fixture(scope="session")
def bare(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Without extras."""
    return Environment(tmp_path_factory.mktemp("bare"), built[0])


def test_the_wheel_contains_only_the_package(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as wheel:
        names = set(wheel.namelist())
    about = {name for name in names if name.startswith("target_sprinto-")}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "target_sprinto").rglob("*.py")}
    assert names - about - modules == {
        "target_sprinto/py.typed",
        "target_sprinto/cli/demo_data/config.json",
        "target_sprinto/cli/demo_data/entities.json",
        "target_sprinto/cli/demo_data/input.singer",
        "target_sprinto/receipts/receipt.schema.json",
        "target_sprinto/receipts/history.html",
        "target_sprinto/receipts/receipt.html",
        "target_sprinto/receipts/receipt_tables.html",
        "target_sprinto/receipts/style.css",
        "target_sprinto/sandbox/web_page.html",
        "target_sprinto/singer/schemas/user_entity_schema.json",
    }
    assert modules < names
    assert {name.partition("/")[2] for name in about} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }


def test_the_source_distribution_builds_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, sdist = built
    with tarfile.open(sdist) as packed:
        names = [name.partition("/")[2] for name in packed.getnames()]
    unwanted = r"__pycache__|\.pyc$|_cache/|^\.(?!gitignore|dockerignore|ci/|github/)"
    assert not [name for name in names if re.search(unwanted, name)]
    assert {"tests/conftest.py", "noxfile.py", "README.md", "LICENSE", "CHANGELOG.md"} < set(names)
    # The tests read all of them. (Outside a repository, git lists none.)
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert set(listed.stdout.splitlines()) - set(names) == set()
    uv("build", "--quiet", "--wheel", "--out-dir", tmp_path, sdist)
    (again,) = tmp_path.glob("*.whl")
    assert again.read_bytes() == wheel.read_bytes()


def test_a_fresh_environment_without_extras_runs_a_whole_pipeline(bare: Environment, door: FrontDoor) -> None:
    where = bare.run("python", "-c", "import target_sprinto as package; print(package.__file__)").stdout
    assert Path(where).is_relative_to(bare.folder)
    assert not (Path(where).parents[1] / "aiohttp").exists()
    assert re.fullmatch(
        r"target-sprinto v\d\S+, Meltano SDK v\d\S+\n", bare.run("target-sprinto", "--version").stdout
    )
    assert (
        json.loads(bare.run("target-sprinto", "--about", "--format=json").stdout)["name"] == "target-sprinto"
    )
    assert bare.run("sprintoctl", "--version").returncode == 0
    config = str(door.config())
    finished = bare.run("target-sprinto", "--config", config, given=as_input(people(120)))
    assert (finished.returncode, finished.stdout) == (0, state_line()), finished.stderr
    assert len(door.applied()["people"]) == 120
    checked = bare.run("sprintoctl", "check", "--config", config)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert API_KEY not in checked.stdout


@pytest.mark.parametrize("command", ["sandbox", "demo"])
def test_a_missing_extra_is_named_in_the_error(bare: Environment, command: str) -> None:
    finished = bare.run("sprintoctl", command)
    assert (finished.returncode, finished.stdout) == (1, "")
    (line,) = finished.stderr.splitlines()
    assert "pip install 'target-sprinto[sandbox]'" in line


def test_the_sandbox_and_the_demo_run_with_the_extra(built: tuple[Path, Path], tmp_path: Path) -> None:
    whole = Environment(tmp_path, built[0], "[sandbox]")
    demo = whole.run("sprintoctl", "demo")
    assert demo.returncode == 0, demo.stderr
    assert "160  User" in demo.stdout
    with subprocess.Popen(
        whole.command("sprintoctl", "sandbox", "--port", "0"),
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=ENV,
    ) as served:
        assert served.stdout is not None
        found = re.search(r"page: (http://\S+)", served.stdout.readline())
        assert found
        assert "</html>" in requests.get(found[1], timeout=10).text
        served.send_signal(signal.SIGINT)
        assert served.wait(timeout=10) == 0
