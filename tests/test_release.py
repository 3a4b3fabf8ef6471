"""Releases are built where no test ran, with tools pinned by hash, on a base image pinned by digest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PINS = sorted((ROOT / ".ci").glob("*.txt"))
DIGEST = "sha256:" + "0123456789abcdef" * 4


def steps(workflow: str, job: str) -> list[dict[str, Any]]:
    read = yaml.safe_load((ROOT / f".github/workflows/{workflow}.yml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = read["jobs"][job]["steps"]
    return found


@pytest.mark.parametrize("path", PINS, ids=lambda path: path.name)
def test_every_pinned_package_has_a_version_and_hashes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    packages = [entry for entry in text.replace("\\\n", " ").splitlines() if not entry.startswith("#")]
    assert len(packages) > 5
    for package in packages:
        assert re.fullmatch(r"[a-z0-9.-]+==[\w.]+( ; [^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+", package), (
            package
        )
    assert "://" not in text


def test_build_tools_are_pinned() -> None:
    tools = (ROOT / ".ci/tools.txt").read_text(encoding="utf-8")
    assert {name for name in ("hatchling", "uv", "zizmor", "pip-audit") if f"\n{name}==" in tools} == {
        "hatchling",
        "uv",
        "zizmor",
        "pip-audit",
    }
    image = (ROOT / ".ci/image.txt").read_text(encoding="utf-8")
    assert "\nsinger-sdk==" in image
    assert "\ncryptography==" in image, "the image signs receipts"


def test_artifacts_are_built_in_a_job_that_runs_nothing_else() -> None:
    commands = [step["run"] for step in steps("release", "build") if "run" in step]
    assert commands == ["uv build --build-constraint .ci/tools.txt --require-hashes --out-dir dist"]
    assert all("upload-artifact" not in step.get("uses", "") for step in steps("release", "test"))


@pytest.mark.slow
def test_the_build_command_rejects_another_hash(tmp_path: Path) -> None:
    (command,) = [step["run"] for step in steps("release", "build") if "run" in step]
    words = command.replace("--out-dir dist", "").split()
    built = [*words, "--quiet", "--out-dir", str(tmp_path / "dist")]
    subprocess.run(built, check=True, cwd=ROOT)
    assert sorted(path.suffix for path in (tmp_path / "dist").iterdir() if path.name != ".gitignore") == [
        ".gz",
        ".whl",
    ]
    changed = tmp_path / "tools.txt"
    pins = (ROOT / ".ci/tools.txt").read_text(encoding="utf-8")
    changed.write_text(re.sub(r"sha256:[0-9a-f]{64}", DIGEST, pins), encoding="utf-8")
    built = [word.replace(".ci/tools.txt", str(changed)) for word in built]
    rejected = subprocess.run(built, check=False, cwd=ROOT, capture_output=True, text=True)
    assert rejected.returncode != 0
    assert "hash" in rejected.stderr.lower()


def test_a_release_without_the_repository_address_fails(tmp_path: Path) -> None:
    assert {"name": "Links resolve on the package index", "run": ".ci/addresses"} in steps("release", "test")
    for name in ("pyproject.toml", "README.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text, encoding="utf-8")
    if "[project.urls]" not in (tmp_path / "pyproject.toml").read_text(encoding="utf-8"):
        checked = addresses(tmp_path)
        assert checked.returncode == 1
        assert "README.md has the placeholder REPOSITORY." in checked.stderr
        assert addresses(tmp_path, "https://example.org/us/target-sprinto/").returncode == 0
    assert addresses(tmp_path).returncode == 0
    project = (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    (base,) = re.findall(r'^Repository = "(\S+)"$', project, re.MULTILINE)
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)]+)\)", (tmp_path / "README.md").read_text(encoding="utf-8"))
    own = [(image, link.removeprefix(base)) for image, link in links if link.startswith(base)]
    assert len(own) > 20
    for image, link in own:
        path = link.removeprefix("/raw/main/" if image else "/blob/main/").partition("#")[0]
        assert (ROOT / path).is_file(), link
    assert all(link.startswith("https://") for _, link in links)


def addresses(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / ".ci/addresses"), *words]
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)


def test_uv_has_the_same_version_everywhere() -> None:
    tools = (ROOT / ".ci/tools.txt").read_text(encoding="utf-8")
    (pinned,) = re.findall(r"^uv==(\S+)", tools, re.MULTILINE)
    found = []
    for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
            found += [step for step in job["steps"] if "setup-uv" in step.get("uses", "")]
    assert len(found) > 3
    assert {step["with"].get("version") for step in found} == {pinned}


@pytest.mark.parametrize(
    ("said", "printed"),
    [
        (DIGEST, f"python:3.13-slim@{DIGEST}\n"),
        ("", ""),
        ("<no value>", ""),
        ("sha256:0123", ""),
        (f"{DIGEST}\n{DIGEST}", ""),
    ],
)
def test_nothing_is_built_without_a_base_image_digest(tmp_path: Path, said: str, printed: str) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\nprintf '%s\\n' '{said}'\n")
    docker.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    shown = subprocess.run(
        [ROOT / ".ci/base-image"], check=False, capture_output=True, text=True, env=env, cwd=ROOT
    )
    assert (shown.stdout, shown.returncode) == (printed, 0 if printed else 1)
    assert printed or shown.stderr


def test_the_base_image_is_verified_before_publishing() -> None:
    (commands,) = [step["run"].splitlines() for step in steps("release", "image") if "run" in step]
    resolved, pulled, verified, built = commands[:4]
    assert resolved == "base=$(.ci/base-image)"
    assert pulled == 'docker pull "$base"'
    assert verified.endswith('| grep --fixed-strings "${base##*@}"')
    assert built == 'docker build --build-arg "BASE=$base" --tag target-sprinto .'
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))["jobs"]
    assert "image" in jobs["publish"]["needs"]


def test_the_tested_image_uses_the_base_image_digest() -> None:
    commands = [step["run"] for step in steps("tests", "image") if "run" in step]
    assert commands[0].splitlines() == [
        "base=$(.ci/base-image)",
        'docker build --build-arg "BASE=$base" --tag target-sprinto .',
    ]
    froms = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert froms == ["${BASE}", "${BASE}"]
