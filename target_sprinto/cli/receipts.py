"""The commands of `sprintoctl` for receipts: verify them, render them as HTML, make keys to sign them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import IO, Any

import click

from target_sprinto import private_files
from target_sprinto.cli.options import (
    OK,
    binary_option,
    command,
    config_option,
    path_option,
    public_key_option,
)
from target_sprinto.push.endpoint import REGIONS
from target_sprinto.push.text import format_counts, pluralize, shown
from target_sprinto.receipts import errors, receipt_html, signing
from target_sprinto.receipts.chain import pipeline_of
from target_sprinto.receipts.document import COMPLETE, Receipt
from target_sprinto.receipts.folder import count_mismatches, read_checked, read_folder
from target_sprinto.receipts.signing import PublicKey
from target_sprinto.receipts.verifier import Matched, ReceiptVerifier
from target_sprinto.signals import process_signals
from target_sprinto.singer.input.reader import interruptible_reader
from target_sprinto.singer.target import SprintoTarget


def _read_config(context: click.Context, option: click.Option, value: tuple[str, ...]) -> Any:  # noqa: ANN401 - what the SDK's config callback makes
    """The settings; None without --config, when no settings are needed."""
    return SprintoTarget.cb_config(context, option, value) if value else None


@command(
    "Check receipts: signature, chain, input.",
    "sprintoctl verify receipt.json --public-key receipt-key.pub.pem",
    "sprintoctl verify receipts --public-key receipt-key.pub.pem",
    "sprintoctl verify receipt.json --input tap.singer --config config.json",
)
@click.argument("receipt", type=click.Path(path_type=Path))
@public_key_option("Check first that the receipt is")
@binary_option("--input", "source", help="The tap's output that the run read; needs --config.")
@config_option(required=False, callback=_read_config)
def verify(receipt: Path, public_keys: list[PublicKey], source: IO[bytes] | None, config: Any) -> None:  # noqa: ANN401 - what the SDK's config callback makes
    """Check that RECEIPT is intact, and signed if a key is given; for a folder, all receipts and their chain.

    With --input, the run's input is mapped and encoded again, and digests and counts are compared.
    Nothing is sent.
    """
    is_replayed = source is not None
    is_folder = os.path.isdir(receipt)  # noqa: PTH112 - `Path.is_dir` raises if it may not be known
    if is_replayed is (config is None) or (is_replayed and is_folder):
        raise click.UsageError("Use --input and --config together, and with one receipt, not a folder.")
    if is_folder:
        _verify_folder(receipt, public_keys)
        return
    document, signer = read_checked(receipt, public_keys)
    if source is not None:
        _verify_input(document, source, config)
    click.echo(f"{OK}: the receipt is intact; the run's outcome is {document.outcome}.")
    for line in filter(None, (_not_accepted(document), document.count_mismatch)):
        click.echo(line)
    if document.api_url not in REGIONS.values():
        click.echo(f"The run was against {shown(document.api_url)}, which is not Sprinto's own address.")
    click.echo(_signature_of(receipt, document, signer))


def _not_accepted(document: Receipt) -> str:
    """A sentence if some records were not accepted; else empty."""
    by_target = sum(one.rejected_by == "target" for one in document.rejects)
    records = sum(one.entities for one in document.entity_types) + by_target
    accepted, rejected = sum(one.accepted for one in document.entity_types), len(document.rejects)
    if accepted == records:
        return ""
    return f"Accepted: {accepted} of {pluralize(records, 'record')}; rejected: {rejected}."


def _signature_of(path: Path, document: Receipt, signer: str | None) -> str:
    if signer is not None:
        return f"The receipt is signed with the key {signer}."
    if document.signed_by is None:
        return "It is unsigned: anyone with write access to the file can change it and its checksum."
    why = "but its envelope is missing or invalid: it counts as unsigned"
    if signing.has_envelope(path):
        why = "which was not checked: use --public-key FILE"
    return f"It names the key {document.signed_by} as its signer, {why}."


def _verify_folder(folder: Path, public_keys: list[PublicKey]) -> None:
    """Print each problem on its own line, then raise an error with their number."""
    found = read_folder(folder, public_keys, process_signals.check)
    for line in (*found.problems, *count_mismatches(found.runs)):
        click.echo(line)
    if found.problems:
        raise errors.ChainBroken(f"{folder}: {pluralize(len(found.problems), 'problem')} in {found}.")
    if not found.receipts:
        raise errors.ReceiptUnusable(f"{folder} contains no receipt of a run that ended ({found}).")
    click.echo(f"{OK}: {found}; none is missing between the first and the last.")
    for url, count in sorted(Counter(run.pipeline.api_url for run in found.runs).items()):
        if url not in REGIONS.values():
            runs = pluralize(count, "run")
            click.echo(f"Against {shown(url)}, which is not Sprinto's own address: {runs}.")
    if not public_keys:
        unsigned = sum(run.signed_by is None for run in found.runs)
        click.echo(f"Unsigned: {unsigned or 'none'}; --public-key FILE checks the signatures.")


def _verify_input(document: Receipt, source: IO[bytes], config: Any) -> None:  # noqa: ANN401 - what the SDK's config callback makes
    verifier = ReceiptVerifier(document, process_signals.check)
    # Nothing is sent, so neither a key nor a file with one is needed.
    config.config = {**config.config, "api_key": "unused", "api_key_file": None}
    target = SprintoTarget.from_cli(config, run=verifier)
    settings = target.settings
    if pipeline_of(document)[:2] != (settings.integration_id, settings.client_reference_prefix):
        raise errors.ReceiptUnusable(
            f"This receipt belongs to another pipeline: integration {document.integration_id!r}, reference"
            f" {document.reference!r}.",
            "Use the settings of its run.",
        )
    same_settings = settings.fingerprint == document.settings_sha256
    digest = target.reader.start_digest()
    try:
        target.process_lines(interruptible_reader(source.fileno(), process_signals.check))  # type: ignore[arg-type] # our reader takes bytes too
        verifier.finish()
        verifier.compare_rejects(target.rejects.in_receipt() if target.rejects else [])
    except Matched:
        pass
    except errors.ReceiptDiffers as difference:
        if not same_settings:
            difference.hint = f"The settings differ from the run's: that may explain it. {difference.hint}"
        raise
    # No setting changes this digest; the receipt of a failed run has none.
    verifier.compare_input(digest.hexdigest())
    entities = {one.entity_type: one.entities for one in document.entity_types}
    pages = pluralize(len(document.pages), "page")
    click.echo(f"{OK}: the same {pages}, {format_counts(entities)}, as in the receipt.")
    if document.outcome not in COMPLETE:
        click.echo("The run failed; the input after its last page was not compared.")
    if not same_settings:
        click.echo("The settings differ from the run's, which made no difference.")


@command("Show a receipt as HTML.", "sprintoctl receipt receipt.json --html -o receipt.html")
@click.argument("receipt", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--html", "as_html", is_flag=True, required=True, help="Write an HTML report, to read and to print."
)
@path_option("-o", "--output", default="-", help="Where to write the report; - is stdout.")
@public_key_option("Check first that the receipt is")
def receipt(receipt: Path, output: Path, public_keys: list[PublicKey], *, as_html: bool) -> None:  # noqa: ARG001 - there is one form today
    """Render RECEIPT as a self-contained HTML report, which shows whether the signature was checked."""
    # Before the output file is opened, which empties it.
    document, signer = read_checked(receipt, public_keys)
    page = receipt_html.render(document, _signature_of(receipt, document, signer))
    try:
        kept = output.suffix.lower() in {".json", signing.ENVELOPE_SUFFIX}
        if output.exists() and (kept or receipt.samefile(output)):
            raise click.UsageError("-o would overwrite a receipt or an envelope: name another file.")
        with click.open_file(str(output), "wb") as file:
            file.write(page)
            file.flush()
    except OSError as problem:
        if str(output) == "-":
            raise
        raise errors.ReceiptNotWritten(
            f"The report cannot be written to {shown(str(output))} ({private_files.reason(problem)}).",
            "Choose another file with -o.",
        ) from None


@command("Make a key pair that signs receipts.", "sprintoctl keygen receipt-key")
@click.argument("name", default="receipt-key")
def keygen(name: str) -> None:
    """Create NAME.pem, for `receipt_key_file`, and NAME.pub.pem, for `verify --public-key`.

    Only the owner can read the private key. No file is overwritten.
    """
    private, public = Path(f"{name}.pem"), Path(f"{name}.pub.pem")
    path, made = private, signing.keys().generate()
    try:
        private_files.write_new(private, made[0])
        path = public
        private_files.write_new(public, made[1])
        public.chmod(0o644)
    except OSError as problem:
        if path == public:
            private.unlink()
        raise errors.ReceiptNotWritten(
            f"The key cannot be written to {path} ({private_files.reason(problem)}).",
            "Choose another name; an existing key is never overwritten.",
        ) from None
    key_id = signing.keys().id_of(signing.keys().read_public(public))
    click.echo(f"Private key (keep it secret): {private}")
    click.echo(f"Public key, for auditors: {public} (id {key_id})")
