"""One way of a stream's records to Sprinto: its stream map, and the sink behind it."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.mapper import SameRecordTransform, StreamMap

from target_sprinto.errors import InvalidRecord, MapFailed, MissingKeyProperty
from target_sprinto.push.errors import RecordTooLarge
from target_sprinto.push.text import quoted
from target_sprinto.singer.intake import DELETED_AT
from target_sprinto.singer.map_failure import map_failed
from target_sprinto.singer.reader import decode_object
from target_sprinto.singer.typed_records import plain_records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_sprinto.singer.intake import Intake
    from target_sprinto.singer.map_rules import MapRule
    from target_sprinto.singer.rejects import Source
    from target_sprinto.singer.sink import SprintoSink

_ADVICE = "Check the expressions in `stream_maps`."

_encoder = msgspec.json.Encoder(decimal_format="number")


class Route:
    """Takes the records of one stream under one schema, and sends them as `entity_type`.

    `reads_deletion`: whether its stream map reads the mark of a deleted record.
    """

    def __init__(
        self,
        stream_map: StreamMap,
        rule: MapRule | None,
        sink: SprintoSink,
        entity_type: str,
        intake: Intake,
    ) -> None:
        unchanged = isinstance(stream_map, SameRecordTransform) and not stream_map.flattening_enabled
        self.entity_type = entity_type
        self.stream = sink.stream_name
        self.reads_deletion = rule is not None and rule.reads(DELETED_AT)
        self._rule = rule
        self._map = None if unchanged else stream_map
        self._sink = sink
        self._intake = intake
        self._entity = intake.entity_schemas.get(entity_type)
        self._key_properties = tuple(sink.key_properties)
        self._plain = (
            plain_records(sink.original_schema, self._key_properties, DELETED_AT)
            if unchanged and self._entity is None
            else None
        )
        intake.register(entity_type, self._key_properties)

    def deliver_plain(self, raw: bytes, source: Source) -> bool:
        """Send a record that no map changes and whose types can be checked while it is read, if it is one."""
        plain, intake = self._plain, self._intake
        if plain is None or (read := plain.read(raw)) is None or plain.is_marked(read):
            return False
        key = plain.key(read) if intake.needs_key(self.entity_type) else None
        self._sink.count()
        try:
            intake.run.add(self.entity_type, raw.strip(), source, key)
        except RecordTooLarge as problem:
            intake.reject(problem, source, self.entity_type, key)
        return True

    def deliver(self, record: dict[str, Any], raw: bytes, source: Source) -> None:
        """Map, check and send one record. One that no map changes goes out as the bytes it was.

        Its key is that of the mapped record, whether it is sent or rejected.
        """
        intake, key = self._intake, None
        body, sent, not_finite = raw.strip(), record, set[str]()
        try:
            if self._map is not None:
                if (mapped := _mapped(self._map, self._rule, record)) is None:
                    return
                # What is checked is what will be sent, down to its encoding.
                body, not_finite = mapped
                sent = decode_object(body)
            if not_finite.isdisjoint(self._key_properties):
                key = intake.key(self.entity_type, self._key_properties, sent)
            self._require_finite(not_finite)
            if self._entity is not None:
                self._entity.check(self.stream, sent, body)
            self._sink.check(sent, body)
            intake.run.add(self.entity_type, body, source, key)
        except (InvalidRecord, MissingKeyProperty, RecordTooLarge) as problem:
            intake.reject(problem, source, self.entity_type, key)

    def _require_finite(self, not_finite: set[str]) -> None:
        if not_finite:
            raise InvalidRecord(
                f"the stream map of stream {quoted(self.stream)} made a NaN or Infinity.",
                _ADVICE,
                field=min(not_finite),
            )


def _mapped(
    stream_map: StreamMap, rule: MapRule | None, record: Mapping[str, Any]
) -> tuple[bytes, set[str]] | None:
    """The record as the stream map makes it, as JSON bytes, and its fields that hold a NaN or Infinity.

    None if the map leaves the record out. Raises InvalidRecord or MapFailed.
    """
    name = f"the stream map of stream {quoted(stream_map.stream_alias)}"
    try:
        mapped = stream_map.transform(dict(record))
        not_finite = {field for field, value in (mapped or {}).items() if not _is_finite(value)}
    except RecursionError:
        raise InvalidRecord(f"{name} met a record that is nested too deeply.") from None
    except Exception as problem:  # noqa: BLE001 - an expression of the user's may raise anything
        raise map_failed(stream_map, rule, record, problem) from None
    if mapped is None:
        return None
    try:
        return _encoder.encode(mapped), not_finite
    except (TypeError, ValueError, UnicodeError):
        raise MapFailed(f"{name} made something that is no JSON.", _ADVICE) from None


def _is_finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def hush_mapper() -> None:
    """Keep the results of filters, which are values of records, out of the SDK mapper's log at DEBUG."""
    # A filter, not a level: a level is what a logging configuration sets again.
    logging.getLogger("singer_sdk.mapper").addFilter(_keep_quiet)


def _keep_quiet(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.INFO
