"""Runs of the real command without a process of the test in between: some tens of milliseconds each.

The server of `warm.py` forks them; stdin is a pipe, stdout and stderr are files, and the exit code is
the operating system's.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import struct
import tempfile
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from tests.support import front_door, warm
from tests.support.receipts import read_receipt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from target_sprinto.sandbox import Session
    from tests.support.sandbox import FaultySandbox

SECRET_NUMBER = 86753090210
"""Digits that tests put into numbers of records: they must never appear on stderr."""

RECEIPT = "receipt.json"
"""The `report_path`, in a run's own folder."""

HANG_SECONDS = 30
"""Far more than a run can need here, even on a busy machine."""

_CODE = re.compile(r"\[([a-z-]+)\]$")
_BREAKS = ("Traceback", "Exception in thread", "Exception ignored", "| CRITICAL")


class HungError(Exception):
    """A run did not end."""


@dataclass(frozen=True)
class Ran:
    """The result of a run: exit code, stdout, stderr and duration."""

    code: int
    stdout: bytes
    stderr: str
    seconds: float

    @property
    def errors(self) -> list[str]:
        """The error lines."""
        return [line.split(" | ", 3)[3] for line in self.stderr.splitlines() if "| ERROR" in line]

    @property
    def error(self) -> str:
        """The single error line."""
        (only,) = self.errors
        return only

    @property
    def ending(self) -> str:
        """The error code at the end of that line; "0" if nothing went wrong."""
        if self.code == 0:
            return "0"
        found = _CODE.search(self.error)
        return found[1] if found else "no code"

    def __str__(self) -> str:
        return f"exit {self.code} after {self.seconds:.1f} s, stdout {self.stdout!r}, stderr:\n{self.stderr}"


@dataclass
class Place:
    """Where runs take place: a sandbox, the server that forks them, and a folder for their files.

    `pace` shortens the contract's waits. `runs` counts the processes started here.
    """

    sandbox: FaultySandbox
    warm: str
    folder: Path
    pace: Mapping[str, float] = field(default_factory=dict)
    runs: int = 0
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new_integration(self) -> str:
        """A new integration for each run, so that runs do not interfere."""
        return f"integration-{next(self._numbers)}"

    def folder_of(self, integration_id: str) -> Path:
        """The folder of one run's files."""
        folder = self.folder / integration_id
        folder.mkdir(exist_ok=True)
        return folder

    def run(self, integration_id: str, stdin: bytes, settings: Mapping[str, Any], *, piece: int = 0) -> Ran:
        """Run the command on `stdin`, written in pieces of `piece` bytes, or at once. Raises HungError."""
        folder = self.folder_of(integration_id)
        values = {
            "api_key": front_door.API_KEY,
            "integration_id": integration_id,
            "api_url": self.sandbox.base_url,
            "unmapped_streams": "keep",
            **settings,
        }
        (folder / "config.json").write_text(json.dumps(values))
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            began = time.monotonic()
            code = self._become(folder, stdin, out, err, piece)
            seconds = time.monotonic() - began
            out.seek(0)
            err.seek(0)
            ran = Ran(code or 0, out.read(), err.read().decode(), seconds)
        if code is None:
            raise HungError(str(ran))
        return ran

    def _become(self, folder: Path, stdin: bytes, out: BinaryIO, err: BinaryIO, piece: int) -> int | None:
        """Return the exit code; None for a run that did not end."""
        # Always DEBUG: nothing may leak there either.
        env = {**os.environ, "TARGET_SPRINTO_LOGLEVEL": "DEBUG", "NO_PROXY": "127.0.0.1"}
        wanted: dict[str, object] = {
            "words": ["target-sprinto", "--config", "config.json"],
            "cwd": str(folder),
            "pace": self.pace,
            "env": env,
        }
        reading, writing = os.pipe()
        feeder = threading.Thread(target=_feed, args=(writing, stdin, piece), daemon=True)
        with warm.ask(self.warm, wanted, [reading, out.fileno(), err.fileno()]) as asking:
            os.close(reading)
            feeder.start()
            asking.settimeout(HANG_SECONDS)
            (process,) = struct.unpack("i", asking.recv(4))
            with self._lock:
                self.runs += 1
            try:
                (code,) = struct.unpack("i", asking.recv(4))
            except TimeoutError:
                os.kill(process, signal.SIGKILL)
                return None
            finally:
                feeder.join()
        return int(code)

    def sessions(self, integration_id: str) -> list[Session]:
        return self.sandbox.sessions(integration_id)

    def applied(self, integration_id: str) -> dict[str, list[bytes]]:
        """The applied records: by entity type, each as its bytes."""
        return self.sandbox.applied(integration_id)

    def rejected(self, integration_id: str) -> list[bytes]:
        """The RECORD messages of the run's rejects file, if it wrote one."""
        files = self.folder_of(integration_id).glob("rejects/*")
        lines = [line for file in files for line in file.read_bytes().splitlines()]
        return [line for line in lines if b'"reject":' in line]

    def receipt(self, integration_id: str) -> dict[str, Any] | None:
        """The run's receipt, if it wrote one."""
        path = self.folder_of(integration_id) / RECEIPT
        return read_receipt(path) if path.exists() else None

    def held_state(self, integration_id: str) -> bytes:
        """The STATE in the run's receipt, unchanged."""
        return bytes(
            msgspec.json.decode((self.folder_of(integration_id) / RECEIPT).read_bytes(), type=_Held).state
        )

    def forget(self, integration_id: str) -> None:
        """Remove a run's files."""
        shutil.rmtree(self.folder_of(integration_id))


class _Held(msgspec.Struct):
    state: msgspec.Raw


def _feed(writing: int, data: bytes, piece: int) -> None:
    step = piece or max(1, len(data))
    # The run may end before it has read everything.
    with contextlib.suppress(BrokenPipeError), open(writing, "wb", buffering=0) as pipe:
        pipe.writelines(data[start : start + step] for start in range(0, len(data), step))


def check_end(ran: Ran, *, values: bool = True) -> None:
    """Check what holds for every run: a proper end, logged in one line, without the key or `values`."""
    assert ran.code in {0, 1, 75}, ran
    for word in _BREAKS:
        assert word not in ran.stderr, ran
    assert front_door.API_KEY not in ran.stderr, ran
    assert not values or not holds_a_secret(ran.stderr), ran
    assert len(ran.errors) == min(ran.code, 1), ran
    assert ran.ending not in {"internal", "no code"}, ran
    assert ran.code == 0 or ran.stdout == b"", ran


def check_receipt(receipt: dict[str, Any], ran: Ran, *, values: bool = True) -> None:
    """Check that the receipt shows the run's outcome, without the key or `values`, except in a held STATE."""
    without_state = json.dumps(receipt | {"state": None})
    assert front_door.API_KEY not in without_state, (receipt, ran)
    assert not values or not holds_a_secret(without_state), (receipt, ran)
    assert receipt["exit_code"] == ran.code, (receipt, ran)
    assert receipt["error"] == (ran.ending if ran.code else None), (receipt, ran)
    ended_well = {"applied", "held", "dry-run", "nothing-to-send"}
    # A dry run with rejections is complete, too.
    ended_badly = {"dry-run"} if ran.ending == "would-be-refused" else {"failed"}
    assert receipt["outcome"] in (ended_well if ran.code == 0 else ended_badly), (receipt, ran)


def holds_a_secret(text: str) -> bool:
    return front_door.SECRET in text.casefold() or str(SECRET_NUMBER) in text
