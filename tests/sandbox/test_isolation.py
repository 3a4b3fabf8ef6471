"""The sandbox's imports, and many clients at once."""

from __future__ import annotations

import ast
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import target_sprinto.sandbox
from target_sprinto.sandbox.state import TRANSITIONS
from tests.support.bare_api import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import FaultySandbox

SANDBOX = "target_sprinto.sandbox"


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield str(node.module)


def test_the_sandbox_imports_nothing_from_the_loader() -> None:
    files = list(Path(target_sprinto.sandbox.__file__).parent.glob("*.py"))
    assert files
    ours = {name for file in files for name in imports(file) if name.startswith("target_sprinto")}
    assert {name for name in ours if name != SANDBOX and not name.startswith(f"{SANDBOX}.")} == set()


def test_the_states_match_the_documentation() -> None:
    assert set(TRANSITIONS) == {"active", "processing", "processed", "failed", "expired", "cancelled"}
    assert {state for ways in TRANSITIONS.values() for state in ways.values()} < set(TRANSITIONS)


def test_many_clients_at_once(sandbox: FaultySandbox, integration_id: str) -> None:
    with Api(sandbox, integration_id) as api:
        session_id = api.open()

    def push(number: int) -> int:
        with Api(sandbox, integration_id) as api:
            return api.push(session_id, User=[{"id": number}]).status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(push, range(40))) == {202}
    assert sandbox.sessions(integration_id)[0].accepted_batches == 40
    assert [seen.nth for seen in sandbox.requests(integration_id) if seen.operation == "push"] == [
        *range(1, 41)
    ]
    assert len(sandbox.staged(session_id)) == 40
