"""One stream's records: valid by their schema, with their keys, handed over to the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from singer_sdk.sinks import Sink

from target_sprinto.errors import MissingKeyProperty
from target_sprinto.validation import RecordValidator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_sprinto.target import SprintoTarget


class Origin(NamedTuple):
    """Where a record came from: what a message names instead of its values."""

    stream: str
    line: int

    def __str__(self) -> str:
        return f"stream {self.stream!r}, input line {self.line}"


class SprintoSink(Sink):
    """One stream under one schema. Pages span streams, so a sink holds no records."""

    def __init__(
        self,
        target: SprintoTarget,
        stream_name: str,
        schema: dict[str, Any],
        key_properties: Sequence[str] | None,
    ) -> None:
        super().__init__(target, stream_name, schema, key_properties)
        self._run = target.run
        self.entity_type = target.settings.entity_types.of(stream_name)

    def get_validator(self) -> RecordValidator | None:
        """The stream's compiled validator; None under `validate_records: false`.

        The SDK has taken `_sdc` fields out of `schema`; what a tap sends is what is sent on, so the schema
        as the tap meant it counts.
        """
        return RecordValidator(self.stream_name, self.original_schema) if self.validate_schema else None

    def load(self, record: dict[str, Any], body: bytes, line: int) -> None:
        """Take one record: `body` are the JSON bytes that are sent, `record` the same, decoded.

        Raises InvalidRecord, MissingKeyProperty, or what has ended the run meanwhile.
        """
        if self.entity_type is None:
            return
        if self._validator is not None:
            self._validator.validate(record)
        for name in self.key_properties:
            if name not in record:
                raise MissingKeyProperty(
                    f"a record of stream {self.stream_name!r} lacks its key property {name!r}.",
                    "Mend the tap; or name the right ones with `__key_properties__` in the stream map.",
                )
        self._run.add(self.entity_type, body, Origin(self.stream_name, line))
        self.record_counter_metric.increment()

    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        """Part of the SDK's own record path, which this target does not take."""
        raise NotImplementedError

    def process_batch(self, context: dict[str, Any]) -> None:
        """Part of the SDK's own record path, which this target does not take."""
        raise NotImplementedError
