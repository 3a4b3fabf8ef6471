"""The draft of a mapping, for the field names of eight published taps and for made-up names."""

from __future__ import annotations

import tracemalloc
from itertools import chain
from typing import Any

import msgspec
import pytest

from target_sprinto.singer.mapping.map_draft import UNDECIDED, Proposal, draft, stream_map, type_of, words
from target_sprinto.singer.mapping.tap_sample import StreamSample, from_output
from target_sprinto.singer.schemas.entity_schemas import EntitySchema, bundled_user
from tests.support.front_door import as_input
from tests.support.tap_fields import PUBLISHED, Published, schema

USER = EntitySchema("User", bundled_user())


def proposed(fields: str, *records: dict[str, Any]) -> dict[str, Proposal]:
    sample = StreamSample(schema(fields))
    for record in records:
        sample.add(record)
    return {one.field: one for one in draft(sample, USER)}


def is_right(tap: Published, one: Proposal) -> bool:
    return one.rule not in {None, UNDECIDED} and one.source in tap.chosen.get(one.field, set())


@pytest.mark.parametrize("tap", PUBLISHED, ids=lambda tap: tap.source)
def test_sure_proposals_are_right_and_account_dates_are_not_proposed(tap: Published) -> None:
    for one in proposed(tap.fields).values():
        assert one.level != "sure" or is_right(tap, one), one
        if one.field in {"employmentStartDate", "employmentEndDate"}:
            assert one.rule in {None, UNDECIDED} or is_right(tap, one), one


def test_most_fields_that_a_person_would_choose_are_proposed() -> None:
    chosen = right = wrong = 0
    for tap in PUBLISHED:
        found = proposed(tap.fields)
        chosen += len(tap.chosen)
        right += sum(is_right(tap, one) for one in found.values())
        wrong += sum(one.rule not in {None, UNDECIDED} and not is_right(tap, one) for one in found.values())
    assert (chosen, wrong) == (55, 0)
    assert right / chosen >= 0.8, (right, chosen)


def test_account_dates_are_named_but_not_proposed() -> None:
    (okta,) = [tap for tap in PUBLISHED if "okta" in tap.source]
    start = proposed(okta.fields)["employmentStartDate"]
    assert (start.rule, start.level) == (UNDECIDED, "decide")
    assert start.why.startswith(
        "not created, activated, statusChanged: dates of an account, not of employment"
    )


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("employeeId", "employee id"),
        ("employee_id", "employee id"),
        ("Employee ID", "employee id"),
        ("HTTPServer2Name", "http server2 name"),
        ("work-email", "work email"),
    ],
)
def test_names_are_split_into_words(name: str, spelt: str) -> None:
    assert words(name) == spelt


@pytest.mark.parametrize(
    ("fields", "field", "rule", "level"),
    [
        ("employee_id", "employeeId", "employee_id", "sure"),
        (
            "employee_id:integer",
            "employeeId",
            "str(employee_id) if employee_id is not None else None",
            "sure",
        ),
        ("id", "employeeId", "id", "likely"),
        ("id employeeId", "employeeId", "employeeId", "likely"),
        ("profile.firstName", "firstName", "(profile or {}).get('firstName')", "sure"),
        ("work.reportsTo.firstName", "firstName", "?", "decide"),
        ("id:number", "employeeId", "str(id) if id is not None else None", "likely"),
        ("manager_id:number", "managerId", "str(manager_id) if manager_id is not None else None", "likely"),
        ("first-name", "firstName", "record['first-name']", "sure"),
        ("hire_date:date-time", "employmentStartDate", "hire_date", "sure"),
        ("hire_date", "employmentStartDate", "hire_date", "likely"),
        ("created_at:date-time", "employmentStartDate", "?", "decide"),
        ("created_at:date-time", "employmentEndDate", None, ""),
        ("manager:object", "managerId", None, ""),
        ("employment_type", "employmentType", "?", "decide"),
    ],
)
def test_a_proposal_converts_a_field_to_the_wanted_type(
    fields: str, field: str, rule: str | None, level: str
) -> None:
    one = proposed(fields)[field]
    assert (one.rule, one.level) == (rule, level)


def test_the_format_of_values_is_used_but_not_their_text() -> None:
    records = [
        {"hire_date": "2024-01-15", "contract_type": "employee", "email": "s3cr3t@example.com"},
        {"hire_date": "2023-02-01", "contract_type": "contractor"},
    ]
    found = proposed("hire_date contract_type email", *records)
    assert found["employmentStartDate"].rule == "hire_date + 'T00:00:00Z' if hire_date else None"
    assert found["employmentStartDate"].level == "likely"
    assert found["employmentType"].rule == "contract_type.upper() if contract_type else None"
    assert found["workEmail"].rule == "record.get('email')"
    assert "s3cr3t" not in repr(found)
    assert proposed("contract_type", {"contract_type": "s3cr3t"})["employmentType"].rule == UNDECIDED


@pytest.mark.parametrize(
    ("fields", "lacking", "field", "value", "rule"),
    [
        (
            "manager_id",
            {},
            "managerId",
            7,
            "str(record.get('manager_id')) if record.get('manager_id') is not None else None",
        ),
        (
            "end_date",
            {},
            "employmentEndDate",
            "2024-01-15",
            "record.get('end_date') + 'T00:00:00Z' if record.get('end_date') else None",
        ),
        (
            "contract_type",
            {},
            "employmentType",
            "employee",
            "record.get('contract_type').upper() if record.get('contract_type') else None",
        ),
        (
            "work.email",
            {"work": {}},
            "workEmail",
            "a@example.com",
            "work.get('email')",
        ),
        (
            "work.profile.email",
            {"work": {}},
            "workEmail",
            "a@example.com",
            "(work.get('profile') or {}).get('email')",
        ),
    ],
)
def test_a_draft_maps_each_record_of_its_own_input(
    fields: str, lacking: dict[str, Any], field: str, value: object, rule: str
) -> None:
    """The schema says that every field is required and never null; one record lacks the field."""
    *outer, last = fields.split(".")
    having: dict[str, Any] = {last: value}
    of_field: dict[str, Any] = {"properties": {last: {"type": {int: "integer", str: "string"}[type(value)]}}}
    for name in reversed(outer):
        having, of_field = {name: having}, {"properties": {name: {"type": "object", **of_field}}}
    sample = StreamSample(of_field)
    sample.add(having)
    sample.add(lacking)
    assert {one.field: one.rule for one in draft(sample, USER)}[field] == rule


def test_a_schema_without_fields_has_its_key_and_required_fields_drafted() -> None:
    bare = EntitySchema("T", {"key": ["id"], "schema": {"required": ["email", "id"]}})
    assert [(one.field, one.rule) for one in draft(StreamSample(schema("email")), bare)] == [
        ("id", UNDECIDED),
        ("email", "email"),
    ]


@pytest.mark.parametrize(
    ("entity_type", "field", "fields", "source", "level"),
    [
        ("Laptop", "id", "device_id user.id", "", ""),
        ("Laptop", "name", "user.name", "", ""),
        ("Laptop", "userId", "user.id", "user.id", "sure"),
        ("Laptop", "id", "attributes.id user.id", "attributes.id", "sure"),
        ("Laptop", "id", "employee_number", "", ""),
        ("Member", "name", "user.name", "user.name", "sure"),
    ],
)
def test_a_field_of_a_devices_owner_is_not_one_of_the_device(
    entity_type: str, field: str, fields: str, source: str, level: str
) -> None:
    entity = EntitySchema(entity_type, {"schema": {"properties": {field: {"type": "string"}}}})
    (one,) = draft(StreamSample(schema(fields)), entity)
    assert (one.source, one.level) == (source, level)


def test_an_oddly_named_field_is_optional_only_if_a_record_lacks_it() -> None:
    found = proposed("last-name first-name", {"last-name": "x", "first-name": "x"}, {"last-name": "x"})
    assert found["lastName"].rule == "record['last-name']"
    assert found["firstName"].rule == "record.get('first-name')"


@pytest.mark.parametrize(
    ("value", "rule", "level"),
    [
        ("2024-01-15T09:00:00Z", "hire_date", "sure"),
        ("2024-01-15T09:00:00.123+05:30", "hire_date", "sure"),
        ("2024-01-15T09:00:00", UNDECIDED, "decide"),
        ("2024-01-15 00:00:00", UNDECIDED, "decide"),
        ("2024-01-15 00:00:00.000", UNDECIDED, "decide"),
        ("2024-01-15 00:00:00Z", UNDECIDED, "decide"),
        ("2024-01-15T09:00:00+0530", UNDECIDED, "decide"),
    ],
)
def test_only_a_time_that_the_target_accepts_is_sure(value: str, rule: str, level: str) -> None:
    found = proposed("hire_date", {"hire_date": value})["employmentStartDate"]
    assert (found.rule, found.level) == (rule, level)
    assert ("no time zone" in found.why) is (rule == UNDECIDED)


def test_the_drafted_map_sends_no_other_fields() -> None:
    sample = StreamSample(schema("id salary"))
    assert stream_map(draft(sample, USER), USER) == {
        "employeeId": "id",
        "firstName": "?",
        "lastName": "?",
        "employmentStartDate": "?",
        "workEmail": "?",
        "employmentType": "?",
        "__key_properties__": ["employeeId"],
        "__else__": None,
    }


@pytest.mark.parametrize(
    ("stream", "entity_type"),
    [("employees", "User"), ("public-Employee", "User"), ("team_members", "User"), ("devices", None)],
)
def test_streams_of_people_are_recognised(stream: str, entity_type: str | None) -> None:
    assert type_of(stream, {"Device": USER, "User": USER}) == entity_type


@pytest.mark.parametrize(
    "odd",
    [{}, {"properties": None}, {"properties": []}, {"properties": {"id": True, "email": {"type": 5}}}],
)
def test_an_odd_schema_leaves_every_decision_to_a_person(odd: dict[str, Any]) -> None:
    messages = [{"type": "SCHEMA", "stream": "s", "schema": odd}, {"type": "RECORD", "stream": "s"}, {}]
    (sample,) = from_output(as_input(messages).splitlines()).values()
    assert all(one.level in {"", "decide", "likely"} for one in draft(sample, USER))


@pytest.mark.parametrize(
    "nullable",
    [
        {"type": ["integer", "null"]},
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        {"oneOf": [{"type": "null"}, {"type": "integer"}]},
        {},
    ],
)
def test_null_never_becomes_the_text_none(nullable: dict[str, Any]) -> None:
    found = draft(StreamSample({"properties": {"id": nullable}}), USER)
    (rule,) = [one.rule for one in found if one.field == "employeeId"]
    assert rule == "str(id) if id is not None else None"


def test_a_field_that_is_never_null_needs_no_condition() -> None:
    found = draft(StreamSample({"properties": {"id": {"type": "integer"}}}), USER)
    assert found[0].rule == "str(id)"


def test_a_draft_is_deterministic() -> None:
    messages = as_input([{"type": "SCHEMA", "stream": "s", "schema": schema(PUBLISHED[0].fields)}])
    first, second = (draft(from_output(messages.splitlines())["s"], USER) for _ in range(2))
    assert first == second


def test_a_number_is_not_proposed_as_a_date_and_time() -> None:
    sample = StreamSample({"properties": {"hire_date": {"type": "integer"}}})
    (start,) = [one for one in draft(sample, USER) if one.field == "employmentStartDate"]
    assert (start.rule, start.level) == (UNDECIDED, "decide")
    assert "a number is not a date and time" in start.why
    assert "number" not in proposed("hire_date:null")["employmentStartDate"].why


def test_a_personal_address_is_not_proposed_for_work() -> None:
    address = {"type": "object", "properties": {"email": {"type": "string"}}}
    sample = StreamSample({"properties": {"personal": address, "work": address}})
    (email,) = [one for one in draft(sample, USER) if one.field == "workEmail"]
    assert email.source == "work.email"


def test_a_role_may_be_a_right_and_is_never_sure() -> None:
    sample = StreamSample({"properties": {"role": {"type": "string"}}})
    (role,) = [one for one in draft(sample, USER) if one.field == "role"]
    assert (role.source, role.level) == ("role", "likely")
    assert "may be an access role" in role.why


def test_long_texts_are_not_kept() -> None:
    lines = (
        msgspec.json.encode({"type": "RECORD", "stream": "s", "record": {"text": f"{n}" * 100_000}})
        for n in range(200)
    )
    began = msgspec.json.encode({"type": "SCHEMA", "stream": "s", "schema": {}})
    tracemalloc.start()
    try:
        samples = from_output(chain([began], lines))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert samples["s"].shapes(("text",)) == {"text"}
    assert kept < 2_000_000
