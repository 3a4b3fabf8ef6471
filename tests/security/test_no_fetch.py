"""A tap's schema never makes this machine fetch anything, whichever keyword refers to a document."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto.errors import InvalidRecord, InvalidSchema
from target_sprinto.singer.schemas.validation import RecordValidator
from tests.support.front_door import SCHEMA, STATE, FrontDoor, record
from tests.support.listening import DRAFTS, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def schemas(document: str) -> dict[str, dict[str, Any]]:
    """Each keyword that can refer to a document, placed so that validating `{"id": 1}` evaluates it."""
    folder = document.rpartition("/")[0]
    refs = {
        keyword: {"properties": {"id": {keyword: document}}}
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef", "$schema", "$id", "id", "extends", "$import")
    }
    return refs | {
        "$ref with a fragment": {"properties": {"id": {"$ref": f"{document}#/definitions/x"}}},
        "$dynamicRef with an anchor": {"properties": {"id": {"$dynamicRef": f"{document}#x"}}},
        "relative $ref": {"$id": f"{folder}/root.json", "properties": {"id": {"$ref": "schema.json"}}},
        "relative $dynamicRef": {
            "$id": f"{folder}/root.json",
            "properties": {"id": {"$dynamicRef": "schema.json#x"}},
        },
        "relative $recursiveRef": {
            "$id": f"{folder}/root.json",
            "$recursiveAnchor": True,
            "properties": {"id": {"$recursiveRef": "schema.json"}},
        },
        "relative $ref in draft 4": {
            "id": f"{folder}/root.json",
            "properties": {"id": {"$ref": "schema.json"}},
        },
        "beside an `extends` that is not a schema": {
            "$schema": DRAFTS[1],
            "extends": document,
            "properties": {"id": {"$ref": document}},
        },
        "$schema at the root": {"$schema": document, "properties": {"id": {}}},
        "$vocabulary": {"$vocabulary": {document: True}, "properties": {"id": {}}},
        "behind a Python-only pattern": {
            "patternProperties": {r"\Aid\Z": {"$ref": document}},
            "properties": {"id": {"$dynamicRef": document}},
        },
        "in a subschema of another draft": {
            "properties": {
                "id": {"allOf": [{"$schema": DRAFTS[-1], "$id": "urn:x", "$dynamicRef": document}]},
            },
        },
        "behind its own reference": {
            "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$dynamicRef": document}},
            "properties": {"id": {"$ref": "#/$defs/a"}},
        },
    }


KEYWORDS = list(schemas(""))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def document(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> str:
    """A document that rejects every record: the verdict `invalid-record` would show that it was read."""
    if request.param == "http":
        return server.url
    path = tmp_path / "schema.json"
    path.write_text('{"not": {}}')
    return path.as_uri() if request.param == "file" else str(path)


def test_a_connection_to_the_server_is_counted(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.server.server_port)) as connection:
        connection.sendall(b"GET /schema.json HTTP/1.0\r\n\r\n")
        assert b"not" in connection.makefile("rb").read()
    assert server.connections == 1
    server.connections = 0


@pytest.mark.parametrize("draft", DRAFTS, ids=str)
@pytest.mark.parametrize("document", ["http", "file", "path"], indirect=True)
def test_no_keyword_of_any_draft_fetches_anything(
    document: str, draft: str | None, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blocked(*_: object, **__: object) -> None:
        raise AssertionError("something was to be opened")

    verdicts = {}
    with monkeypatch.context() as patched:
        patched.setattr(socket.socket, "connect", blocked)
        patched.setattr(socket, "getaddrinfo", blocked)
        for module, name in (("builtins", "open"), ("os", "open"), ("io", "open")):
            patched.setattr(f"{module}.{name}", blocked)
        for keyword, schema in schemas(document).items():
            named = schema if draft is None or "$schema" in schema else {"$schema": draft, **schema}
            try:
                RecordValidator("people", named).validate({"id": 1}, b'{"id":1}')
            except InvalidSchema:
                verdicts[keyword] = "invalid-schema"
            except InvalidRecord:
                verdicts[keyword] = "invalid-record"
            else:
                verdicts[keyword] = "accepted"
    assert server.connections == 0
    assert "invalid-record" not in verdicts.values(), verdicts
    assert {verdicts[keyword] for keyword in verdicts if keyword.startswith("$ref")} == {"invalid-schema"}


@pytest.mark.parametrize("document", ["http"], indirect=True)
@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_run_with_such_a_schema_opens_no_connection(
    door: FrontDoor, document: str, keyword: str, server: Server
) -> None:
    schema = schemas(document)[keyword]
    finished = door.run([SCHEMA | {"schema": schema}, record(1), STATE])
    assert server.connections == 0
    assert finished.code == 0 or "[invalid-schema]" in finished.error
    assert json.dumps(document) not in finished.stderr
