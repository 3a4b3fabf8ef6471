"""A structured log, configured as in docs/monitoring.md, has a run's outcome in fields."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto.sandbox import EntityRules
from tests.support.commands import DOCS, blocks
from tests.support.front_door import SCHEMA, STATE, feed, people, record
from tests.support.sandbox import Fault, Respond

if TYPE_CHECKING:
    import subprocess

    from tests.support.front_door import Finished, FrontDoor

(CONFIG,) = [block.text for block in blocks(DOCS / "monitoring.md") if block.mark == "file: logging.yaml"]


def start(door: FrontDoor, **config: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - any setting
    path = door.folder / "logging.yaml"
    path.write_text(CONFIG)
    return door.start(env={"SINGER_SDK_LOG_CONFIG": str(path)}, **config)


def last_line(door: FrontDoor, messages: list[Any] | bytes, **config: object) -> tuple[dict[str, Any], str]:
    return last_of(door.finish(start(door, **config), messages))


def last_of(finished: Finished) -> tuple[dict[str, Any], str]:
    """Return the fields and message of the line that ends a run. Every line is JSON."""
    lines = [json.loads(line) for line in finished.stderr.splitlines()]
    (found,) = [line for line in lines if "code" in line["extra"]]
    return found["extra"], found["message"]


def test_an_applied_run(door: FrontDoor) -> None:
    fields, message = last_line(door, people(150))
    assert fields == {
        "code": None,
        "outcome": "applied",
        "session_id": door.session().id,
        "records": {"people": 150},
        "pages": 2,
    }
    assert message == "STATE was written to stdout."


def test_a_dry_run_with_a_reject_has_no_second_result(door: FrontDoor) -> None:
    rules = EntityRules(schema={"properties": {"name": {"maxLength": 20}}})
    door.sandbox.configure(door.integration_id, entities={"people": rules})
    fields, message = last_line(door, [SCHEMA, record(1), record(2, name="s" * 30), STATE], dry_run=True)
    assert (fields["code"], fields["outcome"], fields["records"]) == (
        "would-be-refused",
        "discarded",
        {"people": 1},
    )
    assert message.startswith("1 record would be rejected")


def test_a_state_that_is_not_written_has_no_second_result(door: FrontDoor) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        process = start(door, stdout=full)
        fields, _ = last_of(door.finish(process, people(3)))
    assert (fields["code"], fields["outcome"]) == ("state-not-written", "applied")


def test_a_failed_run(door: FrontDoor) -> None:
    rejected = Fault("push", nth=2, integration_id=door.integration_id, effect=Respond(401))
    door.sandbox.inject(rejected)
    fields, message = last_line(door, people(250))
    assert fields == {
        "code": "unauthorized",
        "outcome": "discarded",
        "session_id": door.session().id,
        "records": {"people": 100},
        "pages": 1,
    }
    assert message.endswith("[unauthorized]")


def test_a_run_ended_by_a_signal(door: FrontDoor) -> None:
    process = start(door)
    feed(process, people(150)[:-1])
    door.wait_for_operation("push", responded=True)
    process.send_signal(signal.SIGTERM)
    finished = door.finish(process, None)
    fields, message = last_of(finished)
    assert (fields["code"], fields["outcome"]) == ("interrupted", "discarded")
    assert fields["session_id"] == door.session().id
    assert message.endswith("[interrupted]")


@pytest.mark.parametrize(
    ("config", "outcome"),
    [({"dry_run": True}, "discarded"), ({"finish": "hold", "report_path": "receipt.json"}, "held")],
)
def test_a_run_that_applies_nothing_by_choice(door: FrontDoor, config: dict[str, Any], outcome: str) -> None:
    fields, _ = last_line(door, people(3), **config)
    assert (fields["code"], fields["outcome"], fields["records"]) == (None, outcome, {"people": 3})


@pytest.mark.parametrize(
    ("messages", "config", "code"),
    [(people(0), {}, None), (b"x", {}, "invalid-line"), (people(1), {"page_size": 0}, "settings")],
)
def test_a_run_that_opens_no_session(
    door: FrontDoor, messages: list[Any] | bytes, config: dict[str, Any], code: str | None
) -> None:
    fields, _ = last_line(door, messages, **config)
    empty: dict[str, Any] = {"outcome": "nothing sent", "session_id": None, "records": {}, "pages": 0}
    assert fields == {"code": code, **empty}
