"""The README's table of settings, made from `target-sprinto --about`: run as a program it writes it there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

README = Path(__file__).parents[2] / "README.md"

TABLE = re.compile(
    r"(?<=<!-- settings: `nox -s readme` writes them -->\n).*?(?=<!-- end of settings -->)", re.DOTALL
)


def about() -> dict[str, Any]:
    """What the command says of itself."""
    command = [sys.executable, "-m", "target_sprinto", "--about", "--format=json"]
    message: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return message


def table(schema: dict[str, Any]) -> str:
    """One row for each setting of the JSON Schema, in its order."""
    rows = [
        f"| `{name}` | {_default(name, setting, schema)} | {_meaning(setting)} |"
        for name, setting in schema["properties"].items()
    ]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows, ""])


def with_table(readme: str, made: str) -> str:
    """The README with this table in the place of its own."""
    replaced, count = TABLE.subn(lambda _: made, readme)
    assert count == 1, "the README has no place for the settings"
    return replaced


def _default(name: str, setting: dict[str, Any], schema: dict[str, Any]) -> str:
    if name in schema["required"]:
        return "required"
    if "default" not in setting:
        return ""
    default = setting["default"]
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _meaning(setting: dict[str, Any]) -> str:
    sentences = [setting["description"]]
    if "enum" in setting:
        sentences.append(f"One of {', '.join(f'`{choice}`' for choice in setting['enum'])}.")
    sentences += [f"Example: `{json.dumps(example)}`." for example in setting.get("examples", [])]
    return " ".join(sentences).replace("|", "\\|")


if __name__ == "__main__":
    README.write_text(
        with_table(README.read_text(encoding="utf-8"), table(about()["settings"])), encoding="utf-8"
    )
