"""The private hooks of the SDK that `target.py` relies on.

If one of these fails, first read the SDK's new source at the place that the message names:
holding back STATE and keeping values out of logs depend on these hooks.
"""

from __future__ import annotations

import inspect
import io
import json
import logging

import pytest
from singer_sdk import Target, mapper, plugin_base, target_base
from singer_sdk.exceptions import MapExpressionError
from singer_sdk.singerlib.encoding import base as encoding
from singer_sdk.sinks import core as sinks

from target_sprinto.singer.sink import SprintoSink
from target_sprinto.singer.target import SprintoTarget

CALLBACKS = ["schema", "record", "state", "activate_version", "batch"]
CONFIG = {"api_key": "k3y", "integration_id": "x"}


@pytest.mark.parametrize("kind", CALLBACKS)
def test_the_reader_calls_the_targets_handler_of_each_message_type(kind: str) -> None:
    name = f"_process_{kind}_message"
    assert f"self.{name}" in inspect.getsource(plugin_base.BaseSingerReader.process_lines), (
        f"BaseSingerReader.process_lines no longer hands {name} to the reader: see plugin_base.py"
    )
    assert list(inspect.signature(getattr(Target, name)).parameters) == ["self", "message_dict"]


def test_listen_reads_all_lines_and_then_ends() -> None:
    source = inspect.getsource(plugin_base.BaseSingerReader.listen)
    assert source.index("self.process_lines(") < source.index("self.process_endofpipe()"), (
        "see plugin_base.py"
    )


def test_the_readers_loop_can_be_replaced() -> None:
    assert "message_reader.process_lines(" in inspect.getsource(plugin_base.BaseSingerReader.process_lines)
    parameters = list(inspect.signature(encoding.GenericSingerReader.process_lines).parameters)
    assert parameters == ["self", "file_input", "callbacks"], "see singerlib/encoding/base.py"


def test_the_sdk_writes_state_only_from_an_attribute_we_never_set() -> None:
    source = inspect.getsource(target_base.Target.drain_all)
    assert "if self._latest_state:" in source, "drain_all writes another STATE now: see target_base.py"
    target = SprintoTarget(config=dict(CONFIG))
    target.process_lines(io.StringIO('{"type":"STATE","value":{"a":1}}\n'))
    assert target._latest_state is None


def test_draining_in_the_sdk_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    target = SprintoTarget(config=dict(CONFIG))
    target.process_lines(io.StringIO('{"type":"STATE","value":{"a":1}}\n'))
    target.drain_all(is_endofpipe=True)
    assert capsys.readouterr().out == ""


def test_the_constructor_sets_signal_handlers_in_one_overridable_method() -> None:
    assert "self._setup_signal_handlers()" in inspect.getsource(plugin_base.PluginBase.__init__), (
        "see plugin_base.py: the SDK's handlers drain, write STATE and exit with 0"
    )


def test_the_constructor_validates_the_config_in_one_overridable_method() -> None:
    assert "self._validate_config(raise_errors=validate_config)" in inspect.getsource(
        plugin_base.PluginBase.__init__
    ), "see plugin_base.py: the SDK's messages quote values"


def test_replaced_sinks_are_in_the_list_we_clear() -> None:
    assert "self._sinks_to_clear.append(" in inspect.getsource(Target.get_sink), "see target_base.py"


def test_a_sink_keeps_the_original_schema() -> None:
    assert "self.original_schema = copy.deepcopy(schema)" in inspect.getsource(sinks.Sink.__init__), (
        "see sinks/core.py: `schema` loses its `_sdc` fields"
    )


def test_the_mapper_logs_filter_results_with_the_logger_we_silence() -> None:
    assert mapper.logger.name == "singer_sdk.mapper"
    SprintoTarget(config=dict(CONFIG))
    seen: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = seen.append  # type: ignore[method-assign, assignment] # a minimal handler
    mapper.logger.addHandler(handler)
    mapper.logger.setLevel(logging.DEBUG)
    try:
        mapper.logger.debug("a value")
        mapper.logger.info("a setting")
    finally:
        mapper.logger.removeHandler(handler)
        mapper.logger.setLevel(logging.NOTSET)
    assert [record.getMessage() for record in seen] == ["a setting"]


def test_an_unchanged_record_is_recognised() -> None:
    maps = mapper.PluginMapper(plugin_config={}, logger=logging.getLogger("test"))
    maps.register_raw_stream_schema("people", {"properties": {}}, [])
    (only,) = maps.stream_maps["people"]
    assert isinstance(only, mapper.SameRecordTransform)
    record = {"a": 1}
    assert only.transform(record) is record, "SameRecordTransform changes records now: see mapper.py"


def test_a_mapper_error_contains_expressions_but_no_values() -> None:
    maps = mapper.PluginMapper(
        plugin_config={"stream_maps": {"people": {"short": "name.nothing()"}}},
        logger=logging.getLogger("test"),
    )
    maps.register_raw_stream_schema("people", {"properties": {"name": {"type": "string"}}}, [])
    with pytest.raises(MapExpressionError) as message:
        maps.stream_maps["people"][0].transform({"name": "a value"})
    assert "a value" not in str(message.value), "its text is shown: see target.py, _mapped"


def test_a_sinks_counter_logs_its_records_when_closed(caplog: pytest.LogCaptureFixture) -> None:
    """`Sink.clean_up` closed it up to 0.54; since 0.55 it does nothing, so we close it ourselves."""
    target = SprintoTarget(config=CONFIG | {"unmapped_streams": "keep"})
    sink = target.get_sink("people", schema={"properties": {"a": {"type": "string"}}}, key_properties=[])
    assert isinstance(sink, SprintoSink)
    for _ in range(3):
        sink.process_record({"a": "x"}, {})
    assert not _counted(caplog)
    with caplog.at_level(logging.INFO):
        sink.finish_count()
    assert _counted(caplog) == [3], "see metrics.py: Counter.exit logs what was counted"


def _counted(caplog: pytest.LogCaptureFixture) -> list[int]:
    message = [record.getMessage() for record in caplog.records]
    points = [json.loads(line.removeprefix("METRIC: ")) for line in message if line.startswith("METRIC: ")]
    return [point["value"] for point in points if point["metric"] == "record_count"]


def test_the_sdk_creates_our_sinks_in_get_sink() -> None:
    """`get_sink` creates one sink per schema, keeps it, and sets a replaced one aside."""
    target = SprintoTarget(config=CONFIG | {"unmapped_streams": "keep"})
    one = {"properties": {"a": {"type": "string"}}}
    first = target.get_sink("people", schema=one, key_properties=["a"])
    assert type(first) is SprintoSink
    assert target.get_sink("people", schema=one, key_properties=["a"]) is first
    second = target.get_sink("people", schema={"properties": {"b": {"type": "string"}}}, key_properties=["b"])
    assert second is not first
    assert target._sinks_to_clear == [first]
    assert target._sinks_active["people"] is second
    assert target._run_end.sinks is target._sinks_active, "it is replaced now: see target.py"
    assert second.original_schema["properties"] == {"b": {"type": "string"}}
