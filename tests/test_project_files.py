"""README, sample config, Meltano's files and the code are consistent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from referencing import Registry, Resource

from target_sprinto.singer.settings import settings, settings_checks
from target_sprinto.singer.settings.settings import Settings
from target_sprinto.singer.target import SprintoTarget
from tests.support import loader_definition, meltano_project

ROOT = Path(__file__).parent.parent


def advertised() -> dict[str, Any]:
    SprintoTarget.append_builtin_config(SprintoTarget.config_jsonschema)
    properties: dict[str, Any] = SprintoTarget.config_jsonschema["properties"]
    return properties


def loader() -> dict[str, Any]:
    (only,) = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))["plugins"]["loaders"]
    assert isinstance(only, dict)
    return only


def test_every_setting_has_a_title_and_a_description() -> None:
    for name, setting in advertised().items():
        assert setting.get("description"), name
        assert setting.get("title"), name


def test_no_ignored_setting_is_advertised() -> None:
    assert not set(advertised()) & set(settings_checks.NOT_FOR_SPRINTO)


def test_meltano_lists_exactly_the_settings() -> None:
    assert {setting["name"] for setting in loader()["settings"]} == set(advertised())


def test_meltano_describes_settings_identically() -> None:
    ours = {name: advertised()[name] for name in Settings.__struct_fields__ if name in advertised()}
    of_meltano = {setting["name"]: setting for setting in loader()["settings"] if setting["name"] in ours}
    assert list(of_meltano) == list(ours)
    for name, setting in of_meltano.items():
        words = ours[name]["title"], ours[name]["description"]
        assert (setting["label"], setting["description"]) == words, name


def test_meltano_has_the_same_defaults() -> None:
    values = {setting["name"]: setting["value"] for setting in loader()["settings"] if "value" in setting}
    defaults = {name: value for name, value in settings.DEFAULTS.items() if value != {}}
    assert values == defaults | {"validate_records": True}


def test_meltano_settings_have_the_right_kind_and_secrecy() -> None:
    for setting in loader()["settings"]:
        assert setting["label"], setting["name"]
        assert setting["description"], setting["name"]
        # Without it, Meltano drops nested nulls; with it, Meltano splits names at dots in a flat object.
        nested = setting["kind"] == "object" and setting["name"] != "entity_types"
        assert setting.get("value_processor") == ("nest_object" if nested else None), setting["name"]
        described = advertised()[setting["name"]]
        assert setting.get("sensitive", False) == described.get("secret", False), setting["name"]
        if "enum" in described:
            values = [option["value"] for option in setting["options"]]
            assert (setting["kind"], values) == ("options", described["enum"])
        else:
            assert setting["kind"] in {KINDS[kind] for kind in described["type"] if kind != "null"}


# Meltano 4.4 fails on a variable of kind decimal: it cannot write its own value into the loader's config.
KINDS = {"number": "integer"} | {kind: kind for kind in ("string", "integer", "boolean", "object")}


def test_meltano_has_the_same_capabilities() -> None:
    # Meltano's schema does not know this capability.
    named = {str(one) for one in SprintoTarget.capabilities} - {"validate-records"}
    assert sorted(loader()["capabilities"]) == sorted(named)


def test_meltanos_schema_accepts_meltano_yml() -> None:
    program = str(Path(sys.executable).with_name("check-jsonschema"))
    words = ["--builtin-schema", "vendor.meltano", str(ROOT / "meltano.yml")]
    checked = subprocess.run([program, *words], capture_output=True, encoding="utf-8", check=False)
    assert checked.returncode == 0, checked.stdout


def test_the_loader_definition_matches_meltano_yml() -> None:
    written = loader_definition.PATH.read_text(encoding="utf-8")
    assert written == loader_definition.loader_definition(), "run: nox -s readme"
    assert yaml.safe_load(written) == loader() | {"pip_url": "target-sprinto"}


def hub() -> dict[str, Any]:
    written = yaml.safe_load(loader_definition.HUB_PATH.read_text(encoding="utf-8"))
    assert isinstance(written, dict)
    return written


def test_the_hub_definition_matches_meltano_yml() -> None:
    written = loader_definition.HUB_PATH.read_text(encoding="utf-8")
    assert written == loader_definition.hub_definition(), "run: nox -s readme"
    definition, ours = hub(), loader() | {"pip_url": "target-sprinto"}
    assert sorted(definition["capabilities"]) == sorted(str(one) for one in SprintoTarget.capabilities)
    assert {name: definition[name] for name in ours if name != "capabilities"} == {
        name: value for name, value in ours.items() if name != "capabilities"
    }
    assert definition["supported_python_versions"] == ["3.10", "3.11", "3.12", "3.13", "3.14"]


@pytest.mark.skipif(
    "MELTANO_HUB_SCHEMAS" not in os.environ,
    reason="MELTANO_HUB_SCHEMAS names no folder `schemas` of a checkout of meltano/hub",
)
def test_the_hub_schema_accepts_the_definition() -> None:
    # As in the Hub's own check: its schemas refer to each other by `$id`.
    schemas = {
        path: json.loads(path.read_text(encoding="utf-8"))
        for folder in ("common", "plugin_definitions")
        for path in (Path(os.environ["MELTANO_HUB_SCHEMAS"]) / folder).glob("*.schema.json")
    }
    known = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema)) for schema in schemas.values()
    )
    (loaders,) = [schema for path, schema in schemas.items() if path.name == "loaders.schema.json"]
    problems = Draft7Validator(loaders, registry=known).iter_errors(hub())
    assert [f"{problem.json_path}: {problem.message}" for problem in problems] == []


def test_the_docs_name_the_tested_meltano_and_each_command() -> None:
    docs = (ROOT / "docs/meltano.md").read_text(encoding="utf-8")
    assert f"Meltano {meltano_project.VERSION};" in docs
    documented = re.findall(r"^\| `meltano invoke target-sprinto:(\w+)", docs, re.MULTILINE)
    assert documented == list(loader()["commands"])


def test_the_sample_config_maps_what_the_demo_maps() -> None:
    sample = json.loads((ROOT / "sample_config.json").read_text(encoding="utf-8"))
    demo = json.loads((ROOT / "target_sprinto/cli/demo_data/config.json").read_text(encoding="utf-8"))
    assert demo.items() <= sample.items()


def test_supported_pythons_are_declared() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.10"' in text
    assert re.findall(r"Python :: (3\.\d+)", text) == ["3.10", "3.11", "3.12", "3.13", "3.14"]
