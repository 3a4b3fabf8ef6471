"""A new user's mistakes: each fails before a session is opened, and the error names the next step."""

from __future__ import annotations

import os
import pty
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.front_door import PATIENCE_SECONDS, people

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.front_door import Finished, FrontDoor

# Like an identity provider's output: the useful fields are inside `profile`.
USERS = {
    "type": "SCHEMA",
    "stream": "users",
    "key_properties": ["id"],
    "schema": {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "number": {"type": ["null", "integer"]},
            "status": {"type": ["null", "string"]},
            "created": {"type": "string", "format": "date-time"},
            "hired": {"type": ["null", "string"], "format": "date-time"},
            "profile": {
                "type": ["null", "object"],
                "properties": {
                    name: {"type": ["null", "string"]}
                    for name in ("firstName", "lastName", "email", "managerId", "userType")
                },
            },
        },
    },
}
PROFILE = {"firstName": "Ada", "lastName": "s3cr3t", "email": "s3cr3t@example.com", "managerId": "m-s3cr3t"}
ADA = {
    "id": "id-s3cr3t",
    "number": 7,
    "status": "ACTIVE",
    "created": "2024-01-01T00:00:00Z",
    "hired": "2024-01-01T00:00:00Z",
    "profile": PROFILE | {"userType": "employee"},
}
STATE = {"type": "STATE", "value": {"bookmarks": {"users": {}}}}
RIGHT = {
    "employeeId": "id",
    "firstName": "profile['firstName']",
    "lastName": "profile['lastName']",
    "workEmail": "profile['email']",
    "managerId": "profile.get('managerId')",
    "employmentStartDate": "hired",
    "employmentType": "profile['userType'].upper()",
    "__key_properties__": ["employeeId"],
    "__else__": None,
}


def run(door: FrontDoor, change: dict[str, Any], *records: dict[str, Any], **settings: Any) -> Finished:  # noqa: ANN401 - settings
    """Run the right configuration with `change`; fields set to `...` are left out."""
    stream_map = {name: rule for name, rule in (RIGHT | change).items() if rule is not ...}
    defaults = {
        "entity_types": {"users": "User"},
        "entity_schemas": "bundled:User",
        "unmapped_streams": None,
        "stream_maps": {"users": stream_map},
    }
    messages = [{"type": "RECORD", "stream": "users", "record": one} for one in records or [ADA]]
    return door.run([USERS, *messages, STATE], **defaults | settings)


def test_the_right_configuration_works(door: FrontDoor) -> None:
    finished = run(door, {})
    assert finished.code == 0, finished.stderr
    assert door.applied()["User"][0]["employmentType"] == "EMPLOYEE"


@pytest.mark.parametrize(
    ("change", "settings", "message", "next_step"),
    [
        pytest.param(
            {},
            {"stream_maps": {}, "entity_types": {}},
            "stream 'users' has no entity type",
            '{"users": "User"}',
            id="only the connection settings",
        ),
        pytest.param(
            {},
            {"entity_types": {"user": "User"}},
            "nearest first: 'user' as User",
            "Name it there",
            id="stream misspelled",
        ),
        pytest.param(
            {},
            {"entity_types": {"users": "Usr"}},
            "`entity_types` names 'Usr', and `entity_schemas` describes 'User'",
            "--about",
            id="entity type misspelled",
        ),
        pytest.param(
            {},
            {"stream_maps": {}},
            "sends field 'id', and entity type 'User' has no such field",
            '"__else__": null',
            id="no stream map",
        ),
        pytest.param(
            {"__key_properties__": ...},
            {},
            "drops its key property 'id'",
            'Add "__key_properties__": ["employeeId"]',
            id="missing key",
        ),
        pytest.param(
            {"__key_properties__": ["employeId"]},
            {},
            "`__key_properties__` of stream 'users' names 'employeId'",
            "nearest first: 'employeeId'",
            id="key misspelled",
        ),
        pytest.param(
            {"employeeId": "idd"},
            {},
            "reads 'idd' for field 'employeeId'",
            "nearest first: 'id'",
            id="source field misspelled",
        ),
        pytest.param(
            {"wrokEmail": "profile['email']"},
            {},
            "sends field 'wrokEmail', and entity type 'User' has no such field",
            "nearest first: 'workEmail'",
            id="target field misspelled",
        ),
        pytest.param(
            {"workEmail": ...},
            {},
            "does not send field 'workEmail', which entity type 'User' requires",
            '{"users": {"workEmail": "…"}}',
            id="required field missing",
        ),
        pytest.param(
            {"employmentType": "EMPLOYEE"},
            {},
            "reads 'EMPLOYEE' for field 'employmentType'",
            "a constant needs inner quotes: \"'EMPLOYEE'\"",
            id="constant without quotes",
        ),
        pytest.param(
            {"role": "Software Engineer"},
            {},
            "field 'role' of stream 'users' is 'Software Engineer', which is not an expression",
            "a constant needs inner quotes: \"'Software Engineer'\"",
            id="several words without quotes",
        ),
        pytest.param(
            {"firstName": "firstName"},
            {},
            "reads 'firstName' for field 'firstName'",
            "It is inside 'profile': write `(profile or {}).get('firstName')`",
            id="nested",
        ),
        pytest.param(
            {"firstName": "profile__firstName"},
            {"flattening_enabled": True, "flattening_max_depth": 1},
            "reads 'profile__firstName' for field 'firstName'",
            "Flattening comes after the map. It is inside 'profile': write `(profile or {}).get(",
            id="flattened name",
        ),
        pytest.param(
            {"managerId": "record['profile']['manager_id']"},
            {},
            "reads 'manager_id' for field 'managerId'",
            "write `(record['profile'] or {}).get('manager_id')`",
            id="nested field misspelled",
        ),
        pytest.param(
            {"employeeId": "number"},
            {},
            "field 'employeeId' of stream 'users' is integer, but entity type 'User' requires string",
            '"str(number) if number is not None else None"',
            id="wrong type",
        ),
        pytest.param(
            {"role": "len(status)"},
            {},
            "calls 'len' for field 'role', and there is no such function (nearest first: ",
            "Use one of those, or a method of text such as `x.upper()`",
            id="no such function",
        ),
        pytest.param(
            {"employmentStartDate": "?"},
            {},
            '`stream_maps.users.employmentStartDate` is still "?"',
            "write where the field comes from, or remove it",
            id="unfinished draft",
        ),
    ],
)
def test_a_mistake_fails_before_a_session_is_opened(
    door: FrontDoor, change: dict[str, Any], settings: dict[str, Any], message: str, next_step: str
) -> None:
    finished = run(door, change, **settings)
    assert (finished.code, finished.stdout) == (1, ""), finished.stderr
    assert message in finished.error
    assert next_step in finished.error
    assert len(finished.error) <= 335
    assert door.operations() == []


@pytest.mark.parametrize(
    ("change", "profile", "message", "next_step"),
    [
        pytest.param(
            {"managerId": "profile.managerId"},
            {name: value for name, value in PROFILE.items() if name != "managerId"}
            | {"userType": "employee"},
            "failed on a record: field 'managerId' = 'profile.managerId' ('managerId' is missing)",
            "record.get('x')",
            id="missing in one record",
        ),
        pytest.param(
            {},
            PROFILE | {"userType": None},
            "field 'employmentType' = \"profile['userType'].upper()\" (profile['userType'] is null)",
            "Guard a value that may be null: `x.upper() if x else None",
            id="null in one record",
        ),
        pytest.param(
            {
                "employmentType": "'EMPLOYEE' if profile['lastName'] and profile['lastName'].lower()"
                " else '' + profile['userType'].upper()"
            },
            PROFILE | {"userType": None, "lastName": None},
            " (profile['userType'] is null)",
            "Guard a value that may be null: `x.upper() if x else None",
            id="two are null in one record",
        ),
        pytest.param(
            {},
            PROFILE | {"email": "s3cr3t", "userType": "employee"},
            "field 'workEmail' must be an email",
            "`sprintoctl map preview` shows all problems",
            id="not an email",
        ),
        pytest.param(
            {"workEmail": "profile.get('email')", "firstName": "profile.get('firstName')"},
            {"firstName": None, "lastName": "s3cr3t", "managerId": None, "userType": "s3cr3t"},
            "field 'firstName' must be string; field 'workEmail' must be string; field 'employmentType'"
            " must be one of EMPLOYEE, CONTRACTOR",
            "`sprintoctl map preview` shows all problems",
            id="null, missing and out of range at once",
        ),
    ],
)
def test_a_record_that_fails_its_map_names_field_and_line(
    door: FrontDoor, change: dict[str, Any], profile: dict[str, Any], message: str, next_step: str
) -> None:
    finished = run(door, change, ADA, ADA | {"profile": profile})
    assert (finished.code, finished.stdout) == (1, ""), finished.stderr
    assert finished.error.startswith("Input line 3: ")
    assert message in finished.error
    assert next_step in finished.error
    assert len(finished.error) <= 460
    assert door.operations() == []


@pytest.mark.parametrize(
    ("expression", "cause", "hint"),
    [
        ("number + status", "TypeError", "Convert the values to one type: `str(x)`, `int(x)` or `float(x)`."),
        ("profile.get('pay') * 1.1", "TypeError", "A number with a fraction is a decimal: `float(x) * 1.1`."),
        ("profile.get('pay') + status", "TypeError", "Convert the values to one type: `str(x)`"),
        ("status + 1.5", "TypeError", "Convert the values to one type: `str(x)`"),
        (
            "profile.get('nothing') + 'x'",
            "TypeError",
            "one that may be null with `x.upper() if x else None`.",
        ),
        ("datetime.now().isoformat()", "'now' is missing", "Write `datetime.datetime.now`: "),
        ("datetime.strptime(status, '%Y')", "'strptime' is missing", "Write `datetime.datetime.strptime`: "),
        ("status.strptime", "'strptime' is missing", "Read a field that may be missing with"),
        ("config['x']", "KeyError", "`config` holds `stream_map_config`."),
        ("status.format(1)", "FeatureNotAvailable", "Only a part of Python is available: no lambda,"),
        ("(lambda x: x)(status)", "FeatureNotAvailable", "Only a part of Python is available: no lambda,"),
        ("fake.name()", "'fake' is missing", "Faker is not installed, and made-up values are not evidence"),
        ("md5(number)", "AttributeError", "`md5` and `sha256` take text: `md5(str(x))`."),
        ("json.dumps(profile)", "TypeError", "`json.dumps` does not accept decimals"),
        ("number ** 99999999", "NumberTooHigh", "Its result is too large for a stream map"),
        ("status * 99999999", "IterableTooLong", "Its result is too large for a stream map"),
        ("int(status)", "ValueError", "Correct the expression, or the value at its source."),
    ],
)
def test_a_failing_expression_has_a_matching_hint(
    door: FrontDoor, expression: str, cause: str, hint: str
) -> None:
    record = ADA | {"profile": PROFILE | {"userType": "employee", "pay": 1.5}}
    finished = run(door, {"role": expression}, record, entity_schemas=None)
    assert f"({cause}). " in finished.error
    assert hint in finished.error
    assert len(finished.error) <= 460


def test_new_and_removed_fields_are_reported_once(door: FrontDoor) -> None:
    """Only fields that the map drops; fields that it sends are checked anyway."""
    properties: dict[str, Any] = USERS["schema"]["properties"]  # type: ignore[index] # a dict
    changed = {name: schema for name, schema in properties.items() if name not in {"number", "status"}}
    later = USERS | {"schema": {"type": "object", "properties": changed | {"salary": {}, "iban": {}}}}
    record = {"type": "RECORD", "stream": "users", "record": ADA}
    finished = door.run(
        [USERS, record, later, record, USERS, record, later, record, STATE],
        entity_types={"users": "User"},
        stream_maps={"users": RIGHT},
    )
    assert finished.code == 0, finished.stderr
    message = [line for line in finished.stderr.splitlines() if "Stream 'users' " in line]
    assert len(message) == 2
    assert "has new fields that its stream map drops: 'salary', 'iban'." in message[0]
    assert "no longer has fields: 'number', 'status'." in message[1]


def test_a_run_without_piped_input_shows_what_to_do(door: FrontDoor) -> None:
    ours, theirs = pty.openpty()
    with door.start(stdin=theirs) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if b"Nothing is piped in" in line)
        assert b"tap-x | target-sprinto" in line
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 130
    os.close(theirs)
    os.close(ours)


def test_an_empty_log_config_is_ignored(door: FrontDoor) -> None:
    finished = door.run(people(1), env={"SINGER_SDK_LOG_CONFIG": ""}, cold=True)
    assert finished.code == 0, finished.stderr


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "NoneType"),
        ("handlers: {}", "version"),
        ("a: [", "while parsing"),
        ("version: 1\nhandlers: {a: {class: no.such}}", "No module named 'no'"),
        ("version: 1\nhandlers: {a: {class: logging.FileHandler, filename: no/log}}", "No such file"),
    ],
)
def test_a_log_config_that_cannot_be_used_is_named(
    door: FrontDoor, tmp_path: Path, text: str, cause: str
) -> None:
    path = tmp_path / "logging.yaml"
    path.write_text(text)
    finished = door.run(people(1), env={"SINGER_SDK_LOG_CONFIG": str(path)}, cold=True)
    assert finished.code == 1
    assert finished.stderr.startswith("Settings: the file that SINGER_SDK_LOG_CONFIG names cannot be used (")
    assert cause in finished.stderr
    assert finished.stderr.count("\n") == 1
    assert not door.sessions()


@pytest.mark.parametrize(
    "expression",
    [
        "str(profile.get('managerId'))",
        "f'{profile.get(\"managerId\")}!'",
        "str((profile or {}).get('managerId'))",
        "'%s' % profile.get('managerId')",
        "'%s-%s' % (id, profile.get('managerId'))",
    ],
)
def test_a_null_that_would_become_text_is_pointed_out(door: FrontDoor, expression: str) -> None:
    finished = run(door, {"managerId": expression})
    assert finished.code == 0
    assert "makes the text 'None' for field 'managerId' if" in finished.stderr
    read = "profile.get('managerId')"
    for guarded in (
        f"{expression} if {read} is not None else None",
        f"{read} and {expression}",
        f"{read} is not None and {expression} or None",
    ):
        assert "the text 'None'" not in run(door, {"managerId": guarded}).stderr
    assert "makes the text 'None'" in run(door, {"managerId": f"{read} or {expression}"}).stderr


def test_the_text_false_does_not_become_true(door: FrontDoor) -> None:
    schema = {"properties": {"id": {"type": "string"}, "encrypted": {"type": "string"}}}
    messages = [
        {"type": "SCHEMA", "stream": "laptops", "schema": schema, "key_properties": ["id"]},
        *(
            {"type": "RECORD", "stream": "laptops", "record": {"id": value, "encrypted": value}}
            for value in ("false", "true", "")
        ),
        STATE,
    ]
    properties = {"id": {"type": "string"}, "encrypted": {"type": "boolean"}}
    entities = {"Laptop": {"key": ["id"], "schema": {"properties": properties}}}

    def mapped(expression: str) -> Finished:
        maps = {"laptops": {"encrypted": expression}}
        types = {"laptops": "Laptop"}
        return door.run(messages, stream_maps=maps, entity_types=types, entity_schemas=entities)

    copied = mapped("encrypted")
    assert (copied.code, door.operations()) == (1, [])
    advice = copied.error.partition('in the stream map: "')[2].partition('"')[0]
    assert mapped(advice).code == 0
    assert [one["encrypted"] for one in door.applied()["Laptop"]] == [False, True, False]
    warned = mapped("bool(encrypted)").stderr
    assert "`bool(encrypted)` for field 'encrypted' of stream 'laptops' is true for any text" in warned
    assert "Write `x == 'true' if x is not None else None`; to test for text: `(x or '') != ''`." in warned
    mapped("(encrypted or '') != ''")
    assert [one["encrypted"] for one in door.applied()["Laptop"]] == [True, True, False]


def test_a_list_or_object_is_not_proposed_as_text(door: FrontDoor) -> None:
    finished = run(door, {"workEmail": "profile"})
    assert finished.code == 1
    assert "Map an item or a part of it, such as `x[0]` or `x.get('part')`." in finished.error


def test_a_filter_that_leaves_out_everything_is_pointed_out(door: FrontDoor) -> None:
    finished = run(door, {"__filter__": "status == 'active'"})
    assert finished.code == 0
    message = "None of 1 record is sent: stream maps left out 1, 0 were skipped as deleted, and 0 came from"
    assert message in finished.stderr
    assert "No records to send: no session was opened." in finished.stderr
