"""What the command loads before it does anything: every start pays for it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

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
