"""The path of a stream's records: its SCHEMA, its stream maps, and their sinks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from msgspec.structs import replace
from singer_sdk.mapper import SameRecordTransform, StreamMap

from target_sprinto.errors import DeletedRecord, InvalidRecord
from target_sprinto.push.errors import RecordTooLarge, SprintoError
from target_sprinto.push.protocol.pages import too_large
from target_sprinto.push.text import quoted
from target_sprinto.singer.input.messages import (
    DELETED_AT,
    MAX_RECORD_BYTES,
    MAX_RECORD_VALUES,
    decode_object,
    diagnose_line,
    fields_of,
    has_more_values,
)
from target_sprinto.singer.intake import Intake
from target_sprinto.singer.mapping.map_rules import MapRule
from target_sprinto.singer.mapping.record_plan import RecordWriter, record_writer
from target_sprinto.singer.mapping.sdk_mapping import SdkMapping
from target_sprinto.singer.rejects.rejected_records import Source
from target_sprinto.singer.rejects.rejects_file import Original
from target_sprinto.singer.schemas.typed_decoder import typed_decoder
from target_sprinto.singer.settings.settings import OnDeletedRecord
from target_sprinto.singer.sink import SprintoSink


class Route:
    """One stream map of a stream, and the sink that its records go to. `fields` are the stream's.

    `reads_deletion`: whether the map reads the mark of a deleted record. `sends`: the fields of a mapped
    record. `keys`: those that identify its entity. `dropped`: the stream's fields that it does not use.
    """

    def __init__(
        self,
        stream_map: StreamMap,
        rule: MapRule,
        sink: SprintoSink,
        fields: Sequence[str],
    ) -> None:
        unchanged = isinstance(stream_map, SameRecordTransform) and not stream_map.flattening_enabled
        self.entity_type = sink.entity_type
        self.reads_deletion = rule.reads(DELETED_AT)
        self.rule = rule
        self.dropped = rule.dropped(fields)
        self.name = rule.name or ""
        self.sends = list(sink.original_schema["properties"])
        self._stream_map = stream_map
        self._map = None if unchanged else SdkMapping(stream_map, rule)
        self._sink = sink
        self._intake = sink.intake
        self.keys = tuple(sink.key_properties)
        self._fields = fields
        # The decoder checks for the mark in records that are sent unchanged, the writer in mapped ones.
        mark = DELETED_AT if unchanged else None
        self._writer = record_writer(stream_map, rule, fields)
        self._decoder = (
            typed_decoder(sink.original_schema, sink.key_properties, mark)
            if sink.entity is None and (unchanged or self._writer)
            else None
        )

    def deliver_planned(self, raw: bytes, source: Source) -> bool:
        """Send a record without decoding it in full; return False if that is not possible."""
        intake, decoder, body = self._intake, self._decoder, raw
        if self._writer is not None:
            if (written := self._writer.write(raw)) is None:
                return False
            if not written:
                intake.leave_out(source)
                return True
            body = written
        if decoder is not None and (read := decoder.read(body)) is not None:
            key = decoder.key(read) if intake.needs_keys and intake.has_key(self.entity_type) else None
            self._sink.add_valid(body.strip(), source, key)
            return True
        if self._writer is None:
            return False
        try:
            record = decode_object(body)
        except ValueError:
            return False
        self._sink.add(record, body, source)
        return True

    def reject_too_large(self, raw: bytes, source: Source) -> None:
        """Reject a record that is too large to decode."""
        problem = too_large(raw, source, self.entity_type)
        if len(raw) <= MAX_RECORD_BYTES:
            problem = RecordTooLarge(
                f"A record has more than {MAX_RECORD_VALUES:,} values ({source}, entity type"
                f" {quoted(self.entity_type)}).",
                "Leave large lists out at the tap.",
            )
        self.reject(problem, raw, source)

    def reject(self, problem: SprintoError, raw: bytes, source: Source) -> None:
        """Reject a record that cannot be decoded or mapped; with the mapped record's key if possible."""
        keyed, writer = None, self._key_writer
        if self._map is None:
            keyed = fields_of(raw, self.keys)
        elif writer is not None:
            keyed = writer.write(fields_of(raw, writer.reads))
        try:
            key = self._intake.key(self.entity_type, decode_object(keyed or b"{}"))
        except ValueError:
            key = None
        self._intake.reject(problem, source, self.entity_type, key)

    @cached_property
    def _key_writer(self) -> RecordWriter | None:
        """Writes only the key properties of the mapped records, as the map renames or computes them."""
        named = {name: self.rule.options[name] for name in self.keys if name in self.rule.options}
        only = MapRule(self.rule.name, self.rule.source, {**named, "__else__": None})
        return record_writer(self._stream_map, only, self._fields)

    def deliver(self, record: dict[str, Any], raw: bytes, source: Source) -> None:
        """Pass one record to the sink, mapped; what no map changes keeps its bytes.

        Its key is that of the mapped record, whether it is sent or rejected.
        """
        if self._map is None:
            self._sink.add(record, raw.strip(), source)
            return
        try:
            mapped = self._map.map(record, raw)
        except InvalidRecord as problem:
            self.reject(problem, raw, source)
            return
        if mapped is None:
            self._intake.leave_out(source)
        else:
            self._sink.process_record(mapped, {"source": source})


@dataclass(eq=False)
class Stream:
    """A stream of the tap under its latest SCHEMA, given as JSON; its records take all of its routes."""

    name: str
    schema: bytes
    key_properties: list[str] | None
    routes: Sequence[Route]
    intake: Intake

    def deliver(self, raw: bytes, batch_place: str = "") -> None:
        """Map, validate and pass on one record, given as JSON."""
        routes = self.routes
        source = self._source(raw, batch_place)
        # Checked before decoding, which takes many times the memory: no stream map can make it smaller first.
        # The first comparison spares nearly every record the call.
        if len(raw) > MAX_RECORD_VALUES and (
            len(raw) > MAX_RECORD_BYTES or has_more_values(raw, MAX_RECORD_VALUES)
        ):
            for route, own in self._each(routes, source):
                route.reject_too_large(raw, own)
            return
        if len(routes) == 1 and routes[0].deliver_planned(raw, source):
            return
        try:
            record = decode_object(raw)
        except ValueError:
            self._reject_undecodable(raw, source)
            return
        if record.get(DELETED_AT) is not None:
            routes = self._without_deleted(routes, source)
        for route, own in self._each(routes, source):
            route.deliver(record, raw, own)

    def reject_line(self, line: bytes, raw: bytes, problem: InvalidRecord) -> None:
        """Reject a RECORD message with NaN or Infinity; `raw` is its record without these."""
        self._reject(problem, raw, self._source(raw, message=line))

    def _reject_undecodable(self, raw: bytes, source: Source) -> None:
        problem = diagnose_line(raw) or InvalidRecord(
            "a record is not an object, is nested too deeply, or has a number that cannot be held exactly.",
            "Fix it at its source.",
        )
        if not isinstance(problem, InvalidRecord):
            raise problem from None
        self._reject(problem, raw, source)

    def _reject(self, problem: InvalidRecord, raw: bytes, source: Source) -> None:
        problem.advise(problem.hint, f" The stream is {quoted(self.name)}.")
        for route, own in self._each(self.routes, source):
            route.reject(problem, raw, own)

    def _each(self, routes: Sequence[Route], source: Source) -> Iterator[tuple[Route, Source]]:
        for route in routes:
            yield route, (replace(source, map=route.name) if len(self.routes) > 1 else source)

    def _without_deleted(self, routes: Sequence[Route], source: Source) -> Sequence[Route]:
        """The routes for a record that is marked as deleted; counts it if any are left out.

        Raises DeletedRecord if a map does not read the mark, and the user has not decided.
        """
        reading = [route for route in routes if route.reads_deletion]
        choice = self.intake.settings.on_deleted_record
        if len(reading) == len(routes) or choice is OnDeletedRecord.SEND:
            return routes
        if choice is OnDeletedRecord.FAIL:
            raise DeletedRecord(self.name)
        self.intake.counts.skipped[self.name] += 1
        for route, own in self._each(routes, source):
            self.intake.left_out[own.stream, own.map] += not route.reads_deletion
        return reading

    def _source(self, raw: bytes, batch_place: str = "", message: bytes = b"") -> Source:
        """Count a record. `message` is its whole line, if that has to be kept."""
        intake = self.intake
        intake.records += 1
        intake.counts.records[self.name] += 1
        intake.final_state.add_record(self.name, raw)
        if intake.rejects is None:
            return Source(self.name, intake.reader.line, batch_place)
        original = None
        if intake.rejects.keeps_originals:
            original = Original((message or raw).strip(), self.schema, self.key_properties, bool(message))
        return Source(self.name, intake.reader.line, batch_place, intake.records, original)
