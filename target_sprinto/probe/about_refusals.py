"""How the rejection of a page names its records. Pure."""

from __future__ import annotations

from http import HTTPStatus

from target_sprinto.probe.evidence import Evidence, InvalidPush
from target_sprinto.probe.finding import NOT_REACHED, Finding, Findings, no, not_shown, yes
from target_sprinto.probe.named_records import Faults, read_faults

_AS_TAKEN = "a run takes it so from the first"
_OTHERWISE = "a run that diverts finds it out; the record that a message hints at is another"


def findings(evidence: Evidence) -> Findings:
    """Where a rejection's errors are, how they count records, and whether batches count the page."""
    return {**_naming(evidence), "batches_count_rejected": _batches(evidence)}


def _naming(evidence: Evidence) -> Findings:
    why = ""
    if not evidence.invalid:
        why = NOT_REACHED
    elif evidence.invalid[-1].pushed.accepted:
        why = "no invalid record was rejected"
    elif not evidence.invalid[-1].pushed.refused:
        why = f"a page with invalid records got {evidence.invalid[-1].pushed.answer.status}"
    if why:
        return dict.fromkeys(("errors_in", "index_within", "index_base", "all_errors"), not_shown(why))
    last = evidence.invalid[-1]
    faults = read_faults(last.pushed.answer.json, last.sent)
    return {
        "errors_in": _errors_in(faults, last),
        "index_within": _index_within(faults),
        "index_base": _index_base(faults),
        "all_errors": _all_errors(faults),
    }


def _errors_in(faults: Faults, attempt: InvalidPush) -> Finding:
    status = attempt.pushed.answer.status
    if faults.place == "neither":
        seen, means = "named no record", "a run that diverts has to halve a rejected page to find the records"
    else:
        places = {"details": "`error.details`", "validation_errors": "`validation_errors`"}
        seen = f"named in {places.get(faults.place, ' and '.join(places.values()))}"
        means = "nothing: a run reads both places"
    if status != HTTPStatus.BAD_REQUEST:
        means = "the documentation says 400: a run treats this as an unexpected response"
    return Finding(faults.place, f"{attempt.sent.how.value} got {status}, {seen}", means)


def _index_within(faults: Faults) -> Finding:
    within = {way.within for way in faults.ways}
    if not within:
        return not_shown("no `index` fits a known way of counting")
    if len(within) > 1:
        return not_shown("one entity type does not show it; name a second one")
    if within == {"page"}:
        return Finding("page", "the index counts over the whole page", _OTHERWISE)
    return Finding("type", "the index counts within the entity type", _AS_TAKEN)


def _index_base(faults: Faults) -> Finding:
    bases = {way.base for way in faults.ways}
    if len(bases) != 1:
        return not_shown("no `index` fits a known way of counting")
    if bases == {1}:
        return Finding(1, "the first index is 1", _OTHERWISE)
    return Finding(0, "the first index is 0", _AS_TAKEN)


def _all_errors(faults: Faults) -> Finding:
    if faults.names_all is None:
        return not_shown("which records were named is not clear")
    if faults.names_all:
        return yes("both of two invalid records were named", "one response names all records")
    means = "each invalid record of a page costs a rejection"
    return no("one of two invalid records was named", means)


def _batches(evidence: Evidence) -> Finding:
    before, after = evidence.before_invalid, evidence.after_invalid
    if before is None or after is None:
        return not_shown(NOT_REACHED)
    refused = sum(attempt.pushed.refused for attempt in evidence.invalid)
    if not refused:
        return not_shown("no invalid record was rejected")
    if before.batches is None or after.batches is None:
        return not_shown("the status has no `accepted_batches` that can be read")
    accepted = sum(attempt.pushed.accepted for attempt in evidence.invalid)
    counted = after.batches - before.batches - accepted
    if counted not in {0, refused}:
        return not_shown("`accepted_batches` grew by another number")
    if counted:
        means = "after a rejected page a run distinguishes its pages by their records alone"
        return yes("`accepted_batches` counts a rejected page too", means)
    return no("`accepted_batches` counts accepted pages only", "it may distinguish pages")
