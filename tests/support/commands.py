"""The code blocks of the documentation, each described by an invisible comment before it.

<!-- file: NAME -->             the block is in the file NAME
<!-- run -->                    its commands are run; with `run: exits N` the last one must exit with N
<!-- run: in another terminal -->   it keeps running while the rest of the page is run
<!-- seen -->                   output of the commands before it, in this order; `…` matches anything
<!-- not run: REASON -->        it is not run
<!-- after: PAGE -->            on its own line: the page needs the files and the sandbox of PAGE
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_AFTER = re.compile(r"^<!-- after: (\S+) -->$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code; `mark` is the comment before it, or ""."""

    mark: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(one["mark"] or "", one["language"], one["text"]) for one in found]


def pages_before(page: Path) -> list[Path]:
    """The pages whose files and sandbox this page needs."""
    return [page.parent / name for name in _AFTER.findall(page.read_text(encoding="utf-8"))]


_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_VARYING = {
    "uuid": _UUID,
    "time": r"\d{4}-\d\d-\d\dT[\d:.]+Z",
    "digest": r"[0-9a-f]{64}",
    "spent": r"bottleneck: \w+, \d+\.\d s \(\w+ \d+\.\d s, \w+ \d+\.\d s\)",
    "seconds": r"\d+\.\d s\b",
    "ago": r"\d+ min \d+ s ago",
    "anything": "…",
}
_VARIES = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _VARYING.items()))


class Seen:
    """Compares output with the documentation; learns which real uuid corresponds to a documented one."""

    def __init__(self) -> None:
        self._uuids: dict[str, str] = {}

    def real(self, command: str) -> str:
        """A documented command, with real uuids."""
        return re.sub(_UUID, lambda found: self._uuids.get(found[0], found[0]), command)

    def missing(self, shown: str, printed: str) -> str | None:
        """The first documented line that was not printed after the lines before it."""
        place = 0
        for line in filter(None, shown.splitlines()):
            pattern, uuids = self._pattern(line)
            found = re.compile(pattern).search(printed, place)
            if found is None:
                return line
            place = found.end()
            self._uuids.update(zip(uuids, found.groups(), strict=True))
        return None

    def _pattern(self, line: str) -> tuple[str, list[str]]:
        pattern, place, uuids = "", 0, []
        for one in _VARIES.finditer(line):
            pattern += re.escape(line[place : one.start()])
            place = one.end()
            if one["anything"]:
                pattern += ".*?"
            elif one["uuid"] in self._uuids:
                pattern += re.escape(self._uuids[one["uuid"]])
            elif one["uuid"]:
                pattern += f"({_UUID})"
                uuids.append(one["uuid"])
            else:
                pattern += _VARYING[str(one.lastgroup)]
        return f"(?m:{pattern}{re.escape(line[place:])}$)", uuids
