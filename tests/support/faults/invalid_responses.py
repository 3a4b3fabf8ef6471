"""Invalid responses: every effect at every moment, acted or not, once or from then on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from target_sprinto.sandbox import Readings
from tests.support.faults.cells import CONTRARY, READINGS, Acts, Cell, read_as
from tests.support.faults.expectation import GETS, PAGES, PROCESSED, Kind, after_all, after_one
from tests.support.sandbox import CutOff, Drop, Edit, Fault, Hang, Reset, Respond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_sprinto.sandbox.operations import Operation
    from tests.support.faults.expectation import Expected
    from tests.support.faults.traffic import Traffic
    from tests.support.sandbox import Effect

MOMENTS: dict[str, tuple[Operation, int]] = {
    "create": ("create", 1),
    "first page": ("push", 1),
    "middle page": ("push", 1),
    "last page": ("push", 1),
    "status": ("status", 1),
    "integration status": ("integration_status", 1),
    "close": ("close", 1),
    "poll": ("status", 2),
}
"""A page is struck the first time that it is sent."""

DUE = {"create": 201, "push": 202, "close": 202, "status": 200, "integration_status": 200, "activity": 200}
HTML = b"<html><body>The proxy asks you to log in</body></html>"
SHAPES: dict[Operation, dict[str, Any]] = {
    "push": {"session_id": "of-a-proxy", "accepted_count_total": 10},
    "integration_status": {"integration_id": "of-a-proxy", "sessions": {"processing": 0}},
}
SESSION = {"id": "of-a-proxy", "state": "active", "accepted_records_by_entity": {"people": 1}}


@dataclass(frozen=True)
class Mishap:
    """One way to corrupt a response. `always_acts`: the sandbox derives it from the real response."""

    kind: Kind
    effect: Callable[[Operation], Effect]
    always_acts: bool = False


def status_only(status: int, **headers: str) -> Callable[[Operation], Effect]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Respond(status, named)


def another_2xx(operation: Operation) -> Effect:
    return Respond(200 if DUE[operation] != 200 else 202, body=SHAPES.get(operation, SESSION))


def paused(response: dict[str, Any]) -> dict[str, Any]:
    return response | {"state": "paused"}


MISHAPS: dict[str, Mishap] = {
    "reset": Mishap(Kind.LOST, lambda _: Reset()),
    "drop": Mishap(Kind.LOST, lambda _: Drop()),
    "hang": Mishap(Kind.LOST, lambda _: Hang()),
    "cut off": Mishap(Kind.LOST, lambda _: CutOff(10), always_acts=True),
    "500": Mishap(Kind.LOST, status_only(500)),
    "502": Mishap(Kind.LOST, lambda _: Respond(502, {"Content-Type": "text/html"}, HTML)),
    "503": Mishap(Kind.LOST, status_only(503)),
    "504": Mishap(Kind.LOST, status_only(504)),
    "408": Mishap(Kind.LOST, status_only(408)),
    "a proxy's page with 200": Mishap(Kind.LOST, lambda _: Respond(200, {"Content-Type": "text/html"}, HTML)),
    "an empty body": Mishap(Kind.LOST, lambda operation: Respond(DUE[operation], body=b"")),
    "another 2xx": Mishap(Kind.ODD, another_2xx),
    "no fields": Mishap(Kind.ODD, lambda operation: Respond(DUE[operation], body={})),
    "unknown state": Mishap(Kind.ODD, lambda _: Edit(paused), always_acts=True),
    "425": Mishap(Kind.NOT_NOW, status_only(425)),
    "429 with Retry-After": Mishap(Kind.NOT_NOW, status_only(429, Retry_After="1")),
    "429": Mishap(Kind.NOT_NOW, status_only(429)),
    "503 with Retry-After": Mishap(Kind.NOT_NOW, status_only(503, Retry_After="1")),
    "503 for too long": Mishap(Kind.NOT_NOW_AT_ALL, status_only(503, Retry_After="100")),
    "401": Mishap(Kind.UNAUTHORIZED, status_only(401)),
    "403": Mishap(Kind.FINAL, status_only(403)),
    "404": Mishap(Kind.UNKNOWN, status_only(404)),
    "407": Mishap(Kind.FINAL, status_only(407)),
    "302": Mishap(Kind.REDIRECT, status_only(302, Location="http://127.0.0.1:9/login")),
    "409": Mishap(Kind.CONFLICT, status_only(409)),
    "400": Mishap(Kind.BAD_REQUEST, status_only(400)),
    "413": Mishap(Kind.TOO_LARGE, status_only(413)),
    "415": Mishap(Kind.ENCODING, status_only(415)),
    "202 with a rejected count": Mishap(
        Kind.REJECTED, lambda _: Edit(lambda body: body | {"rejected_count_total": 1}), always_acts=True
    ),
    "202 with validation errors": Mishap(
        Kind.REJECTED,
        lambda _: Edit(lambda body: body | {"validation_errors": [{"index": 0}]}),
        always_acts=True,
    ),
}


def why_not(moment: str, mishap: Mishap, acts: Acts) -> str | None:  # noqa: PLR0911 - one reason, one line
    """Why a combination is left out, or None."""
    kind = mishap.kind
    if moment in GETS and acts == "acted":
        return "a GET does nothing that could have happened"
    if mishap.always_acts and acts == "not acted" and moment not in GETS:
        return "the sandbox makes this of its real response, so it has acted"
    if kind not in {Kind.LOST, Kind.ODD, Kind.REJECTED} and acts == "acted":
        return "this response says that it did not happen"
    if kind in {Kind.TOO_LARGE, Kind.ENCODING, Kind.REJECTED} and moment not in PAGES:
        return "the documents know it on a page only"
    if kind in {Kind.CONFLICT, Kind.BAD_REQUEST} and moment in GETS:
        return "the documents know no such response to a GET, and the contract has no row for it"
    if kind is Kind.REDIRECT and moment in {"create", "close"}:
        return "the contract does not say whether what was redirected has happened"
    return None


def invalid_once(traffic: Traffic) -> Iterator[Cell]:
    for moment, (operation, _) in MOMENTS.items():
        for name, mishap in MISHAPS.items():
            acts: Acts
            for acts in ("not acted", "acted"):
                if why_not(moment, mishap, acts) is None and not has_no_state(name, operation):
                    for readings in readings_for(moment, name, acts):
                        yield _once(moment, name, acts, readings, traffic)


IN_EACH_OTHERS_WAY = ("reset", "hang", "500", "429", "409", "413", "415", "403", "202 with a rejected count")


def invalid_pages(traffic: Traffic) -> Iterator[Cell]:
    """A selection of these, with pages that have to wait for each other."""
    for moment in PAGES:
        for name in IN_EACH_OTHERS_WAY:
            acts: Acts
            for acts in ("not acted", "acted"):
                if why_not(moment, MISHAPS[name], acts) is None:
                    yield _once(moment, name, acts, READINGS, traffic)


def has_no_state(name: str, operation: Operation) -> bool:
    """Whether the response has no `state` that could be unknown."""
    return name == "unknown state" and operation in {"push", "integration_status"}


def readings_for(moment: str, name: str, acts: Acts) -> list[Readings]:
    """The readings that change how the loader must handle a fault."""
    message = [READINGS]
    kind = MISHAPS[name].kind
    if moment == "create" and acts == "acted" and kind in {Kind.LOST, Kind.ODD}:
        # A 409 that shows the session's id does not prove that it is this run's session.
        untold = [replace(READINGS, log_shows_reference=False), replace(CONTRARY, log_shows_reference=False)]
        # Treated as a session, `paused` would hide whether the create was resolved.
        message += [CONTRARY] if name == "unknown state" else [CONTRARY, *untold]
    else:
        lost = moment not in GETS and name in {"reset", "hang", "an empty body"}
        about_a_page = moment in PAGES and kind in {Kind.CONFLICT, Kind.REJECTED, Kind.BAD_REQUEST}
        message += [CONTRARY] * (lost or about_a_page)
    return message


def _once(moment: str, name: str, acts: Acts, readings: Readings, traffic: Traffic) -> Cell:
    kind, (operation, nth) = MISHAPS[name].kind, MOMENTS[moment]
    effect = MISHAPS[name].effect(operation)
    if moment in PAGES:
        faults = traffic.strike(moment, moment=_moment(acts), effect=effect)
    else:
        faults = (Fault(operation, nth=nth, moment=_moment(acts), effect=effect),)
    expected = after_one(moment, kind, readings, acted=acts == "acted")
    if name == "unknown state":
        expected = expected.logging("paused")
    settings: dict[str, Any] = {"request_timeout_seconds": traffic.timeout} if name == "hang" else {}
    if kind is Kind.NOT_NOW_AT_ALL:
        budget = "processing_timeout_seconds" if moment in {*GETS, "close"} else "retry_timeout_seconds"
        settings |= {"processing_timeout_seconds": 5}
        expected = expected.saying(budget)
    suffix = f", {acts}" if kind in {Kind.LOST, Kind.ODD} and moment not in GETS else ""
    return Cell(
        f"{moment}: {name}{suffix}{read_as(readings)}",
        expected,
        faults,
        readings,
        settings=settings,
        traffic=traffic,
        in_flight=in_flight(moment, expected),
    )


def in_flight(moment: str, expected: Expected) -> int | None:
    """Zero if no session was opened; otherwise the traffic's number."""
    return 0 if moment == "create" and expected is not PROCESSED else None


def _moment(acts: Acts) -> Any:  # noqa: ANN401 - a sandbox literal
    return "after" if acts == "acted" else "before"


def _impatient(moment: str, traffic: Traffic) -> dict[str, float]:
    if moment in PAGES and traffic.together > 1:
        return {"retry_timeout_seconds": 3, "request_timeout_seconds": traffic.timeout}
    return {"retry_timeout_seconds": 1, "request_timeout_seconds": 0.4, "processing_timeout_seconds": 1}


LASTING = ("reset", "hang", "500", "a proxy's page with 200", "429", "403")
AT = ("create", "first page", "status", "integration status", "close", "poll")


def invalid_for_good(traffic: Traffic) -> Iterator[Cell]:
    for moment in AT:
        for name in LASTING:
            acts: Acts
            for acts in ("not acted", "acted"):
                mishap, (operation, nth) = MISHAPS[name], MOMENTS[moment]
                if why_not(moment, mishap, acts) is not None:
                    continue
                fault = Fault(
                    operation,
                    nth=nth,
                    times=9999,
                    moment=_moment(acts),
                    effect=mishap.effect(operation),
                    company=traffic.together if moment in PAGES else 0,
                )
                both = [READINGS, replace(READINGS, log_shows_reference=False)]
                for readings in both if (moment, acts) == ("create", "acted") else [READINGS]:
                    suffix = f", {acts}" if mishap.kind is Kind.LOST and moment not in GETS else ""
                    expected = after_all(moment, mishap.kind, readings, acted=acts == "acted")
                    yield Cell(
                        f"{moment} and all after it: {name}{suffix}{read_as(readings)}",
                        expected,
                        (fault,),
                        readings,
                        settings=_impatient(moment, traffic),
                        pace={"shutdown_timeout": 4},
                        traffic=traffic,
                        in_flight=in_flight(moment, expected),
                    )
