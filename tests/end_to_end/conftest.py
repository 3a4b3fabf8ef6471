from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A private certificate authority."""
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """The environment that makes the target trust it."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return {"REQUESTS_CA_BUNDLE": str(path)}
