"""The documents speak of all that there is, and of nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import target_sprinto.errors  # noqa: F401 - its classes are leaves of the tree
from target_sprinto.push.errors import SprintoError

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent.parent / "docs"


def all_errors(root: type[SprintoError] = SprintoError) -> Iterator[type[SprintoError]]:
    yield root
    for leaf in root.__subclasses__():
        yield from all_errors(leaf)


def test_every_error_code_has_its_entry_and_every_entry_its_code() -> None:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    entries = re.findall(r"^### ([a-z-]+)$", text, re.MULTILINE)
    ours = {error.code for error in all_errors() if error.__module__.startswith("target_sprinto.")}
    assert sorted(entries) == sorted(ours)


def test_every_link_between_the_documents_leads_somewhere() -> None:
    pages = [DOCS.parent / "README.md", *DOCS.rglob("*.md")]
    broken = [
        (page.name, link)
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert broken == []
