"""The documents speak of all that there is, and of nothing else."""

from __future__ import annotations

import re

from tests.support.commands import DOCS, PAGES
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
