"""The file in which a sandbox survives a restart: one JSON document, replaced as a whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from target_sprinto.sandbox.state import TRANSITIONS, IntegrationState

FILE_NAME = "sandbox.json"


class DataUnusable(ValueError):
    """The folder for the snapshot cannot be read or written, or holds another file in its place."""


class _Snapshot(msgspec.Struct):
    integrations: dict[str, IntegrationState]


def save(directory: Path, integrations: Mapping[str, IntegrationState]) -> None:
    """Write the snapshot, for its owner's eyes: who reads the file sees the old one or the new one.

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
    """Leave out the pages that nothing will read again, so that the file does not grow with every session."""
    sessions = {
        name: session if TRANSITIONS[session.state] else replace(session, pages=[])
        for name, session in state.sessions.items()
    }
    return replace(state, sessions=sessions)


def load(directory: Path) -> dict[str, IntegrationState]:
    """Read the snapshot; none yet means nothing remembered. Raises DataUnusable."""
    path = directory / FILE_NAME
    try:
        if not path.exists():
            return {}
        return msgspec.json.decode(path.read_bytes(), type=_Snapshot).integrations
    except OSError as problem:
        raise _unusable(directory, problem) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataUnusable(f"{path} is not a sandbox snapshot: {error}") from error
