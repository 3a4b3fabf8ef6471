from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from target_sprinto import SprintoClient
from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.timing import Timings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import FaultySandbox


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ApiClient, "timings", Timings(recheck_interval=0.1, quiet_period=0.3))


@pytest.fixture
def client(sandbox: FaultySandbox, integration_id: str) -> Iterator[SprintoClient]:
    with SprintoClient(
        api_key=sandbox.options.api_key, integration_id=integration_id, api_url=sandbox.base_url
    ) as made:
        yield made
