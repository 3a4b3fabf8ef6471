"""Taps from the package index in a real pipe: the applied records match their source."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from target_sprinto.sandbox import Readings
from tests.support.meltano_project import environment, uv
from tests.support.real_taps import file_taps, server_taps
from tests.support.real_taps.nights import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from tests.support.front_door import Finished, FrontDoor
    from tests.support.real_taps.nights import Night

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PATIENCE_SECONDS = 120


class Tap(NamedTuple):
    """A tap's program, its nights, and the packages to install, in this order."""

    program: str
    nights: Callable[[Place], Generator[Night]]
    packages: tuple[str, ...]


# Packages from before 2025 import `pkg_resources` without declaring it.
OLD = "setuptools<81"
TAPS = [
    # Built on the SDK: 0.41, 0.54, 0.52, 0.36, 0.8 and 0.40.
    Tap("tap-csv-folder", file_taps.csv_folder, ("tap-csv-folder==0.0.1a1", OLD)),
    Tap("tap-jsonfile", file_taps.jsonfile, ("tap-jsonfile==0.1.2",)),
    Tap("tap-spreadsheets", file_taps.spreadsheets, ("tap-spreadsheets==1.1.2",)),
    Tap("tap-filesanywhere", file_taps.filesanywhere, ("tap-filesanywhere==0.0.1", OLD)),
    Tap("tap-feed", server_taps.feed, ("tap-feed==1.1.1", OLD)),
    Tap("tap-rest-api-msdk", server_taps.rest_api_msdk, ("tap-rest-api-msdk==1.4.2", OLD)),
    # Not built on the SDK.
    Tap("tap-rest-api", server_taps.rest_api, ("tap-rest-api==0.2.22",)),
    Tap("tap-singer-jsonl", file_taps.singer_jsonl, ("tap-singer-jsonl==0.1.0", OLD)),
    # The exrex that it requires does not start on Python 3.11.
    Tap(
        "tap-test-data-generator",
        file_taps.test_data_generator,
        ("tap-test-data-generator==1.4.0", "exrex==0.12.0"),
    ),
    Tap("tap-postgres", server_taps.postgres_log, ("pipelinewise-tap-postgres==2.1.0",)),
    Tap("tap-mysql", server_taps.mysql_log, ("pipelinewise-tap-mysql==1.6.0",)),
]


class Number(NamedTuple):
    """A JSON number as its text."""

    text: str


def exact(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON
    return json.loads(text, parse_int=Number, parse_float=Number)


def installed(tap: Tap, folder: Path) -> Path:
    """The tap's program, in its own environment."""
    uv("venv", "--python", sys.executable, folder)
    for package in tap.packages:
        uv("pip", "install", "--python", folder, package)
    return folder / "bin" / tap.program


class Pipe:
    """`tap | tee | target`, night after night, with the STATE that the target emitted."""

    def __init__(self, door: FrontDoor, place: Place, program: Path) -> None:
        self.door = door
        self.place = place
        self.program = program
        self.state = ""
        door.sandbox.configure(door.integration_id, readings=Readings(apply="append"))

    def run(self, night: Night) -> tuple[list[Any], Finished]:
        """Return what the tap printed, and how the target ended."""
        words = ["--config", self.place.write("run/config.json", json.dumps(self.place.config))]
        if self.place.catalog:
            words += ["--catalog", self.place.write("run/catalog.json", json.dumps(self.discover(words)))]
        if self.state:
            words += ["--state", self.place.write("run/state.json", self.state)]
        printed, log = self.place.folder / "run" / "printed", self.place.folder / "run" / "log"
        with log.open("wb") as logged:
            tap = subprocess.Popen(
                [self.program, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=logged,
                env=environment(),
                cwd=self.place.folder,
            )
        tee = subprocess.Popen(["tee", printed], stdin=tap.stdout, stdout=subprocess.PIPE)
        assert tap.stdout is not None
        assert tee.stdout is not None
        tap.stdout.close()
        target = self.door.start(stdin=tee.stdout.fileno(), **night.settings)
        tee.stdout.close()
        finished = self.door.finish(target, None)
        ended = tap.wait(PATIENCE_SECONDS), tee.wait(PATIENCE_SECONDS)
        # A target that rejects its input stops reading, so that the tap gets a broken pipe.
        assert night.error or ended == (0, 0), log.read_text()[-2000:]
        return [json.loads(line) for line in printed.read_bytes().splitlines()], finished

    def discover(self, words: list[str]) -> Any:  # noqa: ANN401 - any JSON
        found = subprocess.run(
            [self.program, *words, "--discover"],
            capture_output=True,
            check=False,
            env=environment(),
            cwd=self.place.folder,
        )
        assert found.returncode == 0, found.stderr[-2000:]
        catalog = json.loads(found.stdout)
        for stream in catalog["streams"]:
            for entry in stream.get("metadata", []):
                if not entry["breadcrumb"]:
                    entry["metadata"] |= self.place.catalog
        return catalog

    def applied(self) -> dict[str, list[Any]]:
        applied = self.door.sandbox.applied(self.door.integration_id)
        return {stream: [exact(entity) for entity in entities] for stream, entities in applied.items()}


@pytest.mark.parametrize("tap", TAPS, ids=[tap.packages[0] for tap in TAPS])
def test_applied_records_match_the_source(
    door: FrontDoor, tmp_path_factory: pytest.TempPathFactory, tap: Tap
) -> None:
    program = installed(tap, tmp_path_factory.mktemp("environment"))
    place = Place(tmp_path_factory.mktemp("tap"))
    pipe = Pipe(door, place, program)
    expected: dict[str, list[Any]] = {}
    with closing(tap.nights(place)) as nights:
        for night in nights:
            printed, finished = pipe.run(night)
            if night.error:
                assert (finished.code, finished.stdout) == (1, "")
                assert f"[{night.error}]" in finished.error
            else:
                assert finished.code == 0, finished.stderr
                states = [message["value"] for message in printed if message["type"] == "STATE"]
                assert [json.loads(line) for line in finished.stdout.splitlines()] == states[-1:]
                assert sum(message["type"] == "BATCH" for message in printed) == night.batches
                for stream, records in night.records.items():
                    expected.setdefault(stream, []).extend(map(exact, records))
                pipe.state = finished.stdout
            assert pipe.applied() == expected
