from __future__ import annotations

import re
from pathlib import Path

import target_sprinto.push
from target_sprinto.push.errors import SprintoError
from target_sprinto.singer.error_hints import advise
from tests.support.reference import all_errors

PUSH = Path(target_sprinto.push.__file__).parent


def hint_of_the_commands(kind: type[SprintoError], hint: str = "") -> str:
    failure = kind.__new__(kind)
    SprintoError.__init__(failure, "", hint)
    return advise(failure).hint


def test_no_default_hint_of_the_commands_names_an_argument_of_python() -> None:
    assert [kind for kind in all_errors() if re.search(r"\w\(\w*=", hint_of_the_commands(kind))] == []


def test_every_argument_that_a_hint_of_push_names_has_a_setting_for_the_commands() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in PUSH.rglob("*.py"))
    named = set(re.findall(r"`\w+\(\w+=…\)`", text))
    assert named
    assert [one for one in named if one in hint_of_the_commands(SprintoError, f"Raise {one}.")] == []
