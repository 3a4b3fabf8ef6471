"""A sandbox in a process of its own that counts records and forgets them: `light_sandbox.py KEY LATENCY`.

Every answer is LATENCY milliseconds late. Prints its URL; then, for each integration id that it reads on
stdin, what it counted there, as JSON. Ends with stdin.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, get_args

from counted import Counted

from target_sprinto.sandbox import Delay, Fault, Sandbox, SandboxOptions
from target_sprinto.sandbox.faults import Operation

if TYPE_CHECKING:
    from target_sprinto.sandbox import RequestSeen
    from target_sprinto.sandbox.operations import Received


class CountingSandbox(Sandbox):
    """Counts by integration; the sandbox's own record keeps only the last requests."""

    def __init__(self, options: SandboxOptions) -> None:
        super().__init__(options, keep_bodies=False)
        self._counted: defaultdict[str, Counted] = defaultdict(Counted)

    def receive(self, seen: RequestSeen, body: bytes) -> tuple[Received, Fault | None]:
        received, fault = super().receive(seen, body)
        counted = self._counted[seen.integration_id]
        counted.requests += 1
        counted.sent_bytes += len(body)
        if seen.operation == "push":
            counted.most_bytes = max(counted.most_bytes, seen.size)
            counted.most_records = max(counted.most_records, seen.items)
        return received, fault

    def counted(self, integration_id: str) -> Counted:
        counted = self._counted[integration_id]
        for session in self.sessions(integration_id)[-1:]:
            counted.state = session.state
            counted.records, counted.pages = session.accepted_total, session.accepted_batches
        return counted


def main() -> None:
    api_key, seconds = sys.argv[1], float(sys.argv[2]) / 1000
    # Any integration id exists, so that every run counts in one of its own. Processing takes no time:
    # no contestant waits for it.
    options = SandboxOptions(api_key=api_key, integrations=None, light=True, processing_seconds=0)
    sandbox = CountingSandbox(options)
    if seconds:
        # It waits in the event loop: requests in flight together wait together, and cost no processor.
        for operation in get_args(Operation):
            sandbox.inject(Fault(operation, times=sys.maxsize, effect=Delay(seconds)))
    with sandbox:
        print(sandbox.base_url, flush=True)
        for line in sys.stdin:
            print(json.dumps(asdict(sandbox.counted(line.strip()))), flush=True)


if __name__ == "__main__":
    main()
