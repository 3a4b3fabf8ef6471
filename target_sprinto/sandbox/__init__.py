"""A local Sprinto: the push API's facts made executable, its silences made switches, its faults on demand.

A real HTTP server, which imports nothing of the loader, so that the two cannot agree on the same mistake.
"""

from target_sprinto.sandbox.faults import (
    Answer,
    CutOff,
    Delay,
    Drop,
    Edit,
    Fault,
    Fired,
    Hang,
    Informational,
    Late,
    Raw,
    Reset,
)
from target_sprinto.sandbox.operations import RequestSeen
from target_sprinto.sandbox.options import EntityRules, RateLimit, SandboxOptions
from target_sprinto.sandbox.readings import Readings
from target_sprinto.sandbox.runner import Sandbox, serve
from target_sprinto.sandbox.snapshot import DataUnusable
from target_sprinto.sandbox.state import Session

__all__ = [
    "Answer",
    "CutOff",
    "DataUnusable",
    "Delay",
    "Drop",
    "Edit",
    "EntityRules",
    "Fault",
    "Fired",
    "Hang",
    "Informational",
    "Late",
    "RateLimit",
    "Raw",
    "Readings",
    "RequestSeen",
    "Reset",
    "Sandbox",
    "SandboxOptions",
    "Session",
    "serve",
]
