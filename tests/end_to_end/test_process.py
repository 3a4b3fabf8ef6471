"""The process around a run: what it inherits, resources that run out, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING

import pytest

from target_sprinto.process import BackgroundWriter
from target_sprinto.singer.state.output import write_state
from tests.support.front_door import (
    PAGE,
    PATIENCE_SECONDS,
    SCHEMA,
    SECRET,
    STATE,
    Finished,
    FrontDoor,
    as_input,
    end_of_input,
    feed,
    people,
    record,
    state_line,
)
from tests.support.sandbox import Fault, Hang, Respond

if TYPE_CHECKING:
    from pathlib import Path

    from target_sprinto.sandbox.operations import Operation

INVALID = record(1000, name=1000)


# After the STATE


RECEIPT = {"report_path": "receipt.json"}


@pytest.mark.parametrize(
    ("number", "settings"),
    [
        (signal.SIGTERM, {}),
        (signal.SIGINT, RECEIPT),
        pytest.param(signal.SIGHUP, {}, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, RECEIPT, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, {}, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, RECEIPT, marks=pytest.mark.slow),
    ],
)
def test_signals_after_the_state_do_not_change_the_outcome(
    door: FrontDoor, number: signal.Signals, settings: dict[str, str]
) -> None:
    """Signals are sent as fast as possible from the STATE until the process exits."""
    sent = 0
    # On a busy machine the process may exit before the test sends a signal.
    while not sent:
        process = door.start(cold=True, **settings)  # type: ignore[arg-type] # settings have any type
        feed(process, people(3))
        end_of_input(process)
        assert process.stdout is not None
        assert process.stdout.readline().decode() == state_line()
        while process.poll() is None:
            process.send_signal(number)
            sent += 1
        finished = door.finish(process, None)
        assert finished.code == 0
        assert "ERROR" not in finished.stderr
    if settings:
        assert json.loads((door.folder / "receipt.json").read_text())["exit_code"] == 0


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_signals_after_the_state_do_not_affect_sprintoctl_apply(
    door: FrontDoor, number: signal.Signals
) -> None:
    # A process may exit before the test sends it a signal: then try another one.
    while not signalled_apply(door, number):
        pass


def signalled_apply(door: FrontDoor, number: signal.Signals) -> bool:
    """Apply a held session, sending signals after the STATE; return whether at least one was sent."""
    receipt = f"receipt-{len(door.sessions())}.json"
    held = door.run(people(3), finish="hold", report_path=receipt)
    assert (held.code, held.stdout) == (0, ""), held.stderr
    session = door.sessions()[-1]
    words = ["apply", session.id, "--receipt", receipt, "--config", str(door.config())]
    process = door.start(*words, program="sprintoctl", cold=True)
    assert process.stdout is not None
    assert process.stdout.readline().decode() == state_line()
    sent = 0
    while process.poll() is None:
        process.send_signal(number)
        sent += 1
    finished = door.finish(process, None)
    assert finished.code == 0, finished.stderr
    assert "has processed session" in finished.stderr
    assert "Stopped by" not in finished.stderr
    assert door.sessions()[-1].state == "processed"
    return sent > 0


# Signals that the parent ignores


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGHUP])
def test_signals_ignored_by_the_parent_stay_ignored(door: FrontDoor, number: signal.Signals) -> None:
    """As under nohup, and in a background job of a shell."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        process = door.start(cold=True)
    finally:
        signal.signal(number, before)
    feed(process, PAGE)
    door.wait_for_operation("push", responded=True)
    process.send_signal(number)
    finished = door.finish(process, [STATE])
    assert (finished.code, finished.stdout) == (0, state_line())


# A stderr that is closed, or never read


@pytest.mark.parametrize("closed", ["2>&-", pytest.param("<&- 2>&-", marks=pytest.mark.slow), "2>/dev/full"])
def test_a_run_works_without_stderr(door: FrontDoor, closed: str) -> None:
    file = door.folder / "input.singer"
    file.write_bytes(as_input([SCHEMA, INVALID, *people(150)[1:]]))
    config = door.config(on_invalid_record="divert", report_path="receipt.json")
    process = door.start(
        "--config",
        str(config),
        "--input",
        str(file),
        through=["sh", "-c", f'exec "$@" {closed}', "sh"],
        cold=True,
    )
    finished = door.finish(process)
    assert (finished.code, finished.stdout, finished.stderr) == (0, state_line(), "")
    assert [entity["id"] for entity in door.applied()["people"]] == list(range(150))
    # No log line went into a file that was opened under stderr's descriptor.
    (rejects,) = (door.folder / "rejects").iterdir()
    assert [json.loads(line)["type"] for line in rejects.read_text().splitlines()] == ["SCHEMA", "RECORD"]
    assert json.loads((door.folder / "receipt.json").read_text())["outcome"] == "applied"


def test_closed_stdin_as_input_file_is_empty_input(door: FrontDoor) -> None:
    through = ["sh", "-c", 'exec "$@" <&-', "sh"]
    process = door.start("--config", str(door.config()), "--input", "-", through=through, cold=True)
    finished = door.finish(process)
    assert finished.code == 0
    assert "The input is empty" in finished.stderr


@pytest.mark.parametrize("level", ["DEBUG", "CRITICAL"])
def test_closed_stdout_puts_the_state_on_stderr(door: FrontDoor, level: str) -> None:
    process = door.start(
        through=["sh", "-c", 'exec "$@" >&-', "sh"],
        cold=True,
        env={"TARGET_SPRINTO_LOGLEVEL": level},
        report_path="receipt.json",
    )
    finished = door.finish(process, people(3))
    assert finished.code == 1
    assert "[state-not-written]" in finished.error
    assert state_line().strip() in finished.error
    assert json.loads((door.folder / "receipt.json").read_text())["state_went_to"] == "stderr"


class Stuck:
    """The write end of a pipe that is full."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        os.set_blocking(self.write, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self.write, b"x" * 4096)
        os.set_blocking(self.write, True)

    def read_until(self, end: bytes) -> str:
        """Return what is in the pipe and what follows, up to `end`."""
        said = b""
        while not said.endswith(end):
            said += os.read(self.read, 65_536)
        return said.decode().lstrip("x")

    def read_all(self) -> str:
        """Return what is in the pipe and what follows, until the last writer closes it."""
        os.close(self.write)
        with os.fdopen(self.read, "rb") as pipe:
            return pipe.read().decode().lstrip("x")


def test_a_stuck_stderr_does_not_block_a_run(door: FrontDoor) -> None:
    stuck = Stuck()
    process = door.start(stderr=stuck.write)
    out, _ = process.communicate(as_input(people(2000)), timeout=PATIENCE_SECONDS)
    assert (process.returncode, out.decode()) == (0, state_line())
    stuck.read_all()


def test_a_stuck_stderr_does_not_stop_keep_alive(door: FrontDoor) -> None:
    stuck = Stuck()
    door.sandbox.configure(door.integration_id, inactivity_timeout_seconds=1.5)
    process = door.midway(stderr=stuck.write)
    seen = door.operations().count("status")
    door.wait_for_operation("status", seen + 4)
    out, _ = process.communicate(as_input([STATE]), timeout=PATIENCE_SECONDS)
    assert (process.returncode, out.decode()) == (0, state_line())
    stuck.read_all()


def test_a_signal_is_handled_while_stderr_is_stuck(door: FrontDoor) -> None:
    stuck = Stuck()
    process = door.midway(stderr=stuck.write)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    door.wait_for_operation("close", responded=True)
    # Read again from now on, like a terminal after Ctrl-Q.
    said = stuck.read_all()
    process.wait(timeout=20)
    assert time.monotonic() - began < 10
    process.communicate()
    assert process.returncode == 143
    assert door.session().state == "cancelled"
    assert "Stopped by SIGTERM." in said.splitlines()[-1]


def test_a_signal_ends_a_run_with_a_stuck_stderr(door: FrontDoor) -> None:
    stuck = Stuck()
    process = door.midway(stderr=stuck.write)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)
    assert time.monotonic() - began < 10
    process.communicate()
    assert process.returncode == 143
    assert door.session().state == "cancelled"
    stuck.read_all()


def seconds_to_end(process: subprocess.Popen[bytes], stderr: int) -> float:
    """How long a process takes whose stderr is read by one that is behind: there is always some progress."""
    began = time.monotonic()
    while process.poll() is None:
        os.read(stderr, 512)
        time.sleep(0.1)
    return time.monotonic() - began


def test_an_error_ends_a_run_in_time_whose_stderr_is_read_slowly(door: FrontDoor) -> None:
    door.pace |= {"shutdown_timeout": 0.5}
    stuck = Stuck()
    door.sandbox.inject(Fault("close", times=99, integration_id=door.integration_id, effect=Hang()))
    invalid = [record(number, name=5) for number in range(200, 350)]
    settings = {"on_invalid_record": "divert", "max_rejects": 1000}
    process = door.midway([*PAGE, *invalid], stderr=stuck.write, **settings)
    os.close(stuck.write)
    feed(process, [b"{"])
    assert seconds_to_end(process, stuck.read) < 4
    assert process.returncode == 1


SIGNALLED = """
import os, signal, sys
from target_sprinto import process, signals
signals._EXIT_SECONDS = 0.5
def command():
    os.kill(os.getpid(), signal.SIGTERM)
    sys.stderr.write("x" * 150_000)
process.run(command)
"""


def test_a_signal_ends_a_process_in_time_whose_stderr_is_read_slowly() -> None:
    with subprocess.Popen([sys.executable, "-c", SIGNALLED], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        os.read(process.stderr.fileno(), 1)
        assert seconds_to_end(process, process.stderr.fileno()) < 4


def test_a_terminal_paused_by_ctrl_s_does_not_block_a_run(door: FrontDoor) -> None:
    ours, theirs = pty.openpty()
    termios.tcflow(theirs, termios.TCOOFF)
    process = door.start(stderr=theirs, env={"TERM": "xterm"})
    out, _ = process.communicate(as_input(people(150)), timeout=PATIENCE_SECONDS)
    assert (process.returncode, out.decode()) == (0, state_line())
    os.close(theirs)
    os.close(ours)


def test_a_custom_log_config_is_written_in_the_background_too(door: FrontDoor) -> None:
    """SINGER_SDK_LOG_CONFIG sets custom handlers."""
    stuck = Stuck()
    handler = {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}
    logs = {"version": 1, "handlers": {"own": handler}, "root": {"handlers": ["own"], "level": "DEBUG"}}
    path = door.folder / "logging.yaml"
    path.write_text(json.dumps(logs | {"disable_existing_loggers": False}))
    process = door.start(stderr=stuck.write, env={"SINGER_SDK_LOG_CONFIG": str(path)})
    out, _ = process.communicate(as_input(people(150)), timeout=PATIENCE_SECONDS)
    assert (process.returncode, out.decode()) == (0, state_line())
    stuck.read_all()


def test_a_full_log_buffer_drops_and_counts_the_oldest_lines() -> None:
    stuck = Stuck()
    writer = BackgroundWriter(stuck.write)
    writer.write(b"first\n")
    # This line could still be dropped until the writer's thread blocks on the full pipe with it.
    while not writer._busy:
        time.sleep(0.01)
    lines = [b"%07d %b\n" % (number, b"." * 991) for number in range(5000)]
    for line in lines:
        writer.write(line)
    read: list[str] = []
    reading = threading.Thread(target=lambda: read.append(stuck.read_until(lines[-1])))
    reading.start()
    writer.drain(5.0, 20.0)
    reading.join(timeout=20)
    (said,) = read
    _, _, rest = said.partition("first\n")
    note, _, kept = rest.partition("\n")
    count = int(note.removeprefix("(").split()[0])
    assert note == f"({count} lines were not shown: stderr was blocked.)"
    assert kept.encode() == b"".join(lines[count:])
    assert 3900 < count < 4000


# Resources that are missing or run out


def test_a_missing_working_folder_is_an_error_with_a_hint(door: FrontDoor, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    config = door.config()
    process = door.start(
        "--config",
        str(config),
        through=["sh", "-c", f'cd {gone} && rmdir {gone} && exec "$@"', "sh"],
        cold=True,
    )
    finished = door.finish(process, people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert "The working folder no longer exists." in finished.error
    assert "[settings]" in finished.error
    assert door.operations() == []


@pytest.mark.parametrize(
    ("broken", "shown"),
    [
        ("sys.modules['singer_sdk'] = None", "import of singer_sdk halted; None in sys.modules."),
        ("sys.modules['msgspec'] = type(sys)('msgspec')", "'msgspec' is not a package."),
        # As an older jsonschema, which a tap in the same environment has installed.
        (
            "from jsonschema import validators\ndel validators.Draft202012Validator",
            "has no attribute Draft202012Validator.",
        ),
        ("import msgspec\nmsgspec.Struct = int", "takes no keyword arguments."),
    ],
)
@pytest.mark.parametrize("program", [pytest.param("target-sprinto", marks=pytest.mark.slow), "sprintoctl"])
def test_a_broken_installation_is_reported(door: FrontDoor, program: str, broken: str, shown: str) -> None:
    (door.folder / "site").mkdir()
    (door.folder / "site" / "sitecustomize.py").write_text(f"import sys\n{broken}\n")
    env = {"PYTHONPATH": str(door.folder / "site")}
    finished = door.run(b"", "--version", cold=True, env=env, program=program)
    assert (finished.code, finished.stdout) == (1, "")
    (line,) = finished.stderr.splitlines()
    assert shown in line
    assert "The installation is broken" in line


def test_an_early_crash_shows_its_traceback() -> None:
    script = "from target_sprinto import process\nprocess.run(lambda: [].pop())"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[0].startswith("Traceback")
    assert ended.stderr.splitlines()[-1] == "IndexError: pop from empty list"


NO_MEMORY = """
import gzip
compress, pages = gzip.compress, []
def limited(*args, **kwargs):
    pages.append(1)
    if len(pages) == 2:
        raise MemoryError
    return compress(*args, **kwargs)
gzip.compress = limited
"""


def test_running_out_of_memory_is_an_error_with_a_hint(door: FrontDoor) -> None:
    """With a stub: memory use is bounded, so no real input can trigger this."""
    (door.folder / "site").mkdir()
    (door.folder / "site" / "sitecustomize.py").write_text(NO_MEMORY)
    env = {"PYTHONPATH": str(door.folder / "site")}
    finished = door.run(people(150), cold=True, env=env)
    assert (finished.code, finished.stdout) == (1, "")
    assert "[resources-exhausted]" in finished.error
    assert "Memory ran out." in finished.error
    assert door.session().state == "cancelled"


NO_THREADS = """
import threading, os, _thread
start, left = _thread.start_new_thread, [int(os.environ["THREADS"])]
def limited(*args, **kwargs):
    if not left[0]:
        raise RuntimeError("can't start new thread")
    left[0] -= 1
    return start(*args, **kwargs)
threading._start_new_thread = limited
if hasattr(threading, "_start_joinable_thread"):
    joinable = threading._start_joinable_thread
    def limited_joinable(*args, **kwargs):
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        return joinable(*args, **kwargs)
    threading._start_joinable_thread = limited_joinable
"""


def run_with_threads(door: FrontDoor, threads: int) -> Finished:
    (door.folder / "site").mkdir()
    (door.folder / "site" / "sitecustomize.py").write_text(NO_THREADS)
    env = {"PYTHONPATH": str(door.folder / "site"), "THREADS": str(threads)}
    finished = door.run(people(150), cold=True, env=env, retry_timeout_seconds=0)
    assert (finished.code, finished.stdout) == (1, "")
    assert "[resources-exhausted]" in finished.error
    assert "o thread could be started." in finished.error
    assert "(ulimit -u, -v, pids.max)" in finished.error
    assert "may be open" not in finished.error
    return finished


@pytest.mark.parametrize(
    "threads", [0, 2, *(pytest.param(threads, marks=pytest.mark.slow) for threads in (1, 3, 4))]
)
def test_running_out_of_threads_is_an_error_with_a_hint(door: FrontDoor, threads: int) -> None:
    run_with_threads(door, threads)
    assert all(session.state == "cancelled" for session in door.sessions())
    assert door.applied() == {}


@pytest.mark.slow
@pytest.mark.parametrize("threads", [5, 6, 7, 8, 9, 10])
def test_running_out_of_threads_discards_the_run_before_the_close(door: FrontDoor, threads: int) -> None:
    finished = run_with_threads(door, threads)
    is_closed = door.session().state in {"processing", "processed"}
    assert is_closed or door.session().state == "cancelled"
    assert is_closed == ("was sent an apply request, and may still be applied" in finished.error)


def test_the_state_is_written_even_if_no_thread_can_be_started(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    write_state(b'{"bookmarks":{}}', lambda: None)
    assert capfd.readouterr().out == '{"bookmarks":{}}\n'


@pytest.mark.parametrize("parallel", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_run_without_new_threads_is_discarded_at_once(door: FrontDoor, parallel: int) -> None:
    """With two parallel pages it fails while reading, with one at the status read before the close."""
    process = door.fed(people(200)[:12], cold=True, page_size=10, max_parallel_pages=parallel)
    door.wait_for_operation("push", responded=True)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (1 << 20, 1 << 20))
    began = time.monotonic()
    finished = door.finish(process, people(200)[12:])
    assert time.monotonic() - began < 10
    assert (finished.code, finished.stdout) == (1, "")
    assert "[resources-exhausted]" in finished.error
    assert f"Session {door.session().id} was discarded; nothing was applied." in finished.error
    assert door.session().state == "cancelled"
    assert door.applied() == {}


@pytest.mark.parametrize(
    ("fails_first", "operation"),
    [
        (True, "close"),
        pytest.param(False, "status", marks=pytest.mark.slow),
        pytest.param(True, "status", marks=pytest.mark.slow),
        pytest.param(False, "close", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_run_without_new_threads(
    door: FrontDoor, operation: Operation, *, fails_first: bool
) -> None:
    """Before the run fails, or during its discard: a hanging request is abandoned after 5 s."""
    hang = Fault(operation, moment="before", integration_id=door.integration_id, effect=Hang())
    door.sandbox.inject(hang)
    process = door.fed(people(200)[:12], cold=True, page_size=10, max_parallel_pages=1)
    door.wait_for_operation("push", responded=True)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (1 << 20, 1 << 20))
    if fails_first:
        feed(process, people(200)[12:])
        end_of_input(process)
        door.sandbox.wait_for(lambda box: bool(box.fired(door.integration_id)))
    began = time.monotonic()
    process.terminate()
    process.wait(timeout=20)
    assert time.monotonic() - began < 10
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (143, "")
    assert ("[resources-exhausted]" if fails_first else "Stopped by SIGTERM.") in finished.error
    assert f"Session {door.session().id} was discarded; nothing was applied." in finished.error
    assert door.session().state == "cancelled"
    assert door.applied() == {}


BUG = f"""
import uuid
def broken():
    raise ValueError("{SECRET}")

def uuid4():
    return broken()
uuid.uuid4 = uuid4
"""


def test_a_bug_is_reported_with_its_stack_but_no_value(door: FrontDoor) -> None:
    (door.folder / "site").mkdir()
    (door.folder / "site" / "sitecustomize.py").write_text(BUG)
    env = {"PYTHONPATH": str(door.folder / "site"), "TARGET_SPRINTO_LOGLEVEL": "DEBUG"}
    finished = door.run(people(3), cold=True, env=env)
    assert finished.code == 1
    assert "Unexpected ValueError in sitecustomize.py, line 4. This is a bug" in finished.error
    frames = [line for line in finished.stderr.splitlines() if "ValueError: " in line]
    assert len(frames) > 2
    assert "target.py, line " in "".join(frames)
    assert "sitecustomize.py, line 7, in uuid4" in frames[-2]
    assert "sitecustomize.py, line 4, in broken" in frames[-1]
    assert SECRET not in finished.stderr


def test_an_input_file_may_have_a_high_descriptor(door: FrontDoor, tmp_path: Path) -> None:
    """`select` does not support those above 1023."""
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1200:
        pytest.skip(f"only {hard} descriptors are allowed")
    code = f"""if True:
        import os, resource, sys
        resource.setrlimit(resource.RLIMIT_NOFILE, ({max(limit, 1200)}, {hard}))
        for _ in range(1100):
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)
        os.execv(sys.argv[1], sys.argv[1:])"""
    source = tmp_path / "people.singer"
    source.write_bytes(as_input(people(3)))
    words = ("--config", str(door.config()), "--input", str(source))
    finished = door.finish(door.start(*words, cold=True, through=(sys.executable, "-c", code)), None)
    assert (finished.code, finished.stdout) == (0, state_line())


def test_too_many_open_files_are_named(door: FrontDoor) -> None:
    busy = Respond(429, {"Retry-After": "1", "Connection": "close"})
    door.sandbox.inject(Fault("create", integration_id=door.integration_id, effect=busy))
    process = door.fed(people(3), retry_timeout_seconds=3, page_size=1)
    door.wait_for_operation("create", responded=True)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, 3))
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (75, "")
    assert (
        "there are too many open files. No session was opened. Raise the limit of open files"
        in finished.error
    )
    assert "[not-connected]" in finished.error
