"""Cuts the loader's definition out of `meltano.yml`: run as a program, it writes `meltano-loader.yml`."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parent.parent.parent
PATH = ROOT / "meltano-loader.yml"
HEAD = "# The loader as `meltano add target-sprinto --from-ref` takes it; cut out of meltano.yml.\n"


def loader_definition() -> str:
    """The last entry of `meltano.yml` as a document of its own, with the published package."""
    text = (ROOT / "meltano.yml").read_text(encoding="utf-8")
    entry = text[text.index("  - name: target-sprinto\n    namespace:") :].replace("  - ", "    ", 1)
    return HEAD + dedent(entry).replace("pip_url: -e .[sandbox]\n", "pip_url: target-sprinto\n")


if __name__ == "__main__":
    PATH.write_text(loader_definition(), encoding="utf-8")
