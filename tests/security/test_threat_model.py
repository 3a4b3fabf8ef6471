"""The tables in this folder's README: every row has a promise, and tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (TESTS / "security/README.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| attack ")
]


@cache
def functions(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_row_names_existing_tests() -> None:
    assert len(ROWS) > 20
    for row in ROWS:
        attack, promise, tests = row
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", tests)
        assert attack
        assert promise
        # No name was missed by the pattern.
        assert len(named) == tests.count("::") > 0, row
        missing = [name for file, name in named if name not in functions(file)]
        assert not missing, row


def test_every_paragraph_of_the_policy_has_a_section() -> None:
    policy = (TESTS.parent / "SECURITY.md").read_text(encoding="utf-8").partition("## Who could attack")[2]
    named = re.findall(r"^\*\*([^*]+)\*\*", policy, re.MULTILINE) + re.findall(
        r"^## (.+)", policy, re.MULTILINE
    )
    table = (TESTS / "security/README.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (.+)\n\n\| attack .*\n\|.*\n\| ", table, re.MULTILINE)
    assert len(named) > 8
    assert [name for name in named if name not in sections] == []
