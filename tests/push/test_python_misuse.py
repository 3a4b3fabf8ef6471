"""Mistakes of Python programs: shared runs, closed clients, checks that raise their own errors."""

from __future__ import annotations

import contextlib
import copy
import enum
import itertools
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

import target_sprinto
from target_sprinto import (
    ConfigError,
    Deadline,
    Interrupted,
    NotConnected,
    NotDiscarded,
    PageRefused,
    Request,
    Response,
    RunEnded,
    RunOutcome,
    RunResult,
    SessionConflict,
    SprintoClient,
    SprintoError,
    Timeouts,
    TooFewRecords,
    Unauthorized,
    UnserializableRecord,
)
from target_sprinto.errors import SettingsError
from target_sprinto.push.api_calls import ApiClient, RetryPolicy
from tests.support.sandbox import Delay, Fault, Hang, Respond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from target_sprinto.push.run.run import Run
    from tests.support.sandbox import FaultySandbox


pytestmark = pytest.mark.usefixtures("brisk")


def states(sandbox: FaultySandbox, integration_id: str) -> list[str]:
    return [session.state for session in sandbox.sessions(integration_id)]


class StopAskedError(Exception):
    """The program's own exception."""


@pytest.mark.parametrize("kind", [StopAskedError, TimeoutError, SystemExit, KeyboardInterrupt])
def test_a_check_may_raise_any_exception(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str, kind: type[BaseException]
) -> None:
    asked = threading.Event()

    def interrupted() -> None:
        if asked.is_set():
            raise kind

    def records() -> Iterator[dict[str, int]]:
        for number in range(150):
            if number == 120:
                asked.set()
            yield {"id": number}

    run = client.run(interrupted=interrupted)
    with pytest.raises(kind), run:
        run.push("people", records())
    assert states(sandbox, integration_id) == ["cancelled"]
    assert run.result.outcome is RunOutcome.DISCARDED


def test_an_api_error_of_a_check_does_not_resolve_a_create(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    """It may be another run's, whose `check` this one calls."""
    sandbox.inject(Fault("create", integration_id=integration_id, effect=Delay(0.5)))

    def interrupted() -> None:
        if sandbox.fired(integration_id):
            raise NotConnected("Another request failed.")

    run = client.run(interrupted=interrupted)
    with pytest.raises(NotConnected, match="was discarded"), run:
        run.push("people", [{"id": 1}])
    assert states(sandbox, integration_id) == ["cancelled"]
    assert run.result.outcome is RunOutcome.DISCARDED


@pytest.mark.parametrize("more", [True, False])
def test_a_run_whose_create_failed_does_not_go_on(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str, *, more: bool
) -> None:
    """Even if the program has caught the failure: the records of the page are gone."""
    sandbox.inject(Fault("create", integration_id=integration_id, effect=Respond(401)))
    run = client.run(page_size=1)

    def use() -> None:
        with run:
            with pytest.raises(Unauthorized):
                run.add("people", b'{"id": 1}')
            if more:
                run.add("people", b'{"id": 2}')

    with pytest.raises(RunEnded):
        use()
    assert run.result.outcome is RunOutcome.NOTHING_SENT


def test_a_check_that_returns_a_value_is_an_error(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    asked = threading.Event()
    with (
        pytest.raises(ConfigError, match="`interrupted` returned a value"),
        client.run(interrupted=asked.is_set) as run,  # type: ignore[arg-type] # as an untyped program may
    ):
        run.push("people", [{"id": 1}])
    assert states(sandbox, integration_id) == []


def test_abort_may_be_called_by_another_thread_at_any_time(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    stuck = Fault("push", integration_id=integration_id, effect=Hang())
    sandbox.inject(stuck)
    run = client.run()
    results: list[RunResult] = []

    def watch() -> None:
        while not sandbox.fired(integration_id):
            time.sleep(0.01)
        results.append(run.abort())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(RunEnded), run:
        run.push("people", [{"id": number} for number in range(500)])
    watcher.join()
    sandbox.release(stuck)
    assert [result.outcome for result in results] == [RunOutcome.DISCARDED] == [run.result.outcome]
    assert states(sandbox, integration_id) == ["cancelled"]


@pytest.mark.parametrize("operation", ["create", "push", "status"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_abort_by_another_thread_ends_every_wait(
    client: SprintoClient,
    sandbox: FaultySandbox,
    integration_id: str,
    operation: Literal["create", "push", "status"],
    moment: Literal["before", "after"],
) -> None:
    """While the page is sent, and while `finish` waits: at once, and as the same error."""
    stuck = Fault(operation, integration_id=integration_id, moment=moment, effect=Hang())
    sandbox.inject(stuck)
    run = client.run()
    ended: list[float] = []

    def watch() -> None:
        while not sandbox.fired(integration_id):
            time.sleep(0.01)
        if operation == "create":
            # Both threads learn of the session in the same moment.
            threading.Timer(0.3, sandbox.release, [stuck]).start()
        run.abort()
        ended.append(time.monotonic())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(RunEnded), run:
        run.push("people", [{"id": 1}])
    watcher.join()
    assert time.monotonic() - ended[0] < 5
    sandbox.release(stuck)
    assert run.result.outcome is RunOutcome.DISCARDED
    assert states(sandbox, integration_id) == ["cancelled"]


def test_leaving_the_block_of_a_run_that_another_thread_has_aborted_is_an_error(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    def work(run: Run) -> None:
        with run:
            run.push("people", [{"id": 1}])
            run.flush()
            thread = threading.Thread(target=run.abort)
            thread.start()
            thread.join()

    with pytest.raises(RunEnded, match="was discarded"):
        work(client.run())
    assert states(sandbox, integration_id) == ["cancelled"]


def abort_once_closing(
    run: Run, sandbox: FaultySandbox, integration_id: str
) -> tuple[threading.Thread, list[RunResult]]:
    """Start a thread that aborts the run once its close has arrived; it appends the result."""
    results: list[RunResult] = []

    def watch() -> None:
        while not any(seen.operation == "close" for seen in sandbox.requests(integration_id)):
            time.sleep(0.01)
        results.append(run.abort())

    watcher = threading.Thread(target=watch)
    watcher.start()
    return watcher, results


def test_abort_by_another_thread_after_the_close_does_not_hide_that_it_is_applied(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    sandbox.configure(integration_id, processing_seconds=0.5)
    run = client.run()
    watcher, results = abort_once_closing(run, sandbox, integration_id)
    with run:
        run.push("people", [{"id": 1}])
    watcher.join()
    assert [result.outcome for result in results] == [RunOutcome.IN_DOUBT]
    assert run.result.outcome is RunOutcome.APPLIED
    assert states(sandbox, integration_id) == ["processed"]


@pytest.mark.parametrize("status", [429, 403])
def test_abort_by_another_thread_discards_if_the_close_in_flight_is_not_performed(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str, status: int
) -> None:
    refused = Respond(status, {"Retry-After": "1"})
    sandbox.inject(Fault("close", integration_id=integration_id, effect=refused, pause=0.5))
    run = client.run()
    watcher, results = abort_once_closing(run, sandbox, integration_id)
    with pytest.raises(RunEnded, match="was discarded"), run:
        run.push("people", [{"id": 1}])
    watcher.join()
    assert [result.outcome for result in results] == [RunOutcome.IN_DOUBT]
    assert run.result.outcome is RunOutcome.DISCARDED
    assert states(sandbox, integration_id) == ["cancelled"]


@pytest.mark.parametrize("finish", ["apply", "hold"])
def test_abort_by_another_thread_at_any_check_of_finish_leaves_the_result_true(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str, finish: Literal["apply", "hold"]
) -> None:
    """Also at the last check before the session is held."""
    checks = itertools.count()

    def abort_at(step: int) -> Run:
        def interrupted() -> None:
            in_main = threading.current_thread() is threading.main_thread()
            if in_main and run.progress().pages and next(checks) == step:
                with ThreadPoolExecutor() as pool:
                    pool.submit(run.abort)

        run = client.run(finish=finish, interrupted=interrupted)
        with contextlib.suppress(RunEnded), run:
            run.push("people", [{"id": 1}])
        return run

    applied, held = (RunOutcome.APPLIED, "processed"), (RunOutcome.HELD, "active")
    for step in itertools.count():
        checks = itertools.count()
        run = abort_at(step)
        ended = run.result.outcome, states(sandbox, integration_id)[-1]
        if next(checks) <= step:
            break
        assert ended in {(RunOutcome.DISCARDED, "cancelled"), applied}
    assert ended == (held if finish == "hold" else applied)
    assert step > 1


def interrupt_at(step: int, *files: str) -> Callable[[], bool]:
    """A KeyboardInterrupt at the n-th step of these files from now on; returns whether it came."""
    left = step

    def trace(frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401 - the debugger's own
        nonlocal left
        if not frame.f_code.co_filename.endswith(files):
            return None
        if event in {"line", "return"}:
            left -= 1
            if left == 0:
                sys.settrace(before)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)

    def came() -> bool:
        sys.settrace(before)
        return left <= 0

    return came


def test_an_interrupt_at_any_step_of_a_use_does_not_prevent_abort(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    for step in itertools.count(1):
        run = client.run()
        run.add("people", b'{"id":1}')
        run.flush()
        came = interrupt_at(step, "exclusive_use.py")
        try:
            run.finish()
        except KeyboardInterrupt:
            assert came()
            run.abort()
        if not came():
            break
        assert states(sandbox, integration_id)[-1] in {"cancelled", "processed"}

    assert step > 10


def test_an_interrupt_at_any_step_of_an_abort_leaves_no_session_unmentioned(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    def fail(run: Run, step: int) -> None:
        with run:
            run.push("people", [{"id": 1}])
            run.flush()
            interrupt_at(step, "run.py", "session.py")
            raise LookupError

    # The first four lines may end before `__exit__` has begun its work: `atexit` does it then.
    for step in itertools.count(5):
        run = client.run()
        with pytest.raises((KeyboardInterrupt, LookupError)) as caught:
            fail(run, step)
        sys.settrace(None)
        if caught.type is LookupError:
            break
        if run.result.outcome is RunOutcome.IN_DOUBT:
            assert run.result.left_open == sandbox.sessions(integration_id)[-1].id
            run.abort()
        else:
            assert states(sandbox, integration_id)[-1] == "cancelled"
    assert step > 20


def test_abort_in_the_middle_of_a_push_is_an_error(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    def records() -> Iterator[dict[str, int]]:
        yield from ({"id": number} for number in range(100))
        run.abort()

    with pytest.raises(ConfigError, match="`abort` was called while"), client.run() as run:
        run.push("people", records())
    assert run.result.outcome is RunOutcome.DISCARDED
    assert states(sandbox, integration_id) == ["cancelled"]


def test_a_check_that_raises_after_the_close_leaves_time(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    sandbox.configure(integration_id, processing_seconds=1.0)

    def interrupted() -> None:
        if any(seen.operation == "close" for seen in sandbox.requests(integration_id)):
            raise StopAskedError

    with client.run(interrupted=interrupted) as run:
        run.push("people", [{"id": 1}])
    assert run.result.outcome is RunOutcome.APPLIED


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_run_used_by_several_threads_is_not_applied(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str, in_flight: int
) -> None:
    """Without a check, a part was applied or the run hung."""
    failures: list[BaseException] = []
    meet = threading.Barrier(4)

    def work(run: target_sprinto.Run) -> None:
        def records() -> Iterator[dict[str, str]]:
            for number in range(200):
                if number == 0:
                    meet.wait(10)
                yield {"id": f"{threading.get_ident()}-{number}"}

        try:
            run.push("people", records())
        except threading.BrokenBarrierError:
            pass
        except SprintoError as failure:
            failures.append(failure)
            meet.abort()

    def share() -> None:
        with client.run(max_parallel_pages=in_flight) as run:
            run.push("people", [{"id": str(number)} for number in range(150)])
            threads = [threading.Thread(target=work, args=(run,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            assert not any(thread.is_alive() for thread in threads)

    with pytest.raises(SprintoError):
        share()
    assert any("several threads" in str(failure).lower() for failure in failures)
    assert states(sandbox, integration_id) == ["cancelled"]
    assert sandbox.applied(integration_id) == {}


def test_threads_may_use_a_run_one_after_another(client: SprintoClient) -> None:
    with client.run() as run:
        for number in range(3):
            thread = threading.Thread(target=run.push, args=("people", [{"id": number}]))
            thread.start()
            thread.join()
    assert run.result.records == {"people": 3}


def test_a_push_may_be_nested_in_another_push(client: SprintoClient) -> None:
    with client.run() as run:

        def people() -> Iterator[dict[str, int]]:
            for number in range(3):
                run.push("devices", [{"owner": number}])
                yield {"id": number}

        run.push("people", people())
    assert run.result.records == {"people": 3, "devices": 3}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_end_its_parents_run(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    with client.run() as run:
        run.push("people", [{"id": number} for number in range(100)])
        if (child := os.fork()) == 0:
            code = 1
            try:
                with pytest.raises(ConfigError, match="process that began it"):
                    run.push("people", [{"id": 1}])
                run.__exit__(StopAskedError, StopAskedError(), None)
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert states(sandbox, integration_id) == ["active"]
    assert run.result.outcome is RunOutcome.APPLIED


ERRORS: list[SprintoError] = [
    UnserializableRecord("x", index=3, field="a.b"),
    Interrupted(signal.SIGTERM),
    PageRefused("x", details=({"index": 1},), response=b"{}"),
    SettingsError("one", "two"),
    NotConnected("x"),
]


@pytest.mark.parametrize("failure", ERRORS, ids=lambda failure: type(failure).__name__)
def test_an_error_can_be_pickled_and_copied(failure: SprintoError) -> None:
    failure.session_outcome = "Session s was discarded."
    passed_on = pickle.loads(pickle.dumps(failure))  # noqa: S301 - pickled above
    for twin in (passed_on, copy.copy(failure), copy.deepcopy(failure)):
        assert type(twin) is type(failure)
        assert (str(twin), vars(twin), twin.exit_code) == (str(failure), vars(failure), failure.exit_code)


def test_a_session_that_expires_before_its_discard_applies_nothing(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    late = Fault("close", integration_id=integration_id, effect=Hang(), moment="before")
    sandbox.inject(late)

    def expire_meanwhile() -> None:
        sandbox.wait_for(lambda box: bool(box.fired(integration_id)))
        sandbox.expire(integration_id)
        sandbox.release(late)

    expired = pytest.raises(NotDiscarded, match="it is expired; nothing was applied")
    with ThreadPoolExecutor() as beside:
        waiting = beside.submit(expire_meanwhile)
        with expired as caught, client.run(finish="discard") as run:
            run.push("people", [{"id": 1}])
        waiting.result()
    assert caught.value.result == run.result
    assert run.result.outcome is RunOutcome.DISCARDED


def test_an_error_has_the_runs_result(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    sandbox.inject(Fault("push", integration_id=integration_id, effect=Respond(401)))
    with pytest.raises(SprintoError) as caught, client.run() as run:
        run.push("people", [{"id": 1}])
    assert caught.value.result == run.result
    assert run.result.outcome is RunOutcome.DISCARDED
    with pytest.raises(RunEnded, match="was discarded") as again:
        run.push("people", [{"id": 1}])
    assert (again.value.result, again.value.__cause__) == (run.result, caught.value)


def test_a_rejected_page_names_push_and_index(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    said = {
        "error": {
            "message": "Zoë",
            "details": [
                {"entity_type": "User", "index": 1, "field": "workEmail", "issue": "required"},
                {"entity_type": "User", "index": 2, "field": "zoe@example.com", "issue": "type"},
            ],
        }
    }
    sandbox.inject(Fault("push", integration_id=integration_id, effect=Respond(400, body=said)))
    records = [{"workEmail": "zoe@example.com", "map": {"zoe@example.com": number}} for number in range(3)]
    wanted = r"index 1 of push 1 .*field 'workEmail' is missing"
    with pytest.raises(PageRefused, match=wanted) as caught, client.run() as run:
        run.push("User", records)
    assert "zoe" not in str(caught.value)
    assert (caught.value.status, caught.value.details[0]["field"]) == (400, "workEmail")


def test_records_without_an_origin_are_identified_by_page(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    sandbox.inject(Fault("push", integration_id=integration_id, times=9, effect=Respond(400, body={})))
    with pytest.raises(PageRefused, match="Sprinto rejected page 1 and named no record"), client.run() as run:
        run.add("User", b'{"id": 1}')


def test_an_invalid_json_body_is_reported_as_a_rejected_page(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    said = {"error": {"message": "x", "details": [{"entity_type": "User", "index": 0, "field": "id"}]}}
    sandbox.inject(Fault("push", integration_id=integration_id, times=9, effect=Respond(400, body=said)))
    with pytest.raises(PageRefused, match="entity type 'User', index 0"), client.run() as run:
        run.add("User", b'{"id": }')


def test_a_closed_client_opens_nothing(client: SprintoClient) -> None:
    client.close()
    with pytest.raises(SprintoError) as caught, client.run() as run:
        run.push("people", [{"id": 1}])
    assert caught.value.code == "client-closed"
    assert run.result.outcome is RunOutcome.NOTHING_SENT


def test_closing_the_client_ends_its_run_at_once(client: SprintoClient) -> None:
    run = client.run()

    def close_within() -> None:
        with run:
            run.push("people", [{"id": number} for number in range(100)])
            client.close()

    with pytest.raises(SprintoError) as caught:
        close_within()
    assert caught.value.code == "client-closed"
    assert run.result.left_open
    assert run.result.left_open in str(caught.value)


class Kind(str, enum.Enum):
    USER = "User"


class Shouting(str):
    __slots__ = ()

    def __str__(self) -> str:
        return self.upper()


def test_str_subclasses_are_sent_by_their_content(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    with client.run() as run:
        run.push(Kind.USER, [{"name": Shouting("zoë")}])
        run.push(Shouting("Team"), [{"name": "a"}])
    assert run.result.records == {"User": 1, "Team": 1}
    applied = sandbox.applied(integration_id)
    assert json.loads(applied["User"][0]) == {"name": "zoë"}
    assert all(type(name) is str for name in run.result.records)


class TwoFaced(dict[str, object]):
    """Shows other items than it holds, as werkzeug's MultiDict does."""

    def items(self) -> Any:  # noqa: ANN401 - as dict's
        return {name: one for name, (one, *_) in super().items()}.items()  # type: ignore[misc, has-type] # lists


class Unsteady(Mapping[str, object]):
    """NaN when read for the second time."""

    def __init__(self) -> None:
        self._values = iter([1.0, float("nan")])

    def __getitem__(self, name: str) -> object:
        return next(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(["score"])

    def __len__(self) -> int:
        return 1


class Hidden(float):
    def __float__(self) -> float:
        return float("nan")


def test_exactly_the_values_that_are_checked_are_sent(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    with client.run() as run:
        run.push("people", [TwoFaced(id=["E1"], score=[1.0, float("nan")])], key="id")
        run.push("scores", [Unsteady(), {"score": Hidden(2.0)}])
    applied = {
        name: [json.loads(one) for one in found] for name, found in sandbox.applied(integration_id).items()
    }
    assert applied == {"people": [{"id": "E1", "score": 1.0}], "scores": [{"score": 1.0}, {"score": 2.0}]}


@pytest.mark.parametrize(
    "made",
    [
        lambda: Deadline("5"),  # type: ignore[arg-type] # as a user may
        lambda: Deadline(float("nan")),
        lambda: Deadline(True),  # noqa: FBT003 - as a user may
        lambda: Deadline(-1),
        lambda: Deadline(10**400),
        lambda: Deadline(5, 3),  # type: ignore[arg-type] # as a user may
        lambda: Deadline(5, lambda: None, None),  # type: ignore[arg-type] # as a user may
    ],
)
def test_invalid_deadlines_are_rejected(made: Any) -> None:  # noqa: ANN401 - a factory
    with pytest.raises(ConfigError):
        made()


class Wrong:
    def send(self, request: Request) -> Response:  # noqa: ARG002 - the protocol's
        return {"status": 201}  # type: ignore[return-value] # as a user may


class Absent:
    def send(self, request: Request) -> Response:
        raise NotConnected(f"{request.action} nothing was there.")


def test_a_transport_that_returns_another_type_is_an_error() -> None:
    client = SprintoClient(api_key="key", integration_id="demo", transport=Wrong())
    wanted = r"`transport.send\(…\)` must be an instance of Response"
    with pytest.raises(ConfigError, match=wanted), client.run() as run:
        run.push("people", [{"id": 1}])


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (("202", {}, b"{}"), r"\.status` must be an instance of int"),
        ((202, None, b"{}"), r"\.headers` must be an instance of Mapping"),
        ((202, {}, "{}"), r"\.body` must be an instance of bytes"),
    ],
)
def test_a_transport_response_with_wrong_types_is_an_error(given: Any, wanted: str) -> None:  # noqa: ANN401 - as a user may
    class Odd:
        def send(self, request: Request) -> Response:  # noqa: ARG002 - the protocol's
            return Response(*given)

    client = SprintoClient(api_key="key", integration_id="demo", transport=Odd())
    with pytest.raises(ConfigError, match=wanted), client.run() as run:
        run.push("people", [{"id": 1}])


def test_a_transport_can_report_that_nothing_was_sent() -> None:
    client = SprintoClient(api_key="key", integration_id="demo", transport=Absent())
    with pytest.raises(NotConnected), client.run(timeouts=Timeouts(retry=0)) as run:
        run.push("people", [{"id": 1}])
    assert run.result.outcome is RunOutcome.NOTHING_SENT


class Odd:
    pass


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ({"n": 10**5000}, "a number that is too long"),
        ({"n": Odd()}, f"JSON cannot represent {__name__}.Odd"),
        ({"n": {1}}, "JSON cannot represent set"),
        ({"n": type("L" * 400, (), {})()}, r"JSON cannot represent test_python_misuse\.…L+\."),
        (
            {"n": datetime(1970, 6, 1, tzinfo=timezone(timedelta(minutes=-44, seconds=-30)))},
            "its UTC offset has seconds",
        ),
    ],
)
def test_values_that_json_cannot_represent_are_named(
    client: SprintoClient, record: dict[str, object], wanted: str
) -> None:
    with pytest.raises(UnserializableRecord, match=wanted), client.run() as run:
        run.push("people", [record])


def test_a_conflict_shows_a_single_traceback(client: SprintoClient) -> None:
    page = [{"id": number} for number in range(100)]
    with client.run() as first:
        first.push("people", page)
        with pytest.raises(SessionConflict) as caught, client.run() as second:
            second.push("people", page)
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("Traceback") == 1


def test_every_public_name_is_listed_and_documented() -> None:
    assert set(dir(target_sprinto)) == set(target_sprinto.__all__)
    described = Path(target_sprinto.__file__).parent.parent / "docs/reference/python.md"
    named = set(re.findall(r"\b[A-Za-z_]+\b", described.read_text("utf-8")))
    missing = [name for name in target_sprinto.__all__ if name not in named]
    assert missing == []


def test_an_error_is_not_attributed_to_another_run(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = SprintoClient(
        api_key="sandbox-key", integration_id=f"{integration_id}-other", api_url=sandbox.base_url
    )
    first, second = client.run(), other.run()
    page = [{"id": number} for number in range(100)]

    def push() -> None:
        with first, second:
            first.push("people", page)
            second.push("people", [*page, {"id": {1}}])

    with pytest.raises(UnserializableRecord) as caught:
        push()
    assert caught.value.result is second.result
    (own,) = sandbox.sessions(integration_id)
    assert own.id in first.session_outcome
    # In a note from Python 3.11 on; before, in the log.
    shown = "".join(traceback.format_exception(None, caught.value, None))
    assert own.id in shown + caplog.text


def test_add_from_several_threads_is_an_error(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    create = Fault("create", moment="after", integration_id=integration_id, effect=Hang())
    sandbox.inject(create)
    run = client.run()

    def add() -> None:
        for _ in range(100):
            run.add("people", b'{"id":1}')

    def add_beside() -> None:
        adding = threading.Thread(target=add)
        with run:
            adding.start()
            sandbox.wait_for(lambda box: bool(box.fired(integration_id)))
            with pytest.raises(ConfigError, match="Several threads use one run"):
                run.add("people", b'{"id":2}')
            sandbox.release(create)
            adding.join()

    with pytest.raises(ConfigError, match="Several threads use one run"):
        add_beside()
    assert sandbox.applied(integration_id) == {}


def test_a_check_from_another_thread_during_a_push_is_an_error(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    """It may send the current page, just as the other thread adds to it."""

    def records() -> Iterator[dict[str, int]]:
        yield {"id": 1}
        with ThreadPoolExecutor() as beside, pytest.raises(ConfigError, match="Several threads use one run"):
            beside.submit(run.check).result()
        yield {"id": 2}

    run = client.run()
    with pytest.raises(ConfigError, match="Several threads use one run"), run:
        run.push("people", records())
    assert sandbox.applied(integration_id) == {}


def test_a_run_cannot_finish_during_a_push(client: SprintoClient) -> None:
    def records() -> Iterator[dict[str, int]]:
        yield {"id": 1}
        run.finish()

    with pytest.raises(ConfigError, match="while a push reads its records"), client.run() as run:
        run.push("people", records())
    assert run.result.outcome is not RunOutcome.APPLIED


def test_a_run_cannot_finish_during_a_push_in_which_another_has_ended(client: SprintoClient) -> None:
    def records() -> Iterator[dict[str, int]]:
        yield {"id": 1}
        run.push("devices", [{"owner": 1}])
        run.finish()

    with pytest.raises(ConfigError, match="while a push reads its records"), client.run() as run:
        run.push("people", records())
    assert run.result.outcome is not RunOutcome.APPLIED


@pytest.mark.parametrize("parallel", [1, 8])
def test_a_push_after_a_failed_finish_ends_the_run(client: SprintoClient, parallel: int) -> None:
    """Even if the program has caught the failure: nothing would send its pages."""
    records = [{"id": number} for number in range(5)]
    run = client.run(page_size=2, max_parallel_pages=parallel, expected={"people": 99})

    def use() -> None:
        with run:
            run.push("people", records)
            with pytest.raises(TooFewRecords):
                run.finish()
            run.push("people", records)

    with pytest.raises(RunEnded):
        use()
    assert run.result.outcome is RunOutcome.DISCARDED


def in_a_child(work: Callable[[], object]) -> int:
    """Return the exit code of a forked process: 0 if `work` did not raise."""
    if (child := os.fork()) == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - a forked test must not continue
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_process_leaves_the_run_alone(
    client: SprintoClient, sandbox: FaultySandbox, integration_id: str
) -> None:
    with client.run() as run:
        run.push("people", [{"id": number} for number in range(100)])
        assert in_a_child(run.abort) == 0
        assert in_a_child(lambda: run.add("people", b"{}")) == 1
        assert sandbox.sessions(integration_id)[0].state == "active"
    assert run.result.outcome is RunOutcome.APPLIED


def test_a_forked_process_makes_its_own_connections(sandbox: FaultySandbox, integration_id: str) -> None:
    client = ApiClient(
        api_key=sandbox.options.api_key, integration_id=integration_id, api_url=sandbox.base_url
    )

    def ask() -> None:
        policy = RetryPolicy(10, 0)
        assert all(client.integration_status(policy).sessions.active == 0 for _ in range(20))

    ask()
    hang = Fault("integration_status", nth=21, integration_id=integration_id, effect=Hang(seconds=0.5))
    sandbox.inject(hang)
    asking = threading.Thread(target=ask)
    asking.start()
    sandbox.wait_for(lambda box: bool(box.fired(integration_id)))
    assert in_a_child(ask) == 0
    asking.join()


LEFT_OPEN = """
import sys
from target_sprinto import SprintoClient

def left_open():
    with SprintoClient(api_key="sandbox-key", integration_id=sys.argv[2], api_url=sys.argv[1]) as client:
        with client.run() as run:
            run.push("people", [{"id": number} for number in range(100)])
            yield

suspended = left_open()
next(suspended)
sys.exit(3)
"""


def test_a_run_left_open_at_exit_is_discarded(sandbox: FaultySandbox, integration_id: str) -> None:
    words = [sys.executable, "-c", LEFT_OPEN, sandbox.base_url, integration_id]
    ended = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 3, ended.stderr.decode()
    assert sandbox.sessions(integration_id)[0].state == "cancelled"
