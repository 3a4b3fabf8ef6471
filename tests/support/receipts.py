"""Reads receipts for tests: checks the published schema, the checksum, and that no value is in them."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema

from target_sprinto.receipts import document
from target_sprinto.receipts.consistency import contradiction
from tests.support.front_door import API_KEY, SECRET

if TYPE_CHECKING:
    from tests.support.front_door import FrontDoor

SCHEMA_FILE = Path(__file__).parent.parent.parent / "target_sprinto/receipts/receipt.schema.json"
CHECKSUM = b',\n  "checksum": "'


_validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_bytes()))


def receipt_of(door: FrontDoor, name: str = "receipt.json") -> dict[str, Any]:
    return receipt_at(door.folder / name)


def receipt_at(path: Path) -> dict[str, Any]:
    """Like `read_receipt`; also check that neither the key nor a record value is in it."""
    content = path.read_text().lower()
    assert API_KEY not in content
    assert SECRET not in content
    return read_receipt(path)


def read_receipt(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    receipt: dict[str, Any] = json.loads(content)
    _validator.validate(receipt)
    assert receipt["checksum"] == hashlib.sha256(content.rpartition(CHECKSUM)[0]).hexdigest()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [left for left in path.parent.iterdir() if left.name.endswith(".new")]
    assert contradiction(document.parse(path, content), str(path)) is None
    return receipt


def change(path: Path, old: str, new: str) -> None:
    """Edit a receipt and its checksum, like a forger."""
    text = path.read_text()
    assert old in text
    body = text.replace(old, new).encode().rpartition(CHECKSUM)[0]
    path.write_bytes(body + CHECKSUM + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n')


def digest(records: list[Any]) -> str:
    """The digest as an auditor computes it from the input."""
    return hashlib.sha256(b"\n".join(json.dumps(one["record"]).encode() for one in records)).hexdigest()
