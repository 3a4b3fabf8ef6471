"""Checks a config against the settings' schema, and for problems that no schema can find. Quotes no value."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import msgspec

from target_sprinto.errors import SettingsError
from target_sprinto.push import endpoint
from target_sprinto.push.protocol.lifecycle import Finish
from target_sprinto.push.text import LONGEST_NAME, short
from target_sprinto.similar_names import within_one_edit
from target_sprinto.singer.input.messages import is_finite
from target_sprinto.singer.mapping.map_rules import MAP_OPTIONS, REMOVED

if TYPE_CHECKING:  # The SDK's dependency, not ours.
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

NOT_FOR_SPRINTO = {
    "add_record_metadata": "Sprinto's entity types have no place for `_sdc` fields; leave it out",
    "batch_config": "this target writes no batch files; leave it out",
    "batch_size_rows": "use `page_size`, at most 100",
    "default_target_schema": "Sprinto has no database schemas; leave it out",
    "faker_config": "made-up values are not evidence; leave it out",
    "hard_delete": "Sprinto's documentation describes no deletion; leave it out",
    "load_method": "Sprinto decides what applying does to older records; leave it out",
    "process_activate_version_messages": "ACTIVATE_VERSION changes nothing at Sprinto; leave it out",
}
"""Settings that SDK targets often have and that would be ignored here, with what to do instead."""

_SIMILAR = 0.8
"""Minimum similarity of a name to the option that it probably means (difflib)."""

_TEXTS = ("__alias__", "__source__")

_BOUNDS = {
    "minimum": "be at least {}",
    "maximum": "be at most {}",
    "exclusiveMinimum": "be more than {}",
    "exclusiveMaximum": "be less than {}",
    "maxLength": "have at most {} characters",
}


def without_bare_types(schema: Any) -> Any:  # noqa: ANN401 - any part of a JSON Schema
    """The schema without alternatives that are not schemas: the SDK adds the bare word "null"."""
    if isinstance(schema, list):
        return [without_bare_types(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    whole = {name: without_bare_types(part) for name, part in schema.items()}
    if "anyOf" in whole:
        whole["anyOf"] = [part for part in whole["anyOf"] if isinstance(part, dict)]
    return whole


def stream_map_problems(value: object) -> Iterable[str]:
    """Problems of stream maps, with their paths: by the SDK's schema, an error names only the stream.

    Meltano turns null into an empty object, which means "change nothing": a field to drop would be sent.
    """
    for stream, entry in value.items() if isinstance(value, dict) else ():
        name = f"stream_maps.{stream}"
        if stream.startswith("__") and stream != "__else__":
            yield f"unknown `{name}` (the only option here is `__else__`)"
        elif isinstance(entry, dict) and entry and stream != "__else__":
            if {"__alias__", "__source__"} <= entry.keys():
                # The SDK would send the alias as a field.
                yield f"`{name}` has `__source__`, so its own name is the alias: remove `__alias__`"
            for part, rule in entry.items():
                yield from _rule_problems(f"{name}.{part}", part, rule)
        else:
            yield from _rule_problems(name, stream if stream == "__else__" else None, entry)


def _meant_option(part: str, rule: object) -> str:
    """The suggestion for a name that looks like an option but is not one; empty for any other.

    A rule that removes `__index_level_0__`, which pandas adds, is checked against the stream's SCHEMA.
    """
    if part in MAP_OPTIONS:
        return ""
    if part.startswith("__") and (near := get_close_matches(part, MAP_OPTIONS, 1, _SIMILAR)):
        return f"did you mean `{near[0]}`?"
    is_field = rule in REMOVED or not re.fullmatch("__.+__", part)
    return "" if is_field else f"the options are {', '.join(sorted(MAP_OPTIONS))}"


def _rule_problems(name: str, part: str | None, rule: object) -> Iterable[str]:
    """`part` is the field or option; None for a stream's whole entry."""
    if rule == "?":
        yield f'`{name}` is still "?": write where the field comes from, or remove it'
    elif rule == {}:
        meant = (
            "`__NULL__` leaves the stream out; to send it unchanged, remove the entry,"
            " and set `unmapped_streams: ignore` instead of `__else__`"
            if part is None
            else "write `__NULL__`"
        )
        yield f"`{short(name, 80)}` is an empty object, which Meltano makes of null: {meant}"
    elif part and (meant := _meant_option(part, rule)):
        yield f"unknown `{name}` ({meant})"
    elif (rule is None and part not in _TEXTS) or (rule == "__NULL__" and part != "__key_properties__"):
        return
    elif part == "__else__":
        yield f"`{name}` must be null or `__NULL__`"
    elif part == "__key_properties__":
        if not isinstance(rule, list) or not all(isinstance(key, str) for key in rule):
            yield f'`{name}` must be a list of fields, such as ["id"]'
    elif part is None:
        yield f"`{name}` must be an object of fields, or null; its entity type is set in `entity_types`"
    elif not isinstance(rule, str):
        yield (
            f"`{name}` must be text"
            if part in MAP_OPTIONS
            else f'`{name}` must be an expression in quotes, or null; a constant is "1", "True" or "\'x\'"'
        )


def require_log_level() -> None:
    """Raise SettingsError if the variable for the log level does not name one."""
    variable = "TARGET_SPRINTO_LOGLEVEL" if os.environ.get("TARGET_SPRINTO_LOGLEVEL") else "LOGLEVEL"
    level = os.environ.get(variable, "").upper()
    if level and not isinstance(logging.getLevelName(level), int):
        raise SettingsError(
            f"the environment variable {variable} must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL",
            hint="Correct it, or unset it.",
        )


def misspelt_settings(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """A sentence for each of these names that is within one edit of a setting."""
    near = misspelt(names, known)
    return [f"unknown setting `{name}` (did you mean `{meant}`?)" for name, meant in near.items()]


def misspelt(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Unknown names that are within one edit of a setting, each with that setting.

    `pageSize` and `page-size` are spellings of `page_size`. A name that is further away may be for another
    program: Meltano gives an inherited loader `target-sprinto-hr` variables TARGET_SPRINTO_HR_….
    """
    return {
        name: setting for name in names for setting in known if within_one_edit(_as_setting(name), setting)
    }


def _as_setting(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").lower()


def schema_problems(config: Mapping[str, Any], validator: Validator) -> list[str]:
    """Violations of the settings' schema, by name and rule: jsonschema's messages quote values."""
    problems = list(stream_map_problems(config.get("stream_maps")))
    # Their schema consists of alternatives, so its errors name only the stream.
    checked = {**config, "stream_maps": None} if problems else config
    if all(config.get(name) is None for name in ("api_key", "api_key_file")):
        problems.append("`api_key` is missing")
    # NaN is within any bounds.
    for name, value in config.items():
        try:
            if not is_finite({str.__str__(name): value}):
                problems.append(f"`{name}` holds NaN or Infinity")
        except TypeError:
            return [*problems, f"`{name}` is not JSON: use text, also for names and paths"]
    return problems + sorted({_described(error) for error in validator.iter_errors(checked)})


def _described(error: ValidationError) -> str:
    name = ".".join(str(part) for part in error.absolute_path)
    rule, wanted = error.validator, cast("Any", error.validator_value)
    if rule == "required":
        # The message quotes the missing key, and nothing else.
        _, missing, *_ = error.message.split("'")
        return f"`{missing}` is missing"
    if rule == "enum":
        return f"`{name}` must be one of {', '.join(map(str, wanted))}"
    if rule == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return f"`{name}` must be {' or '.join(kind for kind in kinds if kind != 'null')}"
    if rule == "additionalProperties":
        given, known = cast("Any", error.instance), cast("Any", error.schema)["properties"]
        unknown = next(part for part in given if part not in known)
        near = misspelt([unknown], known).get(unknown)
        return f"unknown `{name}.{unknown}` ({f'did you mean `{near}`?' if near else ', '.join(known)})"
    if bound := _BOUNDS.get(str(rule)):
        return f"`{name}` must {bound.format(wanted)}"
    return f"`{name}` does not fit its description in `--about`"


def problems_of(config: Mapping[str, Any]) -> Iterable[str]:
    """Problems that no schema can find: a plain-http host, a key that fits no header, settings that clash."""
    for name in ("api_key", "integration_id", "client_reference_prefix"):
        yield from endpoint.text_problems(name, config.get(name))
    if config.get("api_url"):
        yield from endpoint.url_problems(config["api_url"])
    yield from _ending_problems(config)
    yield from _expect_problems(config)
    yield from _character_problems(config)
    for name, instead in NOT_FOR_SPRINTO.items():
        if config.get(name) is not None:
            yield f"`{name}` is not supported: {instead}"
    for stream, entity_type in config["entity_types"].items():
        if not entity_type.strip():
            yield f"`entity_types` names no entity type for stream {stream!r}"
        known = config["entity_schemas"]
        near = (one for one in known if within_one_edit(one.lower(), entity_type.lower()))
        if entity_type not in known and (meant := next(near, None)):
            yield f"`entity_types` names {entity_type!r}, and `entity_schemas` describes {meant!r}"
        if len(entity_type) > LONGEST_NAME:
            yield f"`entity_types` has a name over {LONGEST_NAME} characters for stream {stream!r}"


def _character_problems(config: Mapping[str, Any]) -> Iterable[str]:
    for name in ("rejects_dir", "report_path"):
        if "\0" in (config.get(name) or ""):
            yield f"`{name}` has a character that is invalid in a path"
    for name, value in config.items():
        try:
            msgspec.json.encode(value)
        except UnicodeEncodeError:
            # A variable may hold any bytes, and JSON a lone surrogate.
            yield f"`{name}` is not UTF-8"


def _ending_problems(config: Mapping[str, Any]) -> Iterable[str]:
    path = config.get("report_path")
    if path is not None and not path.strip():
        yield "`report_path` is empty"
    if path and path.lower().endswith((".html", ".htm")):
        yield "`report_path` must end in .json or be a folder: `sprintoctl receipt FILE --html` writes HTML"
    if config.get("receipt_key_file") is not None and not path:
        yield "`receipt_key_file` needs `report_path`: without it there is no receipt to sign"
    if config["finish"] != Finish.HOLD.value:
        return
    if config["dry_run"]:
        yield "`finish: hold` and `dry_run` cannot be combined: one keeps the session, the other discards it"
    if not path:
        yield "`finish: hold` needs `report_path`: the receipt keeps the STATE"


def _expect_problems(config: Mapping[str, Any]) -> Iterable[str]:
    for name, wanted in config["expect"].items():
        if not name.strip() or len(name) > LONGEST_NAME:
            yield f"`expect` names an entity type that is empty or has over {LONGEST_NAME} characters"
        elif not wanted:
            yield f"`expect.{name}` is empty: set `min_records`, for example"
        elif wanted.get("min_records", 0) > wanted.get("max_records", math.inf):
            yield f"`expect.{name}.min_records` is more than its `max_records`"
        elif len(set(fields := wanted.get("unique", []))) < len(fields):
            yield f"`expect.{name}.unique` names a field twice"
        elif wanted.get("max_shrink_percent") is not None and not config.get("report_path"):
            yield f"`expect.{name}.max_shrink_percent` needs `report_path`: it compares with the last receipt"
