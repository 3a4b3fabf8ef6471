"""Runs the real command without the second that its imports take, for hundreds of tests.

`warm.py serve SOCKET` imports the commands once and forks a process for each requested run.
`WarmProcess` requests one: it hands over stdin, stdout, stderr, environment and working folder. If another
program starts the command, `warm.py run SOCKET PROGRAM WORD …` makes the request, passes signals on, and ends
with the run's exit code.
"""

from __future__ import annotations

import codecs
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DESCRIPTORS = 3


def serve(path: str) -> None:
    from target_sprinto import process
    from target_sprinto.cli.app import main
    from target_sprinto.singer.target import SprintoTarget
    from tests.support import message_size, sdk_taps

    message_size.note_long_messages(Path(f"{path}.long"))
    # Not created before the fork: creating it sets up logging, which `sprintoctl` does not do.
    programs = {
        "target-sprinto": lambda: process.run(lambda: SprintoTarget.cli()),  # noqa: PLW0108 - see above
        "sprintoctl": lambda: process.run(main),
        "sdk-tap": sdk_taps.main,
        "python": run_script,
    }
    # Late imports of a run, and package versions, which it would look up again.
    metadata.version = functools.cache(metadata.version)
    for late in ("target_sprinto.sandbox", "target_sprinto.receipts.keys"):
        importlib.import_module(late)
    SprintoTarget.print_version(print_fn=lambda _: None)
    codecs.lookup("utf-8-sig")
    listener = socket.socket(socket.AF_UNIX)
    # The name appears only once the socket listens.
    listener.bind(f"{path}.new")
    listener.listen(64)
    os.rename(f"{path}.new", path)
    running: dict[int, socket.socket] = {}
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    # Garbage collection in a run would copy the memory that it shares with this process.
    gc.freeze()
    while True:
        waiting: list[Any] = [listener, ended]
        ready, _, _ = select.select(waiting, [], [])
        if ended in ready:
            os.read(ended, 4096)
            reap(running)
        if listener in ready:
            asked, _ = listener.accept()
            descriptors, wanted = received(asked)
            if wanted is None:
                asked.close()
                continue
            if (run := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for inherited in (listener, asked, *running.values()):
                    inherited.close()
                for descriptor in (ended, wake):
                    os.close(descriptor)
                os._exit(become(programs, descriptors, wanted))
            for descriptor in descriptors:
                os.close(descriptor)
            running[run] = asked
            response(asked, run)


def run_script() -> None:
    """Do the same as `python FILE WORD …`, `python - WORD …` and `python -c CODE`."""
    import runpy

    sys.argv = sys.argv[1:]
    if sys.argv[0] not in ("-", "-c"):
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        code = sys.stdin.read() if sys.argv[0] == "-" else sys.argv.pop(1)
        exec(code, {"__name__": "__main__"})  # noqa: S102 - its purpose


def received(asked: socket.socket) -> tuple[list[int], dict[str, Any] | None]:
    """Return the request, one line; nothing if the test has ended."""
    data, descriptors, _, _ = socket.recv_fds(asked, 1 << 20, DESCRIPTORS)
    # An environment of several kilobytes may arrive in parts.
    while not data.endswith(b"\n"):
        if not (more := asked.recv(1 << 20)):
            for descriptor in descriptors:
                os.close(descriptor)
            return [], None
        data += more
    return descriptors, json.loads(data)


def reap(running: dict[int, socket.socket]) -> None:
    while running:
        run, status = os.waitpid(-1, os.WNOHANG)
        if run == 0:
            return
        with running.pop(run) as asked:
            response(asked, os.waitstatus_to_exitcode(status))


def response(asked: socket.socket, number: int) -> None:
    # The test may have ended.
    with suppress(OSError):
        asked.sendall(struct.pack("i", number))


class WarmProcess(subprocess.Popen[bytes]):
    """A run of the server at `path`, in place of a child process. `command` is the program and its words."""

    def __init__(self, path: str, command: list[str], pace: dict[str, float], **options: Any) -> None:
        self._path = path
        self._pace = pace
        super().__init__(command, **options)

    def _execute_child(self, *given: Any) -> None:
        # In Python 3.10 to 3.14: words first, cwd and env at 5 and 6, pipes from 10 to 15.
        words, cwd, env, pipes = given[0], given[5], given[6], given[10:16]
        wanted = {"words": words, "cwd": str(cwd), "pace": self._pace, "env": env}
        self._asking = ask(self._path, wanted, [pipes[0], pipes[3], pipes[5]])
        self.pid = struct.unpack("i", self._asking.recv(4))[0]
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined] # a private attribute

    def _internal_poll(self, **_: object) -> int | None:
        return self._ended_within(0)

    def _wait(self, timeout: float | None) -> int:
        code = self._ended_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended_within(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._asking], [], [], seconds)[0]:
            self.returncode = struct.unpack("i", self._asking.recv(4))[0]
            self._asking.close()
        return self.returncode


def become(programs: object, descriptors: list[int], wanted: dict[str, object]) -> int:
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    from target_sprinto.push.api_calls import ApiClient
    from target_sprinto.push.timing import Timings

    sys.dont_write_bytecode = True
    os.environ.clear()
    os.environ.update(wanted["env"])  # type: ignore[call-overload]
    os.chdir(str(wanted["cwd"]))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = wanted["words"]  # type: ignore[assignment]
    # Shorten the contract's waits in the one place that defines them.
    ApiClient.timings = Timings(**wanted["pace"])  # type: ignore[arg-type]
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
    """Request a run; the response is its process id and, at the end, its exit code."""
    asking = socket.socket(socket.AF_UNIX)
    try:
        asking.connect(path)
        line = json.dumps(wanted).encode() + b"\n"
        sent = socket.send_fds(asking, [line], descriptors)
        # Once everything is sent, the run may have ended, and another send would raise EPIPE.
        if sent < len(line):
            asking.sendall(line[sent:])
    except BaseException:
        asking.close()
        raise
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
    # If they stayed open here, the run's pipes would too.
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
