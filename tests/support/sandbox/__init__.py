"""The sandbox for tests: with faults on demand, and a record of every request."""

from tests.support.sandbox.faults import (
    CutOff,
    Delay,
    Drop,
    Edit,
    Effect,
    Fault,
    Fired,
    Hang,
    Informational,
    Late,
    Raw,
    Reset,
    Respond,
)
from tests.support.sandbox.faulty_sandbox import FaultySandbox
from tests.support.sandbox.request_seen import RequestSeen

__all__ = [
    "CutOff",
    "Delay",
    "Drop",
    "Edit",
    "Effect",
    "Fault",
    "FaultySandbox",
    "Fired",
    "Hang",
    "Informational",
    "Late",
    "Raw",
    "RequestSeen",
    "Reset",
    "Respond",
]
