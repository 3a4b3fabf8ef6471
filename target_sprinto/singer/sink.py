"""One stream's records under one schema: which of them may be sent."""

from __future__ import annotations

from typing import Any

from singer_sdk import metrics
from singer_sdk.sinks import Sink

from target_sprinto.errors import MissingKeyProperty
from target_sprinto.push.text import quoted, shown
from target_sprinto.singer.validation import RecordValidator

_COUNT_EVERY = 100
"""Records between two looks of the SDK's counter at the clock."""


class SprintoSink(Sink):
    """One stream under one schema. Pages span streams, so a sink holds no records and drains nothing."""

    _counted = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the SDK's own
        super().__init__(*args, **kwargs)
        # The metric names the stream, at INFO.
        self.record_counter_metric.tags[metrics.Tag.STREAM] = shown(self.stream_name)

    def get_validator(self) -> RecordValidator | None:
        """The stream's compiled validator; None under `validate_records: false`.

        The SDK has taken `_sdc` fields out of `schema`; what a tap sends is what is sent on, so the schema
        as the tap meant it counts.
        """
        return RecordValidator(self.stream_name, self.original_schema) if self.validate_schema else None

    def check(self, record: dict[str, Any], body: bytes) -> None:
        """Count the record, if it may be sent. Raises InvalidRecord or MissingKeyProperty if it may not.

        `body` is its JSON.
        """
        if isinstance(self._validator, RecordValidator):
            self._validator.validate(record, body)
        for name in self.key_properties:
            if name not in record:
                raise MissingKeyProperty(
                    f"a record of stream {quoted(self.stream_name)} lacks its key property {quoted(name)}.",
                    "Mend the tap; or name the right ones with `__key_properties__` in the stream map.",
                )
        self.count()

    def count(self) -> None:
        """Count a record that may be sent."""
        self._counted += 1
        if self._counted >= _COUNT_EVERY:
            self._tell()

    def finish_count(self) -> None:
        """Log the SDK's metric of records. Its `clean_up` does so up to 0.54 only."""
        self._tell()
        self.record_counter_metric.exit()

    def _tell(self) -> None:
        self.record_counter_metric.increment(self._counted)
        self._counted = 0

    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        """Part of the SDK's own record path, which this target does not take."""
        raise NotImplementedError

    def process_batch(self, context: dict[str, Any]) -> None:
        """Part of the SDK's own record path, which this target does not take."""
        raise NotImplementedError
