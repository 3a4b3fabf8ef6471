"""Names in the settings are checked, not guessed: streams, entity types and fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.front_door import SCHEMA, SECRET, STATE, FrontDoor, as_input, record, state_line

if TYPE_CHECKING:
    from tests.support.front_door import Finished

FAIL: dict[str, Any] = {"unmapped_streams": None}
"""Use the default."""
OTHERS = SCHEMA | {"stream": "others"}
MANY = {f"stream_{number}": f"Type{number}" for number in range(50)}


def named(stream: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = SCHEMA["schema"]["properties"] if fields is None else fields  # type: ignore[index] # a dict
    return SCHEMA | {"stream": stream, "schema": {"type": "object", "properties": properties}}


def check_failed(finished: Finished, code: str, door: FrontDoor) -> str:
    assert (finished.code, finished.stdout) == (1, ""), finished.stderr
    assert f"[{code}]" in finished.error
    assert door.applied() == {}
    assert SECRET not in finished.stderr
    return finished.error


# Streams without an entity type


def test_an_unmapped_stream_fails_at_its_schema_by_default(door: FrontDoor) -> None:
    types = {"devices": "Device", "peopel": "User"}
    text = check_failed(
        door.run([SCHEMA, record(1), STATE], entity_types=types, **FAIL), "unmapped-stream", door
    )
    assert text.startswith(
        "Input line 1: stream 'people' has no entity type: `entity_types` does not name it"
        " (nearest first: 'peopel' as User, 'devices' as Device)."
    )
    assert len(text) <= 400
    assert door.operations() == []


def test_without_entity_types_the_message_shows_an_example(door: FrontDoor) -> None:
    text = check_failed(door.run([SCHEMA, record(1), STATE], **FAIL), "unmapped-stream", door)
    assert "`entity_types` is empty" in text
    assert '{"people": "User"}' in text


def test_only_the_nearest_of_many_entity_types_are_named(door: FrontDoor) -> None:
    messages = [named("public-stream_7"), STATE]
    text = check_failed(door.run(messages, entity_types=MANY, **FAIL), "unmapped-stream", door)
    assert "(nearest first: 'stream_7' as Type7, " in text
    assert " and 47 more)" in text
    assert len(text) <= 400


@pytest.mark.parametrize(
    ("types", "entity_type"),
    [
        ({"*": "User"}, "User"),
        ({"public-*": "User"}, "User"),
        ({"public-p?ople": "User"}, "User"),
        ({"public-[o-q]eople": "User"}, "User"),
        # The stream's own name takes precedence over patterns before or after it.
        ({"*": "Other", "public-people": "User"}, "User"),
        ({"public-people": "User", "*": "Other"}, "User"),
        # The last of several patterns wins, as in `stream_maps`.
        ({"public-*": "Other", "*": "User"}, "User"),
        ({"*": "Other", "public-*": "User"}, "User"),
    ],
)
def test_a_name_may_be_a_pattern(door: FrontDoor, types: dict[str, str], entity_type: str) -> None:
    messages = [named("public-people"), record(1, "public-people"), STATE]
    finished = door.run(messages, entity_types=types, **FAIL)
    assert (finished.code, finished.stdout) == (0, state_line()), finished.stderr
    assert list(door.applied()) == [entity_type]


@pytest.mark.parametrize("maps", [["*", "public-*"], ["public-*", "*"], ["*", "*-people"]])
def test_patterns_have_the_same_precedence_in_both_settings(door: FrontDoor, maps: list[str]) -> None:
    """The matching stream map and the matching entity type have the same name."""
    finished = door.run(
        [named("public-people"), record(1, "public-people"), STATE],
        stream_maps={name: {"by": f"'{name}'"} for name in maps},
        entity_types={name: name for name in maps},
        **FAIL,
    )
    assert finished.code == 0, finished.stderr
    ((entity_type, (entity,)),) = door.applied().items()
    assert entity["by"] == entity_type == maps[-1]


# Streams that the tap did not send


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("entity_types", {"people": "User", "devises": "Device"}),
        ("entity_types", {"people": "User", "dev*": "Device"}),
        ("stream_maps", {"devises": {"id": "id"}}),
        ("stream_maps", {"old": {"__source__": "devises", "id": "id"}}),
        ("stream_maps", {"devises": {"__alias__": "'old'"}}),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 150])
def test_a_named_stream_that_was_not_sent_fails_the_run(
    door: FrontDoor, setting: str, value: dict[str, Any], count: int
) -> None:
    messages = [SCHEMA, *(record(number) for number in range(count)), STATE]
    settings = {"entity_types": {"people": "User"}, setting: value} | FAIL
    text = check_failed(door.run(messages, **settings), "stream-missing", door)
    missing = "dev*" if "dev*" in value else "devises"
    assert f"`{setting}` names stream '{missing}'; the tap sent neither it nor" in text
    assert "Streams it sent (nearest first: 'people')." in text
    assert [session.state for session in door.sessions()] == ["cancelled"] * bool(count // 100)


def test_another_stream_of_the_entity_type_is_enough(door: FrontDoor) -> None:
    types = {"people": "User", "staff": "User"}
    finished = door.run([SCHEMA, record(1), STATE], entity_types=types, **FAIL)
    assert (finished.code, finished.stdout) == (0, state_line())


@pytest.mark.parametrize("alias", ["staff", "'staff'", "__stream_name__.lower()"])
def test_another_stream_is_enough_whatever_the_form_of_an_alias(door: FrontDoor, alias: str) -> None:
    settings = {
        "entity_types": {"people": "User", "staff": "User"},
        "stream_maps": {"STAFF": {"__alias__": alias}},
    }
    finished = door.run([SCHEMA, record(1), STATE], **settings, **FAIL)
    assert (finished.code, finished.stdout) == (0, state_line()), finished.error


def test_a_missing_stream_causes_a_warning_if_an_unnamed_one_was_sent(door: FrontDoor) -> None:
    messages = [SCHEMA, OTHERS, record(1), STATE]
    types = {"people": "User", "staff": "User"}
    finished = door.run(messages, entity_types=types, unmapped_streams="ignore")
    assert finished.code == 0
    warned = "`entity_types` names 'staff', which the tap did not send, but not 'others', which it sent."
    assert warned in finished.stderr


def test_a_schema_without_records_counts_as_sent(door: FrontDoor) -> None:
    types = {"people": "User", "others": "Device"}
    finished = door.run([SCHEMA, OTHERS, record(1), STATE], entity_types=types, **FAIL)
    assert finished.code == 0


@pytest.mark.parametrize("messages", [[], [STATE]])
def test_input_without_streams_reports_no_missing_stream(door: FrontDoor, messages: list[Any]) -> None:
    finished = door.run(messages, entity_types={"people": "User"}, **FAIL)
    assert finished.code == 0
    assert door.operations() == []


def test_a_stream_removed_by_a_map_counts_as_sent(door: FrontDoor) -> None:
    types = {"people": "User", "others": "Device"}
    maps = {"others": "__NULL__", "unknown": "__NULL__"}
    finished = door.run([SCHEMA, OTHERS, record(1), STATE], entity_types=types, stream_maps=maps, **FAIL)
    assert finished.code == 0
    said = "Stream 'others' is not sent: `entity_types` names it, and `stream_maps` leaves it out."
    assert said in finished.stderr


@pytest.mark.parametrize(("maps", "warned"), [({"__else__": None}, True), ({"oth*": None}, False)])
def test_a_stream_that_only_a_pattern_names_may_be_left_out(
    door: FrontDoor, maps: dict[str, Any], *, warned: bool
) -> None:
    finished = door.run([OTHERS, record(1, "others"), STATE], entity_types={"o*": "User"}, stream_maps=maps)
    assert finished.code == 0
    assert ("Stream 'others' is not sent: `entity_types` names it, and" in finished.stderr) == warned
    assert "0 were skipped as deleted, and 1 came from streams that are not sent." in finished.stderr


def test_an_input_file_may_contain_only_some_streams(door: FrontDoor) -> None:
    """A rejects file, for example."""
    path = door.folder / "part.singer"
    path.write_bytes(as_input([SCHEMA, record(1), STATE]))
    config = door.config(entity_types={"people": "User", "devices": "Device"}, **FAIL)
    finished = door.run(b"", "--config", str(config), "--input", str(path))
    assert finished.code == 0, finished.stderr
    assert "names stream 'devices'; the tap sent neither it nor" in finished.stderr
    assert list(door.applied()) == ["User"]


# Fields that are not in the schema


@pytest.mark.parametrize(
    ("stream_map", "text"),
    [
        ({"nmae": None}, "removes field 'nmae', and the stream's schema has no such field"),
        ({"nmae": "__NULL__"}, "removes field 'nmae', and the stream's schema has no such field"),
        ({"__where__": None}, "removes field '__where__', and the stream's schema has no such field"),
        ({"fullName": "nmae"}, "reads 'nmae' for field 'fullName', and the stream's schema has no such"),
        (
            {"fullName": "nmae + '!'"},
            "reads 'nmae' for field 'fullName', and the stream's schema has no such",
        ),
        ({"__filter__": "nmae"}, "reads 'nmae' for `__filter__`, and the stream's schema has no such field"),
    ],
)
def test_an_unknown_field_fails_at_the_schema(door: FrontDoor, stream_map: dict[str, Any], text: str) -> None:
    finished = door.run([SCHEMA, record(1), STATE], stream_maps={"people": stream_map})
    message = check_failed(finished, "stream-map", door)
    assert message.startswith(f"Input line 1: the stream map of stream 'people' {text}")
    assert "(nearest first: 'name', 'id')" in message
    assert len(message) <= 420
    assert door.operations() == []


@pytest.mark.parametrize("removed", [None, "__NULL__"])
def test_a_field_whose_name_looks_like_an_option_can_be_removed(door: FrontDoor, removed: str | None) -> None:
    """The column that pandas adds for an index."""
    properties = {"id": {"type": "integer"}, "__index_level_0__": {"type": "integer"}}
    schema = SCHEMA | {"schema": {"properties": properties}}
    message = {"type": "RECORD", "stream": "people", "record": {"id": 1, "__index_level_0__": 7}}
    finished = door.run([schema, message, STATE], stream_maps={"people": {"__index_level_0__": removed}})
    assert finished.code == 0, finished.stderr
    assert door.applied() == {"people": [{"id": 1}]}


def test_a_constant_without_inner_quotes_is_recognised(door: FrontDoor) -> None:
    finished = door.run([SCHEMA, record(1), STATE], stream_maps={"people": {"type": "EMPLOYEE"}})
    message = check_failed(finished, "stream-map", door)
    assert "reads 'EMPLOYEE' for field 'type'" in message
    assert "a constant needs inner quotes: \"'EMPLOYEE'\"" in message


def test_an_unknown_optional_field_causes_one_warning(door: FrontDoor) -> None:
    maps = {"people": {"fullName": "record.get('nmae')", "gone": "record.get('_sdc_deleted_at')"}}
    changed = named("people", {"id": {}, "name": {}, "new": {}})
    finished = door.run([SCHEMA, record(1), changed, record(2), STATE], stream_maps=maps)
    assert finished.code == 0, finished.stderr
    assert finished.stderr.count("WARNING") == 1
    assert (
        "Input line 1: the stream map of stream 'people' reads 'nmae' for field 'fullName', and the stream's"
        " schema has no such field (nearest first: 'name', 'id'). `get` returns null if it is missing:"
        " correct the name, unless the tap may leave the field out. [stream-map]"
    ) in finished.stderr
    assert door.applied()["people"][0]["fullName"] is None


def test_a_warning_about_each_of_two_maps_of_a_stream_is_shown(door: FrontDoor) -> None:
    maps = {"people": {"x": "str(name)"}, "copy": {"__source__": "people", "x": "bool(name)"}}
    finished = door.run([SCHEMA, record(1), SCHEMA, record(2), STATE], stream_maps=maps)
    assert finished.code == 0, finished.stderr
    assert finished.stderr.count("the text 'None'") == finished.stderr.count("true for any text") == 1


@pytest.mark.parametrize("alias", ["None", "7"])
def test_an_alias_that_is_not_text_is_an_error(door: FrontDoor, alias: str) -> None:
    finished = door.run([SCHEMA, record(1), STATE], stream_maps={"people": {"__alias__": alias}})
    assert finished.code == 1
    assert finished.error.endswith("[stream-map]")
    assert "alias" in finished.error


def test_an_alias_that_cannot_be_computed_is_an_error(door: FrontDoor) -> None:
    finished = door.run([SCHEMA, record(1), STATE], stream_maps={"people": {"__alias__": "1 // 0 and 'x'"}})
    assert finished.code == 1
    assert "does not fit stream 'people' (ZeroDivisionError)" in finished.error


def test_a_filter_that_reads_no_field_causes_a_warning(door: FrontDoor) -> None:
    finished = door.run([SCHEMA, record(1), STATE], stream_maps={"people": {"__filter__": "'name'"}})
    assert finished.code == 0, finished.stderr
    assert "has a `__filter__` that reads no field: it keeps all records, or none. " in finished.stderr


@pytest.mark.parametrize(
    "expression",
    [
        "record.get('nowhere')",
        "_['name']",
        "self",
        "config['word']",
        "__stream_name__ + __original_stream_name__",
        "md5(name) if name else sha256('')",
        "[letter for letter in name][0]",
        "str(datetime.date(2026, 1, 1))",
        "json.dumps(record)",
        "'a constant'",
        "True",
    ],
)
def test_names_that_the_sdk_provides_are_known(door: FrontDoor, expression: str) -> None:
    settings = {"stream_maps": {"people": {"name": expression}}, "stream_map_config": {"word": "x"}}
    finished = door.run([SCHEMA, record(1), STATE], validate_records=False, **settings)
    assert finished.code == 0, finished.stderr


def test_names_that_the_sdk_provides_hide_fields(door: FrontDoor) -> None:
    place = {"type": "object", "properties": {"colour": {}}}
    stream = named("people", {"id": {}, "name": {}, "config": place})
    finished = door.run(
        [stream, record(1, config={"colour": "red"}), STATE],
        stream_maps={"people": {"name": "config['region']"}},
        stream_map_config={"region": "eu"},
    )
    assert finished.code == 0, finished.stderr
    (entity,) = door.applied()["people"]
    assert entity["name"] == "eu"


def test_a_pattern_may_remove_a_field_that_some_streams_have(door: FrontDoor) -> None:
    messages = [SCHEMA, named("teams", {"id": {}}), record(1), record(2, "teams"), STATE]
    finished = door.run(messages, stream_maps={"*": {"name": None}})
    assert finished.code == 0, finished.stderr
    assert "name" not in door.applied()["people"][0]


def test_a_field_in_no_stream_of_a_pattern_fails_the_run(door: FrontDoor) -> None:
    messages = [SCHEMA, named("teams", {"id": {}}), record(1), record(2, "teams"), STATE]
    text = check_failed(door.run(messages, stream_maps={"*": {"nmae": None}}), "stream-missing", door)
    assert "removes field 'nmae' from '*', and no such stream has it (nearest first: 'name', 'id')." in text


def test_a_schema_without_fields_reports_no_unknown_fields(door: FrontDoor) -> None:
    messages = [named("people", {}) | {"key_properties": []}, record(1, salary=5), STATE]
    finished = door.run(messages, stream_maps={"people": {"salary": None, "other": "name"}})
    assert finished.code == 0, finished.stderr
    (entity,) = door.applied()["people"]
    assert "salary" not in entity


@pytest.mark.parametrize("own", [{"name": None}, None], ids=str)
def test_an_entry_that_a_later_pattern_replaces_fails_the_run(door: FrontDoor, own: object) -> None:
    """Otherwise the fields that it removes, or the whole stream, would be sent."""
    maps = {"people": own, "peo*": {"source": "'hr'"}}
    finished = door.run([SCHEMA, record(1), STATE], stream_maps=maps)
    assert (finished.code, finished.stdout) == (1, "")
    assert (
        "the `stream_maps` entry of stream 'people' has no effect, because the pattern 'peo*'"
        in finished.error
    )
    assert door.operations() == []
    turned = dict(reversed(maps.items()))
    assert door.run([SCHEMA, record(1), STATE], stream_maps=turned).code == 0
    assert "name" not in str(door.applied())


@pytest.mark.parametrize(("named", "example"), [("Device", "TYPE"), ("User", "User")])
def test_the_example_of_an_entity_type_is_one_of_the_configs(
    door: FrontDoor, named: str, example: str
) -> None:
    finished = door.run([SCHEMA, STATE], entity_types={"devices": named}, unmapped_streams="fail")
    assert f'Name it there: {{"people": "{example}"}}' in finished.error
