"""`.env` provides settings of this target and affects nothing else."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto.singer.target import SprintoTarget
from tests.support.front_door import API_KEY, FrontDoor, people

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def dotenv(door: FrontDoor) -> Path:
    path = door.folder / ".env"
    path.touch(mode=0o600)
    return path


def test_dotenv_is_logged_without_values(door: FrontDoor, dotenv: Path) -> None:
    dotenv.write_text(
        f"TARGET_SPRINTO_API_KEY={API_KEY}\nTARGET_SPRINTO_PAGE_SIZE=5\nTARGET_SPRINTO_UNMAPPED_STREAMS=keep\n"
        f"TARGET_SPRINTO_INTEGRATION_ID={door.integration_id}\nTARGET_SPRINTO_API_URL={door.sandbox.base_url}\n"
    )
    finished = door.run(people(10), "--config", "ENV")
    assert finished.code == 0
    assert door.pages() == [5, 5]
    (message,) = [line for line in finished.stderr.splitlines() if "Settings are read from" in line]
    assert f"{dotenv}: TARGET_SPRINTO_API_KEY, TARGET_SPRINTO_API_URL," in message


def test_sprintoctl_reads_and_logs_dotenv_too(door: FrontDoor, dotenv: Path) -> None:
    dotenv.write_text(f"TARGET_SPRINTO_API_URL={door.sandbox.base_url}\nHTTPS_PROXY=http://127.0.0.1:9\n")
    env = {"TARGET_SPRINTO_API_KEY": API_KEY, "TARGET_SPRINTO_INTEGRATION_ID": door.integration_id}
    finished = door.run(b"", "check", "--config", "ENV", program="sprintoctl", env=env)
    assert finished.code == 0
    assert door.operations() == ["integration_status"]
    assert finished.stderr == f"sprintoctl: Settings are read from {dotenv}: TARGET_SPRINTO_API_URL.\n"


def test_sprintoctl_dotenv_overrides_nothing(door: FrontDoor, dotenv: Path) -> None:
    own = door.integration_id
    dotenv.write_text("TARGET_SPRINTO_INTEGRATION_ID=another\n")
    config = str(door.config(integration_id=None))
    env = {"TARGET_SPRINTO_INTEGRATION_ID": own}
    assert (
        door.run(b"", "check", "--config", config, "--config", "ENV", program="sprintoctl", env=env).code == 0
    )
    config = str(door.config())
    assert door.run(b"", "check", "--config", config, "--config", "ENV", program="sprintoctl").code == 0
    assert door.run(b"", "check", "--config", config, program="sprintoctl").code == 0
    assert door.operations() == ["integration_status"] * 3


def test_sprintoctl_does_not_read_a_parents_dotenv(door: FrontDoor, dotenv: Path, tmp_path: Path) -> None:
    dotenv.write_text("TARGET_SPRINTO_INTEGRATION_ID=another\n")
    config = door.config(integration_id=None)
    door.folder = tmp_path / "below"
    door.folder.mkdir()
    finished = door.run(b"", "check", "--config", str(config), "--config", "ENV", program="sprintoctl")
    assert finished.code == 1
    assert "`integration_id` is missing" in finished.stderr


def test_dotenv_is_not_read_without_config_env(door: FrontDoor, dotenv: Path) -> None:
    dotenv.write_text("TARGET_SPRINTO_PAGE_SIZE=5\n")
    assert door.run(people(10)).code == 0
    assert door.pages() == [10]


@pytest.mark.parametrize(
    ("order", "env", "pages"),
    [
        (["ENV", "config"], {}, [7, 3]),
        (["config", "ENV"], {}, [7, 3]),
        (["config", "ENV"], {"TARGET_SPRINTO_PAGE_SIZE": "4"}, [4, 4, 2]),
        (["ENV", "config"], {"TARGET_SPRINTO_PAGE_SIZE": "4"}, [7, 3]),
    ],
    ids=["file after", "file before", "variable last", "file last"],
)
def test_dotenv_overrides_nothing_and_later_configs_win(
    door: FrontDoor, dotenv: Path, order: list[str], env: dict[str, str], pages: list[int]
) -> None:
    dotenv.write_text("TARGET_SPRINTO_PAGE_SIZE=5\n")
    config = str(door.config(page_size=7))
    words = [word for one in order for word in ("--config", config if one == "config" else one)]
    assert door.run(people(10), *words, env=env).code == 0
    assert door.pages() == pages


def test_a_variable_overrides_dotenv(door: FrontDoor, dotenv: Path) -> None:
    dotenv.write_text("TARGET_SPRINTO_PAGE_SIZE=5\n")
    words = ["--config", str(door.config()), "--config", "ENV"]
    assert door.run(people(10), *words, env={"TARGET_SPRINTO_PAGE_SIZE": "10"}).code == 0
    assert door.pages() == [10]


ALTERNATIVES: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "a region in the config": ("API_URL", {"api_url": None, "region": "eu"}, {}),
    "a region in a variable": ("API_URL", {"api_url": None}, {"TARGET_SPRINTO_REGION": "eu"}),
    "a URL in the config": ("REGION", {}, {}),
    "a key file in the config": ("API_KEY", {"api_key": None, "api_key_file": "key"}, {}),
    "a key file in a variable": ("API_KEY", {"api_key": None}, {"TARGET_SPRINTO_API_KEY_FILE": "key"}),
    "a key in the config": ("API_KEY_FILE", {}, {}),
}
"""What `.env` sets, and settings and variables that set its alternative."""


@pytest.mark.parametrize("case", ALTERNATIVES)
def test_dotenv_does_not_set_the_alternative_of_what_is_set(door: FrontDoor, dotenv: Path, case: str) -> None:
    name, settings, env = ALTERNATIVES[case]
    (door.folder / "key").write_text(API_KEY)
    (door.folder / "key").chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as another:
        another.settimeout(0.2)
        url = f"http://127.0.0.1:{another.getsockname()[1]}"
        values = {"API_URL": url, "REGION": "eu", "API_KEY": "another", "API_KEY_FILE": "nowhere"}
        dotenv.write_text(f"TARGET_SPRINTO_{name}={values[name]}\n")
        config = str(door.config(**{"retry_timeout_seconds": 1, **settings}))
        # A proxy that does not exist keeps the run from reaching Sprinto's real host.
        env = {"HTTPS_PROXY": "http://127.0.0.1:9", **env}
        finished = door.run(people(1), "--config", config, "--config", "ENV", env=env)
        with pytest.raises(TimeoutError):
            another.accept()
    assert "Settings are read from" not in finished.stderr
    assert finished.code == (75 if name == "API_URL" else 0), finished.stderr


def test_a_parents_dotenv_is_not_read(door: FrontDoor, dotenv: Path, tmp_path: Path) -> None:
    dotenv.write_text("TARGET_SPRINTO_PAGE_SIZE=5\n")
    config = door.config()
    door.folder = tmp_path / "below"
    door.folder.mkdir()
    assert door.run(people(10), "--config", str(config), "--config", "ENV").code == 0
    assert door.pages() == [10]


def test_proxies_and_certificates_in_dotenv_are_ignored(door: FrontDoor, dotenv: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0.2)
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy")
        dotenv.write_text(
            "".join(f"{name}={url}\n" for name in names)
            + "NO_PROXY=\nno_proxy=\nREQUESTS_CA_BUNDLE=/nowhere\nSSL_CERT_FILE=/nowhere\n"
            + "TARGET_SPRINTO_PAGE_SIZE=5\n"
        )
        words = ["--config", str(door.config()), "--config", "ENV"]
        assert door.run(people(10), *words).code == 0
        with pytest.raises(TimeoutError):
            proxy.accept()
    assert door.pages() == [5, 5]


def test_dotenv_does_not_change_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dotenv: Path
) -> None:
    dotenv.write_text("HTTPS_PROXY=http://127.0.0.1:9\nTARGET_SPRINTO_PAGE_SIZE=5\n")
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    given = {"api_key": "k3y", "integration_id": "x", "max_rejects": 3}
    target = SprintoTarget(config=given, parse_env_config=True)
    assert dict(os.environ) == before
    assert (target.settings.page_size, target.settings.max_rejects) == (5, 3)


def test_from_python_a_variable_overrides_config_and_dotenv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dotenv: Path
) -> None:
    dotenv.write_text("TARGET_SPRINTO_PAGE_SIZE=5\nTARGET_SPRINTO_MAX_REJECTS=4\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TARGET_SPRINTO_MAX_REJECTS", "7")
    monkeypatch.setenv("TARGET_SPRINTO_PAGE_SIZE", "6")
    given = {"api_key": "k3y", "integration_id": "x", "max_rejects": 3}
    target = SprintoTarget(config=given, parse_env_config=True)
    assert (target.settings.page_size, target.settings.max_rejects) == (6, 7)


def test_variables_in_dotenv_are_not_expanded(door: FrontDoor, dotenv: Path) -> None:
    dotenv.write_text("TARGET_SPRINTO_CLIENT_REFERENCE_PREFIX=x-${TARGET_SPRINTO_LOGLEVEL}\n")
    words = ["--config", str(door.config()), "--config", "ENV"]
    finished = door.run(people(1), *words)
    assert finished.code == 0
    assert "x-${TARGET_SPRINTO_LOGLEVEL}/" in finished.stderr


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("TARGET_SPRINTO_DRY_RUN: true\n", "line 1 is not NAME=value"),
        ("A=1\n\n  TARGET_SPRINTO_DRY_RUN\n", "line 3 is not NAME=value"),
        ('A=1\n\nexport TARGET_SPRINTO_DRY_RUN="true\nTARGET_SPRINTO_PAGE_SIZE=5\n', "line 3 is not NAME="),
        ("TARGET_SPRINTO_dry_run=true\n", "TARGET_SPRINTO_dry_run (did you mean TARGET_SPRINTO_DRY_RUN?)"),
        ("target_sprinto_dry_run=true\n", "target_sprinto_dry_run (did you mean TARGET_SPRINTO_DRY_RUN?)"),
    ],
)
def test_an_own_line_that_cannot_be_read_is_an_error(
    door: FrontDoor, dotenv: Path, content: str, text: str
) -> None:
    dotenv.write_text(content)
    finished = door.run(people(1), "--config", str(door.config()), "--config", "ENV")
    assert (finished.code, finished.stdout, door.operations()) == (1, "", [])
    assert text in finished.error
    assert "[settings]" in finished.error
    assert "Settings are read from" not in finished.stderr


def test_lines_of_other_programs_may_have_any_form(door: FrontDoor, dotenv: Path) -> None:
    dotenv.write_text(
        "a: b\nNAME\n# TARGET_SPRINTO_DRY_RUN\nA='x\nTARGET_SPRINTO_HR_DRY_RUN=1\nB=TARGET_SPRINTO_\n"
    )
    finished = door.run(people(1), "--config", str(door.config()), "--config", "ENV")
    assert finished.code == 0
    assert "Settings are read from" not in finished.stderr


def _as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


UNSAFE: dict[str, tuple[Callable[[Path], object], str]] = {
    "writable by the group": (lambda path: path.chmod(0o620), "is writable by others"),
    "writable by all": (lambda path: path.chmod(0o602), "is writable by others"),
    "a pipe": (_as_pipe, "is not a regular file"),
    "too large": (lambda path: path.write_bytes(b"#" * 1_000_001), "has more than 1,000,000 bytes"),
    "not UTF-8": (lambda path: path.write_bytes(b"\xff"), "is not UTF-8"),
}


PROGRAMS = {"target-sprinto": [], "sprintoctl": ["check"]}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("what", UNSAFE)
def test_a_dotenv_writable_by_others_is_an_error(
    door: FrontDoor, dotenv: Path, what: str, program: str
) -> None:
    change, message = UNSAFE[what]
    change(dotenv)
    words = [*PROGRAMS[program], "--config", str(door.config()), "--config", "ENV"]
    finished = door.run(people(1) if program == "target-sprinto" else b"", *words, program=program)
    assert finished.code == 1
    assert message in finished.stderr
    assert "[settings]" in finished.stderr
    assert door.operations() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("program", PROGRAMS)
def test_another_users_dotenv_is_an_error(door: FrontDoor, dotenv: Path, program: str) -> None:
    os.chown(dotenv, 12345, 12345)
    words = [*PROGRAMS[program], "--config", str(door.config()), "--config", "ENV"]
    finished = door.run(people(1) if program == "target-sprinto" else b"", *words, program=program)
    assert finished.code == 1
    assert "belongs to another user" in finished.stderr


def test_a_folder_named_dotenv_is_ignored(door: FrontDoor) -> None:
    (door.folder / ".env").mkdir()
    assert door.run(people(1), "--config", str(door.config()), "--config", "ENV").code == 0


def test_an_endless_config_file_is_an_error(door: FrontDoor) -> None:
    door.config()
    large = door.folder / "large.json"
    large.write_text(json.dumps({"api_key": "x" * 5_000_000}))
    finished = door.run(b"", "--config", str(large))
    assert "more than 5,000,000 bytes" in finished.error
