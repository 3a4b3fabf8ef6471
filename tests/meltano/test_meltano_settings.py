"""The loader in Meltano: every setting is listed, set and passed on, and its commands work."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.front_door import API_KEY
from tests.support.meltano_project import ROOT, read_yaml, row, state_at

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor
    from tests.support.meltano_project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SETTINGS = read_yaml(ROOT / "meltano.yml")["plugins"]["loaders"][0]["settings"]

VALUES: dict[str, Any] = {
    "input_timeout_seconds": 600,
    "region": "eu",
    "entity_types": {"people": "Person"},
    "unmapped_streams": "ignore",
    "expect": {"Person": {"min_records": 2}},
    "client_reference_prefix": "evidence",
    "page_size": 2,
    "max_parallel_pages": 2,
    "compress": False,
    "on_invalid_record": "divert",
    "on_deleted_record": "skip",
    "rejects_dir": "refused",
    "max_rejects": 5,
    "dry_run": True,
    "finish": "hold",
    "report_path": "receipts/{run}.json",
    "provenance": {"tap": "tap-people 1.0"},
    "require_final_state": False,
    "on_active_session": "wait",
    "wait_timeout_seconds": 12,
    "stale_session_seconds": 700,
    "on_count_mismatch": "apply",
    "processing_timeout_seconds": 30,
    "retry_timeout_seconds": 5,
    "request_timeout_seconds": 7,
    "validate_records": False,
    "stream_maps": {
        "people": {
            "personId": "id",
            "greeting": "config['word'] + ' ' + name",
            "__key_properties__": ["personId"],
            "__else__": "__NULL__",
        },
    },
    "stream_map_config": {"word": "Hello"},
    "entity_schemas": {
        "Person": {"key": ["personId"], "schema": {"properties": {"personId": {}, "greeting": {}}}}
    },
    "flattening_enabled": True,
    "flattening_max_depth": 2,
    "flattening_max_key_length": 30,
    "flattening_separator": "-",
}
"""A non-default value for each setting, except those that point to this sandbox."""


def set_all(project: Project, values: dict[str, Any]) -> None:
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value)
        called = project.call("config", "set", "target-sprinto", name, text)
        assert called.code == 0, called.stderr
        assert API_KEY not in called.stdout


def test_every_setting_reaches_the_loader_through_meltano(project: Project, door: FrontDoor) -> None:
    here = {"api_key": API_KEY, "integration_id": door.integration_id, "api_url": door.sandbox.base_url}
    for name in here:
        del project.env[f"TARGET_SPRINTO_{name.upper()}"]
    # The environment takes precedence.
    project.define(project.definition() | {"environments": [{"name": "dev"}]})
    values = here | VALUES
    # One excludes `api_key`, the other needs a key file (`test_key_file.py`, `test_signed.py`).
    elsewhere = {"api_key_file", "receipt_key_file"}
    assert set(values) | elsewhere == {setting["name"] for setting in SETTINGS}
    set_all(project, values)
    assert API_KEY in (project.folder / ".env").read_text()
    assert API_KEY not in json.dumps(project.definition()["plugins"])

    handed_on = project.call("invoke", "--dump", "config", "target-sprinto")
    # Meltano passes a setting that may be a file or an object as text.
    assert json.loads(handed_on.stdout) == values | {"entity_schemas": json.dumps(values["entity_schemas"])}

    project.write_rows(3)
    # A dry run cannot hold its session.
    project.env["TARGET_SPRINTO_FINISH"] = "apply"
    ran = project.run()
    assert ran.code == 0, ran.stderr
    assert (door.session().state, door.applied(), project.state()) == ("cancelled", {}, None)
    assert len(list((project.folder / "receipts").iterdir())) == 1
    ran = project.run(TARGET_SPRINTO_DRY_RUN="false")
    assert ran.code == 0, ran.stderr
    people = [{"personId": n, "greeting": f"Hello {row(n)['name']}"} for n in (1, 2, 3)]
    # Several pages in flight are applied in the order of arrival.
    applied = door.applied()
    assert sorted(applied.pop("Person"), key=lambda person: person["personId"]) == people
    assert applied == {}
    assert project.state() == state_at(3)
    assert max(door.pages()) == 2
    assert str(door.sessions()[-1].client_reference_id).startswith("evidence/")
    assert project.call("invoke", "target-sprinto:check").code == 0


def test_every_setting_reaches_the_loader_through_a_variable(project: Project) -> None:
    as_text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in VALUES.items()}
    variables = {f"TARGET_SPRINTO_{name.upper()}": text for name, text in as_text.items()}
    handed_on = project.call("invoke", "--dump", "config", "target-sprinto", **variables)
    assert handed_on.code == 0, handed_on.stderr
    given = json.loads(handed_on.stdout)
    assert {name: given[name] for name in VALUES} == VALUES | {"entity_schemas": as_text["entity_schemas"]}


def test_every_setting_is_listed_and_the_key_is_not_shown(project: Project) -> None:
    listed = project.call("config", "list", "--all", "target-sprinto")
    assert listed.code == 0
    for setting in SETTINGS:
        name = setting["name"]
        group = r"(\(required( by group \d)?\) )?"
        shown = rf"^{name} {group}\[env: TARGET_SPRINTO_{name.upper()}\] current value: "
        assert re.search(shown, listed.stdout, re.MULTILINE)
        assert f"{setting['label']}: {setting['description']}" in listed.stdout
    assert "[env: TARGET_SPRINTO_API_KEY] current value: (redacted)" in listed.stdout
    printed = project.call("config", "print", "target-sprinto")
    for said in (listed.stdout, printed.stdout):
        assert API_KEY not in said


def test_an_escaped_dot_in_a_stream_name_is_kept(project: Project) -> None:
    definition = project.definition()
    definition["plugins"]["loaders"][0]["config"] = {
        "entity_types": {r"hr\.people": "User"},
        "stream_maps": {r"hr\.people": {"salary": "__NULL__"}, r"hr\.devices": "__NULL__"},
    }
    project.define(definition | {"environments": [{"name": "dev"}]})
    handed_on = json.loads(project.call("invoke", "--dump", "config", "target-sprinto").stdout)
    assert handed_on["entity_types"] == {"hr.people": "User"}
    assert handed_on["stream_maps"] == {"hr.people": {"salary": "__NULL__"}, "hr.devices": "__NULL__"}


@pytest.mark.parametrize("stream_maps", [{"people": {"id": "id", "__else__": None}}, {"people": None}])
def test_a_null_that_meltano_drops_is_an_error(
    project: Project, door: FrontDoor, stream_maps: dict[str, Any]
) -> None:
    set_all(project, {"stream_maps": stream_maps})
    project.write_rows(1)
    refused = project.run()
    assert refused.code == 1
    (message,) = refused.errors("target-sprinto")
    assert "is an empty object, which Meltano makes of null: " in message
    assert "`__NULL__`" in message
    assert door.operations() == []


def test_the_commands_use_meltanos_settings(project: Project, door: FrontDoor) -> None:
    listed = project.call("invoke", "--list-commands", "target-sprinto").stdout
    assert set(re.findall(r"^target-sprinto:(\w+) +\S", listed, re.MULTILINE)) == {
        "activity",
        "apply",
        "check",
        "discard",
        "history",
        "preview",
        "probe",
        "sandbox",
        "status",
        "verify",
    }
    checked = project.call("invoke", "target-sprinto:check")
    assert (checked.code, checked.stdout[:4]) == (0, "OK: ")
    assert door.operations() == ["integration_status"]

    project.write_rows(1)
    assert project.run().code == 0
    status = project.call("invoke", "target-sprinto:status", "--json")
    assert json.loads(status.stdout)["sessions"]["processed"] == 1
    activity = project.call("invoke", "target-sprinto:activity")
    assert activity.code == 0
    assert door.session().id in activity.stdout

    wrong = project.call("invoke", "target-sprinto:check", TARGET_SPRINTO_API_KEY="wr0ng-k3y")
    assert (wrong.code, wrong.stdout) == (1, "")
    assert "[unauthorized]" in wrong.stderr
    assert "wr0ng-k3y" not in wrong.stderr


def test_the_commands_for_mapping_and_receipts_work_after_a_run(project: Project, door: FrontDoor) -> None:
    project.write_rows(2)
    project.env["TARGET_SPRINTO_ENTITY_TYPES"] = '{"people": "Person"}'
    tap = project.call("invoke", "tap-people")
    assert tap.code == 0, tap.stderr
    (project.folder / "tap.singer").write_text(tap.stdout)
    previewed = project.call("invoke", "target-sprinto:preview", "--input", "tap.singer")
    assert previewed.code == 0, previewed.stderr
    assert "people → Person: 2 records in, 2 to send" in previewed.stdout
    assert door.operations() == []

    example = {"id": 9, "name": "an example", "updated_at": "2026-11-21T09:00:00Z"}
    (project.folder / "person.json").write_text(json.dumps(example))
    probed = project.call(
        "invoke", "target-sprinto:probe", "--entity-type", "Person", "--example", "person.json"
    )
    assert probed.code == 0, probed.stderr
    assert "Suggested settings: " in probed.stdout
    assert door.applied() == {}

    assert project.run(TARGET_SPRINTO_REPORT_PATH="receipts/{run}.json").code == 0
    (receipt,) = (project.folder / "receipts").iterdir()
    words = ("--input", "tap.singer", "--config", "ENV")
    for more in ((), words):
        verified = project.call("invoke", "target-sprinto:verify", str(receipt), *more)
        assert verified.code == 0, verified.stderr
        assert verified.stdout.startswith("OK: the same 1 page" if more else "OK: the receipt is intact")
    shown = project.call("invoke", "target-sprinto:history", "receipts")
    assert shown.code == 0, shown.stderr
    assert "Person" in shown.stdout


def test_the_sandbox_runs_until_interrupted(project: Project) -> None:
    with project.started("invoke", "target-sprinto:sandbox", "--port", "0") as process:
        assert process.stdout is not None
        found = re.search(r"The sandbox is at .* Its web page: (http://\S+)", process.stdout.readline())
        assert found
        assert requests.get(found[1], timeout=10).status_code == 200
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=20)
    with pytest.raises(requests.ConnectionError):
        requests.get(found[1], timeout=10)


def test_meltanos_test_stream_is_rejected(project: Project, door: FrontDoor) -> None:
    assert project.call("config", "test", "target-sprinto").code != 0
    assert door.operations() == []


def test_meltanos_own_schema_accepts_meltano_yml(project: Project) -> None:
    (schema,) = project.program.parent.parent.glob("lib/*/site-packages/meltano/schemas/meltano.schema.json")
    program = str(Path(sys.executable).with_name("check-jsonschema"))
    words = ["--schemafile", str(schema), str(ROOT / "meltano.yml")]
    checked = subprocess.run([program, *words], capture_output=True, encoding="utf-8", check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", ["target-sprinto-hr", "target-sprinto--hr"])
def test_an_inherited_loader_and_its_base_do_not_interfere(
    project: Project, door: FrontDoor, name: str
) -> None:
    """Meltano passes the variables of both names to both loaders."""
    definition = project.definition()
    definition["plugins"]["loaders"].append({"name": name, "inherit_from": "target-sprinto"})
    project.define(definition)
    prefix = name.upper().replace("-", "_")
    own = {
        "API_KEY": API_KEY,
        "INTEGRATION_ID": door.integration_id,
        "API_URL": door.sandbox.base_url,
        "ENTITY_TYPES": '{"people": "Person"}',
    }
    project.env.update({f"{prefix}_{setting}": value for setting, value in own.items()})
    for loader in (name, "target-sprinto"):
        checked = project.call("invoke", f"{loader}:check")
        assert (checked.code, checked.stdout[:4]) == (0, "OK: "), checked.stderr
        assert "nknown" not in checked.stderr

    project.write_rows(2)
    assert project.run("tap-people", name).code == 0
    assert {entity_type: len(people) for entity_type, people in door.applied().items()} == {"Person": 2}
    project.write_rows(3)
    assert project.run().code == 0
    assert {entity_type: len(people) for entity_type, people in door.applied().items()} == {
        "Person": 2,
        "User": 3,
    }

    definition["plugins"]["loaders"][-1]["config"] = {"stream_maps": {"people": {"name": None}}}
    project.define(definition)
    lost = project.run("tap-people", name)
    assert lost.code == 1
    assert "KeyError: 'stream_maps.people.name'" in lost.stderr
    definition["plugins"]["loaders"][-1]["config"] = {"stream_maps": {"people": {"name": "__NULL__"}}}
    project.define(definition)
    project.write_rows(4)
    assert project.run("tap-people", name).code == 0
    assert "name" not in door.applied()["Person"][-1]

    misspelled = project.call("invoke", "target-sprinto:check", TARGET_SPRINTO_PAGESIZE="5")
    assert misspelled.code == 1
    assert "did you mean TARGET_SPRINTO_PAGE_SIZE?" in misspelled.stderr
