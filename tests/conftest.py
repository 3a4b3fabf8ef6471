from __future__ import annotations

import fcntl
import gc
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from target_sprinto.sandbox import SandboxOptions
from tests.support import meltano_project, message_size, proxies
from tests.support.front_door import API_KEY, FrontDoor
from tests.support.sandbox import FaultySandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

# No deadline: the machine may be busy. `nox -s full` uses the second profile, which draws new examples each
# time; its findings must not fail the tests of an unrelated change.
for profile, examples in {"quick": 25, "thorough": 500}.items():
    settings.register_profile(
        profile,
        max_examples=examples,
        deadline=None,
        derandomize=profile == "quick",
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile("quick")

# Under `nohup` or in a background job, processes that tests start would inherit ignored signals.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The SDK warns on stderr about a Python past its end of life, which these tests do not expect.
if sys.version_info < (3, 11):
    os.environ["PYTHONWARNINGS"] = "ignore:Python 3.10 reached its end of life"

# This machine's proxy would be used for the sandbox and for hosts that must not exist.
proxies.set_aside()

# With a looser umask, test files could be writable by others, which the target rejects.
os.umask(0o022)

_numbers = itertools.count(1)


def pytest_collection_finish() -> None:
    """Exclude the tests themselves from garbage collection: they are many and live until the end."""
    gc.freeze()


@pytest.fixture(scope="session")
def sandbox() -> Iterator[FaultySandbox]:
    """One server for all tests: each test has its own integration, so they do not interfere."""
    with FaultySandbox(SandboxOptions(integrations=None, processing_seconds=0.02)) as running:
        yield running


@pytest.fixture
def integration_id() -> str:
    return f"integration-{next(_numbers)}"


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A socket's path must be shorter than pytest's folders."""
    with tempfile.TemporaryDirectory() as folder:
        message_size.note_long_messages(Path(folder, "warm.long"))
        yield Path(folder)


@pytest.fixture(autouse=True)
def messages_are_short(short_folder: Path) -> Iterator[None]:
    """Check that no error of this process, or of a command that a test runs, has too long a message."""
    report = short_folder / "warm.long"
    report.unlink(missing_ok=True)
    yield
    assert not report.exists(), report.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def warm(short_folder: Path) -> Iterator[str]:
    """The socket of a server that runs the real command without its import time."""
    path = str(short_folder / "warm")
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.warm", "serve", path], cwd=Path(__file__).parents[1]
    )
    while not Path(path).exists():
        assert server.poll() is None
        time.sleep(0.05)
    yield path
    server.kill()
    server.wait()


@pytest.fixture
def door(sandbox: FaultySandbox, integration_id: str, tmp_path: Path, warm: str) -> Iterator[FrontDoor]:
    opened = FrontDoor(sandbox, integration_id, tmp_path, warm)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def meltano(tmp_path_factory: pytest.TempPathFactory) -> meltano_project.Installed:
    """Meltano, installed once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "meltano.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return meltano_project.install(shared / "meltano")


@pytest.fixture
def project(
    meltano: meltano_project.Installed, sandbox: FaultySandbox, integration_id: str, tmp_path: Path
) -> meltano_project.Project:
    """A Meltano project with this repository's loader, in its own folder, configured for the sandbox."""
    folder = tmp_path / "project"
    (folder / ".meltano").mkdir(parents=True)
    (folder / ".meltano" / "loaders").symlink_to(meltano.project / ".meltano" / "loaders")
    # Without it, processes that start at the same time fail because they all try to create it.
    shutil.copy(meltano.project / ".meltano" / "meltano.db", folder / ".meltano")
    meltano_project.define_repository(folder)
    env = {
        "TARGET_SPRINTO_API_KEY": API_KEY,
        "TARGET_SPRINTO_INTEGRATION_ID": integration_id,
        "TARGET_SPRINTO_API_URL": sandbox.base_url,
        "TAP_PEOPLE_PATH": str(tmp_path / "people.json"),
    }
    return meltano_project.Project(meltano.program, folder, env)
