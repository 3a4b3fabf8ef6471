"""The file that lets a sandbox survive a restart: one JSON document, replaced as a whole."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from target_sprinto.sandbox.state import TRANSITIONS, IntegrationState

FILE_NAME = "sandbox.json"


class DataUnusable(ValueError):
    """The snapshot cannot be read or written, or its file is not a snapshot."""


class _Snapshot(msgspec.Struct):
    integrations: dict[str, IntegrationState]


def lock(directory: Path) -> None:
    """Lock the folder for this process: another sandbox would overwrite the snapshot. Raises DataUnusable."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(directory, os.O_RDONLY)
    except OSError as problem:
        raise _unusable(directory, problem) from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataUnusable(f"{directory} is in use by another sandbox") from None
    except OSError:
        # This file system does not support locks, or not on folders (NFS).
        os.close(folder)


def save(directory: Path, integrations: Mapping[str, IntegrationState]) -> None:
    """Write the snapshot, for its owner only: a reader sees the old file or the new one, never a part.

    Raises DataUnusable.
    """
    kept = {name: _without_finished_pages(state) for name, state in integrations.items()}
    fresh = directory / f"{FILE_NAME}.new"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(_Snapshot(kept)))
        fresh.replace(directory / FILE_NAME)
    except OSError as problem:
        raise _unusable(directory, problem) from None


def _unusable(directory: Path, problem: OSError) -> DataUnusable:
    return DataUnusable(f"{directory} cannot keep a sandbox's data: {problem.strerror}")


def _without_finished_pages(state: IntegrationState) -> IntegrationState:
    """Leave out pages that will not be read again, so that the file does not grow with every session."""
    sessions = {
        name: session if TRANSITIONS[session.state] else replace(session, pages=[])
        for name, session in state.sessions.items()
    }
    return replace(state, sessions=sessions)


def load(directory: Path) -> dict[str, IntegrationState]:
    """Read the snapshot; without a file there are no integrations. Raises DataUnusable."""
    path = directory / FILE_NAME
    try:
        if not path.exists():
            return {}
        return msgspec.json.decode(path.read_bytes(), type=_Snapshot).integrations
    except OSError as problem:
        raise _unusable(directory, problem) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataUnusable(f"{path} is not a sandbox snapshot: {error}") from error
