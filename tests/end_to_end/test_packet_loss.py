"""Packets are lost for longer than a request may take: dropped by the kernel, in a network of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.front_door import state_line

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

ISOLATED = ["unshare", "--net", sys.executable, "-m", "tests.support.black_hole"]


def can_drop_packets() -> bool:
    tools = all(map(shutil.which, ("unshare", "ip", "iptables")))
    if not tools:
        return False
    listed = subprocess.run(["unshare", "--net", "iptables", "-L"], capture_output=True, check=False)
    return listed.returncode == 0


@pytest.mark.skipif(not can_drop_packets(), reason="needs root, iproute2 and iptables")
@pytest.mark.parametrize("pages_in_flight", [1, 8])
@pytest.mark.parametrize("dropped", ["requests", "responses", "both"])
def test_no_late_copy_follows_a_black_hole(tmp_path: Path, dropped: str, pages_in_flight: int) -> None:
    command = [*ISOLATED, str(tmp_path), dropped, str(pages_in_flight)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    stderr = (tmp_path / "stderr.txt").read_text()
    assert ran.returncode == 0, ran.stderr
    outcome = json.loads(ran.stdout)
    # The responses of pages and of the reads that followed were lost.
    assert "[response-lost] Checking whether Sprinto received page 2" in stderr
    assert "[not-connected] Trying again" in stderr
    arrived = "has arrived" if dropped == "responses" else "has not arrived: sending it again"
    assert f"Page 2 {arrived}" in stderr
    assert (outcome["code"], outcome["stdout"]) == (0, state_line()), stderr
    assert sorted(outcome["applied"]) == list(range(1500))
