"""The reference matches the code, and runs end as documented."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
import pytest

from target_sprinto.cli import app
from tests.support import endings, reference
from tests.support.commands import DOCS
from tests.support.front_door import state_line

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.endings import Ending
    from tests.support.front_door import FrontDoor


@pytest.mark.parametrize("page", reference.PAGES, ids=lambda page: page.name)
def test_the_reference_matches_the_code(page: Path) -> None:
    written = page.read_text(encoding="utf-8")
    assert written == reference.filled(written), "`nox -s readme` writes it"


def test_every_generated_part_is_used() -> None:
    marks = re.findall(r"<!-- made: (\w+) -->", "".join(page.read_text() for page in reference.PAGES))
    assert sorted(marks) == sorted(reference.MADE)


def test_every_command_and_option_has_help_and_is_in_a_guide() -> None:
    guides = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    inner = [
        (f"{name} {part}", below)
        for name, group in app.main.commands.items()
        if isinstance(group, click.Group)
        for part, below in group.commands.items()
    ]
    for name, command in [*app.main.commands.items(), *inner]:
        assert command.help, name
        assert command.short_help, name
        assert re.search(rf"Examples?:[^:]*sprintoctl {name}\b", reference.help_text(command)), name
        assert re.search(rf"sprintoctl {name}\b", guides), name
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, (name, option.opts)
    commands = (DOCS / "reference/commands.md").read_text(encoding="utf-8")
    message = set(re.findall(r"^#+ sprintoctl (\w+)$", commands, re.MULTILINE))
    assert message == set(app.main.commands)


@pytest.mark.parametrize("ending", endings.ENDINGS, ids=lambda ending: ending.what)
def test_a_run_ends_as_documented(door: FrontDoor, ending: Ending) -> None:
    finished = ending.play(door)
    assert finished.code == ending.exit_code
    assert finished.stdout == (state_line() if ending.singer_state == endings.LAST else "")
    assert (state_line().strip() in finished.stderr) is ("stderr" in ending.singer_state)
    states = [session.state for session in door.sessions()]
    assert states == ([] if ending.state is None else [ending.state])
    assert (door.applied() != {}) is (ending.state == "processed")
    assert ("may still be applied" in finished.stderr) is ("may still" in ending.session)
    assert ending.state == "cancelled" or "nothing was applied" not in finished.stderr
