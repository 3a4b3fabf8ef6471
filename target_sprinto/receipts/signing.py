"""A receipt's signature: a DSSE envelope beside it, with an in-toto Statement v1 about receipt and input.

DSSE (secure-systems-lab/dsse, protocol.md) signs the type and the bytes of a payload together. The payload
repeats the receipt's outcome, times and counts, so that a check can name the fields that were changed.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import importlib
import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from target_sprinto import private_files
from target_sprinto.receipts import document as receipts
from target_sprinto.receipts import errors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PrivateKey: TypeAlias = "Ed25519PrivateKey"
PublicKey: TypeAlias = "Ed25519PublicKey"
"""For code that only passes keys on: their package, `cryptography`, needs an extra."""

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:target-sprinto:receipt:1"


class _Signature(msgspec.Struct, kw_only=True):
    keyid: str = ""
    sig: str


class _Envelope(msgspec.Struct, rename={"payload_type": "payloadType"}):
    payload: str
    payload_type: str
    signatures: list[_Signature]


def keys() -> Any:  # noqa: ANN401 - a module
    """The module that works with keys. Raises ReceiptKeyUnusable if its extra is not installed."""
    try:
        return importlib.import_module("target_sprinto.receipts.keys")
    except ModuleNotFoundError as missing:
        raise errors.ReceiptKeyUnusable(
            f"Signatures need {missing.name!r}, which is not installed.",
            "Install it with: pip install 'target-sprinto[sign]'",
        ) from None


ENVELOPE_SUFFIX = ".dsse"
_LARGEST_ENVELOPE = 10_000_000


def envelope_path(path: Path) -> Path:
    """The path of a receipt's envelope."""
    return path.with_name(f"{path.name}{ENVELOPE_SUFFIX}")


def pre_authentication_encoding(payload: bytes) -> bytes:
    """The bytes that DSSE signs."""
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def envelope(key: PrivateKey, document: receipts.Receipt, name: str, sha256: str) -> bytes:
    """The envelope of a receipt whose file has this name and digest."""
    subjects = [{"name": name, "digest": {"sha256": sha256}}]
    if document.input_sha256 is not None:
        subjects.append({"name": "input", "digest": {"sha256": document.input_sha256}})
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": _predicate(document),
    }
    payload = json.dumps(statement).encode()
    signature = key.sign(pre_authentication_encoding(payload))
    signatures = [_Signature(keyid=str(document.signed_by), sig=base64.b64encode(signature).decode())]
    shown = _Envelope(base64.b64encode(payload).decode(), PAYLOAD_TYPE, signatures)
    # One field per line, in this order: `docs/signed-receipts.md` reads it with `sed`.
    return msgspec.json.format(msgspec.json.encode(shown), indent=1) + b"\n"


def has_envelope(path: Path) -> bool:
    """Whether a receipt's envelope is beside it, with a signature, which is not checked; or may be."""
    try:
        kind, _, signatures = _decode(_read_envelope(envelope_path(path)), path)
    except PermissionError:
        return True
    except (OSError, errors.SignatureInvalid):
        return False
    return kind == PAYLOAD_TYPE and bool(signatures)


def require_signed(path: Path, content: bytes, public_keys: Sequence[PublicKey]) -> str:
    """Check that the envelope beside a receipt is signed with one of the keys, and is about this `content`.

    Returns the id of that key. Raises ReceiptUnsigned, SignatureInvalid, EnvelopeOfAnother, ReceiptForged,
    or, for a damaged receipt, ReceiptUnusable.
    """
    try:
        signed = _read_envelope(envelope_path(path))
    except OSError as problem:
        raise errors.ReceiptUnsigned(
            f"{path} has no signature: {path.name}.dsse cannot be read ({private_files.reason(problem)}).",
            "Keep a receipt and its envelope together; a run signs if `receipt_key_file` is set.",
        ) from None
    signer, subject, predicate = _statement(signed, public_keys, envelope_path(path))
    if subject == hashlib.sha256(content).hexdigest():
        return signer
    document = receipts.parse(path, content)
    claimed = _predicate(document)
    if claimed["run"] != predicate.get("run"):
        raise errors.EnvelopeOfAnother(
            f"{envelope_path(path)} is the envelope of another receipt.",
            "Put each envelope beside the receipt that it is named after.",
        )
    changed = [name for name in claimed if claimed[name] != predicate.get(name)]
    where = f", in {' and '.join(f'`{name}`' for name in changed)}" if changed else ""
    classes = {_FORGED.get(name, errors.ReceiptForged) for name in changed}
    error = classes.pop() if len(classes) == 1 else errors.ReceiptForged
    raise error(f"{path} was changed after it was signed{where}.", "Do not trust it.")


_FORGED: dict[str, type[errors.ReceiptForged]] = {
    "started_at": errors.TimesForged,
    "ended_at": errors.TimesForged,
    "accepted": errors.CountsForged,
    "outcome": errors.OutcomeForged,
    "exit_code": errors.OutcomeForged,
}


def _read_envelope(path: Path) -> bytes:
    found = path.stat()
    # A pipe may never receive any data, and a device may not end.
    if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_ENVELOPE:
        raise OSError(errno.EINVAL, "not a regular file, or too large")
    return path.read_bytes()


def _predicate(document: receipts.Receipt) -> dict[str, Any]:
    return {
        "run": document.run,
        "integration_id": document.integration_id,
        "outcome": document.outcome,
        "exit_code": document.exit_code,
        "started_at": document.started_at,
        "ended_at": document.ended_at,
        "accepted": {one.entity_type: one.accepted for one in document.entity_types},
    }


def _decode(signed: bytes, path: Path) -> tuple[str, bytes, list[bytes]]:
    """An envelope's type, payload and signatures. Raises SignatureInvalid."""
    try:
        read = msgspec.json.decode(signed, type=_Envelope)
        payload = base64.b64decode(read.payload, validate=True)
        return (
            read.payload_type,
            payload,
            [base64.b64decode(one.sig, validate=True) for one in read.signatures],
        )
    except (ValueError, RecursionError):
        raise errors.SignatureInvalid(f"{path} is not a valid envelope.") from None


def _statement(
    signed: bytes, public_keys: Sequence[PublicKey], path: Path
) -> tuple[str, str, dict[str, Any]]:
    """An envelope's signer, the receipt's digest and the predicate. Raises SignatureInvalid."""
    payload_type, payload, signatures = _decode(signed, path)
    message = pre_authentication_encoding(payload)
    signers = (key for key in public_keys if any(keys().is_signed(key, message, one) for one in signatures))
    signer = next(signers, None) if payload_type == PAYLOAD_TYPE else None
    if signer is None:
        several = len(public_keys) > 1
        raise errors.SignatureInvalid(
            f"The signature in {path} was not made with {'any of these keys' if several else 'this key'}.",
            f"Check that {'one' if several else f'key {keys().id_of(public_keys[0])}'} is the pipeline's, and"
            " that the envelope was not changed.",
        )
    try:
        statement = json.loads(payload)
        if (statement["_type"], statement["predicateType"]) == (STATEMENT_TYPE, PREDICATE_TYPE):
            digest = str(statement["subject"][0]["digest"]["sha256"])
            return keys().id_of(signer), digest, dict(statement["predicate"])
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        pass
    raise errors.SignatureInvalid(
        f"{path} is signed by this key, but is not about a receipt that this version reads."
    )
