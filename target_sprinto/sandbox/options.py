"""The options of a sandbox. The switches for what Sprinto does not document are in `readings.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import jsonschema_rs
import msgspec

from target_sprinto.sandbox.readings import Readings

ProcessingOutcome = Literal["processed", "failed"]


class EntityRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """How the sandbox validates an entity type (Sprinto: Ingestion; each account defines its schemas).

    `key` names the fields that identify an entity when applying upserts; without it `id` does, and without
    that the entity's entire bytes. `schema` is a JSON Schema for every record of the type; without it any
    object is accepted. Raises ValueError for an invalid schema.
    """

    key: tuple[str, ...] | None = None
    schema: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        try:
            _ = self.validator
        except jsonschema_rs.ValidationError as problem:
            # Its `str` contains the whole schema, over many lines.
            raise ValueError(problem.message) from None

    @cached_property
    def validator(self) -> jsonschema_rs.Validator:
        """As `entity_schemas` reads the same file: formats count, and nothing is fetched."""
        return jsonschema_rs.validator_for(self.schema or {}, validate_formats=True, offline=True)


class RateLimit(msgspec.Struct, frozen=True):
    """How many requests an integration may receive within `seconds`.

    `retry_after`: whether the 429 has a `Retry-After`. `counts_rejected`: whether rejected requests count,
    too. Sprinto documents no such limit for push; its other API has one of 10 requests a minute (Sprinto:
    Developer API, Pagination).
    """

    requests: int
    seconds: float = 60
    retry_after: bool = True
    counts_rejected: bool = False


@dataclass
class SandboxOptions:
    """How a sandbox behaves; the defaults are Sprinto's documented figures, if there are any.

    `integrations` are the ids that exist (None: any id). `inactivity_timeout_seconds` is documented
    (Sprinto: Session Management), `processing_seconds` is not. `light` counts records without storing them.
    With a `data_dir`, sessions, events and applied records survive a restart. `processing_outcomes` are
    those of an integration's next attempts, in order; later ones succeed. `hosts` are names that `Host` may
    have in addition to those of this machine, for a sandbox that other machines use.
    """

    api_key: str = "sandbox-key"
    integrations: frozenset[str] | None = frozenset({"demo"})
    entities: Mapping[str, EntityRules] = field(default_factory=dict)
    readings: Readings = field(default_factory=Readings)
    inactivity_timeout_seconds: float = 3600
    processing_seconds: float = 0.2
    light: bool = False
    data_dir: Path | None = None
    rate_limit: RateLimit | None = None
    processing_outcomes: tuple[ProcessingOutcome, ...] = ()
    hosts: frozenset[str] = frozenset()
