"""The settings: their schema, a typed view of them, and the checks that no schema can make."""

from __future__ import annotations

import enum
import hashlib
import json
import logging
import os
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec
from singer_sdk import typing as th

from target_sprinto.errors import SettingsError
from target_sprinto.push import endpoint
from target_sprinto.push.protocol.lifecycle import Finish, OnCountMismatch
from target_sprinto.push.protocol.pages import MAX_ITEMS
from target_sprinto.push.run.conflict import ConflictPolicy, OnActiveSession
from target_sprinto.push.run.options import LONGEST_ENTITY_TYPE
from target_sprinto.push.run.run import Patiences
from target_sprinto.singer import entity_schemas
from target_sprinto.singer.config_files import warn_if_exposed
from target_sprinto.singer.entity_schemas import EntitySchema, similar_type
from target_sprinto.singer.key_file import with_api_key
from target_sprinto.singer.names import within_one_edit
from target_sprinto.singer.stream_maps import EntityTypes, Unmapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jsonschema.exceptions import ValidationError


class SchemaValidator(Protocol):
    """A validator of jsonschema's."""

    def iter_errors(self, instance: Any) -> Iterable[ValidationError]: ...  # noqa: ANN401, D102 - any JSON


NOT_FOR_SPRINTO = {
    "add_record_metadata": "Sprinto's entity types have no place for `_sdc` fields; leave it out",
    "batch_config": "this target writes no batch files; leave it out",
    "batch_size_rows": "use `page_size`, at most 100",
    "default_target_schema": "Sprinto has no schemas; leave it out",
    "faker_config": "made-up values are no evidence; leave it out",
    "hard_delete": "Sprinto's documents know no deletion; leave it out",
    "load_method": "what applying does to older records is Sprinto's to decide; leave it out",
    "process_activate_version_messages": "ACTIVATE_VERSION changes nothing at Sprinto; leave it out",
}
"""Settings that SDK targets often have and that would be ignored here, with what to do instead."""


class OnInvalidRecord(enum.Enum):
    """What to do with a record that is invalid, or that Sprinto refuses."""

    FAIL = "fail"
    DIVERT = "divert"


class OnDeletedRecord(enum.Enum):
    """What to do with a record that is marked as deleted, unless its stream map reads the mark."""

    FAIL = "fail"
    SKIP = "skip"
    SEND = "send"


_WEEK = 7 * 24 * 3600
"""The longest of any wait, in seconds: what is longer is a mistake."""

_MAX_CONFIG_BYTES = 5_000_000

SCHEMA: dict[str, Any] = th.PropertiesList(
    th.Property(
        "api_key",
        th.StringType,
        secret=True,
        title="API key",
        description="Sprinto integration API key. Required, unless `api_key_file` is set.",
    ),
    th.Property(
        "api_key_file",
        th.StringType,
        title="API key file",
        description=(
            "File that holds the API key, instead of `api_key`: a mounted secret, say. One newline at its end"
            " is cut."
        ),
    ),
    th.Property(
        "integration_id",
        th.StringType,
        required=True,
        title="Integration ID",
        description="Sprinto-issued integration identifier.",
    ),
    th.Property(
        "region",
        th.StringType,
        default="us",
        allowed_values=list(endpoint.REGIONS),
        title="Region",
        description="Which Sprinto host to talk to.",
    ),
    th.Property(
        "api_url",
        th.StringType,
        title="API URL",
        description=(
            "Base URL instead of the region's, up to and including `/api/external/push`."
            " Plain http only to this machine."
        ),
    ),
    th.Property(
        "entity_types",
        th.ObjectType(additional_properties=th.StringType(nullable=False)),
        default={},
        title="Entity types",
        description=(
            "Stream to entity type. A name may be a pattern, as in `stream_maps`: a stream's own name wins"
            " over patterns, and of several patterns the last one wins."
        ),
        examples=[{"employees": "User"}],
    ),
    th.Property(
        "entity_schemas",
        th.CustomType({"type": ["string", "object", "null"]}),
        title="Entity schemas",
        description=(
            "What Sprinto's entity types look like: an object, or a file that holds one. Mapped records are"
            " checked against it before they are sent. `bundled:User` is the `User` that Sprinto documents."
        ),
        examples=[{"User": {"key": ["employeeId"], "schema": {"required": ["employeeId"]}}}],
    ),
    th.Property(
        "unmapped_streams",
        th.StringType,
        default=Unmapped.FAIL.value,
        allowed_values=[choice.value for choice in Unmapped],
        title="Unmapped streams",
        description=(
            "What happens to streams that `entity_types` does not name: the run fails, or they keep their"
            " names, or they are not sent."
        ),
    ),
    th.Property(
        "client_reference_prefix",
        th.StringType,
        default="target-sprinto",
        title="Client reference prefix",
        description="First part of the session's `client_reference_id`; `/` and the run's uuid follow.",
    ),
    th.Property(
        "page_size",
        th.IntegerType(minimum=1, maximum=MAX_ITEMS),
        default=MAX_ITEMS,
        title="Page size",
        description="Most items in a page, 1 to 100.",
    ),
    th.Property(
        "max_parallel_pages",
        th.IntegerType(minimum=1, maximum=16),
        default=1,
        title="Pages in flight",
        description=(
            "How many pages may be in flight at once, 1 to 16. Above 1 the order of the input is kept for"
            " each entity key only."
        ),
    ),
    th.Property(
        "compress",
        th.BooleanType,
        default=True,
        title="Compress",
        description="Whether request bodies are sent gzip-compressed.",
    ),
    th.Property(
        "on_invalid_record",
        th.StringType,
        default=OnInvalidRecord.FAIL.value,
        allowed_values=[choice.value for choice in OnInvalidRecord],
        title="On invalid record",
        description=(
            "What to do with a record that is invalid, or that Sprinto refuses: discard the run, or divert"
            " the record to a rejects file and go on."
        ),
    ),
    th.Property(
        "on_deleted_record",
        th.StringType,
        default=OnDeletedRecord.FAIL.value,
        allowed_values=[choice.value for choice in OnDeletedRecord],
        title="On deleted record",
        description=(
            "What to do with a record marked as deleted (`_sdc_deleted_at`) whose stream map does not read"
            " that mark: discard the run, skip the record, or send it."
        ),
    ),
    th.Property(
        "rejects_dir",
        th.StringType,
        default="rejects",
        title="Rejects folder",
        description=(
            "Each run that diverts writes `<run uuid>.singer` here, which this target can load again. What"
            " Sprinto said of a rejected page or of a dry run is in `<run uuid>.response.json`."
        ),
    ),
    th.Property(
        "max_rejects",
        th.IntegerType(minimum=0),
        default=100,
        title="Most rejects",
        description="More rejected records than this fail the run.",
    ),
    th.Property(
        "dry_run",
        th.BooleanType,
        default=False,
        title="Dry run",
        description="Stage every page at Sprinto, report what it says, then discard.",
    ),
    th.Property(
        "finish",
        th.StringType,
        default=Finish.APPLY.value,
        allowed_values=[Finish.APPLY.value, Finish.HOLD.value],
        title="Finish",
        description=(
            "At the end of input: apply, or leave the session staged for `sprintoctl apply` or `discard`"
            " (needs `report_path`, which keeps the STATE)."
        ),
    ),
    th.Property(
        "report_path",
        th.StringType,
        title="Report path",
        description=(
            "Where to write the run's receipt: a file that ends in `.json`, or a folder. `{run}` in it stands"
            " for the run's uuid; if the file exists, the uuid is put before its suffix."
        ),
    ),
    th.Property(
        "receipt_key_file",
        th.StringType,
        title="Receipt key file",
        description=(
            "Ed25519 private key (PEM) that signs receipts, as `sprintoctl keygen` makes it. Needs the extra"
            " `sign`."
        ),
    ),
    th.Property(
        "require_final_state",
        th.BooleanType,
        default=True,
        title="Require a final STATE",
        description=(
            "The last STATE must cover the records on stdin; otherwise the tap was stopped or crashed,"
            " and the run is discarded."
        ),
    ),
    th.Property(
        "input_timeout_seconds",
        th.NumberType(minimum=0, maximum=_WEEK),
        default=0,
        title="Input timeout",
        description=(
            "End the run if the tap sends nothing on stdin for so many seconds, as if it had crashed."
            " 0: never."
        ),
    ),
    th.Property(
        "expect",
        th.ObjectType(
            additional_properties=th.ObjectType(
                th.Property("min_records", th.IntegerType(minimum=0), required=True),
                additional_properties=False,
                nullable=False,
            )
        ),
        default={},
        title="Expect",
        description="Least records per entity type, else the run is discarded.",
        examples=[{"User": {"min_records": 1}}],
    ),
    th.Property(
        "on_active_session",
        th.StringType,
        default=OnActiveSession.FAIL.value,
        allowed_values=[choice.value for choice in OnActiveSession],
        title="On active session",
        description=(
            "What to do when another session is active: fail, wait for it, or discard it if an earlier run of"
            " this pipeline left it."
        ),
    ),
    th.Property(
        "wait_timeout_seconds",
        th.NumberType(minimum=0, maximum=_WEEK),
        default=3900,
        title="Wait timeout",
        description="Seconds that `on_active_session: wait` waits.",
    ),
    th.Property(
        "stale_session_seconds",
        th.NumberType(minimum=0, maximum=_WEEK),
        default=600,
        title="Stale session",
        description="Seconds without activity before `on_active_session: discard` may take a session over.",
    ),
    th.Property(
        "on_count_mismatch",
        th.StringType,
        default=OnCountMismatch.DISCARD.value,
        allowed_values=[choice.value for choice in OnCountMismatch],
        title="On count mismatch",
        description=(
            "What to do when Sprinto's counts differ from what was sent: discard the run, or warn and apply"
            " it all the same."
        ),
    ),
    th.Property(
        "processing_timeout_seconds",
        th.NumberType(exclusive_minimum=0, maximum=_WEEK),
        default=900,
        title="Processing timeout",
        description="Seconds to wait for the session to be processed.",
    ),
    th.Property(
        "retry_timeout_seconds",
        th.NumberType(minimum=0, maximum=_WEEK),
        default=300,
        title="Retry timeout",
        description="Seconds that one request may be retried.",
    ),
    th.Property(
        "request_timeout_seconds",
        th.NumberType(exclusive_minimum=0, maximum=_WEEK),
        default=60,
        title="Request timeout",
        description="Seconds that one request may take.",
    ),
).to_dict()


DEFAULTS: dict[str, Any] = {
    name: setting["default"] for name, setting in SCHEMA["properties"].items() if "default" in setting
}


@dataclass(frozen=True)
class Settings:
    """The settings as the rest of the target uses them."""

    api_key: str
    integration_id: str
    region: str | None
    """None where `api_url` stands in its place."""
    base_url: str
    entity_types: EntityTypes
    entity_schemas: Mapping[str, EntitySchema]
    client_reference_prefix: str
    page_size: int
    max_parallel_pages: int
    compress: bool
    require_final_state: bool
    input_timeout_seconds: float
    expected: dict[str, int]
    on_deleted_record: OnDeletedRecord
    rejects_dir: Path
    diverts: bool
    """Whether rejected records go to a file in `rejects_dir`."""
    max_rejects: int
    dry_run: bool
    finish: Finish
    report_path: Path | None
    receipt_key_file: Path | None
    patiences: Patiences
    on_conflict: ConflictPolicy
    on_count_mismatch: OnCountMismatch
    fingerprint: str
    """SHA-256 of all settings but the API key."""

    def __repr__(self) -> str:
        """Without the API key, wherever it may be printed."""
        return f"Settings(integration_id={self.integration_id!r}, base_url={self.base_url!r})"

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """The typed view of a config that the schema accepts.

        Raises SettingsError for what no schema can see: a plain-http host, a key that fits no header, …
        """
        config = DEFAULTS | with_api_key(config)
        # What a file holds is part of the settings.
        config["entity_schemas"] = entity_schemas.read(config.get("entity_schemas") or {})
        problems = list(_problems(config))
        if problems:
            raise SettingsError(problems)
        return cls(
            api_key=config["api_key"],
            integration_id=config["integration_id"],
            region=None if config.get("api_url") else config["region"],
            base_url=endpoint.base_url(config["region"], config.get("api_url")),
            entity_types=EntityTypes(config["entity_types"], Unmapped(config["unmapped_streams"])),
            entity_schemas={
                name: EntitySchema(name, rules) for name, rules in config["entity_schemas"].items()
            },
            client_reference_prefix=config["client_reference_prefix"],
            page_size=config["page_size"],
            max_parallel_pages=config["max_parallel_pages"],
            compress=config["compress"],
            require_final_state=config["require_final_state"],
            input_timeout_seconds=float(config["input_timeout_seconds"]),
            expected={name: least["min_records"] for name, least in config["expect"].items()},
            on_deleted_record=OnDeletedRecord(config["on_deleted_record"]),
            rejects_dir=Path(config["rejects_dir"]),
            diverts=_diverts(config),
            max_rejects=config["max_rejects"],
            dry_run=config["dry_run"],
            finish=Finish.DISCARD if config["dry_run"] else Finish(config["finish"]),
            report_path=Path(config["report_path"]) if config.get("report_path") else None,
            receipt_key_file=Path(config["receipt_key_file"]) if config.get("receipt_key_file") else None,
            patiences=Patiences(
                request_seconds=float(config["request_timeout_seconds"]),
                retry_seconds=float(config["retry_timeout_seconds"]),
                processing_seconds=float(config["processing_timeout_seconds"]),
            ),
            on_conflict=ConflictPolicy(
                choice=OnActiveSession(config["on_active_session"]),
                wait_seconds=float(config["wait_timeout_seconds"]),
                stale_seconds=float(config["stale_session_seconds"]),
                own_prefix=config["client_reference_prefix"],
            ),
            on_count_mismatch=OnCountMismatch(config["on_count_mismatch"]),
            fingerprint=_fingerprint(config),
        )


def _fingerprint(config: Mapping[str, Any]) -> str:
    told = {name: value for name, value in config.items() if name not in _KEYS and value is not None}
    return hashlib.sha256(_canonical.encode(told)).hexdigest()


_KEYS = {"api_key", "receipt_key_file"}

_canonical = msgspec.json.Encoder(order="sorted", decimal_format="number")


def _diverts(config: Mapping[str, Any]) -> bool:
    # A dry run tells of what would be refused and keeps nothing.
    return config["on_invalid_record"] == OnInvalidRecord.DIVERT.value and not config["dry_run"]


def read_config_file(path: str, number: int) -> dict[str, Any]:
    """One config file's settings. Raises SettingsError; `number` tells which one it is, from 1.

    What is no path (settings given inline, say) is not repeated: it may hold the API key.
    """
    shown = f"no. {number}" if set(path) & set('{}":\n') else repr(path)
    try:
        with Path(path).open("rb") as file:
            text = file.read(_MAX_CONFIG_BYTES + 1)
        if len(text) > _MAX_CONFIG_BYTES:
            raise SettingsError([f"config file {shown} has more than {_MAX_CONFIG_BYTES:,} bytes"])
        content = json.loads(text.decode("utf-8-sig"), parse_float=Decimal, parse_constant=_refuse_constant)
    except OSError as problem:
        raise SettingsError([f"config file {shown}: {problem.strerror}"]) from None
    except (ValueError, RecursionError, ArithmeticError):
        raise SettingsError([f"config file {shown} is no JSON in UTF-8"]) from None
    if not isinstance(content, dict):
        raise SettingsError([f"config file {shown} holds no JSON object"])
    if content.get("api_key"):
        warn_if_exposed(path)
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def without_bare_types(schema: Any) -> Any:  # noqa: ANN401 - any part of a JSON Schema
    """The schema without what is none among its alternatives: the SDK puts the bare word "null" there."""
    if isinstance(schema, list):
        return [without_bare_types(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    whole = {name: without_bare_types(part) for name, part in schema.items()}
    if "anyOf" in whole:
        whole["anyOf"] = [part for part in whole["anyOf"] if isinstance(part, dict)]
    return whole


def stream_map_problems(value: object, name: str = "stream_maps") -> Iterable[str]:
    """What is wrong with stream maps that their own schema, which is the SDK's, does not say.

    Meltano turns a null into an empty object, which means "change nothing": what was to be left out would go.
    """
    if not isinstance(value, dict):
        return
    for part, rule in value.items():
        named = f"{name}.{part}"
        if rule == "?":
            yield f'`{named}` is still "?": say where the field comes from, or remove it'
        elif rule == {}:
            yield f"`{named}` is an empty object, which Meltano makes of null: write `__NULL__`"
        elif part == "__else__" and rule not in (None, "__NULL__"):
            yield f"`{named}` must be null or `__NULL__`"
        else:
            yield from stream_map_problems(rule, named)


def require_log_level(environ: Mapping[str, str]) -> None:
    """Raise SettingsError where the variable that says which lines to show names no level of them."""
    variable = "TARGET_SPRINTO_LOGLEVEL" if environ.get("TARGET_SPRINTO_LOGLEVEL") else "LOGLEVEL"
    level = environ.get(variable, "").upper()
    if level and not isinstance(logging.getLevelName(level), int):
        raise SettingsError(
            [f"the environment variable {variable} is none of DEBUG, INFO, WARNING, ERROR, CRITICAL"]
        )


def misspelt(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Names that are not known, but within one edit of a setting: each with that setting.

    `pageSize` and `page-size` are spellings of `page_size`. What is further away may be meant for another
    program: Meltano gives an inherited loader `target-sprinto-hr` variables TARGET_SPRINTO_HR_….
    """
    return {
        name: setting for name in names for setting in known if within_one_edit(_as_setting(name), setting)
    }


def _as_setting(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").lower()


def problems_of(config: Mapping[str, Any], validator: SchemaValidator) -> list[str]:
    """What is wrong with a config by the settings' schema, each in a sentence without a value."""
    problems = list(stream_map_problems(config.get("stream_maps")))
    # Their schema is all alternatives, so what it finds names no more than the stream.
    checked = {**config, "stream_maps": None} if problems else config
    if all(config.get(name) is None for name in ("api_key", "api_key_file")):
        problems.append("`api_key` is missing")
    return problems + describe_schema_errors(validator.iter_errors(checked))


def describe_schema_errors(errors: Iterable[ValidationError]) -> list[str]:
    """What the settings' schema finds wrong, by name and rule: jsonschema's own texts quote values."""
    return sorted({_describe_schema_error(error) for error in errors})


def _describe_schema_error(error: ValidationError) -> str:
    name = ".".join(str(part) for part in error.absolute_path)
    rule, wanted = error.validator, cast("Any", error.validator_value)
    if rule == "required":
        # The message names the missing key, and nothing else.
        return f"`{error.message.split(chr(39))[1]}` is missing"
    if rule == "enum":
        return f"`{name}` must be one of {', '.join(map(str, wanted))}"
    if rule == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return f"`{name}` must be {' or '.join(kind for kind in kinds if kind != 'null')}"
    rules = {
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMinimum": "more than",
        "exclusiveMaximum": "less than",
    }
    if rule in rules:
        return f"`{name}` must be {rules[rule]} {wanted}"
    return f"`{name}` is not as `--about` describes it"


def _problems(config: Mapping[str, Any]) -> Iterable[str]:
    for name in ("api_key", "integration_id", "client_reference_prefix"):
        yield from endpoint.text_problems(name, config.get(name))
    yield from endpoint.key_problems(config.get("api_key", ""))
    if config.get("api_url"):
        yield from endpoint.url_problems(config["api_url"])
    yield from _ending_problems(config)
    yield from _path_problems(config)
    for name, instead in NOT_FOR_SPRINTO.items():
        if config.get(name) is not None:
            yield f"`{name}` is not supported: {instead}"
    for stream, entity_type in config["entity_types"].items():
        if not entity_type.strip():
            yield f"`entity_types` names no entity type for stream {stream!r}"
        known = config["entity_schemas"]
        if entity_type not in known and (meant := similar_type(entity_type, known)):
            yield f"`entity_types` names {entity_type!r}, and `entity_schemas` describes {meant!r}"
        if len(entity_type) > LONGEST_ENTITY_TYPE:
            yield f"`entity_types` has a name over {LONGEST_ENTITY_TYPE} characters for stream {stream!r}"


def _path_problems(config: Mapping[str, Any]) -> Iterable[str]:
    for name in ("rejects_dir", "report_path"):
        path = config.get(name) or ""
        try:
            usable = b"\0" not in os.fsencode(path)
        except UnicodeEncodeError:
            usable = False
        if not usable:
            yield f"`{name}` holds a character that no path can have"


def _ending_problems(config: Mapping[str, Any]) -> Iterable[str]:
    path = config.get("report_path")
    if path is not None and not path.strip():
        yield "`report_path` is empty"
    if path and path.lower().endswith((".html", ".htm")):
        yield (
            "`report_path` must end in .json or be a folder: `sprintoctl receipt FILE --html` makes the page"
        )
    if config.get("receipt_key_file") is not None and not path:
        yield "`receipt_key_file` needs `report_path`: without it there is no receipt to sign"
    if config["finish"] != Finish.HOLD.value:
        return
    if config["dry_run"]:
        yield "`finish: hold` and `dry_run` exclude each other: one keeps the session, the other discards it"
    if not path:
        yield "`finish: hold` needs `report_path`: the receipt keeps the STATE"
