"""Keeps an open session from expiring while nothing is sent to it."""

from __future__ import annotations

import logging
from datetime import datetime

from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.protocol.lifecycle import keep_alive_interval, session_ended
from target_sprinto.push.protocol.responses import SessionStatus
from target_sprinto.push.protocol.timestamps import parse_time, with_time_left
from target_sprinto.push.retries import RetryPolicy
from target_sprinto.push.transport.background import InterruptCheck, interruptibly

log = logging.getLogger(__name__)


class KeepAlive:
    """Says when a request is due, and reads the status if there is no page to send."""

    def __init__(
        self,
        client: ApiClient,
        session: SessionStatus,
        retry_policy: RetryPolicy,
        interrupted: InterruptCheck,
    ) -> None:
        self.interval = keep_alive_interval(session, client.timings.keep_alive)
        self._client = client
        self._session_id = session.id
        self._retry_policy = retry_policy
        self._interrupted = interrupted
        self._expiry_read: datetime | None = None
        self._warned_of_expiry = False
        self._warned_of_end = False

    @property
    def is_due(self) -> bool:
        """Whether the last request was so long ago that the next one is due."""
        return self._client.session_silence(self._session_id) >= self.interval

    def page_sent(self) -> None:
        """Note that a page is sent, which moves the expiry."""
        self._expiry_read = None

    def read_status(self, *, all_accepted: bool) -> None:
        """Read the status. Raises SessionEnded if the session accepts no more pages.

        If it expired after `all_accepted`, it may still be applied unless more records come.
        """
        status = interruptibly(
            lambda: self._client.session_status(self._session_id, self._retry_policy), self._interrupted
        )
        if status.state == "expired" and all_accepted:
            if not self._warned_of_end:
                log.warning("Session %s has expired: it accepts no more pages.", status.id)
            self._warned_of_end = True
        elif status.state != "active":
            raise session_ended(status, "accepts no more pages")
        expiry = parse_time(status.expires_at)
        if expiry is not None and expiry == self._expiry_read and not self._warned_of_expiry:
            log.warning(
                "Reading the status does not extend the session's expiry: without a page it expires %s.",
                with_time_left(status.expiry, self._client.known_server_time()),
            )
            self._warned_of_expiry = True
        self._expiry_read = expiry
