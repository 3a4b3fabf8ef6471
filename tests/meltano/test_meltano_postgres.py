"""A real database tap in Meltano: nights with and without changes, and a tap that is stopped mid-run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto.sandbox import Readings
from tests.end_to_end.test_postgres import TAP, source, tap
from tests.support import proxies

if TYPE_CHECKING:
    from tests.end_to_end.test_postgres import Source
    from tests.support.front_door import FrontDoor
    from tests.support.meltano_project import Project

__all__ = ["source", "tap"]  # pytest finds fixtures by their names here

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXTRACTOR = "tap-postgres"
PEOPLE = 20_000
ENTITY_TYPES = '{"nights-people": "User", "nights-teams": "Team"}'


@pytest.fixture
def nights(source: Source, project: Project, door: FrontDoor) -> Project:
    """The project with the tap: `people` is incremental, with existing rows; `teams` is a full table."""
    source.query(
        f"""
        drop schema if exists nights cascade;
        create schema nights;
        create table nights.people (id bigint primary key, name text);
        create table nights.teams (id bigint primary key, name text);
        insert into nights.people select n, repeat('n', 50) from generate_series(1, {PEOPLE}) n;
        insert into nights.teams select n, 'team' from generate_series(1, 30) n;
        """  # noqa: S608 - our own number
    )
    find = ["uv", "tool", "run", "--python", sys.executable, "--from", TAP, "python"]
    program = subprocess.run(
        [*find, "-c", "import sys; print(sys.prefix)"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | proxies.of_this_machine(),
    )
    script = project.folder / "tap-postgres.sh"
    variables = f"PGHOST={source.sockets} PGCLIENTENCODING=UTF8"
    script.write_text(f'#!/bin/sh\n{variables} exec {program.stdout.strip()}/bin/tap-postgres "$@"\n')
    script.chmod(0o755)
    definition = project.definition()
    config = {
        "host": "",
        "port": 5432,
        "user": "postgres",
        "password": "unused",
        "database": "postgres",
        "filter_schemas": ["nights"],
    }
    definition["plugins"]["extractors"].append(
        {
            "name": EXTRACTOR,
            "namespace": "tap_postgres",
            "executable": str(script),
            "capabilities": ["catalog", "discover", "state"],
            "settings": [{"name": name} for name in config],
            "config": config,
            "select": ["nights-people.*", "nights-teams.*"],
            "metadata": {
                "nights-people": {"replication-method": "INCREMENTAL", "replication-key": "id"},
                "nights-teams": {"replication-method": "FULL_TABLE"},
            },
        }
    )
    project.define(definition)
    project.env["TARGET_SPRINTO_ENTITY_TYPES"] = ENTITY_TYPES
    door.sandbox.configure(door.integration_id, readings=Readings(apply="append"))
    return project


def applied(door: FrontDoor) -> dict[str, int]:
    return {entity_type: len(rows) for entity_type, rows in door.applied().items()}


def bookmark(project: Project) -> Any:  # noqa: ANN401 - any JSON
    return project.state(EXTRACTOR)["bookmarks"]["nights-people"]


def tap_under(folder: Path) -> int:
    """The tap process of a project."""
    (found,) = [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit()
        and str(folder).encode() in words(process)
        and b"--catalog" in words(process)
        if b"bin/tap-postgres" in words(process)
    ]
    return found


def words(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_every_night_is_applied_with_or_without_changes(
    nights: Project,
    door: FrontDoor,
    source: Source,
) -> None:
    first = nights.run(EXTRACTOR, "target-sprinto")
    assert first.code == 0, first.stderr[-3000:]
    assert applied(door) == {"User": PEOPLE, "Team": 30}
    assert bookmark(nights) == {"replication_key": "id", "replication_key_value": PEOPLE}

    quiet = nights.run(EXTRACTOR, "target-sprinto")
    assert quiet.code == 0, quiet.stderr[-3000:]
    assert applied(door) == {"User": PEOPLE + 1, "Team": 60}

    source.query(f"insert into nights.people values ({PEOPLE + 1}, 'new')")  # noqa: S608 - our own number
    news = nights.run(EXTRACTOR, "target-sprinto")
    assert news.code == 0, news.stderr[-3000:]
    assert applied(door) == {"User": PEOPLE + 3, "Team": 90}
    assert bookmark(nights)["replication_key_value"] == PEOPLE + 1


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="the tap's process is found in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_tap_stopped_mid_run_applies_nothing(
    nights: Project, door: FrontDoor, number: signal.Signals
) -> None:
    with nights.started("run", EXTRACTOR, "target-sprinto") as process:
        door.wait_for_operation("push", within=300)
        os.kill(tap_under(nights.folder), number)
        called = nights.finish(process)
    assert called.code == 1, called.stderr[-3000:]
    assert applied(door) == {}
    assert [session.state for session in door.sessions()] == ["cancelled"]
    assert nights.call("state", "get", f"dev:{EXTRACTOR}-to-target-sprinto").stdout.strip() in {"", "{}"}
