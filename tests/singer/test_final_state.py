"""Which records a final STATE covers: only the decision. Real taps: `end_to_end/test_sdk_taps.py`."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from target_sprinto.push.errors import SprintoError
from target_sprinto.singer.state.bookmark_comparison import is_covered
from target_sprinto.singer.state.final_state import FinalState

Input = list[tuple[str, Any]]


def schema(stream: str = "people", key: object = "at") -> tuple[str, Any]:
    return "SCHEMA", (stream, b"" if key is None else json.dumps([key]).encode())


def record(value: object, stream: str = "people", **fields: object) -> tuple[str, Any]:
    return "RECORD", (stream, json.dumps({"id": 1, "at": value, **fields}).encode())


def state(value: Any = None, **bookmarks: Any) -> tuple[str, Any]:  # noqa: ANN401 - any JSON
    return "STATE", {"bookmarks": bookmarks} if value is None else value


def at(value: object, key: str = "at", **more: object) -> dict[str, object]:
    return {"replication_key": key, "replication_key_value": value, **more}


def problem(messages: Input) -> str | None:
    followed = FinalState()
    for kind, value in messages:
        match kind:
            case "SCHEMA":
                followed.add_schema(*value)
            case "RECORD":
                followed.add_record(*value)
            case "VERSION":
                followed.add_version(value)
            case _:
                followed.add_state(json.dumps(value).encode())
    found: str | None = None
    try:
        followed.require_complete()
    except SprintoError as problem:
        found = str(problem)
    assert found is None or len(found) <= 300
    return found


OLD = state(people=at(10))

COMPLETE: dict[str, Input] = {
    "nothing at all": [],
    "no records": [schema(), OLD],
    "a STATE of SIGTERM without records": [schema(), state({})],
    "no records, whatever the STATE says": [schema(), state(people=at(1, progress_markers={}))],
    "a STATE after all": [schema(), record(11), state(people=at(11))],
    "no changes": [OLD, schema(), record(10)],
    "older rows again": [OLD, schema(), record(3), record(10)],
    "a boundary row with a value that JSON cannot represent": [
        OLD,
        schema(),
        ("RECORD", ("people", b'{"at":10,"score":NaN,"name":"\\"-Infinity"}')),
    ],
    "news in the first of two": [
        state(people=at(10), teams=at(5)),
        schema(),
        record(10),
        record(11),
        state(people=at(11), teams=at(5)),
        schema("teams"),
        record(5, "teams"),
    ],
    "a full table": [schema(key=None), record(1), state(people={})],
    "two full tables": [schema(key=None), schema("b", None), record(1), state(people={}, b={})],
    "a tap whose bookmarks are its own": [schema(key=None), record(1), state({"start_date": "2026"})],
    "invalid bookmarks": [schema(), record(1), state({"bookmarks": "2026"})],
    "full tables of tap-asana": [schema(key=None), record(1), state({"bookmarks": {}})],
    "full tables of tap-mysql": [
        schema("t", None),
        state({"bookmarks": {"db-t": {"max_pk_values": {"id": 9}, "last_pk_fetched": {"id": 1}}}}),
        record(1, "t"),
        state({"currently_syncing": None, "bookmarks": {"db-t": {"initial_full_table_complete": True}}}),
    ],
    "full tables of tap-zoom": [schema(key=None), record(1), state({"currently_syncing": None})],
    "full tables of tap-postgres": [
        schema("t", None),
        record(1, "t"),
        state({"bookmarks": {"public-t": {"version": 3, "xmin": 728}}, "currently_syncing": "public-t"}),
        record(2, "t"),
        state({"bookmarks": {"public-t": {"version": 3, "xmin": None}}, "currently_syncing": None}),
    ],
    "full tables of tap-salesforce": [
        schema(key=None),
        state({"current_stream": "people"}),
        record(1),
        state({"current_stream": None, "bookmarks": {"people": {"version": 3}}}),
    ],
    "a stream with the name of a marker": [
        schema("current_stream"),
        record(1, "current_stream"),
        state(current_stream=at(1)),
    ],
    "tap-listrak": [
        schema(key=None),
        state({"last_list_id": 7, "last_stream": "campaigns"}),
        record(1),
        state({"last_list_id": None, "last_stream": None, "bookmarks": {"contacts": {"7": "2026"}}}),
    ],
    "full tables of tap-github": [
        state({"currently_syncing": "people"}),
        schema(key=None),
        record(1),
        state({}),
    ],
    "a partition without changes": [
        state(people={"partitions": [{"context": {"org": 1}, **at(10)}, {"context": {"org": 2}, **at(20)}]}),
        schema(),
        record(10, org=1),
        record(20, org=2),
    ],
    "markers that an earlier run left in a partition that is gone": [
        state(people={"partitions": [{"context": {"org": 9}, **at(1, starting_replication_value=1)}]}),
        schema(),
        record(10, org=1),
        state(
            people={
                "partitions": [
                    {"context": {"org": 9}, **at(1, starting_replication_value=1)},
                    {"context": {"org": 1}, **at(10)},
                ]
            }
        ),
    ],
    "markers of a stream that is not selected": [
        schema(),
        record(1),
        state(people=at(1), teams={"starting_replication_value": None}),
    ],
}

ALWAYS = "The tap probably crashed: check its log. If this tap always ends this way, set `expect`"

INCOMPLETE: dict[str, tuple[Input, str]] = {
    "no STATE": ([schema(), record(1)], "and no STATE"),
    "a record beyond the bookmark": ([OLD, schema(), record(10), record(11)], f"its bookmark. {ALWAYS}"),
    "a record without a bookmark": ([OLD, schema("teams"), record(1, "teams")], "no bookmark"),
    "a full table with no STATE after it": (
        [state(people={}), schema(key=None), record(1)],
        "no replication key",
    ),
    "a full table whose bookmark is of another time": (
        [OLD, schema(key=None), record(1)],
        "clear the tap's state",
    ),
    "a full table with partitions, of an SDK tap that was given its STATE": (
        [
            state(people={"partitions": [{"context": {"org": 1}}, {"context": {"org": 2}}]}),
            schema(key=None),
            record(1, org=1),
        ],
        "set `expect`, then run without it",
    ),
    "a STATE that is sent before its record, as by tap-pardot": (
        [schema(), state(people={"updated_at": "2026-01-02"}), record(1)],
        "If this tap always ends this way",
    ),
    "tap-github, between two repositories": (
        [schema(key=None), record(1), state({"currently_syncing_repo": "beta/c", "bookmarks": {}})],
        "still reading a stream (`currently_syncing_repo`)",
    ),
    "a full table with partitions and child streams": (
        [
            schema(key=None),
            schema("children", None),
            record(1, "children"),
            state(children={}, people={"partitions": [{"context": {"org": 1}}]}),
            record(1, org=1),
        ],
        "with child streams",
    ),
    "tap-shopify, whose second stream failed": (
        [
            schema(),
            record(1),
            state({"bookmarks": {"people": {"updated_at": "2026"}, "currently_sync_stream": "orders"}}),
        ],
        "still reading a stream (`currently_sync_stream`)",
    ),
    "tap-listrak, between two lists": (
        [schema(key=None), record(1), state({"last_list_id": 7, "last_stream": None, "bookmarks": {}})],
        "still reading a stream (`last_list_id`)",
    ),
    "tap-klaviyo, which sends no STATE for a full table": (
        [
            schema(),
            record(1),
            state({"bookmarks": {"id7": {"since": "2026"}}}),
            schema("b", None),
            record(1, "b"),
        ],
        "If this tap always ends this way",
    ),
    "an SDK tap of 0.23 to 0.30 with partitions in common": (
        [schema(), record(1), state(people={"partitions": [{"context": {}, "progress_markers": {}}]})],
        "`state_partitioning_keys` need SDK 0.31",
    ),
    "tap-postgres, whose full table was cut off": (
        [
            schema("t", None),
            record(1, "t"),
            state({"bookmarks": {"public-t": {"version": 3, "xmin": 728}}, "currently_syncing": "public-t"}),
        ],
        "still reading a stream (`currently_syncing`)",
    ),
    "tap-jira, whose second page failed": (
        [
            schema(key=None),
            state({"currently_syncing": "people"}),
            record(1),
            state({"currently_syncing": "people", "bookmarks": {"people": {"offset": {"page_num": 50}}}}),
        ],
        "still reading a stream (`currently_syncing`)",
    ),
    "tap-google-analytics, whose state names a part of a stream": (
        [schema(key=None), record(1), state({"currently_syncing": ["people", "2026"], "bookmarks": {}})],
        "still reading a stream (`currently_syncing`)",
    ),
    "tap-salesforce, stopped": (
        [schema(key=None), record(1), state({"current_stream": "people", "bookmarks": {"people": {}}})],
        "still reading a stream (`current_stream`)",
    ),
    "tap-mysql, stopped in a full table": (
        [
            schema("t", None),
            record(1, "t"),
            state({"bookmarks": {"db-t": {"max_pk_values": {"id": 9}, "last_pk_fetched": {"id": 1}}}}),
        ],
        "is unfinished (`max_pk_values`). The tap was stopped, or crashed: check its log and run again. [",
    ),
    "a table with versions": ([OLD, schema(), ("VERSION", "people"), record(1)], "as full tables do"),
    "another replication key": ([OLD, schema(key="id"), record(1)], "no value of its replication key"),
    "a bookmark without a value": ([state(people={"x": 1}), schema(), record(1)], "no value of its"),
    "a record without its replication key": ([OLD, schema("people", "of"), record(1)], "replication key"),
    "a record whose replication key is null": ([OLD, schema(), record(None)], f"key is null. {ALWAYS}"),
    "a record that cannot be read": (
        [OLD, schema(), ("RECORD", ("people", b'{"at":NaN}'))],
        f"without a value of its replication key. {ALWAYS}",
    ),
    "another partition": (
        [state(people={"partitions": [{"context": {"org": 1}, **at(10)}]}), schema(), record(1, org=2)],
        "of a partition",
    ),
    "a partition beyond its own bookmark": (
        [
            state(
                people={"partitions": [{"context": {"org": 1}, **at(1)}, {"context": {"org": 2}, **at(9)}]}
            ),
            schema(),
            record(9, org=1),
        ],
        "beyond its bookmark",
    ),
    "records that do not say which partition": (
        [state(people={"partitions": [{"context": {"org": 1}, **at(10)}]}), schema(), record(1)],
        "of a partition",
    ),
    "killed after a STATE in the middle": (
        [schema(), record(1), state(people=at(1, starting_replication_value=None)), record(1)],
        "is unfinished",
    ),
    "stopped in the first full table": ([schema(key=None), record(1), state({})], "is empty"),
    "stopped in the first full table of an older SDK": (
        [state({}), schema(key=None), record(1), state({})],
        "is empty",
    ),
    "stopped, unsorted": (
        [OLD, schema(), record(1), state(people=at(10, progress_markers={"Note": ""}))],
        "`progress_markers`",
    ),
    "stopped, sorted by time": (
        [OLD, schema(), record(1), state(people=at(10, replication_key_signpost="2026"))],
        "`replication_key_signpost`",
    ),
    "stopped, sorted": (
        [OLD, schema(), record(1), state(people=at(10, starting_replication_value=None))],
        "`starting_replication_value`",
    ),
    "stopped in the second before its first record": (
        [schema(), record(1), schema("b"), state(people=at(1), b={"starting_replication_value": 1})],
        "stream 'b' is unfinished",
    ),
    "stopped in a partition": (
        [
            schema(),
            record(1, org=1),
            state(people={"partitions": [{"context": {"org": 1}, "starting_replication_value": None}]}),
        ],
        "is unfinished",
    ),
    "stopped in a stream that the tap's own map has renamed": (
        [schema("staff"), record(1, "staff"), state(people=at(1, progress_markers={}))],
        "stream 'people' is unfinished",
    ),
}


@pytest.mark.parametrize("messages", COMPLETE.values(), ids=COMPLETE)
def test_complete_input(messages: Input) -> None:
    assert problem(messages) is None


@pytest.mark.parametrize(("messages", "why"), INCOMPLETE.values(), ids=INCOMPLETE)
def test_incomplete_input(messages: Input, why: str) -> None:
    found = problem(messages)
    assert found is not None
    assert why in found
    hint = found.index("check its log")
    assert hint < found.find("`expect`") < found.find("`require_final_state") or "`expect`" not in found


DAY, NOON = "2026-11-28", "2026-11-28T12:00:00"


@pytest.mark.parametrize(
    ("value", "bookmark"),
    [
        (1, 1),
        (1, 2),
        (Decimal("1.10"), Decimal("1.1")),
        (9007199254740992, Decimal("9007199254740993.5")),
        ("100.50", Decimal("100.5")),
        (DAY, DAY),
        ("2026-11-27", DAY),
        (f"{NOON}Z", f"{NOON}+00:00"),
        (f"{NOON}.5Z", f"{NOON}.500000+0000"),
        (f"{NOON}+05:45", f"{NOON}Z"),
        ("2026-11-28 06:15:00Z", f"{NOON}+05:45"),
        (f"{NOON}", f"{NOON}.000"),
        (f"{NOON}.123456788Z", f"{NOON}.123456789Z"),
        ("a7", "a7"),
        ("", ""),
    ],
)
def test_covered(value: object, bookmark: object) -> None:
    assert is_covered(value, bookmark)


@pytest.mark.parametrize(
    ("value", "bookmark"),
    [
        (2, 1),
        (9007199254740993, 9007199254740992),
        (Decimal("1.0000000000000000000000000000001"), Decimal("1.0")),
        ("100.51", Decimal("100.5")),
        ("9", "10"),
        (9, "10"),
        ("a", "b"),
        ("B", "a"),
        (True, 1),
        (1, True),
        (True, True),
        (None, None),
        (None, 1),
        (1, None),
        ([1], [1]),
        ("2026-11-29", DAY),
        (DAY, NOON),
        (NOON, f"{NOON}Z"),
        (f"{NOON}Z", NOON),
        (f"{NOON}-00:01", f"{NOON}Z"),
        (f"{NOON}.0000001Z", f"{NOON}Z"),
        (f"{NOON}.123456789Z", f"{NOON}.123456Z"),
        ("2026-02-30", "2026-03-01"),
        ("2026-02-28T24:00:00Z", f"{NOON}Z"),
        (f"{DAY}T11:00", f"{NOON}"),
    ],
)
def test_not_covered(value: object, bookmark: object) -> None:
    assert not is_covered(value, bookmark)


def test_after_an_uncovered_record_none_are_checked_until_the_next_state() -> None:
    followed = FinalState()
    followed.add_schema("people", b'["at"]')
    followed.add_state(json.dumps({"bookmarks": {"people": at(10)}}).encode())
    followed.add_record("people", b'{"at":11}')
    # Decoding this would raise.
    followed.add_record("people", None)  # type: ignore[arg-type]
    followed.add_state(json.dumps({"bookmarks": {"people": at(11)}}).encode())
    followed.add_record("people", b'{"at":11}')
    followed.require_complete()
