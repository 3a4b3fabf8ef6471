"""Similar names are recognised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sprinto.similar_names import by_nearness, nearest_first, within_one_edit
from target_sprinto.singer.settings import settings, settings_checks

LETTERS = "ab_"
WORDS = st.text(LETTERS, max_size=6)


def edits(word: str) -> set[str]:
    """The word, and every word that is one edit away."""
    cuts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    return (
        {word}
        | {a + letter + b for a, b in cuts for letter in LETTERS}
        | {a + b[1:] for a, b in cuts}
        | {a + letter + b[1:] for a, b in cuts for letter in LETTERS if b}
        | {a + b[1] + b[0] + b[2:] for a, b in cuts if b[1:]}
    )


@given(WORDS, WORDS)
def test_within_one_edit_matches_the_definition(first: str, second: str) -> None:
    assert within_one_edit(first, second) == (second in edits(first)) == within_one_edit(second, first)


@given(WORDS, st.data())
def test_every_edit_is_within_one_edit(word: str, data: st.DataObject) -> None:
    assert within_one_edit(word, data.draw(st.sampled_from(sorted(edits(word)))))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("page_sise", "page_size"),
        ("page_szie", "page_size"),
        ("dryrun", "dry_run"),
        ("expects", "expect"),
        ("entityTypes", "entity_types"),
        ("require-final-state", "require_final_state"),
        ("API_KEY", "api_key"),
    ],
)
def test_a_misspelled_setting_is_recognised(written: str, meant: str) -> None:
    assert settings_checks.misspelt([written], settings.SCHEMA["properties"]) == {written: meant}


@pytest.mark.parametrize(
    "name", ["hr_api_key", "_hr_api_key", "2_api_key", "hr_page_size", "pages_sises", "keys", "loglevel"]
)
def test_less_similar_names_are_not_reported(name: str) -> None:
    assert settings_checks.misspelt([name], settings.SCHEMA["properties"]) == {}


def test_the_nearest_names_come_first() -> None:
    known = ["devices", "employments", "employees", "teams", "vendors", "repositories"]
    assert by_nearness("public-employees", known)[0] == "employees"
    assert by_nearness("Employes", known)[:2] == ["employees", "employments"]
    shown = nearest_first("public-employees", known)
    assert shown.startswith(" (nearest first: 'employees', ")
    assert shown.endswith(" and 1 more)")
    assert nearest_first("employees", []) == ""


def test_names_in_a_message_are_cut_and_escaped() -> None:
    shown = nearest_first("x", ["a\x1b[2J" + "b" * 1000])
    assert "\x1b" not in shown
    assert len(shown) < 80
