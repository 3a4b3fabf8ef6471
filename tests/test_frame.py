"""The project's frame agrees with itself: README, sample config, Meltano's file, and the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import settings_table
import yaml

from target_sprinto import settings
from target_sprinto.target import SprintoTarget

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


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


def test_no_setting_that_would_be_ignored_is_advertised() -> None:
    assert not set(advertised()) & set(settings.NOT_FOR_SPRINTO)


def test_meltano_knows_every_setting_and_no_other() -> None:
    assert {setting["name"] for setting in loader()["settings"]} == set(advertised())


def test_meltano_has_the_same_defaults() -> None:
    values = {setting["name"]: setting["value"] for setting in loader()["settings"] if "value" in setting}
    defaults = {name: value for name, value in settings.DEFAULTS.items() if value != {}}
    assert values == defaults | {"validate_records": True}


def test_meltano_has_the_same_capabilities() -> None:
    assert sorted(loader()["capabilities"]) == sorted(str(one) for one in SprintoTarget.capabilities)


def test_the_readmes_settings_are_those_of_about() -> None:
    made = settings_table.table(settings_table.about()["settings"])
    assert settings_table.with_table(README, made) == README, "`nox -s readme` writes them"


def test_the_readme_shows_what_the_sample_config_holds() -> None:
    shown = re.search(r"<!-- sample-config -->\n```json\n(.*?)```", README, re.DOTALL)
    assert shown
    sample = json.loads((ROOT / "sample_config.json").read_text(encoding="utf-8"))
    part = json.loads(shown[1])
    assert part["stream_maps"]["employees"] == sample["stream_maps"]["employees"]
    assert part["entity_types"].items() <= sample["entity_types"].items()


def test_the_sample_config_maps_what_the_demo_maps() -> None:
    sample = json.loads((ROOT / "sample_config.json").read_text(encoding="utf-8"))
    demo = json.loads((ROOT / "target_sprinto/demo/config.json").read_text(encoding="utf-8"))
    assert demo.items() <= sample.items()


def test_supported_pythons_are_those_that_nox_tests() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.10"' in text
    assert re.findall(r"Python :: (3\.\d+)", text) == ["3.10", "3.11", "3.12", "3.13", "3.14"]
