"""`sprintoctl`, as a user calls it."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.front_door import SCHEMA, STATE, Finished, FrontDoor, as_input, people, record
from tests.support.sandbox import Fault, Hang, Respond

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_sprinto.sandbox.operations import Operation

ROOT = Path(__file__).parent.parent.parent
# bash warns on stderr if a locale is not installed.
ENV = {**os.environ, "NO_PROXY": "127.0.0.1", "LC_ALL": "C"}
QUIET = {"TARGET_SPRINTO_LOGLEVEL": "INFO"}


def sprintoctl(door: FrontDoor, *words: str, env: dict[str, str] = QUIET) -> Finished:
    return door.finish(door.start(*words, env=env, program="sprintoctl"))


def test_the_demo_shows_a_whole_run(door: FrontDoor) -> None:
    shown = sprintoctl(door, "demo")
    assert shown.code == 0, shown.stderr
    for line in ["160  User", "150  Device", "60  Repository", "30  Vendor", '"employeeId": "E-']:
        assert line in shown.stdout
    assert '{"bookmarks":{"employees"' in shown.stdout
    assert "is open (reference target-sprinto/" in shown.stderr
    assert "salary" not in shown.stdout
    assert len((shown.stdout + shown.stderr).splitlines()) <= 40
    assert list(door.folder.iterdir()) == []


def test_a_failed_demo_refers_to_the_targets_own_error(door: FrontDoor) -> None:
    shown = sprintoctl(door, "demo", env={"TARGET_SPRINTO_LOGLEVEL": "nonsense"})
    assert shown.code == 1
    assert shown.stderr.splitlines()[-1] == (
        "sprintoctl: The demo's target ended with exit code 1."
        " Its last line above says why and what to do. [demo-failed]"
    )


def test_the_demo_runs_without_stdout(door: FrontDoor) -> None:
    closed = ["sh", "-c", 'exec "$@" >&-', "sh"]
    shown = door.finish(door.start("demo", env=QUIET, program="sprintoctl", through=closed, cold=True))
    assert shown.code == 0, shown.stderr
    assert "Sprinto has processed session" in shown.stderr


def test_a_demo_without_a_temporary_folder_says_what_to_do(door: FrontDoor) -> None:
    """With a stub: these tests themselves need such a folder."""
    stub = "import tempfile\ntempfile._candidate_tempdir_list = lambda: ['/nowhere']\n"
    (door.folder / "sitecustomize.py").write_text(stub)
    env = {"PYTHONPATH": str(door.folder)}
    shown = door.finish(door.start("demo", env=env, program="sprintoctl", cold=True))
    assert shown.code == 1
    assert shown.stderr == (
        "sprintoctl: The demo needs a folder for temporary files, but cannot write to any of the usual ones."
        " Set TMPDIR to a folder that it can write to. [settings]\n"
    )


def test_demo_keep_serves_its_web_page_until_interrupted(door: FrontDoor) -> None:
    process = door.start("demo", "--keep", stderr=subprocess.DEVNULL, program="sprintoctl")
    assert process.stdout is not None
    address = next(found[1] for line in process.stdout if (found := re.search(rb"Open (\S+) ", line)))
    page = requests.get(address, timeout=10).text
    assert "employeeId" in page
    assert "processed" in page
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 0


@contextmanager
def serving(door: FrontDoor, *words: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start `sprintoctl sandbox`; yield its URL and process, and interrupt it at the end."""
    process = door.start("sandbox", "--port", "0", *words, program="sprintoctl")
    assert process.stdout is not None
    found = re.search(r"at (http://\S+)", process.stdout.readline().decode())
    assert found
    yield found[1], process
    process.send_signal(signal.SIGINT)
    assert door.finish(process).code == 0


@pytest.fixture
def served(door: FrontDoor) -> Iterator[str]:
    with serving(door, "--data", "data") as (url, process):
        assert process.stdout is not None
        message = process.stdout.readline().decode()
        assert message.startswith(
            "Entity types: User, Device, Repository, Vendor; others are rejected. `User` is as"
        )
        assert "Device, Repository and Vendor are made up" in message
        yield url


def test_the_sample_config_works_against_the_sandbox(served: str, door: FrontDoor) -> None:
    sample = json.loads((ROOT / "sample_config.json").read_text(encoding="utf-8"))
    assert sample["api_url"] == "http://127.0.0.1:8765/api/external/push"
    sample["api_url"] = served + "/api/external/push"
    path = door.folder / "sample.json"
    path.write_text(json.dumps(sample))
    path.chmod(0o600)
    checked = sprintoctl(door, "check", "--config", str(path))
    assert (checked.code, checked.stderr) == (0, "")
    assert checked.stdout.startswith("OK: ")
    messages = (ROOT / "target_sprinto/cli/demo_data/input.singer").read_bytes()
    assert door.run(messages, "--config", str(path)).code == 0
    applied = requests.get(f"{served}/api/sandbox/demo/applied?key=sandbox-key", timeout=10).json()
    assert {name: len(entities) for name, entities in applied.items()} == {
        "User": 160,
        "Device": 150,
        "Repository": 60,
        "Vendor": 30,
    }


def test_the_sandbox_rejects_unknown_entity_types(served: str, door: FrontDoor) -> None:
    settings = {"api_url": f"{served}/api/external/push", "integration_id": "demo"}
    finished = door.run(people(3), entity_types={"people": "Usr"}, **settings)
    assert finished.code == 1
    assert "[page-refused]" in finished.error


def test_the_sandbox_keeps_applied_records_after_a_restart(door: FrontDoor) -> None:
    for attempt in range(2):
        with serving(door, "--any-type", "--data", "data") as (url, _):
            if attempt == 0:
                finished = door.run(people(3), api_url=f"{url}/api/external/push", integration_id="demo")
                assert finished.code == 0
            applied = requests.get(f"{url}/api/sandbox/demo/applied?key=sandbox-key", timeout=10).json()
            assert len(applied["people"]) == 3


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"api_key": "wrong-key"}, 1, "[unauthorized]"),
        ({"api_url": "http://127.0.0.1:9/api/external/push"}, 75, "[not-connected]"),
        ({"region": "mars"}, 1, "[settings]"),
        ({"integration_id": ""}, 1, "[settings]"),
    ],
)
def test_check_reports_problems_in_one_line(
    door: FrontDoor, settings: dict[str, Any], code: int, message: str
) -> None:
    checked = door.sprintoctl("check", **settings)
    assert checked.code == code
    assert checked.stdout == ""
    (line,) = checked.stderr.splitlines()
    assert line.startswith("sprintoctl: ")
    assert line.endswith(message)
    assert "wrong-key" not in line


def test_check_reports_an_unknown_integration(served: str, door: FrontDoor) -> None:
    checked = door.sprintoctl("check", api_url=f"{served}/api/external/push", integration_id="nobody")
    assert checked.code == 1
    assert "the integration does not exist there" in checked.stderr


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"stream_maps": {"people": {"name": "?"}}}, '`stream_maps.people.name` is still "?"'),
        ({"stream_maps": {"people": "x"}}, "`stream_maps.people` must be an object"),
        (
            {"stream_maps": {"people": {"name": "b +"}}},
            "field 'name' of stream 'people' is 'b +', which is not an",
        ),
        ({"flattening_enabled": True}, "flattening_max_depth is required"),
        ({"batch_size_rows": 5}, "`batch_size_rows` is not supported"),
    ],
)
def test_check_rejects_the_same_settings_as_a_run(
    door: FrontDoor, settings: dict[str, Any], text: str
) -> None:
    checked = door.sprintoctl("check", **settings)
    assert (checked.code, checked.stdout, door.operations()) == (1, "", [])
    (line,) = checked.stderr.splitlines()
    assert text in line


def test_check_changes_nothing(door: FrontDoor) -> None:
    assert door.sprintoctl("check").code == 0
    assert door.operations() == ["integration_status"]


def test_commands_ignore_invalid_settings_that_they_do_not_need(door: FrontDoor) -> None:
    """A user must be able to discard a session before the config is fixed."""
    broken = {"stream_maps": {"people": {"name": "no such ("}}, "page_size": 0, "entity_types": 5}
    config = ("--config", str(door.config(**broken)), "--config", "ENV")
    env = {"TARGET_SPRINTO_MAX_REJECTS": "many", "TARGET_SPRINTO_PAGE_SIZ": "1"}
    session = door.kill_midway().id
    checked = door.finish(door.start("check", *config, env=env, program="sprintoctl"))
    assert checked.code == 1
    assert "unknown environment variable TARGET_SPRINTO_PAGE_SIZ " in checked.stderr
    for words in (("status",), ("activity",), ("discard", session)):
        done = door.finish(door.start(*words, *config, env=env, program="sprintoctl"))
        assert (done.code, done.stderr) == (0, ""), words
    assert door.session().state == "cancelled"
    verified = door.finish(door.start("--config", config[1]), people(1))
    assert "[settings]" in verified.error


def test_discard_ends_a_killed_runs_session(door: FrontDoor) -> None:
    session = door.kill_midway()
    assert session.state == "active"
    discarded = door.sprintoctl("discard", session.id)
    assert (discarded.code, discarded.stderr) == (0, "")
    assert discarded.stdout == f"Session {session.id} was discarded; nothing was applied.\n"
    assert door.session().state == "cancelled"


def test_discard_of_an_applied_session_fails(door: FrontDoor) -> None:
    assert door.run(people(1)).code == 0
    response = door.sprintoctl("discard", door.session().id)
    assert response.code == 1
    assert response.stderr == (
        f"sprintoctl: Session {door.session().id} was not discarded: it is processed, and what it had"
        " accepted was applied. `sprintoctl activity` shows what happened to it. [session-ended]\n"
    )


@pytest.mark.parametrize(
    ("name", "operation"),
    [("status", "integration_status"), ("activity", "activity"), ("check", "integration_status")],
)
def test_a_throttled_look_names_no_setting_of_a_run(door: FrontDoor, name: str, operation: Operation) -> None:
    throttled = Respond(429, {"Retry-After": "600"})
    door.sandbox.inject(Fault(operation, integration_id=door.integration_id, effect=throttled))
    finished = sprintoctl(door, name, "--config", str(door.config()))
    assert (finished.code, finished.stdout) == (75, "")
    assert "[throttled]" in finished.stderr
    assert "Run it again in 600 s." in finished.stderr
    assert "retry_timeout_seconds" not in finished.stderr


def test_a_throttled_discard_is_tried_again(door: FrontDoor) -> None:
    door.midway()
    throttled = Respond(429, {"Retry-After": "1"})
    door.sandbox.inject(Fault("status", integration_id=door.integration_id, effect=throttled))
    finished = door.sprintoctl("discard", door.session().id)
    assert (finished.code, door.session().state) == (0, "cancelled")
    assert len(door.sandbox.fired(door.integration_id)) == 1


def test_a_throttled_check_names_no_setting_of_a_run(door: FrontDoor) -> None:
    throttled = Respond(429)
    door.sandbox.inject(Fault("integration_status", integration_id=door.integration_id, effect=throttled))
    finished = door.sprintoctl("check")
    assert finished.code == 75
    assert "Run it again in a minute." in finished.stderr
    assert "retry_timeout_seconds" not in finished.stderr


def until_read(pipe: Path) -> None:
    """Wait until a process opens the pipe for reading; it stays blocked, as nothing is written."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with suppress(OSError):
            os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            return
        time.sleep(0.01)
    raise TimeoutError(pipe)


@pytest.mark.parametrize(
    "words",
    [
        ("map", "draft", "--input", "pipe"),
        ("map", "draft", "--input", "-"),
        ("map", "draft", "--catalog", "-"),
        ("map", "draft", "--input", "input.singer", "--entities", "pipe"),
        ("verify", "pipe"),
        ("receipt", "pipe", "--html"),
        ("sandbox", "--entities", "pipe"),
    ],
)
def test_a_signal_ends_a_command_that_waits_for_a_pipe(door: FrontDoor, words: tuple[str, ...]) -> None:
    os.mkfifo(door.folder / "pipe")
    (door.folder / "input.singer").write_bytes(as_input([SCHEMA]))
    process = door.start(*words, program="sprintoctl")
    if "pipe" in words:
        until_read(door.folder / "pipe")
    else:
        # Nothing shows that it reads from stdin.
        time.sleep(1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 143
    finished = door.finish(process, None)
    assert finished.stderr == "sprintoctl: Stopped by SIGTERM. [interrupted]\n"


def test_check_tests_the_signing_key_and_the_receipts_folder(door: FrontDoor) -> None:
    (door.folder / "file").touch()
    unsigned = door.sprintoctl("check", report_path="receipts", receipt_key_file="missing.pem")
    assert (unsigned.code, "[receipt-key]" in unsigned.stderr) == (1, True)
    for path in ("file/receipts", "file/receipt.json"):
        unwritten = door.sprintoctl("check", report_path=path)
        assert (unwritten.code, "[receipt-not-written]" in unwritten.stderr) == (1, True)
    assert door.operations() == []
    assert door.sprintoctl("check", report_path="new/receipts/{run}.json").code == 0
    assert not (door.folder / "new").exists()


def test_a_report_that_cannot_be_written_is_named(door: FrontDoor) -> None:
    assert door.run(people(3), report_path="receipt.json").code == 0
    for path, reason in (
        ("/dev/full", "No space left on device"),
        ("missing/x.html", "No such file or directory"),
        ("x" * 300, "File name too long"),
    ):
        finished = sprintoctl(door, "receipt", "receipt.json", "--html", "-o", path)
        assert (finished.code, "[receipt-not-written]" in finished.stderr) == (1, True)
        assert f"The report cannot be written to {path[:20]}" in finished.stderr
        assert f"({reason})" in finished.stderr
    with Path("/dev/full").open("wb") as full:
        words = ("receipt", "receipt.json", "--html")
        finished = door.finish(door.start(*words, program="sprintoctl", stdout=full.fileno()))
    assert "stdout cannot be written to (No space left on device)" in finished.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_preview_is_shown_in_any_encoding(door: FrontDoor, encoding: str) -> None:
    (door.folder / "input.singer").write_bytes(as_input([SCHEMA, record(1)]))
    words = ("map", "preview", "--input", "input.singer", "--config", str(door.config()))
    process = door.start(*words, env={"PYTHONIOENCODING": encoding}, program="sprintoctl", cold=True)
    finished = door.finish(process)
    assert (finished.code, finished.stderr) == (0, "")
    assert "id" in finished.stdout


def test_an_unconfirmed_discard_is_reported(door: FrontDoor) -> None:
    door.midway()
    session = door.session().id
    door.sandbox.inject(Fault("close", times=99, integration_id=door.integration_id, effect=Respond(403)))
    message = door.sprintoctl("discard", session)
    assert (message.code, message.stdout) == (1, "")
    assert (
        f"Session {session} may still be open (unauthorized): its discard is not confirmed." in message.stderr
    )
    assert f"sprintoctl discard {session} --config {door.folder}/" in message.stderr


def test_a_missing_extra_is_reported(door: FrontDoor) -> None:
    (door.folder / "aiohttp.py").write_text("raise ModuleNotFoundError(name='aiohttp')\n")
    env = {"PYTHONPATH": str(door.folder)}
    shown = door.finish(door.start("demo", env=env, program="sprintoctl", cold=True))
    assert shown.code == 1
    assert "pip install 'target-sprinto[sandbox]'" in shown.stderr


def test_a_port_in_use_is_reported(served: str, door: FrontDoor) -> None:
    port = served.rpartition(":")[2]
    taken = sprintoctl(door, "sandbox", "--port", port)
    assert taken.code == 1
    assert f"cannot listen on port {port}" in taken.stderr


def finish_sandbox(door: FrontDoor, *words: str, code: int = 1) -> Finished:
    """Run `sprintoctl sandbox`, which must fail; terminate it if it serves anyway."""
    with door.start("sandbox", "--port", "0", *words, program="sprintoctl") as process:
        assert process.stdout is not None
        if said := process.stdout.readline():
            process.terminate()
        message = door.finish(process)
    assert (message.code, said) == (code, b""), message.stderr
    return message


def test_an_unusable_data_folder_is_reported_before_serving(door: FrontDoor) -> None:
    (door.folder / "file").touch()
    message = finish_sandbox(door, "--data", "file/data")
    assert message.stderr == (
        "sprintoctl: file/data cannot keep a sandbox's data: Not a directory."
        " Choose another folder with --data. [settings]\n"
    )


def test_a_data_folder_with_a_foreign_file_is_reported(door: FrontDoor) -> None:
    (door.folder / "sandbox.json").write_bytes(b"[]")
    message = finish_sandbox(door, "--data", ".")
    assert "sprintoctl: sandbox.json is not a sandbox snapshot: " in message.stderr
    assert message.stderr.endswith(" [settings]\n")
    assert (door.folder / "sandbox.json").read_bytes() == b"[]"


def test_a_data_folder_has_one_sandbox_at_a_time(door: FrontDoor) -> None:
    with serving(door, "--any-type", "--data", "data"):
        second = finish_sandbox(door, "--data", "data")
    assert "sprintoctl: data is in use by another sandbox." in second.stderr
    with serving(door, "--any-type", "--data", "data"):
        pass


def test_a_data_folder_that_fails_while_serving_is_an_error_of_the_server(door: FrontDoor) -> None:
    process = door.start("sandbox", "--port", "0", "--data", "data", program="sprintoctl")
    assert process.stdout is not None
    found = re.search(r"at (http://\S+)", process.stdout.readline().decode())
    assert found
    shutil.rmtree(door.folder / "data")
    (door.folder / "data").touch()
    session = f"{found[1]}/api/external/push/v1/integrations/demo/sessions"
    response = requests.post(session, headers={"api-key": "sandbox-key"}, json={}, timeout=10)
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal_server_error")
    process.send_signal(signal.SIGINT)
    finished = door.finish(process)
    assert finished.code == 1
    assert "data cannot keep a sandbox's data: File exists. The sandbox's data is lost" in finished.stderr


def test_the_web_page_rejects_a_key_of_any_bytes(served: str) -> None:
    response = requests.get(served, headers={"api-key": b"\xff\xfe"}, timeout=10)
    assert response.status_code == 401


def test_the_sandbox_checks_formats_as_entity_schemas_does(door: FrontDoor) -> None:
    rules = {"people": {"schema": {"properties": {"name": {"type": "string", "format": "email"}}}}}
    (door.folder / "entities.json").write_text(json.dumps(rules))
    with serving(door, "--entities", "entities.json") as (url, _):
        there = {"api_url": f"{url}/api/external/push", "integration_id": "demo"}
        assert door.run(people(1), **there).error.endswith("[page-refused]")
    assert door.run(people(1), entity_schemas="entities.json").error.endswith("[entity-schema]")


def test_a_data_folder_that_becomes_unusable_is_reported(door: FrontDoor) -> None:
    data = door.folder / "data"
    process = door.start("sandbox", "--port", "0", "--data", str(data), program="sprintoctl")
    assert process.stdout is not None
    assert b"The sandbox is at" in process.stdout.readline()
    assert [path.name for path in data.iterdir()] == ["sandbox.json"]
    shutil.rmtree(data)
    data.touch()
    process.send_signal(signal.SIGINT)
    finished = door.finish(process)
    assert finished.code == 1
    assert f"{data} cannot keep a sandbox's data: " in finished.stderr
    assert finished.stderr.endswith(" [settings]\n")
    assert "port" not in finished.stderr


@pytest.mark.parametrize("command", ["sandbox", "demo"])
def test_an_invalid_port_is_a_usage_error(door: FrontDoor, command: str) -> None:
    message = door.finish(door.start(command, "--port", "99999", program="sprintoctl"))
    assert message.code == 2
    assert "'--port'" in message.stderr


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ({"keys": ["id"]}, "`keys`"),
        ({"key": "id"}, "`array"),
        ({"schema": 3}, "`object"),
        ({"schema": {"type": "text"}}, '"text"'),
        ({"schema": {"$ref": "#/nowhere"}}, "nowhere"),
    ],
)
def test_an_invalid_entity_type_is_reported(door: FrontDoor, rules: dict[str, Any], named: str) -> None:
    others = {"Device": {"key": ["id"]}, "Person": "bundled:User"}
    (door.folder / "entities.json").write_text(json.dumps(others | {"User": rules}))
    message = finish_sandbox(door, "--entities", "entities.json")
    assert "The file of entity types 'entities.json' cannot be read: entity type 'User': " in message.stderr
    assert named in message.stderr
    assert message.stderr.endswith("[settings]\n")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"User": \xff}'])
def test_an_invalid_entity_types_file_is_reported(door: FrontDoor, content: bytes) -> None:
    (door.folder / "entities.json").write_bytes(content)
    message = finish_sandbox(door, "--entities", "entities.json")
    assert "The file of entity types 'entities.json' cannot be read: " in message.stderr
    assert message.stderr.endswith("[settings]\n")


@pytest.mark.parametrize(("option", "name"), [("--api-key", "api_key"), ("--integration", "integration_id")])
def test_text_that_no_request_can_have_is_reported(door: FrontDoor, option: str, name: str) -> None:
    message = finish_sandbox(door, "--data", "data", option, "k\udcff")
    assert f"`{name}` has leading or trailing whitespace, or a non-printable character" in message.stderr
    assert message.stderr.endswith("[settings]\n")


@pytest.mark.parametrize(
    ("option", "seconds"),
    [
        ("--processing-seconds", "nan"),
        ("--processing-seconds", "inf"),
        ("--processing-seconds", "-1"),
        ("--inactivity-seconds", "-1"),
        ("--inactivity-seconds", "0"),
        ("--inactivity-seconds", "1e12"),
    ],
)
def test_invalid_seconds_are_a_usage_error(door: FrontDoor, option: str, seconds: str) -> None:
    message = finish_sandbox(door, option, seconds, code=2)
    assert f"'{option}'" in message.stderr


def test_an_empty_activity_log_is_reported(door: FrontDoor) -> None:
    for words in ([], ["--json"]):
        message = door.sprintoctl("activity", "--hours", "0.5", *words)
        assert (message.code, message.stdout) == (0, "")
        assert "The activity log has no events since 20" in message.stderr
    assert door.run(people(1)).code == 0
    message = door.sprintoctl("activity")
    assert "session_processed" in message.stdout
    assert "no events" not in message.stderr


@pytest.mark.parametrize("hours", ["-1", "1e12", "nan"])
def test_invalid_hours_are_a_usage_error(door: FrontDoor, hours: str) -> None:
    message = door.sprintoctl("activity", "--hours", hours)
    assert message.code == 2
    assert "'--hours'" in message.stderr
    assert door.operations() == []


def test_a_signal_during_a_discard_names_session_and_command(door: FrontDoor) -> None:
    """Also if the next try is more than a second away."""
    door.pace["status_poll_interval"] = 4.0
    session = door.kill_midway()
    door.sandbox.inject(Fault("close", 1, 99, door.integration_id, effect=Respond(503)))
    process = door.start("discard", session.id, "--config", str(door.config()), program="sprintoctl")
    door.wait_for_operation("close", responded=True)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    finished = door.finish(process)
    assert finished.code == 143
    assert f"Session {session.id} may still be open" in finished.stderr
    assert f"To discard it: sprintoctl discard {session.id} --config " in finished.stderr


def test_a_signal_ends_reading_the_activity_log(door: FrontDoor) -> None:
    door.sandbox.inject(Fault("activity", integration_id=door.integration_id, effect=Hang()))
    process = door.start("activity", "--config", str(door.config()), program="sprintoctl")
    door.wait_for_operation("activity")
    process.send_signal(signal.SIGINT)
    message = door.finish(process)
    assert (message.code, message.stderr) == (130, "sprintoctl: Stopped by SIGINT. [interrupted]\n")


def test_every_command_has_help_with_an_example(door: FrontDoor) -> None:
    def message(*words: str) -> str:
        return door.finish(door.start(*words, "--help", program="sprintoctl")).stdout

    listed = message()
    commands = re.findall(r"^  (\w+) ", listed.partition("Commands:")[2], re.MULTILINE)
    assert set(commands) == {
        "activity",
        "apply",
        "check",
        "completion",
        "demo",
        "discard",
        "history",
        "keygen",
        "map",
        "probe",
        "receipt",
        "sandbox",
        "status",
        "verify",
    }
    for words in ([], *([command] for command in commands)):
        # The command as typed, on its own line.
        called = " ".join(["sprintoctl", *words])
        assert re.search(rf"^  Examples?:\n(?:    .*\n)*    .*\b{called}\b", message(*words), re.MULTILINE)


def test_the_targets_help_shows_a_pipe(door: FrontDoor) -> None:
    message = door.finish(door.start("--help")).stdout
    assert "\n    tap-hr --config tap.json | target-sprinto --config config.json > state.jsonl\n" in message


def test_without_arguments_it_shows_the_first_steps(door: FrontDoor) -> None:
    message = subprocess.run(door.command("sprintoctl"), capture_output=True, text=True, check=False)
    assert (message.returncode, message.stderr) == (0, "")
    for command in (
        "`demo` and `sandbox` need pip install 'target-sprinto[sandbox]'",
        "sprintoctl demo",
        "sprintoctl check --config config.json",
        " | target-sprinto --config ",
    ):
        assert command in message.stdout


BIN = Path(sys.executable).parent

COMPLETE = """
eval "$(sprintoctl completion bash)"
complete_words() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    "$(complete -p "$1" | sed 's/.* -F \\([^ ]*\\) .*/\\1/')" "$1"
    echo "${COMPREPLY[*]}"
}
complete_words sprintoctl di
complete_words target-sprinto --ab
"""


def test_bash_completes_words_of_both_programs() -> None:
    env = {**ENV, "PATH": f"{BIN}:{os.environ['PATH']}"}
    command = ["bash", "--norc", "-c", COMPLETE]
    completed = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert completed.stderr == ""
    assert completed.stdout.splitlines() == ["discard", "--about"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_for_both_programs(door: FrontDoor, shell: str) -> None:
    message = door.finish(door.start("completion", shell, program="sprintoctl"))
    assert (message.code, message.stderr) == (0, "")
    for variable in ("_SPRINTOCTL_COMPLETE", "_TARGET_SPRINTO_COMPLETE"):
        assert f"{variable}={shell}_complete" in message.stdout


@pytest.mark.parametrize(
    ("env", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_terminal_gets_colours_unless_disabled(
    door: FrontDoor, env: dict[str, str], *, coloured: bool
) -> None:
    env = {"NO_COLOR": ""} | env
    shown = on_a_terminal(door, env, "check", "--config", str(door.config()))
    assert ("\x1b[32mOK\x1b[0m: the API key is accepted" in shown) == coloured
    refused = on_a_terminal(door, env, "check", "--config", str(door.config(api_key="wrong")))
    assert ("\x1b[31msprintoctl:\x1b[0m " in refused) == coloured
    assert ("\x1b" in shown + refused) == coloured
    assert "OK" in shown
    assert "[unauthorized]" in refused


def test_uncoloured_text_has_no_escape_codes(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, processing_seconds=60)
    assert door.run(people(1), processing_timeout_seconds=1).code == 75
    env = {"TERM": "xterm", "NO_COLOR": ""}
    for command, line in (("activity", "session_created"), ("status", "processing")):
        shown = on_a_terminal(door, env, command, "--config", str(door.config()))
        assert line in shown
        assert "\x1b" not in shown


def on_a_terminal(door: FrontDoor, env: dict[str, str], *words: str) -> str:
    """Return what `sprintoctl` shows on a terminal."""
    ours, its = pty.openpty()
    try:
        process = door.start(*words, env=env, stdout=its, stderr=its, program="sprintoctl")
        os.close(its)
        process.communicate(timeout=60)
        shown = b""
        with suppress(OSError):  # Linux raises at the end of a terminal.
            while chunk := os.read(ours, 4096):
                shown += chunk
    finally:
        os.close(ours)
    return shown.decode()


def test_a_pipe_gets_no_colours(door: FrontDoor) -> None:
    assert door.run(people(1)).code == 0
    message = door.finish(door.start("status", "--config", str(door.config()), program="sprintoctl"))
    assert "\n  processed   1\n" in message.stdout
    assert "\x1b" not in message.stdout


def test_the_command_reads_from_a_shell_pipe(door: FrontDoor) -> None:
    """`tap | target-sprinto`, the installed script, in a real shell."""
    tap = door.folder / "tap.singer"
    tap.write_bytes(as_input([SCHEMA, record(1), STATE]))
    script = Path(sys.executable).parent / "target-sprinto"
    piped = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'cat "{tap}" | "{script}" --config "{door.config()}"'],
        capture_output=True,
        text=True,
        check=False,
        env=ENV,
    )
    assert piped.returncode == 0, piped.stderr
    assert json.loads(piped.stdout) == STATE["value"]
    assert len(door.applied()["people"]) == 1
