from __future__ import annotations

import pytest

from tests.support.soak.wholeness import is_whole

SENT = {"people": [{"id": "a", "number": 1}, {"id": "b", "number": 2}, {"id": "a", "number": 3}]}
ONE, TWO, THREE = SENT["people"]


@pytest.mark.parametrize(
    ("applied", "in_order", "by_key"),
    [
        ([ONE, TWO, THREE], True, True),
        ([TWO, ONE, THREE], False, True),
        ([THREE, TWO, ONE], False, False),
        ([ONE, TWO], False, False),
        ([ONE, TWO, THREE, THREE], False, False),
        ([ONE, TWO, {**THREE, "id": "c"}], False, False),
    ],
)
def test_whole_means_all_records_once_and_in_order(
    applied: list[object], *, in_order: bool, by_key: bool
) -> None:
    assert is_whole({"people": applied}, SENT, None, in_order=True) is in_order
    assert is_whole({"people": applied}, SENT, None, in_order=False) is by_key


def test_diverted_and_superseded_records_may_be_missing() -> None:
    assert is_whole({"people": [ONE, THREE]}, SENT, {2}, in_order=True)
    assert is_whole({"people": [TWO, THREE]}, SENT, set(), in_order=True)
    assert not is_whole({"people": [ONE, TWO]}, SENT, set(), in_order=True)
    assert not is_whole({"people": [TWO, THREE]}, SENT, None, in_order=True)


def test_unsent_records_are_not_whole() -> None:
    assert not is_whole({**SENT, "teams": [ONE]}, SENT, None, in_order=True)
