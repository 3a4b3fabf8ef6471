"""Real input: a PostgreSQL server, read by `meltanolabs-tap-postgres` through a real pipe.

The applied records are compared with the tap's output of the same run. The tap has its own environment,
made by uv. Skipped if PostgreSQL's server (Debian: `postgresql`) or the tap is unavailable.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import pytest

from target_sprinto.sandbox import Readings
from tests.support import proxies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.front_door import Finished, FrontDoor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TAP = "meltanolabs-tap-postgres==0.10.0"
STREAMS = ("public-devices", "public-employees", "public-findings")
PORT = 5432
"""The name of a unix socket; nothing listens on TCP."""

EXPECTED_OUTPUT = (
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9007199254740993",
    b"1234567890123456789012345678.0000000000",
    b"-9999999999999999999999999999.9999999999",
    b"100.5000000000",
    b"-0.123456789012345678901234567890",
    b"123456789012345678901234567890",
    b"1E-30",
    b"1.7976931348623157e+308",
    b"-0.0",
    b"12345678901234567890.5",
    b"12:30:00.000001",
    b"9999-12-31",
    b"+05:45",
    b"\\ud83d\\udc69\\u200d",
    b"\\u05e9\\u05dc\\u05d5\\u05dd",
    b"e\\u0301",
    b"\\u202e",
    b'{"deeper":[{"deepest":[[[]]]}]}',
    b'\\"quotes\\"',
    b"\\\\backslash\\\\",
    b"line one\\nline two\\r\\n",
    b':""',
    b":null",
    b":true",
    b":false",
)
"""Texts that the tap must print from these tables, so that the comparison is meaningful."""


class Number(NamedTuple):
    """A JSON number as its text."""

    text: str


@dataclass(frozen=True)
class Source:
    """A running server with filled tables, and the command of the tap that reads it."""

    psql: Path
    sockets: Path
    tap: list[str]

    @property
    def environment(self) -> dict[str, str]:
        return _environment() | {"PGHOST": str(self.sockets), "PGPORT": str(PORT)}

    def counts(self) -> list[int]:
        """The number of rows in each stream's table."""
        tables = (stream.removeprefix("public-") for stream in STREAMS)
        return [int(self.query(f"select count(*) from {table}")) for table in tables]  # noqa: S608 - our names

    def query(self, sql: str) -> str:
        return self.psql_run("-c", sql).strip()

    def psql_run(self, *arguments: str | Path) -> str:
        options = ["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]
        return _run([self.psql, *options, *arguments], env=self.environment)


class Sent(NamedTuple):
    """A record that the tap printed: its text, and the parsed value with its line."""

    text: bytes
    values: dict[str, Any]


@dataclass(frozen=True)
class Piped:
    """The result of a run of `tap | tee | target`."""

    records: dict[str, list[Sent]]
    states: list[bytes]
    printed: bytes
    finished: Finished


@pytest.fixture(scope="module")
def tap() -> list[str]:
    uv = [found] if (found := shutil.which("uv")) else [sys.executable, "-m", "uv"]
    if not found and importlib.util.find_spec("uv") is None:
        pytest.skip("uv is not installed: it makes the tap's own environment")
    command = [*uv, "tool", "run", "--python", sys.executable, "--from", TAP, "tap-postgres"]
    env = os.environ | proxies.of_this_machine()
    tried = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False, env=env)
    if tried.returncode:
        pytest.skip(f"{TAP} cannot be installed: {tried.stderr.strip()[-500:]}")
    return command


@pytest.fixture(scope="module")
def source(tap: list[str]) -> Iterator[Source]:
    initdb = _server_program("initdb")
    if initdb is None:
        pytest.skip("no PostgreSQL server: initdb is neither in PATH nor in /usr/lib/postgresql/*/bin")
    programs = initdb.parent
    # Not in pytest's directories, which other users cannot enter.
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        home = Path(name)
        data = home / "data"
        owner = _hand_over(home)

        def run(program: str, *arguments: str | Path) -> None:
            _run([programs / program, "-D", data, *arguments], cwd=home, env=_environment(), **owner)

        run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        settings = {
            "listen_addresses": "''",
            "unix_socket_directories": home,
            "port": PORT,
            "fsync": "off",
            "timezone": "Asia/Kathmandu",
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        run("pg_ctl", "-l", home / "log", "-o", options, "-w", "start")
        try:
            server = Source(programs / "psql", home, tap)
            server.psql_run("-f", Path(__file__).with_name("postgres.sql"))
            yield server
        finally:
            run("pg_ctl", "-m", "immediate", "-w", "stop")


@pytest.mark.parametrize(
    "tap_settings",
    [
        pytest.param({}, id="decimals-as-numbers"),
        pytest.param({"use_singer_decimal": True, "dates_as_string": True}, id="decimals-as-strings"),
    ],
)
def test_a_real_taps_records_are_applied_byte_for_byte(
    source: Source, door: FrontDoor, tap_settings: dict[str, Any]
) -> None:
    names = {"public-devices": "Device", "public-employees": "User"}
    piped = _pipe(source, door, tap_settings, entity_types=names)

    assert [text for text in EXPECTED_OUTPUT if text not in piped.printed] == []
    applied = door.sandbox.applied(door.integration_id)
    assert applied.keys() == {names.get(stream, stream) for stream in STREAMS}
    for stream, count in zip(STREAMS, source.counts(), strict=True):
        sent, got = piped.records[stream], applied[names.get(stream, stream)]
        assert len(sent) == len(got) == count
        for record, body in zip(sent, got, strict=True):
            assert body == record.text
            assert _exact(body) == record.values
    assert sum(map(len, applied.values())) >= 10_000
    _assert_only_the_last_state_is_reported(piped)


def test_fields_renamed_by_a_stream_map_keep_their_values(source: Source, door: FrontDoor) -> None:
    columns = source.query(
        "select column_name from information_schema.columns where table_name = 'employees'"
    )
    renamed = {
        column: "".join(word.title() if at else word for at, word in enumerate(column.split("_")))
        for column in columns.split()
    } | {"id": "key"}
    assert renamed["employee_id"] == "employeeId"
    stream_maps = {
        "public-employees": {
            "__alias__": "User",
            "__key_properties__": ["key"],
            "__else__": None,
            **{new: old for old, new in renamed.items()},
        },
        # The other fields are unchanged.
        "public-devices": {"serialNumber": "serial", "serial": None, "__key_properties__": ["serialNumber"]},
    }
    piped = _pipe(source, door, {}, stream_maps=stream_maps)

    users = [
        {renamed[name]: value for name, value in record.values.items()}
        for record in piped.records["public-employees"]
    ]
    devices = [record.values for record in piped.records["public-devices"]]
    for device in devices:
        device["serialNumber"] = device.pop("serial")
    applied = door.sandbox.applied(door.integration_id)
    assert applied.keys() == {"User", "public-devices", "public-findings"}
    for entity_type, wanted in (("User", users), ("public-devices", devices)):
        for body, values in zip(applied[entity_type], wanted, strict=True):
            assert _digits(_exact(body)) == _digits(values)
    assert applied["public-findings"] == [record.text for record in piped.records["public-findings"]]
    _assert_only_the_last_state_is_reported(piped)


def _pipe(
    source: Source,
    door: FrontDoor,
    tap_settings: dict[str, Any],
    **settings: Any,  # noqa: ANN401 - any setting of ours
) -> Piped:
    """Discover, select the three tables, run `tap | tee printed | target`; all three must succeed."""
    door.sandbox.configure(door.integration_id, readings=Readings(apply="append"))
    config, catalog, printed, log = (
        door.folder / name for name in ("tap.json", "catalog.json", "printed", "log")
    )
    # With an empty host, libpq finds the socket through PGHOST.
    server = {"host": "", "port": PORT, "user": "postgres", "password": "unused", "database": "postgres"}
    config.write_text(json.dumps({**server, "filter_schemas": ["public"], **tap_settings}))
    tap_command = [*source.tap, "--config", str(config)]
    discovered = json.loads(_run([*tap_command, "--discover"], cwd=door.folder, env=source.environment))
    catalog.write_text(json.dumps(_selected(discovered)))

    with (
        log.open("wb") as tap_log,
        subprocess.Popen(
            [*tap_command, "--catalog", str(catalog)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=tap_log,
            cwd=door.folder,
            env=source.environment,
        ) as tap,
        subprocess.Popen(
            [shutil.which("tee") or "tee", printed], stdin=tap.stdout, stdout=subprocess.PIPE
        ) as tee,
        door.start(stdin=_output(tee).fileno(), **settings) as target,
    ):
        # Only its process holds each end of a pipe.
        _output(tap).close()
        _output(tee).close()
        finished = door.finish(target, None)
    assert (tap.returncode, tee.returncode) == (0, 0), log.read_text()[-2000:]
    assert finished.code == 0, finished.stderr[-2000:]
    return _piped(printed.read_bytes(), finished)


def _selected(catalog: dict[str, Any]) -> dict[str, Any]:
    """The catalog with all tables selected; one is incremental, so that the STATE has a bookmark to lose."""
    assert sorted(stream["tap_stream_id"] for stream in catalog["streams"]) == list(STREAMS)
    for stream in catalog["streams"]:
        table = next(entry["metadata"] for entry in stream["metadata"] if entry["breadcrumb"] == [])
        table["selected"] = True
        if stream["tap_stream_id"] == "public-employees":
            table |= {"replication-method": "INCREMENTAL", "replication-key": "id"}
    return catalog


def _output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def _piped(printed: bytes, finished: Finished) -> Piped:
    records: dict[str, list[Sent]] = defaultdict(list)
    states = []
    for line in printed.decode().split("\n")[:-1]:
        message = _exact(line)
        if message["type"] == "RECORD":
            records[message["stream"]].append(Sent(_text_of(line, "record"), message["record"]))
        elif message["type"] == "STATE":
            states.append(_text_of(line, "value"))
    return Piped(records, states, printed, finished)


def _text_of(line: str, member: str) -> bytes:
    """The text of a message's member, extracted with Python's JSON rather than the target's parser."""
    start = line.index(f'"{member}":') + len(f'"{member}":')
    _, end = json.JSONDecoder().raw_decode(line, start)
    return line[start:end].encode()


def _exact(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON
    """JSON with its numbers as text."""
    return json.loads(text, parse_float=Number, parse_int=Number)


def _digits(value: object) -> object:
    """Numbers as sign, digits and exponent: 1e+22 equals 1E+22, but 1.5 differs from 1.50."""
    if isinstance(value, Number):
        return Decimal(value.text).as_tuple()
    if isinstance(value, dict):
        return {name: _digits(member) for name, member in value.items()}
    return [_digits(member) for member in value] if isinstance(value, list) else value


def _assert_only_the_last_state_is_reported(piped: Piped) -> None:
    assert b"9223372036854775807" in piped.states[-1]
    assert piped.finished.stdout == piped.states[-1].decode() + "\n"
    ids = [record.values["employee_id"] for record in piped.records["public-employees"]]
    assert [value for value in ids if value in piped.finished.stderr] == []


def _server_program(name: str) -> Path | None:
    """A program of PostgreSQL's server from a folder that also has its companions."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(map(str, debian)))
    return Path(found).resolve() if found else None


def _hand_over(home: Path) -> dict[str, Any]:
    """How to run PostgreSQL's programs in `home`: they refuse to run as root, so root hands it over."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("root cannot run PostgreSQL, and there is no user `postgres`")
    os.chown(home, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _environment() -> dict[str, str]:
    """This environment without variables that would redirect PostgreSQL's programs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"PGCLIENTENCODING": "UTF8"}


def _run(command: Sequence[str | Path], **options: Any) -> str:  # noqa: ANN401 - subprocess's own
    """Return a command's output; show its errors if it fails."""
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    printed: str = done.stdout
    return printed
