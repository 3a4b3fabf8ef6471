"""Receipts that cannot be forged: their signatures and their chain."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from target_sprinto.receipts import document, signing
from target_sprinto.receipts.chain import Head, Link, Pipeline, broken_links, last_of
from target_sprinto.receipts.errors import SignatureInvalid
from tests.support.commands import DOCS, blocks
from tests.support.front_door import SCHEMA, FrontDoor, as_input, end_of_input, feed, people, state_line
from tests.support.receipts import change, read_receipt, receipt_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.front_door import Finished

SIGNED: dict[str, Any] = {"report_path": "receipts/receipt.json", "receipt_key_file": "key.pem"}
IN_FOLDER: dict[str, Any] = {"report_path": "receipts"}


def sprintoctl(door: FrontDoor, *words: str, **options: Any) -> Finished:  # noqa: ANN401 - of the process
    finished = door.finish(door.start(*words, program="sprintoctl", **options))
    assert len(finished.stderr.splitlines()) <= 1
    return finished


def keygen(door: FrontDoor, name: str = "key") -> str:
    """Make a key pair; return its id."""
    finished = sprintoctl(door, "keygen", name)
    assert finished.code == 0, finished.stderr
    found = re.search(r"id ([0-9a-f]{64})\)", finished.stdout)
    assert found
    return found[1]


def sign(door: FrontDoor, count: int = 3) -> Path:
    key = keygen(door)
    assert door.run(people(count), **SIGNED).code == 0
    path = door.folder / "receipts/receipt.json"
    assert read_receipt(path)["signed_by"] == key
    return path


def verify(door: FrontDoor, what: str = "receipts/receipt.json", key: str = "key.pub.pem") -> Finished:
    return sprintoctl(door, "verify", what, "--public-key", key)


def check_failed(finished: Finished, code: str, *shown: str) -> None:
    assert finished.code == 1, finished.stdout
    for words in (f"[{code}]", *shown):
        assert words in finished.stderr


# Signed


def test_keygen_makes_a_private_pair_and_overwrites_nothing(door: FrontDoor) -> None:
    keygen(door)
    private, public = door.folder / "key.pem", door.folder / "key.pub.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    before = private.read_bytes(), public.read_bytes()
    check_failed(sprintoctl(door, "keygen", "key"), "receipt-not-written", "key.pem", "File exists")
    assert (private.read_bytes(), public.read_bytes()) == before


def test_keygen_writes_no_private_key_if_the_public_one_exists(door: FrontDoor) -> None:
    (door.folder / "key.pub.pem").write_text("kept")
    check_failed(sprintoctl(door, "keygen", "key"), "receipt-not-written", "key.pub.pem")
    assert not (door.folder / "key.pem").exists()
    assert (door.folder / "key.pub.pem").read_text() == "kept"


def test_a_run_with_a_key_signs_its_receipt(door: FrontDoor) -> None:
    path = sign(door, 150)
    envelope = json.loads((path.parent / "receipt.json.dsse").read_bytes())
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    receipt, subjects = read_receipt(path), statement["subject"]
    assert [one["name"] for one in subjects] == ["receipt.json", "input"]
    assert subjects[0]["digest"] == {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert subjects[1]["digest"] == {"sha256": receipt["input_sha256"]}
    assert statement["predicate"]["accepted"] == {"people": 150}
    finished = verify(door)
    assert (finished.code, finished.stderr) == (0, "")
    assert f"The receipt is signed with the key {receipt['signed_by']}." in finished.stdout


def test_an_html_report_shows_whether_the_signature_was_checked(door: FrontDoor) -> None:
    path = sign(door)
    page = ("receipt", "receipts/receipt.json", "--html")
    key = read_receipt(path)["signed_by"]
    unchecked = f"It names the key {key} as its signer, which was not checked: use --public-key FILE."
    assert unchecked in sprintoctl(door, *page).stdout
    with_key = (*page, "--public-key", "key.pub.pem")
    assert f"The receipt is signed with the key {key}." in sprintoctl(door, *with_key).stdout
    for name in ("people", "entities", "accepted"):
        change(path, f'"{name}":3', f'"{name}":30')
    assert sprintoctl(door, "verify", page[1]).stdout.endswith(f"{unchecked}\n")
    assert sprintoctl(door, *page).code == 0
    check_failed(sprintoctl(door, *with_key), "receipt-counts")


def test_failed_and_held_runs_are_signed(door: FrontDoor) -> None:
    keygen(door)
    assert door.run([SCHEMA, b"{"], **SIGNED).code == 1
    assert verify(door).code == 0
    shutil.rmtree(door.folder / "receipts")
    assert door.run(people(3), finish="hold", **SIGNED).code == 0
    assert verify(door).code == 0


def test_without_a_key_receipt_and_verify_report_unsigned(door: FrontDoor) -> None:
    keygen(door)
    assert door.run(people(3), report_path="receipts/receipt.json").code == 0
    assert read_receipt(door.folder / "receipts/receipt.json")["signed_by"] is None
    finished = sprintoctl(door, "verify", "receipts/receipt.json")
    assert finished.code == 0
    assert "It is unsigned" in finished.stdout
    check_failed(verify(door), "receipt-unsigned", "has no signature")


Forge = Callable[[dict[str, Any]], list[tuple[str, str]]]
FORGERIES: dict[str, tuple[Forge, str, str, bool]] = {
    "start and end a month back": (
        lambda receipt: [
            (receipt[name], "2026-10-" + receipt[name][8:]) for name in ("started_at", "ended_at")
        ],
        "receipt-times",
        ", in `started_at` and `ended_at`",
        True,
    ),
    "every time a month back": (
        lambda receipt: [(receipt["started_at"][:8], "2026-10-")],
        "receipt-times",
        ", in `started_at` and `ended_at`",
        False,
    ),
    "7 of 100 accepted": (
        lambda _: [('"accepted":100', '"accepted":7')],
        "receipt-counts",
        ", in `accepted`",
        True,
    ),
    "another exit code": (
        lambda _: [('"exit_code": 0', '"exit_code": 1')],
        "receipt-outcome",
        ", in `exit_code`",
        True,
    ),
    "exit code and counts": (
        lambda _: [('"exit_code": 0', '"exit_code": 1'), ('"accepted":100', '"accepted":7')],
        "receipt-forged",
        ", in `exit_code` and `accepted`",
        True,
    ),
    "another phase": (
        lambda _: [('"phase":"applying"', '"phase":"discarding"')],
        "receipt-forged",
        "",
        False,
    ),
    "unsigned": (
        lambda one: [(f'"signed_by": "{one["signed_by"]}"', '"signed_by": null')],
        "receipt-forged",
        "",
        False,
    ),
}
"""The edit; the error code and place that the signature shows; whether the receipt contradicts itself."""


def test_the_signature_shows_an_edit_with_a_valid_checksum(
    door: FrontDoor, subtests: pytest.Subtests
) -> None:
    path = sign(door, 100)
    whole = path.read_bytes()
    for what, (forge, code, where, contradicts) in FORGERIES.items():
        with subtests.test(what):
            path.write_bytes(whole)
            for old, new in forge(read_receipt(path)):
                change(path, old, new)
            # The checksum is valid; without the key, only contradictions show the edit.
            assert sprintoctl(door, "verify", "receipts/receipt.json").code == contradicts
            check_failed(verify(door), code, f"was changed after it was signed{where}.")


CONTRADICTIONS: dict[str, tuple[str, Forge]] = {
    "an end before the start": (
        "receipt-times",
        lambda one: [(one["ended_at"], "2026-10-01T00:00:00.000Z")],
    ),
    "no end": (
        "receipt-times",
        lambda one: [(f'"ended_at": "{one["ended_at"]}"', '"ended_at": null')],
    ),
    "a page after the end": (
        "receipt-times",
        lambda one: [(one["pages"][0]["last_accepted_at"], "2126-10-01T00:00:00.000Z")],
    ),
    "fewer in a page": (
        "receipt-counts",
        lambda _: [('"requests":1,"accepted":3', '"requests":1,"accepted":2')],
    ),
    "fewer in a type": (
        "receipt-counts",
        lambda _: [('"people":3},"entities":3', '"people":3},"entities":2')],
    ),
    "fewer everywhere": ("receipt-counts", lambda _: [('"accepted":3', '"accepted":2')]),
    "a failure that exits 0": (
        "receipt-outcome",
        lambda _: [('"outcome": "applied"', '"outcome": "failed"')],
    ),
    "applied with an error": (
        "receipt-outcome",
        lambda _: [('"error": null', '"error": "state-not-written"')],
    ),
    "no number": ("receipt-outcome", lambda _: [('"number": 1', '"number": null')]),
    "applied and cancelled": (
        "receipt-outcome",
        lambda _: [('"state":"processed"', '"state":"cancelled"')],
    ),
}


def test_a_contradictory_receipt_is_rejected_without_a_key(
    door: FrontDoor, subtests: pytest.Subtests
) -> None:
    assert door.run(people(3), **IN_FOLDER).code == 0
    (path,) = (door.folder / "receipts").iterdir()
    whole = path.read_bytes()
    for what, (code, forge) in CONTRADICTIONS.items():
        with subtests.test(what):
            path.write_bytes(whole)
            for old, new in forge(read_receipt(path)):
                change(path, old, new)
            check_failed(sprintoctl(door, "verify", f"receipts/{path.name}"), code, "contradicts itself")
            check_failed(sprintoctl(door, "receipt", f"receipts/{path.name}", "--html"), code)
            folder = sprintoctl(door, "verify", "receipts")
            assert f"[{code}]" in folder.stdout
            assert folder.code == 1


def test_an_envelope_by_another_key_is_rejected(door: FrontDoor) -> None:
    sign(door)
    keygen(door, "another")
    check_failed(verify(door, key="another.pub.pem"), "receipt-signature", "was not made with this key")


def test_verify_names_the_key_that_signed_not_the_claimed_one(door: FrontDoor) -> None:
    path, another = sign(door), keygen(door, "another")
    key, _ = signing.keys().read_private(door.folder / "another.pem")
    content = path.read_bytes()
    envelope = signing.envelope(
        key, document.parse(path, content), path.name, hashlib.sha256(content).hexdigest()
    )
    path.with_name("receipt.json.dsse").write_bytes(envelope)
    assert f"The receipt is signed with the key {another}." in verify(door, key="another.pub.pem").stdout
    words = ("history", "receipts", "--format", "html", "--public-key", "another.pub.pem")
    page = sprintoctl(door, *words).stdout
    assert another in page
    assert read_receipt(path)["signed_by"] not in page


LOST: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "an empty object": lambda path: path.write_text("{}"),
    "without a signature": lambda path: path.write_text(
        json.dumps(json.loads(path.read_bytes()) | {"signatures": []})
    ),
}


@pytest.mark.parametrize("how", LOST)
def test_a_receipt_without_its_envelope_counts_as_unsigned(door: FrontDoor, how: str) -> None:
    path = sign(door)
    key, name = read_receipt(path)["signed_by"], "receipts/receipt.json"
    history = ("history", "receipts", "--format", "html")
    assert "Unsigned: none;" in sprintoctl(door, "verify", "receipts").stdout
    assert key in sprintoctl(door, *history).stdout
    LOST[how](path.with_name("receipt.json.dsse"))
    assert "Unsigned: 1;" in sprintoctl(door, "verify", "receipts").stdout
    assert key not in sprintoctl(door, *history).stdout
    lost = f"It names the key {key} as its signer, but its envelope is missing or invalid: it counts as"
    for words in (("verify", name), ("receipt", name, "--html")):
        assert lost in sprintoctl(door, *words).stdout


def make_huge(path: Path) -> None:
    path.touch()
    # Sparse; no machine has the memory to read it.
    os.truncate(path, 1 << 40)


ODD_ENVELOPES: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a huge file": make_huge,
}


@pytest.mark.parametrize("make", ODD_ENVELOPES.values(), ids=ODD_ENVELOPES)
def test_an_envelope_that_cannot_be_read_to_its_end_counts_as_unsigned(
    door: FrontDoor, make: Callable[[Path], object]
) -> None:
    path = sign(door).with_name("receipt.json.dsse")
    path.unlink()
    make(path)
    check_failed(verify(door), "receipt-unsigned", "cannot be read (not a regular file, or too large)")
    in_folder = verify(door, "receipts")
    check_failed(in_folder, "receipt-chain", "1 problem in 1 receipt")
    assert "[receipt-unsigned]" in in_folder.stdout


def test_receipts_signed_before_and_after_a_change_of_key_are_checked_together(door: FrontDoor) -> None:
    ids = []
    for name in ("old", "new"):
        ids.append(keygen(door, name))
        assert door.run(people(3), **IN_FOLDER, receipt_key_file=f"{name}.pem").code == 0
    both = ("--public-key", "old.pub.pem", "--public-key", "new.pub.pem")
    finished = sprintoctl(door, "verify", "receipts", *both)
    assert finished.code == 0, finished.stdout
    assert finished.stdout.startswith("OK: 2 receipts,")
    history = sprintoctl(door, "history", "receipts", *both)
    assert (history.code, history.stderr) == (0, "")
    for path in (door.folder / "receipts").glob("*.json"):
        signer = read_receipt(path)["signed_by"]
        assert f"signed with the key {signer}." in sprintoctl(door, "verify", str(path), *both).stdout
        ids.remove(signer)
    assert not ids
    keygen(door, "third")
    others = (both[0], "third.pub.pem", *both[2:])
    finished = sprintoctl(door, "verify", "receipts", *others)
    check_failed(finished, "receipt-chain", "1 problem in 2 receipts")
    assert "was not made with any of these keys" in finished.stdout


def test_an_edited_envelope_is_rejected(door: FrontDoor) -> None:
    path = sign(door).with_name("receipt.json.dsse")
    envelope = json.loads(path.read_bytes())
    payload = base64.b64decode(envelope["payload"]).replace(b'"exit_code": 0', b'"exit_code": 1')
    for changed in (
        json.dumps(envelope | {"payload": base64.b64encode(payload).decode()}),
        json.dumps(envelope | {"payloadType": "text/plain"}),
        json.dumps(envelope | {"signatures": []}),
        "{}",
        "",
        path.read_text()[:-40],
        '{"nested": ' + "[" * 100_000,
    ):
        path.write_text(changed)
        check_failed(verify(door), "receipt-signature")


@pytest.mark.parametrize(
    "changed",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"predicateType": "https://slsa.dev/provenance/v1"},
        {"subject": []},
        {"subject": [{"name": "receipt.json"}]},
        {"predicate": None},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_same_key_may_sign_other_statements_which_prove_no_receipt(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    key, path, content = Ed25519PrivateKey.generate(), tmp_path / "receipt.json", b"{}"
    statement = {
        "_type": signing.STATEMENT_TYPE,
        "subject": [{"name": path.name, "digest": {"sha256": hashlib.sha256(content).hexdigest()}}],
        "predicateType": signing.PREDICATE_TYPE,
        "predicate": {},
    }

    def signer(statement: dict[str, Any]) -> str:
        payload = json.dumps(statement).encode()
        signature = key.sign(signing.pre_authentication_encoding(payload))
        envelope = {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": signing.PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode()}],
        }
        signing.envelope_path(path).write_text(json.dumps(envelope))
        return signing.require_signed(path, content, [key.public_key()])

    # The id of the key is optional in DSSE.
    assert signer(statement) == signing.keys().id_of(key)
    with pytest.raises(SignatureInvalid, match="not about a receipt that this version reads"):
        signer(statement | changed)


def test_an_envelope_of_another_receipt_is_rejected(door: FrontDoor) -> None:
    path = sign(door)
    first = (path.parent / "receipt.json.dsse").read_bytes()
    assert door.run(people(3), **SIGNED).code == 0
    (second,) = path.parent.glob("receipt.*-*.json.dsse")
    second.write_bytes(first)
    finished = verify(door, f"receipts/{second.name.removesuffix('.dsse')}")
    check_failed(finished, "receipt-envelope", "of another receipt")


def test_a_truncated_or_newer_receipt_is_reported(door: FrontDoor) -> None:
    path = sign(door)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    check_failed(verify(door), "receipt", "was truncated or changed")
    path.write_bytes(whole.replace(b"target-sprinto receipt 1", b"target-sprinto receipt 2"))
    check_failed(verify(door), "receipt-format", "format 2")


# A key that cannot sign


def private_pem(key: Any, password: bytes | None = None) -> bytes:  # noqa: ANN401 - a key of any kind
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


KEYS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), "No such file"),
    "a folder": (
        lambda path: path.rename(path.with_name("moved")).parent.joinpath(path.name).mkdir(),
        "Is a",
    ),
    "empty": (lambda path: path.write_bytes(b""), "does not contain the required key"),
    "the public one": (
        lambda path: path.write_bytes(path.with_name("key.pub.pem").read_bytes()),
        "does not contain the required key",
    ),
    "another kind": (
        lambda path: path.write_bytes(private_pem(generate_private_key(SECP256R1()))),
        "not an Ed25519 key",
    ),
    "encrypted": (
        lambda path: path.write_bytes(private_pem(Ed25519PrivateKey.generate(), b"secret")),
        "it is encrypted",
    ),
}


@pytest.mark.parametrize("what", KEYS)
def test_an_unusable_key_fails_the_run_before_any_request(door: FrontDoor, what: str) -> None:
    keygen(door)
    spoil, shown = KEYS[what]
    spoil(door.folder / "key.pem")
    finished = door.run(people(3), **SIGNED)
    check_failed(finished, "receipt-key", shown, "No session was opened")
    assert finished.stdout == ""
    assert door.operations() == []
    assert not (door.folder / "receipts").exists()


@pytest.mark.parametrize("lines", [slice(None), slice(1, 2)], ids=["all of it", "without its first line"])
@pytest.mark.parametrize("end", ["\n", " "])
def test_a_private_key_given_as_text_is_not_shown(door: FrontDoor, end: str, lines: slice) -> None:
    keygen(door)
    content = (door.folder / "key.pem").read_text().splitlines()
    secret, text = content[1], end.join(content[lines])
    given = {"report_path": "receipts", "receipt_key_file": text}
    run, check = door.run(people(3), **given), door.sprintoctl("check", **given)
    verified = sprintoctl(door, "verify", "receipts", "--public-key", text)
    for finished in (run, check, verified):
        assert secret not in finished.stdout + finished.stderr
        check_failed(finished, "receipt-key", "key cannot be read", "name a file, and do not hold the key")
    assert door.operations() == []


def test_an_invalid_public_key_is_reported(door: FrontDoor) -> None:
    sign(door)
    check_failed(verify(door, key="key.pem"), "receipt-key", "does not contain the required key")
    check_failed(verify(door, key="missing.pem"), "receipt-key", "No such file")


def test_a_missing_extra_fails_the_run_before_any_request(door: FrontDoor) -> None:
    keygen(door)
    hidden = door.folder / "hidden/cryptography"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('hidden', name='cryptography')")
    finished = door.run(people(3), cold=True, env={"PYTHONPATH": str(hidden.parent)}, **SIGNED)
    check_failed(finished, "receipt-key", "pip install 'target-sprinto[sign]'", "No session was opened")
    assert door.operations() == []


def test_a_key_readable_by_others_causes_a_warning(door: FrontDoor) -> None:
    keygen(door)
    (door.folder / "key.pem").chmod(0o644)
    finished = door.run(people(3), **SIGNED)
    assert finished.code == 0
    (warning,) = [line for line in finished.stderr.splitlines() if "| WARNING" in line]
    assert "chmod 600 key.pem" in warning


def test_a_name_too_long_for_the_envelope_fails_before_any_request(door: FrontDoor) -> None:
    keygen(door)
    long = {"report_path": f"{'n' * 235}.json"}
    check_failed(door.run(people(3), **SIGNED | long), "receipt-not-written", "File name too long")
    assert door.operations() == []
    assert not list(door.folder.glob("n*"))
    # Without a key there is no envelope.
    assert door.run(people(3), **long).code == 0


def test_an_unwritable_envelope_does_not_lose_the_state(door: FrontDoor) -> None:
    keygen(door)
    (door.folder / "receipts/receipt.json.dsse").mkdir(parents=True)
    finished = door.run(people(3), **SIGNED)
    assert (finished.code, finished.stdout) == (0, state_line())
    (warning,) = [line for line in finished.stderr.splitlines() if "| WARNING" in line]
    assert "has no signature: its envelope cannot be written" in warning
    assert receipt_of(door, "receipts/receipt.json")["outcome"] == "applied"


# Checked without target-sprinto


def block(language: str, mark: str) -> str:
    """A program from the documentation."""
    (found,) = [
        one.text
        for one in blocks(DOCS / "signed-receipts.md")
        if one.language == language and mark in one.text
    ]
    return found


@pytest.mark.parametrize("how", ["openssl", "python"])
def test_the_documented_programs_check_a_signature(door: FrontDoor, how: str) -> None:
    path = sign(door)
    shutil.copy(path, door.folder / "receipt.json")
    shutil.copy(f"{path}.dsse", door.folder / "receipt.json.dsse")
    if how == "python":
        program = block("python", "Ed25519")
        assert "target_sprinto" not in program
        assert len(program.splitlines()) <= 15
        command = [sys.executable, "-c", program]
    else:
        command = ["bash", "-e", "-c", block("sh", "openssl pkeyutl")]

    def check() -> int:
        return subprocess.run(command, cwd=door.folder, capture_output=True, check=False).returncode

    (door.folder / "receipt-key.pub.pem").write_bytes((door.folder / "key.pub.pem").read_bytes())
    assert check() == 0
    change(door.folder / "receipt.json", '"exit_code": 0', '"exit_code": 1')
    assert check() != 0
    # The run's input is a subject too, and may read like a receipt.
    (door.folder / "receipt.json").write_bytes(as_input(people(3)))
    assert check() != 0
    shutil.copy(path, door.folder / "receipt.json")
    keygen(door, "another")
    (door.folder / "receipt-key.pub.pem").write_bytes((door.folder / "another.pub.pem").read_bytes())
    assert check() != 0


# Chained


def runs(door: FrontDoor, count: int, **settings: object) -> list[Path]:
    """Do `count` runs and return their receipts in order."""
    for _ in range(count):
        assert door.run(people(0), **{**IN_FOLDER, **settings}).code == 0
    paths = (door.folder / "receipts").glob("*.json")
    return sorted(paths, key=lambda path: json.loads(path.read_bytes())["number"] or 0)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_chain(door: FrontDoor, *problems: str) -> None:
    finished = sprintoctl(door, "verify", "receipts")
    if not problems:
        assert (finished.code, finished.stderr) == (0, ""), finished.stdout
        return
    check_failed(finished, "receipt-chain")
    assert finished.stdout.splitlines() == [f"{problem} [receipt-chain]" for problem in problems]


def test_each_receipt_refers_to_the_previous_one(door: FrontDoor) -> None:
    first, second, third = runs(door, 3)
    linked = [(one["number"], one["previous"]) for one in map(read_receipt, (first, second, third))]
    assert linked == [(1, None), (2, sha256(first)), (3, sha256(second))]
    finished = sprintoctl(door, "verify", "receipts")
    assert finished.stdout.startswith("OK: 3 receipts, 0 unfinished, 0 other files; none is missing")
    assert "Unsigned: 3;" in finished.stdout
    address = f"Against {door.sandbox.base_url}, which is not Sprinto's own address: 3 runs.\n"
    assert address in finished.stdout


def test_each_pipeline_has_its_own_chain(door: FrontDoor) -> None:
    runs(door, 2)
    runs(door, 2, client_reference_prefix="another/one")
    runs(door, 1)
    read = [read_receipt(path) for path in (door.folder / "receipts").iterdir()]
    numbers = sorted((one["reference"].rpartition("/")[0], one["number"]) for one in read)
    assert numbers == [
        *[("another/one", number) for number in (1, 2)],
        *[("target-sprinto", number) for number in (1, 2, 3)],
    ]
    check_chain(door)


def test_the_longest_names_leave_no_receipt_out_of_the_chain(door: FrontDoor) -> None:
    door = replace(door, integration_id="📄" * 255)
    before, api, after = door.sandbox.base_url.partition("/api/")
    longest = {"client_reference_prefix": "📄" * 255, "api_url": f"{before}/{'📄' * 400}/..{api}{after}"}
    numbers = [read_receipt(path)["number"] for path in runs(door, 2, **longest)]
    assert numbers == [1, 2]
    check_chain(door)


def test_a_removed_receipt_is_detected(door: FrontDoor) -> None:
    first, second, third, fourth = runs(door, 4)
    third.unlink()
    check_chain(door, f"Between {second.name} and {fourth.name} a receipt is missing.")
    first.unlink()
    check_chain(
        door,
        f"{second.name} is receipt 2 of its pipeline; the ones before it are not here.",
        f"Between {second.name} and {fourth.name} a receipt is missing.",
    )


def test_reordered_receipts_are_detected(door: FrontDoor) -> None:
    first, second, third, fourth = runs(door, 4)
    for path, number in ((second, "3"), (third, "2")):
        change(path, f'"number": {5 - int(number)}', f'"number": {number}')
    check_chain(
        door,
        f"{third.name} does not follow {first.name}, which was changed or replaced.",
        f"{second.name} does not follow {third.name}, which was changed or replaced.",
        f"{fourth.name} does not follow {second.name}, which was changed or replaced.",
    )


def test_a_changed_or_added_receipt_is_detected(door: FrontDoor) -> None:
    first, second, _ = runs(door, 3)
    copy = first.with_name("copy.json")
    shutil.copy(second, copy)
    check_chain(door, f"{second.name} and {copy.name} have the same number, 2: one of them was added.")
    copy.unlink()
    change(first, '"region": null', '"region": "eu"')
    check_chain(door, f"{second.name} does not follow {first.name}, which was changed or replaced.")


def test_a_killed_run_does_not_break_the_chain(door: FrontDoor) -> None:
    runs(door, 1)
    door.kill_midway(**IN_FOLDER)
    killed, first, second = runs(door, 1, on_active_session="fail")
    assert read_receipt(killed)["outcome"] == "unfinished"
    assert read_receipt(second)["previous"] == sha256(first)
    check_chain(door)


def test_concurrent_runs_form_one_chain(door: FrontDoor) -> None:
    processes = [door.start(**IN_FOLDER) for _ in range(6)]
    for process in processes:
        feed(process, [SCHEMA])
    for process in processes:
        end_of_input(process)
    assert [door.finish(process, None).code for process in processes] == [0] * 6
    numbers = [read_receipt(path)["number"] for path in (door.folder / "receipts").iterdir()]
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    check_chain(door)


def test_a_folder_with_other_files_and_a_signed_chain(door: FrontDoor) -> None:
    folder = door.folder / "receipts"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number}.json").write_text(["x", "{}", "[", '{"format": 1}', "\0" * 9000][number % 5])
    # Sparse; no machine has the memory to read it.
    os.truncate(folder / "2.json", 1 << 40)
    keygen(door)
    for _ in range(2):
        assert door.run(people(3), **IN_FOLDER, receipt_key_file="key.pem").code == 0
    finished = verify(door, "receipts")
    assert finished.code == 0, finished.stdout
    assert finished.stdout.startswith("OK: 2 receipts, 0 unfinished, 200 other files;")
    first = min(folder.glob("20*-*.json"), key=lambda path: read_receipt(path)["number"])
    change(first, '"exit_code": 0', '"exit_code": 1')
    finished = verify(door, "receipts")
    check_failed(finished, "receipt-chain", "2 problems in 2 receipts")
    assert "[receipt-outcome]" in finished.stdout
    assert "does not follow" in finished.stdout


@pytest.mark.parametrize("size", [0, 5])
def test_a_receipt_cut_to_its_first_bytes_is_a_problem(door: FrontDoor, size: int) -> None:
    _, last = sorted(runs(door, 2), key=lambda path: read_receipt(path)["number"])
    os.truncate(last, size)
    assert door.run(people(1), **IN_FOLDER).code == 0
    finished = sprintoctl(door, "verify", "receipts")
    check_failed(finished, "receipt-chain", "1 problem in 3 receipts")
    assert last.name in finished.stdout


REWRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "indented again": lambda content: json.dumps(json.loads(content), indent=4).encode(),
    "sorted": lambda content: json.dumps(json.loads(content), sort_keys=True).encode(),
    "other line ends": lambda content: content.replace(b"\n", b"\r\n"),
    "a byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "NULs": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("how", REWRITTEN)
def test_a_rewritten_receipt_is_a_problem_too(door: FrontDoor, how: str) -> None:
    keygen(door)
    for _ in range(2):
        assert door.run(people(3), **IN_FOLDER, receipt_key_file="key.pem").code == 0
    last = max((door.folder / "receipts").glob("*.json"), key=lambda path: read_receipt(path)["number"])
    last.write_bytes(REWRITTEN[how](last.read_bytes()))
    finished = verify(door, "receipts")
    check_failed(finished, "receipt-chain", "1 problem in 2 receipts")
    assert f"{last.name} is not an intact receipt" in finished.stdout
    # Without the envelope too, if the file still begins by saying what it is.
    last.with_name(f"{last.name}.dsse").unlink()
    assert sprintoctl(door, "verify", "receipts").code == (how not in {"NULs", "sorted"})


def test_an_envelope_whose_receipt_was_removed_is_a_problem(door: FrontDoor) -> None:
    keygen(door)
    for _ in range(2):
        assert door.run(people(3), **IN_FOLDER, receipt_key_file="key.pem").code == 0
    last = max((door.folder / "receipts").glob("*.json"), key=lambda path: read_receipt(path)["number"])
    last.unlink()
    finished = verify(door, "receipts")
    check_failed(finished, "receipt-chain", "1 problem in 1 receipt")
    assert f"{last.name}.dsse signs a receipt that is not here" in finished.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_an_unreadable_file_is_a_problem(door: FrontDoor) -> None:
    runs(door, 1)
    # Opening it works, reading it fails, for every user.
    (door.folder / "receipts/broken.json").symlink_to("/proc/self/mem")
    finished = sprintoctl(door, "verify", "receipts")
    check_failed(finished, "receipt-chain", "1 problem in 2 receipts")
    assert "cannot be read (Input/output error): receipts/broken.json" in finished.stdout
    assert (
        "receipts/broken.json" in door.finish(door.start("history", "receipts", program="sprintoctl")).stderr
    )
    # It may be the last receipt, whose number the next one follows.
    failed = door.run(people(1), **IN_FOLDER)
    assert failed.code == 1
    assert "receipts/broken.json, possibly the receipt of the previous run, cannot be read" in failed.error
    # A receipt that is moved would be missing from its chain.
    assert "No session was opened. Make it readable; move it only if it is not a receipt. [" in failed.error


def test_other_files_that_look_like_receipts_are_not_a_problem(door: FrontDoor) -> None:
    folder = sign(door).parent
    quoted = '{"receipts": [{"format": "target-sprinto receipt 1"}]}'
    for name, content in {f"{'x' * 250}.json": "{}", "index.json": quoted, "other.json": "{}"}.items():
        (folder / name).write_text(content)
    (folder / "other.json.dsse").write_text('{"payloadType": "other", "payload": "", "signatures": []}')
    finished = sprintoctl(door, "verify", "receipts")
    assert finished.code == 0, finished.stdout
    assert "1 receipt, 0 unfinished, 3 other files" in finished.stdout


def test_a_link_to_itself_is_a_problem(door: FrontDoor) -> None:
    runs(door, 1)
    (door.folder / "receipts/loop.json").symlink_to("loop.json")
    finished = sprintoctl(door, "verify", "receipts")
    check_failed(finished, "receipt-chain", "1 problem in 2 receipts")
    assert "receipts/loop.json. [receipt]" in finished.stdout


POWERLESS = "-dac_override,-dac_read_search"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("setpriv"), reason="root may enter every folder")
@pytest.mark.parametrize(
    ("mode", "what", "code"),
    [
        (0o400, "receipts", "receipt-chain"),
        (0o000, "receipts/receipt.json", "receipt"),
        (0o000, "links", "receipt-chain"),
    ],
)
def test_a_folder_that_may_not_be_entered_is_a_problem(
    door: FrontDoor, mode: int, what: str, code: str
) -> None:
    path = sign(door)
    (door.folder / "links").mkdir()
    (door.folder / "links/latest.json").symlink_to(path)
    path.parent.chmod(mode)
    through = ["setpriv", "--bounding-set", POWERLESS, "--inh-caps", POWERLESS] if os.geteuid() == 0 else []
    finished = sprintoctl(door, "verify", what, through=through, cold=True)
    path.parent.chmod(0o700)
    check_failed(finished, code)
    assert "cannot be read (Permission denied)" in finished.stdout + finished.stderr
    assert "is not here" not in finished.stdout


def test_a_folder_without_receipts_fails(door: FrontDoor) -> None:
    (door.folder / "receipts").mkdir()
    check_failed(sprintoctl(door, "verify", "receipts"), "receipt", "contains no receipt")


def test_the_last_of_a_thousand_receipts_is_found_quickly(door: FrontDoor) -> None:
    (path,) = runs(door, 1)
    content = path.read_text()
    for number in range(2, 1001):
        path.with_name(f"{number}.json").write_text(content.replace('"number": 1', f'"number": {number}'))
    pipeline = Pipeline(door.integration_id, "target-sprinto", door.sandbox.base_url)
    began = time.process_time()
    last = last_of(path.parent, pipeline)
    assert time.process_time() - began < 1
    assert last == (1000, sha256(path.with_name("1000.json")))


def test_times_that_contradict_the_chain_are_reported() -> None:
    def link(number: int, ended_at: str, previous: str | None) -> Link:
        return Link(
            f"{number}.json",
            f"sha {number}",
            Head("applied", "u", "p/u", ended_at, number, previous, "i", ""),
        )

    first, second = link(1, "2026-11-28T12:00:00.000Z", None), link(2, "2026-11-27T12:00:00.000Z", "sha 1")
    assert broken_links([second, first]) == [
        "2.json follows 1.json, but its `ended_at` is earlier: was the clock set back?"
    ]
    # A clock may be adjusted.
    assert broken_links([link(2, "2026-11-28T11:56:00.000Z", "sha 1"), first]) == []
    assert broken_links([]) == []


def test_apply_checks_the_signature_first(door: FrontDoor) -> None:
    keygen(door)
    assert door.run(people(3), finish="hold", **SIGNED).code == 0
    session = door.session().id
    words = ("apply", session, "--receipt", "receipts/receipt.json", "--public-key", "key.pub.pem")
    path = door.folder / "receipts/receipt.json"
    whole = path.read_bytes()
    change(path, '"accepted":3', '"accepted":30')
    check_failed(door.sprintoctl(*words), "receipt-counts", "in `accepted`")
    path.write_bytes(whole)
    (door.folder / "receipts/receipt.json.dsse").rename(door.folder / "kept")
    check_failed(door.sprintoctl(*words), "receipt-unsigned")
    assert door.session().state == "active"
    (door.folder / "kept").rename(door.folder / "receipts/receipt.json.dsse")
    applied = door.sprintoctl(*words)
    assert (applied.code, applied.stdout) == (0, state_line())
    assert door.session().state == "processed"
