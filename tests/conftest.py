from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import front_door
import pytest
from front_door import FrontDoor

from target_sprinto.sandbox import Sandbox, SandboxOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """One server for all tests: each has an integration of its own, so they do not meet."""
    with Sandbox(SandboxOptions(integrations=None, processing_seconds=0.02)) as running:
        yield running


@pytest.fixture
def integration_id() -> str:
    return f"integration-{next(_numbers)}"


@pytest.fixture(scope="session")
def warm() -> Iterator[str]:
    """The socket of a server that runs the real command without the time of its imports."""
    # A socket's path must be short, which pytest's folders are not.
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/warm"
        server = subprocess.Popen(
            [sys.executable, str(Path(front_door.__file__).parent / "warm.py"), "serve", path]
        )
        while not Path(path).exists():
            assert server.poll() is None
            time.sleep(0.05)
        yield path
        server.kill()
        server.wait()


@pytest.fixture
def door(sandbox: Sandbox, integration_id: str, tmp_path: Path, warm: str) -> FrontDoor:
    return FrontDoor(sandbox, integration_id, tmp_path, warm)
