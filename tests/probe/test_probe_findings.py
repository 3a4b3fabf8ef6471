from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.probe.about_rejections import read_faults
from target_sprinto.probe.evidence import Evidence, PushAttempt, StatusSnapshot
from target_sprinto.probe.examples import (
    INVALID_AT,
    VALID_BEFORE,
    Example,
    InvalidPage,
    invalid_pages,
)
from target_sprinto.probe.report import read_findings, render_json, render_table
from target_sprinto.push.transport.base import Response

SECRET = "s3cr3t"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)
FIELDS = ["error", "details", "validation_errors", "index", "entity_type", "echoes", "page_hint"]
FIELDS += ["accepted_count_total", "rejected_count_total", "session_id", "at", "type", "message"]

secrets = st.sampled_from([SECRET, f"a {SECRET} b", f"x/{SECRET}"])
leaves = st.none() | st.booleans() | st.integers(-1, 9) | secrets | st.just("2026-11-21T12:00:00Z")
json_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | secrets, inner),
    max_leaves=12,
)
statuses = st.sampled_from([200, 201, 202, 400, 409, 415, 422, 500])
responses = st.builds(Response, statuses, st.just({}), json_values.map(msgspec.json.encode))
status_reads = st.builds(
    StatusSnapshot,
    st.none() | st.just(NOW) | st.just(NOW + timedelta(seconds=2)),
    st.none() | st.integers(0, 18),
    st.none() | st.integers(0, 9),
    st.booleans(),
)
pages = st.builds(PushAttempt, st.integers(1, 4), responses, status_reads, st.none() | status_reads)
events = st.lists(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4), max_size=4)
invalid = list(invalid_pages([Example("A", b'{"id":1}'), Example("B", b'{"id":2}')]))
seen = st.builds(
    Evidence,
    entity_types=st.sampled_from([("A",), ("A", "B")]),
    reference=st.just("prefix/673e4ff4-f76b-40c6-81dd-ceb7f00a4324"),
    idle=st.lists(status_reads, max_size=2),
    compressed=st.none() | pages,
    uncompressed=st.none() | pages,
    shown_after=st.none() | st.floats(0, 30),
    repeated=st.none() | pages,
    hinted=st.none() | pages,
    unknown_encoding=st.none() | pages,
    invalid=st.lists(st.tuples(st.sampled_from(invalid), pages), max_size=3),
    parallel=st.lists(pages, max_size=2),
    conflict=st.none() | responses,
    session_id=st.sampled_from(["", "629ab55e"]),
    events=st.none() | events,
    discarded=st.booleans(),
)


@given(seen)
def test_any_responses_are_parsed_but_not_quoted(evidence: Evidence) -> None:
    shown = render_json(evidence) + "\n".join(render_table(evidence, 100))
    assert SECRET not in shown


def test_without_evidence_there_are_no_findings() -> None:
    assert not any(finding.shown for finding in read_findings(Evidence(("A",), "r")).values())


def sent(*names: str) -> InvalidPage:
    return next(invalid_pages([Example(name, b'{"id":1}') for name in names]))


def rejection(
    indexes: list[int], place: Literal["details", "validation_errors"] = "details"
) -> dict[str, Any]:
    faults = [{"entity_type": "B", "index": index, "field": "f", "issue": "i"} for index in indexes]
    return {"error": {"details": faults}} if place == "details" else {place: faults}


@pytest.mark.parametrize("named", [INVALID_AT, INVALID_AT[:1], INVALID_AT[1:]])
@pytest.mark.parametrize("within", ["type", "page"])
@pytest.mark.parametrize("base", [0, 1])
def test_one_index_shows_how_records_are_counted(named: tuple[int, ...], within: str, base: int) -> None:
    before = VALID_BEFORE if within == "page" else 0
    faults = read_faults(rejection([before + position + base for position in named]), sent("A", "B"))
    assert [tuple(way) for way in faults.ways] == [(within, base)]
    assert faults.names_all == (len(named) > 1)


@pytest.mark.parametrize("base", [0, 1])
def test_with_one_type_an_index_shows_only_its_base(base: int) -> None:
    faults = read_faults(rejection([position + base for position in INVALID_AT]), sent("B"))
    assert [tuple(way) for way in faults.ways] == [("type", base), ("page", base)]
    assert faults.names_all is True


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (rejection([0]), "details"),
        (rejection([0], "validation_errors"), "validation_errors"),
        (rejection([0]) | rejection([0], "validation_errors"), "both"),
        ({"error": {"details": ["text"]}}, "neither"),
        ({"error": "text"}, "neither"),
        (None, "neither"),
    ],
)
def test_location_of_errors(body: object, place: str) -> None:
    assert read_faults(body, sent("A", "B")).place == place


@pytest.mark.parametrize("index", [9, -1, "0", True, None])
def test_an_inconsistent_index_shows_nothing(index: object) -> None:
    faults = read_faults({"error": {"details": [{"entity_type": "B", "index": index}] * 2}}, sent("A", "B"))
    assert faults.ways == ()
    assert faults.names_all is None


def test_errors_of_another_type_do_not_count() -> None:
    body = rejection([0, 2])
    body["error"]["details"].append({"entity_type": "A", "index": 3})
    assert read_faults(body, sent("A", "B")).names_all is True


def test_records_are_corrupted_in_one_way_at_a_time_in_each_type() -> None:
    examples = [Example("A", b'{"a":{"b":1}}'), Example("B", b'{"c":[1],"d":null}')]
    message = []
    for how, page, invalid in invalid_pages(examples):
        name = invalid[0].entity_type
        groups = page.by_entity_type
        assert list(groups)[-1] == name
        assert [len(items) for items in groups.values()] == [VALID_BEFORE, max(INVALID_AT) + 1]
        assert [groups[name][position] for position in INVALID_AT] == list(invalid)
        message.append((how, name, invalid[0].body))
    assert message == [
        ("an empty object", "B", b"{}"),
        ("an empty object", "A", b"{}"),
        ("an object whose fields have other types", "B", b'{"c":{},"d":{}}'),
        ("an object whose fields have other types", "A", b'{"a":[]}'),
        ("a number instead of an object", "B", b"0"),
    ]


def test_an_example_without_fields_is_only_replaced_by_a_non_object() -> None:
    (page,) = invalid_pages([Example("A", b"{}")])
    assert page.how == "a number instead of an object"
