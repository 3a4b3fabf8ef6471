"""Checks before a held session is applied: its receipt, or its id typed again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

import click

from target_sprinto.push.errors import ConfigError
from target_sprinto.push.retry_loop import RetryPolicy
from target_sprinto.push.text import format_counts
from target_sprinto.push.transport.background import interruptibly
from target_sprinto.receipts.errors import ReceiptUnusable

if TYPE_CHECKING:
    from target_sprinto.push.client import ApiClient
    from target_sprinto.push.transport.background import Check
    from target_sprinto.receipts.document import Receipt
    from target_sprinto.receipts.run_info import RunInfo

_LOOK_SECONDS = 10.0


class ApprovedContents(NamedTuple):
    """What is in a session, ``{entity_type: int}``, and the STATE to let out once it is processed."""

    counts: dict[str, int]
    state: bytes | None


def by_receipt(document: Receipt, session: str, info: RunInfo) -> ApprovedContents:
    """What a receipt says of the session. Raises ReceiptUnusable for one that is not of it."""
    held = document.session.id if document.session and document.outcome == "held" else None
    if held is None:
        raise ReceiptUnusable(
            f"This receipt is of a run that holds no session: its outcome is {document.outcome!r}.",
            "Take the receipt of a run under `finish: hold`.",
        )
    if held != session:
        raise ReceiptUnusable(f"This receipt is of session {held}.", "Take the one of the session to apply.")
    if (document.integration_id, document.api_url) != (info.integration_id, info.base_url):
        raise ReceiptUnusable(
            f"This receipt is of integration {document.integration_id!r} at {document.api_url}.",
            "Take the settings of the run.",
        )
    counts = {one.entity_type: one.accepted for one in document.entity_types if one.accepted}
    return ApprovedContents(counts, bytes(document.state) if document.state_went_to == "receipt" else None)


def from_prompt(client: ApiClient, session: str, check: Check) -> ApprovedContents:
    """What Sprinto says of the session, once its id was typed again. Raises ConfigError if it was not.

    `check` ends the wait for it by raising.
    """
    retry_policy = RetryPolicy(_LOOK_SECONDS, 0.0)
    status = interruptibly(lambda: client.session_status(session, retry_policy), check)
    counts = status.counts()
    click.echo(
        f"Session {session} is {status.state} and holds {format_counts(counts)}."
        " Nothing says what should be in it. Type its id again to apply it:",
        err=True,
    )
    if interruptibly(sys.stdin.readline, check).strip() != session:
        raise ConfigError("That is not the session's id: nothing was done.")
    return ApprovedContents(counts, None)
