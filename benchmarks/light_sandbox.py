"""A sandbox in a process of its own that counts records and forgets them: `light_sandbox.py KEY LATENCY`.

Every response is LATENCY milliseconds late. Prints its URL; then, for each integration id that it reads on
stdin, what it counted there, as JSON. Ends with stdin.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from dataclasses import asdict

from counted import Counted

from target_sprinto.sandbox import Readings, Sandbox, SandboxOptions
from target_sprinto.sandbox.operations import Call
from target_sprinto.sandbox.refusal import Reply


class CountingSandbox(Sandbox):
    """Counts by integration."""

    def __init__(self, options: SandboxOptions) -> None:
        super().__init__(options)
        self._counted: defaultdict[str, Counted] = defaultdict(Counted)

    def respond(self, call: Call) -> Reply:
        counted = self._counted[call.integration_id]
        counted.requests += 1
        counted.sent_bytes += len(call.body)
        reply = super().respond(call)
        if call.operation == "push":
            counted.most_bytes = max(counted.most_bytes, _decoded_bytes(call))
            counted.most_records = max(counted.most_records, reply.body.get("accepted_count_total", 0))
        return reply

    def counted(self, integration_id: str) -> Counted:
        counted = self._counted[integration_id]
        for session in self.sessions(integration_id)[-1:]:
            counted.state = session.state
            counted.records, counted.pages = session.accepted_total, session.accepted_batches
        return counted


def _decoded_bytes(call: Call) -> int:
    # A gzip body ends with its size before compression (RFC 1952).
    is_gzip = call.headers.get("Content-Encoding") == "gzip"
    return int.from_bytes(call.body[-4:], "little") if is_gzip else len(call.body)


def main() -> None:
    api_key, seconds = sys.argv[1], float(sys.argv[2]) / 1000
    # Any integration id exists, so that every run counts in one of its own. Processing takes no time:
    # no contestant waits for it. Responses wait in the event loop: requests in flight together wait together,
    # and cost no processor.
    sandbox = CountingSandbox(
        SandboxOptions(
            api_key=api_key,
            integrations=None,
            readings=Readings(response_seconds=seconds),
            light=True,
            processing_seconds=0,
        )
    )
    with sandbox:
        print(sandbox.base_url, flush=True)
        for line in sys.stdin:
            print(json.dumps(asdict(sandbox.counted(line.strip()))), flush=True)


if __name__ == "__main__":
    main()
