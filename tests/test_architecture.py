"""The rules for imports, checked by reading them."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from graphlib import TopologicalSorter
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "target_sprinto"
DISTRIBUTIONS = {"backoff": "python-backoff", "dotenv": "python-dotenv"}
"""Packages whose distribution has another name."""
IO = {"requests", "socket", "threading", "logging", "os", "subprocess", "urllib3", "select", "pathlib"}


@cache
def imported(path: Path, *, by_type_checkers: bool = True) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not by_type_checkers:
        tree.body = [node for node in tree.body if not ast.unparse(node).startswith("if TYPE_CHECKING:")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)


def is_declared_pure(path: Path) -> bool:
    message = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.search(r"\bPure\b", message.partition("\n")[0]) is not None


LEAVES = ("singer/strict_json", "singer/similar_names")
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "cli": ("cli", "singer", "receipts", "push", "probe", "sandbox", "root"),
    "cli/demo_data": (),
    "singer": ("singer", "receipts", "push", "root"),
    "singer/settings": (
        "singer/settings",
        "singer/mapping",
        "singer/schemas",
        "singer/input",
        *LEAVES,
        "push",
        "root",
    ),
    "singer/mapping": ("singer/mapping", "singer/schemas", "singer/input", *LEAVES, "push", "root"),
    "singer/schemas": ("singer/schemas", *LEAVES, "push", "root"),
    "singer/rejects": ("singer/rejects", "receipts", "push", "root"),
    "singer/input": ("singer/input", "push", "root"),
    "receipts": ("receipts", "push", "root"),
    "probe": ("probe", "push", "root"),
    "push": ("push",),
    "push/protocol": ("push/protocol", "push/errors", "push/text", "push/timing"),
    "push/transport": ("push/transport", "push/protocol", "push/errors", "push/timing"),
    "push/run": ("push",),
    "sandbox": ("sandbox",),
    "root": ("push", "root"),
}
"""What each folder may import from the package, as in CONTRIBUTING; a file name allows only that file."""

PACKAGES = {
    "singer_sdk": ("singer", "root"),
    "click": ("cli", "singer", "root"),
    "requests": ("push/transport",),
    "urllib3": ("push/transport",),
}
"""The folders that may import these packages."""


def folder_of(path: Path) -> str:
    room = path.parent.relative_to(ROOT).as_posix()
    return "root" if room == "." else room


def is_module(inside: str) -> bool:
    target = ROOT / inside.replace(".", "/")
    return bool(inside) and (target.with_suffix(".py").exists() or (target / "__init__.py").exists())


def is_in(place: str, rooms: tuple[str, ...]) -> bool:
    inside = place if (ROOT / place.partition("/")[0]).is_dir() else "root"
    return any(inside == room or inside.startswith(f"{room}/") for room in rooms)


def test_folders_import_only_what_they_may() -> None:
    for path in files(""):
        place = path.relative_to(ROOT).with_suffix("").as_posix()
        names = imported(path)
        for name in names:
            package, _, inside = name.partition(".")
            if package in PACKAGES:
                assert is_in(place, PACKAGES[package]), (place, name)
            holds_others = any(other.startswith(f"{name}.") for other in names)
            if package == "target_sprinto" and is_module(inside) and not holds_others and place != "__main__":
                assert is_in(inside.replace(".", "/"), MAY_IMPORT[folder_of(path)]), (place, name)


def test_every_folder_has_a_rule() -> None:
    assert {folder_of(path) for path in files("")} == set(MAY_IMPORT)


def pure_files() -> set[Path]:
    return {path for path in files("") if is_declared_pure(path)}


def test_pure_modules_do_no_io() -> None:
    assert [path for path in pure_files() if imported(path) & IO] == []


def test_the_core_of_a_run_is_declared_pure() -> None:
    names = ["pages", "lifecycle", "retry_delay", "responses", "rejections", "encoding"]
    names += ["in_doubt", "bisection", "digests", "activity_log"]
    heart = {ROOT / "push" / "protocol" / f"{name}.py" for name in names} | {ROOT / "push" / "endpoint.py"}
    assert heart <= pure_files()


def test_errors_do_no_io() -> None:
    assert not imported(ROOT / "push" / "errors.py") & IO


def test_imports_form_no_circle() -> None:
    """In a circle, no module can be understood without the others."""
    rooms = {name_of(path): path for path in files("")}
    TopologicalSorter(
        {name: (imported(path) & set(rooms)) - {name} for name, path in rooms.items()}
    ).prepare()


def test_files_and_classes_are_short() -> None:
    """Each should have one reason to change."""
    for path in files(""):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 350, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                assert (node.end_lineno or 0) - node.lineno < 250, (path, node.name)


def test_only_questions_and_session_of_the_probe_do_io() -> None:
    waits = {
        "target_sprinto.push.transport.background",
        "target_sprinto.push.api_calls",
        "target_sprinto.probe.session",
    }
    found = {path.stem for path in files("probe") if imported(path) & (IO | waits)}
    assert found <= {"questions", "session"}


def test_only_the_transport_speaks_http() -> None:
    speakers = [path.name for path in files("push") if "requests" in imported(path)]
    # The second handles their exceptions.
    assert speakers == ["http.py", "network_errors.py"]


def test_private_names_of_the_sdk_are_not_imported() -> None:
    private = re.compile(r"singer_sdk\..*\b_")
    assert not [path.name for path in files("") if any(private.match(name) for name in imported(path))]


@pytest.mark.parametrize("room", ["loader", "sandbox"])
def test_imported_packages_are_declared(room: str) -> None:
    """An undeclared package is only present as long as another one depends on it."""
    declared = {
        re.split(r"[^\w-]", line)[0]
        for line in metadata.requires("target-sprinto") or []
        if "extra ==" not in line or room == "sandbox"
    }
    # Part of the extra `sign`, and imported only by the file that uses keys.
    assert [path.name for path in files("") if "cryptography.exceptions" in imported(path)] == ["keys.py"]
    declared.add("cryptography")
    for path in files(""):
        if ("sandbox" in path.parts) == (room == "sandbox"):
            packages = {name.partition(".")[0] for name in imported(path, by_type_checkers=False)}
            for package in packages - sys.stdlib_module_names - {"target_sprinto"}:
                assert DISTRIBUTIONS.get(package, package.replace("_", "-")) in declared, path.name


def test_contributing_lists_every_folder() -> None:
    text = (ROOT.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(
        re.findall(
            r"^\| `([a-z_/]+)/` \|",
            text.partition("## Code structure")[2].partition("## Tests")[0],
            re.MULTILINE,
        )
    )
    assert named == {str(path.parent.relative_to(ROOT)) for path in files("") if path.parent != ROOT}


def test_files_named_in_contributing_exist() -> None:
    text = (ROOT.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", text))
    assert len(named) > 40
    places = [ROOT, ROOT.parent, ROOT.parent / "tests" / "support"]
    assert [name for name in sorted(named) if not any((place / name).exists() for place in places)] == []
