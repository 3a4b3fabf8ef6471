"""A server's text never brings a record value to stderr, in any spelling.

Two runs differ only in their values, and get responses with the same wording. Their output must be
identical, byte for byte: then it contains no character of a value.
"""

from __future__ import annotations

import json
import re
import stat
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.front_door import SCHEMA, STATE, would_be_refused
from tests.support.sandbox import Edit, Fault, Respond
from tests.support.security.wordings import rejection

if TYPE_CHECKING:
    from tests.support.front_door import Finished, FrontDoor

PAGES = 100
"""Rejected pages of a run, each with a different wording."""

PEOPLE = SCHEMA | {
    "schema": {
        "properties": {
            "id": {"type": "integer"},
            "name": {"type": "string"},
            "contacts": {"additionalProperties": {"properties": {"phone": {"type": "string"}}}},
        }
    }
}
_VARIES = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|integration-[\d-]+|\d{4}-\d\d-\d\d[T ][\d:,.]+Z?|\d+\.\d+"
    r"|/\S+/config-\d+\.json|127\.0\.0\.1:\d+"
)


def secrets(kind: int) -> list[str]:
    """Values of the same form, without common characters where that matters."""
    if kind:
        return ["Zoë Müller-Weiß", "zoe.mueller@acme.example", "+49 (30) 1234-5678", "王伟强", "Q", "4711"]
    return ["Àna Fürst-Graßer", "ana@other.test", "+33 (81) 9876 54 32", "李小龙", "K", "8932"]


def people(values: list[str], count: int) -> list[dict[str, Any]]:
    return [
        {
            "type": "RECORD",
            "stream": "people",
            "record": {"id": n, "name": values[n % 6], "contacts": {values[1]: {"phone": values[2]}}},
        }
        for n in range(count)
    ]


def shown(finished: Finished) -> list[str]:
    lines = [line.split(" | ", 3)[-1] for line in finished.stderr.splitlines()]
    # A run's duration, a response's length, and urllib3's log lines from its threads.
    left_out = "bottleneck|METRIC|HTTP/1.1|Converted|connection|Progress"
    kept = [line for line in lines if not re.search(left_out, line)]
    # Reading and sending use separate threads: the order of their lines does not matter.
    return sorted(_VARIES.sub("…", line) for line in kept)


def run(door: FrontDoor, kind: int, seeds: range, **settings: Any) -> Finished:  # noqa: ANN401 - any setting
    values = secrets(kind)
    for nth, seed in enumerate(seeds, 1):
        response = Respond(400, body=rejection(seed, values))
        door.sandbox.inject(Fault("push", nth=nth, integration_id=door.integration_id, effect=response))
    # Uncompressed, so that no page is resent to check whether compression was the cause.
    options = {"page_size": 1, "compress": False, "max_rejects": 10_000} | settings
    return door.run([PEOPLE, *people(values, len(seeds) + 1), STATE], **options)


def both(door: FrontDoor, seeds: range, **settings: Any) -> list[Finished]:  # noqa: ANN401 - any setting
    own = door.integration_id
    finished = []
    for kind in (0, 1):
        door.integration_id = f"{own}-{kind}-{seeds.start}"
        finished.append(run(door, kind, seeds, **settings))
    require_same(*map(shown, finished))
    for one, kind in zip(finished, (0, 1), strict=True):
        # Four digits may occur in a duration or an id by chance.
        lines = "\n".join(shown(one))
        found = [v for v in secrets(kind) if len(v) > 1 and v in (lines if v.isdigit() else one.stderr)]
        assert not found
    return finished


def require_same(first: list[str], second: list[str]) -> None:
    # Line by line: pytest takes minutes to explain the difference of two long lists.
    different = [pair for pair in zip_longest(first, second) if pair[0] != pair[1]]
    assert not different, different[0]


def check_dry_run(door: FrontDoor, seeds: range) -> None:
    for finished in both(door, seeds, dry_run=True):
        assert finished.code == 1
        assert sum(count for count, _ in would_be_refused(finished.stderr)) == len(seeds)


@pytest.mark.parametrize("part", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_dry_run_shows_no_values_whatever_the_wording(door: FrontDoor, part: int) -> None:
    check_dry_run(door, range(part * PAGES, (part + 1) * PAGES))
    files = sorted((door.folder / "rejects").iterdir(), key=lambda path: path.stat().st_mtime)
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600, 0o600]
    # The values are only in this file.
    for kind, path in enumerate(files):
        text = json.dumps(json.loads(path.read_text()), ensure_ascii=False)
        assert sum(value in text for value in secrets(kind)) > 3


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("shard", range(10))
def test_ten_thousand_wordings_show_no_values(door: FrontDoor, shard: int) -> None:
    for part in range(10):
        start = 1000 + (shard * 10 + part) * PAGES
        check_dry_run(door, range(start, start + PAGES))


@pytest.mark.parametrize("seed", range(8))
def test_a_failed_run_shows_no_values_and_names_the_file(door: FrontDoor, seed: int) -> None:
    for finished in both(door, range(seed, seed + 1), page_size=3):
        assert finished.code == 1
        assert "[page-refused]" in finished.error
        assert "Sprinto's response is in rejects/" in finished.error


def test_a_run_that_diverts_keeps_responses_with_the_records(door: FrontDoor) -> None:
    for finished in both(door, range(20), on_invalid_record="divert"):
        assert finished.code == 0
    files = list((door.folder / "rejects").iterdir())
    assert len(files) == 2
    for path in files:
        assert path.suffix == ".singer"
        rejects = [json.loads(line) for line in path.read_text().splitlines()]
        words = [one["reject"]["response"] for one in rejects if one["type"] == "RECORD"]
        assert len(words) == 20


@pytest.mark.parametrize("seed", range(4))
def test_a_202_with_rejections_shows_no_values(door: FrontDoor, seed: int) -> None:
    own = door.integration_id
    outputs = []
    for kind in (0, 1):
        body = rejection(seed + 50, secrets(kind))
        body = {"validation_errors": body.get("validation_errors") or [body], "rejected_count_total": 1}
        door.integration_id = f"{own}-{kind}"
        effect = Edit(partial(_with, body))
        door.sandbox.inject(Fault("push", integration_id=door.integration_id, effect=effect))
        finished = door.run([PEOPLE, *people(secrets(kind), 3), STATE])
        assert finished.code == 1
        assert "[inconsistent-response]" in finished.error
        assert "Sprinto's response is in rejects/" in finished.error
        outputs.append(shown(finished))
    require_same(*outputs)


def _with(new: dict[str, Any], real: dict[str, Any]) -> dict[str, Any]:
    return real | new


def test_an_unwritable_file_does_not_hide_the_failure(door: FrontDoor) -> None:
    (door.folder / "rejects").write_text("a file, not a folder")
    finished = run(door, 0, range(1))
    assert finished.code == 1
    assert "Sprinto rejected page 1" in finished.error
    assert "Sprinto's response could not be saved in rejects/" in finished.error
    assert "[page-refused]" in finished.error
