from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from front_door import FrontDoor

from target_sprinto.sandbox import Sandbox, SandboxOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """One server for all tests: each has an integration of its own, so they do not meet."""
    with Sandbox(SandboxOptions(integrations=None, processing_seconds=0.02)) as running:
        yield running


@pytest.fixture
def integration_id() -> str:
    return f"integration-{next(_numbers)}"


@pytest.fixture
def door(sandbox: Sandbox, integration_id: str, tmp_path: Path) -> FrontDoor:
    return FrontDoor(sandbox, integration_id, tmp_path)
