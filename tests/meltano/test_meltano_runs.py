"""`meltano run`: applied records, the STATE that Meltano keeps, and runs that are cut short."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.bare_api import Api
from tests.support.front_door import SECRET
from tests.support.meltano_project import PATIENCE_SECONDS, row, state_at
from tests.support.schedulers import program

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.front_door import FrontDoor
    from tests.support.meltano_project import Project
    from tests.support.sandbox import FaultySandbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def applied(door: FrontDoor) -> list[int]:
    return [person["id"] for person in door.applied().get("User", [])]


def states(door: FrontDoor) -> list[str]:
    """The final state of each session, oldest first."""
    return [session.state for session in door.sessions()]


@pytest.fixture
def project_with_state(project: Project) -> Project:
    """A project whose first run applied rows 1 and 2 of eight."""
    project.write_rows(2)
    assert project.run().code == 0
    project.write_rows(8)
    return project


def test_a_second_run_sends_only_new_rows(project: Project, door: FrontDoor) -> None:
    project.write_rows(5)
    first = project.run()
    assert (first.code, first.errors("target-sprinto")) == (0, []), first.stderr
    assert door.applied() == {"User": [row(number) for number in range(1, 6)]}
    assert project.state() == state_at(5)

    project.write_rows(8)
    second = project.run()
    assert second.code == 0, second.stderr
    assert "tap-people: 3 rows since 2026-11-21T09:05:00Z" in second.stderr
    assert door.pages() == [5, 3]
    assert door.applied() == {"User": [row(number) for number in range(1, 9)]}
    assert states(door) == ["processed", "processed"]
    assert project.state() == state_at(8)

    third = project.run()
    assert third.code == 0, third.stderr
    assert "No records to send: no session was opened." in third.stderr
    assert states(door) == ["processed", "processed"]
    assert project.state() == state_at(8)


@pytest.mark.parametrize("overwrite", [False, True], ids=["merges", "overwrites"])
def test_a_backfill_sends_everything_again(
    project_with_state: Project, door: FrontDoor, *, overwrite: bool
) -> None:
    of_another_stream = {"teams": {"replication_key": "id", "replication_key_value": 77}}
    state = {"singer_state": {"bookmarks": state_at(2)["bookmarks"] | of_another_stream}}
    words = ("state", "set", "--force", "dev:tap-people-to-target-sprinto", json.dumps(state))
    assert project_with_state.call(*words).code == 0

    strategy = ["--state-strategy=overwrite"] if overwrite else []
    assert project_with_state.run("--full-refresh", *strategy, "tap-people", "target-sprinto").code == 0
    assert door.pages() == [2, 8]
    kept = {} if overwrite else of_another_stream
    assert project_with_state.state() == {"bookmarks": state_at(8)["bookmarks"] | kept}


def test_a_held_run_waits_for_a_person(project: Project, door: FrontDoor) -> None:
    project.write_rows(3)
    held = project.run(TARGET_SPRINTO_FINISH="hold", TARGET_SPRINTO_REPORT_PATH="receipt.json")
    assert held.code == 0, held.stderr
    assert (states(door), project.state()) == (["active"], None)

    words = ("target-sprinto:apply", door.session().id, "--receipt", "receipt.json")
    called = project.call("invoke", *words)
    assert (called.code, json.loads(called.stdout)) == (0, state_at(3)), called.stderr
    kept = json.dumps({"singer_state": json.loads(called.stdout)})
    assert project.call("state", "set", "--force", "dev:tap-people-to-target-sprinto", kept).code == 0

    project.write_rows(5)
    assert project.run().code == 0
    assert (door.pages(), applied(door)) == ([3, 2], [1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    ("state_every", "after"),
    [pytest.param("9", "3", id="before-any"), pytest.param("2", "3", id="between-two")],
)
def test_a_tap_that_crashes_before_a_state_applies_nothing(
    project_with_state: Project, door: FrontDoor, state_every: str, after: str
) -> None:
    died = project_with_state.run(
        TAP_PEOPLE_STATE_EVERY=state_every, TAP_PEOPLE_DIE_AFTER=after, TARGET_SPRINTO_PAGE_SIZE="1"
    )
    assert died.code == 1
    assert died.errors("meltano")[0] == "Extractor and loader failed"
    (message,) = died.errors("target-sprinto")
    assert message.startswith("Input ended with ")
    assert "was discarded; nothing was applied." in message
    assert door.pages()[:2] == [2, 1]
    assert states(door) == ["processed", "cancelled"]
    assert applied(door) == [1, 2]
    assert project_with_state.state() == state_at(2)

    assert project_with_state.run().code == 0
    assert applied(door) == list(range(1, 9))
    assert project_with_state.state() == state_at(8)


def test_a_tap_that_crashes_right_after_a_state_looks_finished(
    project_with_state: Project, door: FrontDoor
) -> None:
    died = project_with_state.run(TAP_PEOPLE_DIE_AFTER="4", TARGET_SPRINTO_PAGE_SIZE="1")
    assert died.code == 1
    assert died.errors("meltano")[0] == "Extractor failed"
    assert died.errors("target-sprinto") == []
    assert states(door) == ["processed", "processed"]
    assert applied(door) == [1, 2, 3, 4, 5, 6]
    assert project_with_state.state() == state_at(6)

    assert project_with_state.run().code == 0
    assert door.pages() == [2, 1, 1, 1, 1, 2]
    assert applied(door) == list(range(1, 9))
    assert project_with_state.state() == state_at(8)


def test_meltano_keeps_no_state_of_a_failed_loader(project_with_state: Project, door: FrontDoor) -> None:
    """The tap keeps running until Meltano ends it."""
    failed = project_with_state.run(
        TARGET_SPRINTO_API_KEY="wr0ng-k3y", TARGET_SPRINTO_PAGE_SIZE="1", TAP_PEOPLE_STALL_AFTER="3"
    )
    assert failed.code == 1
    assert failed.errors("meltano")[0] == "Loader failed"
    (message,) = failed.errors("target-sprinto")
    assert message.endswith("[unauthorized]")
    assert "wr0ng-k3y" not in failed.stderr
    assert states(door) == ["processed"]
    assert project_with_state.state() == state_at(2)


class Stop(NamedTuple):
    """A way to stop a run, Meltano's exit code, and the signal that the loader reports."""

    code: int
    message: str
    send: Callable[[int], None] = lambda _: None
    words: tuple[str, ...] = ()


STOPS = {
    # A terminal sends it to the whole process group.
    "Ctrl-C": Stop(1, "SIGINT", lambda meltano: os.killpg(meltano, signal.SIGINT)),
    "SIGINT": Stop(1, "SIGTERM", lambda meltano: os.kill(meltano, signal.SIGINT)),
    "SIGTERM": Stop(143, "SIGTERM", lambda meltano: os.kill(meltano, signal.SIGTERM)),
    "--timeout": Stop(1, "SIGTERM", words=("--timeout", "30")),
}


@pytest.mark.parametrize("how", STOPS)
def test_a_stopped_run_leaves_no_session_and_no_state(
    project_with_state: Project, door: FrontDoor, how: str
) -> None:
    stop = STOPS[how]
    stalled = {"TAP_PEOPLE_STALL_AFTER": "3", "TARGET_SPRINTO_PAGE_SIZE": "1"}
    with project_with_state.started("run", *stop.words, "tap-people", "target-sprinto", **stalled) as process:
        door.wait_for_operation("push", 3, responded=True, within=PATIENCE_SECONDS)
        stop.send(process.pid)
        stopped = project_with_state.finish(process)
    door.sandbox.wait_for(lambda _: states(door) == ["processed", "cancelled"], timeout=PATIENCE_SECONDS)
    assert stopped.code == stop.code, stopped.stderr
    # On Python 3.10, Meltano exits at once on SIGINT: the loader discards after it.
    if sys.version_info >= (3, 11) or how not in {"Ctrl-C", "SIGINT"}:
        (line,) = stopped.errors("target-sprinto")
        assert line.startswith(f"Stopped by {stop.message}.")
        assert "was discarded; nothing was applied." in line
    assert applied(door) == [1, 2]
    assert project_with_state.state() == state_at(2)


def test_killing_meltano_applies_nothing(project_with_state: Project, door: FrontDoor) -> None:
    stalled = {"TAP_PEOPLE_STALL_AFTER": "3", "TARGET_SPRINTO_PAGE_SIZE": "1"}
    with project_with_state.started("run", "tap-people", "target-sprinto", **stalled) as process:
        door.wait_for_operation("push", 3, responded=True, within=PATIENCE_SECONDS)
        os.kill(process.pid, signal.SIGKILL)
        door.sandbox.wait_for(lambda _: states(door)[-1] == "cancelled", timeout=PATIENCE_SECONDS)
    assert applied(door) == [1, 2]
    assert project_with_state.state() == state_at(2)

    refused = project_with_state.run()
    assert refused.code == 1
    assert "is already running" in refused.errors("meltano")[0]
    assert project_with_state.run("--force", "tap-people", "target-sprinto").code == 0
    assert applied(door) == list(range(1, 9))


MAPPER = """#!/bin/sh
for line in 1 2 3 4; do read -r line && printf '%s\\n' "$line"; done
until [ -e die ]; do sleep 0.05; done
exit 1
"""
"""Passes on a SCHEMA, two RECORDs and a STATE, and crashes once the file `die` exists."""


def test_killing_meltano_after_a_state_applies_what_was_sent(
    project_with_state: Project, door: FrontDoor
) -> None:
    """The loader's input ends as if the tap had finished."""
    stalled = {"TAP_PEOPLE_STALL_AFTER": "4", "TARGET_SPRINTO_PAGE_SIZE": "1"}
    with project_with_state.started("run", "tap-people", "target-sprinto", **stalled) as process:
        door.wait_for_operation("push", 5, responded=True, within=PATIENCE_SECONDS)
        os.kill(process.pid, signal.SIGKILL)
        door.sandbox.wait_for(lambda _: states(door) == ["processed", "processed"], timeout=PATIENCE_SECONDS)
    assert applied(door) == [1, 2, 3, 4, 5, 6]
    assert project_with_state.state() == state_at(2)


LONG_LINE = """{tap} "$@"
until [ -e more ]; do sleep 0.05; done
head -c 20000 /dev/zero | tr '\\0' x
"""


def test_a_line_that_is_too_long_for_meltano_ends_the_loaders_input(
    project_with_state: Project, door: FrontDoor
) -> None:
    definition = project_with_state.definition()
    (tap,) = definition["plugins"]["extractors"]
    program(project_with_state.folder / "tap-long", LONG_LINE.format(tap=tap["executable"]))
    tap["executable"] = "./tap-long"
    project_with_state.define(definition)
    small = {"MELTANO_ELT_BUFFER_SIZE": "20000", "TARGET_SPRINTO_PAGE_SIZE": "1"}
    with project_with_state.started("run", "tap-people", "target-sprinto", **small) as process:
        door.wait_for_operation("push", 6, responded=True, within=PATIENCE_SECONDS)
        (project_with_state.folder / "more").touch()
        door.sandbox.wait_for(lambda _: states(door) == ["processed", "processed"], timeout=PATIENCE_SECONDS)
        failed = project_with_state.finish(process)
    assert failed.code == 1
    assert "Output line length limit exceeded" in failed.errors("meltano")
    assert project_with_state.state() == state_at(2)


def test_meltano_exits_with_0_if_it_cannot_store_the_state(project: Project, door: FrontDoor) -> None:
    """Its message is what the guides search for."""
    project.write_rows(2)
    project.env["MELTANO_STATE_BACKEND_URI"] = f"file://{project.folder}/states"
    assert project.run().code == 0
    (kept,) = (project.folder / "states").rglob("state.json")
    door.sandbox.configure(door.integration_id, processing_seconds=4)
    project.write_rows(4)
    with project.started("run", "tap-people", "target-sprinto") as process:
        door.wait_for_operation("close", 2, responded=True, within=PATIENCE_SECONDS)
        kept.rename(kept.parent.with_name("state.json"))
        kept.mkdir()
        failed = project.finish(process)
    assert failed.code == 0
    assert "Failed to persist incremental state" in failed.stderr
    assert states(door) == ["processed", "processed"]


def test_a_crashed_mapper_leaves_a_session_to_discard(project_with_state: Project, door: FrontDoor) -> None:
    """Only in this case does Meltano kill the loader."""
    (project_with_state.folder / "map-dying").write_text(MAPPER)
    (project_with_state.folder / "map-dying").chmod(0o755)
    definition = project_with_state.definition()
    dying = {
        "namespace": "map_dying",
        "executable": "./map-dying",
        "mappings": [{"name": "dying", "config": {}}],
    }
    definition["plugins"]["mappers"] = [{"name": "map-dying", **dying}]
    project_with_state.define(definition)
    words, paged = ["run", "tap-people", "dying", "target-sprinto"], {"TARGET_SPRINTO_PAGE_SIZE": "1"}
    with project_with_state.started(*words, **paged, TAP_PEOPLE_STALL_AFTER="3") as process:
        door.wait_for_operation("push", 2, responded=True, within=PATIENCE_SECONDS)
        (project_with_state.folder / "die").touch()
        failed = project_with_state.finish(process)
    assert failed.code == 1
    assert "(likely a mapper) failed" in failed.errors("meltano")[0]
    assert states(door) == ["processed", "active"]
    assert applied(door) == [1, 2]
    assert project_with_state.state() == state_at(2)

    refused = project_with_state.run()
    assert refused.code == 1
    session = door.sessions()[-1].id
    assert session in refused.errors("target-sprinto")[0]
    discarded = project_with_state.call("invoke", "target-sprinto:discard", session)
    assert (discarded.code, discarded.stdout) == (
        0,
        f"Session {session} was discarded; nothing was applied.\n",
    )
    assert project_with_state.run().code == 0
    assert applied(door) == list(range(1, 9))


def test_ten_taps_on_one_integration_take_turns(project: Project, door: FrontDoor) -> None:
    definition = project.definition()
    for number in range(1, 11):
        people = project.folder / f"people-{number}.json"
        people.write_text(json.dumps([row(number)]))
        tap = {"name": f"tap-{number}", "inherit_from": "tap-people", "config": {"path": str(people)}}
        definition["plugins"]["extractors"].append(tap)
    definition["plugins"]["loaders"][0]["config"] = {"on_active_session": "wait"}
    project.define(definition)
    del project.env["TAP_PEOPLE_PATH"]

    def asking(_: FaultySandbox) -> int:
        """How many runs have requested a session, counted by reference."""
        asked = door.sandbox.requests(door.integration_id)
        return len({seen.body for seen in asked if seen.operation == "create" and seen.status} - {b"{}"})

    with ExitStack() as runs, Api(door.sandbox, door.integration_id) as api:
        in_the_way = api.open()
        started = [
            runs.enter_context(project.started("run", f"tap-{number}", "target-sprinto"))
            for number in range(1, 11)
        ]
        door.sandbox.wait_for(lambda seen: asking(seen) == 10, timeout=PATIENCE_SECONDS)
        assert api.close(in_the_way, "discard").status_code == 202
        finished = [project.finish(process) for process in started]
    assert [run.code for run in finished] == [0] * 10
    assert ["Waiting for another session" in run.stderr for run in finished] == [True] * 10
    assert sorted(applied(door)) == list(range(1, 11))
    assert states(door) == ["cancelled"] + ["processed"] * 10
    exported = json.loads(project.call("state", "export").stdout)
    assert {name: state["completed"]["singer_state"] for name, state in exported.items()} == {
        f"dev:tap-{number}-to-target-sprinto": state_at(number) for number in range(1, 11)
    }


def test_records_applied_after_a_signal_are_at_most_sent_again(
    project_with_state: Project, door: FrontDoor
) -> None:
    """The loader still waits for Sprinto and writes the STATE, which Meltano may no longer keep."""
    door.sandbox.configure(door.integration_id, processing_seconds=4)
    with project_with_state.started("run", "tap-people", "target-sprinto") as process:
        door.wait_for_operation("close", 2, responded=True, within=PATIENCE_SECONDS)
        os.kill(process.pid, signal.SIGTERM)
        stopped = project_with_state.finish(process)
    assert stopped.code == 143
    assert states(door) == ["processed", "processed"]
    assert applied(door) == list(range(1, 9))
    assert project_with_state.state() in (state_at(2), state_at(8))

    assert project_with_state.run().code == 0
    assert applied(door) == list(range(1, 9))
    assert project_with_state.state() == state_at(8)


def test_meltano_logs_records_at_debug_but_never_the_key(project: Project, door: FrontDoor) -> None:
    project.write_rows(2)
    shown = project.call("--log-level", "debug", "run", "tap-people", "target-sprinto")
    assert shown.code == 0
    message = [line for line in shown.stderr.splitlines() if SECRET in line]
    assert len(message) == 2
    # From the tap's output that Meltano passes on; the loader logs no values.
    assert all("] tap-people " in line for line in message)
    assert len(door.applied()["User"]) == 2
