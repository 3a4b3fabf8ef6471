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


CONTRIBUTING = (ROOT.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
ROOMS = CONTRIBUTING.partition("## Code structure")[2].partition("## Tests")[0]


@cache
def may_import() -> dict[str, tuple[str, ...]]:
    """What each folder may import from the package, including itself; a file name allows only that file."""
    rows = re.findall(r"^\| (?:`([a-z_/]+)/`|root: .*) \| .* \| (.+) \|$", ROOMS, re.MULTILINE)
    rooms = {room or "root": allowed for room, allowed in rows}
    return {
        room: (
            room,
            *(name or "root" for name in re.findall(r"`([a-z_/]+?)/?(?:\.py)?`|\broot\b", allowed)),
            *(rooms if allowed == "every folder" else ()),
        )
        for room, allowed in rooms.items()
    }


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
        for name in imported(path):
            package = name.partition(".")[0]
            if package in PACKAGES:
                assert is_in(place, PACKAGES[package]), (place, name)
        for module in own_modules(path) if place != "__main__" else ():
            assert is_in(module, may_import()[folder_of(path)]), (place, module)


def own_modules(path: Path) -> set[str]:
    """The package's modules that a file imports; for `from a import b`, only b if it is a module."""
    names = {name.partition(".")[2] for name in imported(path) if name.startswith("target_sprinto.")}
    modules = {name.replace(".", "/") for name in names if is_module(name)}
    return {one for one in modules if not any(other.startswith(f"{one}/") for other in modules)}


def test_contributing_lists_every_folder() -> None:
    assert {folder_of(path) for path in files("")} == set(may_import())


def pure_files() -> set[Path]:
    return {path for path in files("") if is_declared_pure(path)}


def test_pure_modules_do_no_io() -> None:
    assert [path for path in pure_files() if imported(path) & IO] == []


def test_the_core_of_a_run_is_declared_pure() -> None:
    names = ["pages", "lifecycle", "retries", "responses", "rejections", "encoding"]
    names += ["in_doubt", "find_rejects", "digests", "activity_log"]
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


def test_files_named_in_contributing_exist() -> None:
    named = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", CONTRIBUTING))
    assert len(named) > 40
    places = [ROOT, ROOT.parent, ROOT.parent / "tests" / "support"]
    assert [name for name in sorted(named) if not any((place / name).exists() for place in places)] == []
