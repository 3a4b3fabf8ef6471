"""Runs the commands in the documentation, and compares the shown output."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import front_door
from tests.support.commands import DOCS, PAGES, Block, Seen, blocks, pages_before

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.front_door import FrontDoor

PORT = "8765"
SHELLS = {"sh", "bash", "shell", "console"}
RUN_ELSEWHERE = {"test-command", "meltano", "docker"}
"""CI runs the first, `test_meltano_*.py` runs the second, `test_containers.py` the third."""
IN_ANOTHER_TERMINAL = "run: in another terminal"


def test_every_command_block_is_run_or_gives_a_reason() -> None:
    known = re.compile(r"run|run: exits \d+|run: in another terminal|file: \S+|not run: .+")
    unmarked = [
        (page.name, block.text)
        for page in PAGES
        for block in blocks(page)
        if block.language in SHELLS and block.mark not in RUN_ELSEWHERE and not known.fullmatch(block.mark)
    ]
    assert unmarked == []


def test_no_command_truncates_the_state_before_it_runs() -> None:
    texts = [(page.name, block.text) for page in PAGES for block in blocks(page)]
    assert [one for one in texts if re.search(r">\s*\S*state\.json\b", one[1])] == []


def test_pip_installs_into_an_environment() -> None:
    """The Python of Debian, Ubuntu or Homebrew allows nothing else."""
    pages = [*PAGES, DOCS.parent / "CONTRIBUTING.md"]
    texts = [(page.name, block.text) for page in pages for block in blocks(page)]
    installs = [one for one in texts if re.search(r"^pip install|&& pip install", one[1], re.MULTILINE)]
    assert installs
    assert [one for one in installs if "python3 -m venv venv && . venv/bin/activate" not in one[1]] == []


def test_shown_output_is_compared_line_by_line() -> None:
    seen, one, other = Seen(), str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
    printed = f"12:00 | INFO | Session {other} is open.\n12:01 | INFO | Session {other} is held.\n"
    assert seen.missing(f"Session {one} is open.\nSession {one} is held.\n", printed) is None
    assert seen.real(f"discard {one}") == f"discard {other}"
    assert seen.missing("…is held.\n…is open.\n", printed) == "…is open."
    assert seen.missing(f"Session {uuid.UUID(int=3)} is lost.", printed)
    assert seen.missing(f"Session {one} is", printed), "the end of a line is missing"


class Reader:
    """Follows a page's instructions, in a folder with its own sandbox."""

    def __init__(self, door: FrontDoor, stack: ExitStack) -> None:
        self._stack = stack
        self.folder = door.folder / "reader"
        self.folder.mkdir()
        programs = door.folder / "bin"
        programs.mkdir()
        for name in ("target-sprinto", "sprintoctl", "python"):
            self._program(programs / name, f'exec {shlex.join(door.command(name))} "$@"')
        self._program(programs / "tap-hr", "cat staff.singer")
        self._env = {
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "NO_PROXY": "127.0.0.1",
            "COLUMNS": "90",
            "TEST_PACE": json.dumps({**door.pace, "conflict_poll_interval": 0.1}),
        }
        self._port = PORT
        self._seen = Seen()

    @staticmethod
    def _program(path: Path, text: str) -> None:
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)

    def follow(self, page: Path, *, only_prepare: bool = False) -> None:
        for earlier in pages_before(page):
            self.follow(earlier, only_prepare=True)
        printed = ""
        for block in blocks(page):
            kind, _, detail = block.mark.partition(": ")
            # Replaced only in commands: a uuid in the output may have these digits.
            text = self._seen.real(block.text.replace(PORT, self._port))
            if kind == "file":
                path = self.folder / detail
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
                path.chmod(0o600)
            elif block.mark == IN_ANOTHER_TERMINAL:
                self._serve(text)
            elif only_prepare:
                continue
            elif kind == "run":
                printed = self._run(text, int(detail.removeprefix("exits ") or 0))
            elif kind == "seen":
                missing = self._seen.missing(block.text.replace(PORT, self._port), printed)
                assert missing is None, f"{page.name} shows {missing!r}, and this was printed:\n{printed}"

    def _run(self, text: str, code: int) -> str:
        done = subprocess.run(
            ["bash", "-eu", "-c", text],
            cwd=self.folder,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
            timeout=front_door.PATIENCE_SECONDS,
        )
        assert done.returncode == code, f"{text}\n{done.stdout}"
        return done.stdout

    def _serve(self, text: str) -> None:
        """Start a sandbox on a free port, and use that instead of the documented port."""
        serving = self._stack.enter_context(
            subprocess.Popen(
                ["bash", "-c", f"exec {text.strip()} --port 0"],
                cwd=self.folder,
                env=self._env,
                stdout=subprocess.PIPE,
                encoding="utf-8",
            )
        )
        self._stack.callback(serving.terminate)
        assert serving.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", serving.stdout.readline())
        assert found
        self._port = found[1]


@pytest.fixture
def reader(door: FrontDoor) -> Iterator[Reader]:
    with ExitStack() as stack:
        yield Reader(door, stack)


def is_run(block: Block) -> bool:
    return block.mark.split(":")[0] == "run"


FOLLOWED = [page for page in PAGES if any(is_run(block) for block in blocks(page))]
SLOW_PAGES = {"approve.md", "receipts.md", "signed-receipts.md", "sqlite.md", "ten-taps.md"}
"""The slowest pages, whose commands are mostly covered by shorter pages."""


@pytest.mark.skipif(sys.platform != "linux", reason="the pages are typed into a GNU system's shell")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page,
            id=str(page.relative_to(DOCS.parent)),
            marks=pytest.mark.slow if page.name in SLOW_PAGES else [],
        )
        for page in FOLLOWED
    ],
)
def test_a_pages_commands_work_and_show_the_documented_output(reader: Reader, page: Path) -> None:
    reader.follow(page)
