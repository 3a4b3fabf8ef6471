"""Real SDK taps in a real pipe: every night, and every way to end early."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from target_sprinto.sandbox import Readings
from tests.support import proxies

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.front_door import Finished, FrontDoor

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the tap is stopped through a named pipe")

MARKERS = ("progress_markers", "replication_key_signpost", "starting_replication_value")
ROWS = 12


class Kind(NamedTuple):
    """How a tap reads its streams, and how many rows of each it sends on a night without changes."""

    sql: bool
    method: str
    ordered: bool
    again: int


KINDS = {
    "sql-incremental": Kind(sql=True, method="INCREMENTAL", ordered=True, again=1),
    "sql-full-table": Kind(sql=True, method="FULL_TABLE", ordered=False, again=ROWS),
    "sorted": Kind(sql=False, method="INCREMENTAL", ordered=True, again=1),
    "unsorted": Kind(sql=False, method="INCREMENTAL", ordered=False, again=2),
}


@dataclass
class Night:
    """One run of `tap | target`: the target's outcome, and how many rows of each stream were applied."""

    tap_code: int
    finished: Finished
    applied: dict[str, int]


class Pipeline:
    """A tap that reads tables `a` and `b` from an SQLite file, and the target's last STATE."""

    def __init__(self, door: FrontDoor, kind: Kind, tables: str) -> None:
        self.door = door
        self.kind = kind
        self.streams = [self.stream(table) for table in tables]
        self.database = door.folder / "source.db"
        self.stopped = door.folder / "stopped"
        self.state: str | None = None
        os.mkfifo(self.stopped)
        door.sandbox.configure(door.integration_id, readings=Readings(apply="append"))
        for table in tables:
            self.sql(f"create table {table} (id integer primary key, name text, at text)")
            self.add_rows(table, *range(1, ROWS + 1))

    def stream(self, table: str) -> str:
        return f"main-{table}" if self.kind.sql else table

    def sql(self, statement: str) -> None:
        with closing(sqlite3.connect(self.database)) as opened, opened:
            opened.execute(statement)

    def add_rows(self, table: str, *numbers: int) -> None:
        rows = ", ".join(f"({at}, 'n{at}', '2020-01-{at:02}T00:00:00Z')" for at in numbers)
        self.sql(f"insert into {table} values {rows}")  # noqa: S608 - constants

    def night(self, *, stop: tuple[str, int, signal.Signals] | None = None, **settings: Any) -> Night:  # noqa: ANN401 - any setting
        """Run the pipe; `stop` is (table, rows, signal): signal only the tap after that many rows."""
        config: dict[str, Any] = {
            "sqlalchemy_url": f"sqlite:///{self.database}",
            "streams": self.streams,
            "sorted": self.kind.ordered,
            "stopped": str(self.stopped),
            **settings.pop("tap", {}),
        }
        if stop is not None:
            # So that pages have been sent when the tap is stopped.
            settings["page_size"] = 2
            config["stop_at"] = {self.stream(stop[0]): stop[1]}
        words = ["--config", self.write("tap.json", config)]
        if self.kind.sql:
            words += ["--catalog", self.write("catalog.json", self.catalog())]
        if self.state:
            words += ["--state", self.write("state.json", json.loads(self.state))]
        before = self.count()
        log = (self.door.folder / "tap.log").open("wb")
        tap = self.door.start(*words, program="sdk-tap", stdin=subprocess.DEVNULL, stderr=log.fileno())
        log.close()
        assert tap.stdout is not None
        target = self.door.start(stdin=tap.stdout.fileno(), **settings)
        tap.stdout.close()
        if stop is not None:
            # Blocks until the tap opens it in the middle of its run.
            os.kill(int(self.stopped.read_text()), stop[2])
        finished = self.door.finish(target, None)
        if finished.code == 0:
            self.state = finished.stdout
        return Night(tap.wait(), finished, dict(self.count() - before))

    def count(self) -> Counter[str]:
        return Counter({stream: len(rows) for stream, rows in self.door.applied().items()})

    def write(self, name: str, content: object) -> str:
        path: Path = self.door.folder / name
        path.write_text(json.dumps(content))
        return str(path)

    def catalog(self) -> dict[str, Any]:
        columns = {"id": ["integer"], "name": ["string", "null"], "at": ["string", "null"]}
        schema = {"type": "object", "properties": {name: {"type": kind} for name, kind in columns.items()}}
        return {
            "streams": [
                {
                    "tap_stream_id": stream,
                    "stream": stream,
                    "table_name": stream.removeprefix("main-"),
                    "key_properties": ["id"],
                    "schema": schema,
                    "replication_method": self.kind.method,
                    "replication_key": "id" if self.kind.method == "INCREMENTAL" else None,
                    "metadata": [{"breadcrumb": [], "metadata": {"selected": True, "schema-name": "main"}}],
                }
                for stream in self.streams
            ]
        }


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def assert_applied(night: Night, **rows: int) -> None:
    assert night.finished.code == 0, night.finished.stderr
    assert night.tap_code == 0
    assert night.applied == rows
    assert not any(marker in night.finished.stdout for marker in MARKERS)


def assert_nothing_applied(night: Night, pipeline: Pipeline, code: str) -> None:
    assert (night.finished.code, night.finished.stdout, night.applied) == (1, "", {})
    assert f"[{code}]" in night.finished.error
    assert "check its log" in night.finished.error.partition("require_final_state")[0]
    assert pipeline.door.sessions()[-1].state == "cancelled"


@pytest.mark.parametrize(
    ("name", "tables"),
    [(name, "ab") for name in KINDS]
    + [pytest.param(name, "a", marks=pytest.mark.slow) for name in ("sql-incremental", "sql-full-table")],
)
def test_every_night_is_applied_with_or_without_changes(door: FrontDoor, name: str, tables: str) -> None:
    kind = KINDS[name]
    pipeline = Pipeline(door, kind, tables)
    assert_applied(pipeline.night(), **dict.fromkeys(pipeline.streams, ROWS))
    first = pipeline.state
    quiet = dict.fromkeys(pipeline.streams, kind.again)
    assert_applied(pipeline.night(), **quiet)
    assert pipeline.state == first
    for table in tables:
        pipeline.add_rows(table, ROWS + 1)
        expected = {**quiet, pipeline.stream(table): kind.again + 1}
        assert_applied(pipeline.night(), **expected)
        assert (pipeline.state != first) == (kind.method == "INCREMENTAL")
        if kind.method == "FULL_TABLE":
            quiet = expected


@pytest.mark.parametrize(
    ("table", "number"),
    [
        pytest.param("a", signal.SIGTERM, id="SIGTERM-in-the-first"),
        pytest.param("b", signal.SIGTERM, id="SIGTERM-in-the-second"),
        pytest.param("b", signal.SIGKILL, id="SIGKILL-in-the-second", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_tap_applies_nothing(
    door: FrontDoor, kind: Kind, table: str, number: signal.Signals
) -> None:
    pipeline = Pipeline(door, kind, "ab")
    night = pipeline.night(stop=(table, 5, number))
    assert night.tap_code == (0 if number is signal.SIGTERM else -number)
    # The tap's STATE does not mention the second full table, and is unchanged.
    says_so = number is signal.SIGTERM and not (kind.method == "FULL_TABLE" and table == "b")
    assert_nothing_applied(night, pipeline, "final-state-unfinished" if says_so else "missing-final-state")


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("sql-incremental", signal.SIGTERM),
        pytest.param("sql-incremental", signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param("unsorted", signal.SIGTERM, marks=pytest.mark.slow),
        ("unsorted", signal.SIGKILL),
    ],
)
def test_a_tap_stopped_on_a_later_night_applies_nothing(
    door: FrontDoor, name: str, number: signal.Signals
) -> None:
    kind = KINDS[name]
    pipeline = Pipeline(door, kind, "a")
    assert pipeline.night().finished.code == 0
    pipeline.add_rows("a", *range(ROWS + 1, ROWS + 9))
    night = pipeline.night(stop=("a", 4, number))
    says_so = number is signal.SIGTERM
    assert_nothing_applied(night, pipeline, "final-state-unfinished" if says_so else "missing-final-state")
    after = pipeline.night()
    assert after.finished.code == 0
    assert after.applied == {pipeline.stream("a"): kind.again + 8}


@pytest.mark.parametrize("name", ["sql-incremental", "unsorted"])
def test_a_state_in_the_middle_of_a_stream_is_not_its_end(door: FrontDoor, name: str) -> None:
    pipeline = Pipeline(door, KINDS[name], "a")
    night = pipeline.night(stop=("a", 3, signal.SIGKILL), tap={"state_every": 3})
    assert_nothing_applied(night, pipeline, "final-state-unfinished")


def test_a_long_full_table_has_no_final_state(
    door: FrontDoor,
) -> None:
    pipeline = Pipeline(door, KINDS["sql-full-table"], "a")
    night = pipeline.night(tap={"state_every": 5}, page_size=2)
    assert_nothing_applied(night, pipeline, "missing-final-state")
    assert (
        "SDK full tables over 10,000 rows or with child streams also end this way: set `expect`"
        in night.finished.error
    )
    minimum = {"main-a": {"min_records": ROWS}}
    night = pipeline.night(tap={"state_every": 5}, expect=minimum, require_final_state=False)
    assert_applied(night, **{"main-a": ROWS})


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_published_tap_with_partitions_is_applied_every_night(door: FrontDoor) -> None:
    """tap-jsonl sends the whole file each night, but no STATE while the file is unchanged."""
    find = shutil.which("uv")
    if find is None:
        pytest.skip("uv is not installed: it makes the tap's own environment")
    command = [find, "tool", "run", "--python", sys.executable, "--from", "tap-jsonl==0.3.1", "tap-jsonl"]
    source, config = door.folder / "people.jsonl", door.folder / "tap.json"
    source.write_text('{"id": 1}\n{"id": 2}\n')
    config.write_text(json.dumps({"path": str(source), "stream_name": "people", "primary_keys": ["id"]}))
    door.sandbox.configure(door.integration_id, readings=Readings(apply="append"))
    states = []
    for night in range(2):
        with_state = ["--state", str(door.folder / "state.json")] if night else []
        printed = subprocess.run(
            [*command, "--config", str(config), *with_state],
            capture_output=True,
            check=True,
            env=os.environ | proxies.of_this_machine(),
        )
        lines = printed.stdout.splitlines()
        assert (b'"STATE"' in lines[-1]) == (night == 0)
        finished = door.run(printed.stdout, entity_types={"people": "User"})
        assert finished.code == 0, finished.stderr
        states.append(finished.stdout)
        (door.folder / "state.json").write_text(finished.stdout)
    assert states[0] == states[1]
    assert [person["id"] for person in door.applied()["User"]] == [1, 2, 1, 2]
