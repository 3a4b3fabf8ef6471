"""The library's front door: one client for an integration, one run for each session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from target_sprinto.push.api_calls import ApiClient
from target_sprinto.push.protocol.lifecycle import Finish, OnCountMismatch
from target_sprinto.push.run.opening_conflict import ConflictPolicy
from target_sprinto.push.run.run import Run
from target_sprinto.push.run.run_options import RunOptions, Timeouts
from target_sprinto.push.transport.base import Transport

if TYPE_CHECKING:
    from typing_extensions import Self


class SprintoClient:
    """Sprinto's push API for one integration.

        with SprintoClient(api_key="…", integration_id="…") as client, client.run() as run:
            run.push("User", [{"employeeId": "E-1"}])

    `region` is `us`, `in` or `eu`. `api_url` replaces it, for a sandbox or a gateway: it reaches up to and
    including `/api/external/push`, and is plain http only to this machine. `transport` sends the requests
    instead of connections to Sprinto, in tests for example. Nothing is sent yet.

    Proxies and private CAs are taken from the environment; netrc is never read. Leaving a `with` block, or
    `close`, gives the connections back. Raises ConfigError for arguments that cannot be used.
    """

    def __init__(
        self,
        *,
        api_key: str,
        integration_id: str,
        region: str = "us",
        api_url: str | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._api = ApiClient(
            api_key=api_key,
            integration_id=integration_id,
            region=region,
            api_url=api_url,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._api.close()

    @property
    def requests(self) -> int:
        """How many requests went out so far."""
        return self._api.requests

    def run(  # noqa: PLR0913 - the settings of a run, each with its default
        self,
        *,
        reference_prefix: str = "target-sprinto",
        page_size: int = 100,
        max_parallel_pages: int = 1,
        compress: bool = True,
        timeouts: Timeouts | None = None,
        on_conflict: ConflictPolicy | None = None,
        on_count_mismatch: OnCountMismatch | str = OnCountMismatch.DISCARD,
        finish: Finish | str = Finish.APPLY,
        expected: Mapping[str, int] | None = None,
        interrupted: Callable[[], None] = lambda: None,
        run_uuid: str | None = None,
    ) -> Run:
        """A run: at most one session, all of it applied or none. Use it as a `with` block.

        `expected` is the minimum of accepted records: ``{entity_type: int}``. `finish` and
        `on_count_mismatch` also take the value of their enum. `interrupted` is called often
        while the run waits, and ends it by raising any Exception. Raises ConfigError before anything is sent.
        """
        options = RunOptions(
            reference_prefix=reference_prefix,
            page_size=page_size,
            max_parallel_pages=max_parallel_pages,
            compress=compress,
            timeouts=Timeouts() if timeouts is None else timeouts,
            on_conflict=on_conflict,
            on_count_mismatch=on_count_mismatch,
            finish=finish,
            expected=expected,
            interrupted=interrupted,
            run_uuid=run_uuid,
        )
        return Run(self._api, options)
