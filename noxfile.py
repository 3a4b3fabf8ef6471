"""`nox` runs lint, types, tests and builds the documentation; `nox -s full` everything else.

`nox -s bench` runs the benchmarks; `nox -s readme` writes what the README and the reference tell of the code.
"""

from __future__ import annotations

import json
import os
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


def install(session: nox.Session, *options: str) -> None:
    groups = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "dev")
    tools = [tool for tool in groups if not tool.startswith("target-sprinto")]
    session.install(*options, "-e", ".[sandbox]", *tools)


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
    chosen = [] if session.python == here else ["-m", "not slow"]
    session.run("pytest", *(session.posargs or chosen))


@nox.session(reuse_venv=False)
def lowest(session: nox.Session) -> None:
    """The tests with the lowest declared version of every dependency."""
    install(session, "--resolution", "lowest-direct")
    session.run("pytest", *(session.posargs or ["-m", "not slow"]))


@nox.session(name="next", reuse_venv=False)
def next_sdk(session: nox.Session) -> None:
    """What rests on the SDK, with its newest pre-release. Not a gate: it shows what will change."""
    install(session, "--prerelease", "if-necessary-or-explicit")
    session.install("--prerelease", "allow", "--upgrade", "singer-sdk>=0.55.0b1")
    on_sdk = ["test_sdk_standard", "test_runs", "test_progress", "test_batch", "test_about", "test_settings"]
    session.run(
        "pytest",
        *(session.posargs or ["-m", "not slow", "tests/test_sdk_hooks.py"]),
        *([] if session.posargs else [f"tests/pipeline/{name}.py" for name in on_sdk]),
    )


@nox.session(reuse_venv=False)
def audit(session: nox.Session) -> None:
    """What is installed, users' packages and our tools, against the index's advisories, or else OSV's.

    Needs the network. Where neither service answers for every package, it is skipped; under CI it fails.
    """
    install(session)
    folder = Path(session.create_tmp())
    installed, report = folder / "installed.txt", folder / "audit.json"
    frozen = session.run("uv", "pip", "freeze", "--quiet", "--exclude-editable", silent=True, external=True)
    installed.write_text(str(frozen), encoding="utf-8")
    session.install("pip-audit>=2.9")
    for service in ("pypi", "osv"):
        report.unlink(missing_ok=True)
        asked = ["--vulnerability-service", service, "--requirement", str(installed)]
        # Strict, for a package that a service does not answer for would pass for a sound one. What has not
        # been audited whole leaves no report, and exits like what has weaknesses.
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
                session.error("\n".join(["Known weaknesses:", *weak]))
            session.log(f"{service} knows no weakness of {len(audited)} packages.")
            return
    nothing = "No advisory service answered for all packages: nothing was audited."
    if os.environ.get("CI"):
        session.error(nothing)
    session.skip(nothing)


@nox.session
def workflows(session: nox.Session) -> None:
    """GitHub's files: their schemas, and zizmor's audits that need no network."""
    session.install("zizmor>=1.20", "check-jsonschema>=0.35")
    files = sorted(map(str, Path(".github/workflows").glob("*.yml")))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
    session.run("zizmor", "--offline", "--persona", "auditor", ".github")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as a site, in `site/`; `nox -s docs -- serve` shows it while it is written."""
    session.install(*nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "docs"))
    session.run("mkdocs", *(session.posargs or ["build", "--strict", "--quiet"]))


@nox.session
def readme(session: nox.Session) -> None:
    session.install("-e", ".[sandbox]")
    session.run("python", "tests/settings_table.py")
    session.run("python", "tests/docs/reference.py", env={"PYTHONPATH": "tests:tests/pipeline:tests/faults"})


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks. Words after `--` are those of benchmarks/run.py."""
    install(session)
    session.install(*nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "bench"))
    session.run("python", "benchmarks/run.py", *session.posargs)
