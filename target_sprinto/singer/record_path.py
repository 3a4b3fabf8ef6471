"""The path of a stream's records: its SCHEMA, its stream maps, and their sinks."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from singer_sdk.exceptions import MapExpressionError
from singer_sdk.mapper import CustomStreamMap, SameRecordTransform, StreamMap

from target_sprinto.errors import InvalidRecord, MapFailed
from target_sprinto.push.errors import RecordTooLarge
from target_sprinto.push.protocol.pages import too_large
from target_sprinto.push.text import quoted, shown
from target_sprinto.singer.input.messages import (
    DELETED_AT,
    MAX_RECORD_BYTES,
    MAX_RECORD_VALUES,
    decode_fields,
    decode_object,
    diagnose_line,
    has_more_values,
)
from target_sprinto.singer.intake import Intake
from target_sprinto.singer.mapping.map_compiler import map_of
from target_sprinto.singer.mapping.map_rules import MapRule, nodes_of
from target_sprinto.singer.mapping.record_plan import record_writer, typed_decoder
from target_sprinto.singer.rejects.rejected_records import Source
from target_sprinto.singer.rejects.rejects_file import Original
from target_sprinto.singer.sink import SprintoSink

_MISSING = {"NameNotDefined": "name", "AttributeDoesNotExist": "attr"}
"""Errors of simpleeval, which the SDK's mapper uses, and their attribute with the missing name."""

_OPTIONAL = (
    "A field that may be missing is read by `record.get('x')`; one that may be null by"
    " `x.upper() if x else None`."
)
_NULL = "Guard a value that may be null: `x.upper() if x else None`."
_TOO_LARGE = "Its result is too large for a stream map: compute it at the tap."
_HINTS = {
    "AttributeDoesNotExist": _OPTIONAL,
    "FeatureNotAvailable": (
        "Only a part of Python is available: no lambda, no `.format()`, no name that begins with `_`."
    ),
    "FunctionNotDefined": "There is no such function; text has methods, such as `x.upper()`.",
    "IterableTooLong": _TOO_LARGE,
    "KeyError": (
        "A field that may be missing is read by `record.get('x')`; `config` holds `stream_map_config`."
    ),
    "NameNotDefined": _OPTIONAL,
    "NumberTooHigh": _TOO_LARGE,
}
"""By the type of the error."""

_BY_TEXT = {
    "NoneType": _OPTIONAL,
    "'fake'": "Faker is not installed, and made-up values are not evidence: map a field, or leave it out.",
    "'encode'": "`md5` and `sha256` take text: `md5(str(x))`.",
    "JSON serializable": "`json.dumps` does not accept decimals: convert the number by `float(x)` first.",
}
"""By a part of the error's text."""


class Route:
    """One stream map of a stream, and the sink that its records go to. `fields` are the stream's.

    `reads_deletion`: whether the map reads the mark of a deleted record. `sends`: the fields of a mapped
    record. `keys`: those that identify its entity.
    """

    def __init__(
        self,
        stream_map: StreamMap,
        rule: MapRule | None,
        sink: SprintoSink,
        fields: Sequence[str],
    ) -> None:
        unchanged = isinstance(stream_map, SameRecordTransform) and not stream_map.flattening_enabled
        self.entity_type = sink.entity_type
        self.reads_deletion = rule is not None and rule.reads(DELETED_AT)
        self.rule = rule
        self.name = rule.name if rule else ""
        self.sends = list(sink.original_schema["properties"])
        self._map = None if unchanged else stream_map
        self._sink = sink
        self._intake = sink.intake
        self.keys = tuple(sink.key_properties)
        # The decoder checks for the mark in records that are sent unchanged, the writer in mapped ones.
        mark = DELETED_AT if unchanged else None
        self._writer = None if unchanged else record_writer(stream_map, rule, fields)
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

    def reject_undecoded(self, raw: bytes, source: Source) -> None:
        """Reject a record that is too large to decode; with its key, unless a map makes that."""
        problem, key = too_large(raw, source, self.entity_type), None
        if len(raw) <= MAX_RECORD_BYTES:
            problem = RecordTooLarge(
                f"A record has more than {MAX_RECORD_VALUES:,} values ({source}, entity type"
                f" {quoted(self.entity_type)}).",
                "Leave large lists out at the tap.",
            )
        if self._map is None:
            key = self._intake.key(self.entity_type, self.keys, decode_fields(raw, self.keys))
        self._intake.reject(problem, source, self.entity_type, key)

    def deliver(self, record: dict[str, Any], raw: bytes, source: Source) -> None:
        """Pass one record to the sink, mapped; one that no map changes keeps its bytes.

        Its key is that of the mapped record, whether it is sent or rejected.
        """
        if self._map is None:
            self._sink.add(record, raw.strip(), source)
            return
        try:
            mapped = _mapped(self._map, self.rule, record)
        except InvalidRecord as problem:
            self._intake.reject(problem, source, self.entity_type)
        else:
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
        # Before it is decoded, which takes many times the memory; so no stream map can make it smaller.
        # The first comparison spares nearly every record the call.
        if len(raw) > MAX_RECORD_VALUES and (
            len(raw) > MAX_RECORD_BYTES or has_more_values(raw, MAX_RECORD_VALUES)
        ):
            for route, own in self._each(routes, source):
                route.reject_undecoded(raw, own)
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

    def reject_line(self, line: bytes, problem: InvalidRecord) -> None:
        """Reject a RECORD message with a number that JSON cannot represent."""
        self._reject(problem, self._source(line, is_message=True))

    def _reject_undecodable(self, raw: bytes, source: Source) -> None:
        problem = diagnose_line(raw) or InvalidRecord(
            f"a record of stream {quoted(self.name)} is not an object, or has a number that cannot be held"
            " exactly.",
            "Fix it at its source.",
        )
        if not isinstance(problem, InvalidRecord):
            raise problem from None
        self._reject(problem, source)

    def _reject(self, problem: InvalidRecord, source: Source) -> None:
        for route, own in self._each(self.routes, source):
            self.intake.reject(problem, own, route.entity_type)

    def _each(self, routes: Sequence[Route], source: Source) -> Iterator[tuple[Route, Source]]:
        for route in routes:
            yield route, (replace(source, map=route.name) if len(self.routes) > 1 else source)

    def _without_deleted(self, routes: Sequence[Route], source: Source) -> Sequence[Route]:
        """The routes for a record that is marked as deleted. Raises DeletedRecord."""
        reading = [route for route in routes if route.reads_deletion]
        if len(reading) == len(routes) or not self.intake.skips_deleted(self.name):
            return routes
        for route, own in self._each(routes, source):
            self.intake.left_out[own.stream, own.map] += not route.reads_deletion
        return reading

    def _source(self, raw: bytes, batch_place: str = "", *, is_message: bool = False) -> Source:
        intake = self.intake
        intake.count(self.name, raw)
        if intake.rejects is None:
            return Source(self.name, intake.line(), batch_place)
        original = Original(raw.strip(), self.schema, self.key_properties, is_message)
        return Source(self.name, intake.line(), batch_place, intake.records, original)


def _mapped(stream_map: StreamMap, rule: MapRule | None, record: dict[str, Any]) -> dict[str, Any] | None:
    """The mapped record; None if the stream map leaves it out. Raises InvalidRecord or MapFailed."""
    try:
        return stream_map.transform(dict(record))
    except RecursionError:
        raise InvalidRecord(
            f"a record of stream {quoted(stream_map.stream_alias)} is nested too deeply for its stream map."
        ) from None
    except Exception as problem:  # noqa: BLE001 - a user's expression may raise anything
        failing = _failing_field(stream_map, rule, record)
        # The mapper's own error hides the missing name; the text of any other may quote a value.
        raised = problem.__cause__ if isinstance(problem, MapExpressionError) else problem
        cause = type(raised).__name__
        hint = _hint(raised)
        # A name in the expression, never a value.
        if (null := _null_part(stream_map, raised, record)) is not None:
            cause, hint = f"{shown(null)} is null", _NULL
        elif isinstance(missing := getattr(raised, _MISSING.get(cause, ""), None), str):
            cause = f"{quoted(missing)} is missing"
        raise MapFailed(
            f"the stream map of stream {quoted(stream_map.stream_alias)} failed on a record:"
            f" {f'{failing} ({cause})' if failing else cause}.",
            hint,
        ) from None


def _null_part(stream_map: StreamMap, raised: object, record: dict[str, Any]) -> str | None:
    """The part of the failing expression that is null and has a method called on it."""
    if not isinstance(stream_map, CustomStreamMap):
        return None
    attribute = getattr(raised, "attr", None)
    for node in nodes_of(getattr(raised, "expression", "")):
        if isinstance(node, ast.Attribute) and node.attr == attribute:
            part = ast.unparse(node.value)
            # If it fails itself, or needs the rest of the expression, it was not the null part.
            with contextlib.suppress(Exception):
                if map_of(stream_map, {"part": part}).transform(dict(record)) == {"part": None}:
                    return part
    return None


def _hint(raised: BaseException | None) -> str:
    """The hint for an expression's error. The error's text is not shown: it may quote a value."""
    text = str(raised)
    for part, hint in _BY_TEXT.items():
        if part in text:
            return hint
    if not isinstance(raised, TypeError):
        return _HINTS.get(type(raised).__name__, "Correct the expression, or the value at its source.")
    if "Decimal" in text and "float" in text:
        return "A number with a fraction is a decimal: `float(x) * 1.1`."
    return "Convert the values to one type: `str(x)`, `int(x)` or `float(x)`."


def _failing_field(stream_map: StreamMap, rule: MapRule | None, record: dict[str, Any]) -> str:
    """The field and its expression, found by trying each alone: the SDK's mapper does not name it."""
    if rule is not None and isinstance(stream_map, CustomStreamMap):
        for target, expression in rule.expressions.items():
            try:
                map_of(stream_map, {target: expression}).transform(dict(record))
            except Exception:  # noqa: BLE001 - the same failure as before
                return f"field {quoted(target)} = {shown(expression)!r}"
    return ""
