"""A local Sprinto: the push API's facts made executable, its silences made switches.

A real HTTP server, which imports nothing of the loader, so that the two cannot agree on the same mistake.
"""

from target_sprinto.sandbox.options import EntityRules, RateLimit, SandboxOptions
from target_sprinto.sandbox.readings import Readings
from target_sprinto.sandbox.runner import Sandbox
from target_sprinto.sandbox.snapshot import DataUnusable
from target_sprinto.sandbox.state import Session

__all__ = [
    "DataUnusable",
    "EntityRules",
    "RateLimit",
    "Readings",
    "Sandbox",
    "SandboxOptions",
    "Session",
]
