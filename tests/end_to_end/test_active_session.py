"""Another session is active: find out whose it is, read it without keeping it alive, wait for it."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from target_sprinto.sandbox import RateLimit, Readings
from tests.support import another_client
from tests.support.front_door import (
    PAGE,
    SCHEMA,
    STATE,
    as_input,
    end_of_input,
    feed,
    people,
    record,
    state_line,
)
from tests.support.sandbox import Edit, Fault, Hang, Late, Reset, Respond

if TYPE_CHECKING:
    import subprocess

    from tests.support.front_door import Finished, FrontDoor
    from tests.support.sandbox import RequestSeen

MINUTE = 60.0
DAY = 86_400.0
OWN = "target-sprinto"


def configure(door: FrontDoor, *, inactivity_timeout_seconds: float = 3600, **readings: Any) -> None:  # noqa: ANN401 - the fields of Readings
    door.sandbox.configure(
        door.integration_id,
        readings=Readings(apply="append", **readings),
        inactivity_timeout_seconds=inactivity_timeout_seconds,
    )


def inject(door: FrontDoor, fault: Fault) -> Fault:
    door.sandbox.inject(fault)
    return fault


def requests(door: FrontDoor, *operations: str) -> list[RequestSeen]:
    seen = door.sandbox.requests(door.integration_id)
    return [one for one in seen if not operations or one.operation in operations]


# Whose session it is


def test_another_runs_session_is_not_adopted_if_log_shows_failed_creates(door: FrontDoor) -> None:
    """The event of our own rejected create names the active session and our reference."""
    configure(door, log_shows_refused_creates=True)
    theirs = another_client.open_session(door, OWN)
    inject(door, Fault("create", 2, integration_id=door.integration_id, moment="after", effect=Reset()))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (75, "")
    assert "[session-conflict]" in finished.error
    assert theirs in finished.error
    (session,) = door.sessions()
    assert (session.state, session.accepted_total) == ("active", 0)
    assert not requests(door, "push", "close")


def test_another_runs_session_is_not_discarded_on_a_signal(door: FrontDoor) -> None:
    configure(door, log_shows_refused_creates=True)
    another_client.open_session(door, OWN)
    lost = Fault("create", 2, 9, door.integration_id, moment="after", effect=Reset())
    inject(door, lost)
    process = door.fed(people(100))
    door.sandbox.wait_for(lambda box: bool(box.fired(door.integration_id)), timeout=20)
    process.terminate()
    finished = door.finish(process, None)
    assert finished.code == 143
    assert door.session().state == "active"
    assert not requests(door, "close")


def test_own_session_is_found_in_a_lagging_log(door: FrontDoor) -> None:
    configure(door, log_lag_seconds=0.8)
    inject(door, Fault("create", integration_id=door.integration_id, moment="after", effect=Reset()))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert door.session().state == "processed"


# Reading a session's status never keeps it alive


@pytest.mark.parametrize("refused_creates", [False, True])
@pytest.mark.parametrize("postpones", [True, False])
@pytest.mark.slow
def test_a_retried_pipeline_recovers(door: FrontDoor, *, postpones: bool, refused_creates: bool) -> None:
    """Inactivity 6 s, a retry every 2.4 s: the orphan expires as if no status had been read."""
    configure(
        door,
        inactivity_timeout_seconds=6,
        status_postpones_expiry=postpones,
        log_shows_refused_creates=refused_creates,
    )
    another_client.open_session(door, OWN)
    codes = run_repeatedly(door, every=2.4, times=5)
    assert codes[0] != 0
    assert codes[-1] == 0
    assert not [seen for seen in requests(door, "status") if seen.session_id == door.sessions()[0].id]


def run_repeatedly(door: FrontDoor, *, every: float, times: int) -> list[int]:
    codes = []
    for number in range(times):
        time.sleep(every if number else 0)
        codes.append(door.run(people(1)).code)
    return codes


def test_fail_names_the_latest_session_and_reads_no_status(door: FrontDoor) -> None:
    """An older session with a newer event is not the active one."""
    configure(door, old_sessions_are_purged=True)
    door.sandbox.configure(door.integration_id, processing_seconds=0.3)
    older = another_client.open_session(door, "older")
    another_client.close_session(door, older, "apply")
    blocker = another_client.open_session(door, "another-client")
    door.sandbox.wait_for(lambda box: box.sessions(door.integration_id)[0].state == "processed")
    finished = door.run(people(3))
    assert finished.code != 0
    assert f"session {blocker}, opened 0 min" in finished.error
    assert "reference 'another-client/" in finished.error
    assert "last event 0 min" in finished.error
    assert f"sprintoctl discard {blocker} --config {door.folder}/" in finished.error
    assert not requests(door, "status")


def test_create_is_retried_once_if_the_conflicting_session_is_gone(door: FrontDoor) -> None:
    inject(door, Fault("create", integration_id=door.integration_id, effect=Respond(409)))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (0, state_line())
    assert door.operations().count("create") == 2


def test_create_is_retried_only_once_after_a_conflict(door: FrontDoor) -> None:
    inject(door, Fault("create", times=9, integration_id=door.integration_id, effect=Respond(409)))
    finished = door.run(people(3))
    assert "[session-conflict]" in finished.error
    assert door.operations().count("create") == 2


# Discard


def test_a_takeover_logs_current_session_ages(door: FrontDoor) -> None:
    another_client.open_session(door, OWN)
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=2)
    assert finished.code == 0
    found = re.search(r"Discarded to open a new one: .*, opened 0 min (\d+) s ago", finished.stderr)
    assert found is not None
    # Sprinto's `Date` has whole seconds.
    assert int(found[1]) >= 1


@pytest.mark.parametrize("refused_creates", [False, True])
@pytest.mark.parametrize("postpones", [True, False])
def test_discard_waits_until_the_session_is_stale(
    door: FrontDoor, *, postpones: bool, refused_creates: bool
) -> None:
    configure(door, status_postpones_expiry=postpones, log_shows_refused_creates=refused_creates)
    left = another_client.open_session(door, OWN)
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=1)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert [session.state for session in door.sessions()] == ["cancelled", "processed"]
    status_reads = [seen.at for seen in requests(door, "status") if seen.session_id == left][:2]
    # A busy machine starts the process slowly; what counts is how long the session showed no activity.
    assert status_reads[1] - door.sessions()[0].created_at >= 1
    assert status_reads[1] - status_reads[0] >= 1 or not postpones


def fail_beside_a_live_run(door: FrontDoor) -> tuple[subprocess.Popen[bytes], Finished]:
    """Start a run that keeps reading, and finish another one set to discard its session after 2 s."""
    first = door.midway(page_size=1, messages=[SCHEMA, record(0)])
    second = door.fed(people(100), on_active_session="discard", stale_session_seconds=2)
    # It has read the status once, and waits.
    door.wait_for_operation("status", responded=True)
    feed(first, [record(1)])
    door.wait_for_operation("push", 2, responded=True)
    return first, door.finish(second, None)


@pytest.mark.parametrize("postpones", [True, False])
def test_discard_leaves_a_live_session_alone(door: FrontDoor, *, postpones: bool) -> None:
    configure(door, status_postpones_expiry=postpones)
    first, failed = fail_beside_a_live_run(door)
    assert failed.code != 0
    assert "it showed a sign of life within 2 s" in failed.error
    assert "`stale_session_seconds`" in failed.error
    assert door.finish(first, [STATE]).code == 0
    assert door.session().accepted_total == 2


NO_EXPIRY = pytest.mark.parametrize("absent", [{"expires_at"}, {"expires_at", "updated_at"}])


def show_only_the_creation(door: FrontDoor, absent: set[str]) -> None:
    """Of every session the log shows only its creation, an hour ago; `updated_at` does not move."""
    long_ago = f"{datetime.now(timezone.utc) - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"

    def events(body: dict[str, Any]) -> dict[str, Any]:
        created = [event for event in body["items"] if event["type"] == "session_created"]
        return body | {"items": [event | {"at": long_ago} for event in created]}

    def status(body: dict[str, Any]) -> dict[str, Any]:
        shown = body | {"updated_at": long_ago}
        return {name: value for name, value in shown.items() if name not in absent}

    inject(door, Fault("activity", times=99, integration_id=door.integration_id, effect=Edit(events)))
    inject(door, Fault("status", times=99, integration_id=door.integration_id, effect=Edit(status)))


@NO_EXPIRY
def test_growing_counts_alone_show_that_a_run_is_at_work(door: FrontDoor, absent: set[str]) -> None:
    show_only_the_creation(door, absent)
    first, refused = fail_beside_a_live_run(door)
    assert refused.code == 75
    assert "it showed a sign of life within 2 s" in refused.error
    assert door.finish(first, [STATE]).code == 0
    assert door.session().accepted_total == 2


@NO_EXPIRY
def test_a_dead_session_without_an_expiry_is_taken_over_after_the_wait(
    door: FrontDoor, absent: set[str]
) -> None:
    show_only_the_creation(door, absent)
    another_client.open_session(door, OWN)
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=0.5)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert "for a sign of life of" in finished.stderr
    assert [session.state for session in door.sessions()] == ["cancelled", "processed"]


@pytest.mark.parametrize("postpones", [True, False])
def test_discard_stops_waiting_once_the_session_ends(door: FrontDoor, *, postpones: bool) -> None:
    """Its single status read may postpone the expiry once; the requests it makes while waiting do not."""
    door.pace |= {"conflict_poll_interval": 0.2, "max_conflict_poll_interval": 0.4}
    configure(door, inactivity_timeout_seconds=1, status_postpones_expiry=postpones)
    another_client.open_session(door, OWN)
    began = time.monotonic()
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=60)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert time.monotonic() - began < 20
    assert [session.state for session in door.sessions()] == ["expired", "processed"]


def test_discard_touches_nothing_if_the_log_never_ends(door: FrontDoor) -> None:
    configure(door, log_ends="by repeating")
    another_client.open_session(door, OWN)
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=0)
    assert "the log was cut off" in finished.error
    assert "The activity log repeats itself" in finished.stderr
    assert door.session().state == "active"


# Status


def test_sprintoctl_status_changes_nothing(door: FrontDoor) -> None:
    configure(door, old_sessions_are_purged=True)
    another_client.close_session(door, another_client.open_session(door), "discard")
    active = another_client.open_session(door, "evidence")
    before = door.sessions()[-1]
    shown = door.sprintoctl("status")
    assert shown.code == 0
    assert f"Active: session {active}, opened 0 min" in shown.stdout
    assert "reference 'evidence/" in shown.stdout
    as_json = json.loads(door.sprintoctl("status", "--json").stdout)
    assert (as_json["active_session"]["id"], as_json["active_session"]["certain"]) == (active, True)
    assert as_json["active_session"]["client_reference_id"].startswith("evidence/")
    assert door.sessions()[-1] == before
    assert set(door.operations()) == {"create", "close", "integration_status", "activity"}


def test_sprintoctl_status_names_no_session_if_none_is_active(door: FrontDoor) -> None:
    another_client.close_session(door, another_client.open_session(door), "discard")
    shown = door.sprintoctl("status")
    assert "Active:" not in shown.stdout
    assert json.loads(door.sprintoctl("status", "--json").stdout)["active_session"] is None


def test_sprintoctl_status_shows_no_text_of_the_server(door: FrontDoor) -> None:
    another_client.open_session(door)

    def with_text(body: dict[str, Any]) -> dict[str, Any]:
        counts = body["sessions"] | {"processed": "Jane", "failed": -1, "expired": True}
        return {"integration_id": "Jane", "sessions": counts, "last_activity_at": "Jane"}

    inject(door, Fault("integration_status", 1, 9, door.integration_id, effect=Edit(with_text)))
    shown = door.sprintoctl("status").stdout
    assert shown.startswith(f"Integration {door.integration_id}, last active ?\n")
    assert [line.split()[1] for line in shown.splitlines()[1:6]] == ["1", "0", "?", "?", "?"]
    as_json = json.loads(door.sprintoctl("status", "--json").stdout)
    counts = {"active": 1, "processing": 0, "processed": None, "failed": None, "expired": None}
    expected = {"integration_id": door.integration_id, "sessions": counts, "last_activity_at": None}
    assert {name: as_json[name] for name in expected} == expected


def test_sprintoctl_status_shows_no_control_character_in_a_time(door: FrontDoor) -> None:
    odd = Edit(lambda body: body | {"last_activity_at": "2026-11-30\x1b10:00:00Z"})
    inject(door, Fault("integration_status", integration_id=door.integration_id, effect=odd))
    shown = door.sprintoctl("status")
    assert shown.stdout.startswith(f"Integration {door.integration_id}, last active ?\n")
    assert "\x1b" not in shown.stdout


def test_a_log_that_was_cut_off_suggests_no_command(door: FrontDoor) -> None:
    """Oldest first, it shows only sessions that ended long ago."""
    configure(door, log_ends="by repeating")
    another_client.open_session(door)
    failed = door.run(people(3))
    assert "perhaps session" in failed.error
    assert "sprintoctl discard" not in failed.error
    assert json.loads(door.sprintoctl("status", "--json").stdout)["active_session"]["certain"] is False


@pytest.mark.parametrize("command", ["run", "status"])
@pytest.mark.parametrize(
    ("last_activity", "minutes"),
    [
        (timedelta(0), [2]),
        (timedelta(minutes=40), [42]),
        (timedelta(minutes=-30), [-28, 120]),
        (timedelta(days=9), [120]),
        (None, [120]),
        ("soon", [120]),
    ],
)
def test_a_long_log_is_read_from_shortly_before_the_last_activity(
    door: FrontDoor, last_activity: timedelta | str | None, minutes: list[int], command: str
) -> None:
    """Older events, more than can be read, do not hide the session in the way."""
    active = another_client.open_session(door)
    now = datetime.now(timezone.utc)
    shown = (now - last_activity).isoformat() if isinstance(last_activity, timedelta) else last_activity
    edit = Edit(lambda body: body | {"last_activity_at": shown})
    inject(door, Fault("integration_status", 1, 9, door.integration_id, effect=edit))
    named = door.run(people(3)).error if command == "run" else door.sprintoctl("status").stdout
    assert f"session {active}, opened 0 min" in named
    queries = [parse_qs(urlsplit(read.path).query) for read in requests(door, "activity")]
    began = [datetime.fromisoformat(query["since"][0].replace("Z", "+00:00")) for query in queries]
    assert [round((now - since) / timedelta(minutes=1)) for since in began] == minutes


def test_a_session_last_seen_is_named_if_the_rest_of_the_log_is_too_long(door: FrontDoor) -> None:
    """Oldest first, the part of the log that is read shows only sessions that ended."""
    active = another_client.open_session(door)

    def without_creation(body: dict[str, Any]) -> dict[str, Any]:
        return body | {"items": [event | {"type": "page_accepted"} for event in body["items"]]}

    def too_long(body: dict[str, Any]) -> dict[str, Any]:
        ended = {"session_id": "ended", "type": "session_created", "at": "2026-11-30T10:00:00Z"}
        number = body["page"]
        large = {"message": f"{number}" * 900_000}
        return body | {"items": [ended, large], "next_page": number + 1}

    inject(door, Fault("activity", 1, integration_id=door.integration_id, effect=Edit(without_creation)))
    inject(door, Fault("activity", 2, 9, door.integration_id, effect=Edit(too_long)))
    shown = door.sprintoctl("status")
    assert f"perhaps session {active}, reference not shown" in shown.stdout
    assert (
        "The activity log is longer than is read: reading stopped after 6 events on 5 pages." in shown.stderr
    )


def test_sprintoctl_status_shows_a_long_reference_cut(door: FrontDoor) -> None:
    another_client.open_session(door, "x" * 100_000)
    for words in (("status",), ("status", "--json")):
        assert len(door.sprintoctl(*words).stdout) < 1500


@pytest.mark.parametrize("ends", ["with empty pages", "by repeating"])
def test_a_log_that_never_ends_is_cut_off(door: FrontDoor, ends: str) -> None:
    configure(door, log_ends=ends)
    active = another_client.open_session(door)
    for words in (("status",), ("activity",)):
        shown = door.sprintoctl(*words)
        assert shown.code == 0
        assert active in shown.stdout
        what = "repeats itself" if ends == "by repeating" else "is longer than is read"
        assert f"The activity log {what}: reading stopped after 1 events" in shown.stderr
    assert door.operations().count("activity") <= 202


# Waiting


def test_wait_creates_only_when_none_is_active(door: FrontDoor) -> None:
    door.pace |= {"conflict_poll_interval": 0.1, "max_conflict_poll_interval": 0.3}
    left = another_client.open_session(door)
    process = door.fed(people(3), on_active_session="wait")
    end_of_input(process)
    door.wait_for_operation("integration_status", 5, responded=True)
    another_client.close_session(door, left, "discard")
    finished = door.finish(process, None)
    assert (finished.code, finished.stdout) == (0, state_line())
    # The other client's, the rejected one, and the one that opened the session.
    assert door.operations().count("create") == 3
    assert not [seen for seen in requests(door, "status") if seen.session_id == left]
    assert finished.stderr.count("Waiting for another session to end") == 1


@pytest.mark.parametrize("effect", [Respond(429), Respond(429, {"Retry-After": "1"}), Reset(), Respond(500)])
def test_wait_gives_up_only_after_its_timeout(door: FrontDoor, effect: Any) -> None:  # noqa: ANN401 - an effect
    door.pace |= {"conflict_poll_interval": 0.1, "max_conflict_poll_interval": 0.3}
    left = another_client.open_session(door)
    inject(door, Fault("integration_status", 2, 3, door.integration_id, effect=effect))
    began = time.monotonic()
    finished = door.run(
        people(3), on_active_session="wait", wait_timeout_seconds=2, retry_timeout_seconds=0.2
    )
    assert time.monotonic() - began >= 2
    assert "[session-conflict]" in finished.error
    assert f"session {left}, opened 0 min" in finished.error
    assert "waited 2 s" in finished.error
    assert "or raise `wait_timeout_seconds`" in finished.error


def test_retry_budget_of_a_lost_create_starts_at_its_loss(door: FrontDoor) -> None:
    door.pace |= {"conflict_poll_interval": 0.1, "max_conflict_poll_interval": 0.2}
    left = another_client.open_session(door)
    # The rejected create is the second; this is the one after the wait.
    inject(door, Fault("create", 3, integration_id=door.integration_id, effect=Reset()))
    process = door.fed(PAGE, on_active_session="wait", retry_timeout_seconds=3)
    door.wait_for_operation("create", 2, responded=True)
    # Longer than the retry budget, which must not have started yet.
    time.sleep(3.3)
    another_client.close_session(door, left, "discard")
    finished = door.finish(process, [STATE])
    assert (finished.code, finished.stdout) == (0, state_line())
    assert door.operations().count("create") == 4


QUICK = {
    "conflict_poll_interval": 0.1,
    "max_conflict_poll_interval": 0.2,
    "create_retry_delay": 0.1,
    "max_count_lag": 0.2,
}


@pytest.mark.parametrize("effect", [Reset(), Respond(502)])
def test_a_create_lost_while_another_session_is_active_ends_no_wait(
    door: FrontDoor, effect: Reset | Respond
) -> None:
    door.pace |= QUICK
    left = another_client.open_session(door)
    inject(door, Fault("create", 2, integration_id=door.integration_id, effect=effect))
    process = door.fed(PAGE, on_active_session="wait")
    door.wait_for_operation("integration_status", 2, responded=True)
    another_client.close_session(door, left, "discard")
    finished = door.finish(process, [STATE])
    assert (finished.code, finished.stdout) == (0, state_line())
    assert "An earlier create request got no response" in finished.stderr
    assert not [seen for seen in requests(door, "status") if seen.session_id == left]


@pytest.mark.parametrize("shown", [True, False])
def test_a_wait_with_a_lost_create_that_ends_says_what_may_be_open(door: FrontDoor, *, shown: bool) -> None:
    """It waits only if the log shows that the active session is another run's."""
    door.pace |= QUICK
    configure(door, log_shows_reference=shown)
    left = another_client.open_session(door)
    inject(door, Fault("create", 2, integration_id=door.integration_id, effect=Reset()))
    finished = door.run(people(3), on_active_session="wait", wait_timeout_seconds=1 if shown else 60)
    assert (finished.code, finished.stdout) == (75, "")
    assert f"session {left}, opened 0 min" in finished.error
    assert ("waited 1 s" if shown else "nothing shows that it is this run's") in finished.error
    assert "A session of this run may be open until 20" in finished.error
    assert "[session-conflict]" in finished.error


def test_a_create_that_arrives_late_in_the_wait_is_found(door: FrontDoor) -> None:
    door.pace |= QUICK
    left = another_client.open_session(door)
    late = inject(door, Fault("create", 2, integration_id=door.integration_id, effect=Late(reset=True)))
    busy = inject(door, Fault("create", 4, integration_id=door.integration_id, effect=Hang()))
    process = door.fed(PAGE, on_active_session="wait")
    door.wait_for_operation("integration_status", responded=True)
    another_client.close_session(door, left, "discard")
    door.sandbox.wait_for(lambda box: any(fired.fault is busy for fired in box.fired()), timeout=20)
    door.sandbox.release(late)
    door.sandbox.wait_for(lambda box: len(box.sessions(door.integration_id)) > 1, timeout=20)
    door.sandbox.release(busy)
    finished = door.finish(process, [STATE])
    assert (finished.code, finished.stdout) == (0, state_line())
    assert f"Session {door.sessions()[1].id} was opened by this run." in finished.stderr


@pytest.mark.parametrize("state", ["cancelled", "expired"])
def test_an_ended_session_is_not_in_doubt_after_a_lost_create(door: FrontDoor, state: str) -> None:
    lost = Fault("create", integration_id=door.integration_id, moment="after", effect=Reset())
    slow = Fault("activity", integration_id=door.integration_id, effect=Hang())
    inject(door, lost)
    inject(door, slow)
    process = door.fed(PAGE)
    door.wait_for_operation("create", 2, responded=True)
    if state == "cancelled":
        another_client.close_session(door, door.session().id, "discard")
    else:
        door.sandbox.expire(door.integration_id)
    door.sandbox.release(slow)
    finished = door.finish(process)
    assert (finished.code, finished.stdout) == (75, "")
    assert f"Session {door.session().id} accepts no more pages: its state is {state!r}." in finished.error
    assert re.search("(was discarded|not discarded: it is expired); nothing was applied", finished.error)
    assert "is open" not in finished.stderr
    assert "[session-ended]" in finished.error
    assert "may be open" not in finished.error
    assert not door.applied()
    assert [struck.fault for struck in door.sandbox.fired(door.integration_id)] == [lost, slow]


SCALE = 20.0
"""How much shorter a minute is, both in the sandbox and in every wait of the run."""

SCALED = {
    "conflict_poll_interval": 5 / SCALE,
    "max_conflict_poll_interval": 60 / SCALE,
    "first_retry_delay": 0.5 / SCALE,
    "max_retry_delay": 30 / SCALE,
    "keep_alive": 240 / SCALE,
}


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("retry_after", [True, False])
@pytest.mark.parametrize("counts_rejected", [True, False])
def test_ten_rate_limited_runs_all_finish(
    door: FrontDoor, *, retry_after: bool, counts_rejected: bool
) -> None:
    door.pace |= SCALED
    limit = RateLimit(10, MINUTE / SCALE, retry_after=retry_after, counts_rejected=counts_rejected)
    door.sandbox.configure(door.integration_id, rate_limit=limit)
    runs = [
        door.start(
            on_active_session="wait",
            wait_timeout_seconds=3900 / SCALE,
            retry_timeout_seconds=300 / SCALE,
            processing_timeout_seconds=900 / SCALE,
        )
        for _ in range(10)
    ]
    for run in runs:
        assert run.stdin is not None
        run.stdin.write(as_input(people(1)))
        run.stdin.close()
        run.stdin = None
    ended = [finish_within(door, run, 200) for run in runs]
    assert [finished.code for finished in ended] == [0] * 10, "\n".join(one.stderr[-400:] for one in ended)
    assert [session.state for session in door.sessions()] == ["processed"] * 10


def finish_within(door: FrontDoor, run: Any, seconds: float) -> Finished:  # noqa: ANN401 - a process
    run.wait(seconds)
    return door.finish(run, None)


def test_a_run_makes_few_requests(door: FrontDoor) -> None:
    finished = door.run(people(10), page_size=1)
    assert finished.code == 0
    assert len(requests(door)) <= 10 + 8, door.operations()


# Clocks

AHEAD = pytest.mark.parametrize("seconds", [-3 * DAY, -11 * MINUTE, -6 * MINUTE, 11 * MINUTE, 3 * DAY])
"""How far Sprinto's clock is ahead of this machine's."""


WITHOUT_DATE = pytest.mark.parametrize("seconds", [-DAY, -20 * MINUTE, 11 * MINUTE, 3 * DAY])
"""The log is read back for two days by this machine's clock."""


@WITHOUT_DATE
@pytest.mark.parametrize("date", ["none", "a proxy's"])
def test_lost_create_is_found_without_sprintos_date(door: FrontDoor, date: str, seconds: float) -> None:
    configure(door, clock_offset_seconds=seconds, date_header=date)
    inject(door, Fault("create", integration_id=door.integration_id, moment="after", effect=Reset()))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (0, state_line())


@WITHOUT_DATE
def test_live_run_is_not_considered_stale_without_sprintos_date(door: FrontDoor, seconds: float) -> None:
    configure(door, clock_offset_seconds=seconds, date_header="none")
    first, failed = fail_beside_a_live_run(door)
    assert failed.code == 75
    assert "Waiting 2 s for a sign of life of" in failed.stderr
    opened = datetime.fromtimestamp(door.session().created_at, timezone.utc)
    assert f", opened at {opened:%Y-%m-%dT%H:%M:%SZ}, " in failed.error
    assert "it showed a sign of life within 2 s" in failed.error
    assert door.finish(first, [record(2), STATE]).code == 0
    assert len(door.applied()["people"]) == 3


@WITHOUT_DATE
@pytest.mark.parametrize("postpones", [True, False])
def test_stale_session_is_taken_over_without_sprintos_date(
    door: FrontDoor, seconds: float, *, postpones: bool
) -> None:
    configure(door, clock_offset_seconds=seconds, date_header="none", status_postpones_expiry=postpones)
    door.kill_midway(page_size=1, messages=[SCHEMA, record(0)])
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=1)
    assert (finished.code, finished.stdout) == (0, state_line())
    assert "Waiting 1 s for a sign of life of" in finished.stderr
    assert [session.state for session in door.sessions()] == ["cancelled", "processed"]


@pytest.mark.parametrize("seconds", [11 * MINUTE, 3 * DAY])
@pytest.mark.parametrize("postpones", [True, False])
def test_activity_in_the_future_does_not_extend_the_wait(
    door: FrontDoor, seconds: float, *, postpones: bool
) -> None:
    configure(door, clock_offset_seconds=seconds, date_header="a proxy's", status_postpones_expiry=postpones)
    door.kill_midway(page_size=1, messages=[SCHEMA, record(0)])
    finished = door.run(people(3), on_active_session="discard", stale_session_seconds=1)
    assert "Waiting 1 s for a sign of life of" in finished.stderr
    # If a status read updates the session's times, this clock cannot tell it from real activity.
    assert finished.code == (75 if postpones else 0)


@AHEAD
def test_lost_create_is_found_despite_clock_skew(door: FrontDoor, seconds: float) -> None:
    configure(door, clock_offset_seconds=seconds)
    inject(door, Fault("create", integration_id=door.integration_id, moment="after", effect=Reset()))
    finished = door.run(people(3))
    assert (finished.code, finished.stdout) == (0, state_line())


@AHEAD
def test_live_run_is_not_considered_stale_despite_clock_skew(door: FrontDoor, seconds: float) -> None:
    configure(door, clock_offset_seconds=seconds, status_postpones_expiry=False)
    first = door.midway(page_size=1, messages=[SCHEMA, record(0)])
    second = door.fed(people(100), on_active_session="discard", stale_session_seconds=600)
    door.wait_for_operation("status", responded=True)
    second.terminate()
    failed = door.finish(second, None)
    assert failed.code == 143
    (waiting,) = [line for line in failed.stderr.splitlines() if "for a sign of life of" in line]
    # One second more if Sprinto's `Date`, in whole seconds, is behind its event.
    assert 500 < int(waiting.partition("Waiting ")[2].split()[0]) <= 601
    assert door.session().state == "active"
    assert door.finish(first, [STATE]).code == 0


@AHEAD
def test_ages_and_expiry_use_sprintos_clock(door: FrontDoor, seconds: float) -> None:
    configure(door, clock_offset_seconds=seconds)
    another_client.open_session(door)
    finished = door.run(people(3))
    assert "opened 0 min" in finished.error
    another_client.close_session(door, door.session().id, "discard")
    finished = door.run(people(3))
    assert "(in 60 min)" in finished.stderr
    (opened,) = [line for line in finished.stderr.splitlines() if "is open (reference" in line]
    expires = door.sessions()[-1].created_at + 3600
    shown = datetime.fromtimestamp(expires, timezone.utc).strftime("it expires %Y-%m-%dT%H:")
    assert shown in opened
    inject(door, Fault("close", times=99, integration_id=door.integration_id, effect=Respond(401)))
    finished = door.run([SCHEMA, *(record(number) for number in range(100)), b"}"])
    (undiscarded,) = [line for line in finished.stderr.splitlines() if "its discard is not confirmed" in line]
    assert "(in 60 min)" in undiscarded


def test_a_held_sessions_remaining_time_uses_sprintos_clock(door: FrontDoor) -> None:
    configure(door, clock_offset_seconds=3 * DAY)
    finished = door.run(people(3), finish="hold", report_path="receipt.json")
    (held,) = [line for line in finished.stderr.splitlines() if " is held: " in line]
    assert "(in 60 min). To apply it: " in held


@AHEAD
def test_retry_after_date_is_relative_to_the_response_date(door: FrontDoor, seconds: float) -> None:
    configure(door, clock_offset_seconds=seconds)
    now = time.time() + seconds
    until = format_datetime(datetime.fromtimestamp(now + 2, timezone.utc), usegmt=True)
    throttled = Respond(429, {"Retry-After": until})
    inject(door, Fault("push", integration_id=door.integration_id, effect=throttled))
    finished = door.run(people(3), retry_timeout_seconds=20)
    assert (finished.code, finished.stdout) == (0, state_line())
    first, second = (seen.at for seen in requests(door, "push"))
    assert 0.5 < second - first < 10


def test_a_repeated_retry_after_is_read(door: FrontDoor) -> None:
    throttled = Respond(429, {"Retry-After": "1, 1"})
    inject(door, Fault("push", integration_id=door.integration_id, effect=throttled))
    finished = door.run(people(3))
    assert finished.code == 0
    first, second = (seen.at for seen in requests(door, "push"))
    assert second - first >= 1


def test_a_missing_active_count_is_not_read_as_zero(door: FrontDoor) -> None:
    door.pace |= {"conflict_poll_interval": 0.1}
    another_client.open_session(door)

    def without_active(body: dict[str, Any]) -> dict[str, Any]:
        return body | {"sessions": {"processing": 0}}

    inject(door, Fault("integration_status", 1, 9, door.integration_id, effect=Edit(without_active)))
    finished = door.run(people(3), on_active_session="wait")
    assert "no count of `active` sessions" in finished.error
    assert door.operations().count("create") == 2
