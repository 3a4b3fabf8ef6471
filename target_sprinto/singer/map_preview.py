"""Previews a run from a tap's output and the settings, without sending anything. Pure."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any, cast

from target_sprinto.errors import WouldBeRefused
from target_sprinto.push.errors import SprintoError
from target_sprinto.push.protocol.pages import Page, PageBuilder
from target_sprinto.push.run.offline_run import OfflineRun
from target_sprinto.push.run.run_options import RunOptions
from target_sprinto.push.text import format_counts, pluralize
from target_sprinto.push.transport.background import InterruptCheck
from target_sprinto.singer.expectations import Expectations
from target_sprinto.singer.input.messages import decode_object, encode
from target_sprinto.singer.intake import Intake
from target_sprinto.singer.rejects.problem_groups import grouped
from target_sprinto.singer.rejects.rejected_records import RejectedRecords, Source
from target_sprinto.singer.settings.settings import Settings
from target_sprinto.singer.target import SprintoTarget

_LONGEST = 60
"""Maximum characters of a value that are shown."""


class PreviewRun(OfflineRun):
    """Counts what a run would send, by stream and stream map; `keep` records of each are kept."""

    def __init__(self, keep: int, interrupted: InterruptCheck) -> None:
        super().__init__(interrupted)
        self.counts: Counter[str] = Counter()
        self.sent: Counter[tuple[str, str]] = Counter()
        self.digests: defaultdict[tuple[str, str], hashlib._Hash] = defaultdict(hashlib.sha256)
        self.filled: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self.records: defaultdict[tuple[str, str], list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        self.pages = self.bytes = 0
        self._keep = keep

    def begin(self, intake: Intake) -> None:
        """Build pages and check records by the settings, without a comparison with the last applied run."""
        settings = intake.settings
        self._builder = PageBuilder(settings.page_size, pages_in_flight=settings.max_parallel_pages)
        self.expectations = Expectations(settings.expect)
        intake.begin(self, self.expectations)

    def add_valid(self, entity_type: str, body: bytes, origin: object = None, key: object = None) -> None:
        """Add one record. Raises RecordTooLarge."""
        super().add_valid(entity_type, body, origin, key)
        source, record = cast("Source", origin), decode_object(body)
        place = source.stream, source.map
        self.counts[entity_type] += 1
        self.sent[place] += 1
        self.digests[place].update(body + b"\n")
        self.filled[place].update(field for field, value in record.items() if value is not None)
        if len(self.records[place]) < self._keep:
            self.records[place].append((source.line, record))

    def _look_at(self, page: Page) -> None:
        self.pages += 1
        self.bytes += len(page.encode())


def verdict(settings: Settings, run: PreviewRun, rejects: RejectedRecords) -> None:
    """Raise the error that a run with these rejects would end with."""
    if rejects.rejected and not settings.diverts:
        raise WouldBeRefused(
            f"A run would fail: {pluralize(len(rejects.rejected), 'record')} would be rejected.",
            "Fix the stream map or the records; or set `on_invalid_record` to `divert`.",
        )
    rejects.raise_if_more_than(settings.max_rejects)
    RunOptions(expected=run.expectations.minimums(), rejects=rejects).require_expected(run.counts)


def document(
    target: SprintoTarget, run: PreviewRun, failure: SprintoError | None, show: Callable[[object], object]
) -> dict[str, Any]:
    """The preview as JSON values. `show` converts a record's value to one that may be shown."""
    rejected = target.rejects.rejected if target.rejects else []
    rejects = Counter((one.source.stream, one.source.map) for one in rejected)
    streams = []
    for stream in target.streams.values():
        for route in stream.routes:
            place = (stream.name, route.name if len(stream.routes) > 1 else "")
            sent, rules = run.sent[place], route.rule.fields
            empty = [field for field in route.sends if field not in run.filled[place]] if sent else []
            streams.append(
                {
                    "stream": stream.name,
                    "entity_type": route.entity_type,
                    "records": target.intake.counts.records.get(stream.name, 0),
                    "sent": sent,
                    "rejected": rejects[place],
                    "left_out": target.intake.left_out[place],
                    "filter": route.rule.options.get("__filter__"),
                    "key": route.keys,
                    "fields": {field: rules.get(field) or field for field in route.sends},
                    "dropped": route.dropped,
                    "always_null": empty,
                    "sha256": run.digests[place].hexdigest() if sent else None,
                    "examples": [
                        {
                            "line": line,
                            # In the order of the map, not in the order in which they are sent.
                            "record": {
                                name: show(record[name]) for name in (*route.sends, *record) if name in record
                            },
                        }
                        for line, record in run.records[place]
                    ],
                }
            )
    return {
        "streams": streams,
        "pages": run.pages,
        "bytes": run.bytes,
        "problems": [
            {"entity_type": one.entity_type, **one.problem._asdict(), "code": one.code}
            | {"records": len(one.sources), "places": one.places}
            for one in grouped(rejected)
        ],
        "error": failure.code if failure else None,
    }


def as_text(preview: dict[str, Any]) -> Iterator[str]:
    """The preview as lines for a terminal."""
    for one in preview["streams"]:
        failed = one["records"] - one["sent"] - one["rejected"] - one["left_out"]
        yield (
            f"{one['stream']} → {one['entity_type']}: {pluralize(one['records'], 'record')} in,"
            f" {one['sent']:,} to send, {one['rejected']:,} rejected,"
            f" {one['left_out']:,} left out{f', {failed:,} failed' if failed else ''}"
        )
        width = max(map(len, one["fields"]), default=0)
        yield from (f"  {field:<{width}}  ← {origin}" for field, origin in one["fields"].items())
        for title, names in (("Dropped", one["dropped"]), ("Null in every record", one["always_null"])):
            if names:
                yield f"  {title}: {', '.join(names)}"
        for example in one["examples"]:
            yield f"  Input line {example['line']}:"
            record = example["record"]
            yield from (f"    {field:<{width}}  {_plain(value)}" for field, value in record.items())
    # If the input was not read to its end, there are more pages than these.
    if preview["problems"] or not preview["error"]:
        yield f"A run would make {pluralize(preview['pages'], 'page')} of {preview['bytes']:,} bytes in all."
    for one in preview["problems"]:
        what = " ".join(filter(None, (f"field {one['field']!r}" if one["field"] else "", one["issue"])))
        lines = ", ".join(one["places"]) + (", …" if one["records"] > len(one["places"]) else "")
        yield (
            f"{pluralize(one['records'], 'record')} of {one['entity_type']}: {what} [{one['code']}],"
            f" input line{'' if one['records'] == 1 else 's'} {lines}"
        )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else encode(value).decode()


def masked(value: object) -> str:
    """The shape of a value: letters and digits are replaced, so that only length and form remain."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return f"{{{pluralize(len(value), 'field')}}}"
    if isinstance(value, list):
        return f"[{pluralize(len(value), 'item')}]"
    if isinstance(value, bool):
        return "true or false"
    text = re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "9", str(value)))
    return f"“{text[:_LONGEST]}”" if isinstance(value, str) else text[:_LONGEST]


def differences(kept: object, now: object, path: str = "") -> Iterator[str]:
    """The paths at which two previews differ; for a number or a name, also the old and the new value."""
    if isinstance(kept, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*kept, *now]):
            yield from differences(kept.get(name), now.get(name), f"{path}.{name}".lstrip("."))
    elif isinstance(kept, list) and isinstance(now, list) and len(kept) == len(now):
        for number, (old, new) in enumerate(zip(kept, now, strict=True)):
            yield from differences(old, new, f"{path}[{number}]")
    elif kept != now:
        shown = "" if "examples" in path or path.endswith(".sha256") else f": {_short(kept)} → {_short(now)}"
        yield f"{path}{shown}"


def _short(value: object) -> str:
    return format_counts({"items": len(value)}) if isinstance(value, list | dict) else repr(value)
