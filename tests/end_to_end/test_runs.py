"""A run from end to end, and the rows of the contract's exit table."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from target_sprinto.sandbox import EntityRules, Readings
from tests.support.front_door import PAGE, SCHEMA, STATE, FrontDoor, people, record, state_line
from tests.support.sandbox import Edit, Fault, Respond


def test_a_run_is_applied_and_then_emits_its_last_state(door: FrontDoor) -> None:
    first = {"type": "STATE", "value": {"first": 1}}
    finished = door.run([SCHEMA, record(1), first, record(2), STATE])
    assert (finished.code, finished.stdout) == (0, state_line())
    assert door.session().state == "processed"
    assert [entity["id"] for entity in door.applied()["people"]] == [1, 2]


def test_the_session_carries_the_runs_uuid_and_is_logged_with_expiry(door: FrontDoor) -> None:
    finished = door.run(people(1), client_reference_prefix="evidence")
    session = door.session()
    prefix, _, run = (session.client_reference_id or "").partition("/")
    assert prefix == "evidence"
    assert uuid.UUID(run).version == 4
    opened = next(line for line in finished.stderr.splitlines() if f"Session {session.id} is open" in line)
    assert "expires 20" in opened


def test_nothing_is_opened_before_the_first_page(door: FrontDoor) -> None:
    process = door.fed([SCHEMA, *(record(number) for number in range(99))])
    finished = door.finish(process, [b'{"type":'])
    assert finished.code == 1
    assert "No session was opened." in finished.error
    assert door.operations() == []


def test_pages_are_sent_while_input_is_being_read(door: FrontDoor) -> None:
    process = door.fed([SCHEMA, *(record(number) for number in range(250))])
    door.wait_for_operation("push", 2, responded=True)
    assert process.poll() is None
    finished = door.finish(process, [STATE])
    assert finished.code == 0
    assert door.pages() == [100, 100, 50]


def test_input_without_records_opens_no_session_and_emits_the_state(door: FrontDoor) -> None:
    finished = door.run([SCHEMA, STATE])
    assert (finished.code, finished.stdout) == (0, state_line())
    assert door.operations() == []


def test_empty_input_is_not_an_error(door: FrontDoor) -> None:
    finished = door.run(b"")
    assert (finished.code, finished.stdout) == (0, "")
    assert "WARNING" in finished.stderr
    assert "The input is empty: no message arrived." in finished.stderr
    assert door.operations() == []
    assert "WARNING" not in door.run([STATE]).stderr


def test_closed_stdin_is_not_an_error(door: FrontDoor) -> None:
    command = f'exec "$0" -m target_sprinto --config {door.config()} <&-'
    finished = subprocess.run(
        ["bash", "-c", command, os.environ.get("PYTHON", __import__("sys").executable)],
        capture_output=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (0, b"")


def test_few_records_of_forty_streams_share_two_pages(door: FrontDoor) -> None:
    messages: list[object] = []
    for number in range(40):
        messages.append(SCHEMA | {"stream": f"stream{number}"})
        messages.extend(record(item, f"stream{number}") for item in range(3))
    finished = door.run([*messages, STATE])
    assert finished.code == 0
    assert door.pages() == [100, 20]
    assert len(door.applied()) == 40


def test_page_size_is_respected(door: FrontDoor) -> None:
    assert door.run(people(25), page_size=10).code == 0
    assert door.pages() == [10, 10, 5]


def test_pages_stay_below_five_million_bytes_of_json(door: FrontDoor) -> None:
    messages = [SCHEMA, *(record(number, name="é" * 300_000) for number in range(20)), STATE]
    assert door.run(messages).code == 0
    sizes = [seen.size for seen in door.sandbox.requests(door.integration_id) if seen.operation == "push"]
    assert len(sizes) == 3
    assert max(sizes) <= 5_000_000
    assert [len(entity["name"]) for entity in door.applied()["people"]] == [300_000] * 20


def test_a_record_that_fits_no_page_discards_the_run(door: FrontDoor) -> None:
    messages = [SCHEMA, *(record(number) for number in range(100)), record(100, name="x" * 5_000_000), STATE]
    finished = door.run(messages)
    assert (finished.code, finished.stdout) == (1, "")
    assert "stream 'people', input line 102" in finished.error
    assert "[record-too-large]" in finished.error
    assert door.session().state == "cancelled"


@pytest.mark.parametrize("compress", [True, False])
def test_compress_decides_whether_bodies_are_compressed(door: FrontDoor, *, compress: bool) -> None:
    assert door.run(people(100), compress=compress).code == 0
    (push,) = [seen for seen in door.sandbox.requests(door.integration_id) if seen.operation == "push"]
    assert push.headers.get("Content-Encoding") == ("gzip" if compress else None)
    assert (len(push.body) < push.size / 2) == compress


def test_other_sessions_and_own_status_are_checked_before_the_close(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, processing_seconds=0.0)
    assert door.run(people(1)).code == 0
    assert door.operations()[:5] == ["create", "push", "integration_status", "status", "close"]


def test_another_session_in_processing_is_waited_for(door: FrontDoor) -> None:
    busy = {"active": 1, "processing": 1, "processed": 0, "failed": 0, "expired": 0}
    fault = Fault(
        "integration_status",
        times=2,
        integration_id=door.integration_id,
        effect=Edit(lambda response: response | {"sessions": busy}),
    )
    door.sandbox.inject(fault)
    finished = door.run(people(1))
    assert finished.code == 0
    assert len(door.sandbox.fired(door.integration_id)) == 2
    assert door.operations().count("integration_status") == 3
    assert "Waiting for another session" in finished.stderr


def test_waiting_for_a_session_in_processing_is_limited(door: FrontDoor) -> None:
    busy = {"active": 1, "processing": 1, "processed": 0, "failed": 0, "expired": 0}
    door.sandbox.inject(
        Fault(
            "integration_status",
            times=1000,
            integration_id=door.integration_id,
            effect=Edit(lambda response: response | {"sessions": busy}),
        )
    )
    finished = door.run(people(1), processing_timeout_seconds=1)
    assert finished.code == 0
    assert "applying this one anyway" in finished.stderr


def test_lagging_counts_are_waited_for(door: FrontDoor) -> None:
    door.sandbox.inject(
        Fault(
            "status",
            times=2,
            integration_id=door.integration_id,
            effect=Edit(lambda response: response | {"accepted_records_by_entity": {"people": 2}}),
        )
    )
    finished = door.run(people(3))
    assert finished.code == 0
    assert len(door.sandbox.fired(door.integration_id)) == 2


def test_counts_above_the_sent_records_discard_the_run(door: FrontDoor) -> None:
    door.sandbox.inject(
        Fault(
            "status",
            integration_id=door.integration_id,
            effect=Edit(lambda response: response | {"accepted_records_by_entity": {"people": 4}}),
        )
    )
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert "Sprinto counts 4 people, but this run sent 3 people." in finished.error
    assert door.session().state == "cancelled"


EXPECT = {"people": {"min_records": 3}}


@pytest.mark.parametrize(
    ("count", "expect"),
    [(3, EXPECT), (0, {}), (0, {"people": {"min_records": 0}}), (7, EXPECT)],
)
def test_minimum_is_met(door: FrontDoor, count: int, expect: dict[str, Any]) -> None:
    finished = door.run(people(count), expect=expect)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert len(door.applied().get("people", [])) == count


@pytest.mark.parametrize("page_size", [1, 100])
def test_too_few_records_discard_the_run(door: FrontDoor, page_size: int) -> None:
    finished = door.run(people(2), expect=EXPECT, page_size=page_size)
    assert (finished.code, finished.stdout) == (1, "")
    assert "Too few records: 2 people (at least 3)." in finished.error
    assert finished.error.endswith("[too-few-records]")
    assert door.session().state == "cancelled"
    assert door.applied() == {}


def test_a_tap_without_output_replaces_nothing(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, readings=Readings(apply="replace"))
    assert door.run(people(3), expect=EXPECT).code == 0
    for silent in (people(0), [STATE], b""):
        finished = door.run(silent, expect=EXPECT)
        assert (finished.code, finished.stdout) == (1, "")
        assert "Too few records: 0 people (at least 3). No session was opened." in finished.error
    assert len(door.applied()["people"]) == 3
    assert len(door.sessions()) == 1


def test_a_minimum_applies_to_the_entity_type(door: FrontDoor) -> None:
    maps = {"expect": {"staff": {"min_records": 2}}, "entity_types": {"people": "staff"}}
    assert door.run(people(2), **maps).code == 0
    assert door.run([SCHEMA | {"stream": "staff"}, *people(1)], **maps).code == 1


@pytest.mark.parametrize("counted", [2, 4])
def test_a_count_mismatch_is_a_warning_under_apply(door: FrontDoor, counted: int) -> None:
    door.pace["max_count_lag"] = 0.3
    door.sandbox.inject(
        Fault(
            "status",
            times=1000,
            integration_id=door.integration_id,
            effect=Edit(lambda response: response | {"accepted_records_by_entity": {"people": counted}}),
        )
    )
    finished = door.run(people(3), on_count_mismatch="apply", report_path="kept/receipt.json")
    assert (finished.code, finished.stdout) == (0, state_line())
    message = f"Sprinto counts {counted} people, but this run sent 3 people. The difference is ignored"
    # Before the close and at `processed`.
    assert finished.stderr.count(message) == 2
    assert len(door.applied()["people"]) == 3
    # An auditor sees it too, also after another run.
    assert door.run(people(0), report_path="kept").code == 0
    said = f"Sprinto counted {counted} people, but the run sent 3 people."
    for words, shown in {
        ("verify", "kept/receipt.json"): f"{said}\n",
        ("verify", "kept"): f"kept/receipt.json: {said} [count-mismatch]\n",
        ("receipt", "kept/receipt.json", "--html"): said,
        ("history", "kept"): f"kept/receipt.json: {said} [count-mismatch]\n",
        ("history", "kept", "--every", "1h", "--format", "html"): "Applied [count-mismatch]",
    }.items():
        assert shown in door.finish(door.start(*words, program="sprintoctl")).stdout


def test_an_expired_session_with_a_count_mismatch_is_never_applied(
    door: FrontDoor,
) -> None:
    door.sandbox.inject(
        Fault(
            "status",
            times=1000,
            integration_id=door.integration_id,
            effect=Edit(lambda response: response | {"accepted_records_by_entity": {"people": 4}}),
        )
    )
    process = door.fed(people(3)[:-1], on_count_mismatch="apply", page_size=1)
    door.wait_for_operation("push", 3, responded=True)
    door.sandbox.wait_for(lambda box: box.sessions(door.integration_id)[0].accepted_total == 3)
    door.sandbox.expire(door.integration_id)
    finished = door.finish(process, [STATE])
    assert (finished.code, finished.stdout) == (1, "")
    assert (
        "4 people, but this run sent 3 people. It is not ignored, because the session has" in finished.error
    )
    assert door.applied() == {}


def test_a_count_mismatch_after_the_close_fails_without_a_state(door: FrontDoor) -> None:
    door.sandbox.inject(
        Fault(
            "status",
            nth=2,
            times=100,
            integration_id=door.integration_id,
            effect=Edit(lambda response: response | {"accepted_records_by_entity": {"people": 5}}),
        )
    )
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert "5 people, but this run sent 3 people" in finished.error
    assert "only after session" in finished.error
    assert door.session().state == "processed"


def test_permanently_failed_processing_is_reported_without_a_state(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, processing_outcomes=("failed", "failed"))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert "[processing-failed]" in finished.error
    assert door.session().id in finished.error
    assert "may still be applied" in finished.error
    assert door.applied() == {}


def test_processing_that_succeeds_on_retry_is_a_success(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, processing_outcomes=("failed", "processed"))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (0, state_line())


def test_a_processing_timeout_names_the_session(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, processing_seconds=60)
    finished = door.run(people(3), processing_timeout_seconds=0.5)
    assert (finished.code, finished.stdout) == (75, "")
    assert "[processing-timeout]" in finished.error
    assert (
        f"Session {door.session().id} was sent an apply request, and may still be applied." in finished.error
    )
    assert door.session().state == "processing"


def on_status(door: FrontDoor, change: dict[str, Any], nth: int, times: int = 1) -> None:
    edit = Edit(lambda body: body | change)
    door.sandbox.inject(Fault("status", nth, times, door.integration_id, effect=edit))


def test_a_status_after_the_close_may_still_show_expired(door: FrontDoor) -> None:
    """A session may also be closed from `expired`, so a replica may show that for a while."""
    on_status(door, {"state": "expired"}, nth=2, times=3)
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert len(door.sandbox.fired(door.integration_id)) == 3


def test_a_status_that_stays_expired_after_the_close_never_says_that_nothing_was_applied(
    door: FrontDoor,
) -> None:
    on_status(door, {"state": "expired"}, nth=2, times=999)
    finished = door.run(people(3), processing_timeout_seconds=0.5)
    assert (finished.code, finished.stdout) == (75, "")
    assert "may still be applied" in finished.error
    assert "nothing was applied" not in finished.stderr


def test_counts_missing_at_processed_are_read_again(door: FrontDoor) -> None:
    on_status(door, {"accepted_records_by_entity": None}, nth=2, times=2)
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert len(door.sandbox.fired(door.integration_id)) == 2


def test_counts_that_stay_missing_at_processed_are_a_mismatch_of_an_applied_session(door: FrontDoor) -> None:
    door.pace["max_count_lag"] = 0.3
    on_status(door, {"accepted_records_by_entity": None}, nth=2, times=999)
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert f"This was seen only after session {door.session().id} was applied" in finished.error
    assert "[count-mismatch]" in finished.error


@pytest.mark.parametrize("nth", [1, 2])
def test_the_status_of_another_session_is_never_believed(door: FrontDoor, nth: int) -> None:
    """Before the close and after it: the STATE is written only once this session is processed."""
    on_status(door, {"id": "another", "state": "processed"}, nth=nth, times=999)
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert "about another session" in finished.error
    assert ("may still be applied" in finished.error) is (nth == 2)


def test_a_discard_is_not_confirmed_by_the_status_of_another_session(door: FrontDoor) -> None:
    door.sandbox.inject(Fault("close", 1, 999, door.integration_id, effect=Respond(500)))
    on_status(door, {"id": "another", "state": "cancelled"}, nth=1, times=999)
    finished = door.run([*people(100)[:-1], b"}"])
    assert "its discard is not confirmed" in finished.error
    assert "was discarded" not in finished.error


def test_an_expired_session_accepts_no_more_pages(door: FrontDoor) -> None:
    door.sandbox.configure(door.integration_id, inactivity_timeout_seconds=0.3)
    door.pace["keep_alive"] = 60
    process = door.midway()
    process.send_signal(signal.SIGSTOP)
    door.sandbox.wait_for(lambda box: box.sessions(door.integration_id)[0].state == "expired")
    process.send_signal(signal.SIGCONT)
    finished = door.finish(process, [record(100), STATE])
    assert (finished.code, finished.stdout) == (75, "")
    assert "[session-ended]" in finished.error
    assert "it is expired; nothing was applied" in finished.error
    assert door.applied() == {}


def test_a_session_applied_by_another_client_is_reported_as_applied(door: FrontDoor) -> None:
    process = door.midway()
    close_by_hand(door)
    finished = door.finish(process, [record(100), STATE])
    assert (finished.code, finished.stdout) == (1, "")
    assert "it is processed, and what it had accepted was applied" in finished.error


def close_by_hand(door: FrontDoor) -> None:
    import requests  # noqa: PLC0415 - one test's own client

    url = f"{door.sandbox.base_url}/v1/integrations/{door.integration_id}/sessions/{door.session().id}/close"
    response = requests.post(url, json={"status": "apply"}, headers={"api-key": "sandbox-key"}, timeout=5)
    assert response.status_code == 202
    door.sandbox.wait_for(lambda box: box.sessions(door.integration_id)[0].state == "processed")


def test_another_active_session_is_a_conflict(door: FrontDoor) -> None:
    first = door.midway()
    second = door.run(people(3))
    assert (second.code, second.stdout) == (75, "")
    assert "[session-conflict]" in second.error
    assert "No session was opened" in second.error
    assert door.finish(first, [STATE]).code == 0
    assert len(door.applied()["people"]) == 100


def test_a_rejected_page_names_its_origin_and_saves_the_response(door: FrontDoor) -> None:
    schema = {"properties": {"name": {"maxLength": 12}}}
    door.sandbox.configure(door.integration_id, entities={"people": EntityRules(schema=schema)})
    messages = [
        SCHEMA,
        *(record(number) for number in range(101)),
        record(101, name="s3cr3t-much-too-long"),
        STATE,
    ]
    finished = door.run(messages)
    assert (finished.code, finished.stdout) == (1, "")
    assert "Sprinto rejected page 2 (stream 'people', input line 102 to input line 103)" in finished.error
    assert "which is input line 103 if Sprinto counts from 0 within the type" in finished.error
    assert "field 'name'" in finished.error
    (response,) = (door.folder / "rejects").iterdir()
    assert f"Sprinto's response is in rejects/{response.name}." in finished.error
    assert response.name == f"{(door.session().client_reference_id or '').rpartition('/')[2]}.response.json"
    assert stat.S_IMODE(response.stat().st_mode) == 0o600
    (entry,) = json.loads(response.read_text())
    assert "s3cr3t-much-too-long" in entry["response"]["error"]["details"][0]["issue"]
    assert "page 2" in entry["about"]
    assert "[page-refused]" in finished.error
    assert door.session().state == "cancelled"
    assert door.applied() == {}


def test_nothing_more_is_sent_after_a_rejected_page(door: FrontDoor) -> None:
    door.sandbox.inject(Fault("push", nth=2, integration_id=door.integration_id, effect=Respond(400)))
    finished = door.run(people(1000))
    assert finished.code == 1
    # The second page is rejected at most twice: a compressed page is retried once without compression.
    assert len(door.pages()) == 2
    assert door.session().state == "cancelled"


def test_a_rejection_ends_the_run_while_the_tap_is_silent(door: FrontDoor) -> None:
    door.sandbox.inject(Fault("push", times=9, integration_id=door.integration_id, effect=Respond(400)))
    process = door.fed(PAGE)
    assert process.wait(timeout=15) == 1
    assert door.session().state == "cancelled"
    process.communicate()


@pytest.mark.parametrize("cold", [True, False])
def test_broken_stdout_writes_the_state_to_stderr(door: FrontDoor, *, cold: bool) -> None:
    read, write = os.pipe()
    os.close(read)
    process = door.start(stdout=write, cold=cold)
    os.close(write)
    finished = door.finish(process, people(3))
    assert finished.code == 1
    assert "[state-not-written]" in finished.error
    assert json.dumps(STATE["value"]) in finished.error
    assert door.session().state == "processed"


@pytest.mark.parametrize(
    "env", [{}, pytest.param({"PYTHONIOENCODING": "ascii"}, marks=pytest.mark.slow)], ids=["UTF-8", "ASCII"]
)
def test_a_state_on_stderr_is_the_same_json(door: FrontDoor, env: dict[str, str]) -> None:
    """Whatever the encoding, and not shortened."""
    state = '{"a":  "b  c\u00a0d", "é": "😀\u2028"}'
    with Path("/dev/full").open("wb") as full:
        process = door.start(stdout=full.fileno(), cold=bool(env), env=env)
        finished = door.finish(process, [SCHEMA, record(1), f'{{"type":"STATE","value":{state}}}'.encode()])
    assert finished.code == 1
    assert finished.error.endswith(r'{"a":  "b  c\u00a0d", "\u00e9": "\ud83d\ude00\u2028"}')


def test_a_failed_discard_names_session_expiry_and_command(door: FrontDoor) -> None:
    door.sandbox.inject(Fault("close", times=99, integration_id=door.integration_id, effect=Respond(401)))
    finished = door.run([SCHEMA, *(record(number) for number in range(100)), b"}"])
    assert finished.code == 1
    session = door.session()
    assert session.state == "active"
    assert f"sprintoctl discard {session.id} --config {door.folder}/" in finished.error
    assert "It expires 20" in finished.error


def test_records_without_a_final_state_fail_the_run(door: FrontDoor) -> None:
    finished = door.run([SCHEMA, record(1), STATE, record(2)])
    assert (finished.code, finished.stdout) == (1, "")
    assert "check its log" in finished.error
    assert "[missing-final-state]" in finished.error


def test_require_final_state_false_accepts_a_tap_without_states(door: FrontDoor) -> None:
    finished = door.run([SCHEMA, record(1)], require_final_state=False)
    assert (finished.code, finished.stdout) == (0, "")
    assert door.session().state == "processed"


def test_an_input_file_needs_no_final_state(door: FrontDoor, tmp_path: Path) -> None:
    from tests.support.front_door import as_input  # noqa: PLC0415 - used once

    path = tmp_path / "input.singer"
    path.write_bytes(as_input([SCHEMA, STATE, record(1)]))
    finished = door.run(b"", "--config", str(door.config()), "--input", str(path))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert len(door.applied()["people"]) == 1


def test_activate_version_is_logged_once_and_changes_nothing(door: FrontDoor) -> None:
    version = {"type": "ACTIVATE_VERSION", "stream": "people", "version": 1}
    finished = door.run([SCHEMA, version, record(1), version, STATE])
    assert finished.code == 0
    assert finished.stderr.count("ACTIVATE_VERSION") == 1
    assert len(door.applied()["people"]) == 1


@pytest.mark.parametrize("apply", ["append", "replace"])
def test_sprinto_decides_how_records_are_applied(door: FrontDoor, apply: str) -> None:
    readings = Readings(apply=apply)  # type: ignore[arg-type] # a parameter of the test
    door.sandbox.configure(door.integration_id, readings=readings)
    assert door.run(people(3)).code == 0
    assert door.run(people(2)).code == 0
    assert len(door.applied()["people"]) == (5 if apply == "append" else 2)


def test_a_close_that_was_not_performed_is_followed_by_a_discard(door: FrontDoor) -> None:
    door.sandbox.inject(Fault("close", integration_id=door.integration_id, effect=Respond(403)))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (1, "")
    assert "[unauthorized]" in finished.error
    assert "was discarded" in finished.error
    assert door.session().state == "cancelled"


@pytest.mark.parametrize(
    ("entity_type", "field", "said"),
    [
        ("User", "workEmail", "field 'workEmail'"),
        ("Device", "serial", "a field that the run does not know"),
    ],
)
def test_a_missing_field_is_named_if_it_is_documented(
    door: FrontDoor, entity_type: str, field: str, said: str
) -> None:
    """No record has it, so only the documented schema shows that it is not a value."""
    rules = EntityRules(schema={"required": [field]})
    door.sandbox.configure(door.integration_id, entities={entity_type: rules})
    finished = door.run(people(2), entity_types={"people": entity_type})
    assert (finished.code, finished.stdout) == (1, "")
    assert said in finished.error


def test_a_missing_field_is_named_wherever_the_entity_schema_describes_it(door: FrontDoor) -> None:
    rules = EntityRules(schema={"required": ["serial"]})
    door.sandbox.configure(door.integration_id, entities={"Device": rules})
    schema = {"allOf": [{"properties": {"serial": {"type": "string"}}}]}
    finished = door.run(
        people(2), entity_types={"people": "Device"}, entity_schemas={"Device": {"schema": schema}}
    )
    assert "field 'serial'" in finished.error
