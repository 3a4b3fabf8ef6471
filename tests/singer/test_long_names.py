"""Messages about names of 255 characters, the maximum, fit into 300 characters."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from target_sprinto import SprintoClient, errors
from target_sprinto.push import errors as push
from target_sprinto.push.api_calls import RetryPolicy
from target_sprinto.push.protocol.activity_log import LoggedSession
from target_sprinto.push.protocol.field_paths import FieldProblem
from target_sprinto.push.protocol.lifecycle import OnCountMismatch
from target_sprinto.push.protocol.pages import Item, Page, too_large
from target_sprinto.push.protocol.rejections import describe_rejection
from target_sprinto.push.protocol.responses import SessionStatus
from target_sprinto.push.run.opening_conflict import ConflictPolicy, ConflictResolver
from target_sprinto.push.run.run_options import RunOptions
from target_sprinto.push.run.staged_session import StagedSession
from target_sprinto.singer.error_hints import advise, name_blocker
from target_sprinto.singer.expectations import Expectations
from target_sprinto.singer.input.batch_files import BatchFile
from target_sprinto.singer.input.messages import encode
from target_sprinto.singer.mapping import map_check
from target_sprinto.singer.mapping.entity_types import EntityTypes, Unmapped
from target_sprinto.singer.mapping.map_rules import MapRule, rules_of
from target_sprinto.singer.mapping.named_streams import Arrivals
from target_sprinto.singer.rejects.rejected_records import Rejected, RejectedRecords, Source
from target_sprinto.singer.schemas.entity_schemas import EntitySchema
from target_sprinto.singer.schemas.validation import RecordValidator
from target_sprinto.singer.settings.settings import Expectation
from target_sprinto.singer.state.final_state import FinalState
from tests.support.message_size import LONGEST, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def long(start: str) -> str:
    return start + "x" * (255 - len(start))


STREAM, TYPE, KEY = long("stream_"), long("Type"), long("key_")
FIELDS = [long(f"field_{number}_") for number in range(9)]
STRING = {"type": "string"}
SCHEMA = {"properties": dict.fromkeys(FIELDS, STRING)}
SOURCE = Source(STREAM, 123_456_789, number=1)
(NO_RULE,) = rules_of({}, STREAM)


def rule(**fields: Any) -> MapRule:  # noqa: ANN401 - any map
    (only,) = rules_of({STREAM: fields}, STREAM)
    assert only.name == STREAM
    return only


def known_names(**fields: Any) -> None:  # noqa: ANN401 - any map
    map_check.require_known_names(rule(**fields), STREAM, SCHEMA["properties"], ())


def entity(**rules: Any) -> EntitySchema:  # noqa: ANN401 - a JSON Schema
    properties = {name: {"type": "integer"} for name in FIELDS[:4]}
    return EntitySchema(TYPE, {"schema": {"properties": properties, **rules}})


def arrivals(maps: dict[str, Any], types: dict[str, str], expected: tuple[str, ...] = ()) -> None:
    found = Arrivals(EntityTypes(types, Unmapped.KEEP), maps, expected)
    for number in range(9):
        list(found.add(long(f"other_{number}_"), FIELDS, {str(number): long(f"Other{number}")}))
    found.require_named()


def rejected_records() -> RejectedRecords:
    records = RejectedRecords(None, 100)
    for field in FIELDS:
        records.add(Rejected(SOURCE, TYPE, None, "invalid-record", FieldProblem(field, "must be a string")))
    return records


def guards(**expected: Any) -> Expectations:  # noqa: ANN401 - expectations by name
    return Expectations({TYPE: Expectation(**expected)})


def unknown_unique_field() -> None:
    expectations = guards(unique=[KEY])
    expectations.before(lambda *_: None)(TYPE, b"{}")
    expectations.require_unique_fields(lambda _: FIELDS)


def session_conflict(policy: str) -> NoReturn:
    began = datetime(2026, 11, 21, tzinfo=timezone.utc)
    session = LoggedSession("0b0e6e0c-52f0-4d7c-9a4e-4c0f54b63a0e", f"{STREAM}/{uuid.uuid4()}", began, began)
    conflict = ConflictResolver(
        SprintoClient(api_key="key", integration_id="demo")._api, ConflictPolicy(policy), RetryPolicy()
    )
    raise conflict.error(session, "waited 3900 s; cannot tell if it ended (throttled)")


def count_mismatch() -> None:
    counts = Counter({long(f"Type{number}"): 10**9 for number in range(9)})
    staged = StagedSession(
        None,  # type: ignore[arg-type] # nothing is sent
        "session",
        counts,
        RetryPolicy(),
        lambda: None,
        on_count_mismatch=OnCountMismatch.DISCARD,
    )
    more = {name: count + 1 for name, count in counts.items()}
    staged.report_mismatch(SessionStatus("session", "active", accepted_records_by_entity=more))


def last_state(bookmark: dict[str, Any], *later: bytes, stream: str = STREAM) -> None:
    state = FinalState()
    state.add_schema(stream, b'["at"]')
    state.add_record(stream, b'{"at":1}')
    state.add_state(encode({"bookmarks": {stream: bookmark}}))
    for record in later:
        state.add_record(stream, record)
    state.require_complete()


def raised(failure: push.SprintoError) -> NoReturn:
    raise failure


PAGE = Page(1_000_000, tuple(Item(TYPE, b"{}", SOURCE) for _ in range(100)))
FAULTS = tuple(
    {"entity_type": TYPE, "index": number, "field": field, "issue": "additionalProperties"}
    for number in range(100)
    for field in FIELDS
)

MESSAGES: dict[str, Callable[[], object]] = {
    "no expression": lambda: map_check.require_map(rule(**{FIELDS[0]: long("not an (")}), STREAM, FIELDS, []),
    "missing key": lambda: map_check.require_map(
        rule(__key_properties__=[KEY], **{field: field for field in FIELDS}), STREAM, FIELDS, []
    ),
    "key dropped": lambda: map_check.require_map(
        rule(__else__=None, **{FIELDS[0]: KEY, FIELDS[1]: FIELDS[1]}), STREAM, FIELDS, [KEY]
    ),
    "unknown name": lambda: known_names(**{FIELDS[0]: KEY}),
    "unknown part": lambda: known_names(**{FIELDS[0]: f"record['{KEY}']"}),
    "decimal compared with a float": lambda: map_check.require_working_comparisons(
        rule(**{FIELDS[0]: f"{FIELDS[1]} / {FIELDS[2]} < float({FIELDS[3]}) / 3"}), STREAM, {}
    ),
    "text compared with a number": lambda: map_check.require_working_comparisons(
        rule(**{FIELDS[0]: f"{FIELDS[1]} == 5"}), STREAM, SCHEMA["properties"]
    ),
    "unknown format": lambda: entity(format=KEY),
    "removed field unknown": lambda: known_names(**{KEY: None}),
    "field unknown to the entity type": lambda: map_check.require_entity(
        entity(additionalProperties=False), STREAM, NO_RULE, SCHEMA["properties"], [KEY], []
    ),
    "other type": lambda: map_check.require_entity(
        entity(), STREAM, NO_RULE, SCHEMA["properties"], [FIELDS[0]], []
    ),
    "required field": lambda: map_check.require_entity(
        entity(required=[KEY]), STREAM, NO_RULE, SCHEMA["properties"], FIELDS, []
    ),
    "other keys": lambda: map_check.require_entity(
        EntitySchema(TYPE, {"key": FIELDS[:3], "schema": {}}), STREAM, NO_RULE, {}, FIELDS, FIELDS[3:]
    ),
    "no entity type": lambda: EntityTypes(
        {long(f"name_{number}"): TYPE for number in range(9)}, Unmapped.FAIL
    ).of(STREAM),
    "name too long for an entity type": lambda: EntityTypes({}, Unmapped.KEEP).of(STREAM + "x"),
    "stream missing": lambda: arrivals({}, {STREAM: TYPE}),
    "type missing": lambda: arrivals({}, {}, (TYPE,)),
    "unknown unique field": unknown_unique_field,
    "no such function": lambda: map_check.require_known_names(
        rule(**{FIELDS[0]: f"{KEY}({FIELDS[1]})"}), STREAM, SCHEMA["properties"], FIELDS
    ),
    "removed from no stream": lambda: arrivals({"other*": {KEY: None}}, {}),
    "entity mismatch": lambda: entity(
        properties={FIELDS[0]: {"enum": FIELDS}, FIELDS[1]: {"type": "integer"}}
    ).check(STREAM, dict.fromkeys(FIELDS, "x"), b""),
    "invalid record": lambda: RecordValidator(STREAM, {**SCHEMA, "type": "object"}).validate(
        dict.fromkeys(FIELDS, 1)
    ),
    "missing field": lambda: RecordValidator(STREAM, {"type": "object", "required": [KEY]}).validate({}),
    "invalid schema": lambda: RecordValidator(STREAM, {"properties": {KEY: {"type": "no type"}}}),
    "deleted record": lambda: raised(errors.DeletedRecord(STREAM)),
    "too many rejects": lambda: rejected_records().raise_if_more_than(1),
    "nothing accepted": lambda: rejected_records().raise_if_none_accepted({}),
    "too many records": lambda: Expectations({TYPE: Expectation(max_records=0)}).before(lambda *_: None)(
        TYPE, b"{}"
    ),
    "too few records": lambda: RunOptions(
        expected={long(f"Type{number}"): 10**9 for number in range(9)}
    ).require_expected({}),
    "rejected page": lambda: raised(
        describe_rejection(PAGE, push.PageRefused("", details=FAULTS), lambda _, spelt: spelt)
    ),
    "record too large": lambda: raised(too_large(b"", SOURCE, TYPE)),
    "count mismatch": count_mismatch,
    "not covered": lambda: last_state({}, b'{"at":1}'),
    "unfinished": lambda: last_state({"progress_markers": {}}),
    "session conflict": lambda: session_conflict("fail"),
    "session conflict after a wait": lambda: session_conflict("wait"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_with_long_names_is_short(name: str) -> None:
    with pytest.raises(push.SprintoError) as caught:
        MESSAGES[name]()
    failure = advise(caught.value)
    assert size(failure) <= LONGEST, failure
    name_blocker(failure, ["config.json"])
    assert size(failure) <= LONGEST, failure


def all_kinds(kind: type[push.SprintoError] = push.SprintoError) -> Iterator[type[push.SprintoError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from all_kinds(below)


@pytest.mark.parametrize("kind", dict.fromkeys(all_kinds()), ids=lambda kind: kind.__name__)
def test_long_names_are_cut_in_every_error(kind: type[push.SprintoError]) -> None:
    failure = kind.__new__(kind)
    names = ", ".join(f"'{field}'" for field in FIELDS[:5])
    push.SprintoError.__init__(failure, f"Sprinto's fields {names} of stream '{STREAM}' differ.", "h" * 100)
    assert size(advise(failure)) <= LONGEST
    assert failure.message.startswith("Sprinto's fields 'field_0")
    assert failure.message.endswith("' differ.")


@pytest.mark.parametrize("later", [(), (b'{"at":2}',)])
def test_the_name_of_a_bookmark_is_cut_whatever_its_length(later: tuple[bytes, ...]) -> None:
    with pytest.raises(push.SprintoError) as caught:
        last_state({"progress_markers": {}}, *later, stream="a/b" * 20_000)
    assert len(str(caught.value)) <= LONGEST + 50


def test_the_path_of_a_batch_file_is_cut_in_the_middle() -> None:
    name = str(BatchFile(f"/batches/{'a/b' * 20_000}/1.json.gz", compressed=True, own=frozenset()))
    assert name.startswith("batch file '/batches/")
    assert name.endswith("/1.json.gz'")
    assert len(name) <= LONGEST
