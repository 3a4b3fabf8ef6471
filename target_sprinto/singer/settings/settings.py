"""The settings: names, types, defaults and texts, as one class; and the JSON Schema generated from it."""

from __future__ import annotations

import enum
import hashlib
import logging
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from target_sprinto import private_files
from target_sprinto.errors import SettingsError
from target_sprinto.push import endpoint
from target_sprinto.push.protocol.lifecycle import Finish, OnCountMismatch
from target_sprinto.push.protocol.pages import MAX_ITEMS
from target_sprinto.push.run.opening_conflict import ConflictPolicy, OnActiveSession
from target_sprinto.push.run.run_options import Timeouts
from target_sprinto.singer.mapping.entity_types import EntityTypes, Unmapped
from target_sprinto.singer.schemas import entity_schemas
from target_sprinto.singer.schemas.entity_schemas import EntitySchema
from target_sprinto.singer.settings.schema_generator import json_schema
from target_sprinto.singer.settings.settings_checks import problems_of

log = logging.getLogger(__name__)

_WEEK = 7 * 24 * 3600
_WHOLE = 1 << 53
"""Larger numbers keep their spelling: 1e999999999 takes too much memory as an integer."""


class OnInvalidRecord(enum.Enum):
    """What to do with a record that is invalid, or that Sprinto rejects."""

    FAIL = "fail"
    DIVERT = "divert"


class OnDeletedRecord(enum.Enum):
    """What to do with a record that is marked as deleted, unless its stream map reads the mark."""

    FAIL = "fail"
    SKIP = "skip"
    SEND = "send"


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The requirements for an entity type's records."""

    min_records: Annotated[int, Meta(ge=0)] = 0
    max_records: Annotated[int, Meta(ge=0)] | None = None
    max_shrink_percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    unique: list[str] = []


_Seconds = Annotated[float, Meta(ge=0, le=_WEEK)]
_SomeSeconds = Annotated[float, Meta(gt=0, le=_WEEK)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings as the rest of the target uses them, each with its description.

    A title precedes it if the name does not make a good one. A field without a description is not a setting.
    """

    api_key: Annotated[
        str,
        "API key",
        "Sprinto integration API key. Required, unless `api_key_file` is set.",
        Meta(extra_json_schema={"secret": True}),
    ] = ""
    api_key_file: Annotated[
        Path | None,
        "API key file",
        "File that holds the API key, instead of `api_key`, such as a mounted secret. One newline at its"
        " end is removed.",
    ] = None
    integration_id: Annotated[str, "Integration ID", "Sprinto-issued integration identifier."]
    region: Annotated[
        str | None,
        "Region of the Sprinto host: api.sprinto.com, in.sprinto.com or eu.sprinto.com.",
        Meta(extra_json_schema={"enum": list(endpoint.REGIONS)}),
    ] = "us"
    """None if `api_url` is set instead."""
    api_url: Annotated[
        str | None,
        "API URL",
        "Base URL instead of the region's, up to and including `/api/external/push`."
        " Plain http is allowed for this machine only. At most 500 characters.",
    ] = None
    entity_types: Annotated[
        dict[str, str],
        "Entity type of each stream. A name may be a pattern: a stream's own name wins over patterns, and of"
        " several patterns the last one wins.",
        Meta(examples=[{"employees": "User"}]),
    ] = {}
    entity_schemas: Annotated[
        dict[str, EntitySchema],
        "What Sprinto's entity types look like: an object, or a file that holds one. Mapped records are"
        " checked against it before they are sent. `bundled:User` is the `User` that Sprinto documents.",
        Meta(examples=[{"User": {"key": ["employeeId"], "schema": {"required": ["employeeId"]}}}]),
    ] = {}
    unmapped_streams: Annotated[
        Unmapped,
        "What to do with streams that `entity_types` does not name: `fail` fails the run, `keep` sends them"
        " under their own names, `ignore` leaves them out.",
    ] = Unmapped.FAIL
    client_reference_prefix: Annotated[
        str,
        "Prefix of the session's `client_reference_id`, followed by `/` and the run's uuid.",
    ] = "target-sprinto"
    page_size: Annotated[int, Meta(ge=1, le=MAX_ITEMS), "Maximum items in a page, 1 to 100."] = MAX_ITEMS
    max_parallel_pages: Annotated[
        int,
        Meta(ge=1, le=16),
        "Pages in flight",
        "Maximum pages in flight at once, 1 to 16. Above 1, the order of the input is kept for each"
        " entity key only.",
    ] = 1
    compress: Annotated[bool, "Compress request bodies with gzip."] = True
    on_invalid_record: Annotated[
        OnInvalidRecord,
        "What to do with a record that is invalid, or that Sprinto rejects: discard the run, or divert"
        " the record to a rejects file and continue.",
    ] = OnInvalidRecord.FAIL
    on_deleted_record: Annotated[
        OnDeletedRecord,
        "What to do with a record marked as deleted (`_sdc_deleted_at`) whose stream map does not read"
        " that mark: discard the run, skip the record, or send it.",
    ] = OnDeletedRecord.FAIL
    rejects_dir: Annotated[
        Path,
        "Rejects folder",
        "Folder for rejected records: a run that diverts writes `<run uuid>.singer`, which this target"
        " can load again. Sprinto's response to a rejected page is in `<run uuid>.response.json`.",
    ] = msgspec.field(default_factory=lambda: Path("rejects"))
    max_rejects: Annotated[
        int,
        Meta(ge=0, le=50_000),
        "Maximum rejects",
        "Fail the run if more records than this are rejected; at most 50,000.",
    ] = 100
    dry_run: Annotated[bool, "Send every page to Sprinto, report rejects, then discard the session."] = False
    finish: Annotated[
        Finish,
        "At the end of input: apply, or leave the session staged for `sprintoctl apply` or `discard`"
        " (needs `report_path`, which keeps the STATE).",
        Meta(extra_json_schema={"enum": [Finish.APPLY.value, Finish.HOLD.value]}),
    ] = Finish.APPLY
    """DISCARD in a dry run."""
    report_path: Annotated[
        Path | None,
        "Where to write the run's receipt: a file that ends in `.json`, or a folder. `{run}` is replaced"
        " by the run's uuid; if the file exists, the uuid is inserted before its extension.",
    ] = None
    provenance: Annotated[
        dict[str, Annotated[str, Meta(max_length=200)]],
        "Copied into the receipt unchanged. Each value has at most 200 characters.",
        Meta(examples=[{"tap": "tap-bamboohr 1.4.0"}]),
    ] = {}
    receipt_key_file: Annotated[
        Path | None,
        "Ed25519 private key (PEM) that signs receipts (`sprintoctl keygen`). Needs the extra `sign`.",
    ] = None
    require_final_state: Annotated[
        bool,
        "Require a final STATE",
        "The last STATE must cover the records on stdin; otherwise the tap was stopped or crashed,"
        " and the run is discarded.",
    ] = True
    input_timeout_seconds: Annotated[
        _Seconds,
        "Seconds without input on stdin after which the run ends, as if the tap had crashed. 0: never.",
    ] = 0
    expect: Annotated[
        dict[str, Expectation],
        "What a run must contain, by entity type; otherwise it is discarded: `min_records`, `max_records`,"
        " `max_shrink_percent` (against the last applied receipt), `unique` fields.",
        Meta(examples=[{"User": {"min_records": 1, "max_shrink_percent": 20, "unique": ["workEmail"]}}]),
    ] = {}
    on_active_session: Annotated[
        OnActiveSession,
        "What to do when another session is active: fail, wait for it, or discard it if an earlier run of"
        " this pipeline left it.",
    ] = OnActiveSession.FAIL
    wait_timeout_seconds: Annotated[_Seconds, "How long `on_active_session: wait` waits, in seconds."] = 3900
    stale_session_seconds: Annotated[
        _Seconds,
        "Idle seconds before `on_active_session: discard` discards a session.",
    ] = 600
    on_count_mismatch: Annotated[
        OnCountMismatch,
        "What to do when Sprinto's counts differ from what was sent: discard the run, or apply it with a"
        " warning.",
    ] = OnCountMismatch.DISCARD
    processing_timeout_seconds: Annotated[
        _SomeSeconds,
        "How long each of these may take, in seconds: the processing of earlier sessions, that of the run's"
        " own, and, once all pages are accepted, the retries of a request.",
    ] = 900
    retry_timeout_seconds: Annotated[
        _Seconds,
        "How long one request may be retried before all pages are accepted, in seconds.",
    ] = 300
    request_timeout_seconds: Annotated[_SomeSeconds, "Timeout of one request, in seconds."] = 60
    fingerprint: str
    """SHA-256 of all settings except the keys."""

    def __repr__(self) -> str:
        """Without the API key, because it may be printed anywhere."""
        return f"Settings(integration_id={self.integration_id!r}, base_url={self.base_url!r})"

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """The typed view of a config that the schema accepts.

        Raises SettingsError for what no schema can find: a plain-http host, a key that fits no header, …
        """
        # Such as a variable made from a secret that is not set: the default may be the unsafe choice.
        if empty := [f"`{name}` is empty" for name in SCHEMA["properties"] if config.get(name) == ""]:
            raise SettingsError(*empty)
        config = DEFAULTS | _with_api_key(config)
        # The content of a file is part of the settings.
        config["entity_schemas"] = schemas = entity_schemas.read(config.get("entity_schemas") or {})
        if problems := list(problems_of(config)):
            raise SettingsError(*problems)
        given: dict[str, Any] = _canonical(
            {name: value for name, value in config.items() if value is not None}
        )
        given |= {
            "entity_schemas": {name: EntitySchema(name, rules) for name, rules in schemas.items()},
            "fingerprint": _fingerprint(given),
            "finish": Finish.DISCARD if config["dry_run"] else config["finish"],
            "region": None if config.get("api_url") else config["region"],
        }
        try:
            return msgspec.convert(given, cls, dec_hook=_converted)
        except msgspec.ValidationError:
            raise SettingsError("they do not fit their descriptions in `--about`") from None

    @property
    def base_url(self) -> str:
        """Sprinto's address."""
        return endpoint.base_url(self.region or "us", self.api_url)

    @property
    def stream_types(self) -> EntityTypes:
        """The entity type of each stream."""
        return EntityTypes(self.entity_types, self.unmapped_streams)

    @property
    def diverts(self) -> bool:
        """Whether rejected records go to a file in `rejects_dir`: a dry run keeps nothing."""
        return self.on_invalid_record is OnInvalidRecord.DIVERT and not self.dry_run

    @property
    def timeouts(self) -> Timeouts:
        """The user's timeouts."""
        request, retry = self.request_timeout_seconds, self.retry_timeout_seconds
        return Timeouts(request, retry, self.processing_timeout_seconds)

    @property
    def on_conflict(self) -> ConflictPolicy:
        """What to do when another session is active."""
        return ConflictPolicy(self.on_active_session, self.wait_timeout_seconds, self.stale_session_seconds)


def _with_api_key(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the key from `api_key_file`, such as a mounted secret, without a newline at its end.

    Raises SettingsError if the file holds no key, or if `api_key` is set as well.
    """
    given = dict(config)
    path = given.pop("api_key_file", None)
    if path is None:
        return given
    if given.get("api_key") is not None:
        raise SettingsError("`api_key` and `api_key_file` cannot be combined: set one of them")
    try:
        content, is_private = private_files.read_secret(Path(path))
        key = content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as problem:
        raise SettingsError(f"`api_key_file` cannot be read ({private_files.reason(problem)})") from None
    except ValueError:
        raise SettingsError("`api_key_file` does not hold a key") from None
    if problems := list(endpoint.text_problems("api_key_file", key)):
        raise SettingsError(*problems)
    if not is_private:
        log.warning("`api_key_file` can be read by every user of this machine: chmod 600 %s", path)
    return {**given, "api_key": key}


def _converted(wanted: type, value: object) -> object:
    """Convert what msgspec does not."""
    return Path(value) if wanted is Path and isinstance(value, str) else value


def _canonical(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """The value with numbers as JSON Schema reads them, however they are written: 10.0 is an integer."""
    if isinstance(value, dict):
        return {name: _canonical(part) for name, part in value.items()}
    if isinstance(value, list):
        return list(map(_canonical, value))
    if isinstance(value, Decimal | float) and -_WHOLE < value < _WHOLE:
        return int(value) if value == int(value) else float(value)
    return value


def _fingerprint(config: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in config.items() if name not in {"api_key", "receipt_key_file"}}
    canonical = msgspec.json.Encoder(order="sorted", decimal_format="number")
    return hashlib.sha256(canonical.encode(shown)).hexdigest()


SCHEMA = json_schema(Settings)
_given = SCHEMA["properties"]
# The types that users give, not those that they are converted to.
_given["entity_schemas"] |= {"type": ["string", "object", "null"], "additionalProperties": True}
_given["rejects_dir"] = {"type": ["string", "null"]} | _given["rejects_dir"] | {"default": "rejects"}
DEFAULTS: dict[str, Any] = {name: one["default"] for name, one in _given.items() if "default" in one}
