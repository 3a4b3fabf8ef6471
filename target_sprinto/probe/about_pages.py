"""Conclusions from the responses to pages, and from the counts after them. Pure."""

from __future__ import annotations

from target_sprinto.probe.evidence import Evidence, field_of, json_of
from target_sprinto.probe.examples import PAGE_HINT
from target_sprinto.probe.finding import Finding, NotShown, Points, no, reached, yes

_NO_COUNTS = "the session's counts do not show it"


def _gzip(evidence: Evidence) -> Finding:
    page = reached(evidence.compressed)
    if page.accepted:
        return yes("a gzip page was accepted", "`compress: true`, the default, fits")
    if evidence.first is None:
        plain = reached(evidence.uncompressed)
        raise NotShown(
            f"the example got {page.response.status} compressed and {plain.response.status} uncompressed"
        )
    detected = page.response.status in {400, 415}
    means = "`compress: true` costs each run a rejected page" if detected else "`compress: true` fails a run"
    return no(f"a gzip page got {page.response.status}; uncompressed it was accepted", means)


_ENCODING_MEANS = {
    202: "Content-Encoding is ignored",
    400: "the same as for rejected records: a run then tries its first page uncompressed",
    415: "a rejected encoding can be distinguished from rejected records",
}


def _unknown_encoding(evidence: Evidence) -> Finding:
    page = reached(evidence.unknown_encoding)
    status = page.response.status
    means = _ENCODING_MEANS.get(status, "")
    return Finding(status, f"an unknown Content-Encoding got {status}", means)


def _ingest_total(evidence: Evidence) -> Finding:
    pages = [
        (page, field_of(json_of(page.response), "accepted_count_total"))
        for page in (evidence.first, evidence.repeated, evidence.hinted)
        if page is not None and page.accepted
    ]
    reached(pages)
    fits = {
        "page": all(total == page.items for page, total in pages),
        "session": all(
            page.before.total is not None and total == page.before.total + page.items for page, total in pages
        ),
    }
    fitting = [name for name, fit in fits.items() if fit]
    if len(fitting) != 1:
        raise NotShown("`accepted_count_total` fits both readings, or neither")
    counted = "the page" if fitting == ["page"] else "the session so far"
    return Finding(
        fitting[0],
        f"`accepted_count_total` counts {counted}",
        "nothing: a run trusts only the status's counts",
    )


def _counts_lag(evidence: Evidence) -> Finding:
    fatal = "every run would be discarded: its counts cannot be compared"
    first = reached(evidence.first)
    if reached(first.after).total is None:
        raise NotShown("the status has no counts by entity type that can be read", fatal)
    if evidence.shown_after is None:
        raise NotShown(f"an accepted page was not counted within {evidence.lag:g} s", fatal)
    seconds = round(evidence.shown_after, 1)
    if not seconds:
        return Finding(0.0, "an accepted page was counted at once", "no run has to wait for its counts")
    return Finding(
        seconds,
        f"an accepted page was counted after about {seconds:g} s",
        f"a run waits for its counts, at most {evidence.lag:g} s",
    )


def _repeated(evidence: Evidence) -> Finding:
    page = reached(evidence.repeated)
    if not page.accepted:
        means = "records that a tap sends twice may be rejected"
        return no(f"the same page sent again got {page.response.status}", means)
    counted = page.grown
    if evidence.shown_after is None or counted not in {0, page.items}:
        raise NotShown(_NO_COUNTS)
    if counted:
        means = "a page is never sent again blindly: that would stage it twice"
        return yes("the same page sent again was counted again", means)
    return no(
        "the same page sent again was accepted, but not counted",
        "a run that sends a record twice would be discarded: its counts differ",
    )


def _page_hint(evidence: Evidence) -> Finding:
    page, means = reached(evidence.hinted), "nothing: the target sends no `page_hint`"
    if not page.accepted:
        return no(f"a page with `page_hint` got {page.response.status}", means)
    if field_of(field_of(json_of(page.response), "echoes"), "page_hint") == PAGE_HINT:
        return yes("`page_hint` beside `entities` was echoed", means)
    return no("`page_hint` beside `entities` was accepted, but not echoed", means)


def _parallel(evidence: Evidence) -> Finding:
    pages = reached(evidence.parallel)
    stay = "`max_parallel_pages` must stay 1"
    if not all(page.accepted for page in pages):
        responses = " and ".join(str(page.response.status) for page in pages)
        return no(f"two pages sent at once got {responses}", stay)
    if pages[0].grown == sum(page.items for page in pages):
        means = "`max_parallel_pages` may be more than 1"
        return yes("two pages sent at once were accepted and counted", means)
    if not _repeated(evidence).value:
        raise NotShown(_NO_COUNTS)
    return no("two pages sent at once were accepted, but not both counted", stay)


def _rejections(evidence: Evidence) -> Finding:
    accepted = [page for page in evidence.pages if page.accepted]
    for page in accepted:
        body = json_of(page.response)
        if field_of(body, "rejected_count_total") or field_of(body, "validation_errors"):
            means = "a run treats such a response as a contradiction and is discarded"
            return yes("the response to an accepted page reported rejected records", means)
    raise NotShown(f"no response to {len(accepted)} accepted pages reported rejected records")


POINTS: Points = {
    "gzip": _gzip,
    "unknown_encoding_status": _unknown_encoding,
    "ingest_total": _ingest_total,
    "counts_lag_seconds": _counts_lag,
    "repeated_page_counts_twice": _repeated,
    "page_hint_echoed": _page_hint,
    "parallel_pages": _parallel,
    "rejections_in_202": _rejections,
}
"""Compression, counting, repeats, hints, pages sent at once."""
