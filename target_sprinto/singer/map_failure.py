"""Which expression of a stream map failed on a record: the SDK's mapper does not say. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import MapExpressionError
from singer_sdk.mapper import CustomStreamMap, StreamMap

from target_sprinto.errors import MapFailed
from target_sprinto.push.text import quoted
from target_sprinto.singer.names import shortened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_sprinto.singer.map_rules import MapRule

_HINT = (
    "A field that may be missing is read by `record.get('x')`; one that may be null by"
    " `x.upper() if x else None`."
)


def map_failed(
    stream_map: StreamMap, rule: MapRule | None, record: Mapping[str, Any], problem: Exception
) -> MapFailed:
    """The error for a record on which the map failed with `problem`. No value of the record is in it."""
    where = _failing(stream_map, rule, record) if rule and isinstance(stream_map, CustomStreamMap) else ""
    # The mapper's own error hides which name was not there; any other text may quote a value.
    cause = problem.__cause__ if isinstance(problem, MapExpressionError) else problem
    why = f"{where} ({type(cause).__name__})" if where else type(cause).__name__
    return MapFailed(
        f"the stream map of stream {quoted(stream_map.stream_alias)} failed on a record: {why}.", _HINT
    )


def _failing(stream_map: CustomStreamMap, rule: MapRule, record: Mapping[str, Any]) -> str:
    """The field and its expression, found by trying each alone."""
    for target, expression in rule.expressions.items():
        alone = CustomStreamMap(
            stream_alias=stream_map.stream_alias,
            stream_name=stream_map.stream_name,
            map_config=stream_map.map_config,
            faker_config=stream_map.faker_config,
            raw_schema=stream_map.raw_schema,
            key_properties=None,
            map_transform={target: expression},
            flattening_options=None,
        )
        try:
            alone.transform(dict(record))
        except Exception:  # noqa: BLE001 - the same that has failed before
            return f"field {shortened(target)} = {shortened(expression)}"
    return ""
