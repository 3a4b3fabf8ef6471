"""A run whose packets the kernel drops for a while: `unshare --net python -m tests.support.black_hole …`.

In a network of its own, which needs root, packets to or from the sandbox are dropped for longer than a
request may take. Writes the outcome as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

from target_sprinto.sandbox import Sandbox, SandboxOptions
from tests.support.front_door import API_KEY, PAGE, end_of_input, feed, people

REQUEST_SECONDS = 5
HOLE_SECONDS = 14
"""The kernel sends a lost packet again after 0.2, 0.6, 1.4, 3, 6.2, 12.6 and 25.4 s."""

INTEGRATION = "behind-a-hole"
ENDS = {"requests": ["--dport"], "responses": ["--sport"], "both": ["--dport", "--sport"]}


def drop(change: str, port: int, dropped: str) -> None:
    """Change (`-I`, `-D`) the rules that drop packets."""
    for end in ENDS[dropped]:
        rule = ["INPUT", "-p", "tcp", end, str(port), "-j", "DROP"]
        subprocess.run(["iptables", change, *rule], check=True)


def start(folder: Path, base_url: str, pages_in_flight: int) -> subprocess.Popen[bytes]:
    settings = {
        "api_key": API_KEY,
        "api_url": base_url,
        "integration_id": INTEGRATION,
        "unmapped_streams": "keep",
        "max_parallel_pages": pages_in_flight,
        "request_timeout_seconds": REQUEST_SECONDS,
    }
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    with (folder / "stderr.txt").open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "target_sprinto", "--config", str(folder / "config.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )


def main(folder: Path, dropped: str, pages_in_flight: int) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with Sandbox(SandboxOptions(api_key=API_KEY, integrations=None)) as sandbox:
        port = int(sandbox.base_url.split(":")[2].partition("/")[0])
        process = start(folder, sandbox.base_url, pages_in_flight)
        messages = people(1500)
        feed(process, messages[: len(PAGE)])
        while not (opened := sandbox.sessions(INTEGRATION)) or not opened[0].accepted_batches:
            time.sleep(0.05)
        drop("-I", port, dropped)
        # The target stops reading while a page is in doubt.
        writing = threading.Thread(target=feed, args=(process, messages[len(PAGE) :]))
        writing.start()
        time.sleep(HOLE_SECONDS)
        drop("-D", port, dropped)
        writing.join()
        end_of_input(process)
        out, _ = process.communicate()
        people_applied = [json.loads(one)["id"] for one in sandbox.applied(INTEGRATION).get("people", [])]
        outcome = {"code": process.returncode, "stdout": out.decode(), "applied": people_applied}
        sys.stdout.write(json.dumps(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
