"""How the rejection of a page identifies its records: in which field, by which index convention. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from target_sprinto.probe.evidence import Evidence, field_of, json_of
from target_sprinto.probe.examples import InvalidPage
from target_sprinto.probe.finding import Finding, NotShown, Points, no, reached, yes
from target_sprinto.push.errors import ErrorDetail
from target_sprinto.push.protocol.find_rejects import INDEX_CONVENTIONS, IndexConvention, items_at
from target_sprinto.push.protocol.pages import Item

_AS_ASSUMED = "a run assumes this from the start"
_NOT_AS_ASSUMED = "a run that diverts detects this; an error's hint may name the wrong record"

Place = Literal["details", "validation_errors", "both", "neither"]


@dataclass(frozen=True)
class Faults:
    """The records that one rejection names. `ways` are the index conventions that lead to invalid ones only.

    `names_all`: whether every invalid record is named; None if that is not clear.
    """

    place: Place
    ways: tuple[IndexConvention, ...]
    names_all: bool | None


def read_faults(body: object, sent: InvalidPage) -> Faults:
    """Read which records the response to a rejected page names."""
    details = _objects(field_of(field_of(body, "error"), "details"))
    listed = _objects(field_of(body, "validation_errors"))
    place: Place = "neither"
    if details and listed:
        place = "both"
    elif details or listed:
        place = "details" if details else "validation_errors"
    faults = details or listed
    own = [fault for fault in faults if fault.get("entity_type") == sent.invalid[0].entity_type] or faults
    invalid = _ids(sent.invalid)
    found = {way: _ids(item for item, _ in items_at(way, sent.page, own)) for way in INDEX_CONVENTIONS}
    fitting = {way: ids for way, ids in found.items() if ids and ids <= invalid}
    names_all = next((ids == invalid for ids in fitting.values()), None)
    return Faults(place, tuple(fitting), False if len(faults) == 1 else names_all)


def _ids(items: Iterable[Item]) -> set[int]:
    return {id(item) for item in items}


def _objects(value: object) -> list[ErrorDetail]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _faults(evidence: Evidence) -> Faults:
    *_, (sent, pushed) = reached(evidence.invalid)
    if pushed.accepted:
        raise NotShown("no invalid record was rejected")
    if not pushed.rejected:
        raise NotShown(f"a page with invalid records got {pushed.response.status}")
    return read_faults(json_of(pushed.response), sent)


def _errors_in(evidence: Evidence) -> Finding:
    place = _faults(evidence).place
    *_, (sent, pushed) = evidence.invalid
    status = pushed.response.status
    if place == "neither":
        seen, means = "named no record", "a run that diverts has to halve a rejected page to find the records"
    else:
        places = {"details": "`error.details`", "validation_errors": "`validation_errors`"}
        seen = f"named in {places.get(place, ' and '.join(places.values()))}"
        means = "nothing: a run reads both places"
    if status != HTTPStatus.BAD_REQUEST:
        means = "the documentation says 400: a run treats this as an unexpected response"
    return Finding(place, f"{sent.how} got {status}, {seen}", means)


def _index_within(evidence: Evidence) -> Finding:
    within = {way.within for way in _faults(evidence).ways}
    if not within:
        raise NotShown("no `index` fits a known convention")
    if len(within) > 1:
        raise NotShown("one entity type does not show it; name a second one")
    if within == {"page"}:
        return Finding("page", "the index counts over the whole page", _NOT_AS_ASSUMED)
    return Finding("type", "the index counts within the entity type", _AS_ASSUMED)


def _index_base(evidence: Evidence) -> Finding:
    bases = {way.base for way in _faults(evidence).ways}
    if len(bases) != 1:
        raise NotShown("no `index` fits a known convention")
    if bases == {1}:
        return Finding(1, "the first index is 1", _NOT_AS_ASSUMED)
    return Finding(0, "the first index is 0", _AS_ASSUMED)


def _all_errors(evidence: Evidence) -> Finding:
    names_all = _faults(evidence).names_all
    if names_all is None:
        raise NotShown("it is not clear which records were named")
    if names_all:
        return yes("both of two invalid records were named", "one response names all records")
    means = "each invalid record of a page costs a rejection"
    return no("one of two invalid records was named", means)


_MEANS = "nothing for a run, which relies on the counts of records"


def _batches(evidence: Evidence) -> Finding:
    after = reached(evidence.after_invalid)
    before = evidence.invalid[0][1].before
    rejected = sum(pushed.rejected for _, pushed in evidence.invalid)
    if not rejected:
        raise NotShown("no invalid record was rejected")
    if before.batches is None or after.batches is None:
        raise NotShown("the status has no valid `accepted_batches`")
    accepted = sum(pushed.accepted for _, pushed in evidence.invalid)
    counted = after.batches - before.batches - accepted
    if counted not in {0, rejected}:
        raise NotShown("`accepted_batches` grew by an unexpected number")
    if counted:
        return yes("`accepted_batches` counts a rejected page too", _MEANS)
    return no("`accepted_batches` counts accepted pages only", _MEANS)


POINTS: Points = {
    "errors_in": _errors_in,
    "index_within": _index_within,
    "index_base": _index_base,
    "all_errors": _all_errors,
    "batches_count_rejected": _batches,
}
"""Where a rejection's errors are, their indexes, and whether the page counts as a batch."""
