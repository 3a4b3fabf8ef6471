"""Runs of the real command without the second that its imports take: hundreds of tests start one each.

`warm.py serve SOCKET` has imported the commands and forks a process for each run that it is asked for.
`warm.py run SOCKET PROGRAM WORD …` is what a test starts in the place of a command: it hands its own stdin,
stdout, stderr, environment and working folder over, passes signals on, and ends with the run's exit code.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DESCRIPTORS = 3


def serve(path: str) -> None:
    from target_sprinto import process
    from target_sprinto.cli.app import main
    from target_sprinto.singer.target import SprintoTarget
    from tests.support import sdk_taps

    # Not made before the fork: making it sets up the logging, which `sprintoctl` does without.
    programs = {
        "target-sprinto": lambda: process.run(lambda: SprintoTarget.cli()),  # noqa: PLW0108 - see above
        "sprintoctl": lambda: process.run(main),
        "sdk-tap": sdk_taps.main,
    }
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    while True:
        asked, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            watch(asked, programs)
        asked.close()


def watch(asked: socket.socket, programs: object) -> None:
    size = array.array("i")
    data, ancillary, _, _ = asked.recvmsg(1 << 20, socket.CMSG_LEN(DESCRIPTORS * size.itemsize))
    size.frombytes(ancillary[0][2])
    run = os.fork()
    if run == 0:
        asked.close()
        os._exit(become(programs, list(size), json.loads(data)))
    for descriptor in size:
        os.close(descriptor)
    asked.sendall(struct.pack("i", run))
    _, status = os.waitpid(run, 0)
    with suppress(OSError):
        asked.sendall(struct.pack("i", os.waitstatus_to_exitcode(status)))
    os._exit(0)


def become(programs: object, descriptors: list[int], wanted: dict[str, object]) -> int:
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    from target_sprinto.push.transport import timing

    os.environ.clear()
    os.environ.update(wanted["env"])  # type: ignore[call-overload]
    os.chdir(str(wanted["cwd"]))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = wanted["words"]  # type: ignore[assignment]
    # The contract's own waits, shortened in the one place where they stand.
    timing.current = timing.Pace(**wanted["pace"])  # type: ignore[arg-type]
    code = 0
    try:
        programs[sys.argv[0]]()  # type: ignore[index]
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    return code


def ask(path: str, wanted: dict[str, object], descriptors: list[int]) -> socket.socket:
    """Ask for a run; what is answered is its process's id, and in the end its exit code."""
    asking = socket.socket(socket.AF_UNIX)
    asking.connect(path)
    socket.send_fds(asking, [json.dumps(wanted).encode()], descriptors)
    return asking


def run(path: str, words: list[str]) -> None:
    started: list[int] = []
    early: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if not started:
            early.append(number)
        else:
            with suppress(ProcessLookupError):
                os.kill(started[0], number)

    for passed in SIGNALS:
        signal.signal(passed, pass_on)
    env = dict(os.environ)
    wanted = {"words": words, "cwd": os.getcwd(), "pace": json.loads(env.pop("TEST_PACE", "{}")), "env": env}
    asking = ask(path, wanted, list(range(DESCRIPTORS)))
    # Held here they would keep the run's pipes open.
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(DESCRIPTORS):
        os.dup2(nothing, descriptor)
    started.append(struct.unpack("i", asking.recv(4))[0])
    for missed in early:
        os.kill(started[0], missed)
    os._exit(struct.unpack("i", asking.recv(4))[0] & 0xFF)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        run(sys.argv[2], sys.argv[3:])
