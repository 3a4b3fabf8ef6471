"""Names from a tap or a server cannot forge log lines, control a terminal, or fill the log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto.push.text import shown
from tests.support.front_door import SCHEMA, STATE, people, record
from tests.support.sandbox import Edit, Fault, Respond

if TYPE_CHECKING:
    from target_sprinto.sandbox.operations import Operation
    from tests.support.front_door import Finished, FrontDoor

FORGED = "2026-01-01 00:00:00,000 | ERROR    | target-sprinto | forged"
HOSTILE = {
    "lines": f"x\n{FORGED}\r{FORGED}\u2028{FORGED}\u2029\x85{FORGED}",
    "controls": "\x1b[31mred\x1b]0;title\x07\x9b31m\x7f\x00 \u202egnp.exe \u2066x\u2069 a\u200bb\ufeff",
    "long": "x" * 100_000,
}


def require_harmless(finished: Finished) -> None:
    for line in finished.stderr.splitlines():
        assert line.isprintable(), line
        assert not line.startswith(FORGED)
        # At DEBUG, the SDK logs the full name of a stream.
        assert "| DEBUG" in line or "x" * 200 not in line


@pytest.mark.parametrize("kind", HOSTILE)
def test_names_from_a_tap_are_escaped_and_cut(door: FrontDoor, kind: str) -> None:
    name = HOSTILE[kind]
    schema = {"properties": {"id": {"type": "integer"}, name: {"type": "object"}}, "required": [name]}
    good = {"type": "object", "properties": {"id": {"type": "integer"}}}
    hostile = SCHEMA | {"stream": name, "schema": good, "key_properties": ["id"]}
    wrong = {"type": "RECORD", "stream": "people", "record": {"id": 1, name: 1}}
    inputs: list[list[Any]] = [
        [hostile, record(1, stream=name, name=1), STATE],
        [SCHEMA | {"schema": schema, "key_properties": []}, record(1), STATE],
        [
            SCHEMA | {"schema": schema, "key_properties": []},
            wrong,
            STATE,
        ],
        [SCHEMA | {"key_properties": [name]}, record(1), STATE],
        [hostile | {"schema": {}}],
        [record(1, stream=name)],
        [{"type": name}],
        [SCHEMA, {"type": "BATCH", "stream": "people", "encoding": {"format": name}, "manifest": [name]}],
        [SCHEMA, {"type": "BATCH", "stream": "people", "encoding": {"format": "jsonl"}, "manifest": [name]}],
    ]
    for messages in inputs:
        require_harmless(door.run(messages))


def test_a_key_of_a_map_is_not_shown(door: FrontDoor) -> None:
    mail = "alice@example.com"
    role = {"type": "object", "properties": {"role": {"type": "string"}}}
    for keyword in ({"additionalProperties": role}, {"patternProperties": {".*": role}}):
        contacts = {"type": "object", **keyword}
        schema = {"properties": {"id": {}, "name": {}, "contacts": contacts}}
        finished = door.run([SCHEMA | {"schema": schema}, record(1, contacts={mail: {"role": 1}}), STATE])
        assert finished.code == 1
        assert "field 'contacts.*.role'" in finished.error
        assert mail not in finished.stderr


@pytest.mark.parametrize(
    "kind", ["lines", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("controls", "long"))]
)
def test_text_from_a_server_is_escaped_and_cut(door: FrontDoor, kind: str) -> None:
    word = HOSTILE[kind]
    changes: dict[str, Any] = {
        "id": word,
        "state": word,
        "expires_at": word,
        "updated_at": word,
        "accepted_records_by_entity": {word: 3, "people": 3},
        "session_id": word,
        "integration_id": word,
    }

    def change(body: dict[str, Any]) -> dict[str, Any]:
        return body | {name: word for name, word in changes.items() if name in body}

    # In parallel, and with less time for a discard: most of them end after a wait.
    door.pace["shutdown_timeout"] = 3.0

    def play(beside: FrontDoor, operation: Operation) -> None:
        fault = Fault(operation, times=99, integration_id=beside.integration_id, effect=Edit(change))
        beside.sandbox.inject(fault)
        require_harmless(beside.run(people(3), retry_timeout_seconds=2))

    door.side_by_side(play, ["create", "push", "status", "close", "integration_status"])


@pytest.mark.parametrize("kind", HOSTILE)
def test_command_output_is_escaped_too(door: FrontDoor, kind: str) -> None:
    word = HOSTILE[kind]
    event = {"id": word, "at": word, "level": word, "type": word, "session_id": word, "message": word}
    log = Respond(200, body=json.dumps({"items": [event], "page": 1, "page_size": 50}).encode())
    door.sandbox.inject(Fault("activity", times=9, integration_id=door.integration_id, effect=log))
    for words in (["activity"], ["activity", "--json"], ["status"]):
        finished = door.sprintoctl(*words)
        assert all(line.isprintable() for line in finished.stdout.splitlines())
        require_harmless(finished)


def test_the_escaping_function() -> None:
    assert shown("Zoë 王 O'Neill") == "Zoë 王 O'Neill"
    assert shown("a\nb\x1b\u202e") == "a\\nb\\u001b\\u202e"
    assert len(shown("x" * 500)) == 100


@pytest.mark.parametrize("session", ["..", "a;b", "x" * 101])
def test_an_invalid_session_id_is_rejected_on_the_command_line(door: FrontDoor, session: str) -> None:
    for words in (["discard", "--", session], ["apply", "--unverified", "--", session]):
        config = str(door.config())
        command = [words[0], *words[1:-2], "--config", config, "--", session]
        finished = door.finish(door.start(*command, program="sprintoctl"), b"")
        assert finished.code == 2, finished.stderr
    assert door.operations() == []


@pytest.mark.parametrize("session", ["..", "$(x)", "-rf"])
def test_an_invalid_session_id_is_rejected_in_a_response(door: FrontDoor, session: str) -> None:
    effect = Edit(lambda body: body | {"id": session})
    door.sandbox.inject(Fault("create", integration_id=door.integration_id, effect=effect))
    finished = door.run(people(3))
    # Not treated as success: the session is found in the log under its real id.
    assert finished.code == 0
    assert f"ession {session}" not in finished.stderr
