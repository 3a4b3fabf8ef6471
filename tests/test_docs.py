"""The documentation covers everything that exists, and nothing else."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.commands import DOCS, PAGES, ROOT
from tests.support.reference import all_errors


def test_error_codes_and_documented_entries_match() -> None:
    text = (DOCS / "reference/errors.md").read_text(encoding="utf-8")
    entries = re.findall(r"^### ([a-z-]+)$", text, re.MULTILINE)
    assert sorted(entries) == sorted({error.code for error in all_errors()})


def test_links_between_documents_work() -> None:
    broken = [
        (page.name, link)
        for page in PAGES
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert broken == []


def warnings_worth_a_ticket() -> list[str]:
    page = (DOCS / "monitoring.md").read_text(encoding="utf-8")
    _, table = page.split("| warning | meaning |")
    return re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)


@pytest.fixture(scope="module")
def texts() -> str:
    """All texts of the package, one per line, split at the placeholders of f-strings."""
    trees = [ast.parse(module.read_text(encoding="utf-8")) for module in ROOT.glob("target_sprinto/**/*.py")]
    constants = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return "\n".join(re.sub("%(?:\\.\\d)?[sdf]", "\n", str(node.value)) for node in constants)


@pytest.mark.parametrize("warning", warnings_worth_a_ticket())
def test_warnings_worth_a_ticket_exist_in_the_code(warning: str, texts: str) -> None:
    missing = [part for part in re.split(" ?… ?", warning) if part not in texts]
    assert missing == []
