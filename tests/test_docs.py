"""The documents speak of all that there is, and of nothing else."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.commands import DOCS, PAGES, ROOT
from tests.support.reference import all_errors


def test_every_error_code_has_its_entry_and_every_entry_its_code() -> None:
    text = (DOCS / "reference/errors.md").read_text(encoding="utf-8")
    entries = re.findall(r"^### ([a-z-]+)$", text, re.MULTILINE)
    assert sorted(entries) == sorted({error.code for error in all_errors()})


def test_every_link_between_the_documents_leads_somewhere() -> None:
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
    """All texts of the package, one a line; what an f-string fills in separates them too."""
    trees = [ast.parse(module.read_text(encoding="utf-8")) for module in ROOT.glob("target_sprinto/**/*.py")]
    constants = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return "\n".join(re.sub("%(?:\\.\\d)?[sdf]", "\n", str(node.value)) for node in constants)


@pytest.mark.parametrize("warning", warnings_worth_a_ticket())
def test_a_warning_worth_a_ticket_is_one_that_the_code_has(warning: str, texts: str) -> None:
    missing = [part for part in re.split(" ?… ?", warning) if part not in texts]
    assert missing == []
