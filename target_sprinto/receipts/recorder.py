"""Records what a run does, and writes it as the run's receipt at the end, whatever the outcome.

The receipt's file is created before the run reads anything; its outcome is "unfinished" until it is replaced.
Only states, types, levels, times and counts are kept of Sprinto's responses: texts may quote values.
"""

from __future__ import annotations

import importlib.metadata
import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, cast

import msgspec

from target_sprinto.errors import InputError, InternalError
from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.errors import SprintoError
from target_sprinto.push.protocol.digests import EntityDigests
from target_sprinto.push.protocol.lifecycle import Phase
from target_sprinto.push.protocol.pages import Page
from target_sprinto.push.protocol.responses import STATES, SessionStatus, count_of
from target_sprinto.push.protocol.timestamps import parse_time
from target_sprinto.push.run.observer import RunObserver
from target_sprinto.push.run.run_options import client_reference_id
from target_sprinto.push.text import printable
from target_sprinto.push.transport.background import Deadline, InterruptCheck
from target_sprinto.receipts import document as receipt
from target_sprinto.receipts.chain import LOCK_SECONDS
from target_sprinto.receipts.consistency import contradiction
from target_sprinto.receipts.errors import ReceiptNotWritten
from target_sprinto.receipts.events import iso, session_events
from target_sprinto.receipts.page_table import PageTable
from target_sprinto.receipts.provenance import provenance_of
from target_sprinto.receipts.receipt_file import ReceiptFile
from target_sprinto.receipts.run_info import InputCounts, RunInfo, origin_of, unsent

log = logging.getLogger(__name__)

_EVENTS_SECONDS = 10.0
"""Time limit for reading the activity log: a receipt can do without its events."""

_LONGEST_MESSAGE = 400
_LONGEST_TIME = 50


@dataclass(frozen=True)
class RecordedOutcome:
    """How a run ended, and where its STATE went."""

    outcome: receipt.ReceiptOutcome
    exit_code: int | None = 0
    failure: SprintoError | None = None
    state_went_to: Literal["stdout", "stderr", "receipt", "nowhere"] = "nowhere"
    response_kept: bool = False


@dataclass(kw_only=True, eq=False)
class ReceiptRecorder(RunObserver):
    """Observes one run (push/run/observer.py), and writes its receipt to `file`.

    `rejects` returns the records rejected so far, `state` the STATE that is held back, `input_sha256` the
    digest of the input so far.
    """

    report_path: Path
    info: RunInfo
    client: ApiClient
    run_uuid: str
    counts: InputCounts
    rejects: Callable[[], list[receipt.Reject]]
    state: Callable[[], bytes | None]
    input_sha256: Callable[[], str]
    input_lines: Callable[[], int]
    final_state_required: Callable[[], bool]
    stream_maps: Mapping[str, object]
    interrupted: InterruptCheck

    def __post_init__(self) -> None:
        self._started_at = _now()
        self.file = ReceiptFile(self.report_path, self.info, self.run_uuid, self._started_at)
        self._provenance = provenance_of(self.info.provenance)
        self._lock = threading.Lock()
        self._phases: list[receipt.Step] = []
        self._session: tuple[str, datetime] | None = None
        self._extracted: dict[str, list[bytes]] = {}
        self._sources: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._accepted: Counter[str] = Counter()
        self._digests = EntityDigests()
        self._pages = PageTable()
        self._closed = False
        self._written = False

    def begin(self) -> None:
        """Create the receipt's file. Raises ReceiptNotWritten, ReceiptKeyUnusable."""
        if self.file.path is None:
            self.file.make(self._receipt(RecordedOutcome("unfinished", None), None))

    def extracted(self, stream: str, time: bytes) -> None:
        """Note a record's `time_extracted`, given as JSON; empty if it has none."""
        # A copy: the argument may keep the whole line in memory.
        kept = bytes(time) if len(time) <= _LONGEST_TIME else b""
        self._extracted.setdefault(stream, [kept, kept])[1] = kept

    # Callbacks of the run

    def on_phase(self, phase: Phase) -> None:
        """Note the phase and the time."""
        self._phases.append(receipt.Step(phase.name.lower(), iso(_now())))  # type: ignore[arg-type] # those of `Phase`

    def on_session(self, session: SessionStatus) -> None:
        """Note the session."""
        self._session = session.id, _now()

    def on_page_built(self, page: Page) -> None:
        """Note the page, its sources and its digests."""
        self._digests.add(page)
        for item in page.items:
            self._sources[item.entity_type][origin_of(item).stream] += 1
        made = unsent(page)
        with self._lock:
            self._pages.append(made)

    def on_request(self, page: Page) -> None:
        """Count a request."""
        with self._lock:
            if not self._closed:
                self._pages.count_request(page.number, _now())

    def on_page_accepted(self, page: Page) -> None:
        """Count the accepted records."""
        with self._lock:
            if not self._closed:
                self._pages.count_accepted(page.number, len(page.items), _now())
                self._accepted += page.counts

    def before_hold(self) -> None:
        """Write the receipt, the only place that keeps the STATE. Raises ReceiptNotWritten, Interrupted."""
        recorded = RecordedOutcome("held", state_went_to="nowhere" if self.state() is None else "receipt")
        events = self._events(Deadline(_EVENTS_SECONDS, self.interrupted))

        def held() -> receipt.Receipt:
            # Waiting for the folder's lock may have taken seconds.
            self.interrupted()
            made = self._receipt(recorded, events)
            if wrong := contradiction(made, "The receipt"):
                raise ReceiptNotWritten(wrong.message, "Was this machine's clock set back? Run again.")
            return made

        self.file.write(held)
        self._written = True

    # The end

    def end(self, recorded: RecordedOutcome, deadline: Deadline) -> None:
        """Write the receipt of a run that has ended. A failure is logged, and does not change the outcome."""
        if self.file.path is None or self._written:
            return
        self._written = True
        try:
            events = self._events(Deadline(min(_EVENTS_SECONDS, deadline.remaining())))
            made = self._receipt(recorded, events)
            if wrong := contradiction(made, f"The receipt {self.file.path}"):
                log.warning("%s Was this machine's clock set back?", wrong.message)
            self.file.write(lambda: made, min(LOCK_SECONDS, deadline.remaining()))
        except ReceiptNotWritten as problem:
            # A run that holds has failed for the same reason.
            if not isinstance(recorded.failure, ReceiptNotWritten):
                log.warning("%s The run's outcome does not change.", problem)
        except Exception as bug:  # noqa: BLE001 - a receipt must not change a run's outcome
            log.warning("The receipt %s could not be written. %s", self.file.path, InternalError(bug))

    def _receipt(self, recorded: RecordedOutcome, events: list[receipt.Event] | None) -> receipt.Receipt:
        info, failure = self.info, recorded.failure
        held = self.state() if recorded.state_went_to == "receipt" else None
        with self._lock:
            # The response to an abandoned page may still arrive while the pages are written.
            ended = self._closed = recorded.outcome != "unfinished"
            entity_types = self._entity_types()
        return receipt.Receipt(
            format=receipt.FORMAT,
            outcome=recorded.outcome,
            exit_code=recorded.exit_code,
            error=failure.code if failure is not None else None,
            error_message=printable(failure.message)[:_LONGEST_MESSAGE] if failure is not None else None,
            error_line=failure.line if isinstance(failure, InputError) else None,
            target_version=importlib.metadata.version("target-sprinto"),
            run=self.run_uuid,
            reference=client_reference_id(info.client_reference_prefix, self.run_uuid, info.finish),
            started_at=iso(self._started_at),
            ended_at=iso(_now()) if ended else None,
            # Replaced when it is written, as is `checksum`.
            number=1 if ended else None,
            previous=None,
            signed_by=None,
            integration_id=info.integration_id,
            region=info.region,
            api_url=info.base_url,
            finish=info.finish.value,
            settings_sha256=info.fingerprint,
            session=self._session_account(),
            input_sha256=self.input_sha256() if recorded.outcome in receipt.COMPLETE else None,
            input_lines=self.input_lines(),
            final_state_required=self.final_state_required(),
            provenance=self._provenance,
            entity_mapping=dict(info.entity_types),
            stream_maps=msgspec.Raw(msgspec.json.encode(self.stream_maps)),
            phases=list(self._phases),
            streams=[self._stream(name, count) for name, count in list(self.counts.records.items())],
            entity_types=entity_types,
            pages=self._pages or [],
            rejects=self.rejects(),
            response_kept=recorded.response_kept,
            events=events,
            state_went_to=recorded.state_went_to,
            state=msgspec.Raw(held if held is not None else b"null"),
            checksum=receipt.NO_CHECKSUM,
        )

    def _stream(self, name: str, count: int) -> receipt.Stream:
        span = self._extracted.get(name, (b"", b""))
        first, last = (_iso_if_time(time.decode("ascii", "replace").strip('"')) for time in span)
        skipped, filtered = self.counts.skipped[name], self.counts.filtered[name]
        dropped = self.counts.dropped.get(name, [])
        return receipt.Stream(name, count, skipped, filtered, dropped, first, last)

    def _entity_types(self) -> list[receipt.EntityType]:
        sources, counts, accepted = self._sources, self._digests.counts, self._accepted
        return [
            receipt.EntityType(name, dict(sources[name]), counts[name], sha256, accepted[name])
            for name, sha256 in self._digests.hexdigests().items()
        ]

    def _session_account(self) -> receipt.Session | None:
        if self._session is None:
            return None
        session_id, opened_at = self._session
        if (last := self.client.last_statuses.get(session_id)) is None:
            return receipt.Session(session_id, iso(opened_at), "unknown", None, None, None, None, None, None)
        status, read_at = last
        try:
            counts = status.counts()
        except SprintoError:
            own = others = None
        else:
            # Other names may be any text, so their records are only counted.
            own = {name: count for name, count in counts.items() if name in self._sources}
            others = count_of(sum(counts.values()) - sum(own.values()))
        return receipt.Session(
            session_id,
            iso(opened_at),
            cast("receipt.State", status.state if status.state in STATES else "unknown"),
            iso(read_at),
            _iso_if_time(status.expires_at),
            own,
            others,
            count_of(status.accepted_batches),
            count_of(status.retry_count),
        )

    def _events(self, deadline: Deadline) -> list[receipt.Event] | None:
        if self._session is None:
            return []
        age = _now() - self._started_at
        return session_events(self.client, self._session[0], age, deadline)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _iso_if_time(value: object) -> str | None:
    moment = parse_time(value)
    return iso(moment) if moment else None
