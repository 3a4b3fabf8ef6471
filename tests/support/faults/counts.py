"""Counts that lag, fall short, go over, or cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.support.faults.cells import CONTRARY, READINGS, Cell, read_as
from tests.support.faults.expectation import APPLIED_DIFFERS, DISCARDED, PROCESSED, Expected
from tests.support.sandbox import Edit, Fault, Reset

if TYPE_CHECKING:
    from tests.support.faults.traffic import Traffic

Change = Callable[[dict[str, Any]], dict[str, Any]]
BY_ENTITY = "accepted_records_by_entity"


def shifted(**by: int) -> Edit:
    """Counts that are off by these numbers."""

    def change(response: dict[str, Any]) -> dict[str, Any]:
        counts = {**response[BY_ENTITY]}
        for name, items in by.items():
            counts[name] = counts.get(name, 0) + items
        return response | {BY_ENTITY: counts, "accepted_records_total": sum(counts.values())}

    return Edit(change)


def with_counts(value: object) -> Edit:
    return Edit(lambda response: response | {BY_ENTITY: value})


def without_counts() -> Edit:
    return Edit(lambda response: {name: value for name, value in response.items() if name != BY_ENTITY})


FOR_GOOD = 9999
IGNORED = "The difference is ignored"
BELOW = shifted(people=-2)
ABOVE = shifted(people=2)
AGAINST_EACH_OTHER = shifted(people=1, teams=-1)
ONE_MORE_TYPE = shifted(devices=1)
UNREADABLE = {
    "missing": without_counts(),
    "null": with_counts(None),
    "a list": with_counts([25]),
    "strings": with_counts({"people": "13", "teams": "12"}),
    "fractions": with_counts({"people": 13.5, "teams": 12}),
}


def counts(traffic: Traffic) -> Iterator[Cell]:
    for readings in (READINGS, CONTRARY):
        for name, expected, faults in (
            *before_the_close(traffic),
            *after_the_close(traffic),
            *while_resolving(traffic),
        ):
            yield Cell(
                f"counts: {name}{read_as(readings)}",
                expected,
                faults,
                readings,
                pace={"max_count_lag": 1.5},
                traffic=traffic,
            )
        for name, says, faults in tolerable(traffic):
            yield Cell(
                f"counts, on_count_mismatch=apply: {name}{read_as(readings)}",
                PROCESSED.logging(IGNORED, *says),
                faults,
                readings,
                settings={"on_count_mismatch": "apply"},
                pace={"max_count_lag": 1.5},
                traffic=traffic,
            )
    yield from lagging(traffic)


def tolerable(traffic: Traffic) -> Iterator[tuple[str, tuple[str, ...], tuple[Fault, ...]]]:
    """Count mismatches that `on_count_mismatch: apply` turns into warnings."""
    for name, expected, faults in (*before_the_close(traffic), *after_the_close(traffic)):
        # A resent page must be confirmed, whatever the setting.
        if name.endswith("during the quiet period"):
            continue
        # Unreadable counts are not a count mismatch.
        if name not in {f"are {unreadable}" for unreadable in UNREADABLE} and expected is not PROCESSED:
            yield name, expected.says, faults


def lagging(traffic: Traffic) -> Iterator[Cell]:
    """Accepted pages show in the counts only after a delay, shorter or longer than the waits."""
    # All first pages in flight: if others were accepted, waiting for those would be long enough.
    again = Fault("push", times=traffic.together, company=traffic.together, effect=Reset())
    landed = replace(again, moment="after")
    twice = DISCARDED.temporary
    for name, expected, faults, lag, pace in (
        ("all pages", PROCESSED, (), 0.5, {}),
        (
            "all pages, for too long",
            DISCARDED.saying(traffic.format_counts()),
            (),
            60.0,
            {"max_count_lag": 1.0},
        ),
        ("a page was lost", PROCESSED, (again,), 0.1, {"recheck_interval": 0.4}),
        (
            "a page was lost, for longer than the recheck",
            PROCESSED,
            (again,),
            0.5,
            {"quiet_period": 1.5},
        ),
        ("the response was lost", PROCESSED, (landed,), 0.1, {"recheck_interval": 0.4}),
        # It is considered lost and resent; the counts show before the close that it landed twice.
        (
            "the response was lost, for longer than the recheck",
            twice,
            (landed,),
            0.5,
            {"quiet_period": 1.5},
        ),
    ):
        readings = replace(READINGS, counts_lag_seconds=lag)
        yield Cell(f"counts lag: {name}", expected, faults, readings, pace=pace, traffic=traffic)


def before_the_close(traffic: Traffic) -> Iterator[tuple[str, Expected, tuple[Fault, ...]]]:
    sent, below, above = (
        traffic.format_counts("people"),
        traffic.format_counts("people", people=-2),
        traffic.format_counts("people", people=2),
    )
    yield "lag for three status reads", PROCESSED, (Fault("status", times=3, effect=BELOW),)
    yield "fall short permanently", DISCARDED.saying(below, sent), (lasting(BELOW),)
    yield "go over", DISCARDED.saying(above, sent), (lasting(ABOVE),)
    yield "go over once", DISCARDED.saying(sent), (Fault("status", effect=ABOVE),)
    both = DISCARDED.saying(traffic.format_counts())
    yield "match in total but not by type", both, (lasting(AGAINST_EACH_OTHER),)
    yield (
        "have a type that was never sent",
        DISCARDED.saying("1 of types that were not sent"),
        (lasting(ONE_MORE_TYPE),),
    )
    for name, effect in UNREADABLE.items():
        yield f"are {name}", DISCARDED, (lasting(effect),)
    again = traffic.strike("middle page", effect=Reset())
    # Two status reads resolve it, the third shows equal counts; then the quiet period follows.
    for words, effect in (("go over", ABOVE), ("fall short", BELOW)):
        fault = Fault("status", nth=4, effect=effect)
        yield f"{words} during the quiet period", DISCARDED.temporary, (*again, fault)


def after_the_close(traffic: Traffic) -> Iterator[tuple[str, Expected, tuple[Fault, ...]]]:
    sent, below, above = (
        traffic.format_counts("people"),
        traffic.format_counts("people", people=-2),
        traffic.format_counts("people", people=2),
    )
    yield "go over at processed", APPLIED_DIFFERS.saying(above, sent), (lasting(ABOVE, 2),)
    yield "fall short at processed", APPLIED_DIFFERS.saying(below, sent), (lasting(BELOW, 2),)
    yield "go over in the close's response", APPLIED_DIFFERS.saying(sent), (Fault("close", effect=ABOVE),)


def while_resolving(traffic: Traffic) -> Iterator[tuple[str, Expected, tuple[Fault, ...]]]:
    landed = traffic.strike("middle page", moment="after", effect=Reset())
    lost = traffic.strike("middle page", effect=Reset())
    one_page = traffic.counts_of(traffic.moments["middle page"])
    behind = shifted(**{name: -items for name, items in one_page.items()})
    yield "of a page that landed lag for a look", PROCESSED, (*landed, Fault("status", effect=behind))
    # Unchanged twice means that it did not land; once resent, it shows in the counts.
    yield (
        "of a page that landed lag for too long",
        DISCARDED.temporary,
        (*landed, Fault("status", times=2, effect=behind)),
    )
    yield "of a lost page fit no page", DISCARDED.temporary, (*lost, lasting(shifted(people=3)))
    yield "of a page that landed fit no page", DISCARDED.temporary, (*landed, lasting(shifted(teams=1)))
    yield "of a lost page are gone", DISCARDED, (*lost, lasting(without_counts()))
    yield "of a lost page fall below what was accepted", DISCARDED.temporary, (*lost, lasting(BELOW))
    yield "of a lost page fall below for a look", PROCESSED, (*lost, Fault("status", effect=BELOW))


def lasting(effect: Edit, nth: int = 1) -> Fault:
    return Fault("status", nth=nth, times=FOR_GOOD, effect=effect)
