"""What the sinks of a run share: the run, the rejects, the counts, and which entity keys are needed."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from target_sprinto.push.errors import SprintoError
from target_sprinto.push.protocol.entity_keys import entity_key
from target_sprinto.push.protocol.field_paths import FieldProblem
from target_sprinto.push.run.offline_run import OfflineRun
from target_sprinto.push.run.run import Run
from target_sprinto.receipts.run_info import InputCounts
from target_sprinto.singer.expectations import Expectations
from target_sprinto.singer.input.reader import SprintoReader
from target_sprinto.singer.rejects.rejected_records import Rejected, RejectedRecords, Source
from target_sprinto.singer.settings.settings import Settings
from target_sprinto.singer.state.final_state import FinalState


class Intake:
    """Shared by the sinks of a run. `rejects` is None if a rejected record fails the run.

    `reader` has the number of the current input line. `records` counts those of the input.
    """

    def __init__(self, settings: Settings, reader: SprintoReader, rejects: RejectedRecords | None) -> None:
        self.settings, self.reader, self.rejects = settings, reader, rejects
        self.counts = InputCounts()
        self.final_state = FinalState()
        self.records = 0
        self.needs_keys = settings.max_parallel_pages > 1 or rejects is not None
        """Whether records are passed on with their entity key, if their type has one."""
        self.left_out: Counter[tuple[str, str]] = Counter()
        """By stream and stream map: records that the map filtered out, and deleted ones that were skipped."""
        self._key_properties: dict[str, tuple[str, ...]] = {}

    def begin(self, run: Run | OfflineRun, expectations: Expectations) -> None:
        """Pass records on to the run, once the expectations are checked."""
        self.run = run
        keep = self.rejects is not None and self.rejects.keeps_originals
        self.add = expectations.before(self._add_with_original if keep else run.add_valid)

    def register(self, entity_type: str, key_properties: tuple[str, ...]) -> None:
        """Note a stream's key properties. If streams of one type disagree, its entities have no key."""
        if self._key_properties.setdefault(entity_type, key_properties) != key_properties:
            self._key_properties[entity_type] = ()

    def _add_with_original(self, entity_type: str, body: bytes, source: Source, key: object = None) -> None:
        """Add a record whose original stays in memory until it is accepted: a map may send little of it."""
        kept = source.original.record if source.original is not None else body
        run = cast("Run", self.run)
        run.add_valid(entity_type, body, source, key, 0 if kept is body else len(kept))

    def leave_out(self, source: Source) -> None:
        """Count a record that a stream map filters out."""
        self.counts.filtered[source.stream] += 1
        self.left_out[source.stream, source.map] += 1

    def has_key(self, entity_type: str) -> bool:
        """Whether a key identifies the entities of this type."""
        return bool(self._key_properties[entity_type])

    def key(self, entity_type: str, record: dict[str, Any]) -> object:
        """The record's entity key, without the type; None if it has none, or if none is needed."""
        if not (self.needs_keys and self.has_key(entity_type)):
            return None
        try:
            return entity_key([record[name] for name in self._key_properties[entity_type]])
        except (KeyError, RecursionError):
            return None

    def reject(self, problem: SprintoError, source: Source, entity_type: str, key: object = None) -> None:
        """Keep a record that must not be sent, if rejects are kept; otherwise raise the problem."""
        if self.rejects is None:
            raise problem
        what = FieldProblem(getattr(problem, "field", None), getattr(problem, "issue", None))
        problems = getattr(problem, "problems", ())
        self.rejects.add(Rejected(source, entity_type, key, problem.code, what, problems=problems))
