"""Any references in a tap's schema: nothing is fetched, and the verdict is the target's own."""

from __future__ import annotations

import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.errors import InvalidRecord, InvalidSchema
from target_sprinto.singer.schemas.validation import RecordValidator
from tests.support.fuzz.amounts import at_random, same_each_time
from tests.support.listening import DRAFTS, Document, Server

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis import settings

BY_DEFAULT = 100
SHARDS = 4
IN_A_SHARD = 2_500

RECORD = {"id": 1, "name": "x", "list": [1, {"id": 2}], "map": {"id": {"name": "y"}}}
BODY = b'{"id":1,"name":"x","list":[1,{"id":2}],"map":{"id":{"name":"y"}}}'
KEYWORDS = ["$ref", "$dynamicRef", "$recursiveRef", "$schema", "$id", "id", "extends", "$import", "href"]
ONE = ["not", "if", "then", "else", "items", "contains", "additionalProperties", "propertyNames"]
LIST = ["allOf", "anyOf", "oneOf", "prefixItems", "extends", "type", "disallow"]
NAMED = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"]
FIELDS = ["id", "name", "list", "map", ".*", "x"]


def references(url: str, path: str) -> st.SearchStrategy[str]:
    """URLs of the server and of the file, absolute and relative to another one."""
    server = url.rpartition("/")[0]
    folder = path.rpartition("/")[0]
    whole = [url, f"{server}/", f"file://{path}", path, f"file://{folder}/", "schema.json", "./schema.json"]
    others = [url.replace("http", "https", 1), f"//{url.partition('//')[2]}", "#", "#x", "urn:x"]
    return st.builds(
        "{}{}".format, st.sampled_from(whole + others), st.sampled_from(["", "#", "#x", "#/$defs/id"])
    )


def schemas(url: str, path: str) -> st.SearchStrategy[dict[str, Any]]:
    referring = st.dictionaries(
        st.sampled_from(KEYWORDS), references(url, path) | st.sampled_from(DRAFTS[1:]), min_size=1, max_size=2
    )
    plain: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
        [{}, {"type": "integer"}, {"$anchor": "x"}, {"$dynamicAnchor": "x"}, {"$recursiveAnchor": True}]
    )

    def deeper(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        named = st.dictionaries(st.sampled_from(FIELDS), inner, min_size=1, max_size=2)
        keywords = (
            st.tuples(st.sampled_from(ONE), inner)
            | st.tuples(st.sampled_from(LIST), st.lists(inner, min_size=1, max_size=2))
            | st.tuples(st.sampled_from(NAMED), named)
        )
        return st.builds(
            lambda pairs, more: {**dict(pairs), **more}, st.lists(keywords, min_size=1, max_size=3), inner
        )

    return st.recursive(referring | plain, deeper, max_leaves=8)


def fuzz(folder: Path, monkeypatch: pytest.MonkeyPatch, amount: settings) -> None:
    verdicts: Counter[str] = Counter()

    def blocked(*_: object, **__: object) -> None:
        raise AssertionError("a connection was to be made")

    with Server() as server, Document(folder / "schema.json") as document, monkeypatch.context() as patched:

        @amount
        @given(schemas(server.url, str(document.path)), st.sampled_from(DRAFTS))
        def each(schema: dict[str, Any], draft: str | None) -> None:
            schema = schema if draft is None else {"$schema": draft, **schema}
            try:
                RecordValidator("people", schema).validate(RECORD, BODY)
            except (InvalidSchema, InvalidRecord) as verdict:
                verdicts[verdict.code] += 1
            else:
                verdicts["accepted"] += 1

        patched.setattr(socket.socket, "connect", blocked)
        patched.setattr(socket, "getaddrinfo", blocked)
        each()
        assert server.connections == 0
        assert document.opened == 0
    print(dict(verdicts))  # noqa: T201 - pytest shows it on request
    assert min(verdicts[one] for one in ("accepted", "invalid-schema", "invalid-record")) > 0, verdicts


def test_opening_the_document_is_counted(tmp_path: Path) -> None:
    with Document(tmp_path / "schema.json") as document:
        assert b"not" in document.path.read_bytes()
        assert document.opened > 0


def test_any_reference_fetches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fuzz(tmp_path, monkeypatch, same_each_time(BY_DEFAULT))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_any_reference_fetches_nothing_in_many_examples(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shard: int,  # noqa: ARG001 - each shard draws its own examples
) -> None:
    fuzz(tmp_path, monkeypatch, at_random(IN_A_SHARD))
