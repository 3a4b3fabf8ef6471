"""A run's course, drawn from a seed: its input, settings, readings, faults and other events."""

from __future__ import annotations

import enum
import signal
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any

from target_sprinto.sandbox import EntityRules, Readings
from tests.support.front_door import SECRET, STATE, as_input
from tests.support.soak import strikes

if TYPE_CHECKING:
    from tests.support.soak.strikes import Strike

SEED = "target-sprinto"
STREAMS = ("people", "teams", "devices")
LEAST_PAGES, MOST_PAGES = 20, 30
SECRET_NUMBER = 31415926535000000
"""Part of a value of every record: like `SECRET`, it must never appear on stderr."""

RECEIPT = "receipt.json"
LONGEST_NAME = 40
KEYS_COME_BACK = 0.8
"""The share of records with an earlier key: small, because such pages are never in flight together."""

MAPPINGS: tuple[dict[str, str], ...] = ({}, {"people": "staff"}, {"people": "staff", "teams": "staff"})


class Plot(enum.Enum):
    """Events in a run besides faults of its requests."""

    NOTHING = "nothing"
    SILENT_TAP = "the tap pauses"
    PROCESSING_RETRIED = "processing fails, and Sprinto retries it"
    PROCESSING_FAILED = "processing fails for good"
    SIGNAL = "a signal"
    REFUSED_RECORD = "Sprinto rejects a record"
    DISCARDED = "another client discards the session"
    EXPIRED = "the session expires while the tap pauses"
    TAP_DIES = "the tap crashes"


class Aim(enum.Enum):
    """The run's intended end: the settings `finish` and `dry_run`, and what a person does then."""

    APPLIED = "applied by the run"
    HELD_AND_APPLIED = "held, to be applied by a person"
    HELD_AND_DISCARDED = "held, to be discarded by a person"
    DRY_RUN = "a dry run"


AIMS = {Aim.APPLIED: 76, Aim.HELD_AND_APPLIED: 10, Aim.HELD_AND_DISCARDED: 5, Aim.DRY_RUN: 9}


class Demand(enum.Enum):
    """What `expect` requires of the input."""

    NOTHING = "nothing"
    LESS = "no more than comes"
    MORE = "more than comes"


DEMANDS = {Demand.NOTHING: 80, Demand.LESS: 17, Demand.MORE: 3}

OFTEN = {
    Plot.NOTHING: 70,
    Plot.SILENT_TAP: 6,
    Plot.PROCESSING_RETRIED: 6,
    Plot.PROCESSING_FAILED: 2,
    Plot.SIGNAL: 8,
    Plot.REFUSED_RECORD: 4,
    Plot.DISCARDED: 2,
    Plot.EXPIRED: 2,
    Plot.TAP_DIES: 2,
}

INACTIVITY_SECONDS = {Plot.SILENT_TAP: 4.0, Plot.EXPIRED: 1.0}
"""Integers, because a session's response rounds them."""


@dataclass(frozen=True)
class Course:
    """One drawn run: the same seed, number and rate give the same course on every machine."""

    seed: str
    number: int
    rate: float = strikes.RATE

    @property
    def name(self) -> str:
        return f"run-{self.number}"

    def chance(self, about: str) -> Random:
        """A separate random generator for each question, so that new questions do not change old draws."""
        return Random(f"{self.seed}/{self.number}/{about}")

    @cached_property
    def plot(self) -> Plot:
        return self.chance("plot").choices(list(OFTEN), list(OFTEN.values()))[0]

    @cached_property
    def aim(self) -> Aim:
        return self.chance("aim").choices(list(AIMS), list(AIMS.values()))[0]

    @cached_property
    def demand(self) -> Demand:
        return self.chance("demand").choices(list(DEMANDS), list(DEMANDS.values()))[0]

    @property
    def holds(self) -> bool:
        return self.aim in {Aim.HELD_AND_APPLIED, Aim.HELD_AND_DISCARDED}

    @cached_property
    def finish(self) -> dict[str, Any]:
        """The settings for its aim and its demand on the input."""
        least = {Demand.LESS: lambda count: count // 2, Demand.MORE: lambda count: count + 1}
        settings: dict[str, Any] = {}
        if self.demand in least:
            settings["expect"] = {
                name: {"min_records": least[self.demand](len(records))}
                for name, records in self.whole.items()
            }
        if self.holds:
            settings |= {"finish": "hold", "report_path": RECEIPT}
        if self.aim is Aim.DRY_RUN:
            settings["dry_run"] = True
        return settings

    @cached_property
    def settings(self) -> dict[str, Any]:
        chance = self.chance("settings")
        return {
            "page_size": chance.choice((3, 10, 25, 50, 100)),
            "max_parallel_pages": chance.choice((1, 1, 1, 2, 4, 8)),
            "on_invalid_record": chance.choice(("fail", "fail", "divert")),
            "compress": chance.random() < 0.7,
            "entity_types": chance.choice(MAPPINGS),
            "request_timeout_seconds": round(chance.uniform(0.25, 0.5), 3),
            "retry_timeout_seconds": round(chance.uniform(6, 9), 3),
            # Longer than temporary faults last; a permanent fault would be waited for this long.
            "processing_timeout_seconds": 40,
        }

    @property
    def diverts(self) -> bool:
        return bool(self.settings["on_invalid_record"] == "divert")

    @property
    def is_recoverable(self) -> bool:
        """Whether only faults can keep the run from its intended end."""
        harmless = {Plot.NOTHING, Plot.SILENT_TAP, Plot.PROCESSING_RETRIED}
        if self.demand is Demand.MORE:
            return False
        if self.plot is Plot.REFUSED_RECORD:
            return self.diverts or self.aim is Aim.DRY_RUN
        not_applied = self.aim in {Aim.HELD_AND_DISCARDED, Aim.DRY_RUN}
        return self.plot in harmless or (self.plot is Plot.PROCESSING_FAILED and not_applied)

    @property
    def may_be_applied(self) -> bool:
        if self.aim in {Aim.HELD_AND_DISCARDED, Aim.DRY_RUN} or self.demand is Demand.MORE:
            return False
        return self.is_recoverable or self.plot in {Plot.PROCESSING_FAILED, Plot.SIGNAL, Plot.DISCARDED}

    @cached_property
    def readings(self) -> Readings:
        chance, looking = self.chance("readings"), self.chance("looking")
        return Readings(
            # Duplicates must show.
            apply="append",
            ingest_total=chance.choice(("page", "session")),
            status_postpones_expiry=self.plot is not Plot.EXPIRED and chance.random() < 0.5,
            errors_in=chance.choice(("details", "validation_errors")),
            index_within=chance.choice(("type", "page")),
            index_base=chance.choice((0, 1)),
            all_errors=chance.random() < 0.5,
            log_shows_reference=chance.random() < 0.8,
            status_shows_reference=chance.random() < 0.5,
            conflict_shows_session=chance.random() < 0.5,
            close_response_state=chance.choice(("active", "processing")),
            activity_order=chance.choice(("oldest_first", "newest_first")),
            batches_count_rejected=chance.random() < 0.5,
            counts_lag_seconds=chance.choice((0.0, 0.1)),
            discard_from_expired=chance.random() < 0.5,
            log_shows_refused_creates=looking.random() < 0.5,
            log_lag_seconds=looking.choice((0.0, 0.0, 0.3)),
            # Endless empty pages would take a hundred requests each time.
            log_ends=looking.choice(("yes", "yes", "by repeating")),
            old_sessions_are_purged=looking.random() < 0.5,
            clock_offset_seconds=looking.choice((0.0, 0.0, -660.0, 660.0, 259_200.0)),
        )

    @cached_property
    def server(self) -> dict[str, Any]:
        """The integration's configuration besides readings."""
        chance = self.chance("server")
        configured: dict[str, Any] = {"processing_seconds": round(chance.uniform(0.05, 0.5), 3)}
        if self.plot in INACTIVITY_SECONDS:
            configured["inactivity_timeout_seconds"] = INACTIVITY_SECONDS[self.plot]
        if self.plot is Plot.PROCESSING_RETRIED:
            configured["processing_outcomes"] = ["failed"]
        if self.plot is Plot.PROCESSING_FAILED:
            configured["processing_outcomes"] = ["failed", "failed"]
        if self.plot is Plot.REFUSED_RECORD:
            named = EntityRules(schema={"properties": {"name": {"maxLength": LONGEST_NAME}}})
            configured["entities"] = dict.fromkeys((*STREAMS, "staff"), named)
        return configured

    @cached_property
    def strikes(self) -> list[Strike]:
        timeout = self.settings["request_timeout_seconds"]
        return list(strikes.drawn(f"{self.seed}/{self.number}", self.rate, timeout))

    @cached_property
    def moment(self) -> int:
        """The page at which the plot's event happens, from 1. Beyond the last one: at the close."""
        return self.chance("moment").randint(1, self.pages + 5)

    @cached_property
    def signal(self) -> signal.Signals:
        return self.chance("signal").choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The RECORD messages of alternating streams. Some repeat the key of a recent record."""
        chance, page = self.chance("records"), self.settings["page_size"]
        count = page * (chance.randint(LEAST_PAGES, MOST_PAGES) - 1) + chance.randint(1, page)
        streams = STREAMS[: chance.randint(2, len(STREAMS))]
        messages: list[dict[str, Any]] = []
        for number in range(count):
            comes_back = chance.random() < KEYS_COME_BACK / page
            key = max(0, number - chance.randint(1, 2 * page)) if comes_back else number
            messages.append(_record(chance.choice(streams), f"{SECRET}-{key}", number))
        if self.plot is Plot.REFUSED_RECORD:
            messages[chance.randrange(count)]["record"]["name"] = SECRET * LONGEST_NAME
        return messages

    @cached_property
    def messages(self) -> list[dict[str, Any]]:
        """The whole input: STATEs among the records, and the last one after them, unless the tap crashes."""
        chance = self.chance("messages")
        messages = [_schema(stream) for stream in STREAMS]
        for number, record in enumerate(self.records):
            messages.append(record)
            if chance.random() < 0.02 and number < len(self.records) - 1:
                messages.append({"type": "STATE", "value": {"bookmarks": {"people": number}}})
        return messages if self.plot is Plot.TAP_DIES else [*messages, STATE]

    @cached_property
    def parts(self) -> tuple[bytes, bytes]:
        """The input before and after the tap's silence, if any."""
        if self.plot not in INACTIVITY_SECONDS:
            return as_input(self.messages), b""
        middle = self.chance("parts").randrange(len(self.messages) // 4, len(self.messages) // 2)
        return as_input(self.messages[:middle]), as_input(self.messages[middle:])

    @cached_property
    def whole(self) -> dict[str, list[Any]]:
        """The records to be applied, if any: ``{entity_type: [record]}``, in order."""
        entities: dict[str, list[Any]] = {}
        for message in self.records:
            stream = message["stream"]
            entity_type = self.settings["entity_types"].get(stream, stream)
            entities.setdefault(entity_type, []).append(message["record"])
        return entities

    @property
    def pages(self) -> int:
        """The minimum number of pages for its records."""
        return -(-len(self.records) // int(self.settings["page_size"]))


def _record(stream: str, key: str, number: int) -> dict[str, Any]:
    values = {
        "id": key,
        "number": SECRET_NUMBER + number,
        "name": f"{SECRET.upper()} Zoë {number}",
        "left": None,
        "tags": [f"{SECRET}-tag"],
    }
    return {"type": "RECORD", "stream": stream, "record": values}


def _schema(stream: str) -> dict[str, Any]:
    properties = {"id": {"type": "string"}, "number": {"type": "integer"}, "name": {"type": "string"}}
    return {
        "type": "SCHEMA",
        "stream": stream,
        "schema": {"type": "object", "properties": properties},
        "key_properties": ["id"],
    }
