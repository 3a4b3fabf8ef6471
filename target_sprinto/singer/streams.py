"""Turns SCHEMA messages into streams: registers their stream maps, checks names, and creates sinks."""

from __future__ import annotations

import copy
import logging
from typing import Any, NoReturn, cast

from singer_sdk.exceptions import MappingError
from singer_sdk.mapper import CustomStreamMap, RemoveRecordTransform, StreamMap

from target_sprinto.errors import (
    InvalidSchema,
    MapFailed,
    MeltanoTestStream,
    RecordBeforeSchema,
    StreamMissing,
)
from target_sprinto.push.protocol.field_paths import FieldPaths
from target_sprinto.push.protocol.pages import MAX_BYTES
from target_sprinto.push.text import quoted
from target_sprinto.similar_names import nearest_first
from target_sprinto.singer.configured_target import ConfiguredTarget
from target_sprinto.singer.input.messages import decode_object
from target_sprinto.singer.mapping.map_check import (
    doubts,
    require_entity,
    require_known_names,
    require_map,
    require_working_comparisons,
)
from target_sprinto.singer.mapping.map_rules import MapRule, rules_of
from target_sprinto.singer.mapping.map_schema import mapped_schema
from target_sprinto.singer.mapping.named_streams import Arrivals
from target_sprinto.singer.record_routes import Route, Stream
from target_sprinto.singer.schemas import schema_limits
from target_sprinto.singer.schemas.entity_schemas import bundled_user
from target_sprinto.singer.sink import SprintoSink

log = logging.getLogger(__name__)

_MELTANO_TEST_STREAM = "meltano_test_stream"
_CHECK_MAPS = "Check `stream_maps` against the stream's schema."


class Streams(dict[str, Stream]):
    """The streams of a run, by name. `fields` collects the paths of all fields."""

    def __init__(self, target: ConfiguredTarget) -> None:
        self._target = target
        self._intake, self._types = target.intake, target.settings.stream_types
        self.fields = FieldPaths()
        # A response may name a required field that no stream has.
        described = {name: entity.schema for name, entity in target.settings.entity_schemas.items()}
        for name, schema in {"User": bundled_user()["schema"], **described}.items():
            self.fields.add(name, "", schema)
        self.arrivals = Arrivals(self._types, target.stream_maps, target.settings.expect)
        self._doubted: set[tuple[str, str | None, str]] = set()
        self._memory: dict[str, int] = {}

    def __missing__(self, name: str) -> NoReturn:
        """Raises RecordBeforeSchema."""
        raise RecordBeforeSchema(
            f"a record of stream {quoted(name)} arrived before its SCHEMA.",
            "Pipe in the tap's complete output, from line 1; if the tap sends it like this, fix the tap.",
        )

    def register(self, name: str, schema: bytes, key_properties: list[str] | None) -> None:
        """Register a stream by its SCHEMA, given as JSON.

        Raises InvalidSchema, MapFailed, UnmappedStream, MeltanoTestStream.
        """
        known = self.get(name)
        if known is not None and (known.schema, known.key_properties) == (schema, key_properties):
            return
        self._require_small(name, schema)
        if name == _MELTANO_TEST_STREAM:
            raise MeltanoTestStream(
                f"stream {quoted(name)} comes from `meltano config test`, whose records are made up.",
                "Invented records are not evidence; use `meltano invoke target-sprinto:check`.",
            )
        try:
            routes = self._routes(name, _decoded(name, schema), key_properties)
        except RecursionError:
            raise InvalidSchema(
                f"the schema of stream {quoted(name)} is nested too deeply.", "Fix the tap."
            ) from None
        self[name] = Stream(name, schema, key_properties, routes, self._intake)

    def require_named(self, *, complete: bool) -> None:
        """Log names in the settings that may be misspelled; raise StreamMissing if that is certain.

        An input that is not `complete`, such as a rejects file, may lack streams that the tap sends.
        """
        try:
            self.arrivals.require_named()
        except StreamMissing as missing:
            if complete:
                raise
            log.warning("%s", missing)
        else:
            for doubt in self.arrivals.doubts():
                log.warning("%s", doubt)

    def fields_of(self, entity_type: str) -> set[str]:
        """The fields of the type's mapped records, as far as schemas name them."""
        routes = [route for stream in self.values() for route in stream.routes]
        return {field for route in routes if route.entity_type == entity_type for field in route.sends}

    def _require_small(self, name: str, schema: bytes) -> None:
        # Each stream map has a copy of the schema; one that keeps the other fields makes a schema of it too.
        # Its expressions are compiled for each stream.
        rules = rules_of(self._target.stream_maps, name)
        copies = sum(1 / 8 if rule.drops_others else 1 for rule in rules)
        texts = [text for rule in rules for text in rule.expressions.values()]
        maps = sum(len(text) for text in texts if not text.isidentifier())
        self._memory[name] = round(schema_limits.memory_of(schema) * max(1, copies))
        self._memory[name] += schema_limits.MAP_BYTES * maps
        hint = "Select fewer streams or fields in the tap's catalog."
        if len(schema) > MAX_BYTES:
            raise InvalidSchema(
                f"the schema of stream {quoted(name)} has {len(schema):,} bytes; the limit is {MAX_BYTES:,}.",
                hint,
            )
        if sum(self._memory.values()) > schema_limits.MAX_MEMORY:
            by_maps = (
                ' Or use fewer or shorter stream maps, with `"__else__": null`.' if maps or copies > 1 else ""
            )
            raise InvalidSchema(
                f"with stream {quoted(name)} the schemas and stream maps of this run take more than"
                f" {schema_limits.MAX_MEMORY // 1_000_000} MB of memory.",
                hint + by_maps,
            )

    def _routes(self, name: str, schema: dict[str, Any], key_properties: list[str] | None) -> list[Route]:
        # Copied, because the mapper changes it.
        fields = copy.deepcopy(schema["properties"])
        rules = rules_of(self._target.stream_maps, name)
        for rule in rules:
            if rule.name is not None:
                require_map(rule, name, list(fields), key_properties)
        try:
            self._target.mapper.register_raw_stream_schema(name, schema, key_properties)
        except MappingError as problem:
            # Its message names streams, properties and expressions: all from the settings and the schema.
            reason = str(problem).rstrip(".")
            raise MapFailed(
                f"the stream map does not fit stream {quoted(name)}: {reason}.", _CHECK_MAPS
            ) from None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as problem:
            reason = type(problem).__name__
            raise MapFailed(
                f"the stream map or flattening does not fit stream {quoted(name)} ({reason}).", _CHECK_MAPS
            ) from None
        maps = self._target.mapper.stream_maps[name]
        if not all(isinstance(stream_map.stream_alias, str) for stream_map in maps):
            raise MapFailed(
                f"the `__alias__` of stream {quoted(name)} is not text.",
                "It is an expression: put the name in inner quotes, as in \"'people'\".",
            )
        sent_as: dict[str, str | None] = {stream_map.stream_alias: None for stream_map in maps}
        routes = []
        for stream_map, rule in zip(maps, rules, strict=True):
            if route := self._route(name, fields, stream_map, rule):
                routes.append(route)
                sent_as[stream_map.stream_alias] = route.entity_type
        of_each = [set(route.dropped) for route in routes]
        dropped = set[str].intersection(*of_each) if of_each else set[str]()
        self._intake.counts.dropped[name] = sorted(dropped)
        for change in self.arrivals.add(name, fields, sent_as, dropped):
            log.info("%s", change)
        return routes

    def _route(
        self, tap_stream: str, fields: dict[str, Any], stream_map: StreamMap, rule: MapRule
    ) -> Route | None:
        """The route of one map's records; None if they are not sent."""
        stream = stream_map.stream_alias
        if isinstance(stream_map, RemoveRecordTransform):
            # A null entry in `stream_maps` under the stream's own name excludes it from a pattern.
            by_pattern = rule.name is None and self._types.named(stream) is not None
            if by_pattern or stream in self._types.names:
                log.warning(
                    "Stream %s is not sent: `entity_types` names it, and `stream_maps` leaves it out.",
                    quoted(stream),
                )
            return None
        entity_type = self._types.of(stream)
        if entity_type is None:
            log.info("Stream '%s' is not sent: `entity_types` does not name it.", stream)
            return None
        schema = stream_map.transformed_schema
        if isinstance(stream_map, CustomStreamMap):
            self._check_expressions(tap_stream, fields, stream_map, rule)
            if not stream_map.flattening_enabled:
                schema = mapped_schema(schema, rule, {**stream_map.raw_schema, "properties": fields})
        if "$schema" not in stream_map.raw_schema:
            # The mapper adds its own draft, which may not have the tap's keywords.
            schema = {keyword: value for keyword, value in schema.items() if keyword != "$schema"}
        keys = stream_map.transformed_key_properties
        sink = cast("SprintoSink", self._target.get_sink(stream, schema=schema, key_properties=keys))
        self.fields.add(entity_type, stream, schema)
        if sink.entity is not None:
            sent = list(schema["properties"])
            try:
                require_entity(sink.entity, tap_stream, rule, fields, sent, keys or ())
            except MapFailed as failure:
                if rule.name is None and (named := self._target.stream_maps.keys() - {"__else__"}):
                    nearest = nearest_first(tap_stream, named, limit=3)
                    failure.advise(f"No `stream_maps` entry is for this stream{nearest}: add or correct it.")
                raise
        return Route(stream_map, rule, sink, list(fields))

    def _check_expressions(
        self, tap_stream: str, fields: dict[str, Any], stream_map: CustomStreamMap, rule: MapRule
    ) -> None:
        """Raise MapFailed for what a rule reads or compares; warn once about what is probably wrong."""
        require_known_names(rule, tap_stream, fields, stream_map.functions)
        require_working_comparisons(rule, tap_stream, fields)
        for name, doubt in doubts(rule, tap_stream, fields):
            if (tap_stream, rule.name, name) not in self._doubted:
                self._doubted.add((tap_stream, rule.name, name))
                log.warning("Input line %d: %s", self._intake.reader.line, doubt)


def _decoded(name: str, schema: bytes) -> dict[str, Any]:
    try:
        decoded = decode_object(schema)
    except ValueError:
        raise InvalidSchema(
            f"the schema of stream {quoted(name)} is not an object, or is nested too deeply.", "Fix the tap."
        ) from None
    if not isinstance(decoded.get("properties"), dict):
        # The SDK's standard test of targets requires an error. tap-mongodb begins each stream this way.
        raise InvalidSchema(
            f"the schema of stream {quoted(name)} has no object `properties`.",
            "Fix the tap, or add it between tap and target; `{}` is enough.",
        )
    return decoded
