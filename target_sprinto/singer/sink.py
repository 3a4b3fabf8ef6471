"""Validates one stream's records under one schema, and adds them to the run's page with their entity keys."""

from __future__ import annotations

from typing import Any, cast

from singer_sdk import metrics
from singer_sdk.sinks import BatchSink

from target_sprinto.errors import InvalidRecord, MapFailed, MissingKeyProperty
from target_sprinto.push.errors import RecordTooLarge
from target_sprinto.push.text import quoted, shown
from target_sprinto.singer.configured_target import ConfiguredTarget
from target_sprinto.singer.input.messages import decode_value, encode, is_finite
from target_sprinto.singer.rejects.rejected_records import Source
from target_sprinto.singer.rejects.rejects_file import Original
from target_sprinto.singer.schemas.validation import RecordValidator

_COUNT_EVERY = 100
"""Records between two updates of the SDK's counter, each of which reads the clock."""

_HINT = "Check the expressions in `stream_maps`."


class SprintoSink(BatchSink):
    """Adds the records of one stream to the run's page, which all sinks share: pages span streams."""

    _counted = 0

    def __init__(self, target: ConfiguredTarget, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the SDK's own
        super().__init__(target, *args, **kwargs)
        # The metric, which is logged at INFO, names the stream.
        self.record_counter_metric.tags[metrics.Tag.STREAM] = shown(self.stream_name)
        self.entity_type = target.settings.stream_types.of(self.stream_name) or self.stream_name
        self.intake = target.intake
        self.entity = target.settings.entity_schemas.get(self.entity_type)
        self._keys = tuple(self.key_properties)
        self.intake.register(self.entity_type, self._keys)

    @property
    def max_size(self) -> int:
        """Records of a page, 100 by default."""
        return self.intake.settings.page_size

    def get_validator(self) -> RecordValidator | None:
        """The stream's compiled validator; None under `validate_records: false`.

        The SDK has removed `_sdc` fields from `schema`. This target sends the records with these fields, so
        the original schema applies.
        """
        return RecordValidator(self.stream_name, self.original_schema) if self.validate_schema else None

    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        """Validate a mapped record, whose values may be `Raw`, and add it to the run's page or reject it.

        `context["source"]` says where it came from, if that is known. A full page is sent at once.
        Raises MapFailed, and the error that ended the run.
        """
        try:
            body = encode(record)
            not_finite = {name for name, value in record.items() if not is_finite(value)}
            # Checks exactly what will be sent, including its encoding.
            mapped = decode_value(body)
        except RecursionError:
            problem = InvalidRecord(
                f"a record of stream {quoted(self.stream_name)} is nested too deeply for its stream map."
            )
            self.intake.reject(problem, self._source(context), self.entity_type)
            return
        except (TypeError, ValueError):
            names = [quoted(name) for name, value in record.items() if not _is_json(value)]
            raise MapFailed(
                f"the stream map of stream {quoted(self.stream_name)} made a value that is not JSON"
                f"{f' for field {names[0]}' if names else ''}.",
                _HINT,
            ) from None
        source = self._source(context, body)
        if not not_finite:
            self.add(mapped, body, source)
            return
        key = self.intake.key(self.entity_type, mapped) if not_finite.isdisjoint(self._keys) else None
        problem = InvalidRecord(
            f"the stream map of stream {quoted(self.stream_name)} returned NaN or Infinity.",
            _HINT,
            field=min(not_finite),
        )
        self.intake.reject(problem, source, self.entity_type, key)

    def process_batch(self, context: dict[str, Any]) -> None:  # noqa: ARG002 - the page is the run's
        """Send the current page, which may include records of other streams."""
        self.intake.run.flush()

    def add(self, record: dict[str, Any], body: bytes, source: Source) -> None:
        """Add a record, whose JSON is `body`, to the run's page if it is valid; otherwise reject it."""
        key = self.intake.key(self.entity_type, record)
        try:
            self._require_valid(record, body)
        except InvalidRecord as problem:
            self.intake.reject(problem, source, self.entity_type, key)
        else:
            self.add_valid(body, source, key)

    def add_valid(self, body: bytes, source: Source, key: object) -> None:
        """Count and add a record that is known to be valid; reject one that is too large for a page."""
        self._counted += 1
        if self._counted >= _COUNT_EVERY:
            self._report_count()
        try:
            self.intake.add(self.entity_type, body, source, key)
        except RecordTooLarge as problem:
            self.intake.reject(problem, source, self.entity_type, key)

    def _source(self, context: dict[str, Any], body: bytes = b"{}") -> Source:
        if source := context.get("source"):
            return cast("Source", source)
        original = Original(body, encode(self.original_schema), list(self._keys))
        return Source(self.stream_name, self.intake.reader.line, original=original)

    def _require_valid(self, record: dict[str, Any], body: bytes) -> None:
        if self.entity is not None:
            self.entity.check(self.stream_name, record, body)
        if isinstance(self._validator, RecordValidator):
            self._validator.validate(record, body)
        for name in self._keys:
            if name not in record:
                renamed = name not in self.original_schema["properties"]
                raise MissingKeyProperty(
                    f"a record of stream {quoted(self.stream_name)} lacks its key property {quoted(name)}.",
                    "Flattening renames objects and long names: raise `flattening_max_key_length`, or set"
                    " `__key_properties__` in the stream map."
                    if renamed and self.config.get("flattening_enabled")
                    else "Fix the tap; or set `__key_properties__` in the stream map to other fields.",
                    field=name,
                    issue="is missing",
                )

    def finish_count(self) -> None:
        """Log the SDK's record metric. Its `clean_up` only does so up to 0.54."""
        self._report_count()
        self.record_counter_metric.exit()

    def _report_count(self) -> None:
        self.record_counter_metric.increment(self._counted)
        self._counted = 0


def _is_json(value: object) -> bool:
    try:
        is_finite(value)
        decode_value(encode(value))
    except (TypeError, ValueError):
        return False
    return True
