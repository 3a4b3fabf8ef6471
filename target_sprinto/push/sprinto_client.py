"""The library's entry point: one client per integration, one run per session."""

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

    `region` is `us`, `in` or `eu`. `api_url` replaces it, for a sandbox or a gateway: the URL up to and
    including `/api/external/push`, with plain http only for this machine. `transport` replaces the HTTP
    connections, for example in tests. Creating a client sends nothing.

    Proxies and private CAs are taken from the environment; netrc is never read. Leaving the `with` block,
    or `close`, closes the connections. Raises ConfigError for invalid arguments.
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
        """Close the connections."""
        self._api.close()

    @property
    def requests(self) -> int:
        """The number of requests sent so far."""
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
        """Create a run: at most one session, applied in full or not at all. Use it as a `with` block.

        `expected` is the minimum number of accepted records, ``{entity_type: int}``. `finish` and
        `on_count_mismatch` also accept their enum's value. `interrupted` is called often while the run
        waits; it ends the run by raising any exception, and otherwise returns None. `run_uuid` must be a new
        random UUID, ``str(uuid.uuid4())``, as is the default. Raises ConfigError before anything is sent.
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
