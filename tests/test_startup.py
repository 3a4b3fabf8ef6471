"""What the command loads before it does anything: every start pays for it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PEER = Path(__file__).parent.parent / "benchmarks/peer.py"
"""The start of a target as the SDK's template makes one."""


def loaded(*words: str) -> set[str]:
    """The modules that a Python process imports by its end."""
    message = subprocess.run(
        [sys.executable, "-X", "importtime", *words], check=True, capture_output=True, text=True
    )
    return set(re.findall(r"^import time: .*\| +(\S+)$", message.stderr, re.MULTILINE))


def test_start_up_loads_little_that_the_sdks_own_does_not() -> None:
    ours = loaded("-m", "target_sprinto", "--version")
    beside = {name.partition(".")[0] for name in ours - loaded(str(PEER), "--version")}
    # What it costs is measured by `benchmarks/startup.py`: look there before another one is added.
    assert beside - sys.stdlib_module_names == {"target_sprinto", "msgspec", "jsonschema_rs"}
    assert not [name for name in ours if name.startswith(("target_sprinto.sandbox", "target_sprinto.cli"))]


@pytest.mark.parametrize("command", ["main", "sprintoctl"])
def test_on_windows_one_line_says_that_it_is_not_supported(command: str) -> None:
    pretend = f"import sys; from target_sprinto import __main__; sys.platform = 'win32'; __main__.{command}()"
    ended = subprocess.run([sys.executable, "-c", pretend], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Windows is not supported")
    assert ended.stderr.count("\n") == 1
