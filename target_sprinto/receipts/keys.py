"""Ed25519 keys as PEM files. Needs the extra `sign`; only `signing.py` imports it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from target_sprinto import private_files
from target_sprinto.receipts.errors import ReceiptKeyUnusable


def generate() -> tuple[bytes, bytes]:
    """A new key pair as PEM: private, public."""
    key = Ed25519PrivateKey.generate()
    return (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def read_private(path: Path) -> tuple[Ed25519PrivateKey, bool]:
    """The private key in a PEM file, and whether other users cannot read it. Raises ReceiptKeyUnusable."""
    key, is_private = _load(
        path, lambda content: load_pem_private_key(content, None), "`sprintoctl keygen` makes a key pair."
    )
    if not isinstance(key, Ed25519PrivateKey):
        raise _unusable(path, "it is not an Ed25519 key")
    return key, is_private


def read_public(path: Path) -> Ed25519PublicKey:
    """The public key in a PEM file. Raises ReceiptKeyUnusable."""
    key, _ = _load(path, load_pem_public_key, "Use NAME.pub.pem, which `sprintoctl keygen` made.")
    if not isinstance(key, Ed25519PublicKey):
        raise _unusable(path, "it is not an Ed25519 key")
    return key


def id_of(key: Ed25519PrivateKey | Ed25519PublicKey) -> str:
    """The SHA-256 of the public key's DER bytes, in hexadecimal."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def is_signed(key: Ed25519PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether this key made the message's signature."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _load(path: Path, load: Callable[[bytes], object], hint: str) -> tuple[object, bool]:
    try:
        content, is_private = private_files.read_secret(path)
        return load(content), is_private
    except OSError as problem:
        # The path is not shown: it may be the key itself, given by mistake.
        raise ReceiptKeyUnusable(
            f"The file of a receipt key cannot be read: {private_files.reason(problem)}.",
            "`receipt_key_file` and `--public-key` name a file, and do not hold the key; `sprintoctl keygen`"
            " makes a pair.",
        ) from None
    except TypeError:
        # `cryptography` raises it for a key that needs a passphrase.
        raise _unusable(path, "it is encrypted, and passphrases are not supported") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ReceiptKeyUnusable(f"{path} does not contain the required key as PEM.", hint) from None


def _unusable(path: Path, why: str) -> ReceiptKeyUnusable:
    return ReceiptKeyUnusable(
        f"The key in {path} cannot be used: {why}.",
        "`sprintoctl keygen` makes a pair of Ed25519 keys.",
    )
