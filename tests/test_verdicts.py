"""Our verdicts on records, compared with the SDK's validator and the JSON Schema test suite."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_sdk.exceptions import InvalidJSONSchema
from singer_sdk.exceptions import InvalidRecord as SdkInvalidRecord
from singer_sdk.sinks.core import JSONSchemaValidator

from target_sprinto.errors import InvalidRecord, InvalidSchema
from target_sprinto.singer.schemas.validation import RecordValidator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUITE = "jsonschema==4.25.1"
"""jsonschema's source package includes the JSON Schema project's test suite."""

DRAFTS = {
    "draft4": "http://json-schema.org/draft-04/schema#",
    "draft6": "http://json-schema.org/draft-06/schema#",
    "draft7": "http://json-schema.org/draft-07/schema#",
    "draft2019-09": "https://json-schema.org/draft/2019-09/schema",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}

DIFFERENT = {
    # Other documents are never fetched: the schema is rejected, although a fetching validator would use it.
    "refRemote.json": "invalid-schema",
    "dynamicRef.json": "invalid-schema",
    "optional/cross-draft.json": "invalid-schema",
    # A custom metaschema is such a document, or is ignored: no tap sends one. Then formats are not
    # asserted, as usual, and all rules apply.
    "vocabulary.json": "either",
    "optional/format-assertion.json": "accepted",
    # Over the limits: a record checked against a metaschema, which refers to itself more than once.
    "definitions.json": "invalid-schema",
    "defs.json": "invalid-schema",
    "ref.json": "invalid-schema",
    # The same with `$recursiveRef`; the SDK's validator rejects these too.
    "recursiveRef.json": "invalid-schema",
    "unevaluatedItems.json": "invalid-schema",
    "unevaluatedProperties.json": "invalid-schema",
}
"""Our verdict where it may differ from the suite's."""

LIMITED = {"definitions.json", "defs.json", "dynamicRef.json", "ref.json"}
"""Where the SDK's validator, which has no limits, may give a verdict although ours rejects the schema."""


def our_verdict(schema: dict[str, Any], record: Any) -> str:  # noqa: ANN401 - any JSON
    try:
        RecordValidator("people", schema).validate(record)
    except InvalidRecord:
        return "refused"
    except InvalidSchema:
        return "invalid-schema"
    return "accepted"


def sdk_verdict(schema: dict[str, Any], record: Any) -> str:  # noqa: ANN401 - any JSON
    try:
        JSONSchemaValidator(schema).validate(record)
    except SdkInvalidRecord:
        return "refused"
    except InvalidJSONSchema:
        return "invalid-schema"
    except Exception:  # noqa: BLE001 - an unresolvable `$ref`, or a number that cannot be divided
        return "failed"
    return "accepted"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    download = ["uvx", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(folder), SUITE]
    subprocess.run(download, check=True)
    (package,) = folder.glob("*.tar.gz")
    with tarfile.open(package) as archive:
        archive.extractall(folder, filter="data")
    (tests,) = folder.glob("*/json/tests")
    return tests


def cases(tests: Path, draft: str) -> Iterator[tuple[str, dict[str, Any], Any, str]]:
    """Each case's file, schema, instance and expected verdict. Formats are not asserted, as in the SDK."""
    for file in sorted((tests / draft).rglob("*.json")):
        if "format" in file.relative_to(tests).parts:
            continue
        for group in json.loads(file.read_text()):
            if isinstance(group["schema"], bool):
                continue
            schema = {"$schema": DRAFTS[draft], **group["schema"]}
            for test in group["tests"]:
                wanted = "accepted" if test["valid"] else "refused"
                yield str(file.relative_to(tests / draft)), schema, test["data"], wanted


@pytest.mark.slow
@pytest.mark.parametrize("draft", DRAFTS)
def test_verdicts_match_the_test_suite(suite: Path, draft: str) -> None:
    seen: Counter[str] = Counter()
    for file, schema, instance, wanted in cases(suite, draft):
        ours, theirs = our_verdict(schema, instance), sdk_verdict(schema, instance)
        seen["all"] += 1
        seen["ours"] += ours == wanted
        seen["the SDK's"] += theirs == wanted
        if ours != wanted:
            assert DIFFERENT[file] in {ours, "either"}, (file, schema, instance, ours)
            assert theirs != wanted or file in LIMITED, (file, schema, instance, ours)
    print(draft, dict(seen))  # noqa: T201 - pytest shows it on request
    assert seen["all"] > 700
    assert seen["ours"] > max(seen["the SDK's"], 0.95 * seen["all"])


NAMES = st.sampled_from(["id", "name", "at", "tags"])
NUMBERS = st.one_of(st.integers(-20, 20), st.sampled_from([10**30, 2**53 + 1]))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text("ab1é ", max_size=4))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"]


def _rules(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(TYPES) | st.lists(st.sampled_from(TYPES), min_size=1, unique=True),
            "enum": st.lists(SCALARS, min_size=1, max_size=4, unique_by=repr),
            "const": SCALARS,
            "minimum": NUMBERS,
            "exclusiveMaximum": NUMBERS,
            "multipleOf": st.integers(1, 7),
            "minLength": st.integers(0, 3),
            "maxLength": st.integers(0, 3),
            "pattern": st.sampled_from(["^a", "b$", "[0-9]", "é"]),
            "format": st.just("date-time"),
            "items": inner,
            "minItems": st.integers(0, 2),
            "uniqueItems": st.booleans(),
            "properties": st.dictionaries(NAMES, inner, max_size=3),
            "additionalProperties": st.booleans() | inner,
            "required": st.lists(NAMES, max_size=2, unique=True),
            "maxProperties": st.integers(0, 3),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
        },
    )


SCHEMAS = st.recursive(_rules(st.just({})), _rules, max_leaves=4)


DRAFTED = st.builds(
    lambda schema, draft: schema if draft is None else {"$schema": draft, **schema},
    SCHEMAS,
    st.sampled_from([None, *list(DRAFTS.values())[1:]]),
)
RECORDS = st.dictionaries(NAMES, VALUES, max_size=4)


@given(DRAFTED, RECORDS)
def test_verdicts_match_the_sdks_validator(schema: dict[str, Any], record: dict[str, Any]) -> None:
    assert our_verdict(schema, record) == sdk_verdict(schema, record)


@given(DRAFTED, RECORDS)
def test_each_error_is_one_of_the_librarys_errors(schema: dict[str, Any], record: dict[str, Any]) -> None:
    assert_explained(schema, record)


@pytest.mark.slow
@pytest.mark.parametrize("draft", DRAFTS)
def test_each_error_in_the_suite_is_one_of_the_librarys_errors(suite: Path, draft: str) -> None:
    explained = [
        assert_explained(schema, instance)
        for file, schema, instance, wanted in cases(suite, draft)
        if wanted == "refused" and file not in DIFFERENT
    ]
    print(draft, Counter(explained))  # noqa: T201 - pytest shows it on request
    assert explained.count(False) < 0.02 * len(explained)


def assert_explained(schema: dict[str, Any], record: Any) -> bool:  # noqa: ANN401 - any JSON
    """Check that each error is one of the library's. Return False if it gives no verdict."""
    try:
        validator = RecordValidator("people", schema)
    except InvalidSchema:
        return True
    errors = validator._compiled
    found = list(errors.compiled.iter_errors(record))
    its_own = [errors._described(error)[:3] for error in found]
    # The schema's own double negation, which `_described` takes for one that silences alternatives.
    negated = "violates the rule 'not'", "not"
    its_own += [
        (one[0], *negated) for one, error in zip(its_own, found, strict=True) if error.kind.name == "not"
    ]
    ours = [error[:3] for error in errors.every(record, b"")]
    first = errors.first(record)
    assert first is None or first[:3] in ours
    assert all(error in its_own for error in ours), (schema, record)
    return bool(ours) or not its_own


def test_draft_4_ignores_const() -> None:
    """Keywords newer than the declared draft are ignored; the SDK's validator applies them."""
    schema = {"$schema": DRAFTS["draft4"], "const": None}
    assert our_verdict(schema, {}) == "accepted"
    assert sdk_verdict(schema, {}) == "refused"


@pytest.mark.parametrize(
    ("schema", "value", "ours", "theirs"),
    [
        pytest.param({"multipleOf": 0.01}, Decimal("19.99"), "accepted", "failed", id="exact decimals"),
        pytest.param({"multipleOf": 0.01}, Decimal("19.995"), "refused", "failed", id="not a multiple"),
        pytest.param({"multipleOf": 0.1}, 4.35, "refused", "refused", id="floats"),
        pytest.param({"exclusiveMinimum": True, "minimum": 3}, 3, "refused", "invalid-schema", id="draft 4"),
        pytest.param(
            {"type": "array", "items": [{"exclusiveMinimum": 3}]},
            [3],
            "refused",
            "invalid-schema",
            id="draft 7",
        ),
        pytest.param({"dependencies": {"a": ["b"]}}, {"a": 1}, "refused", "accepted", id="dependencies"),
        pytest.param({"pattern": r"^\p{L}+$"}, "é", "accepted", "invalid-schema", id="letters"),
        pytest.param({"type": "integer"}, Decimal("1.0"), "accepted", "refused", id="1.0 is an integer"),
        pytest.param({"format": "date"}, "no date", "accepted", "accepted", id="formats"),
    ],
)
def test_where_verdicts_differ_ours_follows_the_specification(
    schema: dict[str, Any], value: object, ours: str, theirs: str
) -> None:
    whole = {"properties": {"value": schema}}
    assert our_verdict(whole, {"value": value}) == ours
    assert sdk_verdict(whole, {"value": value}) == theirs
