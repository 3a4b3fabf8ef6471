"""The STATE on stdout, last of all.

When that is, `run_end.py` says; which STATE it is, `target.py`: the last one that came.
"""

from __future__ import annotations

import io
import sys
from functools import partial

from target_sprinto import private_files
from target_sprinto.errors import StateNotWritten
from target_sprinto.push.errors import Interrupted
from target_sprinto.push.transport.background import InterruptCheck, in_background, result_of


def write_state(state: bytes, grace: InterruptCheck) -> None:
    """Let the STATE out as a line, until `grace` is over. Raises StateNotWritten, which holds it."""
    write = partial(_write, state + b"\n")
    try:
        # A reader that stands still must not keep a signal from ending the process.
        result_of(in_background(write, or_here=write), grace)
    except (OSError, ValueError, AttributeError, Interrupted):
        raise StateNotWritten(state.decode()) from None


def _write(line: bytes) -> None:
    """Write to stdout, as bytes where that is possible: a STATE goes out as it came, whatever the encoding.

    Past the buffer, whose lock a write that is stuck would hold until the interpreter dies of it.
    """
    try:
        descriptor = sys.stdout.fileno()
    except io.UnsupportedOperation:
        sys.stdout.write(line.decode())
        return
    sys.stdout.flush()
    private_files.write_all(descriptor, line)
