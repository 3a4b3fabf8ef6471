"""No input takes the process above 300 MB."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto.sandbox import SandboxOptions
from target_sprinto.singer.rejects.rejected_records import RejectedRecords
from target_sprinto.singer.schemas.schema_limits import MAX_MEMORY, memory_of
from tests.support.front_door import SCHEMA, STATE, FrontDoor, as_input, record, state_line
from tests.support.peak_memory import MB, peak
from tests.support.sandbox import Delay, Fault, FaultySandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LIMIT = 300 * MB
CHUNK = b'{"a":1},' * 12_500
"""100 kB of small objects, which take the most memory once decoded."""


def objects(size: int) -> Iterator[bytes]:
    """A list of `size` bytes, in chunks."""
    yield b"["
    for _ in range(size // len(CHUNK)):
        yield CHUNK
    yield b"{}]"


def large_record(size: int) -> Iterator[bytes]:
    yield b'{"type":"RECORD","stream":"people","record":{"id":1,"name":'
    yield from objects(size)
    yield b"}}\n"


def large_schema(size: int, stream: bytes = b"people") -> Iterator[bytes]:
    yield b'{"type":"SCHEMA","stream":"%b","schema":{"properties":{},"x":' % stream
    yield from objects(size)
    yield b'},"key_properties":[]}\n'


def large_state(size: int) -> Iterator[bytes]:
    yield b'{"type":"STATE","value":{"x":'
    yield from objects(size)
    yield b"}}\n"


def after_schema(chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield as_input([SCHEMA])
    yield from chunks


def columns(number: int, stream: str = "people", prefix: str = "column") -> bytes:
    """A SCHEMA with `number` fields, for which a validator and a stream map are built."""
    fields = {"id": {"type": "integer"}} | {
        f"{prefix}_{n}": {"type": ["null", "string"]} for n in range(number)
    }
    return as_input([SCHEMA | {"stream": stream, "schema": {"type": "object", "properties": fields}}])


def worst() -> Iterator[bytes]:
    """The maximum number of fields, then the largest STATEs and records alternately.

    The records are valid, rejected, and too large to be decoded.
    """
    yield columns(19_000).replace(b'"column_0": {"type": ["null", "string"]}', b'"name": {}')
    yield columns(8_000, "others")
    for _ in range(6):
        yield from chunked_state(CHUNK * 9)
        yield as_input([record(1, name="x" * 4_900_000)])
        # The maximum number of values in the maximum number of bytes: non-ASCII text takes twice as many.
        yield as_input([record(1, name=["y" * 40 + "é"] * 99_000)])
        yield from large_record(390_000)
        yield as_input([record(1, column_1=["y" * 40 + "é"] * 99_000)])
        yield from chunked_state(b'"%b",' % (b"x" * 90))
        yield from large_record(19 * MB)


def worst_of_alternatives() -> Iterator[bytes]:
    """The same with alternatives in every field, and streams whose errors are explained."""
    plain, either = b'{"type": ["null", "string"]}', b'{"anyOf": [{"type": "null"}, {"type": "string"}]}'
    yield columns(3_800).replace(b'"column_0": ' + plain, b'"name": {}').replace(plain, either)
    for number in range(4):
        yield columns(1_600, f"explained_{number}").replace(plain, either)
        yield as_input([record(1, column_1=5) | {"stream": f"explained_{number}"}])
    yield from (chunk for chunk in worst() if not chunk.startswith(b'{"type": "SCHEMA"'))


def many_alternatives() -> Iterator[bytes]:
    """The maximum number of alternatives in one field, and values that match none of them."""
    schema = {"properties": {"id": {}, "v": {"anyOf": [{"minLength": n} for n in range(10, 19_000)]}}}
    yield as_input([SCHEMA | {"schema": schema}])
    for _ in range(10):
        yield as_input([record(1, v=""), record(1, v="x" * 8)])


def chunked_state(chunk: bytes) -> Iterator[bytes]:
    """A STATE of 4.8 MB, or with the maximum number of values."""
    count = min(4_800_000 // len(chunk), 249_000 // (chunk.count(b",") + chunk.count(b"{")))
    yield b'{"type":"STATE","value":{"x":[' + chunk * count + b"{}]}}\n"


def many_values() -> Iterator[bytes]:
    """Records of as many values as there may be."""
    yield as_input([SCHEMA | {"schema": {"properties": {"id": {}, "name": {}}}}])
    for number in range(40):
        yield as_input([record(number, name=["y" * 40 + "é"] * 99_000), STATE])


def keys_of_many_numbers() -> Iterator[bytes]:
    yield as_input([SCHEMA | {"schema": {"properties": {"id": {}}}}])
    for number in range(60):
        yield as_input([record(number, id=[number, *[0.5] * 90_000])])
    yield as_input([STATE])


def gigabyte(size: int) -> Iterator[bytes]:
    """A gigabyte of records of `size` bytes, each followed by a STATE."""
    line = as_input([record(1, name="x" * size), STATE])
    for _ in range(1_000 * MB // len(line)):
        yield line


def drawn(draw: random.Random) -> Iterator[bytes]:
    """Messages of random sizes, small and large equally likely, with text, lists and objects.

    None ends the run: messages that are too large are rejected.
    """
    yield as_input([SCHEMA])
    left = 200 * MB
    while left > 0:
        # A character may take two bytes, and a line has at most 20 MB.
        size = round(10 ** draw.uniform(1, 6.9))
        left -= max(size, 10_000)
        values = max(1, size // 50)
        message = draw.choice(("text", "text", "list", "objects", "state", "columns", "stream"))
        if message == "text":
            yield as_input([record(1, name=draw.choice(("x", "é", "\\")) * size)])
        elif message == "list":
            yield as_input([record(1, name=["y" * 40 + draw.choice(("", "é"))] * min(values, 150_000))])
        elif message == "objects":
            yield from large_record(size)
        elif message == "state":
            yield from chunked_state(draw.choice((CHUNK, b'"%b",' % (b"x" * 90))))
        else:
            stream = "people" if message == "columns" else f"s{size % 7}"
            schema = columns(1 + min(values, 2_000), stream, f"v{size % 7}")
            yield schema.replace(b'_0": {"type": ["null", "string"]}', b'_0": {}, "name": {}')
    yield as_input([STATE])


MAPPED = {"people": {"id": "id", "name": "name", "more": "str(id)"}}
INPUTS: dict[str, tuple[Callable[[], Iterator[bytes]], dict[str, Any], str]] = {
    "a record of 6 MB": (lambda: large_record(5_900_000), {}, "[record-too-large]"),
    "a record of 19 MB": (lambda: large_record(19 * MB), {}, "[record-too-large]"),
    "a line of 200 MB": (lambda: (b"x" * MB for _ in range(200)), {}, "[invalid-line]"),
    "a line of 19 MB that is not JSON": (lambda: iter([CHUNK * 190, b"\n"]), {}, "[invalid-line]"),
    "a record of 100 MB": (lambda: large_record(100 * MB), {}, "[invalid-line]"),
    "a schema of 6 MB": (lambda: large_schema(6 * MB), {}, "[invalid-schema]"),
    "a schema of 4.9 MB": (lambda: large_schema(4_900_000), {}, "[invalid-schema]"),
    "fifty schemas": (
        lambda: (chunk for n in range(50) for chunk in large_schema(100_000, b"s%d" % n)),
        {},
        "[invalid-schema]",
    ),
    "ten thousand streams": (
        lambda: (columns(0, f"s{number}") for number in range(10_000)),
        {},
        "[invalid-schema]",
    ),
    "four stream maps of a stream": (
        lambda: iter([columns(14_000)]),
        {"stream_maps": {f"m{number}": {"__source__": "people", "x": "'a'"} for number in range(3)}},
        "the schemas and stream maps of this run take more than 120 MB of memory",
    ),
    "sixty stream maps that drop the other fields": (
        lambda: iter([columns(14_000)]),
        {
            "stream_maps": {
                f"m{number}": {"__source__": "people", "id": "id", "__else__": None} for number in range(60)
            }
        },
        "Or use fewer or shorter stream maps",
    ),
    "a stream map of many expressions for hundreds of streams": (
        lambda: (columns(3, f"s{number}") for number in range(800)),
        {
            "entity_types": {"s*": "X", "people": "User"},
            "stream_maps": {"s*": {f"v{n}": f"str(column_{n % 3} or '').upper()" for n in range(60)}},
        },
        "Or use fewer or shorter stream maps",
    ),
    "a schema that changes all the time": (
        lambda: (columns(6_000, prefix=f"v{number}") for number in range(30)),
        {},
        "",
    ),
    "a state of 6 MB": (lambda: large_state(6 * MB), {}, "[input]"),
    "forty states": (lambda: (c for _ in range(40) for c in chunked_state(CHUNK * 9)), {}, ""),
    "forty records of 19 MB, diverted": (
        lambda: (chunk for _ in range(40) for chunk in large_record(19 * MB)),
        {"on_invalid_record": "divert"},
        "[missing-final-state]",
    ),
    "mapped records of as many values as may be": (
        lambda: (c for _ in range(5) for c in large_record(390_000)),
        {"stream_maps": MAPPED},
        "[invalid-record]",
    ),
    "all at once": (worst, {}, "[invalid-record]"),
    "all at once, diverted": (worst, {"on_invalid_record": "divert"}, "[missing-final-state]"),
    "all at once, with alternatives, diverted": (
        worst_of_alternatives,
        {"on_invalid_record": "divert"},
        "[missing-final-state]",
    ),
    "many alternatives, diverted": (
        many_alternatives,
        {"on_invalid_record": "divert"},
        "[missing-final-state]",
    ),
    "all at once, mapped": (
        worst,
        {"on_invalid_record": "divert", "stream_maps": MAPPED},
        "[missing-final-state]",
    ),
    "all at once, mapped, 16 pages in flight": (
        worst,
        {"on_invalid_record": "divert", "stream_maps": MAPPED, "max_parallel_pages": 16},
        "[missing-final-state]",
    ),
    "all at once, with alternatives, 16 pages in flight": (
        worst_of_alternatives,
        {"on_invalid_record": "divert", "stream_maps": MAPPED, "max_parallel_pages": 16},
        "[missing-final-state]",
    ),
    "half a gigabyte of which a map sends little, diverted": (
        lambda: (as_input([record(n, name="x" * 5_000_000), STATE]) for n in range(100)),
        {
            "light": True,
            "on_invalid_record": "divert",
            "stream_maps": {"people": {"id": "id", "__else__": None}},
        },
        "",
    ),
    "as many values as may be, twice, 16 uncompressed pages in flight": (
        many_values,
        {
            "light": True,
            "max_parallel_pages": 16,
            "compress": False,
            "report_path": "r.json",
            "stream_maps": {
                "people": {"id": "id", "name": "name", "__else__": None},
                "others": {"__source__": "people", "id": "id", "name": "name", "__else__": None},
            },
        },
        "",
    ),
    "fifty thousand rejects": (
        lambda: (
            b'{"type":"RECORD","stream":"people","record":{"id":"%0400d","name":5}}\n' % n
            for n in range(50_000)
        ),
        {"dry_run": True, "max_rejects": 50_000, "report_path": "r.json"},
        "[missing-final-state]",
    ),
    "a gigabyte of records": (lambda: gigabyte(100_000), {"light": True}, ""),
    "a gigabyte of large records, diverted": (
        lambda: gigabyte(4_990_000),
        {"light": True, "on_invalid_record": "divert"},
        "",
    ),
}


@pytest.fixture(scope="module")
def light() -> Iterator[FaultySandbox]:
    """A server that counts records but does not keep them."""
    with FaultySandbox(SandboxOptions(integrations=None, processing_seconds=0.02, light=True)) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(12))
def test_no_random_input_takes_more_than_300_mb(door: FrontDoor, light: FaultySandbox, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - reproducible sizes
    settings: dict[str, Any] = {
        "max_parallel_pages": draw.choice((1, 8, 16)),
        "compress": draw.random() < 0.5,
    }
    if draw.random() < 0.5:
        settings["stream_maps"] = MAPPED
    # The first record that is too large would end the run.
    settings |= {"on_invalid_record": "divert", "max_rejects": 50_000}
    door.sandbox = light
    exit_code, memory, stderr = peak(door, drawn(draw), **settings)
    print(seed, f"{memory / MB:.0f} MB", stderr.strip().splitlines()[-1][-160:] if exit_code else "applied")  # noqa: T201 - pytest shows it on request
    assert exit_code in {0, 1, 75}
    assert "Traceback" not in stderr
    assert "[internal]" not in stderr
    assert memory < LIMIT


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", INPUTS)
def test_no_input_takes_more_than_300_mb(door: FrontDoor, light: FaultySandbox, what: str) -> None:
    chunks, settings, code = INPUTS[what]
    if settings.pop("light", False):
        door.sandbox = light
    exit_code, memory, stderr = peak(door, after_schema(chunks()), **settings)
    print(what, f"{memory / MB:.0f} MB")  # noqa: T201 - pytest shows it on request
    assert exit_code == bool(code), stderr[-500:]
    assert code in stderr
    assert memory < LIMIT


@pytest.mark.slow
def test_keys_of_waiting_pages_take_little_memory(door: FrontDoor, light: FaultySandbox) -> None:
    door.sandbox = light
    light.inject(Fault("push", times=9, integration_id=door.integration_id, effect=Delay(5)))
    exit_code, memory, stderr = peak(door, keys_of_many_numbers(), on_invalid_record="divert")
    assert exit_code == 0, stderr[-500:]
    assert memory < LIMIT


ALTERNATIVES: dict[str, tuple[list[Any], list[Any]]] = {
    "of lists": (
        [{"type": "array", "items": {"type": "string", "minLength": n}} for n in range(200)],
        [1] * 50_000,
    ),
    "of lengths": ([{"maxItems": n} for n in range(1_000)], [1] * 90_000),
    "of alternatives": (
        [{"oneOf": [{"items": {"anyOf": [{"type": "string"}, {"minimum": n}]}}]} for n in range(2, 200)],
        [1] * 50_000,
    ),
}


@pytest.mark.parametrize(
    ("what", "rule", "where"),
    [
        (what, rule, where)
        if (what, rule) == ("of lists", "anyOf")
        else pytest.param(what, rule, where, marks=pytest.mark.slow)
        for what in ALTERNATIVES
        for rule in ("anyOf", "oneOf")
        for where in ("schema", "entity schema")
    ],
)
def test_failed_alternatives_are_reported_only_by_their_rule(
    door: FrontDoor, what: str, rule: str, where: str
) -> None:
    """The validator's own error would contain one for every alternative, each with a copy of the value."""
    alternatives, values = ALTERNATIVES[what]
    rules = {"type": "object", "properties": {"id": {"type": "integer"}, "v": {rule: alternatives}}}
    schema, settings = SCHEMA | {"schema": rules}, {}
    if where == "entity schema":
        schema = SCHEMA | {"schema": {"properties": {"id": {}, "v": {}}}}
        settings = {"entity_schemas": {"people": {"schema": rules}}}
    chunks = iter([as_input([schema, record(1, v=values), STATE])])
    exit_code, memory, stderr = peak(door, chunks, **settings)
    assert exit_code == 1
    assert f"field 'v' violates the rule '{rule}'" in stderr
    assert memory < LIMIT
    assert not door.operations()


def test_only_the_first_of_fifty_thousand_wrong_values_is_named(door: FrontDoor) -> None:
    items = {"allOf": [{"type": "string", "minLength": n} for n in range(200)]}
    entity_schemas = {"people": {"schema": {"properties": {"v": {"items": items}}}}}
    schema = SCHEMA | {"schema": {"properties": {"id": {}, "v": {}}}}
    chunks = iter([as_input([schema, record(1, v=[1] * 50_000), STATE])])
    exit_code, memory, stderr = peak(door, chunks, entity_schemas=entity_schemas)
    assert exit_code == 1
    assert "field 'v[0]' must be string" in stderr
    assert memory < LIMIT


NAMES = ["ab"] * 30_000
LIMITED = {
    "the values of a record": (record(2, name=[1] * 100_000), "[record-too-large]"),
    "the values of a state": ({"type": "STATE", "value": {"x": [1] * 250_000}}, "[input]"),
    "a stream's name": (SCHEMA | {"stream": "x" * 256}, "[invalid-line]"),
    "key properties": (SCHEMA | {"key_properties": NAMES}, "[invalid-line]"),
    "bookmark properties": (SCHEMA | {"bookmark_properties": NAMES}, "[invalid-line]"),
    "a manifest": (
        {"type": "BATCH", "stream": "people", "encoding": {}, "manifest": NAMES * 10},
        "[invalid-line]",
    ),
    "a schema": (SCHEMA | {"schema": {"properties": {}, "x": "y" * 5 * MB}}, "[invalid-schema]"),
    "a schema of objects": (SCHEMA | {"schema": {"properties": {}, "x": [{}] * 60_000}}, "[invalid-schema]"),
    "a state": ({"type": "STATE", "value": {"x": "y" * 5 * MB}}, "[input]"),
    "a record": (record(2, name="y" * 6 * MB), "[record-too-large]"),
    "a line": (b"x" * 20 * MB, "[invalid-line]"),
}


@pytest.mark.parametrize("what", LIMITED)
def test_oversized_messages_are_rejected_before_decoding(door: FrontDoor, what: str) -> None:
    message, code = LIMITED[what]
    finished = door.run([SCHEMA, record(1), message, STATE])
    assert finished.code == 1
    assert code in finished.error
    assert finished.error.startswith("Input line 3: ") or code == "[record-too-large]"


def test_commas_in_text_are_not_counted_as_values(door: FrontDoor) -> None:
    text = 'a,"{[\\",' * 100_000
    finished = door.run([SCHEMA, record(1, name=text), STATE])
    assert (finished.code, finished.stdout) == (0, state_line())
    assert door.applied()["people"][0]["name"] == text


LARGE = {"bytes": "s" * 6 * MB, "values": [1] * 100_000}


@pytest.mark.parametrize("by", LARGE)
def test_the_key_of_a_record_too_large_to_decode_is_found(door: FrontDoor, by: str) -> None:
    messages = [SCHEMA, record(1, name=LARGE[by]), record(2, name=LARGE[by]), record(1), STATE]
    finished = door.run(messages, on_invalid_record="divert")
    assert (finished.code, finished.stdout) == (0, state_line())
    assert "1 of them is superseded" in finished.stderr
    (path,) = (door.folder / "rejects").iterdir()
    (line,) = path.read_bytes().splitlines()[1:]
    assert json.loads(line)["record"]["id"] == 2


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "", "id"])
def test_the_key_of_a_record_too_large_may_have_any_name(door: FrontDoor, name: str) -> None:
    schema = SCHEMA | {"schema": {"properties": {"id": {}, name: {}}}, "key_properties": ["id", name]}
    small, large = record(2), record(1, name="s" * 6 * MB)
    small["record"][name], large["record"][name] = 2, 1
    finished = door.run([schema, small, large, STATE], on_invalid_record="divert")
    assert (finished.code, finished.stdout) == (0, state_line())


@pytest.mark.parametrize("place", ["line", "batch"])
def test_an_unterminated_string_is_searched_once(door: FrontDoor, tmp_path: Path, place: str) -> None:
    """Each of its quotes could start another string."""
    line = b'{"type":"RECORD","stream":"people","record":[' + b"1," * 300_000 + b'"' + b'\\"' * 2_500_000
    messages: list[Any] = [SCHEMA, line]
    if place == "batch":
        path = tmp_path / "batch.jsonl"
        path.write_bytes(line)
        encoding = {"format": "jsonl", "compression": "none"}
        batch = {"type": "BATCH", "stream": "people", "encoding": encoding, "manifest": [path.as_uri()]}
        messages = [SCHEMA, batch]
    began = time.monotonic()
    finished = door.run(messages)
    assert time.monotonic() - began < 15
    assert finished.code == 1


def test_schemas_of_hundreds_of_streams_stay_far_below_the_limit() -> None:
    schema = {"properties": {f"a_column_{n}": {"type": ["null", "string"]} for n in range(100)}}
    assert 200 * memory_of(json.dumps(schema).encode()) < MAX_MEMORY * 2 / 3


def test_an_unfinished_rejects_file_does_not_fail_an_applied_run(
    door: FrontDoor,
) -> None:
    """Its folder is replaced by a file during the run."""
    messages: list[Any] = [SCHEMA, record(1), record(2, name=5), STATE]
    rejects = door.folder / "rejects"
    process = door.start(on_invalid_record="divert", rejects_dir=str(rejects), page_size=1)
    assert process.stdin is not None
    process.stdin.write(as_input(messages[:3]))
    process.stdin.flush()
    door.wait_for_operation("push", responded=True)
    for _ in range(200):
        if rejects.exists() and list(rejects.iterdir()):
            break
        threading.Event().wait(0.05)
    rejects.rename(door.folder / "moved")
    rejects.write_text("")
    finished = door.finish(process, messages[3:])
    assert (finished.code, finished.stdout) == (0, state_line())
    assert "WARNING" in finished.stderr
    assert door.session().state == "processed"


@pytest.mark.slow
def test_problems_of_many_records_are_kept_once(door: FrontDoor) -> None:
    names = [f"employment_contract_supplementary_information_{number}" for number in range(20)]
    rules = {"properties": {name: {"type": "string"} for name in names}}
    schemas = {"people": {"schema": {"properties": {"name": rules}}}}

    def chunks() -> Iterator[bytes]:
        yield as_input([SCHEMA | {"schema": {"properties": {"id": {}, "name": {}}}}, record(0)])
        for number in range(50_000):
            yield as_input([record(number + 1, name=dict.fromkeys(names, 1))])
        yield as_input([STATE])

    exit_code, memory, err = peak(door, chunks(), entity_schemas=schemas, dry_run=True, max_rejects=50_000)
    assert exit_code == 1
    assert "50,000 records of entity type 'people': field 'name" in err
    assert memory < 200 * MB


@pytest.mark.slow
def test_rejected_records_are_not_kept_in_memory(door: FrontDoor) -> None:
    """Sixty records of 1.2 MB: more than 50 MB in total, and all are in the finished file."""

    def chunks() -> Iterator[bytes]:
        yield as_input([record(0)])
        for number in range(60):
            yield as_input(
                [{"type": "RECORD", "stream": "people", "record": {"id": number, "name": [" " * MB]}}]
            )
        yield as_input([STATE])

    exit_code, memory, _ = peak(door, after_schema(chunks()), on_invalid_record="divert")
    assert exit_code == 0
    assert memory < 120 * MB
    (path,) = (door.folder / "rejects").iterdir()
    assert path.stat().st_size > 60 * MB
    assert [json.loads(line)["record"]["id"] for line in path.read_bytes().splitlines()[1:]] == [*range(60)]


def test_a_long_key_is_remembered_as_a_digest(door: FrontDoor) -> None:
    """The later version supersedes the rejected one, and the key of 1 MB is not kept in memory."""
    schema = SCHEMA | {"key_properties": ["id", "long"]}
    keys = {"long": "x" * MB}
    messages = [schema, record(1, name=5, **keys), record(2, **keys), record(1, **keys), STATE]
    finished = door.run(messages, on_invalid_record="divert")
    assert finished.code == 0
    assert "1 of them is superseded" in finished.stderr


def test_only_rejected_entities_are_remembered() -> None:
    """Remembering every record of a run would take unlimited memory."""
    from target_sprinto.push.protocol.pages import Item, Page  # noqa: PLC0415 - used once
    from target_sprinto.singer.rejects.rejected_records import Source  # noqa: PLC0415 - used once

    rejects = RejectedRecords(None, 10)
    items = tuple(Item("User", b"{}", Source("people", n, number=n), (n,)) for n in range(1, 100))
    rejects.accepted(Page(1, items))
    assert rejects._latest == {}
