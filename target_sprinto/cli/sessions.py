"""The commands of `sprintoctl` that read, discard and apply sessions."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from target_sprinto.cli.options import (
    OK,
    Number,
    command,
    config_option,
    configured,
    json_option,
    path_option,
    public_key_option,
    session_id,
)
from target_sprinto.push import errors
from target_sprinto.push.activity_log_reader import cut_off, find_active_session, read_events
from target_sprinto.push.api_calls import ApiClient, RetryPolicy
from target_sprinto.push.protocol.responses import count_of
from target_sprinto.push.protocol.timestamps import parse_time
from target_sprinto.push.run.closing import HeldSession
from target_sprinto.push.run.discarding import discard_session
from target_sprinto.push.run.offline_run import OfflineRun
from target_sprinto.push.run.staged_session import StagedSession
from target_sprinto.push.text import format_counts, printable, short, shown
from target_sprinto.push.transport.background import Deadline, grace_period, interruptibly
from target_sprinto.receipts import signing
from target_sprinto.receipts.document import Receipt
from target_sprinto.receipts.errors import ReceiptUnusable
from target_sprinto.receipts.folder import read_checked
from target_sprinto.receipts.receipt_file import require_writable
from target_sprinto.signals import process_signals
from target_sprinto.singer.error_hints import how_to_discard
from target_sprinto.singer.mapping.map_check import require_expressions
from target_sprinto.singer.settings.config_input import lasting
from target_sprinto.singer.settings.settings import Settings
from target_sprinto.singer.state.output import write_state
from target_sprinto.singer.target import SprintoTarget

_T = TypeVar("_T")

_STATES = {"active": "yellow", "processing": None, "processed": "green", "failed": "red", "expired": "yellow"}
"""Colour by state."""
_LEVELS = {"warning": "yellow", "error": "red"}

_CHECK_SECONDS = 10.0
_DISCARD_SECONDS = 30.0
_TIMEOUTS = ("request_timeout_seconds", "processing_timeout_seconds")

_MAX_HOURS = 87_600
"""Ten years: a date further back may not exist."""

_MAX_REFERENCE = 500
"""In characters: a prefix has at most 255, and another client may have any reference."""


@command("Test settings, key, region, integration.", "sprintoctl check --config config.json")
@config_option(callback=SprintoTarget.cb_config)
def check(config: Any) -> None:  # noqa: ANN401 - what the SDK's config callback makes
    """Test the settings, then key, region and integration with a call that changes nothing."""
    target = SprintoTarget.from_cli(config, run=OfflineRun(process_signals.check))
    require_expressions(target.stream_maps)
    _require_receipt_possible(target.settings)
    client = target.client
    _read(client.integration_status, retry_seconds=0.0)
    click.echo(f"{OK}: the API key is accepted for {client.address}.")


def _require_receipt_possible(settings: Settings) -> None:
    """Raise what a run would raise for its signing key, or for a folder in which no file can be created."""
    if settings.receipt_key_file is not None:
        signing.keys().read_private(settings.receipt_key_file)
    if settings.report_path is not None:
        require_writable(settings.report_path)


def _read(call: Callable[[RetryPolicy], _T], retry_seconds: float = _CHECK_SECONDS) -> _T:
    """The result of a read. No setting limits its retries: it is for a person or a monitor."""
    try:
        return interruptibly(lambda: call(RetryPolicy(_CHECK_SECONDS, retry_seconds)), process_signals.check)
    except errors.Throttled as failure:
        wait = f"{failure.retry_after:.10g} s" if failure.retry_after else "a minute"
        failure.advise(f"Run it again in {wait}.")
        raise


@command("Show the integration's sessions.", "sprintoctl status --config config.json")
@config_option()
@json_option
def status(config: tuple[str, ...], *, as_json: bool) -> None:
    """Show the number of sessions in each state, and the active one if the activity log shows it.

    It does not read any session's status, so it keeps no session alive: it is safe to run every minute.
    """
    settings, client = configured(config)
    integration = _read(client.integration_status)
    last_at, is_time = integration.last_activity_at, parse_time(integration.last_activity_at) is not None
    find = partial(find_active_session, client, last_activity=last_at)
    session = _read(find) if integration.sessions.active != 0 else None
    # Anything else is text of the server's, which might quote values.
    counts = {state: count_of(count) for state, count in msgspec.structs.asdict(integration.sessions).items()}
    if as_json:
        active = session and {
            "id": session.id,
            "client_reference_id": session.reference and short(session.reference, _MAX_REFERENCE),
            "created_at": session.created_at,
            "last_event_at": session.last_at,
            "certain": session.log_is_whole,
        }
        document = {
            "integration_id": settings.integration_id,
            "sessions": counts,
            "last_activity_at": last_at if is_time else None,
            "active_session": active,
        }
        click.echo(printable(msgspec.json.encode(document).decode()))
        return
    last_active = last_at if is_time else "never" if last_at is None else "?"
    click.echo(f"Integration {shown(settings.integration_id)}, last active {last_active}")
    for state, colour in _STATES.items():
        line = f"{state:<12}{'?' if counts[state] is None else counts[state]}"
        click.echo(f"  {_coloured(line, colour if counts[state] else None)}")
    if counts["active"] != 0:
        unknown = "the activity log does not show which session"
        named = session.describe(client.known_server_time()) if session else unknown
        click.echo(f"Active: {named}")


@command("Show Sprinto's activity log.", "sprintoctl activity --config config.json --hours 2")
@config_option()
@click.option("--json", "as_json", is_flag=True, help="Output JSON Lines.")
@click.option("--hours", default=24.0, type=Number(0, _MAX_HOURS), help="How far to look back.")
def activity(config: tuple[str, ...], hours: float, *, as_json: bool) -> None:
    """Show the events that Sprinto logged, as Sprinto words them."""
    _, client = configured(config)
    age = timedelta(hours=hours)
    events, _ = _read(lambda retry_policy: cut_off(read_events(client, age, retry_policy)))
    if not events:
        since = client.server_time() - age
        click.echo(
            f"The activity log has no events since {since:%Y-%m-%dT%H:%M:%SZ}; --hours looks further back.",
            err=True,
        )
    for event in events:
        if as_json:
            click.echo(printable(msgspec.json.encode(event).decode()))
        else:
            words = [str(event.get(name) or "") for name in ("at", "level", "type", "session_id", "message")]
            line = "{:<25} {:<8} {:<20} {:<37} {}".format(*words).rstrip()
            click.echo(_coloured(printable(line), _LEVELS.get(str(event.get("level")))))


@command(
    "Discard a session that a run left open.",
    "sprintoctl discard 629ab55e-ee91-45ab-8fbb-db8ca00438ac --config config.json",
)
@click.argument("session", callback=session_id)
@config_option()
def discard(session: str, config: tuple[str, ...]) -> None:
    """Discard SESSION, which a run left open, without applying anything."""
    _, client = configured(config)
    status = _read(partial(client.session_status, session))
    deadline = Deadline(_DISCARD_SECONDS, process_signals.check, 0.0)
    result = discard_session(client, session, status.expiry, deadline)
    if result.state is None:
        hint = how_to_discard(session, lasting(config))
        raise errors.NotDiscarded(result.sentence, hint, temporary=result.temporary)
    if not result.is_discarded:
        hint = "`sprintoctl activity` shows what happened to it."
        if result.state == "expired":
            hint = "Until another session is opened, `sprintoctl apply` can still apply it."
        raise errors.SessionEnded(result.sentence, hint)
    click.echo(result.sentence)


@command(
    "Apply a session that a run holds.",
    "sprintoctl apply 629ab55e-ee91-45ab-8fbb-db8ca00438ac --receipt receipt.json --config config.json",
    name="apply",
)
@click.argument("session", callback=session_id)
@config_option()
@path_option(
    "--receipt", help="The receipt that the run wrote: its counts are checked, and its STATE is printed."
)
@public_key_option("Check first that the receipt is")
@click.option("--unverified", is_flag=True, help="Apply without a receipt; prints no STATE.")
def apply_(
    session: str,
    config: tuple[str, ...],
    receipt: Path | None,
    public_keys: list[signing.PublicKey],
    *,
    unverified: bool,
) -> None:
    """Apply SESSION, which a run left staged under `finish: hold`.

    Its STATE is printed once it is processed. Without --public-key, anyone who can write to the receipt
    controls the counts and the STATE in it.
    """
    if (receipt is None) is not unverified or (unverified and public_keys):
        raise click.UsageError(
            "Use either --receipt FILE, the receipt of the run that holds the session, with or without"
            " --public-key; or --unverified, to apply the session without any check."
        )
    settings, client = configured(config, "on_count_mismatch", *_TIMEOUTS)
    check = process_signals.check
    document = read_checked(receipt, public_keys)[0] if receipt else None
    if document:
        _require_held(document, session, settings)
        counts = {one.entity_type: one.accepted for one in document.entity_types if one.accepted}
    else:
        counts = _confirmed_counts(client, session)
    timeouts = settings.timeouts
    retry_policy = RetryPolicy(timeouts.request, timeouts.processing)
    mismatch = settings.on_count_mismatch
    staged = StagedSession(client, session, Counter(counts), retry_policy, check, mismatch)
    held = HeldSession(staged)
    try:
        held.apply()
    except errors.SprintoError as failure:
        _advise(failure, how_to_discard(session, lasting(config)), close_sent=held.close_sent)
        raise
    # Under `on_count_mismatch: apply` they may differ from the receipt's, whose names alone are shown.
    found = client.last_statuses[session][0].counts()
    shown_counts = format_counts({name: found.get(name, 0) for name in counts})
    click.echo(f"Sprinto has processed session {session}: {shown_counts}.", err=True)
    if document and document.state_went_to == "receipt":
        write_state(bytes(document.state), grace_period(check, client.timings.signal_shutdown_timeout))
    elif document:
        click.echo("The run's input had no STATE: none is printed.", err=True)


def _advise(failure: errors.SprintoError, to_discard: str, *, close_sent: bool) -> None:
    """Replace the hint with one for this command: a new run opens another session, not this one again."""
    if isinstance(failure, errors.SessionEnded):
        failure.temporary = False
        failure.hint = "Run the pipeline again. An expired session is applied only if none was opened since."
    elif isinstance(failure, errors.CountMismatch):
        again = "Run" if close_sent else f"{to_discard} Then run"
        failure.hint = f"{again} the pipeline again; if it persists, ask Sprinto's support."
    elif close_sent and isinstance(failure, errors.Interrupted | errors.ProcessingTimeout):
        failure.hint = "Run the same command again: it resumes, and then prints the receipt's STATE."
        if isinstance(failure, errors.ProcessingTimeout):
            failure.hint += " Raise `processing_timeout_seconds` if this happens often."


def _require_held(document: Receipt, session: str, settings: Settings) -> None:
    """Raise ReceiptUnusable unless the receipt is of this session, held under these settings."""
    held = document.session.id if document.session and document.outcome == "held" else None
    if held is None:
        raise ReceiptUnusable(
            f"The run of this receipt holds no session: its outcome is {document.outcome!r}.",
            "It is in progress or was killed, so its session may be incomplete: discard it if it was killed."
            if document.outcome == "unfinished"
            else "Use the receipt of a run under `finish: hold`.",
        )
    if held != session:
        raise ReceiptUnusable(
            f"This receipt belongs to session {held}.", "Use the receipt of the session to apply."
        )
    if (document.integration_id, document.api_url) != (settings.integration_id, settings.base_url):
        raise ReceiptUnusable(
            f"This receipt belongs to integration {document.integration_id!r} at {document.api_url}.",
            "Use the settings of the run.",
        )


def _confirmed_counts(client: ApiClient, session: str) -> dict[str, int]:
    """Sprinto's counts of the session, once the user has typed its id again. Raises ConfigError otherwise."""
    status = _read(partial(client.session_status, session))
    counts = status.counts()
    click.echo(
        f"Session {session} is {status.state} and holds {format_counts(counts)}."
        " There is no receipt to compare it with. Type its id again to apply it:",
        err=True,
    )
    # `sys.stdin` is None if stdin is closed.
    typed = interruptibly(lambda: sys.stdin.readline() if sys.stdin else "", process_signals.check)
    if typed.strip() != session:
        raise errors.ConfigError("That is not the session's id: nothing was done.")
    return counts


def _coloured(text: str, colour: str | None) -> str:
    # Without a colour, click would still write the code that resets it.
    return click.style(text, colour) if colour else text
