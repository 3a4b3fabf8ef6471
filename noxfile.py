"""`nox` runs lint, types, tests and builds the documentation; `nox -s full` everything else.

`nox -s bench` runs the benchmarks; `nox -s readme` writes the files that are made from the code.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "types", "tests", "docs"]
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"

PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))

SEARCHED = ["okta", "github", "postgres", "monitoring", "alert", "docker", "github actions", "upgrade"]
SEARCHED += ["quarantine", "idempotent", "backfill", "windows"]
"""What readers of the documentation look for."""


def install(session: nox.Session, *options: str) -> None:
    groups = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "dev")
    tools = [tool for tool in groups if not tool.startswith("target-sprinto")]
    session.install(*options, "-e", ".[sandbox,sign]", *tools)


def install_pinned(session: nox.Session) -> None:
    """The tools of the group `release`, at the versions and with the hashes of `.ci/tools.txt`."""
    session.install("--require-hashes", "--requirement", ".ci/tools.txt")


@nox.session
def lint(session: nox.Session) -> None:
    session.install("ruff>=0.14")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    install(session)
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    install(session)
    session.run("pytest", *(session.posargs or ["-m", "not slow"]))


@nox.session(python=PYTHONS)
def full(session: nox.Session) -> None:
    """The tests on every Python that is found, then with the lowest versions of dependencies; audits.

    What is slow runs on this Python only: the whole fault matrix, the soak, the long fuzz, real pipelines,
    the package as it is installed. Words after `--` are pytest's, and stand for all of this.
    """
    if not session.posargs:
        session.notify("lowest")
        session.notify("audit")
        session.notify("workflows")
    install(session)
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    chosen = ["--hypothesis-profile", "thorough", *([] if session.python == here else ["-m", "not slow"])]
    session.run("pytest", *(session.posargs or chosen))


@nox.session(reuse_venv=False)
def lowest(session: nox.Session) -> None:
    """The tests with the lowest declared version of every dependency."""
    install(session, "--resolution", "lowest-direct")
    session.run("pytest", *(session.posargs or ["-m", "not slow"]))


@nox.session(name="next", reuse_venv=False)
def next_sdk(session: nox.Session) -> None:
    """What rests on the SDK, with its newest pre-release. Not a gate: it shows what will change."""
    # A pre-release that a requirement names is allowed; all others stay out.
    install(session, "--prerelease", "explicit", "singer-sdk[testing]>=0.55.0b1")
    on_sdk = ["test_sdk_standard", "test_runs", "test_progress", "test_batch", "test_about", "test_settings"]
    session.run(
        "pytest",
        *(session.posargs or ["-m", "not slow", "tests/test_sdk_hooks.py"]),
        *([] if session.posargs else [f"tests/end_to_end/{name}.py" for name in on_sdk]),
    )


@nox.session(reuse_venv=False)
def audit(session: nox.Session) -> None:
    """The versions installed, pinned and lowest declared, against the index's advisories, or else OSV's.

    Installed are users' packages and our tools, at their newest; the lowest versions are those of users.
    Needs the network. Where neither service answers for every package, it is skipped; under CI it fails.
    """
    install(session)
    folder = Path(session.create_tmp())
    newest = session.run("uv", "pip", "freeze", "--quiet", "--exclude-editable", silent=True, external=True)
    lowest = compiled(session, "pyproject.toml", "--extra", "sandbox", "--resolution", "lowest-direct")
    install_pinned(session)
    pinned = re.sub(r" \\\n.*", "", Path(".ci/tools.txt").read_text(encoding="utf-8"))
    for name, versions in {"newest": str(newest), "tools": pinned, "lowest": lowest}.items():
        listed = folder / f"{name}.txt"
        listed.write_text(versions, encoding="utf-8")
        require_sound(session, name, listed)


def require_sound(session: nox.Session, name: str, listed: Path) -> None:
    report = listed.with_suffix(".json")
    for service in ("pypi", "osv"):
        report.unlink(missing_ok=True)
        asked = ["--vulnerability-service", service, "--requirement", str(listed)]
        # Strict, because a package that a service does not answer for would pass for a sound one. What has
        # not been audited whole leaves no report, and exits like what has weaknesses.
        how = ["--no-deps", "--disable-pip", "--strict", "--format", "json", "--output", str(report)]
        session.run("pip-audit", *asked, *how, success_codes=[0, 1])
        if report.exists():
            audited = json.loads(report.read_text(encoding="utf-8"))["dependencies"]
            weak = [
                f"{one['name']} {one['version']}: {weakness['id']}"
                for one in audited
                for weakness in one["vulns"]
            ]
            if weak:
                session.error("\n".join([f"Known weaknesses ({name} versions):", *weak]))
            session.log(f"{service} knows no weakness of {len(audited)} packages ({name} versions).")
            return
    nothing = f"No advisory service answered for all packages ({name} versions)."
    if os.environ.get("CI"):
        session.error(nothing)
    session.skip(nothing)


@nox.session
def workflows(session: nox.Session) -> None:
    """GitHub's files: their schemas, and zizmor's audits that need no network."""
    install_pinned(session)
    files = sorted(map(str, Path(".github/workflows").glob("*.yml")))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
    session.run("zizmor", "--offline", "--persona", "auditor", ".github")


@nox.session
def pins(session: nox.Session) -> None:
    """Write versions and hashes: `.ci/tools.txt` builds and releases, `.ci/image.txt` fills the image."""
    of_image = ["pyproject.toml", "--extra", "sign"]
    for name, asked in {"tools": ["--group", "release"], "image": of_image}.items():
        hashed = compiled(session, *asked, "--universal", "--generate-hashes")
        Path(f".ci/{name}.txt").write_text(f"# Written by `nox -s pins`.\n{hashed}", encoding="utf-8")


def compiled(session: nox.Session, *words: str) -> str:
    """A requirements file that names neither package hosts nor this machine."""
    how = ["--quiet", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-python-downloads"]
    return str(session.run("uv", "pip", "compile", *how, *words, silent=True, external=True))


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as a site, in `site/`; `nox -s docs -- serve` shows it while it is written."""
    session.install(*nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "docs"))
    session.run("zensical", *(session.posargs or ["build", "--clean", "--strict"]))
    index = Path("site/search.json").read_text(encoding="utf-8").lower()
    if missing := [word for word in SEARCHED if word not in index]:
        session.error(f"A search of the documentation finds nothing for: {', '.join(missing)}")


@nox.session
def readme(session: nox.Session) -> None:
    session.install("-e", ".[sandbox,sign]")
    for made in ("reference", "loader_definition"):
        session.run("python", "-m", f"tests.support.{made}")


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks. Words after `--` are those of benchmarks/run.py."""
    install(session)
    session.run("python", "benchmarks/run.py", *session.posargs)
