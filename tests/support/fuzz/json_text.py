"""JSON as text, including what no Python value can represent: duplicate keys, NaN, lone surrogates."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.support.front_door import SECRET
from tests.support.fuzz.running import SECRET_NUMBER


@dataclass(frozen=True)
class Verbatim:
    """Text that is inserted unchanged, JSON or not."""

    text: str


@dataclass(frozen=True)
class Pairs:
    """An object that may have duplicate keys."""

    pairs: tuple[tuple[str, Any], ...]


def as_text(value: Any, *, ascii_only: bool = False, spaced: bool = False) -> str:  # noqa: ANN401 - any JSON
    """The text of a value composed of JSON types, `Verbatim` and `Pairs`."""

    def text(inner: Any) -> str:  # noqa: ANN401 - any JSON
        if isinstance(inner, Verbatim):
            return inner.text
        if isinstance(inner, Pairs | dict):
            pairs = inner.items() if isinstance(inner, dict) else inner.pairs
            return "{" + comma.join(f"{text(name)}{colon}{text(held)}" for name, held in pairs) + "}"
        if isinstance(inner, list):
            return "[" + comma.join(map(text, inner)) + "]"
        return json.dumps(inner, ensure_ascii=ascii_only)

    comma, colon = (", ", " : ") if spaced else (",", ":")
    return text(value)


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
"""Without lone surrogates, which are not text; those are among the odd values."""

SECRET_TEXT = ANY_TEXT.map(lambda text: f"{SECRET} {text}")
SECRET_NUMBERS = st.integers(0, 10**6).map(lambda number: int(f"{SECRET_NUMBER}{number}"))
DECIMALS = st.sampled_from(
    [".5", ".10", "e5", "E-7", ".000", "e+400", "0" * 30, ".3141592653589793238462"]
).map(lambda end: Verbatim(f"{SECRET_NUMBER}{end}"))
LEAVES = (
    st.none()
    | st.booleans()
    | SECRET_TEXT
    | SECRET_NUMBERS
    | SECRET_NUMBERS.map(lambda number: -number)
    | DECIMALS
)
"""Values that may be sent; each meaningful one contains the secret, so that a leak shows."""

NAMES = (
    st.sampled_from(["id", "name", "at", "a", "a.b", "a__b", "", "é", "_sdc_batched_at", "type"]) | ANY_TEXT
)


def nested(leaves: st.SearchStrategy[Any], names: st.SearchStrategy[str] = NAMES) -> st.SearchStrategy[Any]:
    """Nested lists and objects with these leaves."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
        max_leaves=8,
    )


VALUES = nested(LEAVES)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=5)

_DEEP = [30, 200, 900, 1_100, 5_000, 100_000]
ODD_LEAVES = st.sampled_from(
    [
        Verbatim("NaN"),
        Verbatim("-Infinity"),
        Verbatim(f'"{SECRET} \\ud800"'),
        Verbatim(f'"{SECRET} \\udc00\\ud800"'),
        Verbatim(f'"{SECRET} \x00"'),
        Verbatim(f'"{SECRET}\n"'),
        Verbatim(f"{SECRET_NUMBER}{'1' * 5_000}"),
        Verbatim(f"{SECRET_NUMBER}e99999999999999999999"),
        Verbatim(f"{SECRET_NUMBER}e400"),
        Verbatim(f"-{SECRET_NUMBER}e-99999999999999999999"),
        Verbatim("1.7976931348623159e308"),
        Verbatim("-0"),
        Verbatim("-0.0"),
        Verbatim("01"),
        Verbatim("18446744073709551616"),
        Verbatim(SECRET),
        Verbatim(""),
        *(Verbatim("[" * depth + "]" * depth) for depth in _DEEP),
        *(Verbatim('{"a":' * depth + "1" + "}" * depth) for depth in _DEEP),
        Pairs((("id", SECRET_NUMBER), ("id", f"{SECRET} again"))),
        Pairs((("type", "RECORD"), ("type", SECRET))),
    ]
)
ODD_VALUES = nested(LEAVES | ODD_LEAVES)
"""Values that are partly invalid JSON, or JSON that not every parser accepts."""
