"""What the command imports at startup, which every start pays for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PEER = Path(__file__).parent.parent / "benchmarks/peer.py"
"""The startup of a target made from the SDK's template."""


def loaded(*words: str) -> set[str]:
    """The modules that a Python process has imported when it ends."""
    message = subprocess.run(
        [sys.executable, "-X", "importtime", *words], check=True, capture_output=True, text=True
    )
    return set(re.findall(r"^import time: .*\| +(\S+)$", message.stderr, re.MULTILINE))


def test_startup_loads_little_more_than_the_sdk() -> None:
    ours = loaded("-m", "target_sprinto", "--version")
    beside = {name.partition(".")[0] for name in ours - loaded(str(PEER), "--version")}
    # `benchmarks/startup.py` measures the cost: run it before adding a module.
    assert beside - sys.stdlib_module_names == {"target_sprinto", "msgspec", "jsonschema_rs"}
    assert not [name for name in ours if name.startswith(("target_sprinto.sandbox", "target_sprinto.cli"))]


@pytest.mark.parametrize("command", ["main", "sprintoctl"])
def test_windows_is_reported_as_unsupported_in_one_line(command: str) -> None:
    pretend = f"import sys; from target_sprinto import __main__; sys.platform = 'win32'; __main__.{command}()"
    ended = subprocess.run([sys.executable, "-c", pretend], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Windows is not supported")
    assert ended.stderr.count("\n") == 1
