"""A run without a tap: `with client.run() as run: run.push(…)`, against the sandbox over a real socket."""

from __future__ import annotations

import gzip
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone, tzinfo
from datetime import time as time_of_day
from decimal import Decimal
from enum import IntEnum
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import pytest

import target_sprinto
from target_sprinto import (
    ConflictPolicy,
    OnActiveSession,
    Run,
    RunOutcome,
    RunResult,
    SprintoClient,
    SprintoError,
    Timeouts,
)
from target_sprinto.push import errors
from target_sprinto.push.api_calls import RetryPolicy
from target_sprinto.push.errors import (
    ConfigError,
    Interrupted,
    PageRefused,
    RecordTooLarge,
    RunEnded,
    SessionConflict,
    Unauthorized,
    UnserializableRecord,
)
from target_sprinto.push.protocol.encoding import encoded
from target_sprinto.push.run.observer import RunObserver
from target_sprinto.push.run.run_options import RunOptions
from tests.support.sandbox import Drop, Fault, Hang, Respond

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.support.sandbox import FaultySandbox

IMPATIENT = Timeouts(request=5.0, retry=5.0, processing=10.0)


pytestmark = pytest.mark.usefixtures("brisk")


def operations(sandbox: FaultySandbox, integration_id: str) -> list[str]:
    return [seen.operation for seen in sandbox.requests(integration_id)]


def state(sandbox: FaultySandbox, integration_id: str) -> str:
    (session,) = sandbox.sessions(integration_id)
    return session.state


def numbered(count: int) -> Iterator[dict[str, int]]:
    for number in range(count):
        yield {"id": number}


def message(failure: BaseException, logged: str) -> str:
    """The session's outcome for a foreign exception: a note, or the log before Python 3.11."""
    if sys.version_info >= (3, 11):
        return "".join(failure.__notes__)
    else:  # noqa: RET505 - mypy needs the `else` to see another Python version
        return logged


def test_leaving_the_block_applies(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    with client.run() as run:
        run.push("staff_members", numbered(120))
        run.push("devices", [{"serial": "a"}])
    assert state(sandbox, integration_id) == "processed"
    applied = sandbox.applied(integration_id)
    assert [json.loads(entity) for entity in applied["staff_members"]] == list(numbered(120))
    (session,) = sandbox.sessions(integration_id)
    accepted = {"staff_members": 120, "devices": 1}
    assert run.result == RunResult(RunOutcome.APPLIED, session.id, accepted, 2)
    assert run.session_outcome == ""


def test_without_records_nothing_is_opened(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    with client.run() as run:
        run.push("people", [])
    assert run.result == RunResult(RunOutcome.NOTHING_SENT, None, {}, 0)
    assert operations(sandbox, integration_id) == []


@pytest.mark.parametrize("failure", [ValueError("of the caller's"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_discards_propagates_and_reports_the_outcome(
    client: SprintoClient,
    sandbox: FaultySandbox,
    integration_id: str,
    failure: BaseException,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = client.run()

    def fail() -> None:
        with run:
            run.push("people", numbered(100))
            raise failure

    with pytest.raises(type(failure)) as caught:
        fail()
    assert caught.value is failure
    assert state(sandbox, integration_id) == "cancelled"
    assert run.session_outcome.endswith("was discarded; nothing was applied.")
    assert run.session_outcome in message(failure, caplog.text)
    assert run.result.outcome is RunOutcome.DISCARDED


def test_an_exception_from_the_records_discards_at_once(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    def records() -> Iterator[dict[str, int]]:
        yield from numbered(100)
        raise LookupError

    run = client.run()
    with pytest.raises(LookupError):
        run.push("people", records())
    assert state(sandbox, integration_id) == "cancelled"
    assert run.session_outcome.endswith("was discarded; nothing was applied.")


def test_a_block_that_swallows_a_failed_push_raises(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    def swallow() -> None:
        with client.run() as run:
            with pytest.raises(UnserializableRecord):
                run.push("people", [*numbered(100), {"id": b"no JSON"}])
            with pytest.raises(RunEnded):
                run.push("people", numbered(1))

    with pytest.raises(RunEnded, match="A push of this run has failed") as caught:
        swallow()
    assert isinstance(caught.value.__cause__, UnserializableRecord)
    assert "was discarded" in str(caught.value)
    assert state(sandbox, integration_id) == "cancelled"


def test_a_block_may_end_its_run_explicitly(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    with client.run() as run:
        run.push("people", numbered(100))
        assert "was discarded" in run.abort().session_outcome
    with client.run() as run:
        run.push("people", numbered(1))
        assert run.finish() is run.result
    assert [one.state for one in sandbox.sessions(integration_id)] == ["cancelled", "processed"]


@pytest.mark.parametrize("finish", ["apply", "hold", "discard"])
def test_a_check_after_the_end_finds_nothing_wrong(client: SprintoClient, finish: Any) -> None:  # noqa: ANN401 - one of the words
    with client.run(finish=finish) as run:
        run.push("User", [{"id": 1}])
        run.finish()
        run.check()


def test_a_rejection_by_sprinto_discards_and_is_raised(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    rejection = {"error": {"code": "validation", "message": "no", "details": [
        {"entity_type": "people", "index": 3, "field": "id", "issue": "must be a string"}
    ]}}  # fmt: skip
    sandbox.inject(Fault("push", integration_id=integration_id, effect=Respond(400, body=rejection)))
    run = client.run(timeouts=IMPATIENT)
    with pytest.raises(PageRefused) as caught, run:
        run.push("people", numbered(5))
    assert state(sandbox, integration_id) == "cancelled"
    assert "index 0 of push 1 to index 4 of push 1" in str(caught.value)
    assert "which is index 3 of push 1" in str(caught.value)
    assert run.session_outcome == caught.value.session_outcome
    assert "was discarded" in str(caught.value)


def test_a_failure_on_exit_discards_and_is_raised(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    sandbox.inject(Fault("status", integration_id=integration_id, effect=Respond(401)))
    with pytest.raises(Unauthorized, match="was discarded"), client.run() as run:
        run.push("people", numbered(3))
    assert state(sandbox, integration_id) == "cancelled"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_lost_response_is_resolved(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str, moment: Literal["before", "after"]
) -> None:
    sandbox.inject(Fault("push", integration_id=integration_id, moment=moment, effect=Drop()))
    with client.run(timeouts=IMPATIENT) as run:
        run.push("people", numbered(150))
    assert run.result.records == {"people": 150}
    assert len(sandbox.applied(integration_id)["people"]) == 150
    sent = [seen.items for seen in sandbox.requests(integration_id) if seen.operation == "push"]
    assert sum(sent) == (250 if moment == "before" else 150)


def test_pages_are_sent_before_the_records_end(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    def records() -> Iterator[dict[str, int]]:
        yield from numbered(100)
        sandbox.wait_for(lambda box: "push" in operations(box, integration_id))
        yield {"id": 100}

    with client.run() as run:
        run.push("people", records())
    assert len(sandbox.applied(integration_id)["people"]) == 101


def test_records_are_read_no_faster_than_pages_are_sent(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    stuck = Fault("push", integration_id=integration_id, effect=Hang())
    sandbox.inject(stuck)
    taken: list[int] = []

    def records() -> Iterator[dict[str, int]]:
        for number in range(10_000):
            taken.append(number)
            yield {"id": number}

    def interrupted() -> None:
        if sandbox.fired(integration_id) and len(taken) >= 300:
            raise Interrupted(signal.SIGINT)

    with pytest.raises(Interrupted, match="was discarded"), client.run(interrupted=interrupted) as run:
        run.push("people", records())
    sandbox.release(stuck)
    assert len(taken) == 300
    assert state(sandbox, integration_id) == "cancelled"


def test_a_second_interruption_ends_the_wait_for_the_discard(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = Fault("close", integration_id=integration_id, effect=Hang())
    sandbox.inject(stuck)
    watcher = threading.Thread(target=interrupt_once_fired, args=(sandbox, integration_id))

    def fail() -> None:
        with client.run() as run:
            runs.append(run)
            watcher.start()
            run.push("people", numbered(100))
            raise LookupError

    runs: list[Run] = []
    with pytest.raises(KeyboardInterrupt):
        fail()
    watcher.join()
    sandbox.release(stuck)
    (session,) = sandbox.sessions(integration_id)
    assert f"Session {session.id} may still be open, until " in caplog.text
    assert (runs[0].result.outcome, runs[0].result.left_open) == (RunOutcome.IN_DOUBT, session.id)


def test_a_second_interruption_while_the_session_is_created_is_reported(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = Fault("create", integration_id=integration_id, effect=Hang())
    sandbox.inject(stuck)
    watcher = threading.Thread(target=interrupt_once_fired, args=(sandbox, integration_id, 2))
    run = client.run()
    watcher.start()
    with pytest.raises(KeyboardInterrupt), run:
        run.push("people", numbered(100))
    watcher.join()
    sandbox.release(stuck)
    assert "A session of this run may be open until " in run.result.session_outcome
    assert run.result.session_outcome in caplog.text
    assert run.result.outcome is RunOutcome.IN_DOUBT
    assert run.result.expires_at is not None


def interrupt_once_fired(sandbox: FaultySandbox, integration_id: str, times: int = 1) -> None:
    """Ctrl-C, as often as this, once a fault has fired."""
    while not sandbox.fired(integration_id):
        time.sleep(0.01)
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)


@pytest.mark.parametrize(("finish", "outcome"), [("apply", "had been applied"), ("hold", "is held")])
def test_an_exception_after_the_end_says_what_became_of_the_session(
    client: SprintoClient, finish: str, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = client.run(finish=finish)

    def fail() -> None:
        with run:
            run.push("people", numbered(3))
            run.finish()
            raise LookupError

    with pytest.raises(LookupError) as caught:
        fail()
    assert f"Session {run.result.session_id} {outcome}" in message(caught.value, caplog.text)


def test_a_failed_page_stops_reading(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    sandbox.inject(Fault("push", integration_id=integration_id, effect=Respond(401)))
    before = {thread for thread in threading.enumerate() if thread.name == "sprinto-pages"}
    taken: list[int] = []

    def records() -> Iterator[dict[str, int]]:
        yield from numbered(100)
        for thread in threading.enumerate():
            if thread.name == "sprinto-pages" and thread not in before:
                thread.join(10)
        # Not enough for another page.
        for number in range(50):
            taken.append(number)
            yield {"id": number}

    with pytest.raises(Unauthorized), client.run() as run:
        run.push("people", records())
    assert taken == [0]
    assert state(sandbox, integration_id) == "cancelled"


def test_entity_order_is_kept_with_pages_in_flight(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    def versions(entity: str) -> Iterator[dict[str, Any]]:
        for version in range(60):
            yield {"id": entity, "version": version}
            yield {"id": f"{entity} {version}", "version": version}

    with client.run(page_size=10, max_parallel_pages=4) as run:
        run.push("people", versions("a"), key="id")
        run.push("people", versions("b"), key=["id"])
        run.push("people", versions("a"), key="version")
    sent = [seen for seen in sandbox.requests(integration_id) if seen.operation == "push"]
    accepted = [
        entity
        for seen in sorted(sent, key=lambda seen: seen.acted_at or 0.0)
        for entity in json.loads(gzip.decompress(seen.body))["entities"]["people"]
    ]
    for entity, times in (("a", 2), ("b", 1)):
        assert [one["version"] for one in accepted if one["id"] == entity] == [*range(60)] * times


def test_no_threads_remain(client: SprintoClient) -> None:
    before = threading.enumerate()
    with client.run(max_parallel_pages=4, page_size=10) as run:
        run.push("people", numbered(200), key="id")
    for thread in threading.enumerate():
        if thread.name.startswith("sprinto-") and thread not in before:
            thread.join(10)
            assert not thread.is_alive(), thread.name


def test_a_run_can_be_used_only_once(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    run = client.run()
    with run:
        run.push("people", numbered(1))
        with pytest.raises(RunEnded, match="Each run is one session"):
            run.__enter__()
    with pytest.raises(RunEnded, match="Each run is one session"), run:
        raise AssertionError("the block must not begin")
    with pytest.raises(RunEnded):
        run.push("people", numbered(1))
    assert len(sandbox.applied(integration_id)["people"]) == 1


PROGRAM = """
import itertools, os, signal, sys
from target_sprinto import SprintoClient

assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
client = SprintoClient(api_key="sandbox-key", integration_id=sys.argv[1], api_url=sys.argv[2])
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append("SIGTERM"))

def records():
    for number in range(100):
        yield {"id": number}
    os.kill(os.getpid(), signal.SIGTERM)
    while True:
        yield {"id": number}
        if heard:
            print(*heard, flush=True)
            os.kill(os.getpid(), signal.SIGINT)

with client, client.run() as run:
    run.push("people", records())
"""


def test_signals_are_left_to_the_program(sandbox: FaultySandbox, integration_id: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, integration_id, sandbox.base_url],
        capture_output=True,
        text=True,
        # Like a foreground process of a shell; in the background, SIGINT would be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        check=False,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )
    assert finished.stdout.startswith("SIGTERM\n")
    assert finished.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in finished.stderr
    assert "was discarded; nothing was applied." in finished.stderr
    assert state(sandbox, integration_id) == "cancelled"


def test_an_interruption_that_leaves_a_lock_held_still_discards(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    before = threading.enumerate()

    def fail() -> None:
        with client.run() as run:
            run.push("people", numbered(100))
            assert run._session._open is not None
            # Simulate an interruption between acquiring the lock and its `with`.
            run._session._open.queue._changed.acquire()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert state(sandbox, integration_id) == "cancelled"
    for thread in threading.enumerate():
        if thread.name == "sprinto-pages" and thread not in before:
            thread.join(10)
            assert not thread.is_alive()


INTERRUPTED = """
import random, signal, sys, time
from target_sprinto import SprintoClient

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
random.seed(7)
for attempt in range(60):
    client = SprintoClient(
        api_key="sandbox-key", integration_id=f"{sys.argv[1]}-{attempt}", api_url=sys.argv[2]
    )
    run = client.run(max_parallel_pages=random.choice([1, 4]))
    try:
        # The first one shows how long a run takes here.
        began = time.monotonic()
        if attempt:
            signal.setitimer(signal.ITIMER_REAL, 0.001 + random.random() ** 2 * 2 * whole_run)
        with run:
            run.push("people", ({"id": number} for number in range(4000)), key="id")
        signal.setitimer(signal.ITIMER_REAL, 0)
        if not attempt:
            whole_run = time.monotonic() - began
    except KeyboardInterrupt:
        pass
    print(run.session_outcome or ("applied" if run._session.result else "nothing reported"))
    client.close()
"""


@pytest.mark.slow
def test_an_interrupted_run_always_reports_its_outcome(sandbox: FaultySandbox, integration_id: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, integration_id, sandbox.base_url],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )
    lines = finished.stdout.splitlines()
    assert len(lines) == 60, finished.stderr
    assert finished.returncode == 0
    states_of_outcome = {
        "was discarded": {"cancelled"},
        # Interrupted after it was noted that a close is sent, and before it was sent: "may" is cautious.
        "an apply request": {"active", "processing", "processed"},
        "applied": {"processed"},
        "No session was opened": set(),
    }
    seen = set()
    for attempt, line in enumerate(lines):
        (matched,) = [
            message
            for message in states_of_outcome
            if message in line and (message != "applied" or message == line)
        ]
        seen.add(matched)
        states = {session.state for session in sandbox.sessions(f"{integration_id}-{attempt}")}
        assert states <= states_of_outcome[matched], line
    assert {"was discarded", "applied"} <= seen


class Text(str):
    __slots__ = ()


def test_records_arrive_unchanged(client: SprintoClient, sandbox: FaultySandbox, integration_id: str) -> None:
    offset = timezone(timedelta(hours=5, minutes=45))
    record = {
        "decimal": Decimal("1.10"),
        "long": Decimal("3.14159265358979323846264338327950288"),
        "big": 2**70,
        "float": 0.1,
        "at": datetime(2026, 11, 21, 9, 30, 0, 250, tzinfo=offset),
        "naive": datetime(2026, 11, 21, 9, 30),  # noqa: DTZ001 - deliberately naive
        "on": date(2026, 11, 21),
        "uuid": UUID(int=1),
        "text": Text("Zoë 🙂"),
        "null": None,
        "nested": MappingProxyType({"list": [1, (True, "")], "empty": OrderedDict()}),
    }
    with client.run() as run:
        run.push("people", [MappingProxyType(record)])
    (applied,) = sandbox.applied(integration_id)["people"]
    assert json.loads(applied, parse_float=Decimal) == {
        "decimal": Decimal("1.10"),
        "long": Decimal("3.14159265358979323846264338327950288"),
        "big": 2**70,
        "float": Decimal("0.1"),
        "at": "2026-11-21T09:30:00.000250+05:45",
        "naive": "2026-11-21T09:30:00",
        "on": "2026-11-21",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "text": "Zoë 🙂",
        "null": None,
        "nested": {"list": [1, [True, ""]], "empty": {}},
    }
    assert "1.10" in str(applied)


def circle() -> dict[str, object]:
    found: dict[str, object] = {}
    found["again"] = found
    return found


SECRET = "s3cr3t"


class Repeated(Mapping[str, str]):
    """Like `multidict.MultiDict`."""

    def __getitem__(self, name: str) -> str:
        return SECRET

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[str]:
        return iter(["x", "x"])


class InBerlin(tzinfo):
    """Like `zoneinfo.ZoneInfo`, which knows no offset without a date."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None if moment is None else timedelta(hours=1)

    def dst(self, _: datetime | None) -> timedelta | None:
        return None

    def tzname(self, _: datetime | None) -> str:
        return "Berlin"


class Nowhere(InBerlin):
    """A time zone whose offset Python rejects."""

    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(days=1)


@pytest.mark.parametrize(
    ("record", "field", "issue"),
    [
        ({"a": float("nan")}, "a", "represent NaN"),
        ({"a": [1, {"b": float("-inf")}]}, "a[1].b", "or Infinity"),
        ({"a": Decimal("sNaN")}, "a", "represent NaN"),
        ({"a": {"b": Decimal("Infinity")}}, "a.b", "or Infinity"),
        ({"a": SECRET.encode()}, "a", "JSON cannot represent bytes"),
        ({"a": {SECRET}}, "a", "JSON cannot represent set"),
        ({"a": timedelta(1)}, "a", "JSON cannot represent datetime.timedelta"),
        ({"a": object()}, "a", "JSON cannot represent object"),
        ({"a": {1: SECRET}}, "a", "one of its keys is not a string but of type int"),
        ({"a": SECRET + "\ud800"}, "a", "surrogate"),
        (circle(), "", "nested too deeply"),
        ([SECRET], "", "it is not a mapping but of type list"),
        (SECRET, "", "it is not a mapping but of type str"),
        ({"other": SECRET}, "id", "it is missing"),
        ({"a": Repeated()}, "a", "one of its keys occurs twice"),
        ({"a": time_of_day(9, tzinfo=InBerlin())}, "a", "its UTC offset depends on a date"),
        ({"a": datetime(2026, 11, 21, tzinfo=Nowhere())}, "a", "its time zone has no valid UTC offset"),
    ],
)
def test_an_unserializable_record_is_named_but_not_shown(
    client: SprintoClient,
    record: Any,  # noqa: ANN401 - anything at all
    field: str,
    issue: str,
) -> None:
    run = client.run()
    run.push("others", [{"id": 1}])
    with pytest.raises(UnserializableRecord) as caught:
        run.push("people", [{"id": 1}, {"id": 2}, record], key="id" if field == "id" else ())
    assert (caught.value.index, caught.value.field) == (2, field)
    assert issue in str(caught.value)
    where = f"field {field!r} of the record" if field else "the record"
    assert f"In push 2, {where} at index 2 cannot be sent: " in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_record_that_fits_no_page_is_named(client: SprintoClient) -> None:
    with pytest.raises(RecordTooLarge, match=r"index 1 of push 1"), client.run() as run:
        run.push("people", [{"id": 1}, {"id": "x" * 5_000_000}])


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"api_key": ""}, "`api_key` is empty"),
        ({"api_key": "kéy"}, "which an HTTP header cannot carry"),
        ({"api_key": "k\ny"}, "`api_key` has"),
        ({"integration_id": " "}, "`integration_id` is empty"),
        ({"region": "mars"}, "`region` must be one of us, in, eu"),
        ({"api_url": "http://sprinto.example/api"}, "plain http to another machine"),
        ({"api_url": "https://me:s3cr3t@sprinto.example/api"}, "must have no user"),
        ({"api_key": b"k3y"}, "`api_key` must be text"),
        ({"integration_id": 7}, "`integration_id` must be text"),
        ({"region": ["us"]}, "`region` must be one of us, in, eu"),
        ({"api_url": ""}, "`api_url` must begin with https://"),
        ({"api_url": 5}, "`api_url` must be text"),
    ],
)
def test_invalid_client_arguments_are_rejected(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SprintoClient(**{"api_key": "k3y", "integration_id": "i"} | given)
    assert problem in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert "k3y" not in str(caught.value)


NAN, INF, LONG = float("nan"), float("inf"), "x" * 256
RUN_UUID = "673e4ff4-f76b-40c6-81dd-ceb7f00a4324"
NO_TEXT: list[object] = [None, True, 5, NAN, b"User", ["User"], "", " ", LONG, "\ud800"]
NO_SECONDS: list[object] = [None, True, "60", NAN, INF, -INF, -1, 10**400]
NO_FUNCTION: list[object] = [None, True, 0, NAN, -1, "", "stop"]


class Half:
    """Has only one of the required methods."""

    def keep(self, rejects: object) -> None:
        raise AssertionError(rejects)

    opened = keep


class Whole(RunObserver):
    """A class, passed where an object is needed."""


async def _never() -> AsyncIterator[int]:
    yield 1


def ran(client: SprintoClient, **given: Any) -> None:  # noqa: ANN401 - that is the point
    with client.run(**given) as run:
        run.push("people", [{"id": 1}])


def pushed(client: SprintoClient, **given: Any) -> None:  # noqa: ANN401 - that is the point
    with client.run() as run:
        run.push(**{"entity_type": "people", "records": [{"id": 1}]} | given)


def added(client: SprintoClient, **given: Any) -> None:  # noqa: ANN401 - that is the point
    with client.run() as run:
        run.add(**{"entity_type": "people", "body": b"{}"} | given)


def ended(client: SprintoClient, **given: Any) -> None:  # noqa: ANN401 - that is the point
    client.run().abort(**given)


ARGUMENTS: dict[str, tuple[Callable[..., object], dict[str, list[object]]]] = {
    "SprintoClient": (
        lambda _client, **given: SprintoClient(**{"api_key": "k3y", "integration_id": "i"} | given),
        {
            "api_key": [*NO_TEXT[:-2], "k" * 4097, "k\ny", "kéy"],
            "integration_id": [*NO_TEXT, " a", "a\n"],
            "region": [None, True, 5, NAN, "", "mars", "US", ["us"], b"us"],
            "transport": [True, 5, NAN, "", Half()],
            "api_url": [
                True,
                5,
                NAN,
                "",
                b"https://a",
                "http://sprinto.example",
                "https://me:pw@a",
                "ftp://a",
            ],
        },
    ),
    "Timeouts": (
        lambda _client, **given: Timeouts(**given),
        {
            "request": [*NO_SECONDS, 0],
            "retry": NO_SECONDS,
            "processing": [*NO_SECONDS, 0],
        },
    ),
    "ConflictPolicy": (
        lambda _client, **given: ConflictPolicy(**given),
        {
            "choice": [None, True, 1, NAN, "", "fial", "FAIL", ["fail"]],
            "wait_seconds": NO_SECONDS,
            "stale_seconds": NO_SECONDS,
            "own_prefix": NO_TEXT[1:],
        },
    ),
    "SprintoClient.run": (
        ran,
        {
            "reference_prefix": [*NO_TEXT, " a", "a\n"],
            "page_size": [None, True, NAN, INF, -1, 0, 101, 500, 100.0, "100", ""],
            "max_parallel_pages": [None, True, NAN, INF, -1, 0, 17, 1.0, "1", ""],
            "compress": [None, 0, 1, NAN, -1, "", "no"],
            "timeouts": [True, 60, NAN, "", {"request": 60}, RetryPolicy()],
            "on_conflict": [True, 0, NAN, "", "wait", OnActiveSession.WAIT, ConflictPolicy],
            "on_count_mismatch": [None, True, 1, NAN, "", "aply", "APPLY"],
            "finish": [None, True, 1, NAN, "", "hlod", "HOLD"],
            "expected": [
                *(True, 5, NAN, "", "User", ["User"]),
                *({"User": wrong} for wrong in (None, True, NAN, INF, -1, 1.0, "1", "")),
                *({wrong: 1} for wrong in (None, 1, "", " ", LONG)),
            ],
            "interrupted": NO_FUNCTION,
            "run_uuid": [*NO_TEXT[1:], "job-1", str(UUID(int=1)), RUN_UUID.upper(), f"{RUN_UUID}\n"],
        },
    ),
    "RunOptions": (
        lambda _client, **given: RunOptions(**given),
        {
            "rejects": [True, 0, NAN, -1, "", {}, Half(), Whole],
            "known_field": NO_FUNCTION,
            "observer": [True, 0, NAN, -1, "", {}, Half(), Whole],
        },
    ),
    "Run.push": (
        pushed,
        {
            "entity_type": NO_TEXT,
            "records": [
                None,
                True,
                5,
                NAN,
                "",
                "id",
                b"",
                {},
                {"id": 1},
                (number async for number in _never()),
            ],
            "key": [None, True, 5, NAN, "", b"id", {"id"}, {"id": 1}, [1], ["id", ""], [None]],
        },
    ),
    "Run.add": (
        added,
        {
            "entity_type": NO_TEXT,
            "body": [
                None,
                True,
                5,
                NAN,
                "",
                "{}",
                b"",
                b"[{}]",
                b"null",
                b" {}",
                b"{} ",
                bytearray(b"{}"),
                {},
            ],
            "key": [[1], {}, {1}, ("a", [1])],
        },
    ),
    "Run.abort": (ended, {"deadline": [True, 0, 5.0, NAN, -1, "", "now"]}),
}
"""Each callable: a call with one wrong argument, and wrong values for each argument."""

ANYTHING = {"Run.add.origin"}
"""Arguments that accept any value."""

IN_OTHER_TESTS = {f"RunOptions.{name}" for name in inspect.signature(SprintoClient.run).parameters}


@pytest.mark.parametrize("door", ARGUMENTS)
def test_an_invalid_argument_is_an_error(
    client: SprintoClient, sandbox: FaultySandbox, subtests: pytest.Subtests, door: str
) -> None:
    call, arguments = ARGUMENTS[door]
    for name, value in ((name, value) for name, values in arguments.items() for value in values):
        with subtests.test(name, value=ascii(value)):  # A worker can only report plain text.
            with pytest.raises(ConfigError) as caught:
                call(client, **{name: value})
            assert f"`{name}" in str(caught.value)
            assert caught.value.code == "settings"
            assert len(str(caught.value)) <= 300
    assert client.requests == 0
    assert not sandbox.requests(client._api.address.split("'")[1])


@pytest.mark.parametrize("door", ARGUMENTS)
def test_the_table_contains_every_argument(door: str) -> None:
    kind, _, method = door.partition(".")
    found = RunOptions if kind == "RunOptions" else getattr(target_sprinto, kind)
    parameters = set(inspect.signature(getattr(found, method) if method else found).parameters) - {"self"}
    elsewhere = {name for name in parameters if f"{door}.{name}" in ANYTHING | IN_OTHER_TESTS}
    assert parameters - elsewhere == set(ARGUMENTS[door][1])


def test_a_run_accepts_all_options_except_the_targets() -> None:
    options, parameters = (set(inspect.signature(one).parameters) for one in (RunOptions, SprintoClient.run))
    assert options - parameters == {"rejects", "known_field", "observer"}


def test_a_push_with_invalid_arguments_discards_the_run(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    """Even if the program catches the error, because the records of that push are missing."""
    run = client.run()

    def go_on() -> None:
        with run:
            run.push("people", numbered(100))
            with pytest.raises(ConfigError):
                run.push("people", {"id": 1})  # type: ignore[dict-item] # that is the point

    with pytest.raises(RunEnded):
        go_on()
    assert state(sandbox, integration_id) == "cancelled"
    assert run.session_outcome.endswith("was discarded; nothing was applied.")


def test_discard_takes_over_sessions_with_the_same_prefix(client: SprintoClient) -> None:
    run = client.run(reference_prefix="hr", on_conflict=ConflictPolicy(choice="discard"))
    assert run._session._options.on_conflict.own_prefix == "hr"
    given = ConflictPolicy(choice="discard", own_prefix="other")
    run = client.run(reference_prefix="hr", on_conflict=given)
    assert run._session._options.on_conflict.own_prefix == "other"


def test_setting_names_are_accepted_as_strings() -> None:
    assert ConflictPolicy(choice="discard").choice is OnActiveSession.DISCARD


def test_hold_as_a_string_holds(client: SprintoClient, sandbox: FaultySandbox, integration_id: str) -> None:
    with client.run(finish="hold") as run:
        run.push("people", [{"id": 1}])
    assert state(sandbox, integration_id) == "active"
    assert sandbox.sessions(integration_id)[0].client_reference_id == f"target-sprinto/{run.uuid}/hold"


def test_a_region_determines_the_host() -> None:
    with SprintoClient(api_key="k", integration_id="i", region="eu") as client:
        assert client._api.address == "integration 'i' at eu.sprinto.com"


def test_a_hint_names_python_arguments(client: SprintoClient) -> None:
    with client.run(finish="hold") as held:
        held.push("people", [{"id": 1}])
    assert held.result.outcome is RunOutcome.HELD
    assert held.result.expires_at is not None
    run = client.run()
    with pytest.raises(SessionConflict) as caught, run:
        run.push("people", numbered(100))
    assert "`on_conflict=ConflictPolicy('wait')`" in str(caught.value)
    assert "on_active_session" not in str(caught.value)
    assert run.result.outcome is RunOutcome.NOTHING_SENT
    with pytest.raises(SprintoError, match="lower `expected`"), client.run(expected={"people": 5}):
        pass


def test_a_run_that_has_not_ended_has_no_result(client: SprintoClient) -> None:
    with client.run() as run, pytest.raises(RunEnded, match="has not ended yet"):
        _ = run.result


EXPORTED = [getattr(target_sprinto, name) for name in target_sprinto.__all__]


def public_methods(kind: type) -> list[Any]:
    methods: list[Any] = [
        method for name, method in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"
    ]
    if kind is not target_sprinto.Run:  # `SprintoClient.run` creates it.
        methods += [vars(kind)["__init__"]] if "__init__" in vars(kind) else []
    return methods


def test_no_public_signature_needs_a_private_type() -> None:
    for method in (method for kind in EXPORTED if inspect.isclass(kind) for method in public_methods(kind)):
        for named in re.findall(r"[A-Z]\w+", str(inspect.signature(method))):
            theirs = getattr(sys.modules[method.__module__], named, None)
            ours = isinstance(theirs, type) and theirs.__module__.startswith("target_sprinto")
            assert not ours or theirs in EXPORTED, (method, named)


def test_the_package_exports_what_a_program_needs() -> None:
    assert target_sprinto.__version__ == metadata.version("target-sprinto")
    assert set(target_sprinto.__all__) >= {
        name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, SprintoError)
    } - {"NotVisible"}
    assert {name for name in target_sprinto.__all__ if getattr(target_sprinto, name)} >= {
        "Run",
        "SprintoClient",
    }
    assert issubclass(UnserializableRecord, SprintoError)
    with pytest.raises(AttributeError):
        _ = target_sprinto.Nothing  # type: ignore[attr-defined] # that is the point


class Level(IntEnum):
    HIGH = 3


def test_a_subclass_of_int_is_sent_as_its_number() -> None:
    assert [body for body, _, _ in encoded([{"level": Level.HIGH}], 1, ())] == [b'{"level":3}']
