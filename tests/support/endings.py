"""How a run can end: each row of the reference's table, and how to produce it."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from target_sprinto.sandbox import EntityRules
from tests.support import another_client
from tests.support.front_door import SCHEMA, STATE, Finished, FrontDoor, people, record
from tests.support.sandbox import Edit, Fault, Respond

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_sprinto.sandbox.operations import Operation
    from tests.support.sandbox import Effect

NONE = "none"
LAST = "the last one, once"


@dataclass(frozen=True)
class Ending:
    """What happens, the exit code, the session's outcome, where the STATE goes, and how to produce it.

    `state` is the session's final state at Sprinto, None if there is no session.
    """

    what: str
    exit_code: int
    session: str
    state: str | None
    singer_state: str
    play: Callable[[FrontDoor], Finished]


def run(messages: list[Any], door: FrontDoor, **settings: object) -> Finished:
    return door.run(messages, **settings)


def with_fault(operation: Operation, effect: Effect, door: FrontDoor) -> Finished:
    door.sandbox.inject(Fault(operation, times=99, integration_id=door.integration_id, effect=effect))
    return door.run(people(3))


def with_a_rejected_record(door: FrontDoor, **settings: object) -> Finished:
    name = {"properties": {"name": {"type": "string"}}}
    door.sandbox.configure(door.integration_id, entities={"people": EntityRules(schema=name)})
    return door.run([SCHEMA, record(1), record(2, name=None), STATE], **settings)


def with_processing(options: dict[str, Any], door: FrontDoor) -> Finished:
    door.sandbox.configure(door.integration_id, **options)
    return door.run(people(3), processing_timeout_seconds=2)


def with_another_session(door: FrontDoor) -> Finished:
    another_client.open_session(door)
    return door.run(people(3))


def ended_by_another(door: FrontDoor, status: str) -> Finished:
    process = door.midway()
    another_client.close_session(door, door.session().id, status)
    door.sandbox.wait_for(lambda _: door.session().state in {"processed", "cancelled"})
    return door.finish(process, people(3))


def signalled(number: signal.Signals, door: FrontDoor) -> Finished:
    process = door.midway()
    process.send_signal(number)
    process.wait(timeout=20)
    return door.finish(process, None)


def with_broken_stdout(door: FrontDoor) -> Finished:
    process = door.start()
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    return door.finish(process, people(3))


_miscounted = Edit(lambda body: body | {"accepted_records_by_entity": {"people": 4}})
_hold: dict[str, Any] = {"finish": "hold", "report_path": "receipts/{run}.json"}
_expect: dict[str, Any] = {"expect": {"people": {"min_records": 50}}}
_discarded = ("discarded, nothing applied", "cancelled", NONE)
_unopened = ("no session was opened", None, NONE)
_invalid = [SCHEMA, *(record(count) for count in range(100)), record(1, id="one"), STATE]

ENDINGS = [
    Ending("all records processed", 0, "applied", "processed", LAST, partial(run, people(3))),
    Ending(
        "processed; `on_invalid_record: divert` set records aside",
        0,
        "applied",
        "processed",
        LAST,
        partial(with_a_rejected_record, on_invalid_record="divert"),
    ),
    Ending("no records", 0, "no session was opened", None, LAST, partial(run, people(0))),
    Ending("`dry_run`, and no record rejected", 0, *_discarded, partial(run, people(3), dry_run=True)),
    Ending("`dry_run`, and records rejected", 1, *_discarded, partial(with_a_rejected_record, dry_run=True)),
    Ending(
        "`finish: hold`",
        0,
        "left staged, named with its expiry",
        "active",
        "none: it is in the receipt",
        partial(run, people(3), **_hold),
    ),
    Ending("bad settings", 1, *_unopened, partial(run, people(3), page_size=0)),
    Ending("the key is rejected", 1, *_unopened, partial(run, people(3), api_key="another")),
    Ending("bad input, or an invalid record", 1, *_discarded, partial(run, _invalid)),
    Ending("Sprinto rejects a page", 1, *_discarded, with_a_rejected_record),
    Ending(
        "the network or the API fails for longer than is retried",
        75,
        *_discarded,
        partial(with_fault, "push", Respond(429, headers={"Retry-After": "999"})),
    ),
    Ending(
        "another session is active, and `on_active_session` does not get past it",
        75,
        "no session was opened; the other one is left as it is",
        "active",
        NONE,
        with_another_session,
    ),
    Ending(
        "the session expired, or another process discarded it",
        75,
        "as its status shows: nothing was applied",
        "cancelled",
        NONE,
        partial(ended_by_another, status="discard"),
    ),
    Ending(
        "another process applied the session",
        1,
        "applied, as far as it had been filled",
        "processed",
        NONE,
        partial(ended_by_another, status="apply"),
    ),
    Ending("the tap crashed: records after the last STATE", 1, *_discarded, partial(run, people(100)[:-1])),
    Ending("fewer records than `expect` names", 1, *_discarded, partial(run, people(3), **_expect)),
    Ending("Sprinto's counts differ", 1, *_discarded, partial(with_fault, "status", _miscounted)),
    Ending(
        "processing failed",
        1,
        "as Sprinto left it; the line says that it may still be applied",
        "failed",
        NONE,
        partial(with_processing, {"processing_outcomes": ["failed", "failed"]}),
    ),
    Ending(
        "processing was not finished in time",
        75,
        "as Sprinto left it; the line says that it may still be applied",
        "processing",
        NONE,
        partial(with_processing, {"processing_seconds": 9999}),
    ),
    Ending(
        "stdout broken when the STATE was due",
        1,
        "applied",
        "processed",
        "on stderr, to be kept by hand",
        with_broken_stdout,
    ),
    *(
        Ending(f"{number.name} before the close", 128 + number, *_discarded, partial(signalled, number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ),
]
