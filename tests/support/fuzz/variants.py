"""Settings for a run, each with its expected effect on records, stated here independently."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.fuzz.running import RECEIPT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Record = dict[str, Any]


def as_sent(_stream: str, record: Record) -> Record:
    return record


def labelled(stream: str, record: Record) -> Record:
    """The effect of `LABELLED`: id and name unchanged, the name also as `label`, and nothing else."""
    if stream != "people":
        return record
    return {"label": record["name"], "id": record["id"], "name": record["name"]}


@dataclass(frozen=True)
class Variant:
    """One set of settings.

    `entity_types` maps streams, `makes` maps a record; `makes` is None if only
    the number of records is known. `keeps_unmapped`: whether an unnamed stream is sent.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    entity_types: Mapping[str, str | None] = field(default_factory=dict)
    makes: Callable[[str, Record], Record] | None = as_sent
    keeps_unmapped: bool = True
    ordered: bool = True
    """Whether all records of an entity type keep their order, not only those with the same key."""

    takes_all_streams: bool = True
    """Whether every well-formed input succeeds."""

    @property
    def needs_final_state(self) -> bool:
        return bool(self.settings.get("require_final_state", True))

    def takes_streams(self, streams: set[str]) -> bool:
        """Whether an input with these streams has every stream that the settings name."""
        named = {**self.settings.get("entity_types", {}), **self.settings.get("stream_maps", {})}
        missing = {stream for stream, rule in named.items() if rule != "__NULL__"} - streams
        others = {self.entity_type(stream) for stream in streams}
        return not streams or all(self.entity_type(stream) in others for stream in missing)

    @property
    def is_exact(self) -> bool:
        """Whether records are sent with unchanged digits."""
        return self.makes is as_sent and "stream_maps" not in self.settings

    @property
    def is_dry_run(self) -> bool:
        return bool(self.settings.get("dry_run"))

    @property
    def holds(self) -> bool:
        return self.settings.get("finish") == "hold"

    def entity_type(self, stream: str) -> str | None:
        """The stream's entity type; None if its records are not sent."""
        return self.entity_types.get(stream, stream if self.keeps_unmapped else None)


_RENAMED = {"people": "User"}
LABELLED = {"people": {"label": "name", "id": "id", "name": "name", "__else__": None}}

VARIANTS = [
    Variant("plain"),
    Variant("small pages", {"page_size": 1}),
    Variant("pages of three, uncompressed", {"page_size": 3, "compress": False}),
    Variant("in parallel", {"page_size": 1, "max_parallel_pages": 4}, ordered=False),
    Variant("unchecked", {"validate_records": False, "page_size": 2}),
    Variant("diverted", {"on_invalid_record": "divert", "page_size": 3}),
    Variant("dry-run", {"dry_run": True, "page_size": 2, "report_path": RECEIPT}),
    Variant("with a receipt", {"report_path": RECEIPT, "page_size": 2}),
    Variant("held", {"finish": "hold", "report_path": RECEIPT}),
    Variant("no final state", {"require_final_state": False}),
    Variant("renamed", {"entity_types": _RENAMED, "page_size": 2}, _RENAMED),
    Variant("merged", {"entity_types": {"people": "teams"}}, {"people": "teams"}),
    Variant(
        "only people",
        {"entity_types": _RENAMED, "unmapped_streams": "ignore"},
        _RENAMED,
        keeps_unmapped=False,
    ),
    Variant(
        "people or nothing",
        {"entity_types": _RENAMED, "unmapped_streams": "fail"},
        _RENAMED,
        takes_all_streams=False,
    ),
    Variant("labelled", {"stream_maps": LABELLED, "page_size": 2}, makes=labelled),
    Variant("without people", {"stream_maps": {"people": "__NULL__"}}, {"people": None}),
    Variant("an alias", {"stream_maps": {"people": {"__alias__": "persons"}}}, {"people": "persons"}),
    Variant("flattened", {"flattening_enabled": True, "flattening_max_depth": 1, "page_size": 5}, makes=None),
    Variant("hardly flattened", {"flattening_enabled": True, "flattening_max_depth": 0}, makes=None),
]
