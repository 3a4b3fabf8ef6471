"""`sprintoctl probe`: its findings, and that its session is always discarded."""

from __future__ import annotations

import json
import stat
import time
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
import pytest

from target_sprinto.probe.examples import PAGE_HINT
from target_sprinto.sandbox import EntityRules, Readings
from target_sprinto.singer.settings import settings
from tests.support.front_door import API_KEY, SECRET, SIGNALS, FrontDoor
from tests.support.sandbox import CutOff, Drop, Edit, Fault, Hang, Reset, Respond

if TYPE_CHECKING:
    import signal
    import subprocess
    from collections.abc import Mapping

    from target_sprinto.sandbox.operations import Operation
    from tests.support.sandbox import Effect

NUMBER = 48151623
"""Part of every example; it must never appear in the output."""

EXAMPLES = {
    "Device": {"id": NUMBER, "name": f"{SECRET} laptop", "owner": {"id": NUMBER}, "tags": [SECRET]},
    "User": {"id": NUMBER, "name": f"{SECRET} Ada", "left": None},
}
NEEDS_ID = {"type": "object", "required": ["id"], "properties": {"name": {"type": "string"}}}
STRICT = {name: EntityRules(schema=NEEDS_ID) for name in EXAMPLES}
NEVER_SHOWN = {"apply", "close_response_state", "discard_from_expired", "failed_leaves"}
NOT_REPORTED = {
    "log_shows_refused_creates",
    "log_lag_seconds",
    "log_ends",
    "old_sessions_are_purged",
    "clock_offset_seconds",
    "date_header",
    "close_response_counts",
    "processed_counts_lag_seconds",
    "session_hidden_seconds",
    "response_seconds",
    "unknown_entity_types",
}
"""A run must not depend on these."""

FIRST, AGAIN, HINTED, UNKNOWN, INVALID, PARALLEL = range(1, 7)
"""The number of each push if the first invalid record is rejected."""


@dataclass
class ProbeResult:
    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        (line,) = self.stdout.splitlines()
        return msgspec.json.decode(line, type=dict[str, Any])

    def finding(self, point: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = self.document["findings"]
        (only,) = [finding for finding in found if finding["point"] == point]
        return only

    def values(self) -> dict[str, Any]:
        return {finding["point"]: finding["value"] for finding in self.document["findings"]}

    @property
    def error(self) -> str:
        """The one line that says what happened."""
        (line,) = [line for line in self.stderr.splitlines() if line.startswith("sprintoctl: ")]
        return line


@pytest.fixture
def strict(door: FrontDoor) -> FrontDoor:
    door.sandbox.configure(door.integration_id, entities=STRICT)
    return door


def start(
    door: FrontDoor,
    examples: Mapping[str, object] = EXAMPLES,
    words: tuple[str, ...] = ("--json",),
    **options: Any,  # noqa: ANN401 - FrontDoor's
) -> subprocess.Popen[bytes]:
    arguments = ["probe", *words, "--config", str(door.config(**options.pop("settings", {})))]
    for name, example in examples.items():
        path = door.folder / f"{name}.json"
        path.write_text(json.dumps(example), encoding="utf-8")
        arguments += ["--entity-type", name, "--example", str(path)]
    return door.start(*arguments, program="sprintoctl", **options)


def finish(door: FrontDoor, process: subprocess.Popen[bytes], *, state: str = "cancelled") -> ProbeResult:
    """Return the result; check that everything is discarded, nothing is applied, and no value is shown."""
    out, err = process.communicate(timeout=45)
    probed = ProbeResult(process.returncode, out.decode(), err.decode())
    for leak in (API_KEY, SECRET, str(NUMBER), "Traceback"):
        assert leak not in probed.stdout + probed.stderr
    assert {session.state for session in door.sessions()} <= {state}
    assert door.applied() == {}
    seen = door.sandbox.requests(door.integration_id)
    assert {request.body for request in seen if request.operation == "close"} <= {b'{"status":"discard"}'}
    return probed


def probe(
    door: FrontDoor,
    examples: Mapping[str, object] = EXAMPLES,
    **options: Any,  # noqa: ANN401 - FrontDoor's
) -> ProbeResult:
    return finish(door, start(door, examples, **options))


def inject(door: FrontDoor, fault: Fault) -> Fault:
    fault = replace(fault, integration_id=door.integration_id)
    door.sandbox.inject(fault)
    return fault


# Findings


def readings() -> list[Readings]:
    """The defaults, and one variant for each other value of each field."""
    found = [Readings()]
    for name, hint in get_type_hints(Readings).items():
        if name in NOT_REPORTED:
            continue
        values: tuple[Any, ...] = (0.5,)
        if get_origin(hint) is Literal:
            values = get_args(hint)
        elif hint is bool:
            values = (True, False)
        default = getattr(Readings(), name)
        found += [replace(Readings(), **{name: value}) for value in values if value != default]
    return found


def name_of(reading: Readings) -> str:
    differs = [field.name for field in fields(Readings) if getattr(reading, field.name) != field.default]
    return "-".join(f"{name}={getattr(reading, name)}" for name in differs) or "defaults"


def expected(reading: Readings) -> dict[str, Any]:
    return {
        field.name: None if field.name in NEVER_SHOWN else getattr(reading, field.name)
        for field in fields(Readings)
        if field.name not in NOT_REPORTED
    }


def compare(probed: ProbeResult, wanted: dict[str, Any]) -> None:
    values = probed.values()
    lag = wanted.pop("counts_lag_seconds")
    # Loose enough for a busy machine.
    assert (0 < values["counts_lag_seconds"] < lag + 2) if lag else values["counts_lag_seconds"] == 0
    assert wanted.keys() <= values.keys(), "a reading is the probe's to report, or is in NOT_REPORTED"
    assert {name: values[name] for name in wanted} == wanted
    for finding in probed.document["findings"]:
        assert finding["shown"] == (finding["value"] is not None)
        assert finding["seen"].startswith("not shown: ") != finding["shown"]


# Every third by default; the others are tested together below.
@pytest.mark.parametrize(
    "reading",
    [
        pytest.param(reading, id=name_of(reading), marks=pytest.mark.slow if number % 3 else [])
        for number, reading in enumerate(readings())
    ],
)
def test_each_reading_is_reported(strict: FrontDoor, reading: Readings) -> None:
    strict.sandbox.configure(strict.integration_id, readings=reading)
    probed = probe(strict)
    assert probed.code == 0, probed.stderr
    compare(probed, expected(reading))
    for point in ("gzip", "repeated_page_counts_twice", "page_hint_echoed", "parallel_pages"):
        assert probed.finding(point)["value"] is True
    assert probed.finding("discard_confirmed")["value"] is True
    assert probed.finding("rejections_in_202")["value"] is None


OTHERS = Readings(
    ingest_total="session",
    status_postpones_expiry=False,
    errors_in="validation_errors",
    index_within="page",
    index_base=1,
    all_errors=False,
    log_shows_reference=False,
    status_shows_reference=True,
    conflict_shows_session=True,
    activity_order="newest_first",
    batches_count_rejected=True,
    unknown_encoding_status=400,
)


@pytest.mark.parametrize("reading", [Readings(), OTHERS], ids=["defaults", "others"])
@pytest.mark.parametrize("types", [1, 2])
def test_one_type_shows_all_findings_that_need_only_one(
    strict: FrontDoor, reading: Readings, types: int
) -> None:
    strict.sandbox.configure(strict.integration_id, readings=reading)
    probed = probe(strict, dict(list(EXAMPLES.items())[:types]))
    assert probed.code == 0, probed.stderr
    wanted = expected(reading)
    if types == 1:
        wanted["index_within"] = None
        assert "name a second one" in probed.finding("index_within")["seen"]
    compare(probed, wanted)


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("all_errors", [True, False])
def test_any_index_shows_whether_records_are_counted_per_page(
    strict: FrontDoor, base: Literal[0, 1], *, all_errors: bool
) -> None:
    reading = Readings(index_within="page", index_base=base, all_errors=all_errors)
    strict.sandbox.configure(strict.integration_id, readings=reading)
    compare(probe(strict), expected(reading))


TYPED = {"properties": {"name": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schemas", "message", "pushes"),
    [
        ({"Device": NEEDS_ID, "User": NEEDS_ID}, "an empty object got 400", 7),
        ({"Device": NEEDS_ID}, "an empty object got 400", 8),
        ({"User": TYPED}, "an object whose fields have other types got 400", 9),
        ({"Device": TYPED}, "an object whose fields have other types got 400", 10),
        ({}, "a number instead of an object got 400", 11),
    ],
)
def test_rejections_depend_on_the_schemas(
    door: FrontDoor, schemas: dict[str, dict[str, Any]], message: str, pushes: int
) -> None:
    rules = {name: EntityRules(schema=schema) for name, schema in schemas.items()}
    reading = Readings(index_within="page", batches_count_rejected=True)
    door.sandbox.configure(door.integration_id, readings=reading, entities=rules)
    probed = probe(door)
    assert probed.finding("errors_in")["seen"] == f"{message}, named in `error.details`"
    compare(probed, expected(reading))
    assert door.operations().count("push") == pushes


def test_nothing_is_reported_about_rejections_if_nothing_is_rejected(door: FrontDoor) -> None:
    taken = Respond(202, body={"session_id": "s", "accepted_count_total": 3})
    inject(door, Fault("push", INVALID, times=3, effect=taken))
    probed = probe(door, {"User": EXAMPLES["User"]})
    assert probed.code == 0
    for point in ("errors_in", "index_within", "index_base", "all_errors", "batches_count_rejected"):
        assert probed.finding(point)["seen"] == "not shown: no invalid record was rejected"


def test_a_probe_takes_nineteen_requests(strict: FrontDoor) -> None:
    probe(strict)
    operations = strict.operations()
    assert len(operations) == 19
    assert (operations[0], operations[-2:]) == ("create", ["close", "status"])
    reference = strict.session().client_reference_id or ""
    assert reference == f"target-sprinto/{UUID(reference.rpartition('/')[2], version=4)}"


@pytest.mark.parametrize("status", [415, 400, 500])
def test_without_gzip_the_probe_continues_uncompressed(strict: FrontDoor, status: int) -> None:
    inject(strict, Fault("push", FIRST, effect=Respond(status)))
    probed = probe(strict)
    assert probed.code == 0, probed.stderr
    assert probed.finding("gzip")["value"] is False
    assert str(status) in probed.finding("gzip")["seen"]
    assert probed.document["settings"] == {"compress": False, "max_parallel_pages": 2}
    compare(probed, expected(Readings()))
    encodings = [
        request.headers.get("Content-Encoding")
        for request in strict.sandbox.requests(strict.integration_id)
        if request.operation == "push"
    ]
    assert encodings.count("gzip") == 1


def test_an_example_that_is_never_accepted_is_reported_with_both_statuses(strict: FrontDoor) -> None:
    inject(strict, Fault("push", times=1000, effect=Respond(502)))
    gzip = probe(strict).finding("gzip")
    assert gzip["value"] is None
    assert gzip["seen"] == "not shown: the example got 502 compressed and 502 uncompressed"


def test_an_ignored_encoding_is_reported(strict: FrontDoor) -> None:
    taken = Respond(202, body={"session_id": "s", "accepted_count_total": 2})
    inject(strict, Fault("push", UNKNOWN, effect=taken))
    assert probe(strict).finding("unknown_encoding_status")["value"] == 202


def test_a_repeated_page_may_be_accepted_but_not_counted(strict: FrontDoor) -> None:
    taken = Respond(202, body={"session_id": "s", "accepted_count_total": 2})
    inject(strict, Fault("push", AGAIN, effect=taken))
    probed = probe(strict)
    assert probed.finding("repeated_page_counts_twice")["value"] is False
    assert "max_parallel_pages" not in probed.document["settings"]
    assert any("on_count_mismatch" in remark for remark in probed.document["remarks"])


@pytest.mark.parametrize("status", [400, 409])
def test_a_repeated_page_may_be_rejected(strict: FrontDoor, status: int) -> None:
    inject(strict, Fault("push", AGAIN, effect=Respond(status)))
    finding = probe(strict).finding("repeated_page_counts_twice")
    assert finding["value"] is False
    assert f"got {status}" in finding["seen"]


def without_echo(body: dict[str, Any]) -> dict[str, Any]:
    assert body["echoes"] == {"page_hint": PAGE_HINT}
    return {**body, "echoes": {}}


@pytest.mark.parametrize(
    ("effect", "message"), [(Edit(without_echo), "not echoed"), (Respond(400), "got 400")]
)
def test_a_missing_page_hint_is_reported(strict: FrontDoor, effect: Effect, message: str) -> None:
    inject(strict, Fault("push", HINTED, effect=effect))
    probed = probe(strict)
    assert probed.finding("page_hint_echoed")["value"] is False
    assert message in probed.finding("page_hint_echoed")["seen"]
    compare(probed, expected(Readings()))


@pytest.mark.parametrize("status", [409, 429, 500])
def test_parallel_pages_may_be_rejected(strict: FrontDoor, status: int) -> None:
    inject(strict, Fault("push", PARALLEL, effect=Respond(status, {"Retry-After": "1"})))
    probed = probe(strict)
    assert probed.code == 0
    assert probed.finding("parallel_pages")["value"] is False
    assert probed.document["settings"] == {}
    assert strict.operations().count("push") == PARALLEL + 1


def test_parallel_pages_are_in_flight_together(strict: FrontDoor) -> None:
    hang = inject(strict, Fault("push", PARALLEL, times=2, effect=Hang()))
    process = start(strict)
    strict.wait_for_operation("push", PARALLEL + 1)
    strict.sandbox.release(hang)
    assert finish(strict, process).finding("parallel_pages")["value"] is True


def rejecting(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "rejected_count_total": 1}


def test_rejections_in_an_accepted_page_are_reported(strict: FrontDoor) -> None:
    inject(strict, Fault("push", HINTED, effect=Edit(rejecting)))
    assert probe(strict).finding("rejections_in_202")["value"] is True


def test_a_rejection_with_422_is_reported(strict: FrontDoor) -> None:
    inject(strict, Fault("push", INVALID, effect=Respond(422)))
    probed = probe(strict)
    assert probed.finding("errors_in")["value"] == "neither"
    assert "got 422, named no record" in probed.finding("errors_in")["seen"]
    assert "unexpected response" in probed.finding("errors_in")["means"]


def static(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "expires_at": "2030-01-01T00:00:00Z"}


def test_an_unchanging_expiry_is_reported(strict: FrontDoor) -> None:
    inject(strict, Fault("status", 1, times=99, effect=Edit(static)))
    finding = probe(strict).finding("status_postpones_expiry")
    assert finding["value"] is False
    assert finding["seen"].startswith("neither ")


def test_a_reference_inside_another_text_does_not_count(strict: FrontDoor) -> None:
    def hide(body: dict[str, Any]) -> dict[str, Any]:
        for event in body["items"]:
            event["message"] += f": {event['details'].pop('client_reference_id', '')}"
        return body

    inject(strict, Fault("activity", 1, effect=Edit(hide)))
    probed = probe(strict)
    assert probed.finding("log_shows_reference")["value"] is False
    assert "inside other text" in probed.finding("log_shows_reference")["seen"]


def test_a_probe_works_without_an_activity_log(strict: FrontDoor) -> None:
    inject(strict, Fault("activity", 1, effect=Respond(404)))
    probed = probe(strict)
    assert probed.code == 0
    assert "could not be read" in probed.finding("log_shows_reference")["seen"]
    assert any("`on_active_session: discard`" in remark for remark in probed.document["remarks"])
    compare(probed, expected(Readings()) | {"log_shows_reference": None, "activity_order": None})


def without_counts(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "accepted_records_by_entity": "many", "accepted_batches": None}


def test_missing_counts_leave_their_findings_empty(strict: FrontDoor) -> None:
    inject(strict, Fault("status", 1, times=99, effect=Edit(without_counts)))
    probed = probe(strict)
    assert probed.code == 0, probed.stderr
    for point in ("counts_lag_seconds", "repeated_page_counts_twice", "parallel_pages"):
        assert probed.finding(point)["value"] is None
    assert probed.document["settings"] == {}
    assert any("discards every run" in remark for remark in probed.document["remarks"])


def test_a_session_that_a_replica_does_not_know_yet_is_probed(strict: FrontDoor) -> None:
    strict.sandbox.configure(strict.integration_id, readings=Readings(session_hidden_seconds=1.0))
    probed = probe(strict)
    assert probed.code == 0, probed.stderr


def test_counts_that_never_appear_are_reported(strict: FrontDoor) -> None:
    strict.pace["max_count_lag"] = 0.3
    strict.sandbox.configure(strict.integration_id, readings=Readings(counts_lag_seconds=60))
    probed = probe(strict)
    assert probed.code == 0
    assert "was not counted within 0.3 s" in probed.finding("counts_lag_seconds")["seen"]
    assert probed.finding("parallel_pages")["value"] is None


def test_only_existing_settings_are_suggested(strict: FrontDoor) -> None:
    inject(strict, Fault("push", FIRST, effect=Respond(415)))
    suggested = probe(strict).document["settings"]
    assert suggested
    assert set(suggested) <= set(settings.SCHEMA["properties"])


def test_the_default_output_is_a_table(strict: FrontDoor) -> None:
    probed = probe(strict, words=(), env={"COLUMNS": "100"})
    assert probed.code == 0
    lines = probed.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["Point", "Seen", "Means", "for", "a", "run"]
    for name in (*expected(Readings()), "gzip", "parallel_pages"):
        assert any(line.startswith(f"{name} ") for line in lines)
    assert 'Suggested settings: {"max_parallel_pages":2}' in lines
    notice, end = probed.stderr.splitlines()[-2:]
    assert "nothing is applied" in notice
    assert "anomalies" in notice
    assert end == f"Session {strict.session().id} was discarded; nothing was applied."


# Early ends


def test_a_rejected_example_is_reported_with_its_field(strict: FrontDoor) -> None:
    probed = probe(strict, {"User": {"name": NUMBER}})
    assert probed.code == 1
    assert "Sprinto rejected page 1 (the example of 'User'): " in probed.error
    assert "field 'name'" in probed.error
    assert "was discarded; nothing was applied." in probed.error
    assert "Fix the example, then probe again." in probed.error
    assert probed.finding("gzip")["value"] is None
    assert probed.finding("status_postpones_expiry")["value"] is True
    assert probed.document["discarded"] is True


def test_values_in_a_rejection_are_not_shown(strict: FrontDoor) -> None:
    issue = f"{SECRET} {NUMBER} {API_KEY}"
    faults = [{"entity_type": issue, "index": NUMBER, "field": issue, "issue": issue}]
    body = {"error": {"code": issue, "message": issue, "details": faults}, "validation_errors": faults}
    inject(strict, Fault("push", INVALID, effect=Respond(400, body=body)))
    assert probe(strict).finding("errors_in")["value"] == "both"
    inject(strict, Fault("push", PARALLEL + 2, times=2, effect=Respond(400, body=body)))
    assert probe(strict).error.endswith("[page-refused]")


def test_a_rejection_is_saved_in_a_private_file(strict: FrontDoor) -> None:
    issue = f"{SECRET} {NUMBER} {API_KEY}"
    body = {"error": {"code": "invalid", "message": issue, "details": []}}
    inject(strict, Fault("push", FIRST, times=9, effect=Respond(400, body=body)))
    probed = probe(strict)
    assert probed.error.endswith("[page-refused]")
    folder = strict.folder / "rejects"
    (file,) = folder.iterdir()
    assert f"Sprinto's response is in rejects/{file.name}" in probed.error
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)] == [0o700, 0o600]
    (entry,) = json.loads(file.read_text())
    assert entry["response"]["error"]["message"] == f"{SECRET} {NUMBER} [API key]"


def test_another_active_session_is_left_alone(strict: FrontDoor) -> None:
    hang = inject(strict, Fault("push", FIRST, effect=Hang()))
    first = start(strict)
    strict.wait_for_operation("push")
    second = finish(strict, start(strict), state="active")
    assert second.code == 75
    assert f"session {strict.session().id}" in second.error
    assert "No session was opened." in second.error
    assert second.error.endswith("[session-conflict]")
    assert {finding["value"] for finding in second.document["findings"]} == {None}
    assert strict.session().state == "active"
    assert strict.operations().count("close") == 0
    strict.sandbox.release(hang)
    assert finish(strict, first).code == 0


def test_a_second_session_is_discarded_too(strict: FrontDoor) -> None:
    inject(strict, Fault("create", 2, effect=Respond(201, body={"id": "second", "state": "active"})))
    strict.pace["shutdown_timeout"] = 4.0
    probed = probe(strict)
    assert probed.code == 1
    assert "second session could be opened" in probed.finding("conflict_shows_session")["seen"]
    assert "sprintoctl discard second" in probed.error
    assert f"Session {strict.session().id} was discarded" in probed.error


def signalled(door: FrontDoor, process: subprocess.Popen[bytes], number: signal.Signals) -> ProbeResult:
    began = time.monotonic()
    process.send_signal(number)
    process.wait(timeout=20)
    assert time.monotonic() - began < 10
    return finish(door, process)


@pytest.mark.parametrize(("number", "nth"), list(zip(SIGNALS, (FIRST, INVALID, PARALLEL), strict=True)))
def test_a_signal_discards(strict: FrontDoor, number: signal.Signals, nth: int) -> None:
    inject(strict, Fault("push", nth, moment="after", effect=Hang()))
    process = start(strict)
    strict.wait_for_operation("push", nth)
    probed = signalled(strict, process, number)
    assert (probed.code, probed.stdout) == (SIGNALS[number], "")
    assert f"Stopped by {number.name}. Session {strict.session().id} was discarded" in probed.error


def test_a_signal_discards_from_a_cold_start(strict: FrontDoor) -> None:
    inject(strict, Fault("push", AGAIN, effect=Hang()))
    process = start(strict, cold=True)
    strict.wait_for_operation("push", AGAIN)
    (number, code) = next(iter(SIGNALS.items()))
    assert signalled(strict, process, number).code == code
    assert strict.session().state == "cancelled"


def test_a_signal_during_create_finds_the_session(strict: FrontDoor) -> None:
    strict.pace["signal_shutdown_timeout"] = 3.0
    inject(strict, Fault("create", 1, moment="after", effect=Hang()))
    process = start(strict)
    strict.sandbox.wait_for(lambda box: bool(box.fired(strict.integration_id)))
    probed = signalled(strict, process, next(iter(SIGNALS)))
    assert f"Session {strict.session().id} was discarded" in probed.error


def test_a_second_create_without_a_response_is_reported(strict: FrontDoor) -> None:
    strict.pace["signal_shutdown_timeout"] = 3.0
    inject(strict, Fault("create", 2, effect=Hang()))
    process = start(strict)
    strict.wait_for_operation("create", 2)
    probed = signalled(strict, process, next(iter(SIGNALS)))
    assert "A session of this run may be open until" in probed.error
    assert f"Session {strict.session().id} was discarded" in probed.error


@pytest.mark.parametrize(
    ("nth", "effect"),
    [
        (FIRST, CutOff(5)),
        (AGAIN, Reset()),
        (HINTED, Reset()),
        (UNKNOWN, Reset()),
        (INVALID, Reset()),
        (PARALLEL, Reset()),
    ],
)
def test_a_lost_response_ends_the_probe(strict: FrontDoor, nth: int, effect: Effect) -> None:
    inject(strict, Fault("push", nth, effect=effect))
    probed = probe(strict)
    assert probed.code == 75
    assert "[response-lost]" in probed.error
    assert "was discarded; nothing was applied" in probed.error
    assert probed.finding("status_postpones_expiry")["value"] is True
    assert probed.finding("conflict_shows_session")["value"] is None
    assert probed.finding("conflict_shows_session")["seen"].endswith("the probe ended before this step")


@pytest.mark.parametrize(
    ("operation", "nth", "effect", "code"),
    [
        ("create", 1, Respond(401), "unauthorized"),
        ("create", 2, Drop(), "response-lost"),
        ("status", 3, Respond(403), "unauthorized"),
        ("status", 4, Respond(200, body=b"<html>"), "response-lost"),
        ("status", 2, Respond(200, body={"id": "s", "state": "processing"}), "session-ended"),
        ("status", 2, Respond(200, body={"id": "s"}), "unexpected-response"),
        (
            "status",
            2,
            Respond(200, body={"id": "s", "state": f"{SECRET} of {NUMBER}"}),
            "unexpected-response",
        ),
        ("push", FIRST, Respond(202, body=b"[]"), "unexpected-response"),
        ("push", FIRST, Respond(200), "unexpected-response"),
    ],
)
def test_odd_responses_end_the_probe(
    strict: FrontDoor, operation: Operation, nth: int, effect: Effect, code: str
) -> None:
    inject(strict, Fault(operation, nth, effect=effect))
    probed = probe(strict, settings={"retry_timeout_seconds": 0})
    assert probed.code == (75 if code == "response-lost" else 1)
    assert probed.error.endswith(f"[{code}]")


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[1]", b'{"error": 5, "echoes": [], "validation_errors": {}}']
)
def test_odd_bodies_do_not_end_the_probe(strict: FrontDoor, body: bytes) -> None:
    inject(strict, Fault("push", AGAIN, times=3, effect=Respond(202, body=body)))
    inject(strict, Fault("push", INVALID, effect=Respond(400, body=body)))
    inject(strict, Fault("create", 2, effect=Respond(409, body=body)))
    probed = probe(strict)
    assert probed.code == 0
    assert probed.finding("errors_in")["value"] == "neither"
    assert probed.finding("page_hint_echoed")["value"] is False
    assert probed.finding("conflict_shows_session")["value"] is False


def test_a_failed_discard_names_the_command(strict: FrontDoor) -> None:
    strict.pace["shutdown_timeout"] = 1.0
    inject(strict, Fault("close", 1, times=99, effect=Respond(503)))
    probed = finish(strict, start(strict), state="active")
    assert probed.code == 75
    assert "[not-discarded]" in probed.error
    assert f"sprintoctl discard {strict.session().id} --config {strict.folder}/" in probed.error
    assert probed.finding("discard_confirmed")["value"] is False
    assert probed.document["discarded"] is False


def test_a_signal_with_a_failed_discard_names_the_command(strict: FrontDoor) -> None:
    strict.pace["signal_shutdown_timeout"] = 1.0
    inject(strict, Fault("push", FIRST, moment="after", effect=Hang()))
    inject(strict, Fault("close", 1, times=99, effect=Respond(500)))
    process = start(strict)
    strict.wait_for_operation("push", FIRST)
    number, code = next(iter(SIGNALS.items()))
    process.send_signal(number)
    probed = finish(strict, process, state="active")
    assert probed.code == code
    assert f"sprintoctl discard {strict.session().id} --config {strict.folder}/" in probed.error


# Arguments


@pytest.mark.parametrize(
    "words",
    [
        ["--entity-type", "User", "--example", "a.json", "--example", "a.json"],
        ["--entity-type", "User", "--entity-type", "Device", "--example", "a.json"],
        ["--entity-type", "User", "--entity-type", "User", "--example", "a.json", "--example", "a.json"],
        [word for name in "ABC" for word in ("--entity-type", name, "--example", "a.json")],
    ],
)
def test_unpaired_types_and_examples_are_usage_errors(door: FrontDoor, words: list[str]) -> None:
    (door.folder / "a.json").write_bytes(b"{}")
    process = door.start("probe", *words, "--config", str(door.config()), program="sprintoctl")
    probed = door.finish(process)
    assert (probed.code, probed.stdout) == (2, "")
    assert "one or two different entity types, each with an example" in " ".join(probed.stderr.split())
    assert door.operations() == []


@pytest.mark.parametrize("example", ["list.json", "broken.json", "large.json", "nested.json"])
def test_an_invalid_example_is_reported_and_opens_nothing(door: FrontDoor, example: str) -> None:
    contents = {
        "list.json": f'["{SECRET}"]'.encode(),
        "broken.json": f'{{"name": "{SECRET}\xff'.encode("latin-1"),
        "large.json": json.dumps({"name": SECRET * 100_000}).encode(),
        "nested.json": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    }
    for name, content in contents.items():
        (door.folder / name).write_bytes(content)
    words = ["--entity-type", "User", "--example", example, "--config", str(door.config())]
    probed = finish(door, door.start("probe", *words, program="sprintoctl"))
    assert (probed.code, probed.stdout) == (1, "")
    assert probed.error.endswith("[settings]")
    assert door.operations() == []


def test_an_example_is_sent_digit_for_digit(strict: FrontDoor) -> None:
    path = strict.folder / "exact.json"
    exact = b'{"id": 12345678901234567890.10, "name": "\xc3\xa9",\n "far": 1e400}'
    path.write_bytes(b"\xef\xbb\xbf" + exact + b"\n")
    words = ["probe", "--entity-type", "User", "--example", str(path), "--config", str(strict.config())]
    assert finish(strict, strict.start(*words, program="sprintoctl")).code == 0
    assert strict.sandbox.staged(strict.session().id)[0] == {"User": [exact]}
