"""The checked settings of a run: an invalid argument is an error, never replaced by a default."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from target_sprinto.push.endpoint import require_text
from target_sprinto.push.errors import TooFewRecords
from target_sprinto.push.protocol import arguments
from target_sprinto.push.protocol.lifecycle import Finish, OnCountMismatch
from target_sprinto.push.protocol.rejections import KnownField, no_field
from target_sprinto.push.run.observer import Rejects, RunObserver
from target_sprinto.push.run.opening_conflict import ConflictPolicy
from target_sprinto.push.text import listed, short
from target_sprinto.push.transport.background import InterruptCheck

_ROOM = 150
"""Characters available in a message for entity types with too few records."""


@dataclass(frozen=True)
class Timeouts:
    """The three timeouts, in seconds: one request, all its attempts, and Sprinto's processing.

    Before the close, `processing` limits the wait for earlier sessions, too; and, once all pages are
    accepted, all attempts of a request.
    """

    request: float = 60.0
    retry: float = 300.0
    processing: float = 900.0

    def __post_init__(self) -> None:
        arguments.seconds("request", self.request, may_be_zero=False)
        arguments.seconds("retry", self.retry)
        arguments.seconds("processing", self.processing, may_be_zero=False)


def client_reference_id(prefix: str, run_uuid: str, finish: Finish) -> str:
    """The session's `client_reference_id`, which is unique to this run."""
    return f"{prefix}/{run_uuid}{'/hold' if finish is Finish.HOLD else ''}"


class RunOptions:
    """The options of a run; `sprinto_client.SprintoClient.run` explains most of them. Raises ConfigError.

    `rejects` receives rejected records, `known_field` names their fields, `observer` receives callbacks.
    """

    def __init__(  # noqa: PLR0913 - the settings of a run, each with its default
        self,
        *,
        reference_prefix: str = "target-sprinto",
        page_size: int = 100,
        max_parallel_pages: int = 1,
        compress: bool = True,
        timeouts: Timeouts = Timeouts(),
        on_conflict: ConflictPolicy | None = None,
        on_count_mismatch: OnCountMismatch | str = OnCountMismatch.DISCARD,
        finish: Finish | str = Finish.APPLY,
        expected: Mapping[str, int] | None = None,
        rejects: Rejects | None = None,
        known_field: KnownField = no_field,
        observer: RunObserver | None = None,
        interrupted: InterruptCheck = lambda: None,
        run_uuid: str | None = None,
    ) -> None:
        reference_prefix = require_text("reference_prefix", reference_prefix)
        self.uuid = str(uuid.uuid4()) if run_uuid is None else arguments.run_uuid("run_uuid", run_uuid)
        self.finish = arguments.choice("finish", Finish, finish)
        self.reference = client_reference_id(reference_prefix, self.uuid, self.finish)
        self.page_size = arguments.whole_number("page_size", page_size, 1, 100)
        self.max_parallel_pages = arguments.whole_number("max_parallel_pages", max_parallel_pages, 1, 16)
        self.compress = arguments.instance("compress", bool, compress)
        self.timeouts = arguments.instance("timeouts", Timeouts, timeouts)
        policy = ConflictPolicy() if on_conflict is None else on_conflict
        policy = arguments.instance("on_conflict", ConflictPolicy, policy)
        own_prefix = reference_prefix if policy.own_prefix is None else policy.own_prefix
        self.on_conflict = replace(policy, own_prefix=own_prefix)
        self.on_count_mismatch = arguments.choice("on_count_mismatch", OnCountMismatch, on_count_mismatch)
        self.expected = arguments.minimums("expected", expected)
        self.rejects = None if rejects is None else arguments.methods("rejects", Rejects, rejects)
        self.known_field = arguments.function("known_field", known_field)
        observer = RunObserver() if observer is None else observer
        self.observer = arguments.instance("observer", RunObserver, observer)
        self.interrupted = arguments.check("interrupted", interrupted)

    def require_expected(self, accepted: Mapping[str, int]) -> None:
        """Raise TooFewRecords, or what `rejects` raises. `accepted` is ``{entity_type: int}``."""
        if self.rejects is not None:
            self.rejects.raise_if_none_accepted(accepted)
        missed = sorted(name for name, minimum in self.expected.items() if accepted.get(name, 0) < minimum)
        if missed:
            problems = [
                f"{accepted.get(name, 0)} {short(name)} (at least {self.expected[name]})" for name in missed
            ]
            raise TooFewRecords(f"Too few records: {listed(problems, _ROOM)}.")
