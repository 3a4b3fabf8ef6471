"""Random faults: which may strike a request, how often, and which the contract recovers from. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal

from tests.support.sandbox import CutOff, Delay, Drop, Edit, Fault, Hang, Late, Reset, Respond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from target_sprinto.sandbox.operations import Operation
    from tests.support.sandbox import Effect, RequestSeen
    from tests.support.soak.courses import Course

RATE = 0.05
"""The default share of requests that are struck."""

SETTLE_SECONDS = 0.5
"""The contract's wait between two reads of the counts, shortened: a smaller delay is detected."""

HORIZON: dict[Operation, int] = {
    "create": 40,
    "status": 300,
    "push": 120,
    "close": 60,
    "integration_status": 60,
    "activity": 80,
}
"""The number of requests of each operation with a drawn fault; a run that makes more is reported."""

LATENCY_SECONDS = 0.01
"""The maximum delay of a response without a fault."""

Moment = Literal["before", "after"]
MOMENTS: tuple[Moment, ...] = ("before", "after")
POSTS: tuple[Operation, ...] = ("create", "push", "close")
EVERY: tuple[Operation, ...] = (*POSTS, "status", "integration_status", "activity")
HTML = b"<html><body>The proxy asks you to log in</body></html>"
REFUSED = "400"
TOO_LONG = "200"
"""A `Retry-After` in seconds that exceeds every run's budget."""


@dataclass(frozen=True)
class Struck:
    """A request of a run that a fault struck."""

    course: Course
    strike: Strike
    request: RequestSeen

    @property
    def recoverable(self) -> bool:
        """Whether the contract promises to recover from this fault alone."""
        return self.strike.kind.recovers(self)

    def __str__(self) -> str:
        return f"{self.strike.fault.operation} {self.request.nth}: {self.strike}"


def always(_: Struck) -> bool:
    return True


def never(_: Struck) -> bool:
    return False


def if_resolved(struck: Struck) -> bool:
    """A lost create that was performed is resolved only if the activity log shows its owner."""
    return (
        struck.strike.fault.operation != "create"
        or struck.course.readings.log_shows_reference
        or struck.request.acted_at is None
    )


def unless_a_page(struck: Struck) -> bool:
    """A page that lands after its resend raises the counts above the sent records: discarded."""
    return struck.strike.fault.operation != "push"


def if_it_can_be_halved(struck: Struck) -> bool:
    return struck.request.items > 1


def if_diverted(struck: Struck) -> bool:
    """If records are diverted, a rejected page is halved until its parts are accepted."""
    pushed = struck.request.operation == "push"
    return (pushed and struck.course.diverts) or if_about_compression(struck)


def if_about_compression(struck: Struck) -> bool:
    """Only the first page's rejection may be about compression; later ones are about records."""
    request = struck.request
    return (request.operation, request.nth) == ("push", 1) and "Content-Encoding" in request.headers


@dataclass(frozen=True)
class Kind:
    """A kind of fault: how often it occurs, relative to others, and where.

    `effect` gets a random generator and the run's request timeout in seconds. If `acts` is None, the server
    may have acted or not; otherwise `acts` decides.
    """

    name: str
    weight: float
    effect: Callable[[Random, float], Effect]
    recovers: Callable[[Struck], bool] = if_resolved
    operations: tuple[Operation, ...] = EVERY
    moment: Moment | None = "before"


def status(code: int, **headers: str) -> Callable[[Random, float], Effect]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _, __: Respond(code, named)


def html(code: int) -> Callable[[Random, float], Effect]:
    return lambda _, __: Respond(code, {"Content-Type": "text/html"}, HTML)


def without_fields(_: Random, __: float) -> Effect:
    return Edit(lambda _: {})


def late(least: float, most: float) -> Callable[[Random, float], Effect]:
    """Performed some seconds after the client disconnected."""
    return lambda chance, _: Late(chance.uniform(least, most))


def counting(by: int) -> Callable[[Random, float], Effect]:
    """A status with wrong counts."""

    def change(response: dict[str, Any]) -> dict[str, Any]:
        counts = dict(response["accepted_records_by_entity"])
        first = min(counts, default="people")
        return response | {"accepted_records_by_entity": counts | {first: counts.get(first, 0) + by}}

    return lambda _, __: Edit(change)


KINDS = (
    # In doubt: a GET is retried, a POST resolved.
    Kind("reset", 10, lambda _, __: Reset(), moment=None),
    Kind("dropped", 6, lambda _, __: Drop(), moment=None),
    Kind("never answered", 8, lambda _, __: Hang(), moment=None),
    Kind("cut off", 6, lambda chance, _: CutOff(chance.randrange(40))),
    Kind("slow", 10, lambda chance, timeout: Delay(timeout * chance.uniform(0.6, 1.3)), moment=None),
    Kind("500", 6, status(500), moment=None),
    Kind("502, a proxy's page", 6, html(502), moment=None),
    Kind("503", 6, status(503), moment=None),
    Kind("2xx, not JSON", 6, html(200), moment=None),
    Kind("2xx without its fields", 3, without_fields, operations=POSTS),
    Kind("late, while it is resolved", 8, late(0, SETTLE_SECONDS * 0.4)),
    Kind("late, after the run", 4, lambda _, __: Late(), operations=("push", "close")),
    Kind("409", 3, status(409), operations=("push", "close")),
    # Not performed: retried.
    Kind("425", 1, status(425), always),
    Kind("429", 5, status(429), always),
    Kind("429 with Retry-After", 5, status(429, Retry_After="1"), always),
    Kind("503 with Retry-After", 5, status(503, Retry_After="1"), always),
    Kind("413", 3, status(413), if_it_can_be_halved, ("push",)),
    Kind("415", 1, status(415), if_about_compression, ("push",)),
    # These end a run, by the contract.
    Kind(REFUSED, 1.5, status(400), if_diverted, POSTS),
    Kind("401", 2, status(401), never),
    Kind("404", 1, status(404), never),
    Kind("503 for too long", 1, status(503, Retry_After=TOO_LONG), never),
    Kind("202, something rejected", 1.5, lambda _, __: Edit(_rejecting), never, ("push",)),
    Kind(
        "late, after it was sent again", 1.5, late(SETTLE_SECONDS * 2, 2.5), unless_a_page, ("push", "close")
    ),
    Kind("counts above", 2, counting(1), never, ("status",)),
    # Recoverable only before the close and without a resend, so it counts as the end.
    Kind("counts short", 2, counting(-1), never, ("status",)),
)


def _rejecting(response: dict[str, Any]) -> dict[str, Any]:
    return response | {"rejected_count_total": 1}


@dataclass(frozen=True)
class Strike:
    """One fault, drawn before the run for one of its requests."""

    kind: Kind
    fault: Fault

    def __str__(self) -> str:
        acting = f", {self.fault.moment} acting" if self.kind.moment is None else ""
        seconds = getattr(self.fault.effect, "seconds", None)
        return f"{self.kind.name}{acting}{f', {seconds:.2f} s' if seconds else ''}"


def drawn(seed: str, rate: float, request_timeout_seconds: float) -> Iterator[Strike]:
    """The strikes of one run, drawn independently for each request."""
    for operation, horizon in HORIZON.items():
        kinds = [kind for kind in KINDS if operation in kind.operations]
        weights = [kind.weight for kind in kinds]
        for nth in range(1, horizon + 1):
            chance = Random(f"{seed}/{operation}/{nth}")
            if chance.random() < rate:
                (kind,) = chance.choices(kinds, weights)
                moment = chance.choice(MOMENTS) if kind.moment is None else kind.moment
                effect = kind.effect(chance, request_timeout_seconds)
                yield Strike(kind, Fault(operation, nth, moment=moment, effect=effect))


def latencies(seed: str) -> Iterator[Fault]:
    """A short delay for every request, struck or not."""
    for operation, horizon in HORIZON.items():
        for nth in range(1, horizon + 1):
            seconds = Random(f"{seed}/latency/{operation}/{nth}").uniform(0, LATENCY_SECONDS)
            yield Fault(operation, nth, effect=Delay(seconds))
