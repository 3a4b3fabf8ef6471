"""`expect`, checked before the close: maximums, no large loss since the last applied run, unique values."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto.errors import ExpectationNotMet
from target_sprinto.sandbox import EntityRules, Readings
from target_sprinto.singer import expectations
from target_sprinto.singer.settings.settings import Expectation
from tests.support.front_door import SCHEMA, SECRET, STATE, people, record
from tests.support.receipts import change

if TYPE_CHECKING:
    from tests.support.front_door import Finished, FrontDoor

KEEP_RECEIPTS: dict[str, Any] = {"report_path": "receipts"}


def shrink(percent: float, **more: object) -> dict[str, Any]:
    return {"expect": {"people": {"max_shrink_percent": percent, **more}}, **KEEP_RECEIPTS}


def check_discarded(door: FrontDoor, finished: Finished, code: str, *shown: str) -> None:
    assert (finished.code, finished.stdout) == (1, "")
    assert "was discarded; nothing was applied" in finished.error
    assert "close" in door.operations()
    assert door.sessions()[-1].state == "cancelled"
    for words in (f"[{code}]", *shown):
        assert words in finished.error
    assert len(finished.error) < 500


def test_a_run_with_far_fewer_records_replaces_nothing(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, readings=Readings(apply="replace"))
    first = door.run(people(200), **shrink(20))
    assert first.code == 0
    assert first.stderr.count("no receipt shows that people was applied before") == 1
    lost = door.run(people(120), **shrink(20))
    check_discarded(
        door, lost, "expectation", "Received 120 people", "the last applied run had 200", "allows 20 %"
    )
    # Otherwise these few records would become the baseline.
    assert "but load rejects as another pipeline." in lost.error
    assert len(door.applied()["people"]) == 200
    # The failed run is not a baseline, and a loss within the limit passes.
    assert door.run(people(160), **shrink(20)).code == 0
    assert len(door.applied()["people"]) == 160
    assert door.run(people(200), **shrink(0)).code == 0


def test_the_allowed_loss_is_calculated_exactly(door: FrontDoor) -> None:
    """86.4 % of 375 records are 324; as floats, slightly more."""
    assert door.run(people(375), **KEEP_RECEIPTS).code == 0
    check_discarded(door, door.run(people(323), **shrink(13.6)), "expectation", "Received 323 people")
    assert door.run(people(324), **shrink(13.6)).code == 0


UNLISTED = """
import os
scandir = os.scandir
def limited(path="."):
    if str(path).endswith("receipts"):
        raise PermissionError(13, "Permission denied")
    return scandir(path)
os.scandir = limited
"""


@pytest.mark.parametrize(
    "settings",
    [pytest.param(KEEP_RECEIPTS, id="kept", marks=pytest.mark.slow), pytest.param(shrink(20), id="compared")],
)
def test_an_unlistable_receipts_folder_is_reported(door: FrontDoor, settings: dict[str, Any]) -> None:
    """With a stub: tests may run as root, which can list every folder."""
    for name in ("site", "receipts"):
        (door.folder / name).mkdir()
    (door.folder / "site" / "sitecustomize.py").write_text(UNLISTED)
    env = {"PYTHONPATH": str(door.folder / "site")}
    finished = door.run(people(3), cold=True, env=env, **settings)
    assert (finished.code, finished.stdout) == (1, "")
    assert "[receipt-not-written]" in finished.error
    assert door.operations() == []


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_held_run_warns_that_held_runs_are_never_a_baseline(door: FrontDoor, earlier: int) -> None:
    for _ in range(earlier):
        assert door.run(people(3), **KEEP_RECEIPTS).code == 0
    finished = door.run(people(3), finish="hold", **shrink(20))
    assert finished.code == 0
    assert finished.stderr.count("`max_shrink_percent`") == 1
    assert "never with a held run, even if it was applied later" in finished.stderr


def test_another_pipelines_receipts_are_not_a_baseline(door: FrontDoor) -> None:
    assert door.run(people(200), client_reference_prefix="other", **KEEP_RECEIPTS).code == 0
    elsewhere = door.sandbox.base_url.replace("127.0.0.1", "localhost")
    assert door.run(people(200), api_url=elsewhere, **KEEP_RECEIPTS).code == 0
    assert door.run(people(3), dry_run=True, **KEEP_RECEIPTS).code == 0
    passed = door.run(people(120), **shrink(20))
    assert passed.code == 0
    assert "no receipt shows" in passed.stderr


def test_rejected_records_count_as_a_loss(door: FrontDoor) -> None:
    assert door.run(people(10), **KEEP_RECEIPTS).code == 0
    rules = {"people": EntityRules(schema={"properties": {"id": {"maximum": 4}}})}
    door.sandbox.configure(door.integration_id, entities=rules)
    lost = door.run(people(10), on_invalid_record="divert", **shrink(20))
    check_discarded(door, lost, "too-few-records", "5 people (at least 8)")


def test_the_baseline_is_the_last_run_that_applied_the_type(door: FrontDoor) -> None:
    assert door.run(people(200), **KEEP_RECEIPTS).code == 0
    other = [SCHEMA | {"stream": "devices"}, record(1) | {"stream": "devices"}, STATE]
    assert door.run(other, **KEEP_RECEIPTS).code == 0
    check_discarded(door, door.run(people(120), **shrink(20)), "expectation", "had 200")


def test_more_than_the_maximum_ends_the_run_at_once(door: FrontDoor) -> None:
    finished = door.run(people(500), expect={"people": {"max_records": 250}})
    check_discarded(door, finished, "expectation", "`expect` allows at most 250 people; received 251")
    assert sum(door.pages()) <= 200
    assert door.run(people(250), expect={"people": {"max_records": 250}}).code == 0


@pytest.mark.parametrize("maps", [{}, {"people": {"name": "name", "id": "id"}}], ids=["bytes", "mapped"])
def test_a_duplicate_value_is_reported_only_by_its_line(door: FrontDoor, maps: dict[str, Any]) -> None:
    expect = {"people": {"unique": ["name"]}}
    schema = {**SCHEMA, "schema": {"properties": {"id": {"type": "integer"}, "name": {}}}}
    once = [schema, record(1, name=None), record(2, name=None), record(3)]
    finished = door.run([*once, record(4, name=f"{SECRET} 3"), STATE], expect=expect, stream_maps=maps)
    assert finished.code == 1
    assert "[expectation]" in finished.error
    assert "input line 5) has a 'name' that an earlier record of this run has" in finished.error
    assert door.applied() == {}
    assert door.run([*once, STATE], expect=expect, stream_maps=maps).code == 0


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("1", "1.0", True),
        ("100", "1E2", True),
        ("0", "-0.0", True),
        ("[1]", "[1.0]", True),
        ('{"a":1,"b":2}', '{"b":2.0,"a":1}', True),
        ('{"a":"b"}', '{"b":"a"}', False),
        ("1", "true", False),
        ("1", '"1"', False),
        ("12345678901234567890123456789012345", "12345678901234567890123456789012346", False),
    ],
)
def test_unique_numbers_are_compared_by_value(
    door: FrontDoor, first: str, second: str, *, same: bool
) -> None:
    schema = SCHEMA | {"schema": {"properties": {"id": {}, "badge": {}}}}
    lines = [
        b'{"type":"RECORD","stream":"people","record":{"id":%d,"badge":%b}}' % (at, badge.encode())
        for at, badge in enumerate((first, second))
    ]
    finished = door.run([schema, *lines, STATE], expect={"people": {"unique": ["badge"]}})
    assert (finished.code == 1) is same, finished.stderr
    assert ("[expectation]" in finished.stderr) is same


def test_only_a_limited_number_of_unique_values_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for all entity types and fields together; the default's values would take 70 MB."""
    monkeypatch.setattr(expectations, "MAX_UNIQUE_VALUES", 3)
    wanted = {"people": Expectation(unique=["id", "badge"]), "teams": Expectation(unique=["id"])}
    add = expectations.Expectations(wanted).before(lambda *_: None)
    add("people", b'{"id":1,"badge":2}')
    add("people", b'{"id":2,"badge":null}')
    with pytest.raises(ExpectationNotMet, match="at most 3 values in a run"):
        add("teams", b'{"id":1}')


def test_a_unique_field_that_no_record_has_fails_the_run(door: FrontDoor) -> None:
    expect = {"people": {"unique": ["nmae"]}}
    finished = door.run(people(3), expect=expect)
    assert finished.code == 1
    assert "field 'nmae' of people is unique, and no record has such a field (nearest first: 'name'" in (
        finished.error
    )
    assert "[expectation]" in finished.error
    assert door.operations() == []


def test_a_unique_field_may_be_unknown_in_a_run_without_records_of_the_type(door: FrontDoor) -> None:
    """An incremental run may have none: only `min_records` requires some."""
    other = [SCHEMA | {"stream": "devices"}, record(1) | {"stream": "devices"}, STATE]
    assert door.run([SCHEMA, *other], expect={"people": {"unique": ["badge"]}}).code == 0


def test_a_unique_field_may_be_missing_if_the_schema_has_it(door: FrontDoor) -> None:
    absent = {"type": "RECORD", "stream": "people", "record": {"id": 1}}
    assert door.run([SCHEMA, absent, STATE], expect={"people": {"unique": ["name"]}}).code == 0
    unknown = {**SCHEMA, "schema": {"properties": {"id": {}}}}
    expect = {"people": {"unique": ["badge"]}}
    assert door.run([unknown, record(1), record(2, badge=None), STATE], expect=expect).code == 0


@pytest.mark.parametrize("wanted", [{"min_records": 1}, {"max_records": 5}, {"unique": ["name"]}])
def test_an_expected_type_that_no_stream_has_fails_the_run(door: FrontDoor, wanted: dict[str, Any]) -> None:
    finished = door.run(people(3), expect={"peple": wanted})
    assert finished.code == 1
    assert "names entity type 'peple', and no stream of this run has it (nearest first: 'people')" in (
        finished.error
    )
    assert "[stream-missing]" in finished.error
    assert door.operations() == []


@pytest.mark.parametrize(
    ("expect", "named"),
    [
        ({"people": {}}, "`expect.people` is empty"),
        ({"people": {"max_shrink_percent": 20}}, "`expect.people.max_shrink_percent` needs `report_path`"),
        ({"people": {"max_shrink_percent": 101}}, "must be at most 100"),
        ({"people": {"min_records": 5, "max_records": 2}}, "`expect.people.min_records` is more than its"),
        ({"people": {"unique": ["id", "name", "id"]}}, "`expect.people.unique` names a field twice"),
        ({"people": {"unique": "name"}}, "`expect.people.unique` must be array"),
    ],
)
def test_invalid_expectations_are_errors(door: FrontDoor, expect: dict[str, Any], named: str) -> None:
    finished = door.run(people(1), expect=expect)
    assert finished.code == 1
    assert "[settings]" in finished.error
    assert named in finished.error
    assert door.operations() == []


FORGERIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "contradicts itself": ("receipt-counts", ("accepted",)),
    "was changed": ("receipt-counts", ("people", "entities", "accepted")),
    "is unsigned": ("receipt-unsigned", ()),
}
"""The error code for the last receipt, and which of its counts are edited."""


@pytest.mark.parametrize("how", FORGERIES)
def test_a_forged_receipt_is_not_a_baseline(door: FrontDoor, how: str) -> None:
    code, edited = FORGERIES[how]
    signed = {} if how == "contradicts itself" else {"receipt_key_file": "key.pem"}
    assert door.finish(door.start("keygen", "key", program="sprintoctl")).code == 0
    assert door.run(people(100), **KEEP_RECEIPTS, **signed).code == 0
    (forged,) = (door.folder / "receipts").glob("*.json")
    for name in edited:
        change(forged, f'"{name}":100', f'"{name}":50')
    if not edited:
        forged.with_name(f"{forged.name}.dsse").unlink()
    passed = door.run(people(60), **shrink(0), **signed)
    assert passed.code == 0
    assert f"[{code}] This receipt is ignored." in passed.stderr
    assert "no receipt shows that people was applied before" in passed.stderr


def test_an_unusable_key_fails_the_run_before_any_comparison(door: FrontDoor) -> None:
    finished = door.run(people(3), **shrink(0), receipt_key_file="key.pem")
    assert finished.code == 1
    assert "[receipt-key]" in finished.error
    assert door.operations() == []


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[:-10],
    "empty": lambda _: b"",
    "indented again": lambda content: json.dumps(json.loads(content), indent=4).encode(),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_receipt_is_reported_and_not_a_baseline(door: FrontDoor, how: str) -> None:
    for count in (200, 100):
        assert door.run(people(count), **KEEP_RECEIPTS).code == 0
    for path in (door.folder / "receipts").iterdir():
        content = path.read_bytes()
        if b'"number": 2' in content:
            path.write_bytes(DAMAGES[how](content))
    finished = door.run(people(150), **shrink(20))
    check_discarded(door, finished, "expectation", "had 200")
    assert "is not an intact receipt" in finished.stderr


def test_damaged_receipts_of_another_pipeline_do_not_disable_the_guard(door: FrontDoor) -> None:
    assert door.run(people(200), **KEEP_RECEIPTS).code == 0
    (own,) = (door.folder / "receipts").iterdir()
    damaged = json.dumps(json.loads(own.read_bytes()), indent=4).replace("target-sprinto/", "other/")
    for number in range(1001):
        (own.parent / f"{number}.json").write_text(damaged)
    finished = door.run(people(150), **shrink(20))
    check_discarded(door, finished, "expectation", "had 200")
    assert finished.stderr.count("is not an intact receipt, and 1,000 others.") == 1
