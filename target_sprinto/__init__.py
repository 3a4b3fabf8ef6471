# ruff: noqa: F403, F405 - one list of the public names is enough; a test imports each of them
"""Loads records into Sprinto as evidence: all records of a run, or none.

A Singer target, and a library for programs without a tap:

    from target_sprinto import SprintoClient

    with SprintoClient(api_key="…", integration_id="…") as client, client.run() as run:
        run.push("User", [{"employeeId": "E-1", "workEmail": "e1@example.com"}])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from target_sprinto.push.errors import *
    from target_sprinto.push.protocol.lifecycle import Finish, OnCountMismatch
    from target_sprinto.push.run.opening_conflict import ConflictPolicy, OnActiveSession
    from target_sprinto.push.run.result import RunOutcome, RunResult
    from target_sprinto.push.run.run import Run
    from target_sprinto.push.run.run_options import Timeouts
    from target_sprinto.push.run.send_queue import RunProgress
    from target_sprinto.push.sprinto_client import SprintoClient
    from target_sprinto.push.transport.background import Deadline, ResourcesExhausted
    from target_sprinto.push.transport.base import Request, Response, Transport

    __version__: str

__all__ = [
    "ApiError",
    "BadRequest",
    "ClientClosed",
    "ConfigError",
    "Conflict",
    "ConflictPolicy",
    "CountMismatch",
    "Deadline",
    "EncodingRefused",
    "Finish",
    "InconsistentResponse",
    "Interrupted",
    "LogUnending",
    "NotConnected",
    "NotDiscarded",
    "NotFound",
    "OnActiveSession",
    "OnCountMismatch",
    "Outcome",
    "PageRefused",
    "PageTooLarge",
    "ProcessingFailed",
    "ProcessingTimeout",
    "ProxyRefused",
    "RecordTooLarge",
    "Redirected",
    "Request",
    "ResourcesExhausted",
    "Response",
    "ResponseLost",
    "Run",
    "RunEnded",
    "RunOutcome",
    "RunProgress",
    "RunResult",
    "SessionConflict",
    "SessionEnded",
    "SprintoClient",
    "SprintoError",
    "TLSError",
    "Throttled",
    "Timeouts",
    "TooFewRecords",
    "Transport",
    "Unauthorized",
    "UndocumentedRefusal",
    "UnexpectedResponse",
    "UnserializableRecord",
    "__version__",
]

_MODULES = (
    "errors",
    "sprinto_client",
    "run.opening_conflict",
    "run.run_options",
    "run.session",
    "transport.background",
    "transport.base",
)
"""Modules of `push` that have the public names, in the order in which they are searched."""


if not TYPE_CHECKING:  # Otherwise type checkers would accept any name.

    def __getattr__(name: str) -> object:
        # The command notes signals before any slow import, and this file is imported first.
        if name == "__version__":
            return importlib.import_module("importlib.metadata").version("target-sprinto")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        modules = (importlib.import_module(f"target_sprinto.push.{module}") for module in _MODULES)
        return next(getattr(module, name) for module in modules if hasattr(module, name))

    def __dir__() -> list[str]:
        return __all__
