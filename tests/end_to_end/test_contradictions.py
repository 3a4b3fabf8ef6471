"""Each part of a receipt that a forger may change alone contradicts the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from target_sprinto.push.errors import SprintoError
from target_sprinto.receipts import document
from target_sprinto.receipts.consistency import contradiction
from target_sprinto.receipts.document import Receipt
from target_sprinto.sandbox import EntityRules
from tests.support.front_door import SCHEMA, STATE, people, record

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.support.front_door import FrontDoor

LONG_AGO = "2026-01-01T00:00:00.000Z"
LATER = "2126-01-01T00:00:00.000Z"
replace: Callable[..., Any] = msgspec.structs.replace


def session(one: Receipt, **changes: object) -> Receipt:
    return replace(one, session=replace(one.session, **changes))  # type: ignore[no-any-return]


def first(one: Receipt, name: str, **changes: object) -> Receipt:
    changed, *rest = getattr(one, name)
    return replace(one, **{name: [replace(changed, **changes), *rest]})  # type: ignore[no-any-return]


FORGED: dict[str, tuple[str, Callable[[Receipt], Receipt]]] = {
    "no digest of the input": ("receipt-outcome", lambda one: replace(one, input_sha256=None)),
    "no session": ("receipt-outcome", lambda one: replace(one, session=None)),
    "held, but processed": ("receipt-outcome", lambda one: replace(one, outcome="held")),
    "a failure without a code": ("receipt-outcome", lambda one: replace(one, exit_code=None)),
    "a phase before the start": ("receipt-times", lambda one: first(one, "phases", at=LONG_AGO)),
    "opened before the start": ("receipt-times", lambda one: session(one, opened_at=LONG_AGO)),
    "read after the end": ("receipt-times", lambda one: session(one, state_read_at=LATER)),
    "sent before the start": ("receipt-times", lambda one: first(one, "pages", first_sent_at=LONG_AGO)),
    "accepted after the end": ("receipt-times", lambda one: first(one, "pages", last_accepted_at=LATER)),
    "a start that is not a time": ("receipt-times", lambda one: replace(one, started_at="soon")),
    "another stream": ("receipt-counts", lambda one: first(one, "entity_types", streams={"people": 2})),
    "a reject of another type": (
        "receipt-counts",
        lambda one: replace(one, rejects=[replace(one.rejects[0], entity_type="Vendor"), *one.rejects[1:]]),
    ),
    "a reject of our own checks": (
        "receipt-counts",
        lambda one: replace(one, rejects=[replace(one.rejects[0], rejected_by="target"), *one.rejects[1:]]),
    ),
    "a reject left out": ("receipt-counts", lambda one: replace(one, rejects=one.rejects[1:])),
}


def test_a_part_that_is_changed_alone_is_a_contradiction(door: FrontDoor, subtests: pytest.Subtests) -> None:
    rules = EntityRules(schema={"required": ["name"]})
    door.sandbox.configure(door.integration_id, entities={"people": rules})
    without_a_name = {"type": "RECORD", "stream": "people", "record": {"id": 99}}
    finished = door.run(
        [SCHEMA, *people(3)[1:-1], without_a_name, record(100), STATE],
        on_invalid_record="divert",
        rejects_dir="rejects",
        report_path="receipt.json",
    )
    assert finished.code == 0, finished.stderr
    path = door.folder / "receipt.json"
    genuine = document.parse(path, path.read_bytes())
    assert [one.rejected_by for one in genuine.rejects] == ["sprinto"]
    assert contradiction(genuine, "it") is None
    for what, (code, forge) in FORGED.items():
        with subtests.test(what):
            found = contradiction(forge(genuine), "it")
            assert isinstance(found, SprintoError)
            assert found.code == code
