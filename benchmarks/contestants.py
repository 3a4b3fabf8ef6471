"""Who is measured: target-sprinto, the template's way, and the bare loop, each with its settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Contestant:
    """A program that takes `--config FILE` and the input on stdin.

    `arguments` are Python's; `settings` stand in the config, beside where to send to.
    """

    name: str
    arguments: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)


def ours(pages_in_flight: int = 1, **settings: object) -> Contestant:
    """target-sprinto as it comes, but for these settings."""
    return Contestant(
        f"target-sprinto, {pages_in_flight} in flight",
        ("-m", "target_sprinto"),
        {"max_parallel_pages": pages_in_flight, "unmapped_streams": "keep", **settings},
    )


def peer(**settings: object) -> Contestant:
    """What the SDK's template gives, with one POST per 100 records."""
    return Contestant("template + POST", (str(HERE / "peer.py"),), settings)


def bare_loop(
    connections: int, *, compress: bool = False, fields: Mapping[str, str] | None = None
) -> Contestant:
    """Decode, encode, post; with `fields`, as ``{new: old}``, rename too."""
    return Contestant(
        f"bare loop, {connections} in flight",
        (str(HERE / "bare_loop.py"),),
        {"connections": connections, "compress": compress, "fields": fields},
    )
