"""Whether an expired session may still be applied: only if no other was opened since."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from typing import Any

from target_sprinto.push.activity_log_reader import recent_events
from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.protocol.activity_log import (
    is_latest,
    moves_with_each_look,
    newest_time,
)
from target_sprinto.push.protocol.responses import SessionStatus
from target_sprinto.push.protocol.timestamps import iso, parse_time
from target_sprinto.push.retries import RetryPolicy
from target_sprinto.push.transport.background import InterruptCheck, interruptible_sleep, interruptibly

log = logging.getLogger(__name__)


def is_known_latest(
    client: ApiClient,
    session_id: str,
    status: SessionStatus,
    retry_policy: RetryPolicy,
    check: InterruptCheck,
) -> bool:
    """Whether the log shows no later session, and does not lag behind the integration's last activity.

    It is not documented what counts as activity: a time that moves with each read is that of our own
    requests and is ignored. If there is no such time, the log alone decides. A session that is counted as
    active was opened later, unless the count lags and includes this one: the log has time to show it.
    """
    began = time.monotonic()
    seen: list[datetime] = []
    was_active = busy = False
    for looks, seconds in enumerate(client.timings.poll_intervals()):
        integration = interruptibly(lambda: client.integration_status(retry_policy), check)
        events = recent_events(client, retry_policy, check)
        if not is_latest(session_id, events):
            return False
        active, activity = integration.active_sessions(), parse_time(integration.last_activity_at)
        was_active = was_active or active > 0
        known_times = _known_times(client, status, events)
        shows_all = not active and (activity is None or any(activity <= known for known in known_times))
        if shows_all and not was_active:
            return True
        if not looks:
            what = (
                f"last activity was at {iso(activity)}" if not active else "status counts an active session"
            )
            log.warning(
                "The integration's %s, which the activity log does not show yet. Reading it again.", what
            )
        seen += [activity] if activity else []
        busy = busy or was_active or integration.sessions.processing != 0
        if time.monotonic() - began >= client.timings.max_count_lag:
            return shows_all or (not busy and moves_with_each_look(seen))
        interruptible_sleep(seconds, check)
    raise AssertionError("the intervals never end")


def _known_times(client: ApiClient, status: SessionStatus, events: list[dict[str, Any]]) -> list[datetime]:
    """Times up to which no later session was active: the newest event, and this session's expiry.

    An expiry in the future is ignored: the session has already expired.
    """
    expiry, now = parse_time(status.expires_at), client.known_server_time()
    passed = expiry if expiry and now and expiry <= now else None
    return [known for known in (newest_time(events), passed) if known]
