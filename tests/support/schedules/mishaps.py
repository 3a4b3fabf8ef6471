"""Faults of a single request, in drawable form, and what its response showed the loader."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hypothesis import strategies as st

from tests.support.sandbox import CutOff, Delay, Drop, Hang, Late, Reset, Respond

if TYPE_CHECKING:
    from target_sprinto.sandbox.operations import Operation
    from tests.support.sandbox import Effect, Fault, RequestSeen

Moment = Literal["before", "after"]


class Act(enum.Enum):
    """What another client or the sandbox may do, at any time or while a request of the run is held."""

    NOTHING = "nothing"
    LATE_ONES_LAND = "what was held back lands"
    INTERRUPT = "a signal"
    DISCARD = "another client discards the session"
    APPLY = "another client applies the session"
    PUSH = "another client pushes into the session"
    OPEN = "another client opens a session"
    LEAVE = "a dead run of this pipeline leaves a session"
    HOLD = "a session of this pipeline is held"
    EXPIRE = "an hour goes by"


ACTS = st.sampled_from(Act)


@dataclass(frozen=True)
class Trouble:
    """One request of the run goes wrong: the next of its kind, or a later one if some are skipped.

    With an `act`, it is held until the act is done.
    """

    operation: Operation
    skipped: int
    times: int
    moment: Moment
    effect: Effect
    act: Act | None = None


_HTML = b"<html>a proxy's page</html>"
_LOST: list[Effect] = [
    Reset(),
    Drop(),
    Respond(500),
    Respond(503),
    Respond(504),
    Respond(408),
    Respond(200, body=_HTML),
    Respond(202, body={}),
]
_NOT_NOW: list[Effect] = [
    Respond(429, {"Retry-After": "0"}),
    Respond(429, {"Retry-After": "0.05"}),
    Respond(429),
    Respond(425),
    Respond(503, {"Retry-After": "0.02"}),
]
_NOT_AT_ALL: list[Effect] = [
    Respond(401),
    Respond(403),
    Respond(404),
    Respond(409),
    Respond(400),
    Respond(413),
    Respond(415),
    Respond(429, {"Retry-After": "100"}),
]
_LATE: list[Effect] = [Late(), Late(), Late(0.0), Late(0.1)]
_SLOW: list[Effect] = [Delay(0.05), Delay(0.5)]

_BOTH: list[Moment] = ["before", "after"]
_BEFORE: list[Moment] = ["before"]
_AFTER: list[Moment] = ["after"]

_OPERATIONS: st.SearchStrategy[Operation] = st.sampled_from(
    [
        "create",
        "create",
        "push",
        "push",
        "push",
        "push",
        "status",
        "status",
        "close",
        "close",
        "integration_status",
        "activity",
    ]
)
_SKIPPED = st.sampled_from([0, 0, 0, 1, 2])


def _invalid(effects: list[Effect], moments: list[Moment], times: list[int]) -> st.SearchStrategy[Trouble]:
    return st.builds(
        Trouble,
        operation=_OPERATIONS,
        skipped=_SKIPPED,
        times=st.sampled_from(times),
        moment=st.sampled_from(moments),
        effect=st.sampled_from(effects),
    )


_HELD = st.builds(
    Trouble,
    operation=_OPERATIONS,
    skipped=_SKIPPED,
    times=st.just(1),
    moment=st.sampled_from(_BOTH),
    effect=st.just(Hang()),
    act=ACTS,
)
TROUBLES = st.lists(
    st.one_of(
        _invalid(_LOST, _BOTH, [1, 1, 1, 2]),
        _invalid(_LATE, _BEFORE, [1]),
        _invalid([Hang(), *_SLOW], _BOTH, [1]),
        _invalid([CutOff(10)], _AFTER, [1, 2]),
        _invalid(_NOT_NOW, _BEFORE, [1, 2]),
        # A performed request never gets a response that means "not performed": the contract trusts those.
        _invalid(_NOT_AT_ALL, _BEFORE, [1]),
        _HELD,
        _HELD,
        _HELD,
    ),
    max_size=3,
)


class Heard(enum.Enum):
    """What the loader could conclude from a response (the contract's three meanings)."""

    HAPPENED = enum.auto()
    DID_NOT = enum.auto()
    UNKNOWN = enum.auto()


_DID_NOT = frozenset({400, 401, 403, 404, 407, 409, 413, 415, 425, 429})


def heard(seen: RequestSeen, fault: Fault | None) -> Heard:
    """What the loader received for a request, which `fault` struck if it is set."""
    effect = fault.effect if fault else None
    if seen.status is None or isinstance(effect, CutOff):
        return Heard.UNKNOWN
    not_now = isinstance(effect, Respond) and effect.status == 503 and "Retry-After" in effect.headers
    if seen.status in _DID_NOT or not_now:
        return Heard.DID_NOT
    if seen.status >= 400 or isinstance(effect, Respond):
        return Heard.UNKNOWN
    return Heard.HAPPENED
