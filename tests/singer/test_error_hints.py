from __future__ import annotations

import re
from pathlib import Path

import target_sprinto.push
from target_sprinto.push.errors import SprintoError
from target_sprinto.singer.error_hints import advise
from tests.support.reference import all_errors

PUSH = Path(target_sprinto.push.__file__).parent


def command_hint(kind: type[SprintoError], hint: str = "") -> str:
    failure = kind.__new__(kind)
    SprintoError.__init__(failure, "", hint)
    return advise(failure).hint


def test_default_command_hints_name_no_python_arguments() -> None:
    assert [kind for kind in all_errors() if re.search(r"\w\(\w*=", command_hint(kind))] == []


def test_arguments_in_push_hints_have_settings() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in PUSH.rglob("*.py"))
    named = set(re.findall(r"`\w+\(\w+=…\)`", text))
    assert named
    assert [one for one in named if one in command_hint(SprintoError, f"Raise {one}.")] == []
