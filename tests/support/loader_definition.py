"""Extracts the loader's definition from `meltano.yml`: as a program, it writes it for projects and Hub."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parent.parent.parent
PATH = ROOT / "meltano-loader.yml"
HEAD = "# The loader as `meltano add target-sprinto --from-ref` takes it; cut out of meltano.yml.\n"


def loader_definition() -> str:
    """The last entry of `meltano.yml` as a separate document, with the published package."""
    text = (ROOT / "meltano.yml").read_text(encoding="utf-8")
    entry = text[text.index("  - name: target-sprinto\n    namespace:") :].replace("  - ", "    ", 1)
    return HEAD + dedent(entry).replace("pip_url: -e .[sandbox]\n", "pip_url: target-sprinto\n")


HUB_PATH = ROOT / "packaging/meltano-hub.yml"
HUB_HEAD = (
    "# The loader as MeltanoHub takes it, in _data/meltano/loaders/target-sprinto/; made of meltano.yml.\n"
)


def hub_definition() -> str:
    """The same for MeltanoHub, with additional fields for its pages.

    Hub knows one more capability than Meltano's schema, and sets the quality itself.
    """
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pythons = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    text = loader_definition().replace(HEAD, HUB_HEAD)
    text = text.replace("- structured-logging\n", "- structured-logging\n- validate-records\n")
    text = text.replace("label: Sprinto\n", "variant: target-sprinto\nlabel: Sprinto\n", 1)
    supported = "".join(f"- '{python}'\n" for python in pythons)
    return (
        f"{text}supported_python_versions:\n{supported}"
        "maintenance_status: development\n"
        "quality: unknown\n"
        "domain_url: https://sprinto.com\n"
        "keywords:\n- compliance\n- evidence\n- meltano_sdk\n"
        "definition: delivers records to Sprinto as audit evidence, all of a run or none of it.\n"
    )


if __name__ == "__main__":
    PATH.write_text(loader_definition(), encoding="utf-8")
    HUB_PATH.write_text(hub_definition(), encoding="utf-8")
