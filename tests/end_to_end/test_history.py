"""`sprintoctl history`: applied runs, their age and gaps between them, from receipts alone."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from target_sprinto.push.text import pluralize
from target_sprinto.receipts import document, history
from target_sprinto.receipts.folder import read_folder
from tests.support.commands import DOCS, blocks
from tests.support.front_door import people
from tests.support.receipts import change, read_receipt

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.front_door import Finished, FrontDoor

NOON = datetime(2026, 11, 10, 12, tzinfo=timezone.utc)


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Past:
    """Writes a chain of receipts of past runs, modelled on a real receipt."""

    def __init__(self, door: FrontDoor) -> None:
        assert door.run(people(3), report_path="pattern.json").code == 0
        self.folder = door.folder / "past"
        self.folder.mkdir()
        pattern = door.folder / "pattern.json"
        self._pattern = document.parse(pattern, pattern.read_bytes())
        self._previous: str | None = None
        self._number = 0

    def add(self, ended_at: datetime, accepted: dict[str, int] | None = None, **changes: Any) -> Path:  # noqa: ANN401
        (one,) = self._pattern.entity_types
        counts = {"User": 100} if accepted is None else accepted
        replace, at, total = msgspec.structs.replace, iso(ended_at), sum(counts.values())
        types = [
            replace(one, entity_type=name, accepted=n, entities=n, streams={"people": n})
            for name, n in counts.items()
        ]
        times = {"first_sent_at": at, "last_accepted_at": at}
        pages = [replace(page, entities=total, accepted=total, **times) for page in self._pattern.pages]
        assert self._pattern.session
        self._number += 1
        run = f"00000000-0000-4000-8000-{self._number:012}"
        receipt = replace(
            self._pattern,
            **{
                "run": run,
                "reference": f"target-sprinto/{run}",
                "started_at": at,
                "ended_at": at,
                "phases": [],
                "session": replace(
                    self._pattern.session, opened_at=at, state_read_at=at, accepted_records=counts
                ),
                "entity_types": types,
                "pages": pages if total else [],
                "number": self._number,
                "previous": self._previous,
                **changes,
            },
        )
        path = self.folder / f"{self._number:04}.json"
        path.write_bytes(b"".join(document.encode(receipt)))
        self._previous = hashlib.sha256(path.read_bytes()).hexdigest()
        return path


@pytest.fixture
def past(door: FrontDoor) -> Past:
    return Past(door)


def ask(door: FrontDoor, *words: str) -> Finished:
    """Run the command without a config; check that it sends nothing to Sprinto."""
    before = len(door.operations())
    finished = door.finish(door.start("history", *words, program="sprintoctl"))
    assert len(door.operations()) == before
    return finished


def pipeline(door: FrontDoor, prefix: str = "target-sprinto") -> str:
    """The pipeline's name, with the address because it is not Sprinto's."""
    return f"{door.integration_id}/{prefix} ({urlsplit(door.sandbox.base_url).netloc})"


def test_the_history_of_real_runs(door: FrontDoor) -> None:
    for count, folder in ((3, "one"), (2, "one"), (5, "two")):
        prefix = f"night {folder}"
        assert door.run(people(count), report_path=folder, client_reference_prefix=prefix).code == 0
    assert door.run(people(1), report_path="one", expect={"people": {"min_records": 2}}).code == 1
    shown = ask(door, "one", "two", "--max-age", "1h")
    assert shown.code == 1
    assert shown.stderr.startswith(
        "sprintoctl: Evidence is missing: 1 line above. Check the pipeline's log, "
    )
    assert shown.stderr.endswith("[evidence-missing]\n")
    head, *rows, missing = shown.stdout.splitlines()
    heads = [
        "PIPELINE, ENTITY TYPE",
        "LAST APPLIED",
        "AGE",
        "RECORDS, NEWEST FIRST",
        "LAST ENDED RUN",
        "REJECTS",
    ]
    assert re.split("  +", head) == heads
    assert [row.split("  ")[0] for row in rows] == [
        f"{pipeline(door, 'night one')} people",
        f"{pipeline(door, 'night two')} people",
        pipeline(door),
    ]
    assert "0 minutes  2 3 " in rows[0]
    assert "failed [too-few-records]" in rows[2]
    assert missing == f"{pipeline(door)}: never applied, as far as receipts show."


def test_stale_entity_types_fail_and_are_named(door: FrontDoor, past: Past) -> None:
    now = datetime.now(timezone.utc)
    past.add(now - timedelta(hours=40), {"User": 100, "Device": 3})
    past.add(now - timedelta(hours=2), {"User": 101})
    past.add(now - timedelta(hours=1), {"Device": 3}, outcome="failed", error="page-refused", exit_code=1)
    assert ask(door, "past", "--max-age", "41h").code == 0
    stale = ask(door, "past", "--max-age", "36h")
    assert stale.code == 1
    (line,) = [line for line in stale.stdout.splitlines() if line.endswith(".")]
    assert line.startswith(f"{pipeline(door)} Device: last applied 40 hours ago, ")
    never = ask(door, "past", "--max-age", "0h")
    assert never.code == 1
    assert never.stdout.count("last applied") == 2


def test_the_documented_command_moves_the_receipts_of_a_pipeline_that_has_ended(door: FrontDoor) -> None:
    assert door.finish(door.start("keygen", "key", program="sprintoctl")).code == 0
    signed = {"report_path": "receipts", "receipt_key_file": "key.pem"}
    for prefix in ("hr-old", "hr-old", "hr"):
        assert door.run(people(1), client_reference_prefix=prefix, **signed).code == 0
    stale = ask(door, "receipts", "--max-age", "0h")
    assert "hr-old" in stale.stdout
    assert "If it was renamed or has ended, move all its receipts to another folder. [" in stale.stderr
    (command,) = [
        one.text for one in blocks(DOCS / "monitoring.md") if "mv " in one.text and "hr-old" in one.text
    ]
    subprocess.run(["bash", "-e", "-c", command], cwd=door.folder, check=True)
    assert "hr-old" not in ask(door, "receipts").stdout
    for folder, count in (("receipts", 1), ("receipts-old", 2)):
        words = ("verify", folder, "--public-key", "key.pub.pem")
        verified = door.finish(door.start(*words, program="sprintoctl"))
        assert verified.stdout.startswith(f"OK: {pluralize(count, 'receipt')}, 0 unfinished, 0 other files;")


def test_copies_of_a_receipt_count_once_unless_they_differ(door: FrontDoor, past: Past) -> None:
    for number in range(2):
        past.add(NOON + timedelta(days=number))
    shutil.copytree(past.folder, door.folder / "copy")
    shown = ask(door, "past", "copy")
    assert (shown.code, shown.stderr) == (0, "")
    assert " 100 100 " in shown.stdout
    assert " 100 100 100" not in shown.stdout
    for name in ("people", "entities", "accepted"):
        change(door.folder / "copy/0001.json", f'"{name}":100', f'"{name}":99')
    shown = ask(door, "past", "copy", "--since", "2026-11-10", "--until", "2026-11-12", "--every", "25h")
    assert shown.code == 1
    assert "past/0001.json and copy/0001.json are of the same run and differ" in shown.stderr
    assert " 100 100 " not in shown.stdout
    assert "not applied from 2026-11-10 00:00Z to 2026-11-11 12:00Z" in shown.stdout


@pytest.mark.parametrize(
    ("ended_at", "said"),
    [
        (datetime.now(timezone.utc) + timedelta(days=30), "in the future, "),
        (datetime(2999, 12, 31, tzinfo=timezone.utc), "in the future, 2999-12-31"),
        (datetime(2000, 1, 1, tzinfo=timezone.utc), " days ago, "),
    ],
    ids=["30 days", "year 2999", "year 2000"],
)
def test_a_receipt_from_the_future_or_of_long_ago_does_not_count(
    door: FrontDoor, past: Past, ended_at: datetime, said: str
) -> None:
    past.add(ended_at)
    shown = ask(door, "past", "--max-age", "36h")
    assert shown.code == 1
    assert "User: last applied " in shown.stdout.splitlines()[-1]
    assert said in shown.stdout.splitlines()[-1]


@pytest.mark.parametrize("year", [1, 9999])
def test_a_receipt_of_an_impossible_year_is_damaged(door: FrontDoor, past: Past, year: int) -> None:
    past.add(datetime(year, 1, 1, tzinfo=timezone.utc))
    shown = ask(door, "past", "--max-age", "36h")
    assert shown.code == 1
    assert "`started_at` or `ended_at` is not a time" in shown.stderr


def test_a_run_in_the_future_hides_no_later_one(door: FrontDoor, past: Past) -> None:
    now = datetime.now(timezone.utc)
    last = now - timedelta(days=5)
    past.add(last)
    past.add(now + timedelta(days=90))
    shown = ask(door, "past", "--format", "openmetrics").stdout
    (sample,) = [
        line for line in shown.splitlines() if line.startswith("target_sprinto_last_applied_timestamp")
    ]
    assert abs(float(sample.rpartition(" ")[2]) - last.timestamp()) < 1
    assert "in the future" in ask(door, "past").stdout


def test_a_sandbox_run_does_not_count_for_sprinto(door: FrontDoor, past: Past) -> None:
    now = datetime.now(timezone.utc)
    for api_url, count in (("https://api.sprinto.com/api/external/push", 3), (door.sandbox.base_url, 4)):
        past.add(now - timedelta(hours=30 / count), {"User": count}, api_url=api_url, number=1, previous=None)
    shown = ask(door, "past", "--max-age", "8h")
    assert shown.stderr.startswith("sprintoctl: Evidence is missing: 1 line above.")
    (line,) = [line for line in shown.stdout.splitlines() if line.endswith("Z.")]
    assert line.startswith(f"{door.integration_id}/target-sprinto User: last applied 10 hours ago, ")


def test_each_gap_in_a_period_is_reported(door: FrontDoor, past: Past) -> None:
    for days in (0, 1, 4, 5):
        past.add(NOON + timedelta(days=days))
    period = ("--since", "2026-11-10", "--until", "2026-11-16T13:00:00Z", "--every", "24h")
    shown = ask(door, "past", *period)
    name = f"{pipeline(door)} User"
    assert shown.code == 1
    assert shown.stdout.splitlines()[2:] == [
        f"{name}: not applied from 2026-11-11 12:00Z to 2026-11-14 12:00Z, 3 days.",
        f"{name}: not applied from 2026-11-15 12:00Z to 2026-11-16 13:00Z, 25 hours.",
    ]
    assert ask(door, "past", *period[:4], "--every", "3d").code == 0


def test_a_gap_across_an_end_of_the_period_is_reported_as_a_whole(door: FrontDoor, past: Past) -> None:
    for days in (-1, 0, 2, 3):
        past.add(NOON + timedelta(days=days))
    gap = f"{pipeline(door)} User: not applied from 2026-11-10 12:00Z to 2026-11-12 12:00Z, 2 days."
    # The run of the 11th was missed: within either period, no time without a run is longer than 26 hours.
    for since, until in (
        ("2026-11-09", "2026-11-11"),
        ("2026-11-12", "2026-11-14"),
        ("2026-11-09", "2026-11-14"),
    ):
        shown = ask(door, "past", "--since", since, "--until", until)
        assert shown.code == 1, since
        assert shown.stdout.splitlines()[2:] == [gap]
        page = ask(door, "past", "--since", since, "--until", until, "--format", "html").stdout
        assert "Not complete: 1 gap." in page


def test_a_run_in_the_future_does_not_end_a_gap(door: FrontDoor, past: Past) -> None:
    now = datetime.now(timezone.utc)
    past.add(now - timedelta(hours=2))
    past.add(now + timedelta(days=90))
    since = f"{now - timedelta(hours=3):%Y-%m-%dT%H:%M:%SZ}"
    assert ask(door, "past", "--since", since).code == 0
    shown = ask(door, "past", "--since", since, "--every", "1h")
    assert f" to {now:%Y-%m-%d}" in shown.stdout.splitlines()[-1]


def test_a_period_without_an_applied_run_is_not_complete(door: FrontDoor, past: Past) -> None:
    now = datetime.now(timezone.utc)
    past.add(now - timedelta(hours=30), {"User": 100})
    past.add(now - timedelta(hours=2), outcome="failed", error="unauthorized", exit_code=1)
    since = ("--since", f"{now - timedelta(hours=3):%Y-%m-%dT%H:%M:%SZ}")
    shown = ask(door, "past", *since)
    assert shown.code == 1
    assert "User: not applied from" in shown.stdout
    page = ask(door, "past", *since, "--format", "html").stdout
    assert "Applied without a gap: 0 of 1 entity type." in page
    assert "Not complete: 1 gap." in page


def test_the_future_is_not_a_gap(door: FrontDoor, past: Past) -> None:
    now = datetime.now(timezone.utc)
    past.add(now - timedelta(hours=2), {"User": 100})
    since = ("--since", f"{now - timedelta(hours=5):%Y-%m-%dT%H:%M:%SZ}")
    until = ("--until", f"{now + timedelta(days=9):%Y-%m-%d}")
    assert ask(door, "past", *since, *until).code == 0


@pytest.mark.parametrize(
    ("old", "new"), [('"outcome": "failed"', '"outcome": "unfinished"'), ('"number": 2', '"number": null')]
)
def test_an_edited_receipt_does_not_pass_as_unfinished(
    door: FrontDoor, past: Past, old: str, new: str
) -> None:
    now = datetime.now(timezone.utc)
    past.add(now - timedelta(hours=3), {"User": 100})
    path = past.add(now - timedelta(hours=2), outcome="failed", error="page-refused", exit_code=1)
    text = path.read_text(encoding="utf-8").replace('"outcome": "failed"', '"outcome": "unfinished"')
    path.write_text(text.replace(old, new), encoding="utf-8")
    shown = ask(door, "past")
    assert f"{path.relative_to(door.folder)} is not an intact receipt" in shown.stderr


def test_a_receipt_with_a_long_address_is_in_the_chain_too(door: FrontDoor, past: Past) -> None:
    paths = [
        past.add(NOON + timedelta(hours=number), api_url=f"https://h/{'x' * 9000}") for number in range(3)
    ]
    paths[1].unlink()
    assert "Between 0001.json and 0003.json a receipt is missing." in ask(door, "past").stderr


def test_control_characters_in_file_names_are_escaped(door: FrontDoor, past: Past) -> None:
    first, second, _ = [past.add(NOON + timedelta(hours=number)) for number in range(3)]
    second.unlink()
    first.rename(first.with_name("a\x1b[1A\n.json"))
    shown = ask(door, "past")
    assert "Between a\\u001b[1A\\n.json and 0003.json a receipt is missing." in shown.stderr


def test_differing_receipts_of_one_run_do_not_count(door: FrontDoor, past: Past) -> None:
    path = past.add(datetime.now(timezone.utc), {"User": 100})
    other = door.folder / "other"
    other.mkdir()
    shutil.copy(path, other / path.name)
    change(other / path.name, '"input_lines": 5', '"input_lines": 6')
    shown = ask(door, "past", "other")
    assert "are of the same run and differ" in shown.stderr


def test_prometheus_can_parse_the_metrics(door: FrontDoor, past: Past) -> None:
    odd = 'a "quoted" \\ name\nof two lines'
    past.add(NOON, {"User": 100, odd: 7})
    past.add(NOON + timedelta(hours=1), {}, outcome="interrupted", exit_code=143)
    shown = ask(door, "past", "--format", "openmetrics")
    assert (shown.code, shown.stderr) == (0, "")
    for parse in (parse_openmetrics, parse_prometheus):
        values = {
            (sample.name.removeprefix("target_sprinto_"), sample.labels.get("entity_type")): sample.value
            for family in parse(shown.stdout)
            for sample in family.samples
        }
        at = NOON.timestamp()
        assert values == {
            ("last_applied_timestamp_seconds", "User"): at,
            ("last_applied_timestamp_seconds", odd): at,
            ("last_applied_records", "User"): 100,
            ("last_applied_records", odd): 7,
            ("last_applied_rejects", "User"): 0,
            ("last_applied_rejects", odd): 0,
            ("last_run_timestamp_seconds", None): at + 3600,
        }
    assert 'outcome="interrupted"' in shown.stdout


def test_the_metrics_of_a_pipeline_that_never_applied_anything_and_of_one_in_the_future(past: Past) -> None:
    past.add(NOON, {}, outcome="failed", error="page-refused", exit_code=1)
    series = history.series_of(read_folder(past.folder, (), lambda: None).runs)
    assert [(one.entity_type, one.applied) for one in series] == [("", [])]
    parse: Any = parse_openmetrics
    (metric,) = [one for one in parse(history.openmetrics(series, NOON)) if one.samples]
    assert (metric.name, metric.type) == ("target_sprinto_last_run_timestamp_seconds", "gauge")
    (sample,) = metric.samples
    assert (sample.labels["outcome"], sample.value) == ("failed", NOON.timestamp())
    earlier = history.openmetrics(series, NOON - timedelta(days=1))
    assert not [one for one in parse(earlier) if one.samples]


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=-30), "0 minutes"),
        (timedelta(seconds=119), "1 minute"),
        (timedelta(minutes=119, seconds=59), "119 minutes"),
        (timedelta(hours=2), "2 hours"),
        (timedelta(hours=47, minutes=59), "47 hours"),
        (timedelta(hours=48), "2 days"),
    ],
)
def test_a_length_is_in_the_largest_unit_of_which_it_has_two(span: timedelta, text: str) -> None:
    assert history.length(span) == text


def test_the_report_for_an_auditor(door: FrontDoor, past: Past) -> None:
    past.add(NOON, {"User": 100, "<b>": 7})
    path = past.add(NOON + timedelta(days=3))
    past.add(NOON + timedelta(days=4))
    change(path, '"outcome": "applied"', '"outcome": "held"')
    change(path, '"state":"processed"', '"state":"active"')
    words = ("--since", "2026-11-10", "--until", "2026-11-15", "--every", "48h", "--format", "html")
    shown = ask(door, "past", *words)
    assert shown.code == 0
    assert "[receipt-chain]" in shown.stderr
    for part in (
        "Not shown to be complete: the receipts have 1 problem.",
        "The signatures of 3 receipts were not checked.",
        "does not follow 0002.json, which was changed or replaced.",
        "<li>Not applied from 2026-11-10 12:00Z to 2026-11-14 12:00Z, 4 days.</li>",
        "Applied, none of this type",
        "&lt;b&gt;",
        "Held for approval",
    ):
        assert part in shown.stdout, part
    assert "<script" not in shown.stdout
    assert "<b>:" not in shown.stdout
    longer = ask(door, "past", *words[:4], "--every", "5d", *words[6:]).stdout
    assert longer.count("No gap in the receipts that count") == 2
    assert "Complete" not in longer


def test_with_a_key_only_signed_receipts_count(door: FrontDoor) -> None:
    def sprintoctl(*words: str) -> Finished:
        return door.finish(door.start(*words, program="sprintoctl"))

    assert sprintoctl("keygen", "key").code == 0
    for count in (3, 4):
        assert door.run(people(count), report_path="kept", receipt_key_file="key.pem").code == 0
    newest = max((door.folder / "kept").glob("*.json"), key=lambda path: read_receipt(path)["number"])
    # The edit is consistent: only the signature shows it.
    for name in ("accepted", "entities", "people"):
        change(newest, f'"{name}":4', f'"{name}":40')
    assert " 40 3 " in ask(door, "kept").stdout
    shown = ask(door, "kept", "--public-key", "key.pub.pem")
    assert " 3 " in shown.stdout
    # With spaces: a port may contain the digits.
    assert " 40 " not in shown.stdout
    assert "[receipt-counts]" in shown.stderr


@pytest.mark.parametrize("cut", [100, -10])
def test_invalid_receipts_do_not_count_and_are_reported(door: FrontDoor, past: Past, cut: int) -> None:
    past.add(NOON)
    truncated, newer = past.add(NOON), past.add(NOON)
    truncated.write_bytes(truncated.read_bytes()[:cut])
    change(newer, "target-sprinto receipt 1", "target-sprinto receipt 2")
    for number in range(200):
        (past.folder / f"foreign {number}.json").write_text('{"format": "another"}')
    nested = past.folder / "nested.json"
    nested.write_bytes(document.BEGIN + b'1",\n  "x": ' + b"[" * 1800 + b"]" * 1800 + b',\n  "session": ')
    shown = ask(door, "past")
    assert shown.code == 0
    assert "nested.json is not an intact receipt" in shown.stderr
    assert door.run(people(3), report_path="past").code == 0
    assert " 100  " in shown.stdout
    assert "[receipt-format]" in shown.stderr
    assert "0002.json is not an intact receipt" in shown.stderr


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"number": 2', '"number": "2"', "is not a receipt that this version reads"),
        (
            '"ended_at": "',
            '"ended_at": "soon ',
            "contradicts itself: `started_at` or `ended_at` is not a time",
        ),
    ],
)
def test_a_receipt_with_a_field_of_another_kind_is_reported(
    door: FrontDoor, past: Past, old: str, new: str, problem: str
) -> None:
    past.add(NOON)
    path = past.add(NOON)
    change(path, old, new)
    shown = ask(door, "past")
    assert " 100  " in shown.stdout
    assert f"0002.json {problem}" in shown.stderr


def test_an_unfinished_receipt_is_counted_unless_it_is_damaged(past: Past) -> None:
    past.add(NOON)
    path = past.add(NOON, outcome="unfinished", exit_code=None, number=None, previous=None)
    unfinished = msgspec.structs.replace(document.parse(path, path.read_bytes()), ended_at=None)
    path.write_bytes(b"".join(document.encode(unfinished)))
    found = read_folder(past.folder, (), lambda: None)
    assert (str(found), found.problems) == ("1 receipt, 1 unfinished, 0 other files", [])
    path.write_bytes(path.read_bytes()[:-10])
    found = read_folder(past.folder, (), lambda: None)
    assert str(found) == "2 receipts, 0 unfinished, 0 other files"
    (problem,) = found.problems
    assert f"{path} is not an intact receipt" in problem


def test_a_folder_without_receipts_fails(door: FrontDoor) -> None:
    (door.folder / "empty").mkdir()
    (door.folder / "empty" / "other.json").write_text("{}")
    shown = ask(door, "empty", "--max-age", "36h")
    assert (shown.code, shown.stdout) == (1, "")
    assert "No receipt of a run that ended: empty (0 receipts, 0 unfinished, 1 other file)." in shown.stderr


@pytest.mark.parametrize("words", [("--max-age", "36"), ("--since", "yesterday"), ("--every", "0.5h")])
def test_an_invalid_duration_or_time_is_a_usage_error(
    door: FrontDoor, past: Past, words: tuple[str, str]
) -> None:
    past.add(NOON)
    shown = ask(door, "past", *words)
    assert shown.code == 2
    assert words[0] in shown.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--until", "2026-11-10"), "--until and --every need --since"),
        (("--every", "24h"), "--until and --every need --since"),
        (("--every", "24h", "--format", "openmetrics"), "--until and --every need --since"),
        (("--since", "2026-11-20", "--until", "2026-11-10"), "The period ends before it begins"),
        (("--since", "2126-01-01"), "The period ends before it begins"),
        (("--until", "2026-11-01", "--format", "html"), "The period ends before it begins"),
    ],
)
def test_an_invalid_period_is_a_usage_error(
    door: FrontDoor, past: Past, words: tuple[str, ...], said: str
) -> None:
    past.add(NOON)
    shown = ask(door, "past", *words)
    assert (shown.code, shown.stdout) == (2, "")
    assert said in shown.stderr


def test_a_thousand_receipts_take_less_than_three_seconds(past: Past) -> None:
    for number in range(1000):
        past.add(NOON + timedelta(hours=number))
    began = time.process_time()
    found = read_folder(past.folder, [], lambda: None)
    lines = list(history.table(history.series_of(found.runs), NOON + timedelta(days=60)))
    assert time.process_time() - began < 3
    assert (found.receipts, found.problems, len(lines)) == (1000, [], 2)
