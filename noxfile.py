"""`nox` runs lint, types, tests and builds the documentation; `nox -s full` everything else.

`nox -s bench` runs the benchmarks; `nox -s readme` writes what the README and the reference tell of the code.
"""

from __future__ import annotations

import sys

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
    """The tests on every Python that is found, then with the lowest versions of what is depended on.

    What is slow runs on this Python only: the whole fault matrix, the soak, the long fuzz, real pipelines,
    the package as it is installed. Words after `--` are pytest's, and stand for all of this.
    """
    if not session.posargs:
        session.notify("lowest")
    install(session)
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    chosen = [] if session.python == here else ["-m", "not slow"]
    session.run("pytest", *(session.posargs or chosen))


@nox.session(reuse_venv=False)
def lowest(session: nox.Session) -> None:
    """The tests with the lowest declared version of every dependency."""
    install(session, "--resolution", "lowest-direct")
    session.run("pytest", *(session.posargs or ["-m", "not slow"]))


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as a site, in `site/`; `nox -s docs -- serve` shows it while it is written."""
    session.install(*nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "docs"))
    session.run("mkdocs", *(session.posargs or ["build", "--strict", "--quiet"]))


@nox.session
def readme(session: nox.Session) -> None:
    session.install("-e", ".[sandbox]")
    session.run("python", "tests/settings_table.py")
    session.run("python", "tests/docs/reference.py", env={"PYTHONPATH": "tests:tests/pipeline"})


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks. Words after `--` are those of benchmarks/run.py."""
    install(session)
    session.install(*nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "bench"))
    session.run("python", "benchmarks/run.py", *session.posargs)
