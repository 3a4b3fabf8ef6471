"""Generates the page of settings from `target-sprinto --about`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def about() -> dict[str, Any]:
    """The output of `--about`."""
    command = [sys.executable, "-m", "target_sprinto", "--about", "--format=json"]
    described: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return described


def sections(schema: dict[str, Any]) -> str:
    """A heading for each setting of the JSON Schema, in order, so that each has an anchor."""
    return "\n".join(_section(name, setting, schema) for name, setting in schema["properties"].items())


def _section(name: str, setting: dict[str, Any], schema: dict[str, Any]) -> str:
    facts = [_kind(setting), _default(name, setting, schema), f"`TARGET_SPRINTO_{name.upper()}`"]
    return f"### {name}\n\n{' · '.join(filter(None, facts))}\n\n{_meaning(setting)}\n"


def _kind(setting: dict[str, Any]) -> str:
    if "enum" in setting:
        return f"One of {', '.join(f'`{choice}`' for choice in setting['enum'])}"
    kinds = setting["type"] if isinstance(setting["type"], list) else [setting["type"]]
    return " or ".join(kind for kind in kinds if kind != "null").capitalize()


def _default(name: str, setting: dict[str, Any], schema: dict[str, Any]) -> str:
    if name in schema["required"]:
        return "**required**"
    if "default" not in setting:
        return ""
    default = setting["default"]
    return f"default `{default if isinstance(default, str) else json.dumps(default)}`"


def _meaning(setting: dict[str, Any]) -> str:
    examples = [f"Example: `{json.dumps(example)}`." for example in setting.get("examples", [])]
    return " ".join([setting["description"], *examples])
