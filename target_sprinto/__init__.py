"""Delivers records to Sprinto as evidence: all of a run, or none of it.

A Singer target, and a library for who has no tap:

    from target_sprinto import Run, SprintoClient

    with SprintoClient(api_key="…", integration_id="…") as client, Run(client) as run:
        run.push("User", [{"employeeId": "E-1", "workEmail": "e1@example.com"}])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from target_sprinto.push.client import SprintoClient
    from target_sprinto.push.errors import SprintoError
    from target_sprinto.push.protocol.lifecycle import Finish, OnCountMismatch
    from target_sprinto.push.run.conflict import ConflictPolicy, OnActiveSession
    from target_sprinto.push.run.run import Run, RunSummary, Timeouts

__all__ = [
    "ConflictPolicy",
    "Finish",
    "OnActiveSession",
    "OnCountMismatch",
    "Run",
    "RunSummary",
    "SprintoClient",
    "SprintoError",
    "Timeouts",
]

_MODULES = {
    "client": ("SprintoClient",),
    "run.conflict": ("ConflictPolicy", "OnActiveSession"),
    "errors": ("SprintoError",),
    "protocol.lifecycle": ("Finish", "OnCountMismatch"),
    "run.run": ("Timeouts", "Run", "RunSummary"),
}


if not TYPE_CHECKING:  # Else every name would pass for one that exists.

    def __getattr__(name: str) -> object:
        # The command notes signals before it imports anything that takes long, and this file comes first.
        for module, names in _MODULES.items():
            if name in names:
                return getattr(importlib.import_module(f"target_sprinto.push.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
