"""Writes the STATE to stdout, as the last step of a run.

`run_end.py` decides whether and when; `final_state.py` holds it.
"""

from __future__ import annotations

import io
import json
import re
import sys
from functools import partial

from target_sprinto import private_files
from target_sprinto.errors import StateNotWritten
from target_sprinto.push.errors import Interrupted
from target_sprinto.push.transport.background import InterruptCheck, in_background, result_of


def write_state(state: bytes, grace: InterruptCheck) -> None:
    """Write the STATE as a line, before `grace` ends. Raises StateNotWritten, which contains it."""
    write = partial(_write, state + b"\n")
    try:
        # A reader that hangs must not keep a signal from ending the process.
        result_of(in_background(write, or_here=write), grace)
    except (OSError, ValueError, AttributeError, Interrupted):
        # In ASCII, so that it is the same JSON whatever encoding the log is read in.
        ascii_only = re.sub(r"[^\0-\x7f]+", lambda text: json.dumps(text[0])[1:-1], state.decode())
        raise StateNotWritten(ascii_only) from None


def _write(line: bytes) -> None:
    """Write to stdout, as bytes if possible: the STATE is unchanged, whatever the encoding.

    This bypasses the buffer: a blocked write would hold its lock, and the interpreter would crash on exit.
    """
    try:
        descriptor = sys.stdout.fileno()
    except io.UnsupportedOperation:
        sys.stdout.write(line.decode())
        return
    sys.stdout.flush()
    private_files.write_all(descriptor, line)
