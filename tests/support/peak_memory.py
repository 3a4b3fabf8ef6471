"""Peak memory of a run: the real command, cold, measured by the kernel."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.front_door import API_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.front_door import FrontDoor

MB = 1_000_000


def peak(door: FrontDoor, chunks: Iterator[bytes], **settings: Any) -> tuple[int, int, str]:  # noqa: ANN401
    """Return the exit code, the peak resident memory in bytes according to the kernel, and stderr."""
    process = door.start(cold=True, stdout=subprocess.DEVNULL, **settings)
    assert process.stdin is not None
    assert process.stderr is not None
    err: list[bytes] = []
    memory = [0]

    def watch() -> None:
        # The kernel's maximum. `wait4` would include the process that forked this one.
        while process.poll() is None:
            with contextlib.suppress(OSError):
                found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
                memory[0] = max(memory[0], int(found[1]) * 1024 if found else 0)
            time.sleep(0.01)

    reading = threading.Thread(target=lambda: err.append(process.stderr.read()))  # type: ignore[union-attr] # see above
    watching = threading.Thread(target=watch)
    reading.start()
    watching.start()
    with contextlib.suppress(BrokenPipeError):
        for chunk in chunks:
            process.stdin.write(chunk)
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.stdin = None
    process.wait(timeout=300)
    reading.join()
    watching.join()
    process.stderr.close()
    assert API_KEY.encode() not in err[0]
    assert memory[0] > 30 * MB
    return process.returncode, memory[0], err[0].decode()
