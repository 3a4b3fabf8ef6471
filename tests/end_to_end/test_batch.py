"""BATCH messages: records from files take the same pages, checks and stream maps as all others."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk import Stream, Tap
from singer_sdk import typing as th

from target_sprinto.sandbox import EntityRules, Readings, SandboxOptions
from tests.support.front_door import SCHEMA, STATE, FrontDoor, as_input, people, record, state_line
from tests.support.peak_memory import peak
from tests.support.sandbox import FaultySandbox

if TYPE_CHECKING:
    from collections.abc import Iterable

PLAIN = {"format": "jsonl", "compression": "none"}
GZIP = {"format": "jsonl", "compression": "gzip"}


def lines(numbers: Iterable[int]) -> bytes:
    return b"".join(json.dumps(record(number)["record"]).encode() + b"\n" for number in numbers)


def batch(*files: Path | str, encoding: Any = PLAIN, stream: str = "people") -> dict[str, Any]:  # noqa: ANN401 - any JSON
    urls = [file.as_uri() if isinstance(file, Path) else file for file in files]
    return {"type": "BATCH", "stream": stream, "encoding": encoding, "manifest": urls}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # A name that must be decoded from its URL.
    made = tmp_path / "batch files, 100 %"
    made.mkdir()
    return made


def test_batch_records_keep_their_place_among_other_records(door: FrontDoor, folder: Path) -> None:
    (folder / "1.jsonl").write_bytes(lines(range(1, 131)))
    (folder / "2.jsonl.gz").write_bytes(gzip.compress(lines(range(131, 150))))
    (folder / "3.jsonl.gz").write_bytes(gzip.compress(lines(range(150, 251))))
    door.sandbox.configure(door.integration_id, readings=Readings(apply="append"))
    finished = door.run(
        [
            SCHEMA,
            record(0),
            batch(folder / "1.jsonl"),
            batch(folder / "2.jsonl.gz", folder / "3.jsonl.gz", encoding=GZIP),
            record(251),
            STATE,
        ]
    )
    assert (finished.code, finished.stdout) == (0, state_line())
    assert door.applied() == {"people": [record(number)["record"] for number in range(252)]}
    assert door.pages() == [100, 100, 52]
    assert '"metric":"record_count","value":252' in finished.stderr


def test_batch_records_are_sent_byte_for_byte(door: FrontDoor, folder: Path) -> None:
    text = b'{"id": 1, "n": 1.10, "big": 123456789012345678901234567890, "at": "2026-01-01T00:00:00+02:00"}'
    (folder / "1.jsonl").write_bytes(b"\n  " + text + b" \r\n\n")
    assert door.run([SCHEMA, batch(folder / "1.jsonl"), STATE]).code == 0
    assert door.sandbox.applied(door.integration_id)["people"] == [text]


@pytest.mark.parametrize("encoding", [{"format": "jsonl"}, {"format": "jsonl", "compression": None}])
def test_missing_compression_means_uncompressed(
    door: FrontDoor, folder: Path, encoding: dict[str, Any]
) -> None:
    (folder / "1").write_bytes(lines([1]))
    assert door.run([SCHEMA, batch(folder / "1", encoding=encoding), STATE]).code == 0
    assert len(door.applied()["people"]) == 1


def test_a_last_line_may_lack_a_line_feed(door: FrontDoor, folder: Path) -> None:
    (folder / "1").write_bytes(lines([1, 2])[:-1])
    assert door.run([SCHEMA, batch(folder / "1"), STATE]).code == 0
    assert len(door.applied()["people"]) == 2


def test_a_batch_without_records_opens_no_session(door: FrontDoor, folder: Path) -> None:
    (folder / "1").touch()
    (folder / "2").write_bytes(gzip.compress(b""))
    messages = [SCHEMA, batch(), batch(folder / "1"), batch(folder / "2", encoding=GZIP), STATE]
    assert door.run(messages).code == 0
    assert door.sessions() == []


def test_a_gzip_file_is_detected_by_its_content(door: FrontDoor, folder: Path) -> None:
    (folder / "1").write_bytes(gzip.compress(lines([1])))
    assert door.run([SCHEMA, batch(folder / "1", encoding=PLAIN), STATE]).code == 0
    assert len(door.applied()["people"]) == 1


def test_batch_records_go_through_stream_maps(door: FrontDoor, folder: Path) -> None:
    (folder / "1").write_bytes(lines([1, 2, 3]))
    maps = {"people": {"nr": "id", "__key_properties__": ["nr"], "__else__": None, "__filter__": "id != 2"}}
    finished = door.run([SCHEMA, batch(folder / "1"), STATE], stream_maps=maps)
    assert finished.code == 0
    assert door.applied() == {"people": [{"nr": 1}, {"nr": 3}]}


def test_a_state_must_follow_batch_records(door: FrontDoor, folder: Path) -> None:
    (folder / "1").write_bytes(lines([1]))
    finished = door.run([SCHEMA, STATE, batch(folder / "1")])
    assert (finished.code, finished.stdout) == (1, "")
    assert "[missing-final-state]" in finished.error


def test_a_rejected_record_is_named_by_file_and_line(door: FrontDoor, folder: Path) -> None:
    door.sandbox.configure(
        door.integration_id,
        entities={"people": EntityRules(schema={"properties": {"id": {"maximum": 5}}})},
    )
    (folder / "1").write_bytes(lines(range(1, 10)))
    finished = door.run([SCHEMA, batch(folder / "1"), STATE])
    assert finished.code == 1
    span = f"stream 'people', input line 2, batch file {str(folder / '1')!r}, line 1 to line 9"
    assert f"Sprinto rejected page 1 ({span})" in finished.error
    assert "which is line 6 if Sprinto counts" in finished.error
    assert door.session().state == "cancelled"


def test_rejects_with_the_same_problem_are_named_by_file_and_line(door: FrontDoor, folder: Path) -> None:
    rules = EntityRules(schema={"properties": {"id": {"maximum": 5}}})
    door.sandbox.configure(door.integration_id, entities={"people": rules})
    (folder / "1").write_bytes(lines(range(1, 8)))
    finished = door.run([SCHEMA, batch(folder / "1"), STATE], dry_run=True)
    file = f"batch file {str(folder / '1')!r}"
    assert f"input lines 2 ({file}, line 6), 2 ({file}, line 7)\n" in finished.stderr


def test_a_preview_names_rejects_by_file_and_line(door: FrontDoor, folder: Path) -> None:
    (folder / "1").write_bytes(b'{"id": "x"}\n{"id": "y"}\n')
    tap = door.folder / "tap.singer"
    tap.write_bytes(as_input([SCHEMA, batch(folder / "1"), STATE]))
    command = ["map", "preview", "--input", str(tap), "--config", str(door.config())]
    finished = door.finish(door.start(*command, program="sprintoctl"))
    file = f"batch file {str(folder / '1')!r}"
    assert f"input lines 2 ({file}, line 1), 2 ({file}, line 2)\n" in finished.stdout


WHOLE = gzip.compress(lines(range(50)), mtime=0)
BROKEN: dict[str, tuple[bytes | None, dict[str, str], str, str]] = {
    "missing": (None, PLAIN, "No such file or directory", "batch-file"),
    "truncated gzip": (WHOLE[: len(WHOLE) // 2], GZIP, "cut off or corrupt", "batch-file"),
    "gzip without its checksum": (WHOLE[:-8], GZIP, "cut off or corrupt", "batch-file"),
    "corrupt gzip": (WHOLE[:40] + b"\xff" * 40 + WHOLE[80:], GZIP, "cut off or corrupt", "batch-file"),
    "gzip with a wrong checksum": (WHOLE[:-6] + b"xxxxxx", GZIP, "cut off or corrupt", "batch-file"),
    "not gzip": (lines([1]), GZIP, "not a gzip file", "batch-file"),
    "an empty gzip file": (b"", GZIP, "not a gzip file", "batch-file"),
    "truncated within a line": (
        lines([1, 2])[:-5],
        PLAIN,
        "line 2: the line is not valid JSON",
        "invalid-line",
    ),
    "a line of NaN": (
        lines([1]) + b'{"id": NaN}\n',
        PLAIN,
        "line 2: it has NaN or Infinity",
        "invalid-record",
    ),
    "a line that is not an object": (
        lines([1]) + b'["s3cr3t"]\n',
        PLAIN,
        "line 2: a record",
        "invalid-record",
    ),
    "a line that is nested too deeply": (
        lines([1]) + b'{"id": ' + b"[" * 45_000 + b"]" * 45_000 + b"}\n",
        PLAIN,
        "nested too deeply",
        # Python 3.14 decodes so many levels, but not of a record.
        "invalid-record" if sys.version_info >= (3, 14) else "invalid-line",
    ),
    "not UTF-8": (b'{"id": 1, "name": "s3cr3t \xff"}\n', PLAIN, "line 1: ", "invalid-line"),
    "a lone surrogate": (b'{"id": 1, "name": "s3cr3t \\ud800"}\n', PLAIN, "line 1: ", "invalid-record"),
    "a record that fails its schema": (b'{"id": "s3cr3t"}\n', PLAIN, "line 1: a record", "invalid-record"),
    "a record without its key": (b'{"name": "s3cr3t"}\n', PLAIN, "line 1: ", "missing-key-property"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_fails_the_run(door: FrontDoor, folder: Path, what: str) -> None:
    content, encoding, message, code = BROKEN[what]
    (folder / "good").write_bytes(lines(range(100)))
    if content is not None:
        (folder / "bad").write_bytes(content)
    finished = door.run(
        [SCHEMA, batch(folder / "good"), batch(folder / "bad", encoding=encoding), record(1), STATE]
    )
    assert (finished.code, finished.stdout) == (1, "")
    assert finished.error.startswith(f"Input line 3, batch file {str(folder / 'bad')!r}")
    assert message in finished.error
    assert code != "invalid-record" or "'people'" in finished.error
    assert finished.error.endswith(f"[{code}]")
    assert door.session().state == "cancelled"


def test_only_regular_files_are_opened(door: FrontDoor, folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    for name in ("fifo", "."):
        finished = door.run([SCHEMA, batch(folder / name), STATE])
        assert finished.code == 1
        assert "it is not a regular file" in finished.error


def test_a_file_name_that_is_too_long_is_reported(door: FrontDoor, folder: Path) -> None:
    finished = door.run([SCHEMA, batch(folder / ("a" * 300)), STATE])
    assert finished.code == 1
    assert "File name too long" in finished.error
    assert finished.error.endswith("[batch-file]")


UNSUPPORTED: dict[str, tuple[str, Any]] = {
    "parquet": ("file:///x", {"format": "parquet"}),
    "another compression": ("file:///x", {"format": "jsonl", "compression": "zstd"}),
    "an encoding with unknown fields": ("file:///x", {"format": "jsonl", "delimiter": "|"}),
    "an encoding that is a string": ("file:///x", "jsonl"),
    "s3": ("s3://bucket/x", PLAIN),
    "another machine": ("file://elsewhere/x", PLAIN),
    "a path": ("/x", PLAIN),
    "a broken URL": ("file://[/x", PLAIN),
    "a NUL": ("file:///x%00", PLAIN),
}


@pytest.mark.parametrize("what", UNSUPPORTED)
def test_other_encodings_and_locations_are_rejected(door: FrontDoor, what: str) -> None:
    url, encoding = UNSUPPORTED[what]
    finished = door.run([SCHEMA, batch(url, encoding=encoding), STATE])
    assert (finished.code, finished.stdout) == (1, "")
    assert finished.error.startswith("Input line 2: ")
    assert "[batch-not-supported]" in finished.error
    assert "batch_config" in finished.error


def test_an_invalid_manifest_is_an_invalid_line(door: FrontDoor) -> None:
    finished = door.run([SCHEMA, batch() | {"manifest": [1]}, STATE])
    assert finished.code == 1
    assert "[invalid-line]" in finished.error


def test_a_batch_before_its_schema_is_rejected(door: FrontDoor) -> None:
    finished = door.run([batch(), STATE])
    assert finished.code == 1
    assert "[record-before-schema]" in finished.error


@pytest.mark.slow
def test_no_file_is_held_in_memory(door: FrontDoor, folder: Path) -> None:
    count, size = 3000, 50_000
    with gzip.open(folder / "1", "wb", compresslevel=1) as file:
        for number in range(count):
            file.write(b'{"id": %d, "name": "%s"}\n' % (number, b"x" * size))
    with FaultySandbox(SandboxOptions(integrations=None, light=True)) as door.sandbox:
        given = as_input([SCHEMA, batch(folder / "1", encoding=GZIP), STATE])
        exit_code, memory, _ = peak(door, iter([given]), compress=False)
        assert (exit_code, door.session().accepted_total) == (0, count)
    # The process alone takes half of that.
    assert memory < count * size


class People(Stream):
    name = "people"
    primary_keys = ("id",)
    schema = th.PropertiesList(
        th.Property("id", th.IntegerType), th.Property("name", th.StringType)
    ).to_dict()

    def get_records(self, context: Any) -> Iterable[dict[str, Any]]:  # noqa: ANN401, ARG002 - the SDK's
        yield from (record(number)["record"] for number in range(250))


class IncrementalPeople(People):
    replication_key = "id"
    is_sorted = True


class TapPeople(Tap):
    name = "tap-people"
    config_jsonschema = th.PropertiesList(th.Property("incremental", th.BooleanType)).to_dict()

    def discover_streams(self) -> list[Stream]:
        return [IncrementalPeople(self) if self.config["incremental"] else People(self)]


def batches_of_an_sdk_tap(root: str, *, compression: str = "gzip", incremental: bool = True) -> bytes:
    encoding = {"format": "jsonl", "compression": compression}
    storage = {"root": root, "prefix": "people-"}
    batch_config = {"encoding": encoding, "storage": storage, "batch_size": 120}
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    tap = TapPeople(config={"batch_config": batch_config, "incremental": incremental})
    # The SDK's tap takes them, and would end later tests of this process with success.
    for number, handler in before.items():
        signal.signal(number, handler)
    printed = io.TextIOWrapper(io.BytesIO())
    with contextlib.redirect_stdout(printed):
        tap.sync_all()
    printed.flush()
    output = printed.buffer.getvalue()
    assert output.count(b'"type":"BATCH"') == 3
    return output


@pytest.mark.parametrize("compression", ["gzip", "none"])
@pytest.mark.parametrize("root", ["{path}", "file://{path}"])
def test_batches_of_sdk_taps_are_read(door: FrontDoor, folder: Path, compression: str, root: str) -> None:
    finished = door.run(batches_of_an_sdk_tap(root.format(path=folder), compression=compression))
    assert finished.code == 0
    assert json.loads(finished.stdout)["bookmarks"]["people"]["replication_key_value"] == 249
    assert door.applied() == {"people": [record(number)["record"] for number in range(250)]}


def test_full_table_batches_of_sdk_taps_end_without_a_state(door: FrontDoor, folder: Path) -> None:
    output = batches_of_an_sdk_tap(str(folder), incremental=False)
    finished = door.run(output)
    assert finished.code == 1
    assert "`require_final_state: false`" in finished.error
    finished = door.run(output, require_final_state=False)
    assert finished.code == 0
    assert door.applied() == {"people": [record(number)["record"] for number in range(250)]}


def test_the_taps_batch_settings_are_rejected(door: FrontDoor) -> None:
    finished = door.run(people(1), batch_config={"encoding": {"format": "jsonl"}})
    assert finished.code == 1
    assert "`batch_config` is not supported" in finished.error
    assert door.sessions() == []
