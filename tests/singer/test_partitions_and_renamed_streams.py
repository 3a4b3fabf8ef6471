"""Which records a final STATE covers: partitions, renamed streams, and values that cannot be compared."""

from __future__ import annotations

from typing import Any

import pytest

from target_sprinto.singer.state.bookmark_comparison import is_covered
from tests.singer.test_final_state import OLD, Input, at, problem, record, schema, state

MARKER: dict[str, Any] = {"starting_replication_value": 1}


def in_orgs(*parts: dict[str, object], **whole: object) -> dict[str, object]:
    return {"partitions": list(parts), **whole}


def org(number: int, value: object, **more: Any) -> dict[str, object]:  # noqa: ANN401 - any JSON
    return {"context": {"org": number}, **at(value, **more)}


COMPLETE: dict[str, Input] = {
    "a marker beside the partitions, that an earlier run left": [
        state(people=in_orgs(org(1, 1), progress_markers={})),
        schema(),
        record(2, org=1),
        state(people=in_orgs(org(1, 2), progress_markers={})),
    ],
    "a newer STATE moves a partition's bookmark": [
        state(people=in_orgs(org(1, 10))),
        schema(),
        record(5, org=1),
        state(people=in_orgs(org(1, 20))),
        record(15, org=1),
    ],
    "partitions with contexts of different names": [
        state(people=in_orgs({"context": {"org": 1, "team": 2}, **at(5)}, org(1, 10))),
        schema(),
        record(10, org=1),
    ],
    "partitions without a context": [schema(), record(1), state(people=in_orgs(5, {"context": 7}))],  # type: ignore[arg-type]
    "a bookmark that is not an object": [schema(), record(1), state(people="2026")],
    "a renamed stream whose bookmark an earlier run left unfinished": [
        state(people=at(1, **MARKER)),
        schema("staff", None),
        record(1, "staff"),
        state(people=at(1, **MARKER), staff={}),
        schema("teams", None),
        record(1, "teams"),
        state(people=at(1, **MARKER), staff={}),
    ],
}

INCOMPLETE: dict[str, tuple[Input, str]] = {
    "a boundary row of a partition that the given STATE calls unfinished": (
        [state(people=in_orgs(org(1, 10, **MARKER))), schema(), record(10, org=1)],
        "is unfinished",
    ),
    "a marker beside the partitions": (
        [schema(), record(1, org=1), state(people=in_orgs(org(1, 1), progress_markers={}))],
        "`progress_markers`",
    ),
    "an unfinished STATE that is sent twice": (
        [schema(), record(1), state(people=at(1, **MARKER)), state(people=at(1, **MARKER))],
        "`starting_replication_value`",
    ),
    "one stream of two is renamed by the tap's own map": (
        [
            schema("staff"),
            schema("teams"),
            record(1, "staff"),
            state(people=at(1, progress_markers={}), teams=at(1)),
        ],
        "stream 'people' is unfinished",
    ),
    "only boundary rows, and another stream unfinished": (
        [state(people=at(10), b=MARKER), schema(), schema("b"), record(10)],
        "stream 'b' is unfinished",
    ),
    "a newer STATE moves a partition's bookmark back": (
        [
            state(people=in_orgs(org(1, 20))),
            schema(),
            record(5, org=1),
            state(people=in_orgs(org(1, 10))),
            record(15, org=1),
        ],
        "beyond its bookmark",
    ),
    "one record": ([OLD, schema(), record(11)], "Input ended with 1 record that"),
}


@pytest.mark.parametrize("messages", COMPLETE.values(), ids=COMPLETE)
def test_complete_input(messages: Input) -> None:
    assert problem(messages) is None


@pytest.mark.parametrize(("messages", "said"), INCOMPLETE.values(), ids=INCOMPLETE)
def test_incomplete_input(messages: Input, said: str) -> None:
    assert said in (problem(messages) or "")


@pytest.mark.parametrize(
    ("value", "bookmark"),
    [("2026-01-01", None), ("2026-01-01", "soon"), ("soon", "2026-01-01"), ("1e1", 10), ("1_0", 10)],
)
def test_what_cannot_be_compared_is_not_covered(value: object, bookmark: object) -> None:
    assert not is_covered(value, bookmark)
