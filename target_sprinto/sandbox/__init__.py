"""A local Sprinto: the documented push API, with a switch for each point that the documentation leaves open.

It is a real HTTP server, and imports nothing from the loader, so that the two cannot share a mistake.
"""

from target_sprinto.sandbox.options import EntityRules, RateLimit, SandboxOptions
from target_sprinto.sandbox.readings import Readings
from target_sprinto.sandbox.runner import Sandbox
from target_sprinto.sandbox.snapshot import DataUnusable, lock
from target_sprinto.sandbox.state import Session

__all__ = [
    "DataUnusable",
    "EntityRules",
    "RateLimit",
    "Readings",
    "Sandbox",
    "SandboxOptions",
    "Session",
    "lock",
]
