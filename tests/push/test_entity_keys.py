"""Entity keys: equal if and only if the values of JSON are."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.push.protocol.entity_keys import comparable, entity_key

EQUAL = [
    (1, Decimal("1.0")),
    (100, Decimal("1E+2")),
    (1.1, Decimal("1.10")),
    (0, Decimal("-0.0")),
    (10**50, Decimal("1E+50")),
    ({"a": 1, "b": [2]}, {"b": [Decimal("2.0")], "a": 1}),
    ([1], (Decimal(1),)),
    ([[1.50]] * 99, [[Decimal("1.5")]] * 99),
]
DIFFERENT = [
    (1, True),
    (0, False),
    (1, "1"),
    ([1], [True]),
    ([], {}),
    ({"a": None}, {}),
    (10**50, 10**50 + 1),
    ("x" * 200, "x" * 199 + "y"),
    ([1] * 99, str([1] * 99)),
]


@pytest.mark.parametrize(("first", "second"), EQUAL, ids=str)
def test_equal_values_have_one_form(first: object, second: object) -> None:
    assert entity_key(("x", first)) == entity_key(("x", second))
    # Long keys are compared by the digest of their text.
    assert repr(comparable(first)) == repr(comparable(second))


@pytest.mark.parametrize(("first", "second"), DIFFERENT, ids=str)
def test_different_values_have_different_keys(first: object, second: object) -> None:
    assert entity_key([first]) != entity_key([second])


def test_null_identifies_nothing() -> None:
    assert entity_key([None, None]) is None
    assert entity_key(["a", None]) == entity_key(["a", None]) != entity_key(["b", None])
    assert entity_key([[None]]) is not None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_any_value_is_hashable_and_equal_to_itself_as_sent(value: object) -> None:
    encoder = msgspec.json.Encoder(decimal_format="number")
    again = msgspec.json.Decoder(float_hook=Decimal).decode(encoder.encode(value))
    assert hash(comparable(value)) == hash(comparable(again))
    assert comparable(value) == comparable(again)
    assert repr(comparable(value)) == repr(comparable(again))


@given(json_values, json_values)
def test_two_values_have_the_same_key_only_if_they_are_equal(first: object, second: object) -> None:
    assert (entity_key(["x", first]) == entity_key(["x", second])) is (
        comparable(first) == comparable(second)
    )


@pytest.mark.parametrize(
    "value", [[0.5] * 9_000, {"a": [0.5] * 9_000}, "é" * 9_000], ids=["list", "object", "text"]
)
def test_a_large_key_is_kept_as_a_digest(value: object) -> None:
    assert len(repr(entity_key([value]))) < 100


def test_a_fraction_is_part_of_a_key() -> None:
    assert entity_key([Decimal("1.5")]) != entity_key([1])
    assert entity_key([1.5]) == entity_key([Decimal("1.50")])


def test_a_huge_number_is_compared_without_writing_it_out() -> None:
    (value,) = entity_key([Decimal("1e999999")]) or ()
    assert isinstance(value, Decimal)
    assert entity_key([10**40]) == entity_key([Decimal("1e40")])
    assert entity_key([10**39]) == entity_key([Decimal("1e39")]) == entity_key([Decimal(10) ** 39])
