"""Which way the arrows point, held by reading the imports."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "target_sprinto"


def imported(path: Path) -> set[str]:
    """The project's modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", files("push"), ids=lambda path: path.name)
def test_push_knows_nothing_above_it_and_no_singer(path: Path) -> None:
    for name in imported(path):
        assert not name.startswith(("singer_sdk", "click"))
        if name.startswith("target_sprinto"):
            assert name == "target_sprinto.push" or name.startswith("target_sprinto.push.")


@pytest.mark.parametrize("path", files("sandbox"), ids=lambda path: path.name)
def test_the_sandbox_imports_nothing_of_the_loader(path: Path) -> None:
    for name in imported(path):
        if name.startswith("target_sprinto"):
            assert name.startswith("target_sprinto.sandbox")


@pytest.mark.parametrize("path", files(""), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_sprintoctl_imports_the_sandbox(path: Path) -> None:
    if path.name != "cli.py" and "sandbox" not in path.parts:
        assert not any("sandbox" in name for name in imported(path))


@pytest.mark.parametrize("name", ["pages", "lifecycle", "retry", "answers", "refusals", "errors"])
def test_pure_logic_does_no_io(name: str) -> None:
    forbidden = {"requests", "socket", "threading", "logging", "os", "subprocess", "urllib3", "select"}
    assert not imported(ROOT / "push" / f"{name}.py") & forbidden


def test_only_the_connection_speaks_http() -> None:
    speakers = [path.name for path in files("push") if "requests" in imported(path)]
    assert speakers == ["connection.py"]


def test_private_names_of_the_sdk_are_used_in_one_file() -> None:
    private = re.compile(r"singer_sdk\..*\b_")
    users = [path.name for path in files("") if any(private.match(name) for name in imported(path))]
    assert users == ["target.py"]
