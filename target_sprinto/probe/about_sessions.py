"""Conclusions from the session's status, a second session and the activity log. Pure."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from target_sprinto.probe.evidence import Evidence, json_of
from target_sprinto.probe.finding import Finding, NotShown, Points, no, reached, yes
from target_sprinto.push.protocol.activity_log import logged_sessions
from target_sprinto.push.protocol.timestamps import parse_time


def _expiry(evidence: Evidence) -> Finding:
    second = reached(evidence.idle[1:])[0].expires_at
    first = evidence.idle[0].expires_at
    if first is None or second is None or second < first:
        raise NotShown("the status has no valid `expires_at`, or it decreased")
    if second > first:
        means = "the session stays open even if the tap is idle for long"
        return yes("reading the status extends the expiry", means)
    page = evidence.first.after if evidence.first else None
    if page is not None and page.expires_at is not None and page.expires_at > second:
        means = "the session expires if the tap is idle for too long: only pages extend the expiry"
        return no("reading the status does not extend the expiry, a page does", means)
    means = "the whole run has to end before its session expires"
    return no("neither reading the status nor a page was seen to extend the expiry", means)


_FOUND = (
    "a run finds its session if the response to `create` was lost, and `on_active_session: discard` works"
)
_NOT_FOUND = (
    "a run cannot find its session if the response to `create` was lost,"
    " and `on_active_session: discard` takes nothing over"
)


def _log_reference(evidence: Evidence) -> Finding:
    reached(evidence.after_invalid)
    events = evidence.events
    if events is None:
        raise NotShown("the activity log could not be read", _NOT_FOUND)
    logged = next((one for one in logged_sessions(events) if one.id == evidence.session_id), None)
    if logged is None:
        raise NotShown("the activity log does not show the session", _NOT_FOUND)
    if logged.reference == evidence.reference:
        return yes("the activity log shows the session's reference", _FOUND)
    if any(_holds(event, evidence.uuid) for event in events):
        means = "`on_active_session: discard` takes nothing over: it reads only a reference on its own"
        return no("the activity log shows the session's reference inside other text", means)
    return no("the activity log shows the session, without its reference", _NOT_FOUND)


def _status_reference(evidence: Evidence) -> Finding:
    means = "nothing: a run does not look for it there"
    if any(status.shows_reference for status in reached(evidence.idle)):
        return yes("a session's status shows its reference", means)
    return no("a session's status does not show its reference", means)


def _conflict(evidence: Evidence) -> Finding:
    response = reached(evidence.conflict)
    if response.status == HTTPStatus.CREATED:
        means = "the documentation says 409; `on_active_session` has no effect"
        raise NotShown("a second session could be opened beside the first", means)
    if response.status != HTTPStatus.CONFLICT:
        raise NotShown(f"a second session got {response.status}, not 409")
    means = "nothing: a run finds the conflicting session in the activity log"
    if _holds(json_of(response), evidence.session_id):
        return yes("a 409 to a second session names the active one", means)
    return no("a 409 to a second session does not name the active one", means)


def _order(evidence: Evidence) -> Finding:
    means = "nothing: events are read in any order"
    reached(evidence.after_invalid)
    times = [time for event in evidence.events or [] if (time := parse_time(event.get("at")))]
    orders = {"oldest_first": sorted(times), "newest_first": sorted(times, reverse=True)}
    fitting = [name for name, order in orders.items() if order == times]
    if len(fitting) != 1:
        raise NotShown("the activity log shows too few events, or in no order", means)
    return Finding(fitting[0], f"the activity log is {fitting[0].replace('_', ' ')}", means)


def _discard(evidence: Evidence) -> Finding:
    reached(evidence.session_id)
    if evidence.discarded:
        means = "a failed run can report that nothing was applied"
        return yes("after close(discard) the status is `cancelled`", means)
    return no("after close(discard) no status was `cancelled`", "check the session")


def _holds(value: object, text: str) -> bool:
    return text.encode() in msgspec.json.encode(value)


POINTS: Points = {
    "status_postpones_expiry": _expiry,
    "log_shows_reference": _log_reference,
    "status_shows_reference": _status_reference,
    "conflict_shows_session": _conflict,
    "activity_order": _order,
    "discard_confirmed": _discard,
}
"""Expiry, references, a second session, the log's order, the discard."""
