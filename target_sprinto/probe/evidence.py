"""The raw observations of a probe. Pure. A field is empty if the probe did not get that far."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any

import msgspec

from target_sprinto.probe.examples import InvalidPage
from target_sprinto.push.timing import Timings
from target_sprinto.push.transport.base import Response


def json_of(response: Response) -> Any:  # noqa: ANN401 - any JSON
    """A response's JSON; None if that cannot be read."""
    try:
        return msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def field_of(value: object, name: str) -> object:
    """A field of a JSON object; None for any other value."""
    return value.get(name) if isinstance(value, dict) else None


@dataclass(frozen=True)
class StatusSnapshot:
    """A status of the session; `total` counts accepted records. Values that it does not show are None."""

    expires_at: datetime | None
    total: int | None
    batches: int | None
    shows_reference: bool


@dataclass
class PushAttempt:
    """A page and its response, and the statuses before it and after the wait for its counts."""

    items: int
    response: Response
    before: StatusSnapshot
    after: StatusSnapshot | None = None

    @property
    def accepted(self) -> bool:
        """Whether it got the documented response."""
        return self.response.status == HTTPStatus.ACCEPTED

    @property
    def rejected(self) -> bool:
        """Whether it was definitely not accepted."""
        return HTTPStatus.BAD_REQUEST <= self.response.status < HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def grown(self) -> int | None:
        """By how many records the session has grown meanwhile."""
        if self.after is None or self.after.total is None or self.before.total is None:
            return None
        return self.after.total - self.before.total


@dataclass
class Evidence:
    """All observations of a probe. `entity_types` are in the order of their names.

    `reference` is the session's `client_reference_id`.
    """

    entity_types: tuple[str, ...]
    reference: str
    idle: list[StatusSnapshot] = field(default_factory=list)
    """Statuses with nothing between them."""
    compressed: PushAttempt | None = None
    uncompressed: PushAttempt | None = None
    """The first page again, sent only if it was rejected compressed."""
    shown_after: float | None = None
    """Seconds until the counts showed the first page; None if they did not."""
    repeated: PushAttempt | None = None
    hinted: PushAttempt | None = None
    unknown_encoding: PushAttempt | None = None
    invalid: list[tuple[InvalidPage, PushAttempt]] = field(default_factory=list)
    """Pages with invalid records, in the order of sending; all but the last were accepted."""
    parallel: list[PushAttempt] = field(default_factory=list)
    conflict: Response | None = None
    """The response to a second create."""
    session_id: str = ""
    events: list[dict[str, Any]] | None = None
    discarded: bool = False
    left_open: list[str] = field(default_factory=list)
    """The ids of sessions whose discard was not confirmed."""
    session_outcome: str = ""
    lag: float = Timings.max_count_lag
    """How many seconds the probe waits for counts."""

    @property
    def uuid(self) -> str:
        """The end of the reference, which identifies it however the rest is encoded."""
        return self.reference.rpartition("/")[2]

    @property
    def first(self) -> PushAttempt | None:
        """The first page that was accepted."""
        return next((page for page in (self.compressed, self.uncompressed) if page and page.accepted), None)

    @property
    def pages(self) -> list[PushAttempt]:
        """All pages that got a response."""
        alone = [self.compressed, self.uncompressed, self.repeated, self.hinted, self.unknown_encoding]
        sent = [page for page in alone if page is not None]
        return [*sent, *(pushed for _, pushed in self.invalid), *self.parallel]

    @property
    def after_invalid(self) -> StatusSnapshot | None:
        """The status after the wait for the pages with invalid records."""
        return self.invalid[-1][1].after if self.invalid else None
