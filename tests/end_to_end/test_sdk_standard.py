"""The SDK's standard target tests, each also checked for what Sprinto and stdout received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from singer_sdk.testing import TargetTestRunner, get_target_test_class
from singer_sdk.testing.suites import SingerTestSuite, target_tests

from target_sprinto.sandbox import Readings
from target_sprinto.singer.target import SprintoTarget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.testing.templates import TargetTestTemplate

    from tests.support.front_door import FrontDoor


class Expected(NamedTuple):
    """The expected result of a standard test; `sessions` are the final states of the run's sessions."""

    applied: dict[str, list[Any]]
    states: tuple[dict[str, int], ...] = ()
    sessions: tuple[str, ...] = ("processed",)


NOTHING = Expected({}, sessions=())
ESCAPES = 'various " \\ / \n escape sequences'
CONTROL = "Control Characters in string"

EXPECTED = {
    "array_data": Expected(
        {
            "test_array_data": [
                {"id": 1, "fruits": ["apple", "orange", "pear"]},
                {"id": 2, "fruits": ["banana", "apple"]},
                {"id": 3, "fruits": ["pear"]},
                {"id": 4, "fruits": ["orange", "banana", "apple", "pear"]},
            ]
        },
        ({"test_array_data": 4},),
    ),
    "camelcase": Expected(
        {
            "TestCamelcase": [
                {"Id": "1", "clientName": "Gitter Windows Desktop App"},
                {"Id": "2", "clientName": "Gitter iOS App"},
            ]
        }
    ),
    # It contains only schemas.
    "camelcase_complex_schema": NOTHING,
    "cli_prints": NOTHING,
    "duplicate_records": Expected(
        {
            "test_duplicate_records": [
                {"id": 1, "metric": 1},
                {"id": 2, "metric": 2},
                {"id": 1, "metric": 10},
                {"id": 2, "metric": 20},
                {"id": 1, "metric": 100},
            ]
        },
        ({"test_duplicate_records": 2},),
    ),
    "encoded_string_data": Expected(
        {
            "test_strings": [
                {"id": 1, "info": "simple string 2837"},
                {"id": 2, "info": "απλή συμβολοσειρά"},
                {"id": 3, "info": "简单的字串"},
                {"id": 4, "info": "chaîne simple"},
                {"id": 5, "info": 'quoted "string"'},
                {"id": 6, "info": ESCAPES},
                {"id": 7, "info": "m"},
                {"id": 8, "info": "ā"},
                {"id": 9, "info": "ƙ"},
                {"id": 10, "info": "Double quoting: \\u0000 \\u0041 \\u0001"},
                {"id": 11, "info": f"{CONTROL}: \x00 A \x01"},
            ],
            "test_strings_in_objects": [
                {"id": 1, "info": {"name": "simple", "value": "simple string 2837"}},
                {"id": 2, "info": {"name": "greek", "value": "απλή συμβολοσειρά"}},
                {"id": 3, "info": {"name": "chinese", "value": "简单的字串"}},
                {"id": 4, "info": {"name": "french", "value": "chaîne simple"}},
                {"id": 5, "info": {"name": "quoted string", "value": 'quoted "string"'}},
                {
                    "id": 6,
                    "info": {"name": "escape sequences", "value": ESCAPES},
                },
                {"id": 7, "info": {"name": "unicode", "value": "m"}},
                {"id": 8, "info": {"name": "unicode", "value": "ā"}},
                {"id": 9, "info": {"name": "unicode", "value": "ƙ"}},
                {"id": 10, "info": {"name": "Double quoting", "value": " \\u0000 \\u0041 \\u0001"}},
                {"id": 11, "info": {"name": CONTROL, "value": "\x00 A \x01"}},
            ],
            "test_strings_in_arrays": [
                {"id": 1, "strings": ["simple string", "απλή συμβολοσειρά", "简单的字串"]},
                {"id": 2, "strings": ["chaîne simple", 'quoted "string"']},
                {"id": 3, "strings": [ESCAPES]},
                {"id": 4, "strings": ["m", "ā", "ƙ"]},
                {"id": 5, "strings": ["aaa", "Double quoting: \\u0000 \\u0041 \\u0001"]},
                {"id": 6, "strings": ["bbb", f"{CONTROL}: \x00 A \x01"]},
            ],
        },
        ({"test_strings": 11, "test_strings_in_objects": 11, "test_strings_in_arrays": 6},),
    ),
    "invalid_schema": NOTHING,
    "no_primary_keys": Expected(
        {"test_no_pk": [{"id": 1, "metric": 11}, {"id": 2, "metric": 22}, {"id": 3, "metric": 33}]},
        ({"test_no_pk": 3},),
    ),
    "optional_attributes": Expected(
        {
            "test_optional_attributes": [
                {"id": 1, "optional": "This is optional"},
                {"id": 2},
                {"id": 3, "optional": "Also optional"},
                {"id": 4},
            ]
        },
        ({"test_optional_attributes": 4},),
    ),
    "pk_updates": Expected(
        {
            "example_stream": [
                {"id": 1, "name": "Alice", "email": "alice@example.com"},
                {"id": 2, "name": "Bob", "email": "bob@example.com"},
            ]
        }
    ),
    "record_before_schema": NOTHING,
    "record_missing_fields": Expected(
        {"record_missing_fields": [{"id": 1, "optional": "now you see me"}, {"id": 2}]}, ({},)
    ),
    "record_missing_key_property": NOTHING,
    "schema_no_properties": Expected(
        {
            "test_object_schema_with_properties": [
                {"object_store": {"id": 1, "metric": 187}},
                {"object_store": {"id": 2, "metric": 203}},
            ],
            "test_object_schema_no_properties": [
                {"object_store": {"id": 1, "metric": 1}},
                {"object_store": {"id": 2, "metric": 2}},
            ],
        }
    ),
    "schema_updates": Expected(
        {
            "test_schema_updates": [
                {"id": 1, "a1": 101, "a2": "string1"},
                {"id": 2, "a1": 102, "a2": "string2", "a3": True},
                {
                    "id": 3,
                    "a1": 103,
                    "a2": "string3",
                    "a3": False,
                    "a4": {"id": 1, "value": 1},
                    "a5": ["banana", "apple"],
                },
                {
                    "id": 4,
                    "a1": 104,
                    "a2": "string4",
                    "a3": True,
                    "a4": {"id": 2, "value": 22},
                    "a5": ["orange", "pear"],
                },
                {
                    "id": 5,
                    "a1": 105,
                    "a2": "string5",
                    "a3": False,
                    "a4": {"id": 3, "value": 33},
                    "a5": ["apple"],
                    "a6": 985,
                },
                {
                    "id": 6,
                    "a1": 106,
                    "a2": "string6",
                    "a3": True,
                    "a4": {"id": 4, "value": 444},
                    "a5": ["banana", "orange"],
                    "a6": 341,
                },
            ]
        },
        ({"test_schema_updates": 6},),
    ),
    "string_formats": Expected(
        {
            "string_formats": [
                {
                    "simple_string": "Lorem ipsum dolor sit amet, consectetur adipiscing elit.",
                    "date_time": "2026-01-01T12:00:00Z",
                    "date": "2026-01-01",
                    "time": "12:00:00",
                    "duration": "P1DT12H30M",
                    "email": "test@example.com",
                    "hostname": "example.com",
                    "ipv4": "192.168.1.1",
                    "uri": "https://example.com",
                    "uuid": "550e8400-e29b-41d4-a716-446655440000",
                }
            ]
        }
    ),
    "special_chars_in_attributes": Expected(
        {
            "test:SpecialChars!in?attributes": [
                {
                    "_id": "a2e98886",
                    "d": {"env": "prod", "agent:type": "desktop", "agent:os:version": "10.13.1"},
                }
            ]
        }
    ),
}


NEW_IN_0_55 = {"string_formats"}


def validate(test: TargetTestTemplate) -> None:
    """The SDK's hook after each test; `resource` is the value of the fixture below."""
    door: FrontDoor = test.resource
    assert test.name is not None
    expected = EXPECTED[test.name]
    assert door.applied() == expected.applied
    assert tuple(session.state for session in door.sessions()) == expected.sessions
    assert tuple(test.runner.state_messages) == expected.states


checked_suite: SingerTestSuite[TargetTestTemplate] = SingerTestSuite(
    kind="target",
    tests=[type(test.__name__, (test,), {"validate": validate}) for test in target_tests.tests],
)
standard_tests = get_target_test_class(
    SprintoTarget, custom_suites=[checked_suite], include_target_tests=False
)


class TestStandard(standard_tests):  # type: ignore[misc, valid-type] # created dynamically by the SDK
    @pytest.fixture
    def resource(self, door: FrontDoor, monkeypatch: pytest.MonkeyPatch) -> FrontDoor:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        # Nothing is merged, so all sent items show, in order.
        door.sandbox.configure(door.integration_id, readings=Readings(apply="append"))
        return door

    @pytest.fixture
    def runner(self, resource: FrontDoor) -> Iterator[TargetTestRunner]:
        config = {
            "api_key": resource.sandbox.options.api_key,
            "integration_id": resource.integration_id,
            "api_url": resource.sandbox.base_url,
            "unmapped_streams": "keep",
        }
        # Ignore the environment, which may contain real Sprinto settings.
        runner = TargetTestRunner(SprintoTarget, config=config, parse_env_config=False)
        yield runner
        if runner._input is not None:
            runner._input.close()


def test_every_standard_test_has_an_expectation() -> None:
    named = {str(test.name) for test in target_tests.tests}
    assert named | NEW_IN_0_55 == set(EXPECTED)
    assert sum(name.startswith("test_target_") for name in dir(TestStandard)) == len(named)
